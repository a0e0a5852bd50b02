"""A table comes into the next generation of the records, whole or not at all; its schema stands beside its rows.

The generation that a question is pinned to holds its tables too: what is replaced while a question runs changes nothing in it.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from hospital_node.records.errors import NoRecords, NoSuchSource, StoreFailed
from hospital_node.records.generations import next_generation
from hospital_node.records.schema import DDL, open_read_only
from hospital_node.tables.reading import Cell, rows
from hospital_node.tables.schema import CategoryColumn, TableSchema, require_name

if TYPE_CHECKING:
    import pyarrow

DIRECTORY = "CREATE TABLE IF NOT EXISTS registered (name VARCHAR PRIMARY KEY, declared VARCHAR NOT NULL)"
_BATCH = 50_000
_CONFIG: dict[str, str | bool | int | float | list[str]] = {"threads": 1, "autoinstall_known_extensions": False}


@dataclass(frozen=True, slots=True)
class Registered:
    """What IT is told of a table: exact figures of this hospital, for its own eyes."""

    name: str
    rows: int
    missing: dict[str, int]
    outside: dict[str, int]
    """By column, rows beyond the public bounds: they are clamped wherever they are used."""


def add_table(folder: Path, name: str, file: Path, schema: TableSchema) -> Registered:
    """Registers or replaces. Raises a RecordsError, and has changed nothing then."""
    require_name(name)
    with next_generation(folder) as building, _database(building) as database:
        _drop(database, name)
        _load(database, name, schema, rows(file, schema))
        database.execute("INSERT INTO registered VALUES (?, ?)", [name, schema.model_dump_json()])
        return _told(database, name, schema)


def remove_table(folder: Path, name: str) -> None:
    """Raises NoSuchSource where there is none of this name."""
    require_name(name)
    with next_generation(folder) as building, _database(building) as database:
        if name not in registered_in(database):
            raise NoSuchSource(f"{name}: no registered table of this name")
        _drop(database, name)


def registered_tables(folder: Path) -> dict[str, TableSchema]:
    """The tables of the generation in force, by name; none before the first import."""
    try:
        with open_read_only(folder) as records:
            return registered_in(records)
    except NoRecords:
        return {}


def registered_in(records: duckdb.DuckDBPyConnection) -> dict[str, TableSchema]:
    """The tables that stand in this generation."""
    held = records.execute("SELECT 1 FROM information_schema.tables WHERE table_name = 'registered'").fetchall()
    found = records.execute("SELECT name, declared FROM registered ORDER BY name").fetchall() if held else []
    return {str(name): TableSchema.model_validate(json.loads(declared)) for name, declared in found}


def create_table(database: duckdb.DuckDBPyConnection, name: str, schema: TableSchema) -> None:
    """The table without a row. Its columns are numbered: no name of a file stands in SQL."""
    columns = ", ".join(f"c{n} {_type(each)}" for n, each in enumerate(schema.column))
    database.execute(f"CREATE TABLE registered_{name} (person_id BIGINT NOT NULL, day DATE, {columns})")


def _type(column: object) -> str:
    return "VARCHAR" if isinstance(column, CategoryColumn) else "DOUBLE"


def _drop(database: duckdb.DuckDBPyConnection, name: str) -> None:
    database.execute(DIRECTORY)
    database.execute(f"DROP TABLE IF EXISTS registered_{name}")
    database.execute("DELETE FROM registered WHERE name = ?", [name])


def _load(database: duckdb.DuckDBPyConnection, name: str, schema: TableSchema, found: Iterable[list[Cell]]) -> None:
    create_table(database, name, schema)
    patients: dict[Cell, int] = {}
    for batch in _batches(_numbered(found, patients)):
        database.register("staged", _staged(batch, schema))
        database.execute(f"INSERT INTO registered_{name} SELECT * FROM staged")  # noqa: S608 (a name that `require_name` has taken)
        database.unregister("staged")


def _staged(batch: Iterable[list[Cell]], schema: TableSchema) -> "pyarrow.Table":
    import pyarrow as pa  # here, since a node that only answers does without it

    kinds = [
        pa.int64(),
        pa.date32(),
        *(pa.string() if isinstance(each, CategoryColumn) else pa.float64() for each in schema.column),
    ]
    arrays = [pa.array(column, kind) for column, kind in zip(zip(*batch, strict=True), kinds, strict=True)]
    return pa.table(arrays, names=["person_id", "day", *(f"c{n}" for n in range(len(schema.column)))])


def _numbered(found: Iterable[list[Cell]], patients: dict[Cell, int]) -> Iterator[list[Cell | int]]:
    for number, (patient, *rest) in enumerate(found):
        yield [number if patient is None else patients.setdefault(patient, len(patients)), *rest]


def _batches(found: Iterator[list[Cell | int]]) -> Iterator[list[list[Cell | int]]]:
    while batch := list(islice(found, _BATCH)):
        yield batch


def _told(database: duckdb.DuckDBPyConnection, name: str, schema: TableSchema) -> Registered:
    def count(condition: str) -> int:
        found = database.execute(f"SELECT count(*) FROM registered_{name} WHERE {condition}").fetchall()  # noqa: S608 (our own names)
        return int(found[0][0])

    missing = {each.name: count(f"c{n} IS NULL") for n, each in enumerate(schema.column)}
    outside = {
        each.name: count(f"c{n} < {float(each.low)} OR c{n} > {float(each.high)}")
        for n, each in enumerate(schema.column)
        if not isinstance(each, CategoryColumn)
    }
    return Registered(name, count("true"), missing, outside)


def _database(path: Path) -> duckdb.DuckDBPyConnection:
    try:
        database = duckdb.connect(path, config=_CONFIG)
        database.execute(DDL)  # a hospital may register a table before its first import
    except duckdb.Error as cause:
        raise StoreFailed(f"{path.name}: the database cannot be built ({type(cause).__name__})") from None
    return database
