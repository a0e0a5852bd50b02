"""A member set becomes one masked contribution, or a list of refusals; what is accepted is written before it is computed.

Rules (spec of the masks, steps 3 to 5)
 1. The gate stands again at every attempt: approvals, no hold, no end in the ledger, a fresh checkpoint; the node is not paused.
 2. The binding is compared with what this node computed itself from the query, its Ready and its journal (`binding_refusals`).
 3. One u per (query, round, attempt): asked again for the same u the stored bytes go out again; an accepted u without stored
    bytes is refused, never recomputed.
 4. y = exact + noise share + PRG(seed) + pair masks. Seed and noise are fresh, and never stored. The share of the set that the
    whole audience is in is drawn behind the Ready, and used once (`foreseen`).
 5. For residents (`protocols.union`) the seed is sealed for a zero test and nothing else, and the members state one residents' key.
 6. In exact mode no noise is drawn, and only there: the signed query says so, and nothing else.
 7. A count that fails or is not there in time sends zeros + noise once, pauses the node and queues an `incident` that names the
    query: the contribution must not say, by its absence, that a record broke something. In exact mode it sends nothing, pauses
    and says so: zeros would pass for its patients, and the sum of the others for the answer.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256

import numpy as np

from audit_ledger.gate import Gate
from audit_ledger.residents import key_refusals as resident_key_refusals
from audit_ledger.view import QuestionFacts
from hospital_node.attempt import Attempt, Cover, Segment, is_segment, require_within
from hospital_node.counting import Counts, Plans
from hospital_node.errors import JournalFailed, Withheld
from hospital_node.foreseen import Foreseen
from hospital_node.journal import Journal, StoredContribution, StoredReady
from hospital_node.logs import log
from hospital_node.policy import Policy
from hospital_node.trace import Trace
from privacy.errors import PrivacyError
from privacy.pricing import reach
from privacy.rdp import share_variance
from privacy.sampler import draw
from privacy.tables import skellam_table
from privacy.union import hospital_tail
from protocols.asked import Asked
from protocols.canonical import unb64
from protocols.clock import stamp
from protocols.errors import BadSignature, MalformedBytes
from protocols.identity import Signer
from protocols.refusal import Reason, Refusal
from protocols.secagg.agreement import AgreementKey, PairKey
from protocols.secagg.binding import Binding
from protocols.secagg.masks import mask, masked_sum, vector_hash
from protocols.secagg.member import Expected, binding_refusals
from protocols.secagg.ring import Integers, Vector, ring_bits
from protocols.secagg.sealing import query_context, round_message, round_seed, seal, segment_context, union_context
from protocols.statements import Incident, Ready, Receipt, parse
from protocols.union import filled, place_of

Random = Callable[[int], bytes]
ASKED_KEPT = 64


@dataclass(slots=True)
class Contributing:
    """Judges member sets and makes contributions. `accept` is called by one thread, `contribute` by any."""

    me: str
    origin: str
    identity: Signer
    gate: Gate
    journal: Journal
    plans: Plans
    counts: Counts
    policy: Policy
    clock: Callable[[], int]
    random: Random
    trace: Trace
    _running: dict[tuple[str, int, int], Attempt] = field(default_factory=dict)
    _pairs: dict[tuple[str, str, bytes], PairKey] = field(default_factory=dict)
    _segments: dict[str, Segment] = field(default_factory=dict)
    _asked: dict[str, Asked] = field(default_factory=dict)
    _foreseen: Foreseen = field(default_factory=Foreseen)

    def accept(self, preimage: bytes, round_input: bytes) -> Attempt | list[Refusal]:
        """The member set, written down as accepted; or everything that is wrong with it."""
        try:
            binding = Binding.decode(preimage)
        except MalformedBytes:
            return [Refusal(Reason.BINDING_MALFORMED, "a binding of this protocol version", "other bytes")]
        query = binding.query.hex()
        facts, ready = self.gate.follower.view.questions.get(query), self.journal.ready(query, binding.round)
        if facts is None or ready is None:
            return [Refusal(Reason.NOT_A_MEMBER, "a Ready of this hospital for the round", "none", self.me)]
        with self.trace.step(query, "gate"):
            found = self._refusals(binding, facts, ready, round_input)
        key = (query, binding.round, binding.attempt)
        if not found and self.journal.accepted(query, binding.round).get(binding.attempt) is not None:
            return self._running.get(key) or self._stored(binding, facts, ready)
        if found:
            return found
        with self.trace.step(query, "journal"):
            self.journal.accept(query, binding.round, binding.attempt, binding.value)
        asked, share = self._asked_of(facts), self._foreseen.take(query, binding.n, binding.c)
        attempt = Attempt(binding, binding.value, ready, asked, self._count(facts, ready, round_input, binding.round), share)
        self._running[key] = attempt
        if is_segment(ready):
            self._open_segment(binding, facts, ready)
        return attempt

    def _stored(self, binding: Binding, facts: QuestionFacts, ready: StoredReady) -> Attempt | list[Refusal]:
        if self.journal.contribution(ready.query, binding.round, binding.attempt) is None:
            return [Refusal(Reason.UNSTORED, "the contribution as it was sent", "accepted, and not stored")]
        return Attempt(binding, binding.value, ready, self._asked_of(facts), Future(), is_stored=True)

    def _asked_of(self, facts: QuestionFacts) -> Asked:
        """Read once a question: a training's hundred columns take longer to read than a round takes to mask."""
        query = facts.id.hex()
        if query not in self._asked:
            while len(self._asked) >= ASKED_KEPT:
                self._asked.pop(next(iter(self._asked)))
            self._asked[query] = Asked.of(facts.query)
        return self._asked[query]

    def _open_segment(self, binding: Binding, facts: QuestionFacts, ready: StoredReady) -> None:
        members = frozenset(each.uri for each in binding.members)
        segment = self._segments.get(ready.query)
        if segment is not None:
            segment.members = members
            return
        root = self.random(32)
        context = segment_context(self.origin, facts.id, ready.first_round, ready.last_round, ready.id, self.me)
        self._segments[ready.query] = Segment(root, seal(root, self._sealing_key(ready), context), members)

    # -- rules

    def _refusals(self, binding: Binding, facts: QuestionFacts, ready: StoredReady, round_input: bytes) -> list[Refusal]:
        now = self.clock()
        found = self.gate.standing(facts, now)
        if self.journal.note("paused") is not None:
            found.append(Refusal(Reason.PAUSED, "a node that answers", "paused by IT"))
        found += self._own_state(ready, binding)
        found += self._segment(ready, binding)
        expected = self._expected(binding, facts, ready, round_input)
        if isinstance(expected, Refusal):
            return [*found, expected]
        return [
            *found,
            *binding_refusals(binding, expected, self.gate.follower.view.standing_readys(facts), self.policy.peers, now),
            *resident_key_refusals(self.gate.follower.view, facts, binding),
        ]

    def _own_state(self, ready: StoredReady, binding: Binding) -> Iterable[Refusal]:
        if ready.is_closed:
            yield Refusal(Reason.UNSTORED, "a Ready of this journal", "one of before the restore")
        if self.journal.agreement_seed(ready.month) is None:
            yield Refusal(Reason.UNSTORED, f"the agreement key of {ready.month}", "destroyed")
        is_new = binding.attempt not in self.journal.accepted(ready.query, binding.round)
        if is_new and not self.plans.holds(ready.generation):
            yield Refusal(Reason.NO_RECORDS, "the generation the question is pinned to", "a later one")

    def _segment(self, ready: StoredReady, binding: Binding) -> Iterable[Refusal]:
        """Inside a segment the member set only shrinks; its seeds died with the process that made them."""
        if not is_segment(ready) or binding.attempt in self.journal.accepted(ready.query, binding.round):
            return
        segment = self._segments.get(ready.query)
        if segment is None and self.journal.has_accepted(ready.query):
            yield Refusal(Reason.UNSTORED, "the segment's seeds", "lost with the process that made them")
        elif segment is not None and (joined := {each.uri for each in binding.members} - segment.members):
            yield Refusal(Reason.SET_DIFFERS, "a member set that only shrinks", "another", min(joined))

    def _expected(self, binding: Binding, facts: QuestionFacts, ready: StoredReady, round_input: bytes) -> Expected | Refusal:
        asked, n = self._asked_of(facts), len(binding.counting)
        try:
            self.plans.require_input(asked, round_input)
        except MalformedBytes:
            return Refusal(Reason.BINDING_MALFORMED, "an input that the question can have", "another", "input")
        try:
            ring = ring_bits(reach(len(binding.members), n, binding.c, asked.pieces))
        except (PrivacyError, OverflowError):
            return Refusal(Reason.BINDING_DIFFERS, "noise shares that can be drawn", f"n, c = {binding.n}, {binding.c}", "n, c")
        accepted = self.journal.accepted(ready.query, binding.round)
        return Expected(
            origin=self.origin,
            query=facts.id,
            first_round=ready.first_round,
            last_round=ready.last_round,
            not_after=ready.not_after,
            dimension=asked.masked_length(len(binding.members), _slots(asked, binding)),
            ring=ring,
            scale=asked.scale,
            variances=asked.variances,
            input_hash=sha256(round_input).digest() if round_input else b"",
            floor=max(facts.query.floor, self.policy.floor),
            audience=frozenset(facts.query.audience),
            me=self.me,
            my_ready=ready.id,
            last_attempt=max(accepted, default=0),
            accepted=accepted,
            is_fixed=asked.is_exact,
        )

    # -- the contribution

    def speculate(self, query: str, left_s: float) -> None:
        """Starts counting once the Ready is out, and draws the share of the set it hopes for; nothing of it leaves. A training's
        rounds wait for their input, not for rows, and the vector of residents for the places that the set gives its members."""
        if (facts := self.gate.follower.view.questions.get(query)) is None:
            return
        asked = self._asked_of(facts)
        ready = self.journal.ready(query, asked.first_round)
        if ready is not None and asked.is_training:
            self.counts.prepare(asked, ready.generation)
        elif ready is not None:
            self._count(facts, ready, b"", 0)
            if not asked.is_of_residents:
                self._foreseen.foresee(query, len(facts.query.audience), partial(self._noise, asked), left_s)

    def _count(self, facts: QuestionFacts, ready: StoredReady, round_input: bytes, number: int) -> "Future[Integers]":
        key = self.journal.bounding_key(ready.month[:4], self.random(32))
        return self.counts.start(ready.query, self._asked_of(facts), ready.generation, key, round_input, number)

    def cover(self, attempt: Attempt) -> None:
        """Seed, noise and masks, made while the count runs: behind the slot there is only an addition then. Not for residents,
        whose noise lies in slots of the same cells."""
        with attempt.once:
            if not (attempt.cover or attempt.is_stored or attempt.asked.is_of_residents):
                with self.trace.step(attempt.query, "masking"):
                    attempt.cover = self._covered(attempt)

    def contribute(self, attempt: Attempt, patience_s: float) -> StoredContribution:
        """The contribution of an accepted member set, on the disk when this returns. Waits for the count at most `patience_s`."""
        binding = attempt.binding
        with attempt.once:
            stored = self.journal.contribution(attempt.query, binding.round, binding.attempt)
            if stored is None:
                if attempt.is_stored:  # and gone since: a second vector under the same masks would tell of the first
                    raise Withheld("what was sent for this member set is no longer kept, and is not made again")
                with self.trace.step(attempt.query, "contributing"):
                    stored = self._make(attempt, patience_s)
                attempt.is_stored = True
                self.trace.finish(attempt.query)
        self._running.pop((attempt.query, binding.round, binding.attempt), None)
        return stored

    def _make(self, attempt: Attempt, patience_s: float) -> StoredContribution:
        exact = self._exact(attempt, patience_s)
        binding = attempt.binding
        with self.trace.step(attempt.query, "masking"):
            if attempt.asked.is_of_residents:
                sealed, masked = self._filled(attempt, exact)
            else:
                cover = attempt.cover or self._covered(attempt)
                sealed, masked = cover.sealed, masked_sum(cover.vector, exact, binding.ring)
            receipt, signature = self._signed(attempt, sealed, vector_hash(masked))
        made = StoredContribution(
            attempt.query, binding.round, binding.attempt, attempt.value, sealed, receipt, signature, masked.tobytes()
        )
        with self.trace.step(attempt.query, "journal"):
            self.journal.store(made)  # a crash before this line loses the attempt, after it the same bytes go out again
        return made

    def _covered(self, attempt: Attempt) -> Cover:
        seed, sealed = self._seed(attempt)
        binding = attempt.binding
        noise = attempt.share.noise if attempt.share else self._noise(attempt.asked, binding.n, binding.c)
        return Cover(sealed, self._masked(attempt, noise, seed))

    def _masked(self, attempt: Attempt, entries: Integers, seed: bytes) -> Vector:
        binding = attempt.binding
        return mask(entries, binding.ring, attempt.value, seed, self._pair_keys(binding, attempt.ready.month))

    def _exact(self, attempt: Attempt, patience_s: float) -> Integers:
        try:
            exact = attempt.count.result(timeout=patience_s)
            if len(exact) != attempt.asked.exact_length:
                raise ValueError("the plan gave a vector of another length")
            if attempt.asked.is_exact:
                require_within(exact)
        except Exception as error:  # noqa: BLE001 (an error that depends on a record must look like no error from outside)
            self._report(attempt.query, "node.overrun" if isinstance(error, TimeoutError) else "node.count_failed", error)
            if attempt.asked.is_exact:
                self._running.pop((attempt.query, attempt.binding.round, attempt.binding.attempt), None)
                raise Withheld("a count that failed has no part in an exact sum") from None
            return np.zeros(attempt.asked.exact_length, np.int64)
        return exact

    def _report(self, query: str, code: str, error: Exception) -> None:
        incident = Incident(log=self.origin, at=stamp(self.clock()), by=self.me, query=query, code="node.incomplete")
        signed = incident.envelope().signed([self.identity])
        self.journal.queue(signed.statement_id(), signed.encode(), pause=f"{code} {query}")
        log.error("count failed", query=query, code=code, error=type(error).__name__)

    def _noise(self, asked: Asked, n: int, c: int) -> Integers:
        if asked.is_exact:
            return np.zeros(asked.dimension, np.int64)
        shares = (draw(skellam_table(share_variance(piece.variance, n, c)), piece.length, self.random) for piece in asked.pieces)
        return np.concatenate(list(shares))

    def _filled(self, attempt: Attempt, exact: Integers) -> tuple[bytes, Vector]:
        """Residents: a random word in each bucket that somebody is in, and the noise as a number of filled slots of its own."""
        asked, binding = attempt.asked, attempt.binding
        seed, sealed = self._seed(attempt)
        noise = self._noise(asked, binding.n, binding.c)
        shape = asked.shape(len(binding.members), _slots(asked, binding))
        cell, bucket = np.divmod(np.flatnonzero(exact), shape.buckets)
        mine = [each.uri for each in binding.members].index(self.me)
        entries = filled(shape, place_of(shape, cell, bucket), mine, noise, self.random)
        return sealed, self._masked(attempt, entries, seed)

    def _pair_keys(self, binding: Binding, of_month: str) -> list[PairKey]:
        seed = self.journal.agreement_seed(of_month)
        if seed is None:
            raise JournalFailed(f"the agreement key of {of_month} is gone")
        own = AgreementKey(seed, of_month)
        return [self._pair(own, each.uri, each.agreement) for each in binding.members if each.uri != self.me]

    def _pair(self, own: AgreementKey, uri: str, peer: bytes) -> PairKey:
        key = (own.month, uri, peer)
        if key not in self._pairs:
            self._pairs[key] = own.pair(self.me, uri, peer)
        return self._pairs[key]

    def _sealing_key(self, ready: StoredReady) -> bytes:
        statement = parse(ready.envelope).statement
        if not isinstance(statement, Ready):
            raise BadSignature("the journal holds another statement where a Ready has to be")
        return unb64(statement.sealing.key, 32)

    def _seed(self, attempt: Attempt) -> tuple[bytes, bytes]:
        """The attempt's seed, and what is sealed to the auditor: the seed itself, or the root it comes from."""
        binding, ready = attempt.binding, attempt.ready
        if is_segment(ready):
            segment = self._segments[attempt.query]
            return round_seed(segment.root, binding.round, binding.attempt, attempt.value), segment.sealed
        seed = self.random(32)
        context = union_context if attempt.asked.is_of_residents else query_context
        return seed, seal(seed, self._sealing_key(ready), context(attempt.value, self.me))

    def _signed(self, attempt: Attempt, sealed: bytes, masked: bytes) -> tuple[bytes, bytes]:
        """Receipt and round signature. A segment has one receipt, which comes with its last round and signs the chain of all."""
        sealed_hash, masked_hash, signature = sha256(sealed).digest(), masked, b""
        ready, binding = attempt.ready, attempt.binding
        if is_segment(ready):
            message = round_message(attempt.value, self.me, sealed_hash, masked)
            signature = self.identity.sign(message)
            segment = self._segments[attempt.query]
            segment.sent[binding.round] = (sealed_hash, masked)
            if binding.round < ready.last_round:
                return b"", signature
            sealed_hash, masked_hash = segment.heads()
        receipt = Receipt(
            log=self.origin,
            at=stamp(self.clock()),
            by=self.me,
            query=attempt.query,
            first_round=ready.first_round,
            last_round=ready.last_round,
            attempt=binding.attempt,
            binding=attempt.value.hex(),
            sealed=sealed_hash.hex(),
            masked=masked_hash.hex(),
        )
        return receipt.envelope().signed([self.identity]).encode(), signature

    def forget(self, query: str) -> None:
        """The question has ended: vectors and counts of it go."""
        self.counts.drop(query)
        self._foreseen.drop(query)
        self._drop_running(lambda other: other == query)
        self.forget_sent(query)

    def forget_sent(self, query: str) -> None:
        """Vectors and seeds of the question go."""
        self._segments.pop(query, None)
        self._asked.pop(query, None)
        self.journal.forget_contributions(query)

    def keep(self, queries: set[str]) -> None:
        """Counts and shares of all other questions go."""
        self.counts.keep(queries)
        self._foreseen.keep(queries)
        self._drop_running(lambda query: query not in queries)

    def _drop_running(self, is_over: Callable[[str], bool]) -> None:
        """Attempts whose stream ended before they left; asked for again, they are refused: accepted, and not stored."""
        for key in [each for each in list(self._running) if is_over(each[0])]:
            self._running.pop(key, None)

    def forget_months(self, months: Iterable[str]) -> None:
        """Pair keys of months whose agreement key was destroyed."""
        gone = set(months)
        self._pairs = {key: pair for key, pair in self._pairs.items() if key[0] not in gone}


def _slots(asked: Asked, binding: Binding) -> int:
    """Half of one member's slots in a cell of residents: the largest noise it can draw. No other question has any."""
    return hospital_tail(asked.pieces[0].variance, binding.n, binding.c) if asked.is_of_residents else 0
