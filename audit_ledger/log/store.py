"""The append path: an index once the entry is durable, a checkpoint for the world once its tiles are.

Order (Sunlight's: staged entries, swap, tiles, checkpoint); 1 and 2 on one writer thread:
1. a batch of entries is committed to SQLite; now its callers have their positions;
2. when somebody asks for a checkpoint, it is signed and swapped into SQLite, if it extends the last one, and handed out; whoever
   brings an entry that will be asked for at once has it signed in the entry's own commit;
3. witnesses cosign; then `publish` writes and fsyncs the tiles and bundles that the world's checkpoint has not yet;
4. and puts the cosigned note in place of `checkpoint`. A checkpoint that was overtaken meanwhile leaves no tiles.

A crash anywhere leaves a prefix of these steps, and opening the log does the same steps again from SQLite: tiles that are
there are compared, those that are not are written. So recovery is the normal path, and no entry is lost or doubled.

An exception in 1-4 leaves an unknown outcome (a commit may have happened although an error came back). The log then
stops: every waiter and every later call gets LogStopped, until it is closed and opened anew.

Two writers are kept apart by flock on `<database>.lock`.
"""

import fcntl
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from audit_ledger.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from audit_ledger.errors import Busy, Damaged, LedgerError, LogLocked, LogStopped, NotOurs, RolledBack, TreeMismatch
from audit_ledger.log.database import KEY_SIZE, LogDatabase, Swap, spoilt
from audit_ledger.log.disk import Disk
from audit_ledger.log.folder import PublishedFolder
from audit_ledger.note import LogKey, Note, Signer
from audit_ledger.tiles import (
    CHECKPOINT_PATH,
    WIDTH,
    Tile,
    demand_fits,
    edge_tiles,
    encode_bundle,
    hash_tile,
    tiles_between,
)
from audit_ledger.tree import FullTree, consistency_proof, leaf_hash, prover

MAX_WAITING = 256

_Waiting = Future[list[int]] | Future[bytes]


@dataclass(frozen=True, slots=True)
class _Append:
    entries: Sequence[tuple[bytes, bytes]]
    is_signed: bool
    positions: "Future[list[int]]" = field(default_factory=Future)


@dataclass(frozen=True, slots=True)
class _Signed:
    checkpoint: Checkpoint
    note: bytes


class LogStore:
    """One log, open for writing. All methods may be called from any thread.

    `batch_age_s` lets a busy log gather appends that long before it commits; an idle one commits at once.
    """

    def __init__(
        self,
        database: Path,
        folder: Path,
        key: LogKey,
        signer: Signer,
        *,
        disk: Disk | None = None,
        max_waiting: int = MAX_WAITING,
        batch_age_s: float = 0.0,
    ) -> None:
        """Open, verify, finish what a crash left. Raises LogLocked, WrongLogKey, Damaged, RolledBack, TreeMismatch, OSError."""
        self._key, self._signer = key, signer
        self._max_waiting, self._batch_age_s = max_waiting, batch_age_s
        self._changed = threading.Condition()
        self._publishing = threading.Lock()
        self._appends: list[_Append] = []
        self._wanted: list[Future[bytes]] = []
        self._taken: list[_Waiting] = []
        self._signing: _Signed | None = None
        self._is_closing = False
        self._stopped: LogStopped | None = None
        self._tree = FullTree()
        self._durable = 0  # the tree is ahead of it while a commit runs
        self._published = 0
        self._lock = database.with_name(database.name + ".lock").open("ab")
        try:
            self._open(database, folder, disk or Disk())
        except BaseException:
            self._lock.close()
            raise
        self._writer = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._writer.start()

    # -- asking ------------------------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Durable entries; a checkpoint may not cover them all yet."""
        return self._durable

    @property
    def published_size(self) -> int:
        """Size of the published checkpoint."""
        return self._published

    def append(self, entries: Sequence[tuple[bytes, bytes]], *, is_signed: bool = False) -> "Future[list[int]]":
        """Log (key, entry) pairs in this order; the future holds their positions once they are durable.

        `is_signed`: with a checkpoint over them, which `request_checkpoint` has at once then.

        The key is the entry's identity (SHA-256 of what was signed): logged before, it gets its first position and
        nothing is written. Raises EntryTooLarge, Busy and LogStopped; then nothing of this call is in the log. A future
        that ends in LogStopped leaves open whether it is: ask again after the next open, with the same keys.
        """
        for key, entry in entries:
            if len(key) != KEY_SIZE:
                raise ValueError(f"key of an entry has {len(key)} bytes, expected {KEY_SIZE}")
            demand_fits(entry)
        append = _Append(tuple(entries), is_signed)
        with self._changed:
            self._demand_running()
            if len(self._appends) >= self._max_waiting:
                raise Busy(f"log has {len(self._appends)} appends waiting, at most {self._max_waiting} may")
            self._appends.append(append)
            self._changed.notify_all()
        return append.positions

    def request_checkpoint(self, size: int) -> "Future[bytes]":
        """The log's own signed note over at least `size` durable entries, not cosigned and not published."""
        future: Future[bytes] = Future()
        with self._changed:
            self._demand_running()
            if size > self._durable:
                raise ValueError(f"log has {self._durable} entries, no checkpoint can cover {size}")
            if self._signed is not None and self._signed.checkpoint.size >= size:
                future.set_result(self._signed.note)
            else:
                self._wanted.append(future)
                self._changed.notify_all()
        return future

    def checkpoint_covering(self, size: int) -> bytes:
        """`request_checkpoint`, waited for."""
        return self.request_checkpoint(size).result()

    def proof(self, index: int, size: int) -> list[bytes]:
        """The inclusion proof of entry `index` in the tree of `size`."""
        return self.prover(size)(index)

    def prover(self, size: int) -> Callable[[int], list[bytes]]:
        """`proof` for as many entries of the tree of `size` as are asked for."""
        return prover(self._within(size), self._tree.read)

    def consistency(self, old: int, new: int) -> list[bytes]:
        """The consistency proof between two sizes of this log."""
        return consistency_proof(old, self._within(new), self._tree.read)

    def entries(self, start: int, end: int) -> list[bytes]:
        """Entries [start, end), byte for byte as they were given."""
        self._demand_running()
        if not 0 <= start <= self._within(end):
            raise ValueError(f"no entries {start}..{end}")
        return self._database.entries(start, end)

    def position_of(self, key: bytes) -> int | None:
        """The position of the entry with this key, None if it is not in the log."""
        self._demand_running()
        return self._database.position_of(key)

    def publish(self, cosigned: bytes) -> bool:
        """Put a checkpoint of ours, with the cosignatures it has gathered, where the world reads it.

        False, and nothing changed, when a larger one is published already. Raises NotOurs and LogStopped.
        """
        with self._publishing:
            self._demand_running()
            size = self._demand_ours(cosigned).size
            if size < self._published:
                return False
            try:
                self._write_tiles(tiles_between(self._published, size))
                self._folder.replace(CHECKPOINT_PATH, cosigned)
                self._folder.drop_partials(self._published, size)  # only below what is published now
            except Exception as cause:  # as in the writer's thread: whatever it was, the outcome of the write is unknown
                raise self._stop(cause) from cause
            self._published = size
            return True

    def close(self) -> None:
        """Finish what is waiting and let go of the files."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._writer.join()
        with self._publishing:
            self._stop(None)
            self._database.close()
            self._lock.close()

    def __enter__(self) -> "LogStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- opening -----------------------------------------------------------------------------------------------------

    def _open(self, database: Path, folder: Path, disk: Disk) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as cause:
            raise LogLocked(f"log {self._key.origin!r} is open for writing elsewhere") from cause
        try:
            self._database = LogDatabase(database, disk)
        except sqlite3.DatabaseError as cause:
            raise spoilt(database, cause) from cause
        try:
            self._database.bind(self._key.vkey.encode())
            self._tree.extend(leaf_hash(entry) for entry in self._database.all_entries())
            self._durable = self._tree.size
            self._signed = self._load_signed()
            self._folder = PublishedFolder(folder, disk)
            self._published = self._load_published()
            self._recover()
        except sqlite3.DatabaseError as cause:
            self._database.close()
            raise spoilt(database, cause) from cause
        except BaseException:
            self._database.close()
            raise

    def _load_signed(self) -> _Signed | None:
        note = self._database.signed()
        if note is None:
            return None
        return _Signed(self._demand_true(note, "signed checkpoint", self._tree.size), note)

    def _load_published(self) -> int:
        note = self._folder.read(CHECKPOINT_PATH)
        if note is None:
            return 0
        return self._demand_true(note, "published checkpoint", self._signed_size).size

    @property
    def _signed_size(self) -> int:
        return 0 if self._signed is None else self._signed.checkpoint.size

    def _demand_true(self, note: bytes, what: str, limit: int) -> Checkpoint:
        """Raises RolledBack when `note` knows more than we, TreeMismatch when it knows something else."""
        try:
            checkpoint = open_checkpoint(Note.parse(note), [self._key])
        except LedgerError as cause:
            raise Damaged(f"{what} is not one that this log signed: {cause}") from cause
        if checkpoint.size > limit:
            raise RolledBack(f"{what} has size {checkpoint.size}, our database reaches only to {limit}")
        if checkpoint.root != self._tree.root(checkpoint.size):
            raise TreeMismatch(f"{what} of size {checkpoint.size} is not the root of our entries")
        return checkpoint

    def _recover(self) -> None:
        """Write what a crash kept from being written, compare what is there at the edge, sweep what is left over."""
        if self._signed is not None:
            size = self._signed.checkpoint.size
            self._write_tiles([*edge_tiles(size), *tiles_between(self._published, size)])
        self._folder.drop_partials(0, self._published)

    # -- writing (one thread) ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        finished = time.monotonic()
        try:
            while (work := self._next(finished)) is not None:
                self._commit(work[0])
                self._answer(work[1])
                finished = time.monotonic()
        except Exception as cause:  # noqa: BLE001 - whatever it was, the outcome of the write is unknown
            stopped = self._stop(cause)
            for future in self._taken:
                if not future.done():
                    future.set_exception(stopped)

    def _next(self, finished: float) -> tuple[list[_Append], "list[Future[bytes]]"] | None:
        """What is waiting now; None when the log is to end. A cancelled future is dropped unwritten."""
        with self._changed:
            self._changed.wait_for(lambda: self._appends or self._wanted or self._is_closing or self._stopped)
            if self._stopped or not (self._appends or self._wanted):
                return None
            ripe = finished + self._batch_age_s
            self._changed.wait_for(lambda: self._is_closing, max(0.0, ripe - time.monotonic()))
            appends, self._appends = self._appends, []
            wanted, self._wanted = self._wanted, []
            appends = [append for append in appends if append.positions.set_running_or_notify_cancel()]
            wanted = [future for future in wanted if future.set_running_or_notify_cancel()]
            self._taken = [*(append.positions for append in appends), *wanted]
            return appends, wanted

    def _commit(self, appends: Sequence[_Append]) -> None:
        batch = [entry for append in appends for entry in append.entries]
        is_signed = any(append.is_signed for append in appends)
        positions = self._database.append(batch, self._durable, partial(self._grow, is_signed)) if batch else []
        self._settle()
        at = 0
        for append in appends:
            append.positions.set_result(positions[at : at + len(append.entries)])
            at += len(append.entries)

    def _answer(self, wanted: "Sequence[Future[bytes]]") -> None:
        if not wanted:
            return
        if (swap := self._sign()) is not None:
            self._database.swap_checkpoint(swap)
            self._settle()
        assert self._signed is not None
        for future in wanted:
            future.set_result(self._signed.note)

    def _grow(self, is_signed: bool, fresh: Sequence[bytes]) -> Swap | None:
        """The tree with entries that are about to be committed; the checkpoint over it that is committed with them, if one is."""
        self._tree.extend(map(leaf_hash, fresh))
        return self._sign() if is_signed else None

    def _settle(self) -> None:
        """What was committed is in force."""
        with self._changed:
            self._durable = self._tree.size
            self._signed, self._signing = self._signing or self._signed, None

    def _sign(self) -> Swap | None:
        """A checkpoint over the tree, to be swapped in before it leaves: after a crash the next open hands out this very note; the
        other order could fork. None where the last one covers it."""
        old = self._signed
        checkpoint = Checkpoint(self._key.origin, self._tree.size, self._tree.root())
        if old is not None:
            if old.checkpoint.size == checkpoint.size:
                return None
            if self._tree.root(old.checkpoint.size) != old.checkpoint.root:
                raise TreeMismatch(f"tree of size {checkpoint.size} does not extend the one signed at {old.checkpoint.size}")
        self._signing = _Signed(checkpoint, sign_checkpoint(checkpoint, self._key, self._signer).encode())
        return Swap(None if old is None else old.checkpoint.size, checkpoint.size, self._signing.note)

    def _write_tiles(self, tiles: Iterable[Tile]) -> None:
        for tile in tiles:
            self._folder.create(tile.path, self._content(tile))
        self._folder.sync()

    def _content(self, tile: Tile) -> bytes:
        if tile.level is not None:
            return hash_tile(tile, self._tree)
        start = tile.index * WIDTH
        return encode_bundle(self._database.entries(start, start + tile.width))

    # -- standing ----------------------------------------------------------------------------------------------------

    def _stop(self, cause: Exception | None) -> LogStopped:
        with self._changed:
            if self._stopped is None:
                why = "closed" if cause is None else f"{type(cause).__name__}: {cause}"
                self._stopped = LogStopped(f"log {self._key.origin!r} has stopped ({why}); open it anew")
                self._stopped.__cause__ = cause
            waiting: list[_Waiting] = [*(append.positions for append in self._appends), *self._wanted]
            self._appends, self._wanted = [], []
            self._changed.notify_all()
        for future in waiting:  # nobody else completes these; what the writer has taken, the writer answers
            if future.set_running_or_notify_cancel():
                future.set_exception(self._stopped)
        return self._stopped

    def _demand_running(self) -> None:
        if self._stopped is not None:
            raise LogStopped(str(self._stopped)) from self._stopped
        if self._is_closing:
            raise LogStopped(f"log {self._key.origin!r} is closing")

    def _demand_ours(self, cosigned: bytes) -> Checkpoint:
        try:
            return self._demand_true(cosigned, "checkpoint", self._signed_size)
        except LedgerError as cause:
            raise NotOurs(f"note is not a checkpoint this log signed: {cause}") from cause

    def _within(self, size: int) -> int:
        self._demand_running()
        if not 0 <= size <= self._durable:
            raise ValueError(f"log has {self._durable} entries, got size {size}")
        return size
