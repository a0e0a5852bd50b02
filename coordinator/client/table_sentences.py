"""The words of a table one and of a survival curve, (Chinese, English) by message id."""

TABLES: dict[str, tuple[str, str]] = {
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
}
