"""The filter's rules, as properties over any history of charges."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.errors import InvalidFootprint, InvalidPrice, MalformedCharge
from privacy.filter import (
    CHARGE_GRID,
    NOTHING,
    Account,
    Budget,
    Overspend,
    Spent,
    charge_on_grid,
    decode_charge,
    encode_charge,
    refusals,
)

PURPOSES = ("surveillance", "research", "outbreak")
BUDGET = Budget.split(Fraction(14569, 10**4), dict(zip(PURPOSES, (Fraction(6, 10), Fraction(3, 10), Fraction(1, 10)), strict=True)))
charges = st.integers(1, 10**9).map(lambda steps: steps * CHARGE_GRID)
blocks = st.lists(st.sampled_from(["2026-01", "2026-02", "2026-03", "static:patients"]), min_size=1, max_size=5)
asks = st.lists(st.tuples(st.sampled_from(PURPOSES), blocks, charges), max_size=30)


def answer(account: Account, purpose: str, footprint: list[str], charge: Fraction) -> Account:
    return account if refusals(account, BUDGET, purpose, footprint, charge) else account.after(purpose, footprint, charge)


@given(asks)
def test_no_history_of_questions_passes_a_limit_or_lowers_a_total(history):
    account = Account()
    for purpose, footprint, charge in history:
        before, account = account, answer(account, purpose, footprint, charge)
        assert all(account.spent(*key).single >= spent.single for key, spent in before.totals.items())
    assert all(spent.single <= BUDGET.limit(purpose) for (purpose, _), spent in account.totals.items())


@given(asks)
def test_totals_are_the_sums_of_what_was_accepted_in_any_order(history):
    accepted, account = [], Account()
    for ask in history:
        after = answer(account, *ask)
        if after is not account:
            accepted.append(ask)
        account = after
    replayed = Account()
    for ask in reversed(accepted):
        replayed = replayed.after(*ask)
    assert replayed == account


@given(asks, st.sampled_from(PURPOSES), blocks, charges)
def test_a_refused_charge_never_closes_the_filter(history, purpose, footprint, charge):
    account = Account()
    for ask in history:
        account = answer(account, *ask)
    left = min(BUDGET.limit(purpose) - account.spent(purpose, block).single for block in footprint)
    assert refusals(account, BUDGET, purpose, footprint, left + charge)  # refused ...
    if left > 0:
        assert refusals(account, BUDGET, purpose, footprint, left) == []  # ... and exactly what is left still fits


@given(asks, st.sampled_from(PURPOSES), blocks, charges)
def test_a_refusal_names_exactly_the_blocks_over_their_limit_once_each_in_order(history, purpose, footprint, charge):
    account = Account()
    for ask in history:
        account = answer(account, *ask)
    named = refusals(account, BUDGET, purpose, footprint, charge)
    limit = BUDGET.limit(purpose)
    assert [over.block for over in named] == [
        block for block in sorted(set(footprint)) if account.spent(purpose, block).single + charge > limit
    ]
    assert all(over.spent + over.charge > over.limit == limit for over in named)


def test_every_block_over_its_limit_is_named_with_its_numbers():
    account = Account().after("outbreak", ["2026-01", "2026-03"], Fraction(14, 100))
    charge = Fraction(1, 100)
    named = refusals(account, BUDGET, "outbreak", ["2026-03", "2026-02", "2026-01"], charge)
    assert named == [
        Overspend("outbreak", block, charge, Fraction(14, 100), Fraction(14569, 10**5)) for block in ("2026-01", "2026-03")
    ]


def test_a_block_named_twice_in_a_footprint_pays_once():
    assert Account().after("research", ["2026-01", "2026-01"], CHARGE_GRID).spent("research", "2026-01").single == CHARGE_GRID


def test_a_charge_pays_in_its_purpose_and_blocks_only():
    account = Account().after("research", ["2026-01"], CHARGE_GRID)
    assert account.spent("surveillance", "2026-01") == NOTHING
    assert account.spent("research", "2026-02") == NOTHING


def test_a_purpose_without_a_limit_has_nothing_to_spend():
    assert [over.limit for over in refusals(Account(), BUDGET, "marketing", ["2026-01"], CHARGE_GRID)] == [0]


def test_an_account_is_a_value_that_nobody_can_change():
    stored = {("research", "2026-01"): Spent(Fraction(1, 2), None)}
    account = Account(stored)
    stored.clear()
    assert account.spent("research", "2026-01").single == Fraction(1, 2)
    account.after("research", ["2026-01"], CHARGE_GRID)
    assert account.spent("research", "2026-01").single == Fraction(1, 2)
    with pytest.raises(TypeError, match="does not support item assignment"):
        account.totals["research", "2026-01"] = NOTHING


def test_the_doubled_total_runs_beside_until_a_charge_does_not_state_it():
    account = Account().after("research", ["2026-01", "2026-02"], Fraction(1, 100), Fraction(4, 100))
    assert account.spent("research", "2026-01").doubled == Fraction(4, 100)
    account = account.after("research", ["2026-01"], Fraction(1, 100))
    account = account.after("research", ["2026-01"], Fraction(1, 100), Fraction(4, 100))
    assert account.spent("research", "2026-01") == Spent(Fraction(3, 100), None)
    assert account.spent("research", "2026-02").doubled == Fraction(4, 100)


def test_a_doubled_charge_below_the_charge_is_refused():
    with pytest.raises(InvalidPrice, match="doubled charge: expected at least the charge"):
        Account().after("research", ["2026-01"], Fraction(2, 100), Fraction(1, 100))


@pytest.mark.parametrize(("purpose", "footprint"), [("", ["2026-01"]), ("research", []), ("research", ["2026-01", ""])])
def test_a_spend_without_purpose_or_block_is_refused(purpose, footprint):
    with pytest.raises(InvalidFootprint, match="expected a named purpose and at least one named block"):
        refusals(Account(), BUDGET, purpose, footprint, CHARGE_GRID)
    with pytest.raises(InvalidFootprint, match="expected a named purpose and at least one named block"):
        Account().after(purpose, footprint, CHARGE_GRID)


@pytest.mark.parametrize("charge", [Fraction(0), -CHARGE_GRID, CHARGE_GRID / 2])
def test_a_charge_that_is_not_positive_or_off_the_grid_is_refused(charge):
    with pytest.raises(InvalidPrice, match="charge: expected a positive multiple of 1e-9"):
        refusals(Account(), BUDGET, "research", ["2026-01"], charge)


@given(st.fractions(min_value=0, max_value=100))
def test_charges_are_rounded_up_by_less_than_a_step_and_never_free(price):
    charge = charge_on_grid(price)
    assert (charge / CHARGE_GRID).denominator == 1
    assert price <= charge <= price + CHARGE_GRID
    assert charge > 0


def test_a_negative_price_is_refused():
    with pytest.raises(InvalidPrice, match="price: expected at least 0, got -1"):
        charge_on_grid(Fraction(-1))


@given(st.integers(0, 10**20).map(lambda steps: steps * CHARGE_GRID))
def test_charges_survive_their_spelling(charge):
    assert decode_charge(encode_charge(charge)) == charge


@given(st.text(alphabet="0123456789.+-e _٣", max_size=14) | st.text())
def test_any_text_is_refused_or_is_the_one_spelling(text):
    try:
        charge = decode_charge(text)
    except MalformedCharge:
        return
    assert encode_charge(charge) == text


@pytest.mark.parametrize(
    "text", ["0.01821250", "0.0182125000", "00.018212500", ".018212500", "1", "0.018212500\n", "-0.000000001", "٠.018212500"]
)
def test_other_spellings_are_refused(text):
    with pytest.raises(MalformedCharge, match=r"expected a decimal with nine places, like 0\.018212500"):
        decode_charge(text)


def test_the_spelling_is_nine_places():
    assert encode_charge(Fraction(182125, 10**7)) == "0.018212500"
    assert encode_charge(Fraction(0)) == "0.000000000"
    with pytest.raises(InvalidPrice, match="expected a multiple of 1e-9 of at least 0"):
        encode_charge(Fraction(1, 3))


@given(st.fractions(min_value=0, max_value=10, max_denominator=10**6), st.lists(st.integers(0, 10), min_size=1, max_size=5))
def test_parts_of_a_budget_never_exceed_the_whole(total, weights):
    whole = max(1, sum(weights))
    budget = Budget.split(total, {f"purpose-{i}": Fraction(weight, whole) for i, weight in enumerate(weights)})
    assert sum(budget.limits.values()) <= total


def test_shares_above_the_whole_and_negative_limits_are_refused():
    with pytest.raises(InvalidPrice, match="shares of the budget: expected at most 1 together, got 11/10"):
        Budget.split(Fraction(1), {"a": Fraction(6, 10), "b": Fraction(5, 10)})
    with pytest.raises(InvalidPrice, match="budget: expected limits of at least 0"):
        Budget({"a": Fraction(-1)})
