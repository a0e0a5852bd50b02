"""The coordinator's durable memory beside the ledger: invitations, key requests, questions on their way, masked vectors.

One SQLite file, one writer thread, synchronous FULL. Nothing in it can spend a hospital's budget or open a sum: losing it loses
comfort, not privacy. A question's row is written before the step it describes, so that a restart resumes at that step; masked
vectors and sealed seeds are stored before the auditor is asked to open, so that an opened sum can always be finished. They are
kept 35 days for re-derivation and then deleted. What comes while the disk is busy shares the next transaction. What may be lost
with the machine's power, and not with the process, is written without waiting for the disk; the next flush takes it along.
"""

import json
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from protocols.refusal import Reason, Refusal

T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS invitation (token_sha256 TEXT PRIMARY KEY, uri TEXT NOT NULL, used INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE IF NOT EXISTS key_request (uri TEXT PRIMARY KEY, envelope BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS question (
    query BLOB PRIMARY KEY, entry BLOB NOT NULL, state TEXT NOT NULL,
    proof BLOB, not_after INTEGER NOT NULL DEFAULT 0, answer BLOB, breakdown TEXT, cancelled INTEGER NOT NULL DEFAULT 0,
    refusals TEXT NOT NULL DEFAULT '[]',
    changed INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS attempt (
    query BLOB NOT NULL, round INTEGER NOT NULL, attempt INTEGER NOT NULL, preimage BLOB NOT NULL,
    PRIMARY KEY (query, round, attempt)) STRICT;
CREATE TABLE IF NOT EXISTS contribution (
    query BLOB NOT NULL, round INTEGER NOT NULL, attempt INTEGER NOT NULL, uri TEXT NOT NULL, sealed BLOB NOT NULL,
    receipt BLOB NOT NULL, signature BLOB NOT NULL, masked BLOB NOT NULL, stored INTEGER NOT NULL,
    PRIMARY KEY (query, round, attempt, uri)) STRICT;
CREATE TABLE IF NOT EXISTS counting (query BLOB PRIMARY KEY, secret BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS finished_round (
    query BLOB NOT NULL, round INTEGER NOT NULL, vector BLOB NOT NULL, weights BLOB NOT NULL, PRIMARY KEY (query, round)) STRICT;
"""


@dataclass(frozen=True, slots=True)
class QuestionRow:
    """A question as it was last written down."""

    query: bytes
    entry: bytes
    state: str
    proof: bytes | None
    not_after: int
    answer: bytes | None
    breakdown: str | None
    is_cancelled: bool
    refusals: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class Contributed:
    """One member's contribution to one attempt, as it arrived. `signature` signs a training's round; the receipt its segment."""

    uri: str
    sealed: bytes
    receipt: bytes
    signature: bytes
    masked: bytes


Written = tuple[str, tuple[object, ...]]
"""A statement with its values."""


@dataclass(frozen=True, slots=True)
class _Step:
    """Statements that come to the disk together, and how many rows the first of them changed.

    What is not flushed outlives the process alone.
    """

    statements: tuple[Written, ...]
    is_flushed: bool
    changed: "Future[int]" = field(default_factory=Future)


class Register:
    """Methods block; call them through `asyncio.to_thread` or from the starting thread. Those named `note_` do not: what they write
    is on its way to the disk when they return, ahead of all that is written later.
    """

    def __init__(self, path: Path) -> None:
        self._thread = ThreadPoolExecutor(1, "register")
        self._waiting: deque[_Step] = deque()
        self._db = self._run(lambda: _connect(path))

    def _run(self, work: Callable[[], T]) -> T:
        return self._thread.submit(work).result()

    def _write(self, sql: str, values: Sequence[object], *more: Written) -> int:
        return self._put(sql, values, *more).result()

    def _put(self, sql: str, values: Sequence[object], *more: Written, is_flushed: bool = True) -> "Future[int]":
        step = _Step(((sql, tuple(values)), *more), is_flushed)
        self._waiting.append(step)
        self._thread.submit(self._write_what_waits)
        return step.changed

    def _write_what_waits(self) -> None:
        """In one transaction; where that fails, each by itself and in the same order, so that each has its own end."""
        steps = [self._waiting.popleft() for _ in range(len(self._waiting))]
        try:
            self._write_together(steps)
        except Exception:  # noqa: BLE001 (whoever waits for a step is told of its error)
            for each in steps:
                self._write_alone(each)

    def _write_alone(self, step: _Step) -> None:
        try:
            self._write_together([step])
        except Exception as error:  # noqa: BLE001 (as above)
            step.changed.set_exception(error)

    def _write_together(self, steps: Sequence[_Step]) -> None:
        is_flushed = any(each.is_flushed for each in steps)
        self._db.execute(f"PRAGMA synchronous = {'FULL' if is_flushed else 'NORMAL'}")
        with self._db:
            changed = [[self._db.execute(*statement).rowcount for statement in each.statements] for each in steps]
        for each, (rows, *_) in zip(steps, changed, strict=True):
            each.changed.set_result(rows)

    def _read(self, sql: str, values: Sequence[object] = ()) -> list[tuple[object, ...]]:
        return self._run(lambda: self._db.execute(sql, tuple(values)).fetchall())

    def close(self) -> None:
        self._run(self._db.close)
        self._thread.shutdown()

    def invite(self, token_sha256: str, uri: str) -> None:
        self._write("INSERT INTO invitation (token_sha256, uri) VALUES (?, ?)", (token_sha256, uri))

    def use_invitation(self, token_sha256: str, uri: str) -> bool:
        """True once per token, and only for the party it was made for."""
        sql = "UPDATE invitation SET used = 1 WHERE token_sha256 = ? AND uri = ? AND used = 0"
        return self._write(sql, (token_sha256, uri)) == 1

    def put_key_request(self, uri: str, envelope: bytes) -> None:
        self._write(
            "INSERT INTO key_request VALUES (?, ?) ON CONFLICT (uri) DO UPDATE SET envelope = excluded.envelope", (uri, envelope)
        )

    def key_requests(self) -> list[bytes]:
        return [bytes(row[0]) for row in self._read("SELECT envelope FROM key_request ORDER BY uri")]  # type: ignore[call-overload]

    def drop_key_request(self, uri: str) -> None:
        self._write("DELETE FROM key_request WHERE uri = ?", (uri,))

    def put_question(self, query: bytes, entry: bytes, now: int) -> None:
        sql = "INSERT INTO question (query, entry, state, changed) VALUES (?, ?, 'submitted', ?) ON CONFLICT DO NOTHING"
        self._write(sql, (query, entry, now))

    def set_state(self, query: bytes, state: str, now: int, *, is_counted: bool = False) -> None:
        """`is_counted`: see `_forgetting`; with the end of a question for residents, never before."""
        forgetting = _forgetting(query) if is_counted else ()
        self._write("UPDATE question SET state = ?, changed = ? WHERE query = ?", (state, now, query), *forgetting)

    def note_state(self, query: bytes, state: str, now: int) -> None:
        """`set_state` without waiting: a restart finds an open question by any of its open states."""
        self._put("UPDATE question SET state = ?, changed = ? WHERE query = ?", (state, now, query))

    def set_refusals(self, query: bytes, refusals: Sequence[Refusal]) -> None:
        """Why hospitals refused member sets, and why the question is about to end, written before its end is."""
        text = json.dumps([each.to_json() for each in refusals])
        self._write("UPDATE question SET refusals = ? WHERE query = ?", (text, query))

    def set_offer(self, query: bytes, proof: bytes, not_after: int) -> None:
        """Written before anybody is asked, and so charged; on the disk with the state that follows it at once."""
        values = (proof, not_after, query)
        self._put("UPDATE question SET proof = ?, not_after = ? WHERE query = ?", values, is_flushed=False).result()

    def set_attempt(self, query: bytes, round_: int, attempt: int, preimage: bytes) -> None:
        """Outlives the process, and is on the disk with the first contribution to it: until then nothing hangs on it."""
        self._put("INSERT INTO attempt VALUES (?, ?, ?, ?)", (query, round_, attempt, preimage), is_flushed=False).result()

    def last_attempt(self, query: bytes, round_: int) -> tuple[int, bytes] | None:
        """The number and binding preimage of the last announced attempt at a round."""
        sql = "SELECT attempt, preimage FROM attempt WHERE query = ? AND round = ? ORDER BY attempt DESC LIMIT 1"
        rows = self._read(sql, (query, round_))
        return (rows[0][0], rows[0][1]) if rows else None  # type: ignore[return-value]

    def note_finished(self, query: bytes, round_: int, vector: bytes, weights: bytes, is_last: bool) -> "Future[int]":
        """Where a round did not come to the disk, its stored contributions lead to the same vector again. Those of the last one do
        not, once its question is released: it is flushed.
        """
        sql = "INSERT INTO finished_round VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
        return self._put(sql, (query, round_, vector, weights), is_flushed=is_last)

    def finished_rounds(self, query: bytes) -> list[tuple[int, bytes, bytes]]:
        """Of a training: round, released vector and the weights after it, in order."""
        return self._read("SELECT round, vector, weights FROM finished_round WHERE query = ? ORDER BY round", (query,))  # type: ignore[return-value]

    def set_answer(self, query: bytes, answer: bytes, breakdown: str, now: int, *, is_counted: bool = False) -> None:
        """The end of a question with an answer. `is_counted`: see `_forgetting`."""
        sql = "UPDATE question SET state = 'released', answer = ?, breakdown = ?, changed = ? WHERE query = ?"
        self._write(sql, (answer, breakdown, now, query), *(_forgetting(query) if is_counted else ()))

    def cancel(self, query: bytes) -> None:
        self._write("UPDATE question SET cancelled = 1 WHERE query = ?", (query,))

    def question(self, query: bytes) -> QuestionRow | None:
        rows = self._read(f"{_QUESTION} WHERE query = ?", (query,))
        return _question(rows[0]) if rows else None

    def unfinished(self) -> list[QuestionRow]:
        """Questions that a restart has to carry on with, oldest first."""
        open_states = "('submitted', 'logged', 'approved', 'running')"
        return [_question(row) for row in self._read(f"{_QUESTION} WHERE state IN {open_states} ORDER BY changed")]

    def put_contribution(self, query: bytes, round_: int, attempt: int, made: Contributed, now: int) -> None:
        self.note_contribution(query, round_, attempt, made, now).result()

    def note_contribution(self, query: bytes, round_: int, attempt: int, made: Contributed, now: int) -> "Future[int]":
        """Done once the disk has it."""
        values = (query, round_, attempt, made.uri, made.sealed, made.receipt, made.signature, made.masked, now)
        return self._put("INSERT INTO contribution VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", values)

    def contributions(self, query: bytes, round_: int, attempt: int) -> list[Contributed]:
        sql = "SELECT uri, sealed, receipt, signature, masked FROM contribution WHERE query = ? AND round = ? AND attempt = ?"
        return [Contributed(*row) for row in self._read(f"{sql} ORDER BY uri", (query, round_, attempt))]  # type: ignore[arg-type]

    def all_contributions(self, query: bytes | None = None) -> Iterator[tuple[bytes, int, int, str, bytes]]:
        """Query, round, attempt, member and masked vector of everything that is still kept, or of one query."""
        sql = "SELECT query, round, attempt, uri, masked FROM contribution WHERE ?1 IS NULL OR query = ?1"
        yield from self._read(f"{sql} ORDER BY query, round, attempt, uri", (query,))  # type: ignore[misc]

    def counting_secret(self, query: bytes, fresh: bytes) -> bytes:
        """The key under which residents of this question are counted: the one kept for it, else `fresh`, kept from now on."""
        self._write("INSERT INTO counting VALUES (?, ?) ON CONFLICT DO NOTHING", (query, fresh))
        [(secret,)] = self._read("SELECT secret FROM counting WHERE query = ?", (query,))
        return secret  # type: ignore[return-value]

    def forget(self, before: int) -> None:
        """Deletes contributions stored before that moment."""
        self._write("DELETE FROM contribution WHERE stored < ?", (before,))


_QUESTION = "SELECT query, entry, state, proof, not_after, answer, breakdown, cancelled, refusals FROM question"


def _forgetting(query: bytes) -> tuple[Written, ...]:
    """A count of residents has ended: its key and the masked vectors, which together tell more than the answer, go with the very
    write that says so. A crash leaves either an open question, which needs them, or neither.
    """
    return tuple((f"DELETE FROM {table} WHERE query = ?", (query,)) for table in ("counting", "contribution"))  # noqa: S608


def _question(row: tuple[object, ...]) -> QuestionRow:
    *fields, cancelled, refusals = row
    told = (Refusal(Reason(each.pop("code")), **each) for each in json.loads(str(refusals)))
    return QuestionRow(*fields, bool(cancelled), tuple(told))  # type: ignore[arg-type, call-arg]


def _connect(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    db = sqlite3.connect(path, check_same_thread=False)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA secure_delete = ON")
    db.executescript(_SCHEMA)
    return db
