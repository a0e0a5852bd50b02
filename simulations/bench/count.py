"""What bounding costs a count: patients by week and district over a hospital's visits, beside DuckDB's own COUNT(DISTINCT).

The plain query bounds nobody. Both sides have one thread and read the same file; the reference cuts weeks by `date_trunc`, its
fastest way. Prepared is the second question of a node that has bounded the same months once for another.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb

from hospital_node.plan import execute
from hospital_node.plan.prepared import Prepared, execute_prepared
from hospital_node.records.schema import open_read_only
from protocols.query import QuerySpec
from protocols.query.cohort import QUERY_BOUND
from protocols.query.sql import parse_sql
from simulations.bench.hospital import hospital_of
from simulations.bench.rows import Row, load
from simulations.bench.turns import Turns, interleaved

VISITS, MANY_VISITS = 1_000_000, 10_000_000
YEAR = "date >= DATE '2024-12-30' AND date < DATE '2025-12-29'"
WEEKS = f"SELECT week, district, COUNT(DISTINCT person_id) FROM visits WHERE {YEAR} GROUP BY week, district"
PLAIN_YEAR = "visit_date >= DATE '2024-12-30' AND visit_date < DATE '2025-12-29'"
PLAIN = (
    "SELECT date_trunc('week', visit_date), district, count(DISTINCT person_id) FROM visit_occurrence "
    f"WHERE {PLAIN_YEAR} GROUP BY 1, 2"
)
PLAIN_CODES = "condition_date >= DATE '2024-12-30' AND condition_date < DATE '2025-12-29'"
FORMS = {
    "a whole year's bound a patient": (
        WEEKS,
        QUERY_BOUND,
        PLAIN,
    ),
    "conditions on code and age": (
        f"SELECT week, COUNT(DISTINCT person_id) FROM diagnoses WHERE {YEAR} AND icd10 LIKE 'J%' AND age < 15 GROUP BY week",
        "block",
        (
            "SELECT date_trunc('week', condition_date), count(DISTINCT person_id) FROM condition_occurrence "
            f"WHERE {PLAIN_CODES} AND icd10 LIKE 'J%' AND age < 15 GROUP BY 1"
        ),
    ),
    "a measure with FILTER beside one without": (
        (
            f"SELECT week, COUNT(DISTINCT person_id), COUNT(DISTINCT person_id) FILTER (WHERE icd10 LIKE 'J%') FROM diagnoses "
            f"WHERE {YEAR} GROUP BY week"
        ),
        "block",
        (
            "SELECT date_trunc('week', condition_date), count(DISTINCT person_id), "
            "count(DISTINCT person_id) FILTER (WHERE icd10 LIKE 'J%') "
            f"FROM condition_occurrence WHERE {PLAIN_CODES} GROUP BY 1"
        ),
    ),
    "FILTER alone, of rows": (
        f"SELECT week, COUNT(*) FILTER (WHERE icd10 LIKE 'J%') FROM diagnoses WHERE {YEAR} GROUP BY week",
        "block",
        (
            "SELECT date_trunc('week', condition_date), count(*) FILTER (WHERE icd10 LIKE 'J%') "
            f"FROM condition_occurrence WHERE {PLAIN_CODES} GROUP BY 1"
        ),
    ),
    "a cohort: admitted in the 30 days before": (
        (
            f"SELECT week, COUNT(DISTINCT person_id) FROM diagnoses WHERE {YEAR} AND icd10 LIKE 'J%' "
            "AND HAS(visits, visit_class = 'IMP', -30, 0) GROUP BY week"
        ),
        QUERY_BOUND,
        (
            "SELECT date_trunc('week', condition_date), count(DISTINCT person_id) FROM condition_occurrence c "
            f"WHERE {PLAIN_CODES} AND icd10 LIKE 'J%' AND EXISTS (SELECT 1 FROM visit_occurrence v WHERE v.person_id = c.person_id "
            "AND v.visit_class = 'IMP' AND v.visit_date BETWEEN c.condition_date - 30 AND c.condition_date) GROUP BY 1"
        ),
    ),
}
"""What a question says more than weeks and districts, with the bound it takes and plain SQL for the same."""
BESIDE_PLAIN, BESIDE_PLAIN_PREPARED = "<= 2.5", "<= 1.0"


def rows(is_quick: bool = False) -> list[Row]:
    return _measured(VISITS // 10 if is_quick else VISITS, 3 if is_quick else 7)


def rows_of_many(is_quick: bool = False) -> list[Row]:
    """Ten million visits; a million with `is_quick`."""
    return _measured(VISITS if is_quick else MANY_VISITS, 3)


def _measured(visits: int, turns: int) -> list[Row]:
    with (
        tempfile.TemporaryDirectory(prefix="kapok-bench-") as folder,
        open_read_only(hospital_of(visits, Path(folder))) as connection,
    ):
        connection.execute("SET threads = 1")
        how = f"{visits:,} visits of a year, one thread, processor time; median of {turns} interleaved turns"
        # Copies of a hospital have visits alone, and no diagnoses.
        forms = _forms(connection, turns, how) if visits <= VISITS else ()
        return [*_beside_plain(connection, turns, how), *forms]


def _beside_plain(connection: duckdb.DuckDBPyConnection, turns: int, how: str) -> Iterator[Row]:
    weeks, prepared = parse_sql(WEEKS), Prepared()
    ours, plain = _sides(connection, weeks, PLAIN)
    unprepared = interleaved(ours, plain, turns)
    yield _row("a bounded count of patients beside COUNT(DISTINCT)", unprepared, how, BESIDE_PLAIN)
    again = interleaved(lambda: execute_prepared(weeks, connection, bytes(32), prepared), plain, turns)
    yield _row("the same over months that another question bounded", again, how, BESIDE_PLAIN_PREPARED)


def _forms(connection: duckdb.DuckDBPyConnection, turns: int, how: str) -> Iterator[Row]:
    for name, (sql, bound, plain) in FORMS.items():
        spec = QuerySpec.from_fields({**parse_sql(sql).to_json(), "bound": bound})
        yield _row(f"with {name}", interleaved(*_sides(connection, spec, plain), turns), how, BESIDE_PLAIN)


def _sides(connection: duckdb.DuckDBPyConnection, spec: QuerySpec, plain: str) -> tuple[Callable[[], object], Callable[[], object]]:
    return lambda: execute(spec, connection, bytes(32)), lambda: connection.execute(plain).fetchall()


def _row(name: str, spent: Turns, how: str, bar: str) -> Row:
    measured = {"reference": spent.median_reference, "ratio": spent.ratio}
    return Row.measured(name, "s", spent.median, f"{how}; {load()}", bar=bar, **measured)
