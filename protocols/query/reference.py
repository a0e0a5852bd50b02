"""The reference page of the language, written from the code: `python -m protocols.query.reference > protocols/query/REFERENCE.md`.

Each kind of question stands here once as SQL; its file, its words, its cells and how far one patient moves it are computed, so
that the page cannot say anything the code does not do. A test fails where the page is stale, and runs every example on records.
"""

import json
import sys
from dataclasses import dataclass

from protocols.query.footprint import Layout, footprint
from protocols.query.spec import QuerySpec
from protocols.query.sql import parse_sql
from protocols.query.words import Language, in_words

_QUARTER = "date >= DATE '2025-01-01' AND date < DATE '2025-04-01'"
_GLUCOSE = f"loinc = '2345-7' AND {_QUARTER}"


@dataclass(frozen=True, slots=True)
class Example:
    """One kind of question. `note` says what a reader of the answer has to know."""

    title: str
    template: str
    note: str = ""
    weights: tuple[int, ...] | None = None
    """Of the months; what only a file says."""

    @property
    def sql(self) -> str:
        return self.template.format(quarter=_QUARTER, glucose=_GLUCOSE)

    @property
    def spec(self) -> QuerySpec:
        written = parse_sql(self.sql)
        return written if self.weights is None else QuerySpec.from_fields(written.to_json() | {"weights": list(self.weights)})


EXAMPLES: tuple[Example, ...] = (
    Example("Events", "SELECT week, district, COUNT(*) FROM visits WHERE {quarter} GROUP BY week, district"),
    Example("Events, another clamp", "SELECT month, CLAMP(COUNT(*), 0, 5) FROM visits WHERE {quarter} AND age < 15 GROUP BY month"),
    Example("By visit class", "SELECT week, visit_class, COUNT(*) FROM visits WHERE {quarter} GROUP BY week, visit_class"),
    Example(
        "Distinct patients",
        "SELECT week, COUNT(DISTINCT person_id) FROM diagnoses WHERE {quarter} AND icd10 LIKE 'J10%' GROUP BY week",
        "A patient of several hospitals counts once in each; see distinct residents.",
    ),
    Example(
        "Distinct residents",
        "SELECT COUNT(DISTINCT resident_id, 16384) FROM diagnoses WHERE {quarter} AND icd10 LIKE 'J10%'",
        "A patient of several hospitals counts once. Each resident falls into one of 16,384 buckets (4,096 unless said; a power of "
        "two); the answer is estimated from how many are filled, with an interval. Alone, without totals, at most 65,536 buckets "
        "in all cells; each takes two thirds of a millisecond. In one cell, L1 and L2² hold for one resident of any number of "
        "hospitals and months. Needs resident numbers there and the policies' yes ([why](../../privacy/DISTINCT.md)).",
    ),
    Example("Sum", "SELECT district, SUM(CLAMP(value, 0, 30)) FROM measurements WHERE {glucose} GROUP BY district"),
    Example(
        "Mean", "SELECT sex, AVG(CLAMP(value, 0, 30, 10)) FROM measurements WHERE {glucose} GROUP BY sex", "Fieller's interval."
    ),
    Example("Variance", "SELECT VARIANCE(CLAMP(value, 3, 15)) FROM measurements WHERE {glucose}"),
    Example(
        "Standard deviation",
        "SELECT sex, STDDEV(CLAMP(value, 3, 15, 24)) FROM measurements WHERE {glucose} GROUP BY sex",
        "Between patients: each one's mean of a cell and month counts once, in 24 steps either side of 9.",
    ),
    Example(
        "Median",
        "SELECT district, MEDIAN(CLAMP(value, 3, 15, 48)) FROM measurements WHERE {glucose} GROUP BY district",
        "From 48 bins of 0.25, straight inside a bin.",
    ),
    Example("Quantiles", "SELECT QUANTILE(CLAMP(age, 0, 100, 50), [0.25, 0.5, 0.75]) FROM visits WHERE {quarter}"),
    Example(
        "Histogram",
        "SELECT BIN(value, 0, 5.6, 7, 11.1, 30), COUNT(DISTINCT person_id) FROM measurements WHERE {glucose} "
        "GROUP BY BIN(value, 0, 5.6, 7, 11.1, 30)",
    ),
    Example(
        "Codes of a public list",
        "SELECT icd10_prefix, COUNT(*) FROM diagnoses WHERE {quarter} AND icd10_prefix IN ('J09', 'J10', 'J11', 'J18') "
        "GROUP BY icd10_prefix",
        "The largest of them: `kapok answers ID --top 3`.",
    ),
    Example(
        "Cross-table",
        "SELECT sex, age_band, COUNT(DISTINCT person_id) FROM visits WHERE {quarter} GROUP BY sex, age_band",
        "Whether the keys go together: `kapok answers ID --chi-square`. Rates: `--population census.csv`.",
    ),
    Example(
        "Totals, consistent",
        "SELECT month, district, COUNT(*) FROM visits WHERE {quarter} GROUP BY ROLLUP(month, district)",
        "Months and the city are levels of their own; the answer is the one table that fits all of them best.",
    ),
    Example(
        "Totals over either key",
        "SELECT sex, age_band(five_years), COUNT(*) FROM visits WHERE {quarter} GROUP BY CUBE(sex, age_band(five_years))",
    ),
    Example("People", "SELECT district, sex, COUNT(DISTINCT person_id) FROM patients GROUP BY district, sex"),
    Example(
        "Several at once",
        "SELECT district, COUNT(*), COUNT(DISTINCT person_id), AVG(CLAMP(age, 0, 90)) FROM visits "
        "WHERE {quarter} GROUP BY district",
        "Paid together: every measure is a part of the vector.",
    ),
    Example(
        "Share: influenza-like illness of all visits",
        "SELECT week, COUNT(*), COUNT(*) FILTER (WHERE HAS(diagnoses, icd10_prefix IN ('J09', 'J10', 'J11', 'R50', 'R05'), 0, 0)) "
        "FROM visits WHERE {quarter} GROUP BY week",
        "Both counts are noisy; the answer has the percentage too, with Fieller's interval. Rows of the same day are of the same "
        "block, so that this is bounded per block.",
    ),
    Example(
        "Share of patients",
        "SELECT district, COUNT(DISTINCT person_id), COUNT(DISTINCT person_id) FILTER (WHERE age >= 60 OR sex = 'F') "
        "FROM visits WHERE {quarter} GROUP BY district",
        "OR and NOT stand between conditions of the row. A missing value meets no condition, so that its NOT holds.",
    ),
    Example(
        "First-ever, within a look-back",
        "SELECT month, COUNT(DISTINCT person_id) FROM diagnoses WHERE {quarter} AND icd10 LIKE 'J10%' AND FIRST_EVER(90) "
        "GROUP BY month",
        "No such diagnosis in the 90 days before. The months of the look-back pay as well, and a patient is bounded over the whole "
        "query.",
    ),
    Example(
        "Two conditions within days",
        "SELECT age_band, COUNT(DISTINCT person_id) FROM diagnoses WHERE {quarter} AND icd10 LIKE 'J10%' "
        "AND HAS(diagnoses, icd10 LIKE 'J18%', -3, 3) GROUP BY age_band",
    ),
    Example(
        "New diagnosis after a visit",
        "SELECT sex, COUNT(DISTINCT person_id) FROM diagnoses WHERE {quarter} AND icd10 LIKE 'J18%' AND FIRST_EVER(60) "
        "AND HAS(visits, visit_class = 'AMB', -30, -1) GROUP BY sex",
    ),
    Example(
        "Cohort",
        "SELECT district, sex, COUNT(DISTINCT person_id) FROM patients "
        "WHERE HAS(diagnoses, icd10 LIKE 'J1%', DATE '2025-01-01', DATE '2025-04-01') "
        "AND NOT HAS(visits, age >= 60, DATE '2025-01-01', DATE '2025-02-01') GROUP BY district, sex",
        "AND, OR and NOT of what a patient had in fixed windows; people as they stand in the register.",
    ),
    Example(
        "Weighted months",
        "SELECT district, COUNT(*) FROM visits WHERE {quarter} GROUP BY district",
        "Only a file says `weights`, one integer for each whole month: the answer is the sum of the months' own, so weighted. For "
        "counts and sums bounded per block, without a key of time and without totals. L1 and L2² are those of the largest "
        "weight; each month pays by its own. `kapok series` asks such questions.",
        weights=(7, 24, 64),
    ),
    Example(
        "Table one",
        "SELECT sex, TABLE_ONE(CLAMP(age, 0, 100), district, visit_class) FROM visits WHERE {quarter} GROUP BY sex",
        "Printed as a journal prints it: n, mean ± SD, median [quartiles], n (%), missing, a column for each group. One price, "
        "split evenly over the parts below. A patient counts once, in one group, unless `cells_per_patient` and `bound` say "
        "otherwise.",
    ),
    Example(
        "Table one, with a condition and without",
        "SELECT TABLE_ONE(CLAMP(age, 0, 100), sex) FILTER (WHERE HAS(diagnoses, icd10 LIKE 'J1%', DATE '2025-01-01', "
        "DATE '2025-04-01')), TABLE_ONE(CLAMP(age, 0, 100), sex) FILTER (WHERE NOT HAS(diagnoses, icd10 LIKE 'J1%', "
        "DATE '2025-01-01', DATE '2025-04-01')) FROM patients WHERE as_of = DATE '2025-07-01'",
        "Groups may be filters too, each paid as its own.",
    ),
    Example(
        "Time to an event",
        "SELECT sex, KAPLAN_MEIER(HAS(visits, visit_class = 'AMB', 1, 60), [7, 14, 30, 60], DATE '2025-05-01') FROM diagnoses "
        "WHERE {quarter} AND icd10 LIKE 'J18%' AND FIRST_EVER(90) GROUP BY sex",
        "From the first diagnosis to the next visit: survival to each edge, with groups the log-rank test on the grid. Who has no "
        "visit by the last edge, or before the day on which follow-up ends, is censored.",
    ),
)

_INTRODUCTION = """# The kinds of question

Written by `protocols/query/reference.py`; do not edit. L1 and L2² say how far one patient's rows of one block move each part of the
vector, in its integers; they set the price. See [README.md](README.md) for the rules.
"""


_HEAD = ("| level | part | entries | L1 | L2² |", "| --- | --- | --- | --- | --- |")


def page() -> str:
    return "\n".join([_INTRODUCTION, *map(_section, EXAMPLES)])


def _section(example: Example) -> str:
    spec = example.spec
    layout, blocks = Layout.of(spec), footprint(spec)
    lines = [f"## {example.title}", "", "```sql", example.sql, "```", ""]
    lines += ["```json", json.dumps(spec.to_json(), ensure_ascii=False), "```", ""]
    for language in Language:
        lines += ["```text", in_words(spec, language), "```", ""]
    lines += [
        f"{layout.grid.size:,} cells; {len(blocks)} blocks pay.",
        "",
        "| level | part | entries | L1 | L2² |",
        "| --- | --- | --- | --- | --- |",
    ]
    for each in layout.segments:
        lines.append(f"| {', '.join(each.level) or 'city'} | {each.part} | {each.length:,} | {each.l1:,} | {each.l2_squared:,} |")
    return "\n".join([*lines, "", *([example.note, ""] if example.note else [])])


if __name__ == "__main__":
    sys.stdout.write(page())
