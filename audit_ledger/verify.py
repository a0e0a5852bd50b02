"""Verifies a whole ledger from a folder or over HTTP, with the trust file alone: hashes, signatures, and every rule by replay.

Rules
- The checkpoint is signed by the log of the trust file and cosigned by its quorum. Its age is shown, not enforced: an archive is
  verified too.
- All entries are read once, in order, through `LedgerView`; they must hash to the signed root, and every tile to its entries.
- What cannot be read ends the run as "could not check", never as verified and never as tampering.
- `mirror` keeps the entries that were verified, so that a monitor reads and replays only what is new to it, and a log that no
  longer begins with them is evidence.
"""

import re
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audit_ledger.checkpoint import Checkpoint
from audit_ledger.errors import LedgerError, Malformed, RolledBack, Tampering, TreeMismatch, Unavailable, Untrusted
from audit_ledger.findings import Finding
from audit_ledger.policy import Cosigned, TrustFile
from audit_ledger.tiles import (
    CHECKPOINT_PATH,
    Fetch,
    TileReader,
    check_log,
    decode_bundle,
    encode_bundle,
    folder_fetch,
    hash_tile,
    tiles_between,
)
from audit_ledger.tree import FullTree, leaf_hash
from audit_ledger.view import LedgerView

TIMEOUT_S = 30
_PAYLOAD_TYPE = re.compile(rb'"payloadType":"application/vnd\.kapok\.([a-z-]+)\.v1\+json"')
_BATCH = 256
Progress = Callable[[int, int], None]
"""Told (done, of) after every batch of entries."""


@dataclass(slots=True)
class LedgerReport:
    """What was verified, up to which entry, and what was found. `broken` is evidence that ended the run."""

    target: str
    origin: str = ""
    size: int = 0
    root: str = ""
    cosigned: dict[str, int] = field(default_factory=dict)
    verified_to: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    broken: LedgerError | None = None
    view: LedgerView | None = None

    @property
    def is_verified(self) -> bool:
        return self.broken is None and not self.findings

    def to_json(self) -> dict[str, Any]:
        return {
            "target": self.target,
            "verdict": "verified" if self.is_verified else "evidence",
            "origin": self.origin,
            "size": self.size,
            "root": self.root,
            "cosigned": self.cosigned,
            "verified_to": self.verified_to,
            "entries": dict(sorted(self.kinds.items())),
            "findings": [{"index": f.index, "rule": str(f.rule), "detail": f.detail} for f in self.findings],
            "broken": {"code": self.broken.code, "message": str(self.broken)} if self.broken else None,
        }


def http_fetch(url: str) -> Fetch:
    """Reads a log that is served over HTTP."""

    def fetch(path: str) -> bytes:
        try:
            with urllib.request.urlopen(f"{url.rstrip('/')}/{path}", timeout=TIMEOUT_S) as answer:  # noqa: S310 - http(s) only, see `fetch_of`
                return bytes(answer.read())
        except (urllib.error.URLError, OSError, ValueError) as cause:
            raise Unavailable(f"log file {path} cannot be had from {url}: {type(cause).__name__}") from cause

    return fetch


def fetch_of(target: str) -> Fetch:
    return http_fetch(target) if target.startswith(("http://", "https://")) else folder_fetch(Path(target))


def verify_ledger(
    target: str, trust: TrustFile, now: int, progress: Progress = lambda *_: None, mirror: Path | None = None
) -> LedgerReport:
    """Raises Unavailable when the target cannot be read; everything else is in the report."""
    report, fetch = LedgerReport(target), fetch_of(target)
    try:
        cosigned = _checkpoint(report, fetch, trust, now)
        tree = _replay(report, fetch, trust, cosigned.checkpoint, progress, mirror)
        _tiles(fetch, cosigned.checkpoint.size, tree)
        if not target.startswith(("http://", "https://")):
            check_log(Path(target), trust.policy)  # the folder's stray partials too
    except LedgerError as error:
        if exit_code(error) != 1:
            raise
        report.broken = error
    return report


def exit_code(error: LedgerError) -> int:
    """1 for evidence (what was published contradicts itself or lacks a signature), 3 for what could not be checked."""
    return 1 if isinstance(error, Tampering | Malformed | Untrusted) else 3


def _checkpoint(report: LedgerReport, fetch: Fetch, trust: TrustFile, now: int) -> Cosigned:
    cosigned = trust.policy.open(fetch(CHECKPOINT_PATH))
    checkpoint = cosigned.checkpoint
    report.origin, report.size, report.root = checkpoint.origin, checkpoint.size, checkpoint.root.hex()
    report.cosigned = dict(cosigned.times)
    trust.policy.accept(cosigned, now, None)
    return cosigned


def _replay(
    report: LedgerReport, fetch: Fetch, trust: TrustFile, checkpoint: Checkpoint, progress: Progress, mirror: Path | None
) -> FullTree:
    report.view, tree = LedgerView(trust.entry0), FullTree()
    kept = Mirror(mirror).entries() if mirror else []
    if len(kept) > checkpoint.size:
        raise RolledBack(f"checkpoint of size {checkpoint.size}, but {len(kept)} entries were verified before")
    fresh: list[bytes] = []
    for entry in _entries(fetch, checkpoint.size, kept):
        if tree.size >= len(kept):
            fresh.append(entry)
        tree.append(leaf_hash(entry))
        report.findings += report.view.apply(entry)
        report.kinds[_kind(entry)] += 1
        if tree.size % _BATCH == 0:
            progress(tree.size, checkpoint.size)
    if tree.root() != checkpoint.root:
        raise TreeMismatch(f"{checkpoint.size} entries do not hash to the signed root")
    report.verified_to = checkpoint.size
    if mirror:
        Mirror(mirror).append(len(kept), fresh)
    return tree


def _entries(fetch: Fetch, size: int, kept: list[bytes]) -> Iterator[bytes]:
    yield from kept
    yield from TileReader(fetch, size).read_entries(len(kept), size)


def _kind(entry: bytes) -> str:
    """For the tally only: the replay has parsed the entry, and names what is malformed."""
    found = _PAYLOAD_TYPE.search(entry)
    return found[1].decode() if found else "malformed"


def _tiles(fetch: Fetch, size: int, tree: FullTree) -> None:
    for tile in tiles_between(0, size):
        if tile.level is None:
            continue
        expected = hash_tile(tile, tree)
        try:
            found = fetch(tile.path)
        except Unavailable:
            found = fetch(tile.full.path)[: len(expected)]
        if found != expected:
            raise TreeMismatch(f"tile {tile.path} does not hold the hashes of its entries")


@dataclass(frozen=True, slots=True)
class Mirror:
    """An auditor's own copy of verified entries: one file per append, named by its first index, each an entry bundle."""

    folder: Path

    def entries(self) -> list[bytes]:
        """Raises RolledBack when a file is missing: a copy with a gap is no memory."""
        found: list[bytes] = []
        for path in sorted(self.folder.glob("*.entries"), key=lambda each: int(each.stem)):
            if int(path.stem) != len(found):
                raise RolledBack(f"mirror {self.folder}: expected entries from {len(found)}, got {path.name}")
            raw = path.read_bytes()
            found += decode_bundle(raw[8:], int.from_bytes(raw[:8], "big"))
        return found

    def append(self, start: int, entries: list[bytes]) -> None:
        if not entries:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / f"{start:012d}.part"
        partial.write_bytes(len(entries).to_bytes(8, "big") + encode_bundle(entries))
        partial.replace(self.folder / f"{start:012d}.entries")


def spelled_age(now: int, then: int) -> str:
    seconds = max(0, now - then)
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7200:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h" if seconds < 172_800 else f"{seconds // 86_400} d"
