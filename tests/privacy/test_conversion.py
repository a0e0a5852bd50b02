"""The conversion against dp-accounting, and its rounding."""

from fractions import Fraction

import pytest
from dp_accounting import rdp as oracle
from hypothesis import given
from hypothesis import strategies as st

from privacy.conversion import BUDGET_GRID, EPSILON_GRID, budget_for, epsilon_at, exp_up, ln_up
from privacy.errors import InvalidPrice

DELTA = Fraction(1, 10**6)
orders = st.integers(2, 256)
deltas = st.integers(3, 12).map(lambda exponent: Fraction(1, 10**exponent))
prices = st.fractions(min_value=0, max_value=20, max_denominator=10**9)


@given(prices, orders, deltas)
def test_epsilon_is_dp_accountings_rounded_up_by_less_than_a_step(rdp, order, delta):
    theirs, _ = oracle.compute_epsilon([order], [float(rdp)], float(delta))
    ours = float(epsilon_at(rdp, order, delta))
    if theirs > 0:  # for tiny prices dp-accounting has a second bound that says 0
        assert -1e-9 <= ours - theirs <= float(EPSILON_GRID) + 1e-9


def test_the_contracts_budget_is_1_4569():
    assert budget_for(Fraction(3), DELTA, 8) == Fraction(14569, 10**4)


@given(st.fractions(min_value=3, max_value=10, max_denominator=1000), st.integers(8, 64), deltas)
def test_a_spent_budget_stays_within_its_epsilon_and_one_step_more_may_not(epsilon, order, delta):
    try:
        budget = budget_for(epsilon, delta, order)
    except InvalidPrice:
        return
    assert epsilon_at(budget, order, delta) <= epsilon + EPSILON_GRID
    assert epsilon_at(budget + 2 * BUDGET_GRID, order, delta) > epsilon
    assert (budget / BUDGET_GRID).denominator == 1


@given(prices, prices, orders, deltas)
def test_epsilon_never_falls_as_the_price_rises(one, other, order, delta):
    low, high = sorted((one, other))
    assert epsilon_at(low, order, delta) <= epsilon_at(high, order, delta)


def test_epsilon_is_never_negative():
    assert epsilon_at(Fraction(0), 256, Fraction(99, 100)) == 0


def test_an_order_too_small_for_the_epsilon_leaves_no_budget():
    with pytest.raises(InvalidPrice, match="order 8 leaves nothing of epsilon 1 at delta 1/1000000; take a larger order"):
        budget_for(Fraction(1), DELTA, 8)


@pytest.mark.parametrize("delta", [Fraction(0), Fraction(1), Fraction(-1)])
def test_a_delta_that_is_no_probability_is_refused(delta):
    with pytest.raises(InvalidPrice, match="delta: expected between 0 and 1"):
        epsilon_at(Fraction(1), 8, delta)


def test_a_negative_price_or_an_order_of_one_is_refused():
    with pytest.raises(InvalidPrice, match="renyi price: expected at least 0"):
        epsilon_at(Fraction(-1), 8, DELTA)
    with pytest.raises(InvalidPrice, match="renyi order: expected an integer of at least 2, got 1"):
        epsilon_at(Fraction(1), 1, DELTA)


@given(st.fractions(min_value=0, max_value=50, max_denominator=10**6))
def test_exp_and_ln_round_up_and_undo_each_other(exponent):
    assert 0 < ln_up(exp_up(exponent)) - exponent < Fraction(1, 10**40)
