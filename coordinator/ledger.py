"""The city's ledger as the coordinator runs it: append, have it cosigned, tell everybody.

`append` puts statements into the log and into the coordinator's own view of the rules. A statement is judged, queued for the log
and applied to the view in one step of the event loop, so that all who come together share one commit and the view has the order
of the log. The view is ahead of the disk by what is queued; nothing is acknowledged, proved or cosigned before it is durable, and
a log whose write failed has stopped for everybody. `cosigned` waits until a checkpoint that covers all that is durable carries the
quorum's cosignatures. One publisher task does the cosigning, so that calls that come together
share one round trip; then listeners (the links) get the news, and a moment later the cosigned note is published for the world.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from audit_ledger.before import PastLog
from audit_ledger.checkpoint import Checkpoint
from audit_ledger.errors import LedgerError, LogStopped
from audit_ledger.findings import Finding
from audit_ledger.log.store import LogStore
from audit_ledger.note import Note
from audit_ledger.policy import TrustFile
from audit_ledger.proof import TlogProof
from audit_ledger.view import LedgerView, is_effective
from coordinator.batches import Batches
from coordinator.errors import AuditorAway
from protocols.dsse import Envelope
from protocols.errors import MalformedBytes
from protocols.statements import Signed

log = structlog.get_logger("coordinator.ledger")
RETRY_S = 0.5
CROWD = 64  # entries under one checkpoint: more than a question brings at once
CROWD_PAUSE_S = 0.05
KEPT_ENTRIES = 256
PUT_OUT_AFTER_S = 0.3


class Witness(Protocol):
    """A C2SP witness. Blocking; called from a thread."""

    def cosign(self, checkpoint: bytes, consistency: Callable[[int, int], Sequence[bytes]]) -> bytes:
        """Cosignature lines over `checkpoint`. Raises WitnessError."""
        ...


class CityLedger:
    """One log, one view, its witness. Everything but the blocking parts runs on the event loop that made it.

    `past` is the closed log before this one, whose facts it begins with.
    """

    def __init__(
        self, store: LogStore, witness: Witness, trust: TrustFile, clock: Callable[[], int], past: PastLog | None = None
    ) -> None:
        self._store, self._witness, self._trust, self._clock = store, witness, trust, clock
        self.past = past
        self.view = past.carry(trust.entry0) if past else LedgerView(trust.entry0)
        self.stopped: LogStopped | None = None
        self._when_stopped: Callable[[], None] = lambda: None
        self._batches = Batches(store, self._stop)
        self._without_effect: dict[bytes, int] = {}
        self._read: tuple[int, int, Sequence[bytes]] = (0, 0, ())
        for entry in store.entries(0, store.size):
            self._apply(entry)
        self.note = b""
        self.note_size = 0
        self._prover = (0, store.prover(0))
        self._wanted = asyncio.Event()
        self._news = asyncio.Condition()
        self._listeners: list[Callable[[], None]] = []
        self._to_put_out = b""
        self._putting_out: asyncio.Task[None] | None = None
        self._is_awaited = asyncio.Event()
        self.problem: LedgerError | None = None

    @property
    def size(self) -> int:
        """Entries of the view; the last of them may not be durable yet."""
        return self.view.size

    def is_durable(self, index: int) -> bool:
        return index < self._store.size

    def listen(self, listener: Callable[[], None]) -> None:
        """`listener` is called after each newly cosigned checkpoint."""
        self._listeners.append(listener)

    def unlisten(self, listener: Callable[[], None]) -> None:
        if listener in self._listeners:
            self._listeners.remove(listener)

    def when_stopped(self, call: Callable[[], None]) -> None:
        """`call` is called once the log has stopped: nobody knows what the disk holds, and no later call can change that."""
        self._when_stopped = call
        if self.stopped is not None:
            call()

    def _stop(self, why: LogStopped) -> None:
        if self.stopped is None:
            self.stopped = self.problem = why
            log.error("log stopped", code=why.code, size=self.size, why=str(why))
            self._when_stopped()

    async def append_valid(self, signed: Signed, *, is_last: bool = False) -> tuple[int | None, list[Finding]]:
        """Appends a statement from outside if no rule is against it; its durable position, or the rules it breaks.

        `is_last`: it will be cosigned at once, and has its checkpoint signed in its own commit.

        Judged in the order of the calls: a hospital's Readys of two questions at once follow each other without a gap. One that
        stands already keeps its place. Raises Busy and LogStopped.
        """
        findings = self.view.findings_for(signed)
        known = self._place_of(signed.id)
        if known is None and not is_effective(findings):
            return None, findings
        # From here to `admit` nothing else runs on this loop.
        queued = self._batches.put([(signed.id, signed.entry)], is_signed=is_last)
        place = self.size if known is None else known
        if known is None:
            self.view.admit(signed, findings)
        await self._durable(queued, [place])
        return place, [] if known is None else findings

    async def append(self, entries: Sequence[bytes]) -> list[int]:
        """Durable positions of these envelopes, in order; one that stands already keeps its place. Raises Busy and LogStopped.

        They are about to be cosigned: the checkpoint over them is signed in their own commit.
        """
        keyed = [(Envelope.decode(entry).statement_id(), entry) for entry in entries]
        queued = self._batches.put(keyed, is_signed=True)  # from here to the last `_apply` nothing else runs on this loop
        places = [self._apply(entry) if (known := self._place_of(key)) is None else known for key, entry in keyed]
        await self._durable(queued, places)
        return places

    def _place_of(self, statement_id: bytes) -> int | None:
        return self.view.seen_ids.get(statement_id, self._without_effect.get(statement_id))

    def _apply(self, entry: bytes) -> int:
        """Appends an entry to the view; its place. One without effect keeps its place in the log too, so it is remembered."""
        place = self.size
        if not is_effective(self.view.apply(entry)):
            with contextlib.suppress(MalformedBytes):
                self._without_effect.setdefault(Envelope.decode(entry).statement_id(), place)
        return place

    async def _durable(self, queued: "asyncio.Future[list[int]]", places: list[int]) -> None:
        """Until the log has them."""
        if (found := await queued) != places:
            raise RuntimeError(f"the log gave positions {found}, the view {places}")

    def want_cosigned(self) -> None:
        """Has all that is durable cosigned soon; nobody waits."""
        self._wanted.set()

    async def cosigned(self, timeout_s: float = 60.0, other_than: bytes = b"") -> bytes:
        """The cosigned note over at least all that is appended now, another one than `other_than`. Raises AuditorAway."""
        size = self._store.size
        if self._is_covered(size, other_than):
            return self.note
        self._wanted.set()
        try:
            async with asyncio.timeout(timeout_s), self._news:
                await self._news.wait_for(lambda: self._is_covered(size, other_than))
        except TimeoutError:
            why = f": {self.problem.code}" if self.problem else ""
            raise AuditorAway(f"no cosignature within {timeout_s:.0f} s{why}") from None
        return self.note

    def _is_covered(self, size: int, other_than: bytes) -> bool:
        return self.note_size >= size and bool(self.note) and self.note != other_than

    async def refreshed(self, max_age_s: int = 60) -> bytes:
        """Like `cosigned`, with a witness time that is recent even if nothing was appended."""
        is_old = bool(self.note) and self.witness_time() < self._clock() - max_age_s
        return await self.cosigned(other_than=self.note if is_old else b"")

    def witness_time(self) -> int:
        """The moment the quorum last vouched for the newest checkpoint."""
        accepted = self._trust.policy.evaluate(self.note, self._clock(), None)
        return accepted.witness_time or 0

    def proof(self, index: int) -> bytes:
        """The tlog-proof of an entry under the newest cosigned checkpoint. Raises LogStopped."""
        if self.stopped is not None:
            raise LogStopped(str(self.stopped))
        if self._prover[0] != self.note_size:
            self._prover = (self.note_size, self._store.prover(self.note_size))
        return TlogProof(index, tuple(self._prover[1](index)), self.note).encode()

    def index_of(self, statement_id: bytes) -> int:
        """Raises KeyError."""
        return self.view.seen_ids[statement_id]

    def entry(self, index: int) -> bytes:
        return self._store.entries(index, index + 1)[0]

    def ended_log(self, origin: str) -> tuple[PastLog, bytes] | None:
        """The closed log of this name, with entry 0 of the one that follows it; None for any other name."""
        past, entry0 = self.past, self.entry(0) if self.past else b""
        while past is not None and past.view.authority.origin != origin:
            [entry0] = past.reader.read_entries(0, 1)
            past = past.before
        return None if past is None else (past, entry0)

    def entries(self, start: int, end: int) -> Sequence[bytes]:
        """Read once for all hospitals that are told the same."""
        if self._read[:2] != (start, end):
            found = tuple(self._store.entries(start, end))
            if end - start > KEPT_ENTRIES:
                return found
            self._read = (start, end, found)
        return self._read[2]

    async def publish_forever(self) -> None:
        """The publisher task: cosigns what is wanted; an absent auditor is retried, since nothing else can be done.

        Ends with a log that has stopped.
        """
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            before = self.note_size
            try:
                await self._publish()
                self.problem = None
                if before and self.note_size - before > CROWD:
                    await asyncio.sleep(CROWD_PAUSE_S)  # a checkpoint costs more than many appends: a crowd shares it
            except LogStopped as error:
                self._stop(error)
                return
            except LedgerError as error:
                if self.problem is None or self.problem.code != error.code:
                    log.warning("not cosigned", code=error.code, size=self.size, why=str(error))
                self.problem = error
                await self._again()
            except Exception as error:  # noqa: BLE001 (a fault of ours must not end the only task that has anything cosigned)
                log.warning("not cosigned", code="coordinator.internal", size=self.size, error=type(error).__name__)
                await self._again()

    async def _again(self) -> None:
        self._wanted.set()
        await asyncio.sleep(RETRY_S)

    async def _publish(self) -> None:
        signed = await asyncio.wrap_future(self._store.request_checkpoint(self._store.size))
        note = Note.parse(signed)
        checkpoint = Checkpoint.parse(note.text)
        lines = await asyncio.to_thread(self._witness.cosign, signed, self._store.consistency)
        cosigned = note.encode() + lines
        self._trust.policy.evaluate(cosigned, self._clock(), None)
        async with self._news:
            self.note, self.note_size = cosigned, checkpoint.size
            self._news.notify_all()
        for listener in list(self._listeners):
            listener()
        self._to_put_out = cosigned
        if self._putting_out is None or self._putting_out.done():
            self._putting_out = asyncio.create_task(self._put_out())

    async def _put_out(self) -> None:
        """A moment later, so that what one question logs is put out once and not on its way. The world gets the newest."""
        while self._to_put_out:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._is_awaited.wait(), PUT_OUT_AFTER_S)
            cosigned, self._to_put_out = self._to_put_out, b""
            try:
                await asyncio.to_thread(self._store.publish, cosigned)
            except LogStopped as error:
                self._stop(error)
            except LedgerError as error:
                self.problem = error
                log.warning("not published", code=error.code)

    async def settle(self) -> None:
        """Returns when what was put in is durable, and what was cosigned published."""
        await self._batches.settle()
        if self._putting_out is not None:
            self._is_awaited.set()
            try:
                await asyncio.shield(self._putting_out)
            finally:
                self._is_awaited.clear()
