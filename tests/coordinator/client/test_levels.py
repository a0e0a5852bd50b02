"""Answers with totals, spreads and quantiles: consistent levels, and numbers in the column's own unit."""

import math
from fractions import Fraction

import numpy as np
import pytest

from coordinator.client.column import Z
from coordinator.client.export import as_json
from coordinator.client.table import AnswerTable
from privacy.intervals import ratio_interval
from protocols.query import Layout, QuerySpec
from protocols.query.sql import parse_sql
from tests.coordinator.client.support.answers import hand_made

PERIOD = "date >= DATE '2026-01-01' AND date < DATE '2026-04-01'"
ROLLUP = f"SELECT month, sex, COUNT(*) FROM visits WHERE {PERIOD} GROUP BY ROLLUP(month, sex)"
LEAVES = [[40, 38, 2, -3], [55, 60, -1, 4], [20, 25, 3, 1]]
MONTHS, CITY = [80, 110, 52], 260


def _rolled(spec: QuerySpec, values: list[int]) -> AnswerTable:
    return AnswerTable.of(spec, values, [Fraction(144)] * len(Layout.of(spec).segments))


def test_levels_add_up_and_gain_from_each_other() -> None:
    table = _rolled(parse_sql(ROLLUP), [n for row in LEAVES for n in row] + MONTHS + [CITY])
    leaves, months, city = (table.collapsed(keys).columns[0] for keys in (("month", "sex"), ("month",), ()))
    assert leaves.values.reshape(3, 4).sum(axis=1) == pytest.approx(months.values)
    assert months.values.sum() == pytest.approx(city.values[0])
    assert min(MONTHS[0], sum(LEAVES[0])) - 4 < months.values[0] < max(MONTHS[0], sum(LEAVES[0])) + 4
    sd = [column.half_width[0] / Z for column in (leaves, months, city)]
    assert sd[0] < 12
    assert sd[1] < 12 < math.sqrt(4) * 12
    assert sd[2] < 12
    assert leaves.values.min() < 0, "nothing is clamped"


def test_the_released_integers_stay_in_the_answer() -> None:
    spec, released = parse_sql(ROLLUP), [n for row in LEAVES for n in row] + MONTHS + [CITY]
    given = hand_made(spec, released, [Fraction(144)] * 3)
    told = as_json(given)
    assert list(given.bundle.values) == released
    assert [each["keys"] for each in told["totals"]] == [["month"], []]
    assert told["totals"][1]["rows"][0]["measures"]["count"]["value"] == pytest.approx(told["total"]["count"]["value"])
    assert sum(row["measures"]["count"]["value"] for row in told["rows"]) == pytest.approx(told["total"]["count"]["value"])


def test_persons_are_told_at_each_level_as_released_since_they_do_not_add_up() -> None:
    spec = parse_sql(ROLLUP.replace("COUNT(*)", "COUNT(DISTINCT person_id)"))
    table = _rolled(spec, [n for row in LEAVES for n in row] + MONTHS + [200])
    assert table.collapsed(("month",)).columns[0].values.tolist() == MONTHS
    assert table.collapsed(()).columns[0].values.tolist() == [200]
    assert table.collapsed(("sex",)).columns[0].values.tolist() == np.sum(LEAVES, axis=0).tolist()


def test_patients_of_one_static_block_do_add_up() -> None:
    spec = parse_sql("SELECT sex, COUNT(DISTINCT person_id) FROM patients GROUP BY ROLLUP(sex)")
    table = _rolled(spec, [100, 120, 3, 1, 214])
    assert table.columns[0].values.sum() == pytest.approx(table.collapsed(()).columns[0].values[0])


def test_averages_and_quantiles_have_their_levels_too() -> None:
    spec = parse_sql(
        "SELECT sex, AVG(CLAMP(value, 0, 10, 1)), MEDIAN(CLAMP(value, 0, 10, 5)) FROM measurements "
        f"WHERE {PERIOD} GROUP BY ROLLUP(sex)"
    )
    mean, count, bins = [900, 800, 10, 10], [300, 200, 2, 3], [20, 150, 100, 20, 10, 10, 100, 80, 5, 5, *[1] * 10]
    table = _rolled(spec, [*mean, *count, *bins, 1720, 505, *(36, 252, 184, 23, 17)])
    city = table.collapsed(())
    assert [column.name for column in city.columns] == ["avg_value", "q0.5_value"]
    assert city.columns[0].lower[0] < 1720 / 505 < city.columns[0].upper[0]
    assert 3 < city.columns[1].lower[0] < city.columns[1].values[0] < city.columns[1].upper[0] < 5


def test_a_spread_and_quantiles_are_told_in_the_columns_unit() -> None:
    spec = parse_sql(
        "SELECT STDDEV(CLAMP(value, 60, 200, 14)), VARIANCE(CLAMP(value, 60, 200, 14)), "
        f"QUANTILE(CLAMP(value, 60, 200, 7), [0.25, 0.75]) FROM measurements WHERE {PERIOD}"
    )
    # 1,000 values: half at 110, half at 150, so 4 steps of 5 on either side of the middle, 130.
    sums = [0, 16_000, 1_000]
    columns = _rolled(spec, [*sums, *sums, 0, 0, 500, 0, 500, 0, 0]).columns
    assert [column.name for column in columns] == ["stddev_value", "variance_value", "q0.25_value", "q0.75_value"]
    assert columns[1].values[0] == pytest.approx((16 - 1 / 12) * 25)
    assert columns[0].values[0] == pytest.approx(5 * math.sqrt(16 - 1 / 12))
    assert columns[0].lower[0] < columns[0].values[0] < columns[0].upper[0] < 21
    assert columns[2].values[0] == pytest.approx(110)
    assert columns[3].values[0] == pytest.approx(150)


def test_what_is_lost_in_noise_is_no_number() -> None:
    spec = parse_sql(f"SELECT MEDIAN(CLAMP(value, 0, 10, 4)), STDDEV(CLAMP(value, 0, 10)) FROM measurements WHERE {PERIOD}")
    columns = _rolled(spec, [3, -4, 5, 1, 9, 40, 30]).columns
    assert all(math.isnan(column.values[0]) for column in columns)
    assert {str(column.reliability[0]) for column in columns} == {"noise"}


WEEKLY_SHARE = (
    "SELECT month, COUNT(*), COUNT(*) FILTER (WHERE HAS(diagnoses, icd10 LIKE 'J1%', 0, 0)), COUNT(DISTINCT person_id) "
    f"FROM visits WHERE {PERIOD} GROUP BY month"
)


def test_a_filtered_count_is_told_as_a_percentage_of_the_same_count() -> None:
    spec = parse_sql(WEEKLY_SHARE)
    table = _rolled(spec, [1000, 2000, 0, 50, 300, 4, 7, 8, 9])
    assert [column.name for column in table.columns] == ["count", "count_where", "persons", "count_percent"]
    percent = table.columns[3]
    assert percent.values[:2].tolist() == pytest.approx([5, 15])
    found = ratio_interval(50, Fraction(144), 1000, Fraction(144))
    assert found is not None
    assert (percent.lower[0], percent.upper[0]) == pytest.approx((100 * found.low, 100 * found.high))
    assert math.isnan(percent.values[2]), "a whole that may be nothing has no share"
    city = table.collapsed(()).columns[3]
    assert city.values[0] == pytest.approx(100 * 354 / 3000)
    assert city.upper[0] - city.lower[0] < percent.upper[0] - percent.lower[0]
    assert as_json(hand_made(spec, [1000, 2000, 0, 50, 300, 4, 7, 8, 9], [Fraction(144)] * 3))["measures"][3] == "count_percent"


def test_a_filtered_count_without_its_whole_has_no_percentage() -> None:
    other = WEEKLY_SHARE.replace("COUNT(*), COUNT(*) FILTER", "CLAMP(COUNT(*), 0, 5), COUNT(*) FILTER")
    table = _rolled(parse_sql(other), [1] * 9)
    assert [column.name for column in table.columns] == ["count", "count_where", "persons"]


@pytest.mark.statistical
def test_the_interval_of_a_percentage_covers_what_is_asked_of_it() -> None:
    """4,000 releases of one true share; fewer than 94 % covered has a probability below 1e-4 at a true 95.3 %."""
    random, sd, cells = np.random.default_rng(20261125), 20, 2000
    noise = [np.rint(random.normal(0, sd, cells)).astype(int) for _ in range(2)]
    covered = []
    for part, whole in ((60, 900), (400, 5000)):
        table = AnswerTable.of(_cells_of(cells), [*(whole + noise[0]), *(part + noise[1])], [Fraction(sd**2)] * 2)
        percent = table.columns[2]
        covered += ((percent.lower <= 100 * part / whole) & (100 * part / whole <= percent.upper)).tolist()
    assert np.mean(covered) >= 0.94


def _cells_of(cells: int) -> QuerySpec:
    edges = ", ".join(map(str, range(201)))
    where, keys = f"WHERE {PERIOD.replace('2026-04', '2026-11')}", f"month, BIN(age, {edges})"
    spec = parse_sql(f"SELECT {keys}, COUNT(*), COUNT(*) FILTER (WHERE sex = 'F') FROM visits {where} GROUP BY {keys}")
    assert spec.grid().size == cells
    return spec
