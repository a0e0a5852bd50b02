"""Prices and errors before asking, recomputed here from the papers' formulas and scipy's Skellam."""

import json
import math
import re
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import skellam

from coordinator.client.errors import BadUsage
from coordinator.client.forecast import ByEpsilon, ByPrice, BySd, forecast, usual_noise
from privacy.intervals import Case
from protocols.asked import Asked
from protocols.contract import CONTRACT
from protocols.query import Layout
from protocols.query.reference import EXAMPLES, Example
from protocols.query.sql import parse_sql
from tests.coordinator.client.support.answers import WEEKLY, query_of
from tests.coordinator.client.support.bureau import QUESTION, Bureau, catalog_of

AVERAGE = """SELECT month, AVG(CLAMP(value, 0, 30, 1)), COUNT(*) FROM measurements
WHERE loinc = '718-7' AND date >= DATE '2026-01-01' AND date < DATE '2026-04-01' GROUP BY month"""


def test_a_preview_by_hand():
    cast = forecast(parse_sql(WEEKLY), BySd(Fraction(30)), 6)
    # COUNT(*) clamps at 3 rows, a patient counts in 4 cells: L1 = 12, L2 squared = 36; order 8, variance 900.
    exact = Fraction(8 * 36, 1800) + min(Fraction(15 * 36 + 6 * 12, 4 * 900**2), Fraction(36, 1800))
    assert cast.price.one == Fraction(math.ceil(exact * 10**9), 10**9)
    assert (cast.n, cast.colluders, len(cast.blocks), cast.layout.grid.size) == (6, 1, 7, 26 * 11)
    assert cast.variances == (900,)
    assert cast.total_variances == (6 * 180,)  # each of six draws 900 / (6 - 1)
    mu, h = 6 * 180 / 2, cast.half_widths[0]
    assert skellam.cdf(h, mu, mu) - skellam.cdf(-h - 1, mu, mu) >= 0.95
    assert skellam.cdf(h - 1, mu, mu) - skellam.cdf(-h, mu, mu) < 0.95


def test_the_stated_epsilon_is_the_best_of_the_orders_at_this_delta():
    cast = forecast(parse_sql(WEEKLY), BySd(Fraction(30)), 6)

    def epsilon(order: int) -> float:
        rdp = order * 36 / 1800 + min(((2 * order - 1) * 36 + 72) / (4 * 900**2), 36 / 1800)
        return rdp + math.log1p(-1 / order) + (math.log(1e6) - math.log(order)) / (order - 1)

    least = min(epsilon(order) for order in (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256))
    assert float(cast.epsilon) == pytest.approx(least, abs=2e-6)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([WEEKLY, AVERAGE, QUESTION]), st.integers(1, 1000), st.integers(4, 60))
def test_a_price_asked_for_is_never_passed(sql, thousandths, n):
    asked = Fraction(thousandths, 1000)
    cast = forecast(parse_sql(sql), ByPrice(asked), n)
    assert cast.price.one <= asked
    assert cast.price.one > asked * Fraction(1, 2), "no price is left unused"


@settings(max_examples=10, deadline=None)
@given(st.sampled_from([WEEKLY, AVERAGE]), st.integers(1, 30))
def test_an_epsilon_asked_for_is_never_passed(sql, tenths):
    asked = Fraction(tenths, 10)
    cast = forecast(parse_sql(sql), ByEpsilon(asked), 6)
    assert asked * Fraction(8, 10) < cast.epsilon <= asked


def test_both_segments_of_an_average_cost_the_same_under_one_sd():
    layout = Layout.of(parse_sql(AVERAGE))
    mean, present, rows = BySd(Fraction(20)).variances(layout.segments, 8)
    assert (mean, present, rows) == ((20 * 30) ** 2, 400, 400)
    assert Fraction(layout.segments[0].l2_squared) / mean == Fraction(layout.segments[1].l2_squared) / present


def test_the_variances_of_a_plan_are_what_a_statement_may_hold():
    spec = parse_sql(AVERAGE)
    cast = forecast(spec, usual_noise(spec, "research"), 6)
    asked = Asked.of(query_of(spec, cast.variances))
    assert tuple(piece.variance for piece in asked.pieces) == cast.variances


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.title)
def test_every_kind_of_the_reference_has_noise_where_nobody_says_which(example: Example):
    limit = CONTRACT.limit("research")
    cast = forecast(example.spec, usual_noise(example.spec, "research"), 6)
    assert limit * Fraction(19, 1000) < cast.price.one <= limit * Fraction(1, 5)


def test_noise_that_nobody_names_is_a_fiftieth_or_the_next_part_that_is_enough():
    limit = CONTRACT.limit("research")
    assert usual_noise(parse_sql(WEEKLY), "research").price == limit / 50
    middle = parse_sql("SELECT SUM(CLAMP(value, 0, 300, 10)) FROM measurements WHERE date >= '2025-01-01' AND date < '2025-02-01'")
    assert usual_noise(middle, "research").price == limit


def test_impossible_noise_is_named():
    with pytest.raises(BadUsage, match="more noise than any table"):
        forecast(parse_sql(WEEKLY), ByEpsilon(Fraction(1, 10**7)), 6)
    with pytest.raises(BadUsage, match="smaller scale"):
        forecast(parse_sql(WEEKLY), BySd(Fraction(10**6)), 6)
    fine = parse_sql(AVERAGE.replace("30, 1", "300, 100"))
    with pytest.raises(BadUsage, match="pays at least") as told:
        usual_noise(fine, "research")
    least = Fraction(str(told.value).split("at least ")[1].split(";")[0])
    assert forecast(fine, ByPrice(least), 6).price.one <= least
    with pytest.raises(BadUsage, match="smaller scale"):
        forecast(fine, ByPrice(least * Fraction(99, 100)), 6)
    with pytest.raises(BadUsage, match="too few"):
        forecast(parse_sql(WEEKLY), BySd(Fraction(10)), 1)


@pytest.mark.wire
def test_the_preview_says_which_hospital_has_too_little_left(bureau: Bureau, capsys):
    spent = {"kapok://hospital/h03": {"surveillance": {"2026-10": "0.100000000", "2026-11": "0.874000000"}}}
    bureau.desk.catalog = json.dumps(catalog_of(bureau.city, spent)).encode()
    assert bureau("preview", QUESTION, "--programme", "ILI", "--price", "0.01", "--json") == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["price"] == "0.010000000" or float(told["price"]) <= 0.01
    assert [each["fits"] for each in told["budgets"]] == [True, True, False, True, True]
    assert told["budgets"][2]["block"] == "2026-11"
    assert told["budgets"][2]["spent"] == 0.874
    assert told["hospitals"] == [f"kapok://hospital/h0{n}" for n in range(1, 6)]
    assert bureau.desk.envelopes == [], "a preview asks nothing"


@pytest.mark.wire
def test_where_a_budget_is_short_the_preview_says_which_price_would_fit_and_it_does(bureau: Bureau, capsys):
    spent = {"kapok://hospital/h03": {"surveillance": {"2026-11": "0.861000000"}}}
    bureau.desk.catalog = json.dumps(catalog_of(bureau.city, spent)).encode()
    for lang, words in (("en", "what is left still buys this question"), ("zh", "剩余预算还够这样问")):
        assert bureau("preview", QUESTION, "--programme", "ILI", "--price", "0.02", lang=lang) == 0
        told = capsys.readouterr().out
        assert words in told
        [price] = re.findall(r"--price (0\.\d{6})", told)
        assert price == "0.013140"
    assert bureau("preview", QUESTION, "--programme", "ILI", "--price", price) == 0
    assert "still buys" not in capsys.readouterr().out, "it fits"
    bureau.desk.catalog = json.dumps(
        catalog_of(bureau.city, {"kapok://hospital/h03": {"surveillance": {"2026-11": "0.874140000"}}})
    ).encode()
    assert bureau("preview", QUESTION, "--programme", "ILI", "--price", "0.02") == 0
    assert "buys no noise" in capsys.readouterr().out


@pytest.mark.wire
def test_without_a_noise_the_preview_shows_what_prices_would_buy(bureau: Bureau, capsys):
    assert bureau("preview", QUESTION, "--programme", "ILI", lang="zh") == 0
    told = capsys.readouterr().out
    for words in ("其他价格可得的精度", "隐私损失", "剩余预算", "20.0%", "5 家医院，假定 1 家可能串通", "够用"):
        assert words in told


def test_a_bound_over_the_whole_query_states_what_a_patient_of_all_blocks_pays_once():
    whole = parse_sql(WEEKLY, bound="query")
    local, cast = (forecast(spec, BySd(Fraction(30)), 6) for spec in (parse_sql(WEEKLY), whole))
    # k = 4 cells of up to 3 rows: a block exchanges them, L2 squared = 4 * 2 * 9; all of them are 4 * 9, once and not 7 times.
    assert cast.layout.sensitivities() == ((24, 72),)
    epsilons = [{each.case: float(each.epsilon) for each in one.statements[:4]} for one in (local, cast)]
    assert epsilons[1][Case.ONE_HOSPITAL] > epsilons[0][Case.ONE_HOSPITAL]
    assert epsilons[1][Case.ALL_BLOCKS] == pytest.approx(epsilons[0][Case.ONE_HOSPITAL], rel=1e-6)
    assert epsilons[1][Case.ALL_BLOCKS] < epsilons[0][Case.ALL_BLOCKS]


def test_both_ends_of_the_wire_state_the_same_of_a_bound_over_the_whole_query():
    spec = parse_sql(WEEKLY, bound="query")
    asked = Asked.of(query_of(spec))
    assert [(piece.l1, piece.l2_squared, piece.whole) for piece in asked.pieces] == [(24, 72, (12, 36))]
    assert asked.tables == {"visits"}
    seen = parse_sql(WEEKLY.replace("GROUP BY", "AND NOT HAS(diagnoses, icd10 LIKE 'J1%', -9, -1) GROUP BY"))
    assert Asked.of(query_of(seen)).tables == {"visits", "diagnoses"}
