"""What bounding costs a count: patients by week and district over one million visits, beside DuckDB's own COUNT(DISTINCT).

The plain query bounds nobody. Both sides have one thread and read the same file; the reference cuts weeks by `date_trunc`, its
fastest way.
"""

import tempfile
from pathlib import Path

from hospital_node.plan import execute
from hospital_node.records.schema import open_read_only
from protocols.query.sql import parse_sql
from simulations.bench.accuracy import SQL
from simulations.bench.rows import Row, load
from simulations.bench.turns import interleaved
from simulations.city import build_city, write_duckdb

VISITS = 1_000_000
PLAIN = (
    "SELECT date_trunc('week', visit_date), district, count(DISTINCT person_id) FROM visit_occurrence "
    "WHERE visit_date >= DATE '2024-12-30' AND visit_date < DATE '2025-12-29' GROUP BY 1, 2"
)


def rows(is_quick: bool = False) -> list[Row]:
    visits, turns, spec = (VISITS // 10, 3, parse_sql(SQL)) if is_quick else (VISITS, 7, parse_sql(SQL))
    with tempfile.TemporaryDirectory(prefix="kapok-bench-") as folder:
        (records,) = write_duckdb(build_city(20250101, 1, visits), Path(folder)).values()
        with open_read_only(records) as connection:
            connection.execute("SET threads = 1")
            spent = interleaved(lambda: execute(spec, connection, bytes(32)), lambda: connection.execute(PLAIN).fetchall(), turns)
    how = f"{visits:,} visits, 52 weeks x 11 districts, one thread, processor time; median of {turns} interleaved turns; {load()}"
    name = "a bounded count of patients beside COUNT(DISTINCT)"
    return [Row.measured(name, "s", spent.median, how, reference=spent.median_reference, ratio=spent.ratio, bar="<= 2.5")]
