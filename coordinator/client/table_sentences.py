"""The words of a table one, of a survival curve and of a series, with those of residents, (Chinese, English) by message id."""

from coordinator.client.resident_sentences import RESIDENTS

TABLES: dict[str, tuple[str, str]] = {
    **RESIDENTS,
    "table_one.title": (
        "基线表（每格下方为 95 % 噪声区间；% 以该组全部患者为分母）",
        "table one (95 % noise intervals below each number; % of all patients of the group)",
    ),
    "table_one.all": ("全部", "all"),
    "table_one.age": ("年龄（岁）", "age, years"),
    "table_one.value": ("检验值", "value"),
    "table_one.sex": ("性别", "sex"),
    "table_one.district": ("地区", "district"),
    "table_one.visit_class": ("就诊类型", "visit class"),
    "table_one.n": ("患者人数", "n"),
    "table_one.mean_sd": ("均值 ± 标准差", "mean ± SD"),
    "table_one.median": ("中位数 [四分位数]", "median [quartiles]"),
    "table_one.missing": ("缺失", "missing"),
    "survival.title": (
        "Kaplan-Meier 生存率（95 % 区间含抽样误差与噪声）",
        "Kaplan-Meier survival (95 % intervals of sampling and noise)",
    ),
    "survival.day": ("第 {day} 天", "day {day}"),
    "survival.log_rank": (
        "对数秩检验：χ² = {statistic}，自由度 {df}，p = {p}（计入噪声）",
        "log-rank test: chi-square {statistic}, df {df}, p = {p} (noise counted in)",
    ),
    "answer.price_weighted": (
        "价格：权重最大的月份 {price}，其余月份按权重的平方递减（{purpose}）",
        "price: {price} on the month of the largest weight, on others by theirs squared ({purpose})",
    ),
    "preview.price_weighted": (
        "价格：权重最大的月份 {price}（占其限额的 {share}；Rényi 阶 {order}），其余月份按权重的平方递减",
        "price: {price} on the month of the largest weight ({share} of its limit; order {order}), on others by theirs squared",
    ),
    "series.title": ("常设序列：各问题及其价格份额", "a standing series: its questions, and the share of the price of each"),
    "series.months": ("月份", "months"),
    "series.share": ("占价格", "of the price"),
    "series.answered": ("已答复", "answered"),
    "series.due": ("可提问", "due"),
    "series.later": ("未到期", "later"),
    "series.city": ("各月（全部单元格之和，由全部答案最小二乘合并）", "by month (sum of cells; least squares over all answers)"),
    "series.to_date": ("截至目前", "to date"),
    "series.changed": (
        "各答案彼此不符（p = {p}）：两次提问之间记录已变（补报或更正），请以较晚的合计为准",
        "the answers do not fit together (p = {p}): records changed between two of them; trust the later totals",
    ),
    "series.promise": (
        "12 个月的常设序列（kapok series，共 {questions} 个问题）代价不变，噪声更小：",
        "as a standing series of 12 months (kapok series, {questions} questions), at the same cost:",
    ),
    "series.promise_to_date": ("  至今合计 ± {series}（逐月相加为 ± {alone}）", "  totals to date ± {series} instead of ± {alone}"),
    "series.promise_year": ("  全年合计 ± {series}（逐月相加为 ± {alone}）", "  the year ± {series} instead of ± {alone}"),
    "series.promise_window": ("  连续三月 ± {series}（逐月相加为 ± {alone}）", "  three months ± {series} instead of ± {alone}"),
    "series.weighted": ("{months} 加权和", "{months}, weighted sum"),
    "series.too_wide": (
        (
            "没有加权和：一位患者可使“{measure}”变动至多 {steps} 个单位（上限乘以精度），权重还要再放大，所需的噪声超出可用范围；"
            "因此改按季度与全年提问。不超过 {most} 个单位时可用加权和，合计的噪声更小：请减小 CLAMP 的上限或精度"
        ),
        (
            "no weighted sums: a patient moves {measure} by up to {steps} steps (bound times scale), weights multiply that, and "
            "there is no noise so wide; quarters and the year are asked instead. With at most {most} steps there are weighted sums "
            "with less noise in totals: take a smaller bound or scale in CLAMP"
        ),
    ),
    "series.begun": (
        "参与医院有变：加权和自 {months} 起重新开始，此前各月的答案不变",
        "other hospitals answered: weighted sums begin anew with {months}; what was answered before stands",
    ),
    "series.cost": ("每个月在全部问题中合计至多支付 {price}", "each month pays at most {price} for all questions together"),
    "series.promise_month": ("  单月 ± {series}（单独提问为 ± {alone}）", "  a month ± {series} instead of ± {alone}"),
    "error.series": (
        "序列的问题须为：一个自然月，计数或求和，不按周或月分组，无合计层级，按区块限界",
        "a series needs a question of one calendar month: counts or sums, no key of week or month, no totals, bounded per block",
    ),
    "error.series_empty": (
        "还没有任何一个月的答案可画；用 --ask 提问",
        "no month has been answered yet, so there is nothing to draw; --ask asks what is due",
    ),
    "help.series": (
        "一年的每月常设问题：到期的提问（--ask），全部答案合并为一张表。",
        "A year of a monthly question: ask what is due (--ask), and make one table of all its answers.",
    ),
    "opt.months_alone": (
        "只看单月，不看合计：每月按全价提问一次，使用独立噪声",
        "only single months are read, no totals: each is asked once at the whole price, with independent noise",
    ),
    "opt.ask": ("提出已到期的问题", "ask what is due"),
}
