"""Public domains: weeks at the turn of years, band edges, and cells that name themselves."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.query import AgeBands, Axis, Grid, Layout, Part, QuerySpec, Segment, footprint
from protocols.query.domains import (
    DISTRICTS,
    month_label,
    months_between,
    most_weeks_in_a_month,
    week_label,
    weeks_between,
)
from tests.privacy.rules import block_local, whole_query
from tests.protocols.query.specs import specs

DAYS = st.dates(date(1990, 1, 1), date(2150, 1, 1))


@pytest.mark.parametrize(
    ("day", "week"),
    [
        (date(2024, 12, 30), "2025-W01"),
        (date(2025, 1, 1), "2025-W01"),
        (date(2026, 12, 28), "2026-W53"),
        (date(2027, 1, 3), "2026-W53"),
        (date(2027, 1, 4), "2027-W01"),
        (date(2021, 1, 3), "2020-W53"),
    ],
)
def test_a_week_belongs_to_the_year_of_its_thursday(day: date, week: str) -> None:
    assert week_label(day) == week


@given(DAYS, st.integers(1, 800))
def test_weeks_and_months_are_those_of_the_days_of_the_period(start: date, days: int) -> None:
    within = [start + timedelta(days=n) for n in range(days)]
    end = start + timedelta(days=days)
    assert list(weeks_between(start, end)) == list(dict.fromkeys(map(week_label, within)))
    assert list(months_between(start, end)) == list(dict.fromkeys(map(month_label, within)))
    by_month: dict[str, set[str]] = {}
    for day in within:
        by_month.setdefault(month_label(day), set()).add(week_label(day))
    assert most_weeks_in_a_month(start, end) == max(map(len, by_month.values()))


def test_a_year_of_53_weeks_has_all_of_them() -> None:
    weeks = weeks_between(date(2026, 1, 1), date(2027, 1, 1))
    assert (weeks[0], weeks[-1], len(weeks)) == ("2026-W01", "2026-W53", 53)


@pytest.mark.parametrize("bands", list(AgeBands))
def test_every_age_lies_in_exactly_one_band(bands: AgeBands) -> None:
    for age in range(151):
        assert sum(low <= age <= high for low, high in bands.edges) == 1
    assert len(bands.labels) == len(set(bands.labels)) == len(bands.edges)


def test_the_default_bands_are_those_of_influenza_surveillance() -> None:
    assert AgeBands.SURVEILLANCE.labels == ("0-4", "5-14", "15-24", "25-59", "60+")


def test_there_are_eleven_districts_with_two_names_each() -> None:
    assert len(DISTRICTS) == 11
    assert all(chinese.endswith("区") and english.isalpha() for chinese, english in DISTRICTS.values())


def test_cells_are_numbered_row_major_and_name_themselves() -> None:
    grid = Grid((Axis("sex", ("F", "M"), 2), Axis("district", ("a", "b", "c"), 3)))
    assert [grid.labels_of(n) for n in range(6)] == [("F", "a"), ("F", "b"), ("F", "c"), ("M", "a"), ("M", "b"), ("M", "c")]
    assert [grid.cell_of(grid.labels_of(n)) for n in range(grid.size)] == list(range(6))
    with pytest.raises(IndexError, match="the grid has 6 cells"):
        grid.labels_of(6)
    assert Grid(()).size == 1


def dated(keys: list[dict[str, object]], **more: object) -> QuerySpec:
    fields: dict[str, object] = {
        "table": "visits",
        "measures": [{"kind": "count", "hi": 3}],
        "keys": keys,
        "period": {"from": "2025-01-31", "to": "2025-03-01"},
    }
    return QuerySpec.from_fields(fields | more)


def test_the_footprint_is_every_month_the_period_touches() -> None:
    assert footprint(dated([])) == ("2025-01", "2025-02")
    patients = QuerySpec.from_fields({"table": "patients", "measures": [{"kind": "count"}]})
    assert footprint(patients) == ("static:patients",)


def test_a_patient_never_pays_for_cells_that_one_block_cannot_reach() -> None:
    assert Layout.of(dated([])).cells_kept == 1
    assert Layout.of(dated([{"key": "month"}])).cells_kept == 1
    assert Layout.of(dated([{"key": "month"}, {"key": "sex"}], cells_per_patient=9)).cells_kept == 4
    assert Layout.of(dated([{"key": "iso_week"}], cells_per_patient=9)).cells_kept == 5
    assert Layout.of(dated([{"key": "iso_week"}, {"key": "district"}])).cells_kept == 4
    patients = QuerySpec.from_fields({"table": "patients", "measures": [{"kind": "count"}], "keys": [{"key": "district"}]})
    assert Layout.of(patients).cells_kept == 1


def test_sensitivities_follow_the_block_local_rule_and_stack() -> None:
    layout = Layout.of(
        dated(
            [{"key": "iso_week"}, {"key": "district"}],
            measures=[
                {"kind": "count", "hi": 3},
                {"kind": "count_distinct_person"},
                {"kind": "avg", "column": "age", "lo": "-7", "hi": "5", "scale": 10},
            ],
        )
    )
    assert layout.sensitivities() == ((12, 36), (4, 4), (280, 19_600), (4, 4))
    assert layout.stacked() == (300, 19_644)
    assert [segment.scale for segment in layout.segments] == [1, 1, 10, 1]


@given(specs())
def test_segments_lie_side_by_side_and_fill_the_vector(spec: QuerySpec) -> None:
    layout = Layout.of(spec)
    ends = [(segment.offset, segment.offset + segment.length) for segment in layout.segments]
    assert [start for start, _ in ends] == [0, *(end for _, end in ends[:-1])]
    assert ends[-1][1] == layout.dimension
    assert all(segment.lo <= 0 <= segment.hi and segment.largest > 0 for segment in layout.segments)
    assert footprint(spec)


@given(specs())
def test_both_statements_of_each_rule_agree(spec: QuerySpec) -> None:
    """Choice 2, in `privacy` and here. Where a grid has fewer than 2k cells, the query's own bound is less."""
    for segment in Layout.of(spec).segments:
        if segment.together > 1:
            continue
        local = block_local(segment.cells, segment.lo, segment.hi)
        assert (local.l1, local.l2_squared) == segment.whole
        stated = whole_query(segment.cells, segment.lo, segment.hi) if segment.is_whole else local
        if segment.is_whole and segment.length < 2 * segment.cells:
            assert segment.l1 <= stated.l1
            assert segment.l2_squared <= stated.l2_squared
        else:
            assert (stated.l1, stated.l2_squared) == (segment.l1, segment.l2_squared)


@given(
    lo=st.integers(-3, 0),
    hi=st.integers(1, 3),
    level=st.integers(1, 3),
    leaves=st.integers(1, 3),
    kept=st.tuples(*[st.lists(st.tuples(st.integers(0, 8), st.integers(-3, 3)), max_size=4, unique_by=lambda one: one[0])] * 2),
    k=st.integers(1, 4),
)
def test_a_level_of_the_whole_query_moves_by_no_more_than_stated(
    lo: int, hi: int, level: int, leaves: int, kept: tuple[list[tuple[int, int]], list[tuple[int, int]]], k: int
) -> None:
    """Any two choices of k leaves with any totals, added up over the second of two keys: the proof of decision 0014 by trial."""
    grid = Grid((Axis("district", tuple("abc"[:level]), level), Axis("sex", tuple("FMO"[:leaves]), leaves)))
    fields = {"table": "visits", "measures": [{"kind": "sum", "column": "age", "lo": str(lo), "hi": str(hi)}], "bound": "query"}
    spec = QuerySpec.from_fields(fields | {"period": {"from": "2026-01-01", "to": "2026-03-01"}})
    segment = Segment(
        spec.measures[0], Part.TOTAL, ("district",), grid.over(("district",)), 0, lo, hi, min(k, grid.size), min(k, leaves), True
    )
    moved = [0] * level
    for sign, chosen in zip((1, -1), kept, strict=True):
        for leaf, total in [one for one in chosen if one[0] < grid.size][: segment.cells]:
            moved[leaf // leaves] += sign * max(lo, min(total, hi))
    assert sum(map(abs, moved)) <= segment.l1
    assert sum(each**2 for each in moved) <= segment.l2_squared
