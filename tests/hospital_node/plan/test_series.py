"""What makes a series of months add up: a question over several months is, cell by cell, the sum of the same question of each."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordinator.client.series import is_series, schedule
from hospital_node.plan import execute
from protocols.query import QuerySpec
from tests.hospital_node.plan.records import Hospital, records

KEY = b"the key of one period of a node!"
HOSPITAL = Hospital()
COUNT, SUM = {"kind": "count", "hi": 2}, {"kind": "sum", "column": "age", "lo": "-7", "hi": "40", "scale": 1}
MONTH = {"from": "2026-01-01", "to": "2026-02-01"}


def monthly(**fields: object) -> QuerySpec:
    asked = {"table": "visits", "measures": [COUNT, SUM], "keys": [{"key": "district"}, {"key": "sex"}], "period": MONTH}
    return QuerySpec.from_fields(asked | {"cells_per_patient": 1} | fields)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_quarter_is_the_sum_of_its_months_to_the_integer(data: st.DataObject) -> None:
    due = schedule(monthly())
    quarter = next(each for each in due if (each.start, each.stop) == (0, 3))
    months = [each for each in due if each.stop == each.start + 1 and each.stop <= 3]
    held = HOSPITAL.hold(data.draw(records(quarter.spec)))
    assert np.array_equal(execute(quarter.spec, held, KEY), sum(execute(each.spec, held, KEY) for each in months))


def test_each_month_is_read_by_one_question_of_each_length_and_pays_one_price() -> None:
    due = schedule(monthly())
    for month in range(12):
        assert sum(each.share for each in due if each.start <= month < each.stop) == 1
    assert due[-1].spec.to_json()["period"]["to"] == "2027-01-01"


def test_what_does_not_add_up_is_no_series() -> None:
    assert is_series(monthly())
    persons = [{"kind": "count_distinct_person"}]
    for fields in (
        {"measures": persons},
        {"keys": [{"key": "iso_week"}]},
        {"keys": [{"key": "sex"}], "totals": [[]]},
        {"period": {"from": "2026-01-01", "to": "2026-01-08"}},
        {"period": {"from": "2026-01-15", "to": "2026-02-15"}},
        {"bound": "query"},
        {"cohort": {"kind": "has", "table": "visits", "where": [], "days": [-3, -1]}, "bound": "query"},
    ):
        assert not is_series(monthly(**fields))
