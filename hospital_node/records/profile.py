"""What IT may look at: how many rows each table holds, from when to when, and how much of the coding is understood.

These are exact figures of this hospital: they are shown on its own terminal and go nowhere. Only `size_class` is made to be
published (a `dataset` entry), and says no more than the power of two.
"""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from hospital_node.records.schema import TABLES, open_read_only

_DATE_COLUMN = {"visit_occurrence": "visit_date", "condition_occurrence": "condition_date", "measurement": "measurement_date"}
_SMALLEST_CLASS = 1024


@dataclass(frozen=True, slots=True)
class TableProfile:
    """One table, exactly; `first` and `last` are None for `person`, which has no dates, and for an empty table."""

    name: str
    rows: int
    first: date | None
    last: date | None


@dataclass(frozen=True, slots=True)
class RecordsProfile:
    """All tables, and the share of diagnoses that no ICD-10 query can find (None without diagnoses)."""

    tables: tuple[TableProfile, ...]
    unmapped_share: float | None


def size_class(rows: int) -> str:
    """The public class of a table's size: `<1024`, `1024-2047`, `2048-4095` ...

    Raises:
        ValueError: rows is negative.
    """
    if rows < 0:
        raise ValueError("a table has no negative number of rows")
    if rows < _SMALLEST_CLASS:
        return f"<{_SMALLEST_CLASS}"
    floor = 1 << (rows.bit_length() - 1)
    return f"{floor}-{2 * floor - 1}"


def profile(folder: Path) -> RecordsProfile:
    """Counts of the generation in force.

    Raises:
        NoRecords: nothing was imported yet.
    """
    with open_read_only(folder) as records:

        def one(sql: str) -> tuple[int, date | None, date | None]:
            found: tuple[int, date | None, date | None] = records.sql(sql).fetchall()[0]
            return found

        tables = tuple(TableProfile(name, *one(_counting(name))) for name in TABLES)
        diagnoses, without, _ = records.sql(
            "SELECT count(*), count(*) FILTER (icd10 IS NULL), NULL FROM condition_occurrence"
        ).fetchall()[0]
    return RecordsProfile(tables, without / diagnoses if diagnoses else None)


def _counting(table: str) -> str:
    column = _DATE_COLUMN.get(table)
    days = f"min({column}), max({column})" if column else "NULL, NULL"
    return f"SELECT count(*), {days} FROM {table}"  # noqa: S608 (names of our own tables)
