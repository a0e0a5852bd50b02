"""The account as journal and ledger know it together: of each number the larger one counts, whatever the other number is."""

from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from audit_ledger.view import Account as LedgerAccount
from hospital_node.account import Standing, ledger_totals
from privacy.filter import Spent

KEY = ("surveillance", "2026-11")
numbers = st.integers(0, 3)


def _decimal(number: int) -> Decimal:
    return Decimal(f"{number}.000000000")


@given(numbers, numbers, numbers, numbers)
def test_the_filter_judges_the_larger_of_journal_and_ledger_in_either_number(one: int, two: int, mine: int, mine_two: int) -> None:
    ledger = LedgerAccount(1, {KEY: _decimal(one)}, {KEY: _decimal(two)})
    standing = Standing.of(ledger, [], {KEY: Spent(Fraction(mine), Fraction(mine_two))}, 1)
    assert standing.spent.totals[KEY] == Spent(Fraction(max(one, mine)), Fraction(max(two, mine_two)))
    assert standing.stated.totals[KEY] == Spent(Fraction(one), Fraction(two))


def test_a_total_that_the_ledger_does_not_hold_is_nothing() -> None:
    assert ledger_totals(LedgerAccount(1, {KEY: _decimal(1)}, {})).totals[KEY] == Spent(Fraction(1), Fraction(0))
