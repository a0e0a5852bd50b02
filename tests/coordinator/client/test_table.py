"""Numbers for people from released integers: intervals, sums with their own intervals, and words of trust."""

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.client.column import EXACT_UP_TO, Reliability, reach
from coordinator.client.table import AnswerTable, column_names
from privacy.intervals import half_width, ratio_interval
from protocols.query import Layout, QuerySpec
from protocols.query.sql import parse_sql
from tests.coordinator.client.support.answers import season

MEAN = """SELECT sex, AVG(CLAMP(value, 0, 50, 10)) FROM measurements
WHERE loinc = '718-7' AND date >= DATE '2026-01-01' AND date < DATE '2026-02-01' GROUP BY sex"""
COUNT = "SELECT COUNT(*) FROM visits WHERE date >= DATE '2026-01-01' AND date < DATE '2026-02-01'"


def _words(value: int, sd: float) -> str:
    table = AnswerTable.of(parse_sql(COUNT), [value], [Fraction(sd**2)])
    return str(table.columns[0].reliability[0])


@pytest.mark.parametrize(("sd", "least"), [(4.5, 15), (11.9, 33), (26.5, 69)])
def test_caution_starts_where_the_poisson_and_noise_interval_is_160_percent_wide(sd, least):
    assert 2 * 1.96 * math.sqrt(least + sd**2) / least <= 1.6 < 2 * 1.96 * math.sqrt(least - 2 + sd**2) / (least - 2)
    assert _words(least, sd) != Reliability.NOISE
    assert _words(least - 2, sd) == Reliability.NOISE


def test_a_count_is_reliable_from_30_events_and_30_percent_relative_standard_error():
    assert _words(30, 1) == Reliability.RELIABLE
    assert _words(29, 1) == Reliability.CAUTION
    assert _words(100, 29) != Reliability.NOISE
    assert _words(100, 28) == Reliability.RELIABLE  # sqrt(100 + 784) = 29.7
    assert _words(100, 30) == Reliability.CAUTION
    assert _words(9, 0.25) == Reliability.NOISE
    assert _words(-500, 4) == Reliability.NOISE


def test_nothing_is_clamped_before_or_after_a_sum():
    spec = parse_sql(COUNT.replace("COUNT(*)", "sex, COUNT(*)") + " GROUP BY sex")
    table = AnswerTable.of(spec, [-7, 3, -2, 0], [Fraction(16)])
    assert table.columns[0].values.tolist() == [-7, 3, -2, 0]
    assert table.collapsed(()).columns[0].values.tolist() == [-6]


@settings(deadline=None)
@given(st.lists(st.integers(-(10**6), 10**6), min_size=12, max_size=12), st.integers(1, 10_000))
def test_a_sum_of_cells_is_exact_and_its_interval_is_that_of_the_summed_noise(values, sixteenths):
    spec = parse_sql(
        "SELECT month, sex, COUNT(*) FROM visits WHERE date >= DATE '2026-01-01' AND date < DATE '2026-04-01' GROUP BY month, sex"
    )
    variance = Fraction(sixteenths, 16)
    monthly = AnswerTable.of(spec, values, [variance]).collapsed(("month",))
    column = monthly.columns[0]
    assert column.values.tolist() == [sum(values[4 * n : 4 * n + 4]) for n in range(3)]
    h = half_width(4 * variance)
    assert (column.values - column.lower).tolist() == (column.upper - column.values).tolist() == [h] * 3


def test_the_citys_interval_is_narrower_than_the_sum_of_the_districts():
    cells = season().cells
    city, parts = cells.collapsed(("iso_week",)).columns[0], cells.columns[0]
    assert city.half_width[0] == half_width(11 * Fraction(144)) < 11 * parts.half_width[0] / 3


def test_a_mean_is_the_ratio_with_fiellers_interval_in_the_columns_unit():
    table = AnswerTable.of(parse_sql(MEAN), [90_000, 500, 0, -40, 300, 4, 0, 3], [Fraction(10_000), Fraction(25)])
    column = table.columns[0]
    wanted = ratio_interval(90_000, Fraction(10_000), 300, Fraction(25))
    assert wanted is not None
    assert column.values[0] == 30.0
    assert (column.lower[0], column.upper[0]) == (wanted.low / 10, wanted.high / 10)
    assert column.reliability[0] == Reliability.RELIABLE
    assert all(math.isnan(number) for number in column.values[1:])
    assert set(column.reliability[1:]) == {Reliability.NOISE}


@settings(deadline=None)
@given(st.integers(10**6, 10**9), st.integers(500, 10**6), st.integers(10**7, 10**9))
def test_a_mean_under_very_much_noise_keeps_an_interval_no_narrower_than_the_direct_one(total, count, variance):
    spec = parse_sql(MEAN.replace("SELECT sex, ", "SELECT ").replace(" GROUP BY sex", ""))
    column = AnswerTable.of(spec, [total, count], [Fraction(variance), Fraction(2500)]).columns[0]
    z, v, w = 1.959963984540054, float(variance), 2500.0
    certain = count**2 - z * z * w
    root = z * math.sqrt(v * certain + w * float(total) ** 2)
    low, high = (total * count - root) / certain / 10, (total * count + root) / certain / 10
    assert column.lower[0] <= low <= high <= column.upper[0]
    assert column.upper[0] - column.lower[0] <= 1.1 * (high - low) + 1


def test_the_normal_half_width_meets_the_exact_one_where_it_takes_over():
    exact, normal = half_width(Fraction(EXACT_UP_TO)), reach(Fraction(EXACT_UP_TO) + 1)
    assert exact <= normal <= exact + 3


def test_a_sum_is_told_in_the_columns_unit():
    spec = parse_sql(MEAN.replace("AVG", "SUM"))
    column = AnswerTable.of(spec, [12_345, 0, 0, 0], [Fraction(10_000)]).columns[0]
    assert column.values[0] == 1234.5
    assert column.half_width[0] == half_width(Fraction(10_000)) / 10
    assert column.reliability.tolist() == ["reliable", "noise", "noise", "noise"]


def test_columns_are_named_for_their_measures_each_once():
    spec = QuerySpec.from_fields(
        {
            "table": "visits",
            "measures": [{"kind": "count"}, {"kind": "count", "hi": 5}, {"kind": "count_distinct_person"}],
            "period": {"from": "2026-01-01", "to": "2026-02-01"},
        }
    )
    assert column_names(spec.measures) == ("count", "count_2", "persons")


def test_labels_stand_beside_their_cells():
    cells = season().cells
    keys = cells.key_columns()
    for cell in (0, 10, 11, 285):
        assert (keys["iso_week"][cell], keys["district"][cell]) == cells.grid.labels_of(cell)
    assert Layout.of(season().spec).dimension == len(keys["district"]) == 286
