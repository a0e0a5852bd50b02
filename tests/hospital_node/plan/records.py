"""Small hospitals: rows as a test writes them, loaded into the tables that a plan reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import duckdb
from hypothesis import strategies as st

from hospital_node.plan.columns import RELATIONS
from protocols.query import QuerySpec, Table
from protocols.query.footprint import PATIENTS_BLOCK
from protocols.query.terms import Period
from tests.protocols.query.specs import FIRST_DAY


@dataclass(frozen=True)
class Row:
    """One record of any table; columns that its table does not have are left alone."""

    person_id: int | None
    day: date | None = None
    columns: dict[str, Any] = field(default_factory=dict)
    table: Table | None = None
    """None is the table that the query counts."""

    @property
    def block(self) -> str:
        return PATIENTS_BLOCK if self.day is None else f"{self.day:%Y-%m}"


@dataclass(frozen=True)
class Records:
    """One hospital's rows: of the table that a query counts, and of those it looks for a patient's other rows in."""

    table: Table
    rows: tuple[Row, ...]

    def of(self, table: Table | None) -> tuple[Row, ...]:
        """None is the counted one."""
        return tuple(row for row in self.rows if (row.table or self.table) is (table or self.table))

    def without(self, person_id: int | None, block: str | None = None) -> Records:
        """The neighbour: one patient's rows of one block are gone (of all blocks, when none is named)."""
        kept = (row for row in self.rows if row.person_id != person_id or (block is not None and row.block != block))
        return replace(self, rows=tuple(kept))

    def blocks_of(self, person_id: int | None) -> set[str]:
        return {row.block for row in self.rows if row.person_id == person_id}


class Hospital:
    """An in-memory records database, emptied and filled again for each question."""

    def __init__(self) -> None:
        self.connection = duckdb.connect(config={"threads": 1})
        for relation in RELATIONS.values():
            self.connection.execute(relation.empty_copy)
        self._filled: list[str] = []

    def hold(self, records: Records) -> duckdb.DuckDBPyConnection:
        while self._filled:
            self.connection.execute(f'DELETE FROM "{self._filled.pop()}"')
        for table, relation in RELATIONS.items():
            if rows := records.of(table):
                self._filled.append(relation.name)
                values = [value for row in rows for value in _values(row, relation.date, relation.columns)]
                marks = ", ".join([f"({', '.join('?' * len(relation.columns))})"] * len(rows))
                self.connection.execute(f'INSERT INTO "{relation.name}" VALUES {marks}', values)
        return self.connection


def _values(row: Row, date_column: str | None, columns: Iterable[str]) -> list[Any]:
    known = {"person_id": row.person_id, **row.columns} | ({date_column: row.day} if date_column else {})
    return [known.get(name) for name in columns]


PERSONS = (1, 2, 3, -9, 2**62)
_EVENT = {
    "district": st.sampled_from(["440103", "440103", "440103", "440106", "440106", "440118", "999999", "", None]),
    "sex": st.sampled_from(["F", "F", "F", "M", "M", "O", "U", "X", None]),
    "age": st.sampled_from([0, 4, 5, 14, 15, 24, 25, 59, 60, 150, 151, -1, 32767, None]),
    "visit_class": st.sampled_from(["AMB", "AMB", "EMER", "EMER", "IMP", "odd", None]),
    "icd10": st.sampled_from(["J101", "J101", "J10", "J10", "J111", "J1", "J", "J209", "U071", "A009", "B", "j101", "", None]),
    "loinc": st.sampled_from(["2345-7", "2345-7", "718-7", "x", None]),
    "value": st.sampled_from(
        ["0", "1", "-1.5", "2.000001", "0.004999", "0.005", "2.5", "-999999999999.999999", "999999999999.999999"]
    )
    .map(Decimal)
    .flatmap(lambda number: st.sampled_from([number, number, None])),
}
_BIRTHS = st.sampled_from(
    [date(2024, 2, 29), date(2000, 2, 29), date(2020, 12, 31), date(1900, 1, 1), date(2199, 1, 1), date(2010, 2, 28), None]
)


@st.composite
def records(draw: st.DrawFn, spec: QuerySpec) -> Records:
    """Of the tables that a query reads."""
    table, windows = spec.table, dict.fromkeys(window.table for window in spec.windows)
    days = _days(spec.period)
    others = tuple(row for other in windows if other is not table for row in draw(_many(_rows(other, other, days), 12)))
    if table is Table.PATIENTS:
        people = draw(st.lists(st.sampled_from(PERSONS), unique=True, max_size=5))
        columns = {name: _EVENT[name] for name in ("sex", "district")} | {"birth_date": _BIRTHS}
        return Records(table, (*(Row(person, None, draw(st.fixed_dictionaries(columns))) for person in people), *others))
    return Records(table, (*draw(_many(_rows(table, None, days), 40)), *others))


def _many(rows: st.SearchStrategy[Row], most: int) -> st.SearchStrategy[list[Row]]:
    """Left to itself a list has about five: too few to meet a question's conditions, and each other."""
    return st.sampled_from([0, most // 3, most // 2]).flatmap(lambda fewest: st.lists(rows, min_size=fewest, max_size=most))


def _days(period: Period | None) -> st.SearchStrategy[date]:
    """Mostly such as the question counts, or the day beside."""
    anywhere = st.integers(-40, 130).map(lambda n: FIRST_DAY + timedelta(days=n))
    if period is None:
        return anywhere
    inside = st.dates(period.start - timedelta(days=1), period.end)
    return st.one_of(anywhere, inside, inside, inside)


def _rows(table: Table, named: Table | None, days: st.SearchStrategy[date]) -> st.SearchStrategy[Row]:
    own = {name: _EVENT[name] for name in RELATIONS[table].columns if name in _EVENT}
    return st.builds(
        Row,
        person_id=st.sampled_from([*PERSONS, 1, 1, 1, None]),
        day=days,
        columns=st.fixed_dictionaries(own),
        table=st.just(named),
    )
