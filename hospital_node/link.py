"""The node's one stream to the coordinator, dialled out, kept open, written by one task.

Rules (measured pitfalls: spec of the link, 1 to 7)
- The end of a stream means nothing: what was not acknowledged by a frame or by the ledger did not happen.
- One writer task with a bounded outbox; an item is a list of frames that stay together, since chunks carry no name.
- Frames are handled in order: what was followed before an Offer is known when the Offer is judged. Contributions are made in
  threads and leave in their slot (`slots`), whatever else goes on.
- Error text never crosses the link: the node logs a code, and closes the stream.
- Sent once a connection: statements that are due, and Readys that the ledger still has not some seconds after they were promised.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import grpc
import grpc.aio

from audit_ledger.errors import LedgerError
from audit_ledger.party.channel import CHUNK_BYTES, open_channel
from audit_ledger.party.home import Home
from hospital_node import frames
from hospital_node.answering import Answering
from hospital_node.attempt import Attempt
from hospital_node.errors import NodeError
from hospital_node.journal import StoredContribution
from hospital_node.logs import log
from hospital_node.slots import Departure
from protocols.refusal import Reason, Refusal
from protocols.v1 import link_pb2, link_pb2_grpc

OUTBOX = 64
HEARTBEAT_S = 10.0
POLL_S = 1.0
PUT_OFF_S = 1.0
"""How long a contribution keeps the node from looking at its files: a slot may last minutes, and IT's pause must be seen."""
UNLOGGED_S = 5.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 30.0
MAX_INPUT_BYTES = 512 * 1024 * 1024
Result = TypeVar("Result")
Items = list[link_pb2.NodeFrame]


class Drained(NodeError):
    """The coordinator asked us to leave and come back."""

    code = "link.drained"

    def __init__(self, after_s: int) -> None:
        super().__init__(f"drained, back in {after_s} s")
        self.after_s = after_s


class NextLog(NodeError):
    """The followed log is closed; `entry0` is said to begin the next one."""

    code = "link.next_log"

    def __init__(self, entry0: bytes) -> None:
        super().__init__("the followed log is closed")
        self.entry0 = entry0


class NotFollowed(NodeError):
    """Entries that do not continue what we followed: a new connection begins again where we stand."""

    code = "link.not_followed"


@dataclass(slots=True)
class Session:
    """One connection: what was sent on it, and the pieces of frames that are not complete yet."""

    answering: Answering
    worker: ThreadPoolExecutor
    makers: ThreadPoolExecutor
    refresh: Callable[[], None]
    outbox: "asyncio.Queue[Items]" = field(default_factory=lambda: asyncio.Queue(OUTBOX))
    tasks: "set[asyncio.Task[None]]" = field(default_factory=set)
    making: "set[asyncio.Task[None]]" = field(default_factory=set)
    sent: set[bytes] = field(default_factory=set)
    promised: dict[bytes, float] = field(default_factory=dict)
    follow_start: int = 0
    follow_entries: list[bytes] = field(default_factory=list)
    put_off: list[Callable[[], None]] = field(default_factory=list)
    has_followed: bool = False
    member_set: link_pb2.MemberSet | None = None
    round_input: bytearray = field(default_factory=bytearray)

    async def talk(self, stub: link_pb2_grpc.NodeLinkStub) -> None:
        """Until the stream ends, drains or fails; then every task of it is over."""
        call: Any = stub.Connect()  # type: ignore[call-arg]  # the generated stub knows no call without an iterator
        followed, origin = self.answering.follower.size, self.answering.config.origin
        hello = link_pb2.Hello(followed=followed, agent="kapok-node/1", origin=origin, takes_before=True)
        await call.write(link_pb2.NodeFrame(hello=hello))
        for work in (self._write(call), self._beat(), self._state_what_is_due()):
            self._start(work)
        try:
            async for frame in _frames(call):
                for each in frame.before:
                    await self._handle(each, is_more_here=True)
                await self._handle(frame)
                await self._settle()
        finally:
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)
            call.cancel()

    def _start(self, work: Any) -> "asyncio.Task[None]":
        task: asyncio.Task[None] = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[None]") -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, grpc.aio.AioRpcError):
            log.error("task failed", error=type(error).__name__, code=getattr(error, "code", "node.internal"))

    async def _write(self, call: Any) -> None:
        while True:
            for frame in await self.outbox.get():
                await call.write(frame)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            is_paused = await self._in_order(lambda: self.answering.is_paused)
            await self.outbox.put([link_pb2.NodeFrame(heartbeat=link_pb2.Heartbeat(is_paused=is_paused))])

    async def _in_order(self, step: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self.worker, step)

    # -- frames in

    async def _handle(self, frame: link_pb2.CoordinatorFrame, is_more_here: bool = False) -> None:
        """`is_more_here`: another frame came in the same message, and is handled next."""
        match frame.WhichOneof("frame"):
            case "follow":
                await self._follow(frame.follow, is_more_here)
            case "offer":
                await self._offer(frame.offer)
            case "member_set":
                self.member_set, self.round_input = frame.member_set, bytearray()
                await self._member_set_if_complete()
            case "input":
                self.round_input += frame.input.data
                await self._member_set_if_complete()
            case "ended":
                query = frame.ended.query.hex()
                await self._next(partial(self.answering.ended, query))
            case "next_log":
                await self._settle()
                raise NextLog(bytes(frame.next_log.envelope))
            case "drain":
                await self._settle()
                await self.outbox.put([link_pb2.NodeFrame(goodbye=link_pb2.Goodbye(code="drained"))])
                raise Drained(frame.drain.reconnect_after_s)
            case "appended":
                if frame.appended.refusals:
                    log.warning("statement refused", codes=[each.code for each in frame.appended.refusals])
            case _:
                pass  # welcome and heartbeat tell the node nothing that it acts on

    async def _next(self, step: Callable[[], Result]) -> Result:
        """A frame's step behind those that were put off for it: thread to thread takes as long as a short step, once for all."""
        ahead, self.put_off = self.put_off, []

        def steps() -> Result:
            for each in ahead:
                each()
            return step()

        return await self._in_order(steps)

    async def _settle(self) -> None:
        if self.put_off:
            await self._next(lambda: None)

    async def _follow(self, frame: link_pb2.Follow, is_more_here: bool) -> None:
        if not self.follow_entries:
            self.follow_start = frame.start
        self.follow_entries += frame.entries
        if not frame.checkpoint:
            return
        start, entries, self.follow_entries = self.follow_start, self.follow_entries, []
        step = partial(self._followed, start, entries, bytes(frame.checkpoint))
        if is_more_here and self.has_followed:
            self.put_off.append(step)
            return
        await self._next(step)
        if not self.has_followed:
            self.has_followed = True
            await self._send_due()

    def _followed(self, start: int, entries: list[bytes], checkpoint: bytes) -> None:
        try:
            self.answering.follow(start, entries, checkpoint)
        except LedgerError as error:
            log.error("ledger not followed", code=error.code, size=self.answering.follower.size, entries=len(entries))
            raise NotFollowed("the ledger was not followed") from error

    async def _offer(self, offer: link_pb2.Offer) -> None:
        step = partial(
            self.answering.offer, bytes(offer.query), bytes(offer.proof), bytes(offer.sealing), offer.first_round, offer.last_round
        )
        reply = await self._next(step)
        codes = [str(each.reason) for each in reply.refusals]
        log.info("ready" if reply.is_ready else "refused", query=reply.query, codes=codes)
        await self.outbox.put([frames.reply(reply)])
        if reply.is_ready:
            self.promised[reply.envelope] = left_s = time.monotonic()
            await self._in_order(partial(self.answering.speculate, reply.query, left_s))

    async def _member_set_if_complete(self) -> None:
        given = self.member_set
        if given is None or len(self.round_input) < given.input_bytes <= MAX_INPUT_BYTES:
            return
        arrived_ms, arrived_s, self.member_set = time.time_ns() // 1_000_000, time.monotonic(), None
        preimage, round_input, self.round_input = bytes(given.preimage), bytes(self.round_input), bytearray()
        if len(round_input) != given.input_bytes:
            refusals = [Refusal(Reason.BINDING_MALFORMED, "an input of the declared length", "another")]
            await self.outbox.put([frames.binding_refused(preimage, refusals)])
            return
        accepted = await self._next(partial(self.answering.accept, preimage, round_input))
        if isinstance(accepted, list):
            log.info("member set refused", codes=[str(each.reason) for each in accepted])
            await self.outbox.put([frames.binding_refused(preimage, accepted)])
        else:
            made = self._start(self._contribute(accepted, preimage, self.answering.departure(accepted, arrived_ms, arrived_s)))
            self.making.add(made)
            made.add_done_callback(self.making.discard)

    # -- the contribution

    async def _contribute(self, attempt: Attempt, preimage: bytes, when: Departure) -> None:
        try:
            made = await self._made(attempt, when)
        except Exception as error:  # noqa: BLE001 (its text may quote a record; the code may not)
            log.error(
                "contribution failed", query=attempt.query, code=getattr(error, "code", "node.internal"), error=type(error).__name__
            )
            refusal = Refusal(Reason.INTERNAL, "a contribution", "none")
            await self._leave(when.leaves_at_ms, [frames.binding_refused(preimage, [refusal])])
            return
        await self._leave(when.leaves_at_ms, frames.contribution(made, CHUNK_BYTES))
        log.info("contributed", query=attempt.query, round=made.round, attempt=made.attempt)

    async def _made(self, attempt: Attempt, when: Departure) -> StoredContribution:
        left_s, run = when.counted_by_ms / 1000 - time.time(), asyncio.get_running_loop().run_in_executor
        if not attempt.asked.is_of_residents and left_s > 0:
            # Masks begin at a moment of their own, so that they know nothing of the count, and late enough to leave it the cores.
            # All ends when the count has to be there, and not when it is: nobody sees how long it took.
            await asyncio.sleep(left_s / 2)
            await asyncio.gather(run(self.makers, self.answering.cover, attempt), asyncio.sleep(left_s / 2))
        elif left_s > 0:
            await _done_or_late(attempt.count, left_s)  # not in a maker's thread: others' departures would tell when it came free
        return await run(self.makers, self.answering.contribute, attempt, 0.0)

    async def _leave(self, leave_at_ms: int, items: Items) -> None:
        """In the slot; a node that missed it (by masks and disk, which know no record) takes the next point of the grid."""
        grid_ms, now_ms = self.answering.config.grid_ms, time.time() * 1000
        if now_ms > leave_at_ms:
            leave_at_ms = -(-int(now_ms) // grid_ms) * grid_ms
        await asyncio.sleep(max(0.0, leave_at_ms / 1000 - time.time()))
        await self.outbox.put(items)

    # -- statements

    async def _state_what_is_due(self) -> None:
        """Polls the files that IT edits and the outbox, and tidies up; if it can, not while a contribution is being made."""
        while True:
            await asyncio.sleep(POLL_S)
            if self.making:
                await asyncio.wait(self.making, timeout=PUT_OFF_S)
            await self._in_order(self.refresh)
            await self._in_order(self.answering.sweep)
            if self.has_followed:
                await self._send_due()

    async def _send_due(self) -> None:
        for envelope in await self._in_order(self.answering.unlogged):
            # One that is not in the ledger by now came too late for its round. It blocks our account until it is there or void.
            if time.monotonic() - self.promised.get(envelope, 0.0) > UNLOGGED_S:
                await self._send_statement(envelope)
        for envelope in await self._in_order(self.answering.due):
            await self._send_statement(envelope)

    async def _send_statement(self, envelope: bytes) -> None:
        if envelope not in self.sent:
            self.sent.add(envelope)
            await self.outbox.put([link_pb2.NodeFrame(statement=link_pb2.Statement(envelope=envelope))])


async def _done_or_late(count: "Future[Any]", patience_s: float) -> None:
    """What came of the count is not looked at here: an error's text may quote a record."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    count.add_done_callback(lambda _: loop.is_closed() or loop.call_soon_threadsafe(done.set))
    with suppress(TimeoutError):
        await asyncio.wait_for(done.wait(), patience_s)


async def _frames(call: Any) -> AsyncIterator[link_pb2.CoordinatorFrame]:
    while (frame := await call.read()) is not grpc.aio.EOF:
        yield frame


@dataclass(slots=True)
class Link:
    """Connects, talks, and connects again, until it is stopped or has to go on with the next log. `jitter`: numbers in [0, 1)."""

    home: Home
    answering: Answering
    refresh: Callable[[], None]
    jitter: Callable[[], float]
    worker: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="answering"))
    makers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2, thread_name_prefix="masking"))
    has_next: bool = False

    async def run(self) -> None:
        """Returns when the move to the next log is made ready: the node is built anew then."""
        pause_s = FIRST_PAUSE_S
        while True:
            wait_s, has_worked = await self._connect_once()
            if self.has_next:
                return
            if has_worked:
                pause_s = FIRST_PAUSE_S
            wait_s = pause_s if wait_s is None else wait_s
            await asyncio.sleep(wait_s * (0.5 + self.jitter()))
            pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)

    async def _connect_once(self) -> tuple[float | None, bool]:
        """Seconds after which to come back, if we were told; and whether the ledger was followed on this connection."""
        config = self.answering.config
        session = Session(self.answering, self.worker, self.makers, self.refresh)
        try:
            async with open_channel(self.home, config.link_address, config.coordinator) as channel:
                await session.talk(link_pb2_grpc.NodeLinkStub(channel))
        except NextLog as found:
            await self._prepare(found.entry0)
        except Drained as drained:
            return max(float(drained.after_s), FIRST_PAUSE_S), session.has_followed
        except grpc.aio.AioRpcError as error:
            log.warning("link lost", code=error.code().name.lower(), address=config.link_address)
        except (NodeError, LedgerError) as error:
            log.error("link closed", code=error.code, error=type(error).__name__)
        else:
            log.warning("link ended", address=config.link_address)
        return None, session.has_followed

    async def _prepare(self, entry0: bytes) -> None:
        step = partial(self.answering.make_next_ready, self.home, entry0)
        try:
            await asyncio.get_running_loop().run_in_executor(self.worker, step)
        except LedgerError as error:
            log.error("next log not taken", code=error.code)
        else:
            self.has_next = True
