"""Rates, largest cells and cross-tables, from released numbers alone."""

import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.stats import skellam

from coordinator.client.errors import BadUsage
from coordinator.client.further import Further, Population, independence, top
from coordinator.client.table import AnswerTable
from protocols.query import QuerySpec
from protocols.query.sql import parse_sql
from tests.coordinator.client.support.bureau import QUESTION, Bureau

PERIOD = "date >= DATE '2026-01-01' AND date < DATE '2026-02-01'"
CODES = ("A00", "B01", "J09", "J10", "J11", "J18", "U07")
TOP = f"SELECT icd10_prefix, COUNT(*) FROM diagnoses WHERE {PERIOD} AND icd10_prefix IN {CODES} GROUP BY icd10_prefix"


def _answer(values: list[int], variance: int = 100) -> AnswerTable:
    return AnswerTable.of(parse_sql(TOP), values, [Fraction(variance)])


def test_the_largest_cells_are_told_with_intervals_that_hold_together() -> None:
    found = top(_answer([5, 900, 30, 500, 480, -8, 12]), 2)
    assert [each.labels for each in found] == [("B01",), ("J10",)]
    assert [each.is_certain for each in found] == [True, False], "J11 may be larger than J10"
    assert [each.is_certain for each in top(_answer([5, 900, 30, 500, 480, -8, 12]), 3)] == [True, True, True]
    h = found[0].high - found[0].value
    mu = 50.0
    assert skellam.cdf(h, mu, mu) - skellam.cdf(-h - 1, mu, mu) >= 1 - 0.05 / 7
    assert skellam.cdf(h - 1, mu, mu) - skellam.cdf(-h, mu, mu) < 1 - 0.05 / 7


@pytest.mark.statistical
def test_intervals_of_picked_cells_cover_although_they_were_picked() -> None:
    # Seven equal cells, so the largest is always picked for its noise. 200 trials at 95 %: 4.5 standard errors below, 3e-6.
    random, hits, trials = np.random.default_rng(2), 0, 200
    for _ in range(trials):
        noise = skellam.rvs(200, 200, size=7, random_state=random)
        hits += all(each.low <= 100 <= each.high for each in top(_answer((100 + noise).tolist(), 400), 3))
    assert hits / trials > 0.95 - 4.5 * math.sqrt(0.95 * 0.05 / trials)


@pytest.mark.statistical
def test_independent_keys_are_called_associated_no_more_often_than_stated() -> None:
    # p <= 0.1 in at most a tenth of 200 tables, and 4.5 standard errors (2.1 points each): false alarm 3e-6.
    random, trials = np.random.default_rng(9), 200
    margins = np.outer([0.5, 0.3, 0.2], [0.4, 0.4, 0.2]).reshape(-1)
    alarms = naive = 0
    for _ in range(trials):
        noise = skellam.rvs(288, 288, size=9, random_state=random)
        table = (random.multinomial(2_000, margins) + noise).reshape(3, 3)
        found = independence(table, 576.0, random, trials=199)
        alarms += found.p <= 0.1
        naive += (
            independence(table, 0.0, random, trials=1).statistic > 7.779
        )  # the 90 % quantile of chi-square with 4 degrees of freedom
    assert alarms / trials < 0.1 + 4.5 * math.sqrt(0.1 * 0.9 / trials)
    assert naive / trials > 0.5, "the test without the noise cries wolf"


def test_a_strong_association_is_seen_through_the_noise() -> None:
    found = independence(np.array([[900, 100], [100, 900]]), 400.0, np.random.default_rng(1), trials=500)
    assert found.p == pytest.approx(1 / 501)


def test_without_noise_the_statistic_is_pearsons_and_p_is_its() -> None:
    table = np.array([[40, 60, 0], [70, 55, 0], [30, 45, 0]])
    found, known = independence(table, 0.0, np.random.default_rng(2), trials=20_000), stats.chi2_contingency(table[:, :2])
    assert found.statistic == pytest.approx(known.statistic)
    assert found.p == pytest.approx(known.pvalue, abs=0.02)


@pytest.mark.statistical
def test_categories_that_nobody_is_in_do_not_drown_an_association() -> None:
    """Two sexes by three classes, and two more sexes and one more class that nobody has: seen in nearly every city.

    Divided by E alone, the empty cells' noise made a statistic of thousands and hid it in half of them. Power at p < 0.05 is above
    0.99; of 200 cities less than 0.95 are seen in fewer than 10^-6 of all runs.
    """
    random, truth = np.random.default_rng(3), np.zeros((4, 4))
    truth[:2, :3] = [[2425, 1150, 300], [2629, 750, 420]]
    noisy = [(random.poisson(truth) + random.normal(0, 22, truth.shape).round()).astype(np.int64) for _ in range(200)]
    seen = [independence(each, 22.0**2, random, trials=99) for each in noisy]
    assert sum(each.p < 0.05 for each in seen) >= 190
    assert max(each.statistic for each in seen) < 300


def test_a_table_of_nobody_is_not_associated() -> None:
    assert independence(np.array([[0, 0], [0, 0]]), 0.0, np.random.default_rng(1)).p == 1
    assert independence(np.array([[-9, 4], [-3, -20]]), 400.0, np.random.default_rng(1)).p > 0.01


def _census(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "census.csv"
    path.write_text(text, "utf-8-sig")
    return path


def test_a_rate_is_the_count_over_the_residents_with_its_interval(tmp_path: Path) -> None:
    spec = parse_sql(f"SELECT sex, COUNT(DISTINCT person_id) FROM visits WHERE {PERIOD} AND sex IN ('F', 'M') GROUP BY sex")
    population = Population.read(_census(tmp_path, "population,sex\n9000000,F\n9500000,M\n"))
    population.require(spec)
    cells = AnswerTable.of(spec, [4500, 950], [Fraction(100)])
    rate = population.per_100k(cells)
    assert rate.name == "persons_per_100k"
    assert rate.values == pytest.approx([50, 10])
    assert rate.half_width * [90, 95] == pytest.approx(cells.columns[0].half_width)


@pytest.mark.parametrize(
    "text",
    ["", "sex\nF\n", "sex,population\nF,-3\n", "sex,population\nF,0\n", "sex,population\nF,٣\n", "sex,population\nF,1\nF,2\n",
     "sex,population\nF,1,2\n", "sex,population\nF\n", "sex,sex,population\nF,F,1\n"],
)  # fmt: skip
def test_a_census_that_is_none_is_named_with_its_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadUsage, match=r"census\.csv:\d"):
        Population.read(_census(tmp_path, text))


@pytest.mark.parametrize(("further", "text"), [
    (Further(top=3), f"SELECT COUNT(*) FROM visits WHERE {PERIOD}"),
    (Further(top=3), f"SELECT sex, AVG(CLAMP(age, 0, 9)) FROM visits WHERE {PERIOD} GROUP BY sex"),
    (Further(chi_square=True), f"SELECT sex, COUNT(*) FROM visits WHERE {PERIOD} GROUP BY sex"),
    (Further(chi_square=True), f"SELECT sex, month, COUNT(*) FROM visits WHERE {PERIOD} GROUP BY ROLLUP(sex, month)"),
    (Further(population=Population(("sex",), {("F",): 3})), f"SELECT sex, COUNT(*) FROM visits WHERE {PERIOD} GROUP BY sex"),
    (Further(population=Population(("sex",), {("F",): 3})), f"SELECT month, COUNT(*) FROM visits WHERE {PERIOD} GROUP BY month"),
])  # fmt: skip
def test_what_an_answer_cannot_show_is_said_before_asking(further: Further, text: str) -> None:
    with pytest.raises(BadUsage):
        further.require(parse_sql(text))


@pytest.mark.wire
def test_the_program_shows_them_and_a_typing_error_asks_nothing(bureau: Bureau, tmp_path: Path, capsys) -> None:
    bureau.answers_in_life()
    assert bureau("query", QUESTION, "--programme", "ILI", "--sd", "20", "--chi-square") == 2
    assert bureau("query", QUESTION, "--programme", "ILI", "--sd", "20", "--population", str(tmp_path / "none.csv")) == 2
    assert bureau.desk.envelopes == []
    labels = QuerySpec.grid(parse_sql(QUESTION)).axes[0].labels
    census = _census(tmp_path, "district,population\n" + "".join(f"{code},1000000\n" for code in labels))
    capsys.readouterr()
    asked = ("query", QUESTION, "--programme", "ILI", "--sd", "20", "--top", "3", "--population", str(census))
    assert bureau(*asked, "--json") == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    counts = [row["measures"]["count"]["value"] for row in told["rows"]]
    assert [each["value"] for each in told["top"]] == sorted(counts, reverse=True)[:3]
    assert [each["value"] for each in told["per_100k"]] == pytest.approx([count / 10 for count in counts])
    assert bureau("answers", told["query"], *asked[-4:], lang="zh") == 0
    assert "每 10 万人" in capsys.readouterr().out
