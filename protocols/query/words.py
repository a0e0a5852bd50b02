"""A query in words, Chinese or English, for those who approve it without reading SQL: the auditor and the asker.

Promise: every field of the spec shows in the words, so that two different queries never read the same.
"""

from __future__ import annotations

from datetime import date, timedelta
from enum import StrEnum

from protocols.query.cohort import QUERY_BOUND
from protocols.query.domains import DISTRICTS, SEXES, VISIT_CLASSES, month_label
from protocols.query.footprint import PATIENTS_BLOCK, footprint
from protocols.query.spec import QuerySpec
from protocols.query.terms import (
    AgeBandKey,
    AgeBetween,
    AllOf,
    BinKey,
    Categories,
    Cohort,
    Condition,
    Count,
    Has,
    HasPrefix,
    Is,
    IsOneOf,
    Key,
    Measure,
    Not,
    Persons,
    PrefixKey,
    Quantiles,
    Residents,
    Spread,
    Summary,
    Survival,
)


def _month_before(month: str) -> str:
    return month_label(date.fromisoformat(f"{month}-01") - timedelta(days=1))


class Language(StrEnum):
    ZH = "zh"
    EN = "en"


_TABLES = {
    "visits": ("就诊", "visits"),
    "diagnoses": ("诊断", "diagnoses"),
    "measurements": ("检验检查", "measurements"),
    "patients": ("患者", "patients"),
}
_COLUMNS = {
    "value": ("检验值", "value"),
    "age": ("年龄", "age"),
    "icd10": ("ICD-10 编码", "ICD-10 code"),
    "loinc": ("LOINC 编码", "LOINC code"),
    "district": ("地区", "district"),
    "sex": ("性别", "sex"),
    "visit_class": ("就诊类型", "visit class"),
    "iso_week": ("周", "ISO week"),
    "month": ("月份", "month"),
    "age_band": ("年龄组", "age band"),
    "bin": ("区间", "bin"),
    "icd10_prefix": ("ICD-10 编码前缀", "ICD-10 prefix"),
}
_NAMED_VALUES: dict[str, dict[str, tuple[str, str]]] = {"district": DISTRICTS, "sex": SEXES, "visit_class": VISIT_CLASSES}


def in_words(spec: QuerySpec, language: Language, *, is_exact: bool = False) -> str:
    """One sentence a line: what is counted, by what, of which rows, when, how a patient is bounded, which blocks pay.

    `is_exact`: the bounds that the spec states are not applied, and no block pays.
    """
    return "\n".join(_Words(language).lines(spec, is_exact=is_exact))


def cohort_in_words(cohort: Cohort, language: Language) -> str:
    """The rows that a measure's filter holds on."""
    return _Words(language).cohort(cohort)


class _Words:
    def __init__(self, language: Language) -> None:
        self._zh = language is Language.ZH

    def _say(self, zh: str, en: str) -> str:
        return zh if self._zh else en

    def _name(self, pair: tuple[str, str]) -> str:
        return self._say(*pair)

    def _list(self, items: list[str]) -> str:
        return self._say("、", ", ").join(items)

    def lines(self, spec: QuerySpec, *, is_exact: bool) -> list[str]:
        table = self._name(_TABLES[spec.table])
        blocks = footprint(spec)
        return [
            self._say(f"统计（{table}）：", f"Counted over {table}: ")
            + "; ".join(self._measure(measure) + self._filter(measure) for measure in spec.measures),
            self._say("分组：", "By: ")
            + (self._list([self._key(key) for key in spec.keys]) or self._say("不分组", "nothing, one number")),
            *self._totals(spec),
            self._say("条件：", "Where: ") + (self._conditions(spec.where) or self._say("全部", "all rows")),
            *([self._say("且该行满足：", "And of the row: ") + self.cohort(spec.cohort)] if spec.cohort else []),
            self._time(spec),
            *self._weights(spec),
            self._unbounded(spec.cells_per_patient) if is_exact else self._bound(spec),
            self._say(
                f"{'读取' if is_exact else '付费'}区块（{len(blocks)}）：",
                f"Blocks that {'are read' if is_exact else 'pay'} ({len(blocks)}): ",
            )
            + self._list(self._runs(blocks)),
            self._say(f"查询格式版本 {spec.version}", f"Query format version {spec.version}"),
        ]

    def _weights(self, spec: QuerySpec) -> list[str]:
        if spec.weights is None:
            return []
        weighed = [f"{month} × {weight}" for month, weight in zip(footprint(spec), spec.weights, strict=True)]
        return [
            self._say("各月加权求和，权重越小付费越少：", "The months' weighted sum, a smaller weight paying less: ")
            + self._list(weighed)
        ]

    def _bound(self, spec: QuerySpec) -> str:
        kept = spec.cells_per_patient
        cells = f"{kept} cell" if kept == 1 else f"{kept} cells"
        if spec.bound == QUERY_BOUND:
            return self._say(
                f"每位患者在整个查询中最多计入 {kept} 个单元格，按密钥散列选取；其各单元格总量在整个查询内截断。",
                f"Each patient counts in at most {cells} of the whole query, chosen by a keyed hash; totals are clamped over "
                "the whole query.",
            )
        return self._say(
            f"每位患者每区块最多计入 {kept} 个单元格，按密钥散列选取。",
            f"Each patient counts in at most {cells} per block, chosen by a keyed hash.",
        )

    def _unbounded(self, kept: int) -> str:
        return self._say(
            f"精确模式：以上每患者限界及每区块 {kept} 个单元格的限制均不适用，每一行都计入，不加噪声。",
            f"Exact mode: no bound per patient applies (neither those above nor {kept} cells per block), and no noise is added.",
        )

    def _runs(self, blocks: tuple[str, ...]) -> list[str]:
        """Months that follow one another, as first to last."""
        runs: list[list[str]] = []
        for block in blocks:
            is_next = bool(runs) and block != PATIENTS_BLOCK and runs[-1][-1] == _month_before(block)
            runs = [*runs[:-1], [*runs[-1], block]] if is_next else [*runs, [block]]
        return [run[0] if len(run) == 1 else self._say(f"{run[0]} 至 {run[-1]}", f"{run[0]} to {run[-1]}") for run in runs]

    def _measure(self, measure: Measure) -> str:
        if isinstance(measure, Count):
            return self._say(
                f"行数（每患者、区块、单元格最多 {measure.hi}）", f"rows (at most {measure.hi} per patient, block and cell)"
            )
        if isinstance(measure, Persons):
            return self._say("患者人数（每家医院内不重复）", "distinct patients (within each hospital)")
        if isinstance(measure, Residents):
            return self._say(
                f"居民人数（全市跨医院不重复，每单元格 {measure.buckets} 个桶）",
                f"distinct residents (once over all hospitals, {measure.buckets} buckets a cell)",
            )
        if isinstance(measure, Survival):
            return self._survival(measure)
        column = self._name(_COLUMNS[measure.column])
        if isinstance(measure, Summary | Categories):
            return self._table_one(measure, column)
        if isinstance(measure, Spread):
            zh, en = {"variance": ("方差", "variance"), "stddev": ("标准差", "standard deviation")}[measure.kind]
            return self._say(
                f"{column}{zh}（每患者、区块、单元格取均值，截断于 [{measure.lo}, {measure.hi}]，两侧各 {measure.steps} 级）",
                f"{en} of {column} (mean per patient, block and cell clamped to [{measure.lo}, {measure.hi}], "
                f"{measure.steps} steps either side of the middle)",
            )
        if isinstance(measure, Quantiles):
            points = self._list(list(measure.points))
            return self._say(
                f"{column}分位数 {points}（每患者、区块、单元格取均值，[{measure.lo}, {measure.hi}] 分 {measure.bins} 格）",
                f"quantiles {points} of {column} (mean per patient, block and cell, [{measure.lo}, {measure.hi}] "
                f"in {measure.bins} bins)",
            )
        if measure.kind == "sum":
            zh, en = (
                f"{column}之和（每患者、区块、单元格的总和截断于",
                f"sum of {column} (total per patient, block and cell clamped to",
            )
        else:
            zh, en = (
                f"{column}均值（每患者、区块、单元格的均值截断于",
                f"mean of {column} (mean per patient, block and cell clamped to",
            )
        return self._say(
            f"{zh} [{measure.lo}, {measure.hi}]，精度 1/{measure.scale}）",
            f"{en} [{measure.lo}, {measure.hi}], in steps of 1/{measure.scale})",
        )

    def _table_one(self, measure: Summary | Categories, column: str) -> str:
        if isinstance(measure, Categories):
            named = self._list([self._value(measure.column, label) for label in measure.labels])
            return self._say(
                f"基线表·{column}（{named}、缺失；每患者、单元格取行数最多的一类）",
                f"table one of {column} ({named}, missing; of each patient and cell the one that most rows have)",
            )
        ends = f"[{measure.lo}, {measure.hi}]"
        return self._say(
            f"基线表·{column}：均值、标准差、中位数、四分位数、缺失"
            f"（每患者、区块、单元格取均值，截断于 {ends}，两侧各 {measure.steps} 级，直方图 {measure.bins} 格）",
            f"table one of {column}: mean, standard deviation, median, quartiles, missing "
            f"(mean per patient, block and cell clamped to {ends}, {measure.steps} steps either side of the middle, "
            f"{measure.bins} bins)",
        )

    def _survival(self, measure: Survival) -> str:
        grid, event = self._list(list(map(str, measure.edges))), self._window(measure.event)
        return self._say(
            f"Kaplan-Meier：自患者在单元格内的首行起，至首次满足 {event}，按 {grid} 天分段，随访至 {measure.until}（不含）",
            f"Kaplan-Meier: from a patient's first row of a cell to the first day on which {event}, "
            f"in steps to day {grid}, followed up before {measure.until}",
        )

    def _key(self, key: Key) -> str:
        name = self._name(_COLUMNS[key.key])
        if isinstance(key, AgeBandKey):
            return self._say(f"{name}（{'、'.join(key.bands.labels)}）", f"{name} {key.bands} ({', '.join(key.bands.labels)})")
        if isinstance(key, BinKey):
            return f"{self._name(_COLUMNS[key.column])}{self._say('', ' ')}{name} {' '.join(key.labels)}"
        return f"{name} ({', '.join(key.prefixes)})" if isinstance(key, PrefixKey) else name

    def _totals(self, spec: QuerySpec) -> list[str]:
        if spec.totals is None:
            return []
        levels = ["(" + ", ".join(self._name(_COLUMNS[key]) for key in level) + ")" for level in spec.totals]
        return [self._say("另计各级合计：", "Totals as well by: ") + self._list(levels)]

    def _filter(self, measure: Measure) -> str:
        if measure.filter is None:
            return ""
        return self._say("，仅计满足以下条件的行：", ", only of rows with: ") + self.cohort(measure.filter)

    def cohort(self, cohort: Cohort) -> str:
        """In brackets wherever there is more than one part."""
        if isinstance(cohort, Is):
            return f"[{self._conditions(cohort.where)}]"
        if isinstance(cohort, Has):
            return self._window(cohort)
        if isinstance(cohort, Not):
            return self._say("非 ", "not ") + self.cohort(cohort.of)
        joined = self._say(" 且 ", " and ") if isinstance(cohort, AllOf) else self._say(" 或 ", " or ")
        return f"({joined.join(map(self.cohort, cohort.of))})"

    def _window(self, has: Has) -> str:
        table, conditions = self._name(_TABLES[has.table]), self._conditions(has.where) or self._say("任意", "any")
        if has.period is not None:
            start, end = has.period.start, has.period.end
            when = self._say(f"{start} 起、{end} 前", f"from {start}, before {end}")
        else:
            first, last = has.days or (0, 0)
            when = self._say(f"该行日期起第 {first} 至 {last} 天", f"from day {first} to day {last} of this row's date")
        return self._say(f"同一患者有{table}记录 [{conditions}]（{when}）", f"the patient has {table} [{conditions}] {when}")

    def _conditions(self, where: tuple[Condition, ...]) -> str:
        return self._say("；且 ", "; and ").join(self._condition(condition) for condition in where)

    def _condition(self, condition: Condition) -> str:
        name = self._name(_COLUMNS[condition.column])
        if isinstance(condition, HasPrefix):
            return self._say(f"{name}以下列开头：", f"{name} begins with ") + self._list(list(condition.prefixes))
        if isinstance(condition, IsOneOf):
            return f"{name}: " + self._list([self._value(condition.column, value) for value in condition.values])
        if isinstance(condition, AgeBetween):
            return self._say(f"{name} {condition.low} 至 {condition.high} 岁", f"{name} {condition.low} to {condition.high}")
        return f"{name} {condition.op} {condition.number}"

    def _value(self, column: str, value: str) -> str:
        named = _NAMED_VALUES.get(column, {}).get(value)
        return value if named is None else f"{value} {self._name(named)}"

    def _time(self, spec: QuerySpec) -> str:
        if spec.period is not None:
            return self._say(
                f"时间：{spec.period.start} 起，{spec.period.end} 前（不含）",
                f"Time: from {spec.period.start}, before {spec.period.end}",
            )
        day = self._say("不涉及", "not asked") if spec.as_of is None else str(spec.as_of)
        return self._say(f"年龄计算日：{day}", f"Age as of: {day}")
