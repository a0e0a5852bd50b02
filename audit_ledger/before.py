"""The logs before a party's own: what it keeps of them, and how it moves on to the next one.

A home's `before/` is the home as it was in the last period: its `trust.policy`, the closed log in `ledger/` (a C2SP log like any
other, with the final cosigned checkpoint), and its own `before/`. `begun` gives the follower of the present log with all that those
carry into it.

A move is made ready in `next/` (`make_ready`) and counts once `next/trust.policy` is on the disk. `finish` then puts the files of
the old log into `before/` and those of the next one into their place, by renames that may be done again: a crash between two of
them is finished by the next start.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from audit_ledger.checkpoint import Checkpoint
from audit_ledger.errors import Damaged, Malformed, NotSuccessor
from audit_ledger.fetching import fetch_of
from audit_ledger.follower import Follower
from audit_ledger.note import Note
from audit_ledger.party.home import Home
from audit_ledger.periods import carried
from audit_ledger.policy import TrustFile
from audit_ledger.tiles import (
    CHECKPOINT_PATH,
    WIDTH,
    Fetch,
    TileReader,
    encode_bundle,
    folder_fetch,
    hash_tile,
    tiles_between,
    write_tile,
)
from audit_ledger.tree import FullTree, leaf_hash
from audit_ledger.view import LedgerView

_ORIGIN = re.compile(r"^origin *=.*$", re.MULTILINE)
"""The line of a `config.toml` that names the log; a JSON string is a TOML basic string as well."""
_SQLITE = ("", "-wal", "-shm", ".lock")
_OF_ONE_LOG = (
    "ledger",
    *(f"log.sqlite{end}" for end in _SQLITE),
    *(f"opener.sqlite{end}" for end in _SQLITE),
    "keys/log.key",
    "founding",
    "trust.policy",
)
"""What belongs to one period's log alone, in any party's home."""


@dataclass(frozen=True, slots=True)
class PastLog:
    """A closed log as this party followed it to its end, with the logs before it."""

    trust: TrustFile
    view: LedgerView
    folder: Path
    note: bytes
    before: "PastLog | None"

    @classmethod
    def read(cls, home: Home) -> "PastLog | None":
        """What the party keeps of the log before its present one. Raises Damaged where it is not what was followed."""
        if not home.has("before/trust.policy"):
            return None
        place = Home(home.path / "before")
        trust, before = place.trust(), cls.read(place)
        entries, note = fetched(folder_fetch(place.path / "ledger"))
        view = before.carry(trust.entry0) if before else LedgerView(trust.entry0)
        for entry in entries:
            view.apply(entry)
        if not view.is_closed or view.range.root() != Checkpoint.parse(Note.parse(note).text).root:
            raise Damaged(f"{place.path / 'ledger'}: not the closed log that was followed; bring it from another copy")
        return cls(trust, view, place.path / "ledger", note, before)

    def carry(self, entry0: bytes) -> LedgerView:
        """The view that the next log begins with."""
        return carried(self.view, entry0)

    @property
    def reader(self) -> TileReader:
        return TileReader(folder_fetch(self.folder), self.view.size)


def homes(home: Home) -> Iterator[Home]:
    """This home, and below it those of the periods before, newest first."""
    yield home
    if home.has("before/trust.policy"):
        yield from homes(Home(home.path / "before"))


def begun(home: Home) -> Follower:
    """The follower of this party's log, with what the logs before it carry; it has followed nothing of its own log yet."""
    follower, past = Follower(home.trust()), PastLog.read(home)
    if past is not None:
        follower.view = past.carry(follower.trust.entry0)
    return follower


def fetched(fetch: Fetch) -> tuple[list[bytes], bytes]:
    """A log's entries and its checkpoint; nothing of it is verified. Raises a LedgerError for what cannot be had."""
    note = fetch(CHECKPOINT_PATH)
    size = Checkpoint.parse(Note.parse(note).text).size
    return list(TileReader(fetch, size).read_entries(0, size)), note


def follow_to_its_close(follower: Follower, target: str, now: int) -> tuple[list[bytes], bytes]:
    """The whole log in a folder or at a URL, verified to its close. Raises NotSuccessor where it has none."""
    entries, note = fetched(fetch_of(target))
    follower.follow(follower.size, entries[follower.size :], note, now, max_age_s=None)
    if not follower.view.is_closed:
        raise NotSuccessor(f"{target}: not closed yet, so nothing follows it")
    return entries, note


def take_next(home: Home, entry0: bytes, target: str, now: int) -> TrustFile:
    """Moves a party to the log that begins with `entry0`, once the closed log at `target` was followed. Raises NotSuccessor."""
    old = begun(home)
    closed = follow_to_its_close(old, target, now)
    trust = old.successor(entry0, now).trust
    make_ready(home, trust, closed)
    finish(home)
    return trust


def entry0_in(founding: Path) -> bytes:
    """The first entry of a founding file, unverified. Raises Malformed."""
    try:
        return bytes(json.loads(founding.read_bytes())[0].encode())
    except (ValueError, LookupError, AttributeError, TypeError):
        raise Malformed(f"{founding}: expected a founding file, a JSON list of envelopes") from None


def make_ready(home: Home, trust: TrustFile, old: tuple[Sequence[bytes], bytes] | None) -> None:
    """Puts what the next log's party needs into `next/`. `old`: the closed log, where the home has no copy in `ledger/`."""
    staged = home.path / "next"
    if old is not None:
        write_log(staged / "before" / "ledger", *old)
    (staged / "before").mkdir(parents=True, exist_ok=True)
    if home.has("config.toml") and not home.has("next/config.toml"):
        named = (home.path / "config.toml").read_text("utf-8")
        origin = trust.policy.logs[0].key.origin
        home.write("next/config.toml", _ORIGIN.sub(lambda _: f"origin = {json.dumps(origin)}", named).encode())
    home.write("next/trust.policy", trust.encode())  # last: from here on the move is finished, whatever happens


def write_log(folder: Path, entries: Sequence[bytes], note: bytes) -> None:
    """Entries, tiles and checkpoint of a log that was verified; the checkpoint last."""
    tree = FullTree()
    tree.extend(leaf_hash(entry) for entry in entries)
    for tile in tiles_between(0, len(entries)):
        at = tile.index * WIDTH
        content = encode_bundle(entries[at : at + tile.width]) if tile.level is None else hash_tile(tile, tree)
        write_tile(folder, tile, content)
    Home(folder).write(CHECKPOINT_PATH, note)


def finish(home: Home) -> bool:
    """Ends a move that was made ready; whether there was one. Every step may be done again after a crash."""
    if not home.has("next/trust.policy"):
        return False
    staged, kept = home.path / "next", home.path / "next" / "before"
    if kept.exists():
        of_the_log = [*_OF_ONE_LOG, *(["config.toml"] if home.has("next/config.toml") else []), "before"]
        for name in of_the_log:
            _put_aside(home.path / name, kept / name)
        kept.rename(home.path / "before")
    files = sorted(each for each in staged.rglob("*") if each.is_file())
    for path in sorted(files, key=lambda each: each == staged / "trust.policy"):  # last, since it says that there is more to do
        target = home.path / path.relative_to(staged)
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.replace(target)
    shutil.rmtree(staged)
    _sync(home.path)
    return True


def _put_aside(source: Path, target: Path) -> None:
    if source.exists() and not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        source.rename(target)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
