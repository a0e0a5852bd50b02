"""The factorisation that a series is measured against is the published one, and costs a month what it says."""

import numpy as np
import pytest

from privacy.factorisation import causal, optimum
from privacy.series import spans, weighted
from protocols.contract import CONTRACT
from simulations.bench.factorised import PRICE, asked, factorised, independent

MONTHS = [[month] for month in range(12)]


def test_the_optimum_for_totals_to_date_has_the_errors_of_the_literature() -> None:
    """52 steps: 2.04 a total to date, 1.56 a step, beside independent noise of 1 (Denisov et al. 2022, as jax-privacy has it)."""
    strategy = causal(optimum(np.tril(np.ones((52, 52)))))
    assert np.diag(strategy.T @ strategy) == pytest.approx(1, abs=1e-6), "one step costs as much as another"
    assert np.triu(strategy, 1) == pytest.approx(0)
    noise = np.linalg.inv(strategy)
    to_date = np.tril(np.ones((52, 52))) @ noise
    assert np.sqrt((to_date**2).sum(axis=1).mean()) == pytest.approx(2.04, abs=0.01)
    assert np.sqrt((noise**2).sum(axis=1).mean()) == pytest.approx(1.56, abs=0.02)


@pytest.mark.parametrize(
    "made",
    [asked(weighted(12, 64), 12), asked(spans(12), 12), factorised(12, (3,), MONTHS), independent(12, 1)],
    ids=["as built", "spans", "the best", "alone"],
)
def test_every_month_costs_no_more_than_is_said_and_some_month_all_of_it(made) -> None:
    dearest = max(made.price(month) for month in MONTHS)
    assert 0.99 * PRICE < dearest <= PRICE


def test_four_weeks_of_one_month_cost_four_times_what_one_does() -> None:
    weekly = independent(52, 4)
    assert weekly.price([0, 1, 2, 3]) == pytest.approx(4 * weekly.price([0]), rel=1e-9)
    assert float(weekly.price([0, 1, 2, 3])) <= float(PRICE)
    assert CONTRACT.order == 8, "the figures in decision 0017 are of this order"


@pytest.mark.statistical
def test_measured_errors_are_those_of_independent_noise_where_it_is_independent() -> None:
    """Standard error of an sd over 20,000 cells 0.5 %; five of them: a false alarm in 300,000 runs, for six comparisons."""
    alone = independent(12, 1)
    sd = float(alone.variances[0]) ** 0.5
    found = alone.errors((3,), 20_000)
    assert found["3 steps"] == pytest.approx(3**0.5 * sd, rel=0.025)
    assert found["whole"] == pytest.approx(12**0.5 * sd, rel=0.025)
