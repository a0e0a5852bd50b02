"""The node's durable state: one SQLite file, one writer at a time, every step one transaction that is on the disk when it returns.

What must survive `kill -9` at any line, and in which order it is written
 1. A charge and its Ready are one transaction, before the Ready leaves. A crash after it loses budget, a crash before it nothing.
 2. An accepted binding u is written before anything is computed for it, and outlives the process from then on; u and the masked
    vector are on the disk before the vector leaves, by one flush of the disk for both. So an accepted u without a stored vector is
    refused and never recomputed, and a stored one is sent again byte for byte. A loss of power before that flush may forget u, of
    which nothing has left.
 3. An agreement key is written before the Ready that names it, and deleted (overwritten: secure_delete, and the write-ahead log
    truncated) once the month's last window has passed.
 4. Followed entries are written as they were verified, from index 0 without a gap, together with the first step that is decided
    over them (or by `flush`, within a second): a crash before it forgets entries that nothing was decided on.

Spent totals only grow: a charge whose Ready never reached the ledger is not given back here.
A `backup` holds no agreement key and closes every question it has a Ready for: a restored node answers none of them again.
"""

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from threading import Lock
from typing import TypeVar

from hospital_node.errors import JournalFailed
from hospital_node.journal_file import copy_to, is_log_kept, open_journal
from privacy.filter import Spent, decode_charge, encode_charge

JOURNAL_FILE = "journal.sqlite"
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class StoredReady:
    """A Ready as it was signed; `generation` is the records file the question is pinned to."""

    query: str
    first_round: int
    last_round: int
    id: bytes
    sequence: int
    not_after: int
    month: str
    generation: str
    envelope: bytes
    is_closed: bool = False


@dataclass(frozen=True, slots=True)
class StoredContribution:
    """What left, or will leave, for one attempt; `masked` are the ring elements, little-endian."""

    query: str
    round: int
    attempt: int
    binding: bytes
    sealed: bytes
    receipt: bytes
    round_signature: bytes
    masked: bytes


@dataclass(frozen=True, slots=True)
class StoredQuestion:
    """A question that came and how it ended here; `reasons` are codes."""

    query: str
    at: int
    outcome: str
    price: str
    reasons: tuple[str, ...]


class Journal:
    """See the module's docstring. Methods may be called from any thread; each returns when it is done.

    Reads have a connection of their own: a step that was written is seen by the next read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writing, self._reading = Lock(), Lock()
        with ExitStack() as opened:  # what is open is closed again where a later step fails
            self._database = self._run(lambda: open_journal(path))
            opened.callback(self._run, self._database.close)
            self._reader = self._run(lambda: open_journal(path))
            opened.callback(self._close_reader)
            self._run(lambda: self._reader.execute("PRAGMA query_only=ON"))
            self._followed: list[tuple[int, bytes]] = []  # verified, and not on the disk yet
            self._places = int(str(self._read("SELECT count(*) FROM entry")[0][0]))
            self._may_hold_seeds = True  # the write-ahead log, where a process before ended between deleting and truncating
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Writes what is not on the disk, and lets the file go also where that fails."""
        with self._opened:
            self.flush()

    def _close_reader(self) -> None:
        with self._reading:
            self._reader.close()

    def _run(self, step: Callable[[], Result]) -> Result:
        """In the caller's thread: handing over to another and back would take as long as the step itself."""
        try:
            with self._writing:
                return step()
        except sqlite3.Error as cause:
            raise JournalFailed(f"{self.path}: {cause}") from cause

    def _write(self, step: Callable[[sqlite3.Connection], Result], *, is_flushed: bool = True) -> Result:
        """One transaction. Not flushed, it outlives the process; the disk has it with the next one that is."""

        def transaction() -> Result:
            followed = list(self._followed)
            self._database.execute(f"PRAGMA synchronous={'FULL' if is_flushed else 'NORMAL'}")
            self._database.execute("BEGIN IMMEDIATE")
            try:
                self._database.executemany(_FOLLOWED, followed)
                result = step(self._database)
                self._database.execute("COMMIT")  # with synchronous=FULL the disk has it when this returns
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise
            del self._followed[: len(followed)]
            return result

        return self._run(transaction)

    def _read(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        try:
            with self._reading:
                return self._reader.execute(sql, values).fetchall()
        except sqlite3.Error as cause:
            raise JournalFailed(f"{self.path}: {cause}") from cause

    # -- the followed ledger

    def add_entries(self, start: int, entries: Sequence[bytes]) -> None:
        """On the disk with the next step (rule 4)."""
        if start != self._places:
            raise JournalFailed(f"{self.path}: expected entries from {self._places}, got them from {start}")
        self._followed += enumerate(entries, start)
        self._places += len(entries)

    def flush(self) -> None:
        """Writes the entries that no step has taken along."""
        if self._followed:
            self._write(lambda _: None)

    def entries(self, start: int = 0) -> list[bytes]:
        self.flush()
        return [_blob(row[0]) for row in self._read(_ENTRIES, start)]

    def first_entry(self) -> list[bytes]:
        """Entry 0 of the log that is followed, once it is on the disk."""
        return [_blob(row[0]) for row in self._read("SELECT body FROM entry WHERE place = 0")]

    def begin_next_log(self) -> None:
        """The followed log is closed and kept elsewhere: its entries, questions and unsent statements end; what was spent stays."""
        ended = "DELETE FROM entry", "DELETE FROM outbox", "UPDATE ready SET is_closed = 1, not_after = 0"
        self._write(lambda database: [database.execute(each) for each in ended])  # with what is not on the disk yet
        self._places = 0

    # -- budget and Readys

    def spent(self) -> dict[tuple[str, str], Spent]:
        rows = self._read("SELECT purpose, block, single, doubled FROM spent")
        return {(str(row[0]), str(row[1])): Spent(decode_charge(str(row[2])), decode_charge(str(row[3]))) for row in rows}

    def charge(self, ready: StoredReady, spent: Mapping[tuple[str, str], Spent], question: StoredQuestion) -> None:
        """The new totals, the Ready and the question's record, in one transaction: after it the Ready may leave."""

        def step(database: sqlite3.Connection) -> None:
            _put_spent(database, spent)
            database.execute(
                "INSERT INTO ready VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (ready.query, ready.first_round, ready.last_round, ready.id, ready.sequence, ready.not_after, ready.month,
                 ready.generation, ready.envelope, ready.is_closed),
            )  # fmt: skip
            _record(database, question)

        self._write(step)

    def adopt(self, spent: Mapping[tuple[str, str], Spent], sequence: int) -> None:
        """After a restore: the ledger's account becomes ours, and the request of IT is used up."""

        def step(database: sqlite3.Connection) -> None:
            _put_spent(database, spent)
            database.execute("INSERT OR REPLACE INTO note VALUES ('adopted_sequence', ?)", (str(sequence),))
            database.execute("DELETE FROM note WHERE name = 'adopt'")

        self._write(step)

    def last_sequence(self) -> int:
        (row,) = self._read("SELECT coalesce(max(sequence), 0) FROM ready")
        return max(int(str(row[0])), int(self.note("adopted_sequence") or 0))

    def ready(self, query: str, round_: int) -> StoredReady | None:
        """The Ready that covers this round."""
        rows = self._read(f"{_READY} WHERE query = ? AND ? BETWEEN first_round AND last_round", query, round_)
        return _ready(rows[0]) if rows else None

    def readys_until(self, moment: int, after: int = 0) -> list[StoredReady]:
        """Readys whose window reaches `moment` or beyond, of a sequence behind `after`, in order."""
        rows = self._read(f"{_READY} WHERE not_after >= ? AND sequence > ? ORDER BY sequence", moment, after)
        return [_ready(row) for row in rows]

    def open_queries(self, moment: int) -> set[str]:
        """Questions with a Ready whose window reaches `moment` or beyond."""
        return {str(row[0]) for row in self._read("SELECT query FROM ready WHERE not_after >= ?", moment)}

    # -- attempts

    def accepted(self, query: str, round_: int) -> dict[int, bytes]:
        rows = self._read("SELECT attempt, binding FROM accepted WHERE query = ? AND round = ?", query, round_)
        return {int(str(row[0])): _blob(row[1]) for row in rows}

    def has_accepted(self, query: str) -> bool:
        """Whether any round of the question was accepted."""
        return bool(self._read("SELECT 1 FROM accepted WHERE query = ? LIMIT 1", query))

    def accept(self, query: str, round_: int, attempt: int, binding: bytes) -> None:
        """Outlives the process; the disk has it with the vector, before that leaves (rule 2)."""
        row = (query, round_, attempt, binding)
        self._write(lambda database: database.execute("INSERT INTO accepted VALUES (?, ?, ?, ?)", row), is_flushed=False)

    def store(self, made: StoredContribution) -> None:
        row = (made.query, made.round, made.attempt, made.binding, made.sealed, made.receipt, made.round_signature, made.masked)
        self._write(lambda database: database.execute("INSERT INTO contribution VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row))

    def contribution(self, query: str, round_: int, attempt: int) -> StoredContribution | None:
        rows = self._read(
            "SELECT binding, sealed, receipt, round_signature, masked FROM contribution "
            "WHERE query = ? AND round = ? AND attempt = ?",
            query,
            round_,
            attempt,
        )
        return StoredContribution(query, round_, attempt, *(_blob(each) for each in rows[0])) if rows else None

    def forget_contributions(self, query: str) -> None:
        if self._read("SELECT 1 FROM contribution WHERE query = ? LIMIT 1", query):
            self._write(lambda database: database.execute("DELETE FROM contribution WHERE query = ?", (query,)))

    def forget_closed(self, moment: int) -> None:
        """Vectors of questions whose window ended before `moment`."""
        sql = "SELECT DISTINCT query FROM contribution WHERE query NOT IN (SELECT query FROM ready WHERE not_after >= ?)"
        for row in self._read(sql, moment):
            self.forget_contributions(str(row[0]))

    # -- keys

    def agreement_seed(self, month: str, fresh: bytes | None = None) -> bytes | None:
        """The month's seed; with `fresh` one is made if there is none."""
        if fresh is not None:
            self._write(lambda database: database.execute("INSERT OR IGNORE INTO agreement VALUES (?, ?)", (month, fresh)))
        rows = self._read("SELECT seed FROM agreement WHERE month = ?", month)
        return _blob(rows[0][0]) if rows else None

    def bounding_key(self, period: str, fresh: bytes) -> bytes:
        if not (rows := self._read("SELECT key FROM bounding WHERE period = ?", period)):
            self._write(lambda database: database.execute("INSERT OR IGNORE INTO bounding VALUES (?, ?)", (period, fresh)))
            rows = self._read("SELECT key FROM bounding WHERE period = ?", period)
        return _blob(rows[0][0])

    def destroy_agreements(self, now: int, current: str) -> list[str]:
        """Deletes the seeds of months before `current` whose last window ended before `now`; names them."""
        rows = self._read(
            "SELECT month FROM agreement WHERE month < ? AND NOT EXISTS (SELECT 1 FROM ready WHERE ready.month = agreement.month "
            "AND not_after >= ?)",
            current,
            now,
        )
        months = [str(row[0]) for row in rows]
        if months:
            self._may_hold_seeds = True
            self._write(
                lambda database: database.executemany("DELETE FROM agreement WHERE month = ?", [(each,) for each in months])
            )
        if self._may_hold_seeds:
            self._may_hold_seeds = self._is_truncation_hindered()
        return months

    def _is_truncation_hindered(self) -> bool:
        """Empties the write-ahead log; whether a reader elsewhere (`status`, a copy) keeps it. Then the next sweep tries again."""
        with self._reading:  # our own reader would keep it too
            return self._run(lambda: is_log_kept(self._database))

    # -- flags, questions, outbox

    def note(self, name: str) -> str | None:
        rows = self._read("SELECT value FROM note WHERE name = ?", name)
        return str(rows[0][0]) if rows else None

    def set_note(self, name: str, value: str | None) -> None:
        if value is None:
            self._write(lambda database: database.execute("DELETE FROM note WHERE name = ?", (name,)))
        else:
            self._write(lambda database: database.execute("INSERT OR REPLACE INTO note VALUES (?, ?)", (name, value)))

    def record_question(self, question: StoredQuestion) -> None:
        """A Ready is never written over by a later refusal of the same question."""
        self._write(lambda database: _record(database, question))

    def questions(self) -> list[StoredQuestion]:
        rows = self._read("SELECT query, at, outcome, price, reasons FROM question ORDER BY at, query")
        return [
            StoredQuestion(str(q), int(str(at)), str(end), str(price), tuple(str(why).split())) for q, at, end, price, why in rows
        ]

    def queue(self, identity: bytes, envelope: bytes, pause: str | None = None) -> None:
        """A statement to send, and in the same transaction a reason to pause."""

        def step(database: sqlite3.Connection) -> None:
            database.execute("INSERT OR IGNORE INTO outbox VALUES (?, ?)", (identity, envelope))
            if pause is not None:
                database.execute("INSERT OR REPLACE INTO note VALUES ('paused', ?)", (pause,))

        self._write(step)

    def outbox(self) -> dict[bytes, bytes]:
        return {_blob(row[0]): _blob(row[1]) for row in self._read("SELECT id, envelope FROM outbox ORDER BY rowid")}

    def sent(self, identities: Iterable[bytes]) -> None:
        rows = [(each,) for each in identities]
        if rows:
            self._write(lambda database: database.executemany("DELETE FROM outbox WHERE id = ?", rows))

    def backup(self, target: Path) -> None:
        """A copy without agreement keys and vectors, in which every question with a Ready is closed. Raises FileExistsError."""
        if target.exists():
            raise FileExistsError(target)
        self.flush()
        self._run(lambda: copy_to(self._database, target))


_QUESTION = (
    "INSERT INTO question VALUES (?, ?, ?, ?, ?) ON CONFLICT(query) DO UPDATE SET outcome = excluded.outcome, "
    "price = excluded.price, reasons = excluded.reasons WHERE question.outcome = 'refused'"
)
# The same entry may stand there, after a commit that was done and reported failed; another one breaks NOT NULL, and the step.
_FOLLOWED = "INSERT INTO entry VALUES (?, ?) ON CONFLICT(place) DO UPDATE SET body = NULL WHERE body <> excluded.body"
_ENTRIES = "SELECT body FROM entry WHERE place >= ? ORDER BY place"
_READY = "SELECT query, first_round, last_round, id, sequence, not_after, month, generation, envelope, is_closed FROM ready"


def _record(database: sqlite3.Connection, question: StoredQuestion) -> None:
    row = (question.query, question.at, question.outcome, question.price, " ".join(question.reasons))
    database.execute(_QUESTION, row)


def _put_spent(database: sqlite3.Connection, spent: Mapping[tuple[str, str], Spent]) -> None:
    rows = [(*key, encode_charge(each.single), encode_charge(each.doubled or Fraction(0))) for key, each in spent.items()]
    database.executemany("INSERT OR REPLACE INTO spent VALUES (?, ?, ?, ?)", rows)


def _ready(row: tuple[object, ...]) -> StoredReady:
    query, first, last, identity, sequence, not_after, month, generation, envelope, is_closed = row
    numbers = [int(str(each)) for each in (first, last, sequence, not_after)]
    return StoredReady(
        str(query), numbers[0], numbers[1], _blob(identity), numbers[2], numbers[3], str(month), str(generation), _blob(envelope),
        bool(is_closed),
    )  # fmt: skip


def _blob(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise JournalFailed("a column of the journal holds no bytes")
    return value
