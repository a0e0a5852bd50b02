"""The SQLite file that decides what is in the log and what was signed. Everything published follows from it.

Rules
- WAL with synchronous=FULL: a commit that returned is durable.
- `entry` is append-only and dense, `checkpoint` append-only and growing: triggers refuse anything else, so that not even
  a wrong program can rewrite the past without first changing the schema.
- A checkpoint is stored (compare-and-swap on the size before it) BEFORE it leaves this house. The primary key on its
  size means that one size is signed once.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from audit_ledger.errors import Damaged, LogStopped, RolledBack, WrongLogKey
from audit_ledger.log.disk import Disk

KEY_SIZE = 32

_SCHEMA = """
CREATE TABLE IF NOT EXISTS log (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1), vkey TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS entry (
    position INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE CHECK (length(key) = 32),
    bytes BLOB NOT NULL CHECK (length(bytes) <= 65535)) STRICT;
CREATE TABLE IF NOT EXISTS checkpoint (
    size INTEGER PRIMARY KEY CHECK (size >= 0), note BLOB NOT NULL) STRICT;
CREATE TRIGGER IF NOT EXISTS entry_is_dense BEFORE INSERT ON entry
    WHEN NEW.position <> (SELECT ifnull(max(position) + 1, 0) FROM entry)
    BEGIN SELECT RAISE(ABORT, 'entry: not the next position'); END;
CREATE TRIGGER IF NOT EXISTS entry_is_never_changed BEFORE UPDATE ON entry
    BEGIN SELECT RAISE(ABORT, 'entry: append-only'); END;
CREATE TRIGGER IF NOT EXISTS entry_is_never_removed BEFORE DELETE ON entry
    BEGIN SELECT RAISE(ABORT, 'entry: append-only'); END;
CREATE TRIGGER IF NOT EXISTS checkpoint_grows BEFORE INSERT ON checkpoint
    WHEN NEW.size <= (SELECT max(size) FROM checkpoint)
    BEGIN SELECT RAISE(ABORT, 'checkpoint: not larger than the last'); END;
CREATE TRIGGER IF NOT EXISTS checkpoint_is_never_changed BEFORE UPDATE ON checkpoint
    BEGIN SELECT RAISE(ABORT, 'checkpoint: append-only'); END;
CREATE TRIGGER IF NOT EXISTS checkpoint_is_never_removed BEFORE DELETE ON checkpoint
    BEGIN SELECT RAISE(ABORT, 'checkpoint: append-only'); END;
"""


@dataclass(frozen=True, slots=True)
class Swap:
    """A signed checkpoint of this size, to follow the one of the size `old`; None: it is the first."""

    old: int | None
    size: int
    note: bytes


class LogDatabase:
    """Written by one thread; read by any, through a second connection. The open raises what `spoilt` explains."""

    def __init__(self, path: Path, disk: Disk) -> None:
        self._disk = disk
        self._write = _connect(path)
        _demand_whole(self._write)
        self._write.executescript(_SCHEMA)
        self._read = _connect(path)
        self._read.execute("PRAGMA query_only=ON")
        self._reading = threading.Lock()
        disk.sync_folder(path.parent)

    def bind(self, vkey: str) -> None:
        """Make the log this key's at its first open, demand the same key at every later one. Raises WrongLogKey."""
        found = self._write.execute("SELECT vkey FROM log").fetchone()
        if found is None:
            self._write.execute("BEGIN IMMEDIATE")
            self._write.execute("INSERT INTO log VALUES (1, ?)", (vkey,))
            self._disk.commit(self._write)
        elif found[0] != vkey:
            raise WrongLogKey(f"log was made with key {found[0]}, opened with {vkey}")

    def append(self, batch: Sequence[tuple[bytes, bytes]], size: int, grown: Callable[[Sequence[bytes]], Swap | None]) -> list[int]:
        """Give each (key, entry) its position, in one durable transaction; a key seen before keeps its first position.

        `size` is the log's size before. `grown` is told the entries that are new, and may give a checkpoint over them, which is
        signed with them or not at all. Returns the positions, in order.
        """
        positions: list[int] = []
        fresh: list[bytes] = []
        self._write.execute("BEGIN IMMEDIATE")
        for key, entry in batch:
            found = self._write.execute("SELECT position FROM entry WHERE key = ?", (key,)).fetchone()
            positions.append(size + len(fresh) if found is None else found[0])
            if found is None:
                self._write.execute("INSERT INTO entry VALUES (?, ?, ?)", (positions[-1], key, entry))
                fresh.append(entry)
        if (swap := grown(fresh)) is not None:
            self._swap(swap)
        self._disk.commit(self._write)
        return positions

    def swap_checkpoint(self, swap: Swap) -> None:
        """Make this the signed checkpoint, if the last one was the one before it. Raises LogStopped."""
        self._write.execute("BEGIN IMMEDIATE")
        self._swap(swap)
        self._disk.commit(self._write)

    def _swap(self, swap: Swap) -> None:
        last = self._write.execute("SELECT max(size) FROM checkpoint").fetchone()[0]
        if last != swap.old:
            raise LogStopped(f"log signed size {last} behind our back, we know of {swap.old}: another writer")
        self._write.execute("INSERT INTO checkpoint VALUES (?, ?)", (swap.size, swap.note))

    def signed(self) -> bytes | None:
        """The last signed checkpoint, None before the first."""
        with self._reading:
            found = self._read.execute("SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1").fetchone()
        return None if found is None else bytes(found[0])

    def all_entries(self) -> Iterator[bytes]:
        """Every entry in order, for the open. Raises RolledBack when one is missing."""
        rows = self._write.execute("SELECT position, bytes FROM entry ORDER BY position")
        for expected, (position, entry) in enumerate(rows):
            if position != expected:
                raise RolledBack(f"entry {expected} is missing from the log's database")
            yield entry

    def entries(self, start: int, end: int) -> list[bytes]:
        """Entries [start, end) as far as they are there."""
        with self._reading:
            rows = self._read.execute(
                "SELECT bytes FROM entry WHERE position >= ? AND position < ? ORDER BY position", (start, end)
            ).fetchall()
        return [row[0] for row in rows]

    def position_of(self, key: bytes) -> int | None:
        """Where the entry with this key is."""
        with self._reading:
            found = self._read.execute("SELECT position FROM entry WHERE key = ?", (key,)).fetchone()
        return None if found is None else int(found[0])

    def close(self) -> None:
        """Rolls back what is not committed."""
        with self._reading:
            self._read.close()
        self._write.close()


_OF_THE_DISK = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY}


def spoilt(path: Path, cause: sqlite3.DatabaseError) -> LogStopped | Damaged:
    """What SQLite's error means: a disk that is full or fails is one thing, a file that holds something else is evidence."""
    if getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF in _OF_THE_DISK:
        return LogStopped(f"log database {path.name} cannot be opened: {cause}")
    return Damaged(f"log database {path.name} is damaged: {cause}")


def _demand_whole(connection: sqlite3.Connection) -> None:
    """The tree finds a changed entry; this finds a changed key or index, on which the identity of entries hangs."""
    (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    if connection.execute("PRAGMA journal_mode=WAL").fetchone() != ("wal",):
        raise LogStopped("log database cannot keep a write-ahead log on this file system")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA fullfsync=ON")
    return connection
