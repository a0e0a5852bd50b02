"""The part of an answer that stands in the logs before its own: keys, programme and approval that carried over.

Entry 0 is pinned and states the size and root at which the log before it ended. So whatever a path leads from to that root is of
the log that was followed to its close; its own entry 0 states the end of the one before it, and so on. Keys are admitted by the
same rules in each log, in its order, and carried into the next.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from audit_ledger.authority import Authority
from audit_ledger.errors import LedgerError
from audit_ledger.periods import carry_keys
from audit_ledger.proof import TlogProof
from audit_ledger.tree import leaf_hash, verify_inclusion
from protocols.answer import Before, Proven
from protocols.errors import MalformedBytes, ProtocolError
from protocols.statements import KeyAdd, KeyRevoke, PreviousLog, Root, Signed, parse

Demand = Callable[[bool, str, str], bool]
"""Told whether something holds, where, and what it means if not; gives back whether it does."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A statement at its proved index in the log of `authority`."""

    index: int
    signed: Signed
    place: str
    authority: Authority


def admit_keys(authority: Authority, keys: Sequence[Placed], demand: Demand, place: str) -> None:
    """`keys` in the order of their log."""
    demand(bool(keys) and keys[0].index == 0, place, "entry 0 of the log is missing")
    for each in keys:
        if not isinstance(each.signed.statement, Root | KeyAdd | KeyRevoke):
            demand(False, each.place, f"expected a key statement, got {each.signed.statement.kind}")
            continue
        found = authority.findings_for(each.index, each.signed)
        for one in found:
            demand(False, each.place, f"{one.rule}: {one.detail}")
        if not found:
            authority.accept(each.index, each.signed)


def end_before(keys: Sequence[Proven], entry0: bytes) -> PreviousLog | None:
    """The end of the log before, as the pinned entry 0 states it; None where it is missing or follows no log."""
    for each in keys:
        if leaf_hash(each.entry.encode("utf-8", "replace")) == entry0:
            try:
                root = parse(each.entry.encode()).statement
            except MalformedBytes:
                return None
            return root.previous if isinstance(root, Root) else None
    return None


def read_before(before: Before, end: PreviousLog | None, demand: Demand, place: str = "before") -> tuple[Authority, list[Placed]]:
    """The keys of the log that ended so, and the approvals that carried over from it and from those before it."""
    first = next((each.entry for each in before.keys), "")
    authority = Authority(leaf_hash(first.encode("utf-8", "replace")))
    if not demand(end is not None, place, "entry 0 follows no other log") or end is None:
        return authority, []
    keys = _placed(before.keys, end, authority, demand, f"{place}.keys")
    approvals = _placed(before.approvals, end, authority, demand, f"{place}.approvals")
    if before.before is not None:
        older, carried = read_before(before.before, end_before(before.keys, authority.entry0), demand, f"{place}.before")
        carry_keys(older, authority)
        approvals = [*carried, *approvals]
    admit_keys(authority, keys, demand, f"{place}.keys")
    return authority, approvals


def _placed(proven: Sequence[Proven], end: PreviousLog, authority: Authority, demand: Demand, place: str) -> list[Placed]:
    found = []
    for at, each in enumerate(proven):
        try:
            found.append(_place(each, end, authority, f"{place}[{at}]"))
        except (LedgerError, ProtocolError, UnicodeEncodeError) as error:
            demand(False, f"{place}[{at}]", str(error))
    return sorted(found, key=lambda each: each.index)


def _place(proven: Proven, end: PreviousLog, authority: Authority, place: str) -> Placed:
    entry, proof = proven.entry.encode(), TlogProof.parse(proven.proof.encode())
    verify_inclusion(leaf_hash(entry), proof.index, end.size, proof.path, bytes.fromhex(end.root))
    return Placed(proof.index, parse(entry), place, authority)
