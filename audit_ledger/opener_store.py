"""What the opener must not forget: the ledger it followed, and every sum it has bound itself to. One SQLite file, one writer.

Rules
- WAL with synchronous=FULL: what a method returned from is durable.
- `entry` is dense and never changes; `opened` has one row per (query, round), ever. Triggers keep both against a wrong program.
- A row of `opened` is written BEFORE its opening leaves, `is_released` BEFORE the sum does. A crash after the first leaves a set
  that can only be resumed by the same request; the other order could open two.
- Sums are deleted after 35 days; the rows stay.

A lost or restored file is safe: every opening in the ledger counts as used, whatever this file says. A damaged one is not opened.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from audit_ledger.errors import OpenerDamaged, RolledBack, Unavailable
from protocols.canonical import unb64
from protocols.errors import MalformedBytes
from protocols.statements import Opening, parse_once

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entry (position INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS opened (
    query BLOB NOT NULL, round INTEGER NOT NULL, attempt INTEGER NOT NULL, request BLOB NOT NULL, preimage BLOB NOT NULL,
    opening BLOB, sum BLOB, is_released INTEGER NOT NULL DEFAULT 0, at INTEGER NOT NULL,
    PRIMARY KEY (query, round)) STRICT;
CREATE TRIGGER IF NOT EXISTS entry_is_dense BEFORE INSERT ON entry
    WHEN NEW.position <> (SELECT ifnull(max(position) + 1, 0) FROM entry)
    BEGIN SELECT RAISE(ABORT, 'entry: not the next position'); END;
CREATE TRIGGER IF NOT EXISTS entry_is_never_changed BEFORE UPDATE ON entry
    BEGIN SELECT RAISE(ABORT, 'entry: append-only'); END;
CREATE TRIGGER IF NOT EXISTS entry_is_never_removed BEFORE DELETE ON entry
    BEGIN SELECT RAISE(ABORT, 'entry: append-only'); END;
CREATE TRIGGER IF NOT EXISTS opened_is_never_removed BEFORE DELETE ON opened
    BEGIN SELECT RAISE(ABORT, 'opened: rows stay'); END;
CREATE TRIGGER IF NOT EXISTS opened_keeps_its_set BEFORE UPDATE OF query, round, attempt, request, preimage, opening ON opened
    BEGIN SELECT RAISE(ABORT, 'opened: one set per query and round'); END;
"""


@dataclass(frozen=True, slots=True)
class Opened:
    """A set this opener bound itself to. `opening` is None for the later rounds of a segment, `sum` once it was deleted."""

    query: bytes
    round: int
    attempt: int
    request: bytes
    preimage: bytes
    opening: bytes | None
    sum: bytes | None
    is_released: int  # 0 or 1
    at: int


class OpenerStore:
    """Used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            self._set_up()
        except (sqlite3.DatabaseError, MalformedBytes) as cause:
            self._db.close()
            raise OpenerDamaged(
                f"opener database {path.name} is damaged: {cause}. Put it away and start with an empty one: what the ledger shows"
                " as opened counts as used, only sums that nobody fetched are lost"
            ) from cause

    def _set_up(self) -> None:
        if self._db.execute("PRAGMA journal_mode=WAL").fetchone() != ("wal",):
            raise Unavailable("opener database cannot keep a write-ahead log on this file system")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)
        (verdict,) = self._db.execute("PRAGMA integrity_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        for preimage, opening, total in self._db.execute("SELECT preimage, opening, sum FROM opened WHERE opening IS NOT NULL"):
            stated = parse_once(opening).statement
            if (
                not isinstance(stated, Opening)
                or unb64(stated.preimage) != preimage
                or not (total is None or stated.commits_to(total))
            ):
                raise sqlite3.DatabaseError("a set is not the one that its opening states")

    def entries(self) -> list[bytes]:
        """The followed ledger. Raises RolledBack when an entry is missing."""
        rows = self._db.execute("SELECT position, bytes FROM entry ORDER BY position").fetchall()
        if [row[0] for row in rows] != list(range(len(rows))):
            raise RolledBack("opener database: an entry of the followed ledger is missing")
        return [row[1] for row in rows]

    def append(self, start: int, entries: Sequence[bytes]) -> None:
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT INTO entry VALUES (?, ?)", enumerate(entries, start))

    def opened(self, query: bytes, round_: int) -> Opened | None:
        columns = "query, round, attempt, request, preimage, opening, sum, is_released, at"
        row = self._db.execute(f"SELECT {columns} FROM opened WHERE query = ? AND round = ?", (query, round_)).fetchone()  # noqa: S608 - fixed columns
        return Opened(*row) if row else None

    def keep(self, opened: Opened) -> None:
        """Raises sqlite3.IntegrityError for a second set of one (query, round)."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(
                "INSERT INTO opened VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    opened.query,
                    opened.round,
                    opened.attempt,
                    opened.request,
                    opened.preimage,
                    opened.opening,
                    opened.sum,
                    opened.is_released,
                    opened.at,
                ),
            )

    def bound_since(self, time: int) -> set[bytes]:
        """Queries of which a set was bound after `time`, whether or not its opening is logged yet."""
        return {row[0] for row in self._db.execute("SELECT query FROM opened WHERE at > ?", (time,))}

    def mark_released(self, query: bytes, round_: int) -> None:
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("UPDATE opened SET is_released = 1 WHERE query = ? AND round = ?", (query, round_))

    def sums(self) -> Iterator[tuple[bytes, int, int, bytes]]:
        """Query, round, attempt and sum of every set whose sum was handed out and is still kept."""
        yield from self._db.execute("SELECT query, round, attempt, sum FROM opened WHERE sum IS NOT NULL AND is_released = 1")

    def delete_sums(self, before: int) -> None:
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("UPDATE opened SET sum = NULL WHERE at < ? AND sum IS NOT NULL", (before,))

    def close(self) -> None:
        self._db.close()
