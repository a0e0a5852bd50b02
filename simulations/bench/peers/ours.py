"""Our side: the plan of a hospital over its records file, and a share of noise for each cell."""

import sys
from fractions import Fraction
from pathlib import Path

from hospital_node.plan import execute
from hospital_node.records.schema import open_read_only
from privacy.sampler import draw
from privacy.tables import skellam_table
from protocols.query.spec import QuerySpec
from protocols.query.sql import parse_sql
from simulations.bench.peers.worker import serve

SQL = (
    "SELECT week, district, COUNT(*), COUNT(DISTINCT person_id) FROM visits "
    "WHERE date >= DATE '2024-12-30' AND date < DATE '2025-12-29' GROUP BY week, district"
)


def question() -> QuerySpec:
    """Four cells a patient over the whole year, as the peers bound it."""
    return QuerySpec.from_fields({**parse_sql(SQL).to_json(), "bound": "query"})


def main(records: Path) -> None:
    noise, spec = skellam_table(Fraction(500)), question()
    with open_read_only(records) as connection:
        connection.execute("SET threads = 1")

        def turn() -> int:
            vector = execute(spec, connection, bytes(32))
            return len(vector + draw(noise, len(vector)))

        serve(turn)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
