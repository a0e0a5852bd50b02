"""What must hold before the auditor's service opens a member set. Pure rules; every broken one is named.

1. The gate again, at the newest followed checkpoint: approvals and their revocations, hold, freshness, no release yet.
2. Window: neither this clock nor the newest witness time has reached `not_after`; tolerance never extends it. The query is valid.
3. Sets: every member is in the audience and has the Ready, agreement key and rounds of the verified ledger, by a hospital that
   is admitted now as it was then; n and c are those of K; K holds the floor. In exact mode both are the whole audience.
4. Signatures: exactly one per member over the same u, by its active identity key: a `receipt` for a plain query, a round
   signature inside a segment.
5. Seeds: each opens with the sealing key its Ready names, under (u, member), for residents under a label of their own, or under
   the segment's context.
6. Residents: what `zero_test` demands.
Which earlier openings stand against it is in `opener_core` (one set per query and round), `member_sets` and `exact` (differencing).

Source: spec of the masks, protocol step 6.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from audit_ledger.gate import Gate
from audit_ledger.residents import key_refusals
from audit_ledger.view import LedgerView, QuestionFacts
from audit_ledger.zero_test import request_refusals
from protocols.canonical import framed, number, unb64
from protocols.clock import unix
from protocols.contract import CONTRACT, colluders
from protocols.errors import BadSignature, ProtocolError
from protocols.exact import is_exact
from protocols.identity import verifies
from protocols.refusal import Reason, Refusal
from protocols.secagg.binding import Binding, Member
from protocols.secagg.member import fixed_set_refusals
from protocols.secagg.sealing import SealingKey, query_context, round_message, round_seed, segment_context, union_context
from protocols.statements import Receipt, Statement, parse
from protocols.union import asks_for_residents

KeyOfMonth = Callable[[str], SealingKey | None]


@dataclass(frozen=True, slots=True)
class SealedSeed:
    """One member's part of a request: its sealed seed, and its signature over (u, member, sealed, masked)."""

    uri: str
    sealed: bytes
    masked_hash: bytes
    receipt: bytes = b""
    round_signature: bytes = b""


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """Asks for the seed-stream sum of one member set, or for residents the zero test of `encrypted` under the coordinator's key.

    Two requests are the same if their digests are. Ciphertexts are no part of it: one key gets one reply, made of those that came
    first, and a coordinator that comes back after a crash encrypts anew.
    """

    preimage: bytes
    seeds: tuple[SealedSeed, ...]
    first_round: int = 0
    last_round: int = 0
    public: bytes = b""
    encrypted: bytes = b""

    @property
    def is_segment(self) -> bool:
        return self.first_round < self.last_round

    def digest(self) -> bytes:
        seeds = (framed(s.uri.encode(), s.sealed, s.masked_hash, s.receipt, s.round_signature) for s in self.seeds)
        head = (self.preimage, number(self.first_round), number(self.last_round), *([self.public] if self.public else []))
        return hashlib.sha256(framed(b"kapok/v1/open", *head, framed(*seeds))).digest()


def refusals(request: OpenRequest, binding: Binding, gate: Gate, now: int) -> list[Refusal]:
    """Rules 1 to 4. An empty list is consent, if the seeds open (rule 5) and no earlier opening stands against it."""
    view = gate.follower.view
    facts = view.questions.get(binding.query.hex())
    if facts is None:
        unknown = Refusal(Reason.NOT_LOGGED, "a valid query in the followed ledger", "none")
        return [*gate.standing(None, now), *_log(binding, gate), unknown]
    return [
        *gate.standing(facts, now),
        *_log(binding, gate),
        *_window(binding, facts, gate, now),
        *_shape(request, binding, facts, view),
        *_sets(binding, facts),
        *_members(request, binding, facts, view),
        *_signatures(request, binding, view),
        *request_refusals(request.public, request.encrypted, binding, facts),
        *key_refusals(view, facts, binding),
    ]


def _log(binding: Binding, gate: Gate) -> Iterator[Refusal]:
    """A question of a period that has ended stays there."""
    origin = gate.follower.trust.policy.logs[0].key.origin
    if binding.origin != origin:
        yield Refusal(Reason.WRONG_LOG, origin, binding.origin)


def window_refusals(binding: Binding, gate: Gate, now: int) -> Iterator[Refusal]:
    accepted = gate.follower.accepted
    latest = max(now, (accepted.witness_time or 0) if accepted else 0)
    if latest >= binding.not_after:
        yield Refusal(Reason.WINDOW_CLOSED, f"before {binding.not_after}", str(latest))


def _window(binding: Binding, facts: QuestionFacts, gate: Gate, now: int) -> Iterator[Refusal]:
    yield from window_refusals(binding, gate, now)
    if now >= unix(facts.query.valid_until):
        yield Refusal(Reason.EXPIRED, facts.query.valid_until, str(now))


def _shape(request: OpenRequest, binding: Binding, facts: QuestionFacts, view: LedgerView) -> Iterator[Refusal]:
    if not 1 <= binding.attempt <= CONTRACT.attempts:
        yield Refusal(Reason.ATTEMPTS_EXHAUSTED, f"1..{CONTRACT.attempts}", str(binding.attempt))
    if not request.first_round <= binding.round <= request.last_round <= facts.query.rounds:
        rounds = f"{request.first_round}..{request.last_round} of {facts.query.rounds}"
        yield Refusal(Reason.BINDING_DIFFERS, rounds, str(binding.round), "round")
    if view.authority.active(facts.query.by) is None:
        yield Refusal(Reason.ASKER_UNKNOWN, "an asker who is admitted now", "revoked", facts.query.by)


def _sets(binding: Binding, facts: QuestionFacts) -> Iterator[Refusal]:
    counting, floor = len(binding.counting), max(facts.query.floor, CONTRACT.floor)
    if is_exact(facts.query.spec):
        yield from fixed_set_refusals(binding, facts.query.audience)
    if counting < floor:
        yield Refusal(Reason.TOO_FEW_MEMBERS, str(floor), str(counting))
    if (binding.n, binding.c) != (counting, colluders(counting)):
        yield Refusal(Reason.BINDING_DIFFERS, f"n, c = {counting}, {colluders(counting)}", f"{binding.n}, {binding.c}", "n, c")
    for name in ("agreement", "ready"):
        if len({getattr(each, name) for each in binding.members}) != len(binding.members):
            yield Refusal(Reason.MEMBER_TWICE, "distinct", "repeated", name)


def _members(request: OpenRequest, binding: Binding, facts: QuestionFacts, view: LedgerView) -> Iterator[Refusal]:
    for member in binding.members:
        uri, logged = member.uri, facts.readys.get(member.uri)
        if uri not in facts.query.audience:
            yield Refusal(Reason.NOT_IN_AUDIENCE, "a hospital of the query's audience", "another", uri)
        if logged is None or logged.id != member.ready:
            yield Refusal(Reason.READY_NOT_LOGGED, "this Ready in the ledger", "not there", uri)
            continue
        active = view.authority.active(uri)
        if active is None or active.fingerprint != logged.identity:
            yield Refusal(Reason.NOT_ADMITTED, "the identity that signed its Ready, still admitted", "another or none", uri)
        if logged.agreement != member.agreement:
            yield Refusal(Reason.MEMBER_KEY, "the certified key of its Ready", "another", uri)
        if (logged.statement.first_round, logged.statement.last_round) != (request.first_round, request.last_round):
            yield Refusal(Reason.MEMBER_NOT_READY, f"rounds {request.first_round}..{request.last_round}", "others", uri)
        if unix(logged.statement.not_after) != binding.not_after:
            yield Refusal(Reason.BINDING_DIFFERS, logged.statement.not_after, str(binding.not_after), f"not_after of {uri}")


def _signatures(request: OpenRequest, binding: Binding, view: LedgerView) -> Iterator[Refusal]:
    wanted, got = [each.uri for each in binding.members], [each.uri for each in request.seeds]
    for uri in sorted(set(wanted) ^ set(got)):
        yield Refusal(Reason.MEMBER_SIGNATURE, "one sealed seed and signature of each member", "missing or too many", uri)
    if len(set(got)) != len(got):
        yield Refusal(Reason.MEMBER_TWICE, "one sealed seed of each member", "repeated", "seeds")
    for each in request.seeds:
        if request.is_segment:
            yield from _round_signature(each, binding, view)
        else:
            yield from _receipt(each, binding, view)


def _round_signature(seed: SealedSeed, binding: Binding, view: LedgerView) -> Iterator[Refusal]:
    active = view.authority.active(seed.uri)
    message = round_message(binding.value, seed.uri, hashlib.sha256(seed.sealed).digest(), seed.masked_hash)
    if active is None or not verifies(active.key, seed.round_signature, message):
        yield Refusal(Reason.MEMBER_SIGNATURE, "signed by the member's identity key", "not", seed.uri)


def _receipt(seed: SealedSeed, binding: Binding, view: LedgerView) -> Iterator[Refusal]:
    try:
        signed = parse(seed.receipt)
    except ProtocolError:
        yield Refusal(Reason.RECEIPT_INVALID, "a receipt statement", "not one", seed.uri)
        return
    if _said(signed.statement) != _wanted(seed, binding):
        yield Refusal(Reason.RECEIPT_INVALID, "this query, round, attempt, binding and hashes", "another", seed.uri)
    if not view.authority.is_signed_by(signed, seed.uri, "identity"):
        yield Refusal(Reason.MEMBER_SIGNATURE, "signed by the member's identity key", "not", seed.uri)


def _said(statement: Statement) -> tuple[object, ...]:
    if not isinstance(statement, Receipt):
        return ()
    rounds = (statement.first_round, statement.last_round, statement.attempt)
    return statement.log, statement.by, statement.query, *rounds, statement.binding, statement.sealed, statement.masked


def _wanted(seed: SealedSeed, binding: Binding) -> tuple[object, ...]:
    # Compared as plain values: no statement can be made of what a coordinator may write into a frame.
    rounds = (binding.round, binding.round, binding.attempt)
    hashes = (binding.value.hex(), hashlib.sha256(seed.sealed).hexdigest(), seed.masked_hash.hex())
    return binding.origin, seed.uri, binding.query.hex(), *rounds, *hashes


def open_seeds(
    request: OpenRequest, binding: Binding, facts: QuestionFacts, key_of: KeyOfMonth
) -> tuple[list[bytes], list[Refusal]]:
    """Rule 5, once the others hold: the round's seeds in the order of the members, or why they do not open."""
    sealed = {each.uri: each.sealed for each in request.seeds}
    seeds, refused = [], []
    certificates = {member.uri: facts.readys[member.uri].statement.sealing for member in binding.members}
    keys = {month: key_of(month) for month in {each.month for each in certificates.values()}}  # one file for all members
    for member in binding.members:
        certificate = certificates[member.uri]
        key = keys[certificate.month]
        if key is None or key.public != unb64(certificate.key, 32):
            refused.append(Refusal(Reason.SEALING_KEY, f"this service's key of {certificate.month}", "another", member.uri))
            continue
        try:
            seeds.append(_seed(request, binding, member, sealed[member.uri], key, is_union=asks_for_residents(facts.query.spec)))
        except BadSignature as error:
            refused.append(Refusal(Reason.SEED_INVALID, "sealed to this member and binding", error.code, member.uri))
    return seeds, refused


def _seed(request: OpenRequest, binding: Binding, member: Member, sealed: bytes, key: SealingKey, *, is_union: bool) -> bytes:
    if not request.is_segment:
        sealed_for = union_context if is_union else query_context
        return key.open(sealed, sealed_for(binding.value, member.uri))
    rounds = (request.first_round, request.last_round)
    context = segment_context(binding.origin, binding.query, *rounds, member.ready, member.uri)
    return round_seed(key.open(sealed, context), binding.round, binding.attempt, binding.value)
