"""The city's ledger as the coordinator runs it: append, have it cosigned, tell everybody.

`append` puts statements into the log and into the coordinator's own view of the rules. `cosigned` waits until a checkpoint that
covers all of them carries the quorum's cosignatures. One publisher task does the cosigning, so that calls that come together
share one round trip; then listeners (the links) get the news, and the cosigned note is published for the world.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from audit_ledger.checkpoint import Checkpoint
from audit_ledger.errors import LedgerError
from audit_ledger.findings import Finding
from audit_ledger.log.store import LogStore
from audit_ledger.note import Note
from audit_ledger.policy import TrustFile
from audit_ledger.proof import TlogProof
from audit_ledger.view import ADVISORY, LedgerView
from coordinator.errors import AuditorAway
from protocols.dsse import Envelope
from protocols.statements import Signed, parse

log = structlog.get_logger("coordinator.ledger")
RETRY_S = 0.5


class Witness(Protocol):
    """A C2SP witness. Blocking; called from a thread."""

    def cosign(self, checkpoint: bytes, consistency: Callable[[int, int], Sequence[bytes]]) -> bytes:
        """Cosignature lines over `checkpoint`. Raises WitnessError."""
        ...


class CityLedger:
    """One log, one view, its witness. Everything but the blocking parts runs on the event loop that made it."""

    def __init__(self, store: LogStore, witness: Witness, trust: TrustFile, clock: Callable[[], int]) -> None:
        self._store, self._witness, self._trust, self._clock = store, witness, trust, clock
        self.view = LedgerView(trust.entry0)
        for entry in store.entries(0, store.size):
            self.view.apply(entry)
        self.note = b""
        self.note_size = 0
        self._appending = asyncio.Lock()
        self._wanted = asyncio.Event()
        self._news = asyncio.Condition()
        self._listeners: list[Callable[[], None]] = []
        self._publications: set[asyncio.Task[None]] = set()
        self.problem: LedgerError | None = None

    @property
    def size(self) -> int:
        return self.view.size

    def listen(self, listener: Callable[[], None]) -> None:
        """`listener` is called after each newly cosigned checkpoint."""
        self._listeners.append(listener)

    def unlisten(self, listener: Callable[[], None]) -> None:
        if listener in self._listeners:
            self._listeners.remove(listener)

    def findings(self, entry: bytes) -> tuple[Signed, list[Finding]]:
        """A statement from outside, and what the ledger would hold against it as the next entry."""
        signed = parse(entry)
        return signed, self.view.findings_for(signed)

    async def append_valid(self, entry: bytes) -> tuple[int | None, list[Finding]]:
        """Appends a statement from outside if no rule is against it; its position, or the rules it breaks.

        Judged and appended under one lock, in the order of the calls: a hospital's Readys of two questions at once follow each
        other without a gap. One that stands already keeps its place.
        """
        async with self._appending:
            signed, findings = self.findings(entry)
            known = self.view.seen_ids.get(signed.id)
            if known is not None or any(each.rule not in ADVISORY for each in findings):
                return known, findings
            return (await self._append([entry]))[0], []

    async def append(self, entries: Sequence[bytes]) -> list[int]:
        """Durable positions of these envelopes, in order; one that stands already keeps its place."""
        async with self._appending:
            return await self._append(entries)

    async def _append(self, entries: Sequence[bytes]) -> list[int]:
        keyed = [(Envelope.decode(entry).statement_id(), entry) for entry in entries]
        positions = await asyncio.wrap_future(self._store.append(keyed))
        for position, entry in zip(positions, entries, strict=True):
            if position == self.view.size:
                self.view.apply(entry)
        return positions

    async def cosigned(self, timeout_s: float = 60.0, other_than: bytes = b"") -> bytes:
        """The cosigned note over at least all that is appended now, another one than `other_than`. Raises AuditorAway."""
        size = self.view.size
        self._wanted.set()
        try:
            async with asyncio.timeout(timeout_s), self._news:
                await self._news.wait_for(lambda: self.note_size >= size and self.note != other_than)
        except TimeoutError:
            why = f": {self.problem.code}" if self.problem else ""
            raise AuditorAway(f"no cosignature within {timeout_s:.0f} s{why}") from None
        return self.note

    async def refreshed(self, max_age_s: int = 60) -> bytes:
        """Like `cosigned`, with a witness time that is recent even if nothing was appended."""
        is_old = bool(self.note) and self.witness_time() < self._clock() - max_age_s
        return await self.cosigned(other_than=self.note if is_old else b"")

    def witness_time(self) -> int:
        """The moment the quorum last vouched for the newest checkpoint."""
        accepted = self._trust.policy.evaluate(self.note, self._clock(), None)
        return accepted.witness_time or 0

    def proof(self, index: int) -> bytes:
        """The tlog-proof of an entry under the newest cosigned checkpoint."""
        return TlogProof(index, tuple(self._store.proof(index, self.note_size)), self.note).encode()

    def index_of(self, statement_id: bytes) -> int:
        """Raises KeyError."""
        return self.view.seen_ids[statement_id]

    def entry(self, index: int) -> bytes:
        return self._store.entries(index, index + 1)[0]

    def entries(self, start: int, end: int) -> list[bytes]:
        return self._store.entries(start, end)

    async def publish_forever(self) -> None:
        """The publisher task: cosigns what is wanted; an absent auditor is retried, since nothing else can be done."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                await self._publish()
                self.problem = None
            except LedgerError as error:
                if self.problem is None or self.problem.code != error.code:
                    log.warning("not cosigned", code=error.code, size=self.size, why=str(error))
                self.problem = error
                self._wanted.set()
                await asyncio.sleep(RETRY_S)

    async def _publish(self) -> None:
        signed = await asyncio.wrap_future(self._store.request_checkpoint(self.view.size))
        note, checkpoint = Note.parse(signed), Checkpoint.parse(Note.parse(signed).text)
        lines = await asyncio.to_thread(self._witness.cosign, signed, self._store.consistency)
        cosigned = note.encode() + lines
        self._trust.policy.evaluate(cosigned, self._clock(), None)
        async with self._news:
            self.note, self.note_size = cosigned, checkpoint.size
            self._news.notify_all()
        for listener in list(self._listeners):
            listener()
        # Beside the next cosignature: the log itself keeps a smaller checkpoint from replacing a larger one.
        task = asyncio.create_task(self._put_out(cosigned))
        self._publications.add(task)
        task.add_done_callback(self._publications.discard)

    async def _put_out(self, cosigned: bytes) -> None:
        try:
            await asyncio.to_thread(self._store.publish, cosigned)
        except LedgerError as error:
            self.problem = error
            log.warning("not published", code=error.code)

    async def settle(self) -> None:
        """Returns when what was cosigned is published."""
        await asyncio.gather(*self._publications)
