"""From one period's log to the next: the old log's `close` names the next one's key, the new entry 0 holds the old one's end.

`close_findings`: a close names another origin and a key under that very name, and leaves no emergency without its review (the
next log does not know the question any more).

`successor_rules`, all of which a next log keeps or is not taken:
1. the old log was followed to its close;
2. the new entry 0 is a root, signed by the auditor's root of the old log, for the origin that the close names;
3. its auditor, its auditor's root and its coordinator are those of the old log (the coordinator's key may be a new one);
4. it holds the old log's origin, final size and root as they were followed, and a checkpoint of exactly these which the old trust
   takes: signed by the old log, cosigned by its quorum.

Then nobody has to be told by hand: the trust in the next log is the old one with the close's key and the new entry 0; witnesses and
quorum stay. `carried` is what the next log begins with: keys, policies, data sets, programmes and their approvals, rules, holds,
what exact answers were opened, and every hospital's sequence and totals, so that a new year is no new budget. Open questions end
with their log.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from audit_ledger.authority import AdmittedKey, Authority
from audit_ledger.checkpoint import Checkpoint
from audit_ledger.errors import LedgerError, Malformed, NotSuccessor
from audit_ledger.facts import Account, LedgerFacts
from audit_ledger.findings import Finding, Rule
from audit_ledger.note import LogKey
from audit_ledger.policy import Log, TrustFile
from audit_ledger.tree import leaf_hash
from protocols.canonical import unb64
from protocols.errors import MalformedBytes
from protocols.statements import Close, PreviousLog, Root, Signed, parse

if TYPE_CHECKING:
    from audit_ledger.view import LedgerView

CARRIED = 0
"""The index of what a log before stated: entry 0 takes it over."""


def close_findings(ledger: LedgerFacts, index: int, close: Close) -> Iterator[Finding]:
    """Why a close would have no effect."""
    try:
        named = LogKey.parse(close.next_vkey).origin
    except Malformed:
        named = ""
    if named != close.next_origin or named == ledger.authority.origin:
        yield Finding(index, Rule.WRONG_LOG, "another origin, and the next log's key under that name")
    if waiting := sum(each not in ledger.reviews for each in ledger.emergencies):
        yield Finding(index, Rule.BREAK_GLASS, f"every emergency reviewed, got {waiting} that wait")


def next_trust(trust: TrustFile, old: "LedgerView", entry0: bytes, now: int) -> TrustFile:
    """Whom to believe in the log that begins with `entry0`. Raises NotSuccessor with every rule it breaks."""
    try:
        signed = parse(entry0)
    except MalformedBytes as error:
        raise NotSuccessor(f"next log: its entry 0 is no statement: {error}") from None
    if broken := list(successor_rules(trust, old, signed, now)):
        raise NotSuccessor(f"next log: {'; '.join(broken)}")
    assert old.close is not None
    next_key = LogKey.parse(old.close.next_vkey)
    others = (log for log in trust.policy.logs if log.key.origin != old.authority.origin)
    return TrustFile(replace(trust.policy, logs=(Log(next_key), *others)), leaf_hash(entry0))


def successor_rules(trust: TrustFile, old: "LedgerView", signed: Signed, now: int) -> Iterator[str]:
    """Every rule that this entry 0 breaks, in words."""
    root, before = signed.statement, old.authority.root
    if old.close is None or before is None:
        yield "the log before was not followed to its close"
        return
    if not isinstance(root, Root):
        yield f"entry 0 is a {root.kind}, expected a root"
        return
    if root.log != old.close.next_origin:
        yield f"origin {root.log}, the close names {old.close.next_origin}"
    if (root.auditor, root.auditor_root) != (before.auditor, before.auditor_root):
        yield "another auditor, or another root key of the auditor"
    if not signed.envelope.is_signed_by(unb64(before.auditor_root, 32)):
        yield "not signed by the auditor's root"
    if root.coordinator != before.coordinator:
        yield f"coordinator {root.coordinator}, expected {before.coordinator}"
    yield from _end_rules(trust, old, root.previous, now)


def _end_rules(trust: TrustFile, old: "LedgerView", end: PreviousLog | None, now: int) -> Iterator[str]:
    followed = Checkpoint(old.authority.origin, old.size, old.range.root())
    if end is None:
        yield "no end of the log before"
        return
    if Checkpoint(end.origin, end.size, bytes.fromhex(end.root)) != followed:
        yield f"another end of the log before: size {end.size} of {end.origin}, followed {followed.size} of {followed.origin}"
    try:
        accepted = trust.policy.evaluate(end.checkpoint.encode(), now, None)
    except LedgerError as error:
        yield f"the final checkpoint: {error}"
        return
    if accepted.checkpoint != followed:
        yield f"the final checkpoint is of size {accepted.checkpoint.size}, or of another history"


def carried(old: "LedgerView", entry0: bytes) -> "LedgerView":
    """The view that the next log's entries are applied to; `entry0` is the leaf hash that its trust pins."""
    new = type(old)(entry0)
    carry_keys(old.authority, new.authority)
    new.policies, new.datasets = dict(old.policies), dict(old.datasets)
    new.programmes = {id_: (CARRIED, programme) for id_, (_, programme) in old.programmes.items()}
    new.approvals = {
        id_: (CARRIED, approval) for id_, (_, approval) in old.approvals.items() if id_ in {*old.programmes, *old.registrations}
    }
    new.registrations = {id_: (CARRIED, registration) for id_, (_, registration) in old.registrations.items()}
    new.accounts = {
        uri: Account(account.sequence, dict(account.totals), dict(account.totals_two)) for uri, account in old.accounts.items()
    }
    new.rule, new.is_held = old.rule, old.is_held
    new.exact = [replace(each, index=CARRIED) for each in old.exact]
    new.emergencies = dict(old.emergencies)  # they count towards the day's number still
    new.reviews = {id_: (CARRIED, review) for id_, (_, review) in old.reviews.items() if id_ in old.emergencies}
    return new


def carry_keys(old: Authority, new: Authority) -> None:
    """Revoked keys too: they stay revoked, and a legal identity stays with its subject. Entry 0 states its own two anew."""
    coordinator = old.root.coordinator if old.root else ""
    for key, each in old.keys.items():
        if each.use != "root" and each.subject != coordinator:
            new.keys[key] = _since_0(each)


def _since_0(key: AdmittedKey) -> AdmittedKey:
    return replace(key, since=0, until=None if key.until is None else 0)
