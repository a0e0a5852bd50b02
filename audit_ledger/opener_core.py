"""The opener without sockets: follows the ledger, binds itself to one member set per (query, round), and hands out its sum.

A request runs so: `open` checks every rule, computes the sum (for residents the blinded cells, `zero_test`), signs the `opening`
and stores both durably; the caller logs the opening and brings the ledger by `follow`; `release` gives the sum once that very
opening stands in the followed ledger. The byte-identical request gets the same answer again, also after a restart; any other one
for that (query, round) is refused for ever.

A segment's opening is logged once, at its first round; later rounds (their members within the opened ones) get their sum at
once. They are served only by the process that opened the segment: a store cannot show that it is not an older copy of itself, so
a restart ends the running segments. For the same reason every opening in the ledger that the store does not know counts as used.

One thread at a time may call; the service gives it one of its own.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import structlog

from audit_ledger import exact
from audit_ledger.before import PastLog
from audit_ledger.errors import LedgerError, TreeMismatch
from audit_ledger.facts import DAY_S
from audit_ledger.follower import Follower
from audit_ledger.gate import Gate, reason_of
from audit_ledger.member_sets import differing_refusals
from audit_ledger.opener import OpenRequest, open_seeds, refusals, window_refusals
from audit_ledger.opener_keys import SealingKeys
from audit_ledger.opener_store import Opened, OpenerStore
from audit_ledger.policy import TrustFile
from audit_ledger.view import QuestionFacts
from audit_ledger.zero_test import blinded_cells
from protocols.canonical import b64
from protocols.clock import stamp, unix
from protocols.contract import CONTRACT
from protocols.errors import MalformedBytes
from protocols.exact import is_exact
from protocols.identity import Signer
from protocols.refusal import Reason, Refusal
from protocols.secagg.binding import Binding
from protocols.secagg.masks import seed_stream_sum, vector_hash
from protocols.statements import NO_SUM, Opening, Sealing, Seen, parse
from protocols.union import BadCiphertext, asks_for_residents

_log = structlog.get_logger("opener")


@dataclass(frozen=True, slots=True)
class Reply:
    """`refusals`, or the opening's envelope to log (None inside a segment); then `release` with `query` and `round`."""

    query: bytes = b""
    round: int = 0
    opening: bytes | None = None
    refusals: tuple[Refusal, ...] = ()


@dataclass(slots=True)
class OpenerCore:
    """See the module's docstring. `service` is the auditor's service key, `past` the closed log before this one.

    `ended` are the stores of closed logs: nothing is opened from them any more, and their sums go when their time is over.
    """

    trust: TrustFile
    store: OpenerStore
    keys: SealingKeys
    service: Signer
    past: PastLog | None = None
    ended: Sequence[OpenerStore] = ()
    random: Callable[[int], bytes] = os.urandom
    gate: Gate = field(init=False)
    _segments: set[tuple[bytes, int]] = field(default_factory=set)
    _leaving: set[tuple[bytes, int]] = field(default_factory=set)
    """Later rounds of a segment, marked as released when they were bound: one flush of the disk a round."""

    def __post_init__(self) -> None:
        follower = Follower(self.trust)
        if self.past is not None:
            follower.view = self.past.carry(self.trust.entry0)
        follower.restore(self.store.entries())
        self.gate = Gate(follower, None)

    @property
    def size(self) -> int:
        return self.gate.follower.size

    @property
    def coordinator(self) -> str | None:
        """Whom this opener serves: as entry 0 states, None before it was followed."""
        root = self.gate.follower.view.authority.root
        return root.coordinator if root else None

    def follow(self, start: int, entries: Sequence[bytes], checkpoint: bytes, now: int) -> list[Refusal]:
        """Takes entries that a cosigned checkpoint covers, durably; or says why not, and nothing has changed."""
        follower = self.gate.follower
        known = min(max(0, follower.size - start), len(entries))
        try:
            accepted = self.trust.policy.evaluate(checkpoint, now, CONTRACT.freshness_s, CONTRACT.clock_tolerance_s)
            if (
                follower.view.roots.get(accepted.checkpoint.size) == accepted.checkpoint.root
                and accepted.checkpoint.size < self.size
            ):
                return []  # true but old, say from a second stream: it shows nothing new
            follower.require_extension(start + known, entries[known:], accepted)
            self.store.append(follower.size, entries[known:])
        except LedgerError as error:
            if isinstance(error, TreeMismatch):
                _log.error("not the ledger that was followed: another one, or opener.sqlite is damaged", code=error.code)
            return [Refusal(reason_of(error), f"entries from {follower.size} under a cosigned checkpoint", error.code)]
        follower.restore(entries[known:])
        follower.accepted = accepted
        return []

    def sealing(self, month: str, now: int) -> Sealing:
        """The month's certificate. Raises NoSealingKey."""
        return self.keys.current(month, now).certificate(self.gate.follower.trust.policy.logs[0].key.origin, self.service)

    def open(self, request: OpenRequest, now: int) -> Reply:
        """Binds this opener to the request's member set, durably, or refuses with every broken rule."""
        try:
            binding = Binding.decode(request.preimage)
        except MalformedBytes as error:
            return _refused([Refusal(Reason.BINDING_MALFORMED, "the preimage of a binding", error.code)])
        kept = self.store.opened(binding.query, binding.round)
        if kept is not None and kept.request == request.digest():
            return Reply(kept.query, kept.round, kept.opening, tuple(self._resumed(kept, binding, now)))
        found = [
            *self._used(request, binding, kept),
            *self._emergencies(binding, now),
            *refusals(request, binding, self.gate, now),
        ]
        facts = self.gate.follower.view.questions.get(binding.query.hex())
        if facts is None or found:
            return _refused(found)
        if binding.round == request.first_round:
            members = frozenset(each.uri for each in binding.members)
            found += [*differing_refusals(self.gate.follower.view, facts, members, now), *self._exact(facts, now)]
        seeds, unopened = open_seeds(request, binding, facts, self.keys.find)
        if found or unopened:
            return _refused([*found, *unopened])
        try:
            return self._bind(request, binding, seeds, now)
        except BadCiphertext as error:
            return _refused([Refusal(Reason.ZERO_TEST_INVALID, "ciphertexts of an honest coordinator", error.code)])

    def _resumed(self, kept: Opened, binding: Binding, now: int) -> Iterator[Refusal]:
        if self.gate.follower.view.is_held:
            yield Refusal(Reason.ON_HOLD, "no hold", "the auditor holds the opener")
        if kept.sum is None:
            yield Refusal(Reason.OPENED_BEFORE, f"within {CONTRACT.keep_days} days", "its sum was deleted")
        if not kept.is_released:
            yield from window_refusals(binding, self.gate, now)

    def _used(self, request: OpenRequest, binding: Binding, kept: Opened | None) -> Iterator[Refusal]:
        """One member set per (query, round), ever: against the store, and against the ledger after a restore."""
        facts = self.gate.follower.view.questions.get(binding.query.hex())
        logged = facts.openings.get(binding.round) if facts else None
        if kept is not None:
            yield Refusal(Reason.OPENED_BEFORE, "the request that was answered before", "another", f"attempt {kept.attempt}")
        elif binding.round == request.first_round:
            if logged is not None:
                yield Refusal(Reason.OPENED_BEFORE, "no opening in the ledger", f"entry {logged[0]}")
        elif logged is None or (binding.query, request.first_round) not in self._segments:
            yield Refusal(Reason.OPENED_BEFORE, "a segment opened by this process", "none", f"round {request.first_round}")
        elif not set(binding.members) <= set(logged[1].members):
            yield Refusal(Reason.SET_DIFFERS, f"members within those of entry {logged[0]}", "others")

    def _emergencies(self, binding: Binding, now: int) -> Iterator[Refusal]:
        """The day's number also counts sets that are bound and whose openings are still on their way into the ledger."""
        view = self.gate.follower.view
        asked, cap = view.questions.get(binding.query.hex()), view.outbreak_cap
        if asked is None or asked.query.purpose != "outbreak":
            return
        bound = {each.hex() for each in self.store.bound_since(now - DAY_S)}
        bound = {each for each in bound if each in view.questions and view.questions[each].query.purpose == "outbreak"}
        opened = (bound | view.emergencies_of_the_day(now)) - {binding.query.hex()}
        if len(opened) >= cap:
            yield Refusal(Reason.OUTBREAK_CAP, f"{cap} outbreak queries in 24 hours", str(len(opened)))

    def _exact(self, facts: QuestionFacts, now: int) -> Iterator[Refusal]:
        """Exact mode beside earlier exact answers, and beside sets whose openings are still on their way into the ledger."""
        view = self.gate.follower.view
        if not is_exact(facts.query.spec):
            return
        yield from exact.differing_refusals(view, facts, now)
        questions = ((each.hex(), view.questions.get(each.hex())) for each in self.store.bound_since(now - CONTRACT.window_s))
        yield from exact.on_its_way(facts, [exact.Bound(id_, other) for id_, other in questions if other and not other.openings])

    def _opened(self, request: OpenRequest, binding: Binding, seeds: list[bytes]) -> tuple[bytes, str]:
        """What will be handed out, and its hash for the ledger. Raises BadCiphertext."""
        facts = self.gate.follower.view.questions[binding.query.hex()]
        if asks_for_residents(facts.query.spec):
            cells = blinded_cells(request.public, request.encrypted, binding, facts, seeds, self.random)
            return cells, hashlib.sha256(cells).hexdigest()
        total = seed_stream_sum(seeds, binding.dimension, binding.ring, binding.value)
        return total.tobytes(), NO_SUM if request.is_segment else vector_hash(total).hex()

    def _bind(self, request: OpenRequest, binding: Binding, seeds: list[bytes], now: int) -> Reply:
        opened, stream_sum = self._opened(request, binding, seeds)
        is_first = binding.round == request.first_round
        opening = self._opening(request, binding, stream_sum, now) if is_first else None
        # Bound before it leaves: after a crash here only this very request can go on.
        kept = Opened(
            *(binding.query, binding.round, binding.attempt, request.digest(), request.preimage),
            *(opening, opened, int(not is_first), now),
        )
        self.store.keep(kept)
        if not is_first:
            self._leaving.add((binding.query, binding.round))
        elif request.is_segment:
            self._segments.add((binding.query, request.first_round))
        _log.info("member set bound", round=binding.round, attempt=binding.attempt, members=len(binding.members))
        return Reply(binding.query, binding.round, opening)

    def _opening(self, request: OpenRequest, binding: Binding, stream_sum: str, now: int) -> bytes:
        view = self.gate.follower.view
        root = view.authority.root
        if root is None:
            raise AssertionError("a query was followed without entry 0")
        statement = Opening(
            log=binding.origin,
            at=stamp(now),
            by=root.auditor,
            query=binding.query.hex(),
            first_round=request.first_round,
            last_round=request.last_round,
            attempt=binding.attempt,
            preimage=b64(request.preimage),
            stream_sum=stream_sum,
            seen=Seen(size=view.size, root=view.range.root().hex()),
        )
        return statement.envelope().signed([self.service]).encode()

    def release(self, query: bytes, round_: int, now: int) -> bytes | list[Refusal] | None:
        """The sum's bytes; None while its opening is not yet in the followed ledger; or why it stays here."""
        kept, view = self.store.opened(query, round_), self.gate.follower.view
        facts = view.questions.get(query.hex())
        if kept is None or kept.sum is None or facts is None:
            return [Refusal(Reason.OPENED_BEFORE, "a set this service is bound to", "none, or its sum was deleted")]
        logged = facts.openings.get(round_)
        if kept.opening is not None and logged is not None and logged[2] != parse(kept.opening).statement:
            return [Refusal(Reason.OPENED_BEFORE, "this opening in the ledger", f"another at entry {logged[0]}")]
        found = self._standing(kept, now)
        if found or logged is None:
            return found or None
        if _is_damaged(kept):
            _log.error("the kept sum is not the one that was logged", round=round_, attempt=kept.attempt)
            return [
                Refusal(Reason.OPENED_BEFORE, "the sum that its opening commits to", "another: the opener's database is damaged")
            ]
        if not kept.is_released:
            # Marked before it leaves: a crash here loses nothing, since the same request is answered again.
            self.store.mark_released(query, round_)
        self._leaving.discard((query, round_))
        return kept.sum

    def _standing(self, kept: Opened, now: int) -> list[Refusal]:
        """Why the sum may not leave now. What has left may be fetched again; of a later round of a segment a restart cannot tell
        whether it has, so that a hold keeps it here.
        """
        facts = self.gate.follower.view.questions.get(kept.query.hex())
        if kept.is_released and (kept.query, kept.round) not in self._leaving:
            return [] if kept.opening is not None else self.gate.standing(facts, now)
        return [*self.gate.standing(facts, now), *window_refusals(Binding.decode(kept.preimage), self.gate, now)]

    def close(self) -> None:
        for store in (self.store, *self.ended):
            store.close()

    def sweep(self, now: int) -> None:
        """Deletes sums after 35 days, and sealing keys whose windows are over."""
        for store in (self.store, *self.ended):
            store.delete_sums(now - CONTRACT.keep_days * DAY_S)
        windows: dict[str, int] = {}
        for facts in self.gate.follower.view.questions.values():
            for ready in facts.readys.values():
                month = ready.statement.sealing.month
                windows[month] = max(windows.get(month, 0), unix(ready.statement.not_after))
        self.keys.destroy_over(windows, now)


def _is_damaged(kept: Opened) -> bool:
    """Whether the disk gives back another sum than was bound."""
    opening = parse(kept.opening).statement if kept.opening is not None else None
    return isinstance(opening, Opening) and not opening.commits_to(kept.sum or b"")


def _refused(found: Sequence[Refusal]) -> Reply:
    return Reply(refusals=tuple(found))
