"""A question's life at the coordinator: log, approve, gather, open, release; resumable at every step.

Each phase first looks at what the ledger and the register already hold, so that a restart runs the same code. The coordinator is
trusted with nothing here: hospitals and the auditor check every step for themselves. A question that can neither go on nor end (the
auditor is away, the log has stopped) stays open in the register and is tried again.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import structlog

from audit_ledger.errors import LedgerError
from audit_ledger.view import LedgerView, QuestionFacts
from coordinator.absent import why_absent
from coordinator.admission import Admitted, admit, admitted_of
from coordinator.config import Timing
from coordinator.errors import CoordinatorError, NotKeptYet
from coordinator.gathering import Complete, Gathering, reason_of
from coordinator.ledger import CityLedger
from coordinator.members import Members
from coordinator.news import News, first_of
from coordinator.opening import Auditor, OpeningRefused
from coordinator.question import ENDED, Ended, Question
from coordinator.register import Register
from coordinator.release import card_statement, compose_answer, end_statement, model_statement, release_statement, unmasked
from coordinator.residents import counted
from coordinator.strategies import Steering, steering
from coordinator.training import Stepped, is_test, released_weights, trained_values
from protocols.clock import stamp, unix
from protocols.errors import ProtocolError
from protocols.fits import Floats, Training
from protocols.identity import Signer
from protocols.query import QuerySpec
from protocols.refusal import Reason, Refusal
from protocols.secagg.binding import Binding
from protocols.secagg.masks import MasksRemain
from protocols.secagg.ring import Integers
from protocols.statements import Statement, parse
from protocols.union import BadCiphertext
from protocols.v1 import link_pb2

log = structlog.get_logger("coordinator.rounds")
RETRY_S = 2.0


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
        self._identity, self._uri, self._clock = identity, uri, clock
        self.gathering = Gathering(ledger, members, register, auditor, clock, timing)
        self._questions: dict[bytes, Question] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def find(self, query: bytes) -> Question | None:
        return self._questions.get(query)

    async def ask(self, entry: bytes, asker: str) -> Question | list[Refusal]:
        """Admits and starts a question, or names every reason against it. Asked again, the same question is found again."""
        try:
            known = self.find(parse(entry).id)
        except ProtocolError:
            known = None  # admission names what is wrong with the bytes
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
            if row.query.hex() in self._ledger.view.questions:
                question = self._start(admitted_of(row.entry))
                question.is_cancelled, question.refusals = row.is_cancelled, list(row.refusals)
                continue
            admitted = admit(row.entry, str(parse(row.entry).statement.by), self._ledger.view, self._clock())
            if isinstance(admitted, Admitted):
                self._start(admitted)
            else:
                await asyncio.to_thread(self._register.set_refusals, row.query, admitted)
                await asyncio.to_thread(self._register.set_state, row.query, "refused", self._clock())

    def _start(self, admitted: Admitted) -> Question:
        question = Question(admitted)
        self._questions[question.id] = question
        self._spawn(self._live(question))
        return question

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def cancel(self, query: bytes) -> None:
        question = self.find(query)
        if question is not None and question.state not in ENDED:
            await asyncio.to_thread(self._register.cancel, query)
            question.is_cancelled = True
            question.note()

    async def _live(self, question: Question) -> None:
        while True:
            try:
                return await self._one_life(question)
            except (CoordinatorError, LedgerError) as error:
                log.warning("question waits", query=question.id.hex()[:16], code=error.code)
            except Exception as error:  # noqa: BLE001 (a fault of ours must not leave a question that neither goes on nor ends)
                log.warning("question waits", query=question.id.hex()[:16], code="coordinator.internal", error=type(error).__name__)
            await asyncio.sleep(RETRY_S)

    async def _one_life(self, question: Question) -> None:
        try:
            await self._phases(question)
            return
        except Ended as ended:
            end = ended
        except OpeningRefused as no:
            end = Ended("failed", no.refusals)
        except BadCiphertext as error:
            end = Ended("failed", [Refusal(Reason.ZERO_TEST_INVALID, "blinded cells", error.code)])
        except MasksRemain:
            end = Ended("failed", [Refusal(Reason.RECEIPT_INVALID, "vectors that cancel", "garbage")])
        if self._is_released(question):  # what stands in the ledger is not taken back: the auditor's hold, say, is waited for
            raise NotKeptYet(", ".join(str(each.reason) for each in end.refusals) or end.state)
        await self._end(question, end)

    async def _phases(self, question: Question) -> None:
        step = question.breakdown.step
        await self._log(question)
        self._require_no_end(question)
        step("log_query")
        asked = question.admitted.asked
        trained = asked.spec if asked.is_training and not isinstance(asked.spec, QuerySpec) else None
        start = await self._first_input(question, trained) if trained is not None else None
        if trained is not None:
            step("segment_before")
        await self._approved(question)
        step("approval")
        await self.gathering.offer(question)
        await self._set_state(question, "running")
        await self._gather(question)
        step("offer_to_ready")
        question.is_gathered = True
        await self._ledger.cosigned()  # Readys stand under a cosigned checkpoint before a member set is sent
        step("log_readys")
        if trained is not None and start is not None:
            await self._train(question, trained, start)
        else:
            complete = await self.gathering.round(question, 0, b"")
            step("contribute")
            values = await self._opened(question, complete)
            step("open")
            await self._release(question, complete, values, [])

    def _require_no_end(self, question: Question) -> None:
        """Raises Ended where a crash came between the end's entry in the ledger and its row in the register."""
        release = self._ledger.view.questions[question.id.hex()].release
        if release is not None and release[1].status != "released":
            raise Ended(release[1].status, question.refusals)

    def _is_released(self, question: Question) -> bool:
        """Whether a crash came between the release's entry in the ledger and the answer's row in the register."""
        facts = self._ledger.view.questions.get(question.id.hex())
        return facts is not None and facts.release is not None and facts.release[1].status == "released"

    async def _gather(self, question: Question) -> None:
        """Readys that stand in the ledger already need not be asked for again; whoever is missing may still come."""
        facts = self._ledger.view.questions[question.id.hex()]
        question.heard.update(facts.readys)
        for uri, logged in facts.readys.items():
            # One that is on its way to the disk is put there by whoever brings it, once it has arrived.
            if self._ledger.is_durable(index := self._ledger.index_of(logged.id)):
                question.readys[uri] = self._ledger.entry(index)
        if facts.openings:
            return
        await self.gathering.gather_readys(question)

    async def _train(self, question: Question, spec: Stepped, start: Floats) -> None:
        """Rounds that follow one another. A finished round is in the register with its released vector and is never asked again."""
        finished = await asyncio.to_thread(self._register.finished_rounds, question.id)
        with steering(spec, start, question.query.rounds, sorted(question.readys)) as steered:
            for number, sums, _ in finished:
                if not is_test(spec, number, question.query.rounds):
                    await steered.tell(np.frombuffer(sums, "<i8"))
            await self._steps(question, spec, start, finished, steered)

    async def _first_input(self, question: Question, spec: Stepped) -> Floats:
        """The first round's input: the fit's own, or the weights that the segment before released, which is waited for.

        Nobody is made an Offer before, and so nobody pays for rounds that have no start. Raises Ended where it released none.
        """
        if not isinstance(spec, Training) or spec.after is None:
            return spec.start()
        before = bytes.fromhex(spec.after)
        while (row := await asyncio.to_thread(self._register.question, before)) is not None and row.state not in ENDED:
            self.gathering.require_open(question, unix(question.query.valid_until))
            earlier = self.find(before)
            await first_of(1.0, question.changed, *([earlier.changed] if earlier is not None else []))
        found = released_weights(spec, row.entry, row.answer) if row is not None and row.answer else None
        if found is None:
            raise Ended("failed", [Refusal(Reason.MALFORMED, "a released training of this study", "none", "after")])
        return found

    async def _steps(
        self, question: Question, spec: Stepped, start: Floats, finished: list[tuple[int, bytes, bytes]], steered: Steering
    ) -> None:
        numbers = spec.decode(finished[-1][2]) if finished else start
        vector = np.frombuffer(finished[-1][1], "<i8") if finished else np.zeros(spec.width, np.int64)
        for number in range(1, question.query.rounds + 1):
            if number <= len(finished):
                continue
            complete = await self.gathering.round(question, number, spec.encode(numbers))
            question.breakdown.step("contribute")
            vector = await self._opened(question, complete)
            question.breakdown.step("open")
            if not is_test(spec, number, question.query.rounds):
                numbers = await steered.after(numbers, vector, complete.binding)
            is_last = number == question.query.rounds
            kept = self._register.note_finished(question.id, number, vector.astype("<i8").tobytes(), spec.encode(numbers), is_last)
            if is_last:
                await asyncio.wrap_future(kept)  # behind the release the auditor opens it no more
            question.breakdown.step("step")
            question.note()
        last = await self.gathering.round(question, question.query.rounds, b"")  # stored by now: nothing is asked again
        values = trained_values(spec, numbers, vector)
        await self._release(question, last, values, [self._model(question, last, values)])

    def _model(self, question: Question, last: Complete, values: Integers) -> Statement:
        """What a training says of its model: a study's is a card with its metrics."""
        view, at = self._ledger.view, stamp(self._clock())
        if not isinstance(question.admitted.asked.spec, Training):
            return model_statement(view, question, last.binding, values, self._uri, at)
        answered = tuple(member.uri for member in last.binding.members)
        opened = view.questions[question.id.hex()].openings[question.admitted.asked.first_round][1]
        return card_statement(view, question, opened, answered, values, self._uri, at)

    async def _set_state(self, question: Question, state: str) -> None:
        question.state = state
        if state in ENDED:
            is_counted = question.admitted.asked.is_of_residents
            await asyncio.to_thread(self._register.set_state, question.id, state, self._clock(), is_counted=is_counted)
        else:
            self._register.note_state(question.id, state, self._clock())
        question.note()

    async def _log(self, question: Question) -> None:
        await self._ledger.append([question.admitted.signed.entry])
        await self._ledger.refreshed()
        await self._set_state(question, "logged")

    async def _approved(self, question: Question) -> None:
        facts = self._ledger.view.questions[question.id.hex()]
        news = News()
        self._ledger.listen(news.tell)
        try:
            # What was released was approved, whatever was revoked since.
            while not self._is_released(question) and (refusals := self._ledger.view.refusals_of_approval(facts, self._clock())):
                if question.query.purpose == "outbreak":
                    raise Ended("refused", refusals)  # nobody's approval is on its way: it is answered at once or not at all
                self.gathering.require_open(question, unix(question.query.valid_until))
                if reasons := rejection_of(self._ledger.view, facts):
                    raise Ended("refused", reasons)
                await first_of(1.0, news)
        finally:
            self._ledger.unlisten(news.tell)
        await self._set_state(question, "approved")

    async def _opened(self, question: Question, complete: Complete) -> Integers:
        asked = question.admitted.asked
        if asked.is_of_residents:
            return await counted(self._auditor, self._ledger, self._register, asked, complete.binding, complete.made)
        return await unmasked(self._auditor, self._ledger, asked, complete.binding, complete.made)

    async def _release(self, question: Question, complete: Complete, values: Integers, more: list[Statement]) -> None:
        facts = self._ledger.view.questions[question.id.hex()]
        opened: Binding = facts.openings[question.admitted.asked.first_round][1]
        at = stamp(self._clock())
        if facts.release is None:
            answered = tuple(member.uri for member in complete.binding.members)
            release = release_statement(self._ledger.view, question, opened, answered, values, self._uri, at)
            receipts = [each.receipt for each in complete.made if each.receipt]
            await self._ledger.append([*receipts, *(self._signed(each) for each in [*more, release])])
        await self._ledger.cosigned()
        told = why_absent(self._ledger.view, question)
        if told or question.refusals or question.why_balked():  # what was kept of somebody who answered after all goes
            question.refusals = told
            await asyncio.to_thread(self._register.set_refusals, question.id, told)
        question.breakdown.step("log_release")
        question.answer = compose_answer(self._ledger, question, opened, values).model_dump_json().encode()
        question.breakdown.step("compose")
        steps, is_counted = question.breakdown.to_json(), question.admitted.asked.is_of_residents
        await asyncio.to_thread(
            self._register.set_answer, question.id, question.answer, steps, self._clock(), is_counted=is_counted
        )
        question.state = "released"
        question.note()
        self._tell_ended(question)

    def _signed(self, statement: Statement) -> bytes:
        return statement.envelope().signed([self._identity]).encode()

    async def _end(self, question: Question, ended: Ended) -> None:
        """Writes the end into the ledger, so that a question's story there is never open."""
        question.refusals = ended.refusals
        await asyncio.to_thread(self._register.set_refusals, question.id, ended.refusals)
        facts = self._ledger.view.questions.get(question.id.hex())
        if facts is not None and facts.release is None:
            at = stamp(self._clock())
            statement = end_statement(self._ledger.view, question, ended.state, self._uri, at)
            await self._ledger.append([self._signed(statement)])
            await self._ledger.cosigned()
        await self._set_state(question, ended.state)
        self._tell_ended(question)

    def _tell_ended(self, question: Question) -> None:
        self._auditor.hang_up(question.id)
        frame = link_pb2.CoordinatorFrame(ended=link_pb2.Ended(query=question.id, state=question.state))
        for uri in question.query.audience:
            if (member := self._members.get(uri)) is not None:
                member.send(frame)


def rejection_of(view: LedgerView, facts: QuestionFacts) -> list[Refusal]:
    """Why the auditor refused this question by a signed statement; empty if it did not."""
    root = view.authority.root
    rejected = facts.refusals.get(root.auditor) if root else None
    if rejected is None:
        return []
    return [Refusal(reason_of(each.code), each.expected, each.got, rejected[1].by) for each in rejected[1].reasons]
