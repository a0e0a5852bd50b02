"""The journal's file: its tables, how it is opened, emptied of what was deleted, and copied."""

import sqlite3
from contextlib import suppress
from pathlib import Path

from hospital_node.errors import JournalFailed

PATIENCE_MS = 10_000
_VERSION = 1
_SCHEMA = """
CREATE TABLE note(name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE entry(place INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TABLE spent(purpose TEXT, block TEXT, single TEXT NOT NULL, doubled TEXT NOT NULL, PRIMARY KEY(purpose, block)) STRICT;
CREATE TABLE ready(query TEXT, first_round INTEGER, last_round INTEGER NOT NULL, id BLOB NOT NULL, sequence INTEGER NOT NULL,
    not_after INTEGER NOT NULL, month TEXT NOT NULL, generation TEXT NOT NULL, envelope BLOB NOT NULL,
    is_closed INTEGER NOT NULL DEFAULT 0, PRIMARY KEY(query, first_round)) STRICT;
CREATE TABLE accepted(query TEXT, round INTEGER, attempt INTEGER, binding BLOB NOT NULL, PRIMARY KEY(query, round, attempt)) STRICT;
CREATE TABLE contribution(query TEXT, round INTEGER, attempt INTEGER, binding BLOB NOT NULL, sealed BLOB NOT NULL,
    receipt BLOB NOT NULL, round_signature BLOB NOT NULL, masked BLOB NOT NULL, PRIMARY KEY(query, round, attempt)) STRICT;
CREATE TABLE agreement(month TEXT PRIMARY KEY, seed BLOB NOT NULL) STRICT;
CREATE TABLE bounding(period TEXT PRIMARY KEY, key BLOB NOT NULL) STRICT;
CREATE TABLE question(query TEXT PRIMARY KEY, at INTEGER NOT NULL, outcome TEXT NOT NULL, price TEXT NOT NULL,
    reasons TEXT NOT NULL) STRICT;
CREATE TABLE outbox(id BLOB PRIMARY KEY, envelope BLOB NOT NULL) STRICT;
"""
_INDEXES = """
CREATE INDEX IF NOT EXISTS ready_sequence ON ready(sequence);
CREATE INDEX IF NOT EXISTS ready_window ON ready(not_after);
"""
"""Readys are looked up by their order and by their windows with every question, and every second."""


def open_journal(path: Path) -> sqlite3.Connection:
    """Made where there is none. Raises sqlite3.Error, and JournalFailed for a file of another version."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    is_new = not path.exists()
    database = sqlite3.connect(path, isolation_level=None, timeout=PATIENCE_MS / 1000, check_same_thread=False)
    try:
        if is_new:
            path.chmod(0o600)
        _set_up(database, path)
    except BaseException:
        database.close()
        raise
    return database


def _set_up(database: sqlite3.Connection, path: Path) -> None:
    for setting in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", "trusted_schema=OFF"):
        database.execute(f"PRAGMA {setting}")
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        database.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version={_VERSION}; COMMIT;")
    elif version != _VERSION:
        raise JournalFailed(f"{path}: of version {version}, expected {_VERSION}")
    with suppress(sqlite3.OperationalError):  # a full disk has no room for them: then it takes longer, and nothing else
        database.executescript(_INDEXES)


def is_log_kept(database: sqlite3.Connection) -> bool:
    """Empties the write-ahead log, which holds what was deleted; whether a reader elsewhere keeps it as it is."""
    database.execute("PRAGMA busy_timeout=0")  # nobody waits for a stranger's reading
    try:
        [(is_busy, _, _)] = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        database.execute(f"PRAGMA busy_timeout={PATIENCE_MS}")
    return bool(is_busy)


def copy_to(database: sqlite3.Connection, target: Path) -> None:
    """A copy without agreement keys and vectors, in which every Ready is closed."""
    partial = target.with_name(target.name + ".part")
    partial.unlink(missing_ok=True)
    copy = sqlite3.connect(partial, isolation_level=None)
    try:
        partial.chmod(0o600)
        database.backup(copy)
        copy.executescript(
            "PRAGMA journal_mode=DELETE; PRAGMA secure_delete=ON; DELETE FROM agreement; DELETE FROM contribution; "
            "UPDATE ready SET is_closed = 1; VACUUM;"
        )
    finally:
        copy.close()
    partial.replace(target)
