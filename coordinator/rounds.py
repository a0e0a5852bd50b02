"""A question's life at the coordinator: log, offer, gather, open, release; resumable at every step.

Each phase first looks at what the ledger and the register already hold, so that a restart runs the same code: an Offer once made
is made again with the same proof and window, an attempt once announced is followed by the next one, an opening once logged is
asked for again byte for byte. The coordinator is trusted with nothing here: hospitals and the auditor check every step.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from audit_ledger.errors import LedgerError
from coordinator.admission import Admitted, admit
from coordinator.attempt import Attempt, bind, contribution_refusals
from coordinator.errors import CoordinatorError
from coordinator.ledger import CityLedger
from coordinator.members import Members
from coordinator.opening import Auditor, OpeningRefused
from coordinator.question import ENDED, Ended, Question
from coordinator.register import Contributed, Register
from coordinator.release import compose_answer, release_statement, released_values
from privacy.pricing import price
from protocols.asked import Asked
from protocols.clock import stamp, unix
from protocols.contract import CONTRACT
from protocols.identity import Signer
from protocols.refusal import Reason, Refusal
from protocols.secagg.binding import Binding
from protocols.secagg.masks import MasksRemain
from protocols.statements import Release, parse
from protocols.v1 import link_pb2

log = structlog.get_logger("coordinator.rounds")


@dataclass(frozen=True, slots=True)
class Timing:
    """Deadlines of a round, in seconds."""

    ready_s: float = 15.0
    straggler_s: float = 1.0
    contribution_s: float = 60.0
    vanished_s: float = 4.0


class Rounds:
    """All questions of one coordinator."""

    def __init__(
        self,
        ledger: CityLedger,
        members: Members,
        auditor: Auditor,
        register: Register,
        identity: Signer,
        uri: str,
        clock: Callable[[], int],
        timing: Timing,
    ) -> None:
        self._ledger, self._members, self._auditor, self._register = ledger, members, auditor, register
        self._identity, self._uri, self._clock, self._timing = identity, uri, clock, timing
        self._questions: dict[bytes, Question] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def find(self, query: bytes) -> Question | None:
        return self._questions.get(query)

    def running(self) -> list[Question]:
        return [each for each in self._questions.values() if each.state not in ENDED]

    async def ask(self, entry: bytes, asker: str) -> Question | list[Refusal]:
        """Admits and starts a question, or names every reason against it. Asked again, the same question is found again."""
        try:
            known = self.find(parse(entry).id)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the bytes is named by admission
            log.debug("unparsed question", error=type(error).__name__)
            known = None
        if known is not None:
            return known
        admitted = admit(entry, asker, self._ledger.view, self._clock())
        if isinstance(admitted, list):
            return admitted
        await asyncio.to_thread(self._register.put_question, admitted.signed.id, entry, self._clock())
        return self._start(admitted)

    async def resume(self) -> None:
        """Carries on with what a crash or restart interrupted."""
        for row in await asyncio.to_thread(self._register.unfinished):
            admitted = admit(row.entry, str(parse(row.entry).statement.by), self._ledger.view, self._clock())
            logged = self._ledger.view.questions.get(row.query.hex())
            if isinstance(admitted, list) and logged is None:
                await asyncio.to_thread(self._register.set_state, row.query, "refused", self._clock())
                continue
            question = self._start(_readmitted(row.entry))
            question.is_cancelled = row.is_cancelled

    def _start(self, admitted: Admitted) -> Question:
        question = Question(admitted)
        self._questions[question.id] = question
        task = asyncio.create_task(self._live(question))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return question

    async def cancel(self, query: bytes) -> Question | None:
        question = self.find(query)
        if question is not None and question.state not in ENDED:
            await asyncio.to_thread(self._register.cancel, query)
            question.is_cancelled = True
            await question.note()
        return question

    async def _live(self, question: Question) -> None:
        try:
            await self._phases(question)
        except Ended as ended:
            await self._end(question, ended)
        except OpeningRefused as no:
            await self._end(question, Ended("failed", no.refusals))
        except MasksRemain:
            await self._end(question, Ended("failed", [Refusal(Reason.RECEIPT_INVALID, "vectors that cancel", "garbage")]))
        except (CoordinatorError, LedgerError) as error:
            # Nothing is decided: the question stays open in the register and a restart goes on with it.
            log.warning("question waits", query=question.id.hex()[:16], code=error.code)
            await self._retry_later(question)

    async def _retry_later(self, question: Question) -> None:
        await asyncio.sleep(2.0)
        task = asyncio.create_task(self._live(question))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _phases(self, question: Question) -> None:
        await self._log(question)
        await self._approved(question)
        if (opened := self._opened(question)) is None:
            await self._offer(question)
            await self._gather_readys(question)
            await self._log_readys(question)
            opened = await self._contribute(question)
        await self._open_and_release(question, opened)

    async def _set_state(self, question: Question, state: str) -> None:
        question.state = state
        await asyncio.to_thread(self._register.set_state, question.id, state, self._clock())
        await question.note()

    async def _log(self, question: Question) -> None:
        await self._ledger.append([question.admitted.signed.entry])
        await self._ledger.refreshed()
        await self._set_state(question, "logged")
        question.breakdown.step("log_query")

    async def _approved(self, question: Question) -> None:
        facts = self._ledger.view.questions[question.id.hex()]
        news = asyncio.Event()
        self._ledger.listen(news.set)
        try:
            while self._ledger.view.refusals_of_approval(facts, self._clock()):
                self._require_open(question, unix(question.query.valid_until))
                news.clear()
                await _wait_any(1.0, news.wait())
        finally:
            self._ledger.unlisten(news.set)
        await self._set_state(question, "approved")
        question.breakdown.step("approval")

    def _require_open(self, question: Question, until: int) -> None:
        if question.is_cancelled:
            raise Ended("cancelled", [])
        if self._clock() >= until:
            raise Ended("expired", [Refusal(Reason.WINDOW_CLOSED, stamp(until), stamp(self._clock()))])

    def _opened(self, question: Question) -> Binding | None:
        facts = self._ledger.view.questions[question.id.hex()]
        return facts.openings[0][1] if 0 in facts.openings else None

    async def _offer(self, question: Question) -> None:
        row = await asyncio.to_thread(self._register.question, question.id)
        if row is None or row.proof is None:
            await self._ledger.refreshed(0 if self._ledger.view.size > self._ledger.note_size else 60)
            proof = self._ledger.proof(self._ledger.index_of(question.id))
            not_after = self._ledger.witness_time() + CONTRACT.window_s
            await asyncio.to_thread(self._register.set_offer, question.id, proof, not_after)
        else:
            proof, not_after = row.proof, row.not_after
        sealing = await self._auditor.sealing(not_after - CONTRACT.window_s)
        offer = link_pb2.Offer(query=question.admitted.signed.entry, proof=proof, sealing=sealing)
        question.offer = link_pb2.CoordinatorFrame(offer=offer)
        await self._set_state(question, "running")

    async def _gather_readys(self, question: Question) -> None:
        loop = asyncio.get_running_loop()
        until, offered = loop.time() + self._timing.ready_s, set[int]()
        settled: float | None = None
        while (now := loop.time()) < until:
            await self._require_window(question)
            waiting = self._offer_to_all(question, offered)
            answered = len(question.readys) + len(question.refused)
            if answered == len(question.query.audience):
                break
            settled = None if waiting else settled or now + self._timing.straggler_s
            if settled is not None and now >= settled and len(question.readys) >= question.query.floor:
                break
            await _wait_any(0.25, _wait_on(question.changed), self._members.change())
        question.breakdown.step("offer_to_ready")
        if len(question.readys) < question.query.floor:
            raise Ended("failed", self._too_few(question))

    def _offer_to_all(self, question: Question, offered: set[int]) -> bool:
        """Offers to members that have not seen it on their present stream; True while one of them has still to answer."""
        waiting = False
        for uri in question.query.audience:
            member = self._members.get(uri)
            if member is None or uri in question.readys or uri in question.refused or question.offer is None:
                continue
            waiting = True
            if id(member) not in offered:
                offered.add(id(member))
                member.catch_up(self._ledger)
                member.send(question.offer)
        return waiting

    def _too_few(self, question: Question) -> list[Refusal]:
        reasons = [Refusal(Reason.TOO_FEW_MEMBERS, f"{question.query.floor} ready", str(len(question.readys)))]
        for uri, envelope in sorted(question.refused.items()):
            statement: Any = parse(envelope).statement
            reasons += [Refusal(_reason(each.code), each.expected, each.got, uri) for each in statement.reasons]
        return reasons

    async def _require_window(self, question: Question) -> None:
        row = await asyncio.to_thread(self._register.question, question.id)
        self._require_open(question, row.not_after if row else 0)

    async def _log_readys(self, question: Question) -> None:
        readys = [envelope for _, envelope in sorted(question.readys.items())]
        await self._ledger.append([*readys, *(envelope for _, envelope in sorted(question.refused.items()))])
        await self._ledger.cosigned()
        question.breakdown.step("log_readys")

    async def _contribute(self, question: Question) -> Binding:
        row = await asyncio.to_thread(self._register.question, question.id)
        gone: set[str] = set()
        for number in range((row.attempt if row else 0) + 1, CONTRACT.attempts + 1):
            await self._require_window(question)
            attempt = bind(question, self._ledger.view, number, row.not_after if row else 0, gone)
            preimage = attempt.binding.encode()
            await asyncio.to_thread(self._register.set_attempt, question.id, 0, number, preimage)
            if await self._attempt(question, attempt):
                return attempt.binding
            gone |= set(attempt.uris) - set(question.made[number])
            question.breakdown.step("failed_attempt")
        raise Ended(
            "failed", [Refusal(Reason.ATTEMPTS_EXHAUSTED, f"{CONTRACT.attempts} attempts", "none complete"), *_balked(question)]
        )

    async def _attempt(self, question: Question, attempt: Attempt) -> bool:
        """Sends the member set and gathers; False if a member vanished or refused."""
        number = attempt.binding.attempt
        question.made[number], question.balked[number] = {}, {}
        question.member_uris = attempt.uris
        question.member_set = link_pb2.CoordinatorFrame(member_set=link_pb2.MemberSet(preimage=attempt.binding.encode()))
        loop = asyncio.get_running_loop()
        until, sent, missing_since = loop.time() + self._timing.contribution_s, dict[str, int](), dict[str, float]()
        while loop.time() < until:
            await self._require_window(question)
            pending = [uri for uri in attempt.uris if uri not in question.made[number]]
            if not pending:
                question.breakdown.step("contribute")
                return True
            if question.balked[number] or self._is_one_gone(question, pending, sent, missing_since):
                return False
            await _wait_any(0.25, _wait_on(question.changed), self._members.change())
        return False

    def _is_one_gone(self, question: Question, pending: list[str], sent: dict[str, int], missing_since: dict[str, float]) -> bool:
        """(Re)sends the member set on each stream once; True when a member has stayed away too long."""
        now = asyncio.get_running_loop().time()
        for uri in pending:
            member = self._members.get(uri)
            if member is None:
                if now - missing_since.setdefault(uri, now) > self._timing.vanished_s:
                    return True
                continue
            missing_since.pop(uri, None)
            if sent.get(uri) != id(member) and question.member_set is not None:
                sent[uri] = id(member)
                member.catch_up(self._ledger)
                member.send(question.member_set)
        return False

    async def contributed(self, uri: str, header: link_pb2.Contribution, masked: bytes) -> None:
        """A complete contribution arrived on `uri`'s stream."""
        question = self.find(header.query)
        if question is None or header.attempt not in question.made or uri not in question.member_uris:
            return
        preimage = await asyncio.to_thread(self._register.preimage, header.query, header.round, header.attempt)
        made = Contributed(uri, header.sealed, header.receipt, masked)
        refusals = contribution_refusals(made, Binding.decode(preimage or b""), self._ledger.view)
        if refusals:
            question.balked[header.attempt][uri] = refusals
        else:
            # Stored before anybody is asked to open: an opened sum can always be finished.
            args = (header.query, header.round, header.attempt, made, self._clock())
            await asyncio.to_thread(self._register.put_contribution, *args)
            question.made[header.attempt][uri] = made
        await question.note()

    async def balked(self, uri: str, frame: link_pb2.BindingRefused) -> None:
        question = self.find(frame.query)
        if question is not None and frame.attempt in question.balked:
            reasons = [Refusal(_reason(each.code), each.expected, each.got, uri) for each in frame.refusals]
            question.balked[frame.attempt][uri] = reasons
            await question.note()

    async def answered(self, uri: str, envelope: bytes, is_ready: bool) -> None:
        """A Ready or a Refused arrived. It counts if the ledger would take it."""
        signed, findings = self._ledger.findings(envelope)
        question = self.find(bytes.fromhex(getattr(signed.statement, "query", "")))
        is_known = signed.id in self._ledger.view.seen_ids
        if question is None or signed.statement.by != uri or (findings and not is_known):
            log.warning("statement not taken", party=uri, rules=[str(each.rule) for each in findings])
            return
        (question.readys if is_ready else question.refused)[uri] = envelope
        await question.note()

    async def _open_and_release(self, question: Question, binding: Binding) -> None:
        stored = await asyncio.to_thread(self._register.contributions, question.id, binding.round, binding.attempt)
        made = [each for each in stored if binding.member(each.uri) is not None]
        values = await released_values(self._auditor, self._ledger, question, binding, made)
        question.breakdown.step("open")
        statement = release_statement(self._ledger.view, question, binding, values, self._uri, stamp(self._clock()))
        release = statement.envelope().signed([self._identity]).encode()
        await self._ledger.append([*(each.receipt for each in made), release])
        await self._ledger.cosigned()
        question.breakdown.step("log_release")
        answer = compose_answer(self._ledger, question, binding, values, release)
        question.answer = answer.model_dump_json().encode()
        question.breakdown.step("compose")
        await asyncio.to_thread(
            self._register.set_answer, question.id, question.answer, question.breakdown.to_json(), self._clock()
        )
        question.state = "released"
        await question.note()
        self._tell_ended(question)

    async def _end(self, question: Question, ended: Ended) -> None:
        """Writes the end into the ledger, if the question stands there, so that its story is never open."""
        question.refusals = ended.refusals
        if question.id.hex() in self._ledger.view.questions and ended.state != "refused":
            statement = Release(
                log=self._ledger.view.authority.origin,
                at=stamp(self._clock()),
                by=self._uri,
                query=question.id.hex(),
                round=0,
                attempt=max(question.made, default=0),
                status=ended.state,  # type: ignore[arg-type]
                binding=None,
                values=None,
                answered=(),
                refused=tuple(sorted(question.refused)),
                away=tuple(sorted(set(question.query.audience) - set(question.refused) - set(question.readys))),
                left_out=(),
            )
            await self._ledger.append([statement.envelope().signed([self._identity]).encode()])
        await self._set_state(question, ended.state)
        self._tell_ended(question)

    def _tell_ended(self, question: Question) -> None:
        frame = link_pb2.CoordinatorFrame(ended=link_pb2.Ended(query=question.id, state=question.state))
        for uri in question.query.audience:
            if (member := self._members.get(uri)) is not None:
                member.catch_up(self._ledger)
                member.send(frame)


def _readmitted(entry: bytes) -> Admitted:
    signed = parse(entry)
    asked = Asked.of(signed.statement)  # type: ignore[arg-type]
    return Admitted(signed, asked, price(CONTRACT.order, asked.pieces, asked.query.rounds))


def _reason(code: str) -> Reason:
    try:
        return Reason(code)
    except ValueError:
        return Reason.INTERNAL


def _balked(question: Question) -> list[Refusal]:
    return [each for balked in question.balked.values() for refusals in balked.values() for each in refusals]


async def _wait_on(condition: asyncio.Condition) -> None:
    async with condition:
        await condition.wait()


async def _wait_any(timeout_s: float, *waits: Any) -> None:
    """Returns at the first of these, or after the timeout."""
    tasks = [asyncio.ensure_future(each) for each in waits]
    await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
