"""What a Ready must keep to have effect: it precedes its query's opening, charges what its question costs and
what account and policy allow, and names certified keys.

The month's certificates stand in every Ready of the month; each is verified once.
"""

from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache

from audit_ledger import due, exact, residents
from audit_ledger.facts import Account, LedgerFacts
from audit_ledger.findings import Finding, Rule
from protocols.clock import unix
from protocols.errors import BadSignature
from protocols.secagg.agreement import require_certified
from protocols.secagg.sealing import require_sealing_key
from protocols.statements import Agreement, Ready, Registration, Sealing

CERTIFICATES_KEPT = 4096
RENEWED_AFTER_S = 365 * 86_400
_ZERO = Decimal(0)
# Functions of their arguments alone; what does not verify raises and is not kept.


@lru_cache(CERTIFICATES_KEPT)
def _agreement(certificate: tuple[tuple[str, str], ...], log: str, uri: str, identity: bytes) -> bytes:
    return require_certified(Agreement(**dict(certificate)), log, uri, identity)


@lru_cache(CERTIFICATES_KEPT)
def _sealing(certificate: tuple[tuple[str, str], ...], log: str, service: bytes) -> bytes:
    return require_sealing_key(Sealing(**dict(certificate)), log, service)


def _fields(certificate: Agreement | Sealing) -> tuple[tuple[str, str], ...]:
    return tuple(certificate.__dict__.items())


def ready_findings(ledger: LedgerFacts, index: int, ready: Ready) -> Iterator[Finding]:
    facts = ledger.questions.get(ready.query)
    if facts is None or ready.by not in facts.query.audience:
        yield Finding(index, Rule.TARGET_UNKNOWN, "a query that names this hospital in its audience")
        return
    last = facts.readys.get(ready.by)
    if last is not None and ready.first_round <= last.statement.last_round:
        yield Finding(index, Rule.DUPLICATE, "one Ready per hospital and segment")
    if ready.charge.purpose != facts.query.purpose:
        yield Finding(index, Rule.PURPOSE, "charges the purpose of its query")
    if facts.release is not None or ready.first_round in facts.openings:
        yield Finding(index, Rule.SEQUENCE, "a Ready precedes opening and release of its query")
    if (cap := ledger.price_cap(facts.query)) is not None and Decimal(ready.charge.price) > cap:
        yield Finding(index, Rule.OVERSPENT, f"the programme allows {cap} a query")
    # An emergency's day and reviews are counted where it opens: a Ready may cross another emergency's opening on its way here.
    if facts.query.purpose != "outbreak" and ledger.refusals_of_approval(facts, unix(ready.at)):
        yield Finding(index, Rule.APPROVAL_MISSING, "the query's purpose needs an approval in force")
    yield from exact.ready_findings(ledger, index, facts, ready)
    yield from residents.ready_findings(ledger, index, facts, ready)
    for rule, wrong in due.wrongs(facts.query, ready):
        yield Finding(index, rule, wrong)
    yield from _account(ledger, index, ready)
    yield from _blocks(ledger, index, ready)
    if certified(ledger, ready) is None:
        yield Finding(index, Rule.AGREEMENT, "an agreement key certified by the identity key, with possession")
    if not _is_sealing_key_good(ledger, ready):
        yield Finding(index, Rule.SEALING, "a sealing key signed by the auditor's service key")
    if not ledger.knows(ready.seen):
        yield Finding(index, Rule.FORKED, f"size {ready.seen.size} with another root")


def _account(ledger: LedgerFacts, index: int, ready: Ready) -> Iterator[Finding]:
    account, charge = ledger.accounts.get(ready.by, Account()), ready.charge
    if ready.sequence != account.sequence + 1:
        yield Finding(index, Rule.SEQUENCE, f"expected {account.sequence + 1}, got {ready.sequence}")
    if not charge.is_whole:
        yield Finding(index, Rule.TOTALS, "a total for each footprint block")
        return
    limit = _limit(ledger, ready)
    for block, price, price_two, total, total_two in charge.lines():
        key = (charge.purpose, block)
        exact = Decimal(total)
        if exact != account.totals.get(key, _ZERO) + Decimal(price):
            yield Finding(index, Rule.TOTALS, f"{block}: total is not the last total plus the price")
        if Decimal(total_two) != account.totals_two.get(key, _ZERO) + Decimal(price_two):
            yield Finding(index, Rule.TOTALS, f"{block}: doubled total is not the last one plus the doubled price")
        if exact > limit:
            yield Finding(index, Rule.OVERSPENT, f"{block}: {total} of {limit}")


def _blocks(ledger: LedgerFacts, index: int, ready: Ready) -> Iterator[Finding]:
    for block in ready.charge.blocks:
        for refusal in ledger.refusals_of_block(ready.by, block, unix(ready.at)):
            yield Finding(index, Rule.REGISTRATION, f"{block}: {refusal.got}")


def registration_findings(ledger: LedgerFacts, index: int, new: Registration) -> Iterator[Finding]:
    """A catalogue id is one table's, and a table has another one at the earliest a year after the last: renaming resets nothing."""
    for _, old in ledger.registrations.values():
        if old.by != new.by:
            continue
        if (old.table == new.table) != (old.catalogue == new.catalogue) and (
            old.table != new.table or unix(new.at) < unix(old.at) + RENEWED_AFTER_S
        ):
            yield Finding(index, Rule.REGISTRATION, f"{new.table}, {new.catalogue}: already {old.table}, {old.catalogue}")
            return


def _limit(ledger: LedgerFacts, ready: Ready) -> Decimal:
    policy = ledger.policies.get(ready.by)
    return Decimal(policy.limits.get(ready.charge.purpose, "0")) if policy else _ZERO


def certified(ledger: LedgerFacts, ready: Ready) -> bytes | None:
    """The Ready's agreement key in Edwards form, if its hospital's identity key certified it."""
    identity = ledger.authority.active(ready.by)
    try:
        return _agreement(_fields(ready.agreement), ready.log, ready.by, identity.key) if identity else None
    except BadSignature:
        return None


def _is_sealing_key_good(ledger: LedgerFacts, ready: Ready) -> bool:
    root = ledger.authority.root
    service = ledger.authority.active(root.auditor, "service") if root else None
    try:
        return service is not None and bool(_sealing(_fields(ready.sealing), ready.log, service.key))
    except BadSignature:
        return False


def is_sealed_by(service: bytes, ready: Ready) -> bool:
    """Whether the auditor's service key has signed the sealing key that this Ready names."""
    try:
        require_sealing_key(ready.sealing, ready.log, service)
    except BadSignature:
        return False
    return True
