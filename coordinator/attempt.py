"""One attempt: the binding the coordinator proposes, and what it demands of a contribution before it counts.

Pure. Hospitals and the auditor check the same things for themselves.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass

from audit_ledger.residents import of_one_key
from audit_ledger.view import LedgerView
from coordinator.question import Ended, Question
from coordinator.register import Contributed
from coordinator.sets import choose_sets
from privacy.pricing import reach
from privacy.union import hospital_tail
from protocols.asked import Asked
from protocols.contract import colluders
from protocols.errors import ProtocolError
from protocols.identity import verifies
from protocols.refusal import Reason, Refusal
from protocols.secagg.binding import Binding, Member
from protocols.secagg.ring import dtype_of, ring_bits
from protocols.secagg.sealing import round_message
from protocols.statements import Receipt, parse


@dataclass(frozen=True, slots=True)
class Attempt:
    """A proposed binding, and who was ready but could not be in it."""

    binding: Binding
    uris: tuple[str, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Turn:
    """Which attempt at which round, on which input (a training's weights, or nothing), until when."""

    round: int
    attempt: int
    not_after: int
    input: bytes


def bind(question: Question, view: LedgerView, turn: Turn, gone: set[str]) -> Attempt:
    """The binding of a turn over all whose Readys are logged, less `gone`. Raises Ended if too few are left; in exact mode, any."""
    facts = view.questions[question.id.hex()]
    ready = {uri: logged.identity for uri, logged in facts.readys.items() if uri not in gone and uri in question.readys}
    if question.admitted.asked.is_of_residents:
        ready = {uri: ready[uri] for uri in of_one_key(view, question.query, ready)}
    peers = {uri: frozenset(policy.peers) for uri, policy in view.policies.items()}
    sets = choose_sets(ready, peers)
    if question.admitted.asked.is_exact and sets.counting != question.query.audience:
        raise Ended("failed", [*fixed_set(question, sets.counting), *question.why_balked()])
    if len(sets.counting) < question.query.floor:
        got = f"{len(sets.counting)} of {len(question.readys)} ready"
        too_few = Refusal(Reason.TOO_FEW_MEMBERS, f"{question.query.floor} that accept each other", got)
        raise Ended("failed", [too_few, *question.why_balked()])
    asked, n = question.admitted.asked, len(sets.counting)
    members = tuple(Member(uri, facts.readys[uri].agreement, facts.readys[uri].id) for uri in sets.members)
    binding = Binding(
        origin=view.authority.origin,
        query=question.id,
        round=turn.round,
        attempt=turn.attempt,
        input_hash=hashlib.sha256(turn.input).digest() if turn.input else b"",
        dimension=asked.masked_length(len(members), _slots(asked, n)),
        ring=ring_bits(reach(len(members), n, colluders(n), asked.pieces)),
        scale=asked.scale,
        variances=asked.variances,
        n=n,
        c=colluders(n),
        not_after=turn.not_after,
        members=members,
        counting=sets.counting,
    )
    return Attempt(binding, sets.members, sets.left_out)


def _slots(asked: Asked, n: int) -> int:
    """Half of one member's slots in a cell of residents."""
    return hospital_tail(asked.pieces[0].variance, n, colluders(n)) if asked.is_of_residents else 0


def fixed_set(question: Question, there: Collection[str]) -> list[Refusal]:
    """Exact mode: who is missing from the whole audience."""
    missing = sorted(set(question.query.audience) - set(there))
    return [Refusal(Reason.NOT_THE_FIXED_SET, "every hospital of the audience, in exact mode", "missing", uri) for uri in missing]


def contribution_refusals(made: Contributed, binding: Binding, asked: Asked, view: LedgerView) -> list[Refusal]:
    """Why this contribution does not count: its shape, its signature, binding and hashes."""
    expected = binding.dimension * dtype_of(binding.ring).itemsize
    if len(made.masked) != expected:
        return [Refusal(Reason.RECEIPT_INVALID, f"{expected} bytes", str(len(made.masked)), made.uri)]
    if asked.is_training:
        return _round_refusals(made, binding, asked, view)
    try:
        signed = parse(made.receipt)
    except ProtocolError as error:
        return [Refusal(Reason.RECEIPT_INVALID, "a receipt", str(error), made.uri)]
    receipt = signed.statement
    if not isinstance(receipt, Receipt) or receipt.by != made.uri or not view.authority.speaks(signed):
        return [Refusal(Reason.RECEIPT_INVALID, "signed by the member", "not", made.uri)]
    stated = (receipt.binding, receipt.attempt, receipt.sealed, receipt.masked)
    sealed, masked = hashlib.sha256(made.sealed).hexdigest(), hashlib.sha256(made.masked).hexdigest()
    if stated != (binding.value.hex(), binding.attempt, sealed, masked):
        return [Refusal(Reason.RECEIPT_INVALID, "this binding and these bytes", "others", made.uri)]
    return []


def _round_refusals(made: Contributed, binding: Binding, asked: Asked, view: LedgerView) -> list[Refusal]:
    identity = view.authority.active(made.uri)
    message = round_message(binding.value, made.uri, hashlib.sha256(made.sealed).digest(), hashlib.sha256(made.masked).digest())
    if identity is None or not verifies(identity.key, made.signature, message):
        return [Refusal(Reason.RECEIPT_INVALID, "a round signed by the member", "not", made.uri)]
    if binding.round == asked.last_round and not made.receipt:
        return [Refusal(Reason.RECEIPT_INVALID, "the segment's receipt with its last round", "none", made.uri)]
    return []
