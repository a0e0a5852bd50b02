"""What is said of exact mode, (Chinese, English) by message id: never that it is private."""

EXACT: dict[str, tuple[str, str]] = {
    "exact.answer": (
        "精确模式：不加噪声，此答案【不具有】隐私保护；请勿公开，小单元格可能就是某位患者",
        "EXACT MODE: no noise; this answer is NOT PRIVATE. Do not publish it: a small cell may be one patient",
    ),
    "exact.chart": ("精确模式：不具有隐私保护，请勿公开", "EXACT MODE: NOT PRIVATE, do not publish"),
    "exact.hospitals": (
        "{n} 家医院，至少 {floor} 家，且必须全部参加：缺一家即失败",
        "{n} hospitals of at least {floor}, and every one of them: one that is missing ends it",
    ),
    "exact.cells": ("{cells} 个单元格，患者不限界", "{cells} cells, patients not bounded"),
    "exact.blocks": (
        "读取 {count} 个区块：{first} 至 {last}；不扣隐私预算",
        "reads {count} blocks, {first} to {last}; no budget pays",
    ),
    "exact.unwilling": ("政策不允许精确模式的医院：{names}", "no exact mode in the policy of: {names}"),
    "exact.willing": ("所有医院的政策都允许", "the policies of all of them allow it"),
    "exact.approval": (
        "须经审计方对该问题单独批准（kapok-audit approve --exact）",
        "needs the auditor's approval of this very question (kapok-audit approve --exact)",
    ),
    "error.exact": (
        "精确模式没有噪声与方案：请去掉 --sd、--epsilon、--price、--programme，用途为 research",
        "exact mode has no noise and no programme: drop --sd, --epsilon, --price and --programme; the purpose is research",
    ),
    "error.exact_twice": (
        "文件写明 exact = false，与 --exact 矛盾：请二者择一",
        "the file says exact = false, and --exact the opposite: decide on one",
    ),
    "error.exact_only": (
        "{kind} 只有精确模式（--exact，不具有隐私保护）",
        "{kind} has no private form: it is asked with --exact, and then it is NOT private",
    ),
    "error.exact_floor": ("精确模式至少 {floor} 家医院", "exact mode asks at least {floor} hospitals"),
    "error.exact_measure": (
        "精确模式不支持会截断数值的方差、标准差与分位数；请用 SUM、AVG，或按 BIN(...) 计数",
        "exact mode has no VARIANCE, STDDEV or quantile, which cut values; ask for SUM, AVG, or counts by BIN(...)",
    ),
    "opt.exact": (
        "精确模式：不加噪声，答案不具有隐私保护",
        "exact mode: no noise, the answer is NOT private; needs approval and every hospital's policy",
    ),
}
