"""A witness's memory: the last checkpoint it cosigned for each log, and nothing it could forget without being caught.

Rules
- Compare and persist are ONE transaction (BEGIN IMMEDIATE), committed with synchronous=FULL before the answer leaves.
  Two racing requests are put in order by it; the later one gets a 409.
- A log is trusted by its key, given by hand, with the (size, root) to start from. Without a pin the first checkpoint is
  taken as it comes, so pin a log that is already in use.
- Sizes never shrink (trigger). A database restored from a backup does forget: the log's side notices (WitnessBehind),
  and only an operator can settle it, with `pin`.
- It does not start on a memory that does not hold what it once cosigned (WitnessDamaged), and does not cosign with a clock that
  went back behind its last cosignature by more than a minute: its time is the only one that no log claims.
"""

import sqlite3
import threading
from collections.abc import Callable
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path

from audit_ledger.checkpoint import Checkpoint
from audit_ledger.cosignature import WitnessKey
from audit_ledger.errors import BadSignature, Malformed, WitnessDamaged, WitnessStopped
from audit_ledger.log import Disk
from audit_ledger.note import LogKey, Note, Signer
from audit_ledger.witness import Admitted, Answer, admit, extend

CLOCK_STEP_S = 60  # what a clock that is being set may step back

Clock = Callable[[], int]
"""Gives POSIX seconds."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS log (
    vkey TEXT PRIMARY KEY, origin TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS latest (
    origin TEXT PRIMARY KEY, origin_hash TEXT NOT NULL UNIQUE, size INTEGER NOT NULL CHECK (size >= 0),
    root BLOB NOT NULL CHECK (length(root) = 32), note BLOB) STRICT;
CREATE TRIGGER IF NOT EXISTS latest_never_shrinks BEFORE UPDATE ON latest
    WHEN NEW.size < OLD.size OR (NEW.size = OLD.size AND NEW.root <> OLD.root)
    BEGIN SELECT RAISE(ABORT, 'latest: a witness never goes back'); END;
CREATE TRIGGER IF NOT EXISTS latest_is_never_removed BEFORE DELETE ON latest
    BEGIN SELECT RAISE(ABORT, 'latest: a witness never forgets'); END;
"""


class WitnessStore:
    """Answers add-checkpoint for several logs. All methods may be called from any thread."""

    def __init__(self, database: Path, key: WitnessKey, signer: Signer, clock: Clock, *, disk: Disk | None = None) -> None:
        self._key, self._signer, self._clock = key, signer, clock
        self._disk = disk or Disk()
        self._is_stopped = False
        self._turn = threading.Lock()
        self._database = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
        try:
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")
            self._database.executescript(_SCHEMA)
            self._logs = self._load_logs()
            self._demand_sound()
        except (sqlite3.DatabaseError, Malformed, BadSignature, WitnessDamaged) as cause:
            self._database.close()
            raise WitnessDamaged(
                f"witness database {database.name} is damaged: {cause}. Put it away, start with an empty one, and pin every log at"
                " its published checkpoint, compared by hand"
            ) from cause

    def trust(self, log: LogKey) -> None:
        """Cosign for this log from now on. Nothing happens when it is trusted already."""
        with self._turn:
            self._database.execute("INSERT OR IGNORE INTO log VALUES (?, ?)", (log.vkey.encode(), log.origin))
            self._logs = self._load_logs()

    def pin(self, checkpoint: Checkpoint) -> None:
        """Start from this tree, checked by hand: at first trust, or forward after the memory was restored.

        Raises sqlite3.IntegrityError when it is behind, or forks from, what was cosigned.
        """
        with self._turn:
            self._persist(checkpoint, None)

    def add_checkpoint(self, body: bytes) -> Answer:
        """The answer to a POST; a 200 means that the checkpoint is durably the latest. Raises WitnessStopped."""
        admitted = admit(body, self._logs)
        if isinstance(admitted, Answer) and admitted.status == HTTPStatus.NOT_FOUND:
            self._reload()  # trusted meanwhile by another process (`kapok-audit pin --log`)
            admitted = admit(body, self._logs)
        if isinstance(admitted, Answer):
            return admitted
        with self._turn:
            if self._is_stopped:
                raise WitnessStopped(f"witness {self._key.name!r} has stopped; open it anew")
            try:
                self._database.execute("BEGIN IMMEDIATE")
                answer = self._cosign(admitted)
                self._disk.commit(self._database)
            except Exception as cause:
                # The commit may have happened or not. Nothing was answered, so being ahead of the log is harmless;
                # to go on over a failed fsync is not.
                self._is_stopped = True
                raise WitnessStopped(f"witness {self._key.name!r} has stopped: {type(cause).__name__}") from cause
        return answer

    def checkpoint(self, origin_hash: str) -> bytes | None:
        """The latest cosigned note of the log whose origin has this hex SHA-256; None if there is none."""
        with self._turn:
            row = self._database.execute("SELECT note FROM latest WHERE origin_hash = ?", (origin_hash,)).fetchone()
        return None if row is None else row[0]

    @property
    def vkey(self) -> str:
        """This witness's verifier key, as a policy line has it."""
        return self._key.vkey.encode()

    def logs(self) -> list[LogKey]:
        """Every key that is trusted for some log."""
        with self._turn:
            return [key for keys in self._load_logs().values() for key in keys]

    def latest(self, origin: str) -> Checkpoint | None:
        """What was cosigned last (or pinned) for a log."""
        with self._turn:
            return self._latest(origin)

    def close(self) -> None:
        """Let go of the file."""
        with self._turn:
            self._database.close()

    def _reload(self) -> None:
        with self._turn:
            self._logs = self._load_logs()

    def _demand_sound(self) -> None:
        """Every remembered tree is the one that was cosigned, or was pinned by hand."""
        (verdict,) = self._database.execute("PRAGMA integrity_check(1)").fetchone()
        if verdict != "ok":
            raise WitnessDamaged(verdict)
        for origin, named, size, root, note in self._database.execute("SELECT origin, origin_hash, size, root, note FROM latest"):
            if named != origin_hash(origin):
                raise WitnessDamaged(f"origin {origin!r} under another name")
            if note is not None and not self._has_cosigned(note, Checkpoint(origin, size, root)):
                raise WitnessDamaged(f"size {size} of {origin!r} is not what was cosigned")

    def _has_cosigned(self, note: bytes, tree: Checkpoint) -> bool:
        parsed = Note.parse(note)
        return Checkpoint.parse(parsed.text) == tree and self._key.cosigned_at(parsed) is not None

    def _last_time(self, origin: str) -> int:
        row = self._database.execute("SELECT note FROM latest WHERE origin = ?", (origin,)).fetchone()
        return (self._key.cosigned_at(Note.parse(row[0])) or 0) if row is not None and row[0] is not None else 0

    def _cosign(self, admitted: Admitted) -> Answer:
        refusal = extend(self._latest(admitted.checkpoint.origin), admitted)
        if refusal is not None:
            return refusal
        now, last = self._clock(), self._last_time(admitted.checkpoint.origin)
        if now < last - CLOCK_STEP_S:
            why = f"the witness's clock went back: it shows {now}, its last cosignature {last}\n"
            return Answer(HTTPStatus.SERVICE_UNAVAILABLE, why.encode())
        text = admitted.note.text
        line = self._key.cosign(text, now, self._signer)
        ours = tuple(line for key in self._logs[admitted.checkpoint.origin] for line in admitted.note.lines_of(key.vkey))
        self._persist(admitted.checkpoint, Note(text, (*ours, line)).encode())
        return Answer(HTTPStatus.OK, line.encode())

    def _persist(self, checkpoint: Checkpoint, note: bytes | None) -> None:
        self._database.execute(
            "INSERT INTO latest VALUES (?, ?, ?, ?, ?) ON CONFLICT (origin) DO UPDATE"
            " SET size = excluded.size, root = excluded.root, note = excluded.note",
            (checkpoint.origin, origin_hash(checkpoint.origin), checkpoint.size, checkpoint.root, note),
        )

    def _latest(self, origin: str) -> Checkpoint | None:
        row = self._database.execute("SELECT size, root FROM latest WHERE origin = ?", (origin,)).fetchone()
        return None if row is None else Checkpoint(origin, row[0], row[1])

    def _load_logs(self) -> dict[str, tuple[LogKey, ...]]:
        keys = [LogKey.parse(row[0]) for row in self._database.execute("SELECT vkey FROM log ORDER BY vkey")]
        return {key.origin: tuple(other for other in keys if other.origin == key.origin) for key in keys}


def origin_hash(origin: str) -> str:
    """The name of a log on a witness's monitoring path."""
    return sha256(origin.encode()).hexdigest()
