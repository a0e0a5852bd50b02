"""The words of a fit and of a training, (Chinese, English) by message id."""

FITS: dict[str, tuple[str, str]] = {
    "fit.title": ("{outcome} 的逻辑回归，{rounds} 轮", "logistic regression of {outcome}, {rounds} rounds"),
    "fit.table_title": ("{name}（{table}），{rounds} 轮", "{name} over {table}, {rounds} round(s)"),
    "fit.interval": ("95% 区间", "95 % interval"),
    "fit.p": ("p 值", "p"),
    "fit.ratio": ("比", "ratio"),
    "fit.drowned": (
        "噪声过大：估计值本身可能有偏，区间不可信。请提高代价、减少变量或放宽问题。",
        "the noise is too large: it may bend the estimates themselves. Pay more, ask for fewer columns, or ask more hospitals.",
    ),
    "fit.not_converged": (
        "尚未收敛：最后一轮仍明显改变估计值，请用更多轮次（--rounds）；若某变量完全分开结果，则估计值不存在",
        "NOT CONVERGED: the last round still moved the estimates. Ask for more --rounds; of a column that separates there is none",
    ),
    "fit.undetermined": (
        "数据无法确定：{names}（无人属于该类别，几列含义相同，或被噪声淹没）",
        "not determined by the records: {names} (a category nobody has, columns that say the same, or lost in noise)",
    ),
    "fit.error_exact": ("标准误", "standard error"),
    "fit.column": ("变量", "feature"),
    "error.fit_catalogue": (
        "{path}：{kind} 用于已登记的数据表：请写明其 table 与 catalogue（见 `kapok catalog`）",
        "{path}: {kind} is of a registered table: name its table and catalogue (see `kapok catalog`)",
    ),
    "fit.metric": ("留出病人上的指标", "on held-out patients"),
    "fit.measured": ("数值", "value"),
    "fit.value": ("系数", "coefficient"),
    "fit.error": ("标准误（含噪声）", "standard error (noise included)"),
    "fit.odds": ("优势比", "odds ratio"),
    "summary.outcome": ("结果变量", "Outcome"),
    "summary.hospitals": ("医院（参与/被问）", "Hospitals (of those asked)"),
    "summary.blocks": ("区块", "Blocks"),
    "summary.price": ("每区块价格", "Price on each block"),
    "summary.errors": ("标准误同时计入抽样与隐私噪声。", "Standard errors count sampling and privacy noise together."),
    "training.segment": ("第 {number} 段，共 {segments} 段：{id}", "segment {number} of {segments}: {id}"),
    "training.stopped": (
        "训练在第 {released} 段（共 {segments} 段）之后停止；模型为当时已发布的结果 {id}",
        "the training stopped after segment {released} of {segments}; the model is what was released by then, {id}",
    ),
    "training.reason": ("  - {reason}", "  - {reason}"),
    "fit.detached": ("问题 {id} 已记入账本，等待审计方批准", "question {id} is logged and waits for the auditor's approval"),
    "error.fit_price": (
        "全部轮次的代价为 {cost}，超过研究用途在每个区块的预算 {limit}；可用 --sd {sd} 或更大，或 --price {limit} 以内",
        "all rounds together cost {cost}, research may spend {limit} on a block: take --sd {sd} or more, or a --price within it",
    ),
    "error.fit_least": (
        "--price {price} 低于噪声最宽时的代价 {least}：请提高代价或减少轮次",
        "--price {price} is below what the widest noise costs, {least}: take a higher price or fewer rounds",
    ),
    "error.training_least": (
        "--price {price} 低于噪声最宽时的代价 {least}：请提高代价、减少轮次，或在文件中减小 fineness 或 sharpness",
        "--price {price} is below what the widest noise costs, {least}: pay more, ask fewer rounds, or lower fineness or sharpness",
    ),
    "error.fit_sd": ("--sd 应大于 0，至多 {most}，实为 {sd}", "--sd is above 0 and at most {most}, got {sd}"),
    "error.rounds_price": (
        "各段合计的代价为 {cost}，超过研究用途在每个区块的预算 {limit}：请减少 --rounds 或加大 --sd",
        "all segments together cost {cost}, more than research may spend on a block, {limit}: take fewer --rounds or a larger --sd",
    ),
}
