"""The hospital's account as journal and ledger know it together, and whether the journal is behind (privacy choice 8).

Rules
- A Ready continues the ledger's account: its sequence and totals follow the last Ready in the ledger and those still on their way
  (in the journal, window open). One that never arrived is void once its window has passed, or its question was opened without it or
  ended: nobody may contribute to it any more.
- The filter judges the larger of journal and ledger for each block: a void charge is not given back.
- A sequence in the ledger above every one the journal knows means that the journal was restored or replaced.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Self

from audit_ledger.view import Account as LedgerAccount
from audit_ledger.view import LedgerView
from hospital_node.journal import StoredReady
from privacy.filter import NOTHING, Account, Spent, decode_charge
from protocols.statements import Charge, ChargeByBlock, Ready, parse


@dataclass(frozen=True, slots=True)
class Standing:
    """`stated` is what the next Ready continues; `spent` is what the filter judges."""

    next_sequence: int
    stated: Account
    spent: Account
    is_behind: bool

    @classmethod
    def of(
        cls, ledger: LedgerAccount | None, stored: Sequence[StoredReady], local: dict[tuple[str, str], Spent], last: int
    ) -> Self:
        """`stored` are the Readys whose window is open, by sequence; `last` is the journal's highest sequence."""
        ledger = ledger or LedgerAccount()
        sequence, stated = ledger.sequence, ledger_totals(ledger)
        for ready in stored:
            if ready.sequence == sequence + 1:
                sequence, stated = ready.sequence, _after(stated, charge_of(ready))
        return cls(sequence + 1, stated, _larger(stated, Account(local)), ledger.sequence > last)


def still_coming(view: LedgerView, me: str, stored: Iterable[StoredReady]) -> list[StoredReady]:
    """Stored Readys that the ledger has or may still take: one that came after its question's opening or end is void at once."""
    return [ready for ready in stored if not _is_too_late(view, me, ready)]


def _is_too_late(view: LedgerView, me: str, ready: StoredReady) -> bool:
    facts = view.questions.get(ready.query)
    if facts is None or (me in facts.readys and facts.readys[me].id == ready.id):
        return False
    return facts.release is not None or ready.first_round in facts.openings


def ledger_totals(ledger: LedgerAccount) -> Account:
    keys = ledger.totals.keys() | ledger.totals_two.keys()
    return Account({key: Spent(_exactly(ledger.totals.get(key)), _exactly(ledger.totals_two.get(key))) for key in keys})


def _exactly(total: Decimal | None) -> Fraction:
    """Read as the journal reads its own, so that what is equal in both is one object, and compared in no time."""
    return Fraction(0) if total is None else decode_charge(f"{total:f}")


def charge_of(ready: StoredReady) -> Charge | ChargeByBlock:
    statement = parse(ready.envelope).statement
    if not isinstance(statement, Ready):
        raise TypeError("the journal holds another statement where a Ready has to be")
    return statement.charge


def _after(account: Account, charge: Charge | ChargeByBlock) -> Account:
    if not Fraction(charge.price):
        return account  # of an exact question
    for line in charge.lines():
        account = account.after(charge.purpose, [line.block], Fraction(line.price), Fraction(line.price_two))
    return account


def _larger(first: Account, second: Account) -> Account:
    keys: Iterable[tuple[str, str]] = first.totals.keys() | second.totals.keys()
    return Account({key: larger(first.totals.get(key, NOTHING), second.totals.get(key, NOTHING)) for key in keys})


def larger(first: Spent, second: Spent) -> Spent:
    if first == second:
        return first
    return Spent(max(first.single, second.single), max(first.doubled or Fraction(0), second.doubled or Fraction(0)))
