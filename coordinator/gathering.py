"""Offers out, Readys in; member sets out, contributions in. Ends with a complete attempt per round.

Everything is resumable: an Offer once made is made again with the same proof and window; an attempt whose contributions are all in
the register is opened as it is; otherwise the next attempt follows, up to three a round. A member that vanishes, refuses or sends
what does not fit its own receipt is left out of the next attempt.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from coordinator.attempt import Attempt, Turn, bind, contribution_refusals, fixed_set
from coordinator.config import Timing
from coordinator.ledger import CityLedger
from coordinator.members import Member, Members, chunks
from coordinator.news import first_of
from coordinator.opening import Auditor
from coordinator.question import Ended, Question
from coordinator.register import Contributed, Register
from coordinator.release import spending
from privacy.filter import encode_charge
from protocols.clock import stamp
from protocols.contract import CONTRACT
from protocols.fits import Training
from protocols.refusal import Reason, Refusal
from protocols.secagg.binding import Binding
from protocols.statements import Ready, Refused, parse
from protocols.v1 import link_pb2

log = structlog.get_logger("coordinator.rounds")
TICK_S = 0.25
HEAD_START_S = 0.03
"""For the member sets to be on their way, before what can wait takes the processor."""


@dataclass(frozen=True, slots=True)
class Complete:
    """A round whose every member has contributed."""

    binding: Binding
    made: list[Contributed]


class Gathering:
    """The part of a question's life in which hospitals are asked and answer."""

    def __init__(
        self,
        ledger: CityLedger,
        members: Members,
        register: Register,
        auditor: Auditor,
        clock: Callable[[], int],
        timing: Timing,
    ) -> None:
        self._ledger, self._members, self._register, self._auditor = ledger, members, register, auditor
        self._clock, self._timing = clock, timing
        self._all_back = time.monotonic() + timing.return_s

    def require_open(self, question: Question, until: int) -> None:
        """Raises Ended if the asker cancelled or the time is over."""
        if question.is_cancelled:
            raise Ended("cancelled", [])
        if self._clock() >= until:
            raise Ended("expired", [Refusal(Reason.WINDOW_CLOSED, stamp(until), stamp(self._clock()))])

    # -- Offer and Ready

    async def offer(self, question: Question) -> None:
        """Prepares the Offer: the same proof, and so the same window, whenever it is sent."""
        row = await asyncio.to_thread(self._register.question, question.id)
        if row is None or row.proof is None:
            await self._ledger.refreshed()
            proof = self._ledger.proof(self._ledger.index_of(question.id))
            not_after = self._ledger.witness_time() + CONTRACT.window_s
            await asyncio.to_thread(self._register.set_offer, question.id, proof, not_after)
        else:
            proof, not_after = row.proof, row.not_after
        sealing = await self._sealing(not_after - CONTRACT.window_s)
        await self._require_zero_test(question, not_after - CONTRACT.window_s)
        asked = question.admitted.asked
        offer = link_pb2.Offer(
            query=question.admitted.signed.entry,
            proof=proof,
            sealing=sealing,
            first_round=asked.first_round,
            last_round=asked.last_round,
        )
        question.offer = link_pb2.CoordinatorFrame(offer=offer)
        question.not_after = not_after

    async def _require_zero_test(self, question: Question, at: int) -> None:
        """Before anybody is charged for residents. Raises Ended where the auditor's program is older than the question."""
        if question.admitted.asked.is_of_residents and not await self._auditor.can_count_residents(at):
            raise Ended("failed", [Refusal(Reason.NO_ZERO_TEST, "an auditor's program that counts residents", "an older one")])

    async def _sealing(self, at: int) -> bytes:
        authority = self._ledger.view.authority
        service = authority.active(authority.root.auditor, "service") if authority.root else None
        return await self._auditor.sealing(at, authority.origin, service.key if service else b"")

    async def gather_readys(self, question: Question) -> None:
        """Until everybody in the audience answered, or the connected ones did and a grace passed, or the deadline. Raises Ended."""
        question.is_gathered = False
        loop = asyncio.get_running_loop()
        ready_s = self._timing.study_s if isinstance(question.admitted.asked.spec, Training) else self._timing.ready_s
        until, offered = max(loop.time() + ready_s, self._all_back), set[Member]()
        settled: float | None = None
        while (now := loop.time()) < until:
            self.require_open(question, question.not_after)
            is_waiting = self._offer_to_all(question, offered)
            if len(question.readys) + len(question.refused) == len(question.query.audience):
                break
            settled = None if is_waiting else settled or max(now + self._timing.straggler_s, self._all_back)
            if settled is not None and now >= settled and len(question.readys) >= question.fewest:
                break
            await self._news(question)
        if len(question.readys) < question.fewest:
            raise Ended("failed", _too_few(question))

    def _offer_to_all(self, question: Question, offered: set[Member]) -> bool:
        """Offers to members that have not seen it on their present stream; True while one of them has still to answer."""
        is_waiting = False
        for uri in question.query.audience:
            member = self._members.get(uri)
            if member is None or uri in question.readys or uri in question.refused or question.offer is None:
                continue
            is_waiting = True
            if member not in offered:
                offered.add(member)
                member.catch_up(self._ledger)
                member.send(question.offer)
        return is_waiting

    async def answered(self, question: Question, uri: str, envelope: bytes, is_ready: bool) -> None:
        """A Ready or a Refused arrived on `uri`'s stream: it enters the ledger at once, in the order of the stream."""
        if not _fits(envelope, question, is_ready):
            log.warning("statement not taken", party=uri, rules=["another kind, or another price"])
            return
        signed = parse(envelope)
        question.heard.add(uri)
        is_last = question.heard.issuperset(question.query.audience)
        index, findings = await self._ledger.append_valid(signed, is_last=is_last)
        if index is None or signed.statement.by != uri:
            log.warning("statement not taken", party=uri, rules=[str(each.rule) for each in findings])
            return
        if not question.is_gathered:  # one that is not cosigned yet must not get into a member set
            (question.readys if is_ready else question.refused)[uri] = envelope
        question.note()

    # -- member set and contributions

    async def round(self, question: Question, number: int, input_: bytes) -> Complete:
        """A complete attempt at a round: the stored one if there is one, else a new one. Raises Ended after three."""
        is_next, question.next_round, last = number == question.next_round, -1, None
        if not is_next:
            await self._leave_out_the_gone(question, number)
            last = await asyncio.to_thread(self._register.last_attempt, question.id, number)
        if last is not None and (complete := await self._stored(question, number, *last)) is not None:
            return complete
        first, lost = last[0] + 1 if last else 1, set[str]()
        for attempt in range(first, CONTRACT.attempts + 1):
            self.require_open(question, question.not_after)
            turn = Turn(number, attempt, question.not_after, input_)
            bound = bind(question, self._ledger.view, turn, question.gone)
            await asyncio.to_thread(self._register.set_attempt, question.id, number, attempt, bound.binding.encode())
            lost = await self._attempt(question, bound, input_)
            if not lost:
                made, question.next_round = question.made[(number, attempt)], number + 1
                return Complete(bound.binding, [made[uri] for uri in bound.uris])
            self._leave_out(question, lost)
            await self._keep_why(question)
        exhausted = Refusal(Reason.ATTEMPTS_EXHAUSTED, f"{CONTRACT.attempts} attempts", "none complete")
        gone = fixed_set(question, set(question.query.audience) - lost) if question.admitted.asked.is_exact else []
        raise Ended("failed", [exhausted, *gone, *question.why_balked()])

    async def _keep_why(self, question: Question) -> None:
        """Who refuses a member set says so over the link alone: a restart before the release would not know it any more."""
        if said := list(dict.fromkeys([*question.refusals, *question.why_balked()])):
            try:
                await asyncio.to_thread(self._register.set_refusals, question.id, said)
            except Exception as error:  # noqa: BLE001 (it only explains: the next attempt does not wait for it)
                log.warning("reasons not kept", query=question.id.hex()[:16], error=type(error).__name__)

    def _leave_out(self, question: Question, lost: set[str]) -> None:
        """From the next attempt. In exact mode nobody is: who vanished may come back, who refused ends the question."""
        if not question.admitted.asked.is_exact:
            question.gone |= lost
        elif balked := question.why_balked():
            raise Ended("failed", [*fixed_set(question, set(question.query.audience) - lost), *balked])

    async def _leave_out_the_gone(self, question: Question, number: int) -> None:
        """Inside a segment the member set only shrinks, also over a restart."""
        before = await asyncio.to_thread(self._register.last_attempt, question.id, number - 1)
        if before is not None:
            question.gone |= set(question.readys) - {member.uri for member in Binding.decode(before[1]).members}

    async def _stored(self, question: Question, number: int, attempt: int, preimage: bytes) -> Complete | None:
        binding = Binding.decode(preimage)
        made = await asyncio.to_thread(self._register.contributions, question.id, number, attempt)
        is_complete = {each.uri for each in made} == {member.uri for member in binding.members}
        return Complete(binding, made) if is_complete else None

    async def _attempt(self, question: Question, bound: Attempt, input_: bytes) -> set[str]:
        """Sends the member set and gathers. Returns who refused, vanished or was too late: nobody, if the attempt is complete."""
        meanwhile = asyncio.create_task(self._prepare(question, bound.binding))
        try:
            return await self._gathered(question, bound, input_)
        finally:
            meanwhile.cancel()

    async def _prepare(self, question: Question, binding: Binding) -> None:
        """What would otherwise wait for the contributions, done once hospitals work: the opener's ledger, the answer's prices."""
        if binding.round == question.admitted.asked.first_round:
            await asyncio.sleep(HEAD_START_S)
            await self._auditor.prepare(question.id, self._ledger)
            await asyncio.to_thread(spending, question.admitted.asked, binding)

    async def _gathered(self, question: Question, bound: Attempt, input_: bytes) -> set[str]:
        key = (bound.binding.round, bound.binding.attempt)
        question.made[key], question.balked[key] = {}, {}
        question.member_uris, question.binding = bound.uris, bound.binding
        question.member_frames = _member_frames(bound, input_)
        loop = asyncio.get_running_loop()
        until, sent, away_since = loop.time() + self._timing.contribution_s, dict[str, Member](), dict[str, float]()
        pending, settled = set(bound.uris), float("inf")
        while (now := loop.time()) < until:
            self.require_open(question, question.not_after)
            pending = set(bound.uris) - set(question.made[key])
            if not pending:
                return set()
            if lost := set(question.balked[key]) | self._vanished(question, pending, sent, away_since):
                # The others are not to blame that they are still in their slot; who else refuses says so within the grace.
                settled = min(settled, now + self._timing.straggler_s)
                if lost >= pending or now >= settled:
                    return lost
            await self._news(question)
        return pending

    def _vanished(self, question: Question, pending: set[str], sent: dict[str, Member], away_since: dict[str, float]) -> set[str]:
        """(Re)sends the member set on each stream once; returns who has stayed away too long."""
        now, vanished = asyncio.get_running_loop().time(), set[str]()
        for uri in sorted(pending):
            member = self._members.get(uri)
            if member is None:
                if now - away_since.setdefault(uri, max(now, self._all_back)) > self._timing.vanished_s:
                    vanished.add(uri)
                continue
            away_since.pop(uri, None)
            if sent.get(uri) is not member:
                sent[uri] = member
                member.catch_up(self._ledger)
                for frame in question.member_frames:
                    member.send(frame)
        return vanished

    async def contributed(self, question: Question, uri: str, header: link_pb2.Contribution, masked: bytes) -> None:
        """A complete contribution arrived on `uri`'s stream."""
        key = (header.round, header.attempt)
        binding = question.binding
        if binding is None or (binding.round, binding.attempt) != key or uri not in question.member_uris:
            return
        made = Contributed(uri, header.sealed, header.receipt, header.round_signature, masked)
        refusals = contribution_refusals(made, binding, question.admitted.asked, self._ledger.view)
        if refusals:
            question.balked[key][uri] = refusals
        else:
            # Stored before anybody is asked to open: an opened sum can always be finished.
            await asyncio.wrap_future(self._register.note_contribution(question.id, *key, made, self._clock()))
            question.made[key][uri] = made
        question.note()

    def balked(self, question: Question, uri: str, frame: link_pb2.BindingRefused) -> None:
        """A hospital refused a member set, with its reasons."""
        key = (frame.round, frame.attempt)
        if key in question.balked:
            question.balked[key][uri] = [Refusal(reason_of(each.code), each.expected, each.got, uri) for each in frame.refusals]
            question.note()

    async def _news(self, question: Question) -> None:
        await first_of(TICK_S, question.changed, self._members.changed)


def _fits(envelope: bytes, question: Question, is_ready: bool) -> bool:
    """Of the frame's kind; a Ready at the price that this program computed as well, which the answer will show. What else it must
    charge is the ledger's own rule, by the auditor's arithmetic (`audit_ledger.due`)."""
    statement = parse(envelope).statement
    if isinstance(statement, Ready):
        return is_ready and statement.charge.price == encode_charge(question.admitted.price.one)
    return isinstance(statement, Refused) and not is_ready


def _member_frames(bound: Attempt, input_: bytes) -> list[link_pb2.CoordinatorFrame]:
    head = link_pb2.MemberSet(preimage=bound.binding.encode(), input_bytes=len(input_))
    frames = [link_pb2.CoordinatorFrame(member_set=head)]
    return frames + [link_pb2.CoordinatorFrame(input=chunk) for chunk in chunks(input_)]


def _too_few(question: Question) -> list[Refusal]:
    reasons = [Refusal(Reason.TOO_FEW_MEMBERS, f"{question.fewest} ready", str(len(question.readys)))]
    if question.admitted.asked.is_exact:
        reasons += fixed_set(question, question.readys)
    for uri, envelope in sorted(question.refused.items()):
        statement: Any = parse(envelope).statement
        reasons += [Refusal(reason_of(each.code), each.expected, each.got, uri) for each in statement.reasons]
    return reasons


def reason_of(code: str) -> Reason:
    """A code from outside; one that this version does not know is `node.internal`."""
    try:
        return Reason(code)
    except ValueError:
        return Reason.INTERNAL
