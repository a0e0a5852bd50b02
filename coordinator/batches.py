"""Statements on their way into the log: in the order of the calls, and all that come while a commit runs in the next one.

Group commit without a timer: a statement that comes alone is written at once, a crowd shares one commit, one handover between
threads and one wake-up. What was put in goes into the log, also when its caller has gone away meanwhile.
"""

import asyncio
from collections.abc import Callable, Sequence

from audit_ledger.errors import Busy, LogStopped
from audit_ledger.log.store import MAX_WAITING, LogStore

Keyed = tuple[bytes, bytes]
"""A statement's id, and the entry."""


class Batches:
    """One log, on one event loop. At most one batch is with the log at a time. `stop` is told when one could not be written."""

    def __init__(self, store: LogStore, stop: Callable[[LogStopped], None] = lambda _: None) -> None:
        self._store, self._stop = store, stop
        self._waiting: list[tuple[Sequence[Keyed], bool, asyncio.Future[list[int]]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._why = ""

    def put(self, keyed: Sequence[Keyed], *, is_signed: bool) -> "asyncio.Future[list[int]]":
        """Durable positions, in order. Raises Busy and LogStopped; then nothing of this call gets into the log.

        `is_signed`: a checkpoint over them comes to the disk in the same commit.
        """
        if self._why:
            raise LogStopped(self._why)
        if len(self._waiting) >= MAX_WAITING:
            raise Busy(f"log has {len(self._waiting)} appends waiting, at most {MAX_WAITING} may")
        found: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        self._waiting.append((keyed, is_signed, found))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        return found

    async def settle(self) -> None:
        """Returns when nothing waits."""
        if self._writing is not None:
            await asyncio.shield(self._writing)

    async def _write(self) -> None:
        while self._waiting:
            taken, self._waiting = self._waiting, []
            try:
                entries, is_signed = [each for keyed, _, _ in taken for each in keyed], any(signed for _, signed, _ in taken)
                logged = await asyncio.wrap_future(self._store.append(entries, is_signed=is_signed))
            except Exception as error:  # noqa: BLE001 - whatever it was, the view is ahead of the log
                self._fail(error, [found for _, _, found in [*taken, *self._waiting]])
                return
            positions = iter(logged)
            for keyed, _, found in taken:
                places = [next(positions) for _ in keyed]
                if not found.done():  # its caller has gone
                    found.set_result(places)

    def _fail(self, error: Exception, waiting: "Sequence[asyncio.Future[list[int]]]") -> None:
        """The caller's view has what the log may not have: nothing goes on until both are opened anew."""
        self._why, self._waiting = str(error), []
        for found in waiting:
            if not found.done():
                found.set_exception(LogStopped(self._why))
        self._stop(LogStopped(self._why))
