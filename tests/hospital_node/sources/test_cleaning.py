"""From a server's text to a plan's table: total on whatever it holds, and one patient moves the answer by no more than stated."""

from __future__ import annotations

import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hospital_node.plan import execute
from hospital_node.plan.columns import RELATIONS
from hospital_node.records.codes import CodeMap
from hospital_node.sources import mysql
from hospital_node.sources.cleaning import clean, empty
from hospital_node.sources.mapping import MappedTable, example_source
from hospital_node.sources.plans import readings_of, stretches
from hospital_node.sources.statements import Reading
from protocols.query import Layout, QuerySpec, Table, footprint
from protocols.query.footprint import PATIENTS_BLOCK
from tests.protocols.query.specs import specs

KEY, TODAY = b"the key of one period of a node!", date(2027, 1, 1)
MAPPED = {table: MappedTable.model_validate(tomllib.loads(example_source())[table]) for table in Table}
CODES = CodeMap.read()
FIELDS = ("person", "date", "sex", "district", "birth_date", "age", "kind", "code", "value")
ODD = ["", " ", "\x00", "９", "\ud7ff", "NaN", "inf", "1e400", "-0", "999999999999999999999", "'; DROP TABLE x", "a" * 300]
PEOPLE = ["A", "a", "Ａ", "B", "7"]
Raw = dict[str, Any]


@st.composite
def raws(draw: st.DrawFn, table: Table) -> list[Raw]:
    text = lambda *known: st.sampled_from([*known, *known, None, *ODD])  # noqa: E731
    days = st.integers(-20, 130).map(lambda n: date(2026, 1, 1) + timedelta(days=n))
    row = st.fixed_dictionaries(
        {
            "id": st.sampled_from(["1", "2", "3", None]),
            "person": st.sampled_from([*PEOPLE, *PEOPLE, "", None]),
            "date": st.none() if table is Table.PATIENTS else days,
            "sex": text("男", "F", "1"),
            "district": text("天河区", "440103", "广州市越秀区"),
            "birth_date": st.sampled_from([date(1990, 5, 5), date(2026, 2, 1), date(1, 1, 1), date(9999, 12, 31), None]),
            "age": text("35", "４岁", "8月", "-1", "99999"),
            "kind": text("门诊", "急诊"),
            "code": text("体温", "血红蛋白") if table is Table.MEASUREMENTS else text("J10.1", "A17.0†", "ｊ１１"),
            "value": text("37.5", "３８", "-1.5", "2.5"),
        }
    )
    return draw(st.lists(row, max_size=25))


def grouped(rows: Iterable[Raw], reading: Reading) -> pa.Table:
    """What a server makes of its rows: the days asked, grouped, distinct ids counted."""
    ids: dict[tuple[Any, ...], set[Any]] = defaultdict(set)
    for row in rows:
        is_asked = reading.days is None or reading.days[0] <= row["date"] < reading.days[1]
        if is_asked and row["person"] is not None:
            ids[tuple(row[name] for name in FIELDS)].add(row["id"])
    kinds = {name: pa.date32() if name in {"date", "birth_date"} else pa.string() for name in FIELDS}
    columns = {name: pa.array([key[place] for key in ids], kinds[name]) for place, name in enumerate(FIELDS)}
    return pa.table(columns | {"n": pa.array([len(found - {None}) for found in ids.values()], pa.int64())})


Held = dict[Table, list[Raw]]


def answer(spec: QuerySpec, held: Held) -> list[int]:
    readings = readings_of(spec)
    with empty(*readings) as records:
        for reading in readings:
            clean(records, grouped(held[reading.table], reading), reading, MAPPED[reading.table], CODES, TODAY, KEY)
        return list(map(int, execute(spec, records, KEY)))


@contextmanager
def cleaned(found: pa.Table, reading: Reading, key: bytes = KEY) -> Iterator[duckdb.DuckDBPyConnection]:
    with empty(reading) as records:
        clean(records, found, reading, MAPPED[reading.table], CODES, TODAY, key)
        yield records


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_whatever_a_server_holds_one_patient_block_moves_the_answer_by_no_more_than_stated(data: st.DataObject) -> None:
    spec = data.draw(specs())
    held = {table: data.draw(raws(table)) for table in {read.table for read in spec.reads}}
    person = data.draw(st.sampled_from([{"A", "Ａ"}, {"a"}, {"7"}]))
    month = data.draw(st.sampled_from(footprint(spec)))
    fewer = {table: [row for row in rows if row["person"] not in person or _block(row) != month] for table, rows in held.items()}
    distance = [abs(a - b) for a, b in zip(answer(spec, held), answer(spec, fewer), strict=True)]
    layout = Layout.of(spec)
    for segment, (l1, l2_squared) in zip(layout.segments, layout.sensitivities(), strict=True):
        moved = distance[segment.offset : segment.offset + segment.length]
        assert sum(moved) <= l1
        assert sum(step**2 for step in moved) <= l2_squared


def _block(row: Raw) -> str:
    return f"{row['date']:%Y-%m}" if row["date"] else PATIENTS_BLOCK


def table(**changes: Any) -> list[tuple[Any, ...]]:
    row = dict.fromkeys(FIELDS) | {"person": "A", "date": date(2026, 3, 1), "id": "1"} | changes
    reading = Reading(Table.VISITS, tuple(RELATIONS[Table.VISITS].columns), (date(2026, 3, 1), date(2026, 4, 1)))
    with cleaned(grouped([row], reading), reading) as records:
        found: list[tuple[Any, ...]] = records.execute(
            "SELECT person_id, visit_class, district, sex, age FROM visit_occurrence"
        ).fetchall()
        return found


@pytest.mark.parametrize("days", [2**31 - 1, -(2**31), 10957 - 2**31, -719_163, 2_932_897])
def test_a_birth_outside_of_the_calendar_is_no_date_and_does_not_raise(days: int) -> None:
    reading = Reading(Table.VISITS, tuple(RELATIONS[Table.VISITS].columns), (date(2026, 3, 1), date(2026, 4, 1)))
    found = grouped([dict.fromkeys(FIELDS) | {"person": "A", "date": date(2026, 3, 1), "id": "1", "age": "35"}], reading)
    found = found.set_column(FIELDS.index("birth_date"), "birth_date", pa.array([days], pa.int32()).cast(pa.date32()))
    with cleaned(found, reading) as records:
        assert records.execute("SELECT age FROM visit_occurrence").fetchall() == [(35,)]


def test_a_zero_date_of_mysql_is_no_date() -> None:
    assert mysql._plain("birth_date", ["0000-00-00", date(1990, 5, 5), "2025-00-10", None]) == [None, date(1990, 5, 5), None, None]
    assert mysql._plain("person", [b"A", None]) == ["A", None]


def test_one_patient_has_one_number_in_every_question_and_another_under_another_key() -> None:
    reading = Reading(Table.VISITS, ("person_id", "visit_date"), (date(2026, 3, 1), date(2026, 4, 1)))
    rows = [dict.fromkeys(FIELDS) | {"person": name, "date": date(2026, 3, 1), "id": "1"} for name in PEOPLE]

    def numbers(key: bytes) -> set[int]:
        with cleaned(grouped(rows, reading), reading, key) as records:
            return {one for (one,) in records.execute("SELECT person_id FROM visit_occurrence").fetchall()}

    assert table()[0][0] in numbers(KEY)
    assert len(numbers(KEY)) == 4  # Ａ is A
    assert not numbers(KEY) & numbers(bytes(32))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("OTHER", None, "U", None)),
        ({"kind": "急诊", "sex": "女", "district": "天河区", "age": "３５岁"}, ("EMER", "440106", "F", 35)),
        ({"birth_date": date(2000, 3, 2), "age": "99"}, ("OTHER", None, "U", 25)),
        ({"birth_date": date(1, 1, 1)}, ("OTHER", None, "U", 2025)),
        ({"age": "x99"}, ("OTHER", None, "U", None)),
    ],
)
def test_a_row_becomes_what_an_import_would_make_of_it(changes: dict[str, Any], expected: tuple[Any, ...]) -> None:
    assert [row[1:] for row in table(**changes)] == [expected]


@pytest.mark.parametrize(
    "changes", [{"age": "-1"}, {"birth_date": date(2026, 3, 2)}, {"person": " "}, {"person": None}, {"date": date(2026, 2, 28)}]
)
def test_a_row_that_cannot_be_is_dropped(changes: dict[str, Any]) -> None:
    assert table(**changes) == []


def test_the_future_is_dropped() -> None:
    reading = Reading(Table.VISITS, ("person_id", "visit_date"), (date(2026, 12, 1), date(2027, 2, 1)))
    rows = [dict.fromkeys(FIELDS) | {"person": "A", "date": TODAY + timedelta(days=n), "id": str(n)} for n in (-1, 0, 1)]
    with cleaned(grouped(rows, reading), reading) as records:
        assert records.execute("SELECT max(visit_date), count(*) FROM visit_occurrence").fetchone() == (TODAY, 2)


def test_the_days_of_the_blocks_that_pay() -> None:
    assert stretches({"2025-12"}) == [(date(2025, 12, 1), date(2026, 1, 1))]
    assert stretches({"2026-01", "2025-11", "2025-12"}) == [(date(2025, 11, 1), date(2026, 2, 1))]
    assert stretches({"2024-02", "2026-01"}) == [(date(2024, 2, 1), date(2024, 3, 1)), (date(2026, 1, 1), date(2026, 2, 1))]
    assert stretches(set()) == [None]
