"""Admission: what the coordinator checks before a question enters the ledger, from public facts alone.

Nobody relies on it: every hospital checks everything again. It saves budget and time by naming all reasons at once, before the
ledger holds a question that no hospital would answer.
"""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from audit_ledger.exact import permits
from audit_ledger.findings import Rule
from audit_ledger.residents import of_one_key
from audit_ledger.view import LedgerView
from privacy.errors import PrivacyError
from privacy.filter import encode_charge
from privacy.pricing import NOTHING, Price, price, prices
from privacy.union import hospital_tail
from protocols.asked import Asked
from protocols.clock import unix
from protocols.contract import CONTRACT, colluders
from protocols.errors import ProtocolError
from protocols.exact import statement_refusals
from protocols.fits import Fit
from protocols.fits.matching import table_differences
from protocols.query import QueryError
from protocols.refusal import Reason, Refusal
from protocols.statements import Query, Signed, parse
from protocols.union.question import MAX_ENTRIES

_REASONS = {
    Rule.WRONG_LOG: Reason.WRONG_LOG,
    Rule.SIGNATURE: Reason.ASKER_UNKNOWN,
    Rule.ROLE: Reason.ASKER_UNKNOWN,
    Rule.AUDIENCE: Reason.NOT_ADMITTED,
    Rule.PURPOSE: Reason.PROGRAMME_UNKNOWN,
    Rule.BREAK_GLASS: Reason.BREAK_GLASS,
    Rule.VALIDITY: Reason.VALID_TOO_LONG,
    Rule.DUPLICATE: Reason.ALREADY_ANSWERED,
    Rule.EXACT: Reason.EXACT_STATEMENT,
}


@dataclass(frozen=True, slots=True)
class Admitted:
    """A question that may be logged."""

    signed: Signed
    asked: Asked
    price: Price


def admitted_of(entry: bytes) -> Admitted:
    """A question that was admitted before: it stands in the ledger."""
    signed = parse(entry)
    assert isinstance(signed.statement, Query)
    asked = Asked.of(signed.statement)
    return Admitted(signed, asked, price_of(asked))


def price_of(asked: Asked) -> Price:
    """What every hospital charges. Raises PrivacyError where there is no price."""
    return NOTHING if asked.is_exact else price(CONTRACT.order, asked.pieces, asked.query.rounds)


def due_of(asked: Asked, cost: Price) -> tuple[Price, ...]:
    """What each block pays, in their order."""
    return prices(CONTRACT.order, asked.pieces, asked.weights) if asked.weights else (cost,) * len(asked.blocks)


def admit(entry: bytes, asker: str, view: LedgerView, now: int) -> Admitted | list[Refusal]:
    """The parsed question, or every reason against it. `asker` is the URI of the caller's certificate."""
    try:
        signed = parse(entry)
    except ProtocolError as error:
        return [Refusal(Reason.MALFORMED, "a query statement", str(error))]
    query = signed.statement
    if not isinstance(query, Query):
        return [Refusal(Reason.MALFORMED, "a query statement", query.kind)]
    try:
        asked = Asked.of(query)
        cost = price_of(asked)
    except (QueryError, ProtocolError) as error:
        return [Refusal(Reason.MALFORMED, "a query of the language", str(error))]
    except PrivacyError as error:
        return [Refusal(Reason.UNPRICEABLE, "a price", str(error))]
    tables = list(_tables(query, asked, view))
    refusals = [
        *_ledger(signed, view),
        *statement_refusals(query),
        *_asker(query, asker, now),
        *_programme(query, cost, view),
        *_emergency(signed, query, view, now),
        *tables,
        *(_every_one(query, asked, view) if asked.is_exact else _audience(query, asked, cost, view, {no.subject for no in tables})),
        *_residents(query, asked, view),
    ]
    return refusals or Admitted(signed, asked, cost)


def _ledger(signed: Signed, view: LedgerView) -> Iterator[Refusal]:
    for found in view.findings_for(signed):
        yield Refusal(_REASONS.get(found.rule, Reason.MALFORMED), found.detail, str(found.rule))


def _asker(query: Query, asker: str, now: int) -> Iterator[Refusal]:
    if query.by != asker:
        yield Refusal(Reason.ASKER_UNKNOWN, "signed by the caller", "another asker", query.by)
    if now >= unix(query.valid_until):
        yield Refusal(Reason.EXPIRED, query.valid_until, "a later time")
    if query.floor < CONTRACT.floor:
        yield Refusal(Reason.FLOOR_TOO_LOW, str(CONTRACT.floor), str(query.floor))
    if len(query.audience) < query.floor:
        yield Refusal(Reason.TOO_FEW_MEMBERS, f"{query.floor} hospitals", str(len(query.audience)))


def _programme(query: Query, cost: Price, view: LedgerView) -> Iterator[Refusal]:
    if query.purpose != "surveillance":
        return
    found = view.programmes.get(query.programme or "")
    if found is None:
        yield Refusal(Reason.PROGRAMME_UNKNOWN, "a logged programme of this asker", query.programme or "none")
        return
    if query.programme not in view.approvals:
        yield Refusal(Reason.NOT_APPROVED, "an approved programme", "no approval in force")
    if cost.one > Fraction(found[1].max_price):
        yield Refusal(Reason.BUDGET_EXHAUSTED, f"at most {found[1].max_price} a query", str(float(cost.one)), "programme")


def _emergency(signed: Signed, query: Query, view: LedgerView, now: int) -> Iterator[Refusal]:
    if query.purpose == "outbreak":
        yield from view.refusals_of_emergency(signed.hex_id, query.by, now)


def _tables(query: Query, asked: Asked, view: LedgerView) -> Iterator[Refusal]:
    """A fit of a registered table that too few hospitals of the audience state so; in exact mode, that one does not."""
    if not isinstance(asked.spec, Fit):
        return
    found = {uri: table_differences(asked.spec, view.registration(uri, asked.table)) for uri in query.audience}
    same = sum(not differing for differing in found.values())
    if same < (len(query.audience) if asked.is_exact else query.floor):
        for uri, differing in found.items():
            yield from (Refusal(no.reason, f"{no.subject}: {no.expected}", no.got, uri) for no in differing)


def _audience(query: Query, asked: Asked, cost: Price, view: LedgerView, named: AbstractSet[str]) -> Iterator[Refusal]:
    """Too few hospitals would say yes, by their own stated policies and accounts: each reason, with those who have it.

    Whose table was `named` already is not named again for what follows from it.
    """
    against = {uri: _why_not(uri, query, asked, cost, view) for uri in query.audience}
    willing = sum(why is None for why in against.values())
    if willing >= query.floor:
        return
    for why in sorted({each for uri, each in against.items() if each is not None and uri not in named}):
        unwilling = ", ".join(sorted(uri for uri, each in against.items() if each is why and uri not in named))
        if why is Reason.BUDGET_EXHAUSTED:
            short = [_shortest(uri, query, asked, cost, view) for uri, each in against.items() if each is why]
            left, due, block = min(short)
            wanted, got = f"{query.floor} hospitals whose budget allows it", f"{willing}; {left:f} left in {block}, {due:f} due"
            yield Refusal(why, wanted, got, unwilling)
        else:
            yield Refusal(why, f"{query.floor} hospitals whose policy allows it", str(willing), unwilling)


def _every_one(query: Query, asked: Asked, view: LedgerView) -> Iterator[Refusal]:
    """Exact mode has no answer without each of them: whoever states no such policy is named before anybody is asked."""
    for uri in query.audience:
        policy = view.policies.get(uri)
        if policy is None or query.purpose not in policy.purposes or not permits(view, uri, asked.table):
            yield Refusal(Reason.EXACT_NOT_PERMITTED, "a policy that states it", asked.table, uri)


def _residents(query: Query, asked: Asked, view: LedgerView) -> Iterator[Refusal]:
    """Too few hospitals state that they count residents over this table under one key, or more make a vector that nobody opens."""
    if not asked.is_of_residents or len(query.audience) <= colluders(len(query.audience)):
        return
    together, n = of_one_key(view, query, query.audience), len(query.audience)
    if len(together) < query.floor:
        without = ", ".join(sorted(set(query.audience) - set(together)))
        wanted = f"{query.floor} hospitals whose policies permit it under one residents' key"
        yield Refusal(Reason.RESIDENTS_NOT_PERMITTED, wanted, str(len(together)), without)
    length = asked.masked_length(n, hospital_tail(asked.pieces[0].variance, n, colluders(n)))
    if length > MAX_ENTRIES:
        yield Refusal(Reason.TOO_MANY_CELLS, str(MAX_ENTRIES), str(length))


def _why_not(uri: str, query: Query, asked: Asked, cost: Price, view: LedgerView) -> Reason | None:
    policy = view.policies.get(uri)
    if policy is None or query.purpose not in policy.purposes:
        return Reason.PURPOSE_NOT_PERMITTED
    if not asked.tables <= set(policy.tables):
        return Reason.TABLE_NOT_PERMITTED
    return Reason.BUDGET_EXHAUSTED if any(left < due for left, due, _ in _blocks(uri, query, asked, cost, view)) else None


def _blocks(uri: str, query: Query, asked: Asked, cost: Price, view: LedgerView) -> Iterator[tuple[Decimal, Decimal, str]]:
    """Of each block: what this hospital has left there, what the question has to pay, and its name."""
    policy, account = view.policies[uri], view.accounts.get(uri)
    limit, spent = Decimal(policy.limits.get(query.purpose, "0")), account.totals if account else {}
    for block, due in zip(asked.blocks, due_of(asked, cost), strict=True):
        yield limit - spent.get((query.purpose, block), Decimal(0)), Decimal(encode_charge(due.one)), block


def _shortest(uri: str, query: Query, asked: Asked, cost: Price, view: LedgerView) -> tuple[Decimal, Decimal, str]:
    """The block in which the least is left of those that cannot pay."""
    return min(each for each in _blocks(uri, query, asked, cost, view) if each[0] < each[1])
