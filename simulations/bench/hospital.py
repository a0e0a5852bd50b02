"""One hospital of many visits, for benchmarks: a city of up to a million visits, and copies of it with other patients."""

from pathlib import Path

import duckdb

from hospital_node.records.generations import file_in_force, next_generation
from simulations.city import build_city, write_duckdb

DRAWN = 1_000_000
FIRST_DAY, END = "DATE '2024-12-30'", "DATE '2025-12-29'"


def hospital_of(visits: int, folder: Path) -> Path:
    """The records folder, its rows in the order of time, as an import leaves them. Beyond a million only whole millions."""
    copies, rest = divmod(visits, DRAWN)
    if copies and rest:
        raise ValueError(f"expected whole millions of visits, got {visits:,}")
    (records,) = write_duckdb(build_city(20250101, 1, rest or DRAWN), folder).values()
    if copies > 1:
        _multiply(records, copies)
    return records


def _multiply(records: Path, copies: int) -> None:
    others = f"* REPLACE (visit_id * {copies} + copy AS visit_id, person_id * {copies} + copy AS person_id)"
    with next_generation(records) as building, duckdb.connect(building) as connection:
        connection.execute("CREATE TEMP TABLE drawn AS FROM visit_occurrence")
        connection.execute("DELETE FROM visit_occurrence")
        many = f"SELECT {others} FROM drawn, range({copies}) AS c(copy)"
        connection.execute(f"INSERT INTO visit_occurrence SELECT * EXCLUDE (copy) FROM ({many}) ORDER BY visit_date, visit_id")


def week_table(records: Path, out: Path) -> None:
    """For the peers: person, week of 2025 from 0, district of every visit that lies in a cell. CSV, which all of them read."""
    week = f"CAST(date_diff('day', {FIRST_DAY}, visit_date) // 7 AS INTEGER) AS week"
    inside = f"visit_date >= {FIRST_DAY} AND visit_date < {END} AND district IS NOT NULL"
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{file_in_force(records)}' AS records (READ_ONLY)")
        rows = f"SELECT person_id, {week}, district FROM records.visit_occurrence WHERE {inside}"
        connection.execute(f"COPY ({rows}) TO '{out}' (FORMAT csv, HEADER)")
