"""DuckDB's own count and COUNT(DISTINCT) over the same file: nobody is bounded, nothing is noised."""

import sys
from pathlib import Path

from hospital_node.records.schema import open_read_only
from simulations.bench.peers.worker import serve

SQL = (
    "SELECT date_trunc('week', visit_date), district, count(*), count(DISTINCT person_id) FROM visit_occurrence "
    "WHERE visit_date >= DATE '2024-12-30' AND visit_date < DATE '2025-12-29' AND district IS NOT NULL GROUP BY 1, 2"
)


def main(records: Path) -> None:
    with open_read_only(records) as connection:
        connection.execute("SET threads = 1")
        serve(lambda: 2 * len(connection.execute(SQL).fetchall()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
