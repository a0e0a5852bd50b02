"""What makes a series of months add up: a weighted question is, cell by cell, the weighted sum of that of each month."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordinator.client.series import is_series, scale_for, schedule
from hospital_node.plan import execute
from protocols.query import QuerySpec
from tests.hospital_node.plan.records import Hospital, records

KEY = b"the key of one period of a node!"
HOSPITAL = Hospital()
COUNT, SUM = {"kind": "count", "hi": 2}, {"kind": "sum", "column": "age", "lo": "-7", "hi": "9", "scale": 1}
MONTH = {"from": "2026-01-01", "to": "2026-02-01"}


def monthly(**fields: object) -> QuerySpec:
    asked = {"table": "visits", "measures": [COUNT, SUM], "keys": [{"key": "district"}, {"key": "sex"}], "period": MONTH}
    return QuerySpec.from_fields(asked | {"cells_per_patient": 1} | fields)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_sum_to_date_is_the_weighted_sum_of_its_months_to_the_integer(data: st.DataObject) -> None:
    due = schedule(monthly())
    summed = next(each for each in due if (each.start, each.stop) == (0, 3))
    months = [each for each in due if each.stop == each.start + 1 and each.stop <= 3]
    held = HOSPITAL.hold(data.draw(records(summed.spec)))
    weighted = sum(summed.part.of(each.start) * execute(each.spec, held, KEY) for each in months)
    assert np.array_equal(execute(summed.spec, held, KEY), weighted)


def test_no_month_pays_more_than_one_price_for_all_questions_that_read_it() -> None:
    due = schedule(monthly())
    paid = [sum(each.part.paid(month) for each in due) for month in range(12)]
    assert 0.9 < min(paid) <= max(paid) < 1
    assert [each.share for each in schedule(monthly(), months_alone=True)] == [1] * 12
    assert due[-1].spec.to_json()["period"]["to"] == "2027-01-01"


def test_a_sum_too_wide_for_weights_is_asked_as_spans_at_no_more_than_one_price() -> None:
    wide = monthly(measures=[{"kind": "sum", "column": "age", "lo": "0", "hi": "140", "scale": 10}])
    assert scale_for(wide) is None
    due = schedule(wide)
    assert {each.stop - each.start for each in due} == {1, 3, 12}
    assert all(sum(each.part.paid(month) for each in due) == 1 for month in range(12))
    assert scale_for(monthly(measures=[COUNT])) == 64


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
