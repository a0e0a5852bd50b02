"""Prepared months give the integers of the unprepared plan: whatever was asked before, and never those of other records or keys."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hospital_node.plan import execute
from hospital_node.plan import prepared as module
from hospital_node.plan.months import narrowed
from hospital_node.plan.prepared import Prepared, execute_prepared
from protocols.query import QuerySpec, Table
from protocols.query.reference import EXAMPLES, Example
from protocols.query.sql import parse_sql
from protocols.query.terms import Period
from tests.hospital_node.plan.records import Hospital, Records, Row, records
from tests.hospital_node.plan.test_neighbours import weekly
from tests.hospital_node.plan.test_reference import held, rows_of
from tests.protocols.query.specs import specs, weighted_specs

KEY, NEXT_KEY = b"the key of one period of a node!", b"and that of the period after it!"
HOSPITAL = Hospital()
SLOW_DATABASE = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def of_other_days(spec: QuerySpec, first: int, last: int) -> QuerySpec:
    """The same question with its ends moved by some days, at least one day long."""
    if spec.period is None:
        return spec
    start = spec.period.start + timedelta(days=first)
    end = max(spec.period.end + timedelta(days=last), start + timedelta(days=1))
    return spec.model_copy(update={"period": Period.model_validate({"from": start, "to": end})})


@SLOW_DATABASE
@given(st.data())
def test_prepared_months_give_the_integers_of_the_plan(data: st.DataObject) -> None:
    spec = data.draw(specs())
    connection = HOSPITAL.hold(data.draw(records(spec)))
    prepared = Prepared(data.draw(st.sampled_from([0, 500, 1 << 20])))
    moves = data.draw(st.lists(st.tuples(st.integers(-40, 40), st.integers(-40, 40)), max_size=2))
    for asked in (spec, *(of_other_days(spec, *move) for move in moves), spec):
        key = data.draw(st.sampled_from([KEY, KEY, NEXT_KEY]))
        assert execute_prepared(asked, connection, key, prepared).tolist() == execute(asked, connection, key).tolist()


@SLOW_DATABASE
@given(st.data())
def test_prepared_months_are_weighed_and_kept_unweighted(data: st.DataObject) -> None:
    spec = data.draw(weighted_specs())
    connection, prepared = HOSPITAL.hold(data.draw(records(spec))), Prepared()
    other = QuerySpec.from_fields(spec.to_json() | {"weights": [3, *(spec.weights or ())[1:]]})
    for asked in (spec, other, spec.model_copy(update={"weights": None})):
        assert execute_prepared(asked, connection, KEY, prepared).tolist() == execute(asked, connection, KEY).tolist()


CUT = "date >= DATE '2025-01-10' AND date < DATE '2025-03-20'"
DENSE = [
    f"SELECT week, district, COUNT(*), COUNT(DISTINCT person_id) FROM visits WHERE {CUT} GROUP BY week, district",
    f"SELECT district, week, COUNT(DISTINCT person_id) FROM visits WHERE {CUT} GROUP BY ROLLUP(district, week)",
    f"SELECT week, COUNT(DISTINCT person_id) FROM visits WHERE {CUT} GROUP BY week",
    f"SELECT sex, week, COUNT(DISTINCT person_id) FROM diagnoses WHERE {CUT} GROUP BY CUBE(sex, week)",
    f"SELECT sex, COUNT(DISTINCT person_id), COUNT(*) FILTER (WHERE icd10 LIKE 'J1%') FROM diagnoses WHERE {CUT} GROUP BY sex",
    f"SELECT month, SUM(CLAMP(value, 0, 9)), COUNT(*) FILTER (WHERE sex = 'F') FROM measurements WHERE {CUT} GROUP BY month",
]
DAYS = st.integers(-30, 30)


@cache
def crowded(table: Table) -> Hospital:
    """Of 400 rows of 40 patients."""
    hospital = Hospital()
    hospital.hold(Records(table, rows_of(table)))
    return hospital


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(DENSE), st.sampled_from([1, 2, 5]), st.lists(st.tuples(DAYS, DAYS, st.booleans()), min_size=1, max_size=2))
def test_what_many_patients_left_is_right_for_other_days_and_keys(sql: str, k: int, others: list[tuple[int, int, bool]]) -> None:
    spec = parse_sql(sql).model_copy(update={"cells_per_patient": k})
    connection, prepared = crowded(spec.table).connection, Prepared()
    for first, last, is_next in (*others, (0, 0, False)):
        asked, key = of_other_days(spec, first, last), NEXT_KEY if is_next else KEY
        vector = execute(asked, connection, key)
        assert vector.any()
        assert execute_prepared(asked, connection, key, prepared).tolist() == vector.tolist()


MEASURES = [
    "COUNT(*)",
    "COUNT(DISTINCT person_id)",
    "SUM(CLAMP(value, 0, 9))",
    "AVG(CLAMP(value, 0, 9))",
    "COUNT(*) FILTER (WHERE sex = 'F')",
    "COUNT(*) FILTER (WHERE sex = 'M')",
    "COUNT(*), COUNT(*) FILTER (WHERE sex = 'F')",
    "COUNT(*) FILTER (WHERE sex = 'M'), COUNT(*) FILTER (WHERE sex = 'F')",
]


@pytest.mark.parametrize("before", MEASURES)
@pytest.mark.parametrize("measure", MEASURES)
def test_what_another_measure_left_of_the_same_rows_is_not_taken_for_one_s_own(before: str, measure: str) -> None:
    connection, prepared = crowded(Table.MEASUREMENTS).connection, Prepared()
    for asked in (before, measure):
        spec = parse_sql(f"SELECT month, {asked} FROM measurements WHERE {CUT} GROUP BY month")
        spec = spec.model_copy(update={"cells_per_patient": 1})
        assert execute_prepared(spec, connection, KEY, prepared).tolist() == execute(spec, connection, KEY).tolist()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.title)
def test_every_example_is_answered_alike_once_and_again(example: Example) -> None:
    connection, prepared = Hospital().hold(held(example.spec)), Prepared()
    expected = execute(example.spec, connection, KEY).tolist()
    assert [execute_prepared(example.spec, connection, KEY, prepared).tolist() for _ in range(2)] == [expected, expected]


def test_months_are_read_once_whole_and_in_one_pass_however_a_period_cuts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    stretches: list[str] = []
    read = module.rows_with_days

    def noted(asked: QuerySpec, *rest: object) -> object:
        assert asked.period is not None
        stretches.append(f"{asked.period.start} {asked.period.end}")
        return read(asked, *rest)  # type: ignore[arg-type]

    def read_by(asked: QuerySpec, key: bytes = KEY) -> list[str]:
        stretches.clear()
        execute_prepared(asked, connection, key, prepared)
        return list(stretches)

    monkeypatch.setattr(module, "rows_with_days", noted)
    spec = weekly(end="2026-03-15")
    connection, prepared = Hospital().hold(held(spec)), Prepared()
    assert read_by(spec) == ["2026-01-01 2026-04-01"]
    assert read_by(spec) == []
    assert read_by(of_other_days(spec, 40, 9)) == []
    assert read_by(of_other_days(spec, -20, 40)) == ["2025-12-01 2026-01-01", "2026-04-01 2026-05-01"]
    assert read_by(spec, NEXT_KEY) == ["2026-01-01 2026-04-01"]
    assert read_by(weekly({"kind": "count"}, end="2026-03-15")) == ["2026-01-01 2026-04-01"]
    assert read_by(weekly(k=3, end="2026-03-15")) == ["2026-01-01 2026-04-01"]


def test_what_looks_at_other_days_keeps_nothing_and_what_looks_at_the_same_day_does() -> None:
    """A whole month would look for them in days that a part of it has not paid for."""
    for days, is_kept in (("-30, 0", False), ("0, 0", True)):
        seen = f"HAS(visits, visit_class = 'IMP', {days})"
        spec = parse_sql(f"SELECT week, COUNT(DISTINCT person_id) FROM diagnoses WHERE {CUT} AND {seen} GROUP BY week")
        connection, prepared = Hospital().hold(held(spec)), Prepared()
        vector = execute(spec, connection, KEY).tolist()
        assert [execute_prepared(spec, connection, KEY, prepared).tolist() for _ in range(2)] == [vector, vector]
        assert bool(prepared.size) is is_kept


IN_TWO_MONTHS = ["week", "district, week", "week, district", "ROLLUP(district, week)", "CUBE(sex, week)", "sex"]


@pytest.mark.parametrize(("first", "last"), [("01-01", "03-01"), ("01-29", "02-02"), ("01-31", "03-01")])
@pytest.mark.parametrize("keys", IN_TWO_MONTHS)
def test_a_patient_of_two_months_in_one_week_counts_once_in_it(first: str, last: str, keys: str) -> None:
    """The week from 27 January to 2 February 2025: of three patients two come in both months, one of these from two districts."""
    came = [(1, 31, "440103"), (1, 32, "440103"), (2, 31, "440103"), (2, 32, "440104"), (3, 32, "440103")]
    rows = (Row(person, date(2025, 1, 1) + timedelta(days=day - 1), {"district": d, "sex": "F"}) for person, day, d in came)
    select = keys[keys.find("(") + 1 :].rstrip(")")
    period = f"date >= DATE '2025-{first}' AND date < DATE '2025-{last}'"
    spec = parse_sql(f"SELECT {select}, COUNT(DISTINCT person_id) FROM visits WHERE {period} GROUP BY {keys}")
    connection, prepared = Hospital().hold(Records(Table.VISITS, tuple(rows))), Prepared()
    vector = execute(spec, connection, KEY).tolist()
    assert max(vector) == 3
    assert [execute_prepared(spec, connection, KEY, prepared).tolist() for _ in range(2)] == [vector, vector]


def test_no_more_is_kept_than_was_allowed() -> None:
    fields = weekly().to_json() | {"period": {"from": "2025-01-01", "to": "2025-04-01"}}
    asked = QuerySpec.from_fields(fields)
    connection = Hospital().hold(held(asked))
    one = Prepared()
    execute_prepared(asked, connection, KEY, one)
    sizes = [kept.nbytes for kept in one._kept.values()]
    assert one._bytes == sum(sizes) > 0
    tight = Prepared(sum(sizes[1:]))
    execute_prepared(asked, connection, KEY, tight)
    assert len(tight._kept) == 2
    assert tight._bytes == sum(sizes[1:])


def test_months_that_a_node_has_to_have_ready_stay_however_many_bytes_records_take() -> None:
    """One patient with a number far from all others makes every month larger: what is kept must not show it."""
    asked = parse_sql(DENSE[0])
    other, records = asked.model_copy(update={"cells_per_patient": 3}), held(asked)
    far = replace(records, rows=(*records.rows, replace(records.rows[0], person_id=2**62)))
    sizes = []
    for each in (records, far):
        prepared = Prepared()
        execute_prepared(asked, Hospital().hold(each), KEY, prepared)
        sizes.append(prepared._bytes)
    assert sizes[1] > sizes[0] + 8 * 40
    for each in (records, far):
        connection, prepared = Hospital().hold(each), Prepared(sizes[0])
        prepared.remember([asked], KEY)
        for spec in (asked, other, asked):
            execute_prepared(spec, connection, KEY, prepared)
        months = [module.month_of(part) for part in module.parts_of(asked)]
        assert all(prepared._found(module._print_of(asked, KEY), months))
        assert not any(prepared._found(module._print_of(other, KEY), months))
        prepared.remember([], KEY)
        assert prepared._bytes <= sizes[0]


def test_numbers_in_fewer_bytes_are_the_same_numbers() -> None:
    numbers = np.array([-(2**40), 3, 2**62], dtype=np.int64)
    for each in (numbers, numbers[1:2], np.zeros(3, dtype=np.int64), np.array([], dtype=np.int64), np.array([255, -1])):
        assert narrowed(each).tolist() == each.tolist()
