"""Verifies a whole ledger from a folder or over HTTP, with the trust file alone: hashes, signatures, and every rule by replay.

Rules
- The checkpoint is signed by the log of the trust file and cosigned by its quorum. Its age is shown, not enforced: an archive is
  verified too.
- All entries are read once, in order, through `LedgerView`; they must hash to the signed root, and every tile to its entries.
- Every other checkpoint that the auditor holds (the mirror's own, and those handed over) must be of the same history: one that is
  not is a fork, and both notes are the evidence.
- What cannot be read ends the run as "could not check", never as verified and never as tampering.
- A log that follows another is verified with it: from the trust in the first, each next one is taken by the rules of `periods`.
- A `Mirror` keeps what was verified, so that the next run reads and replays only what is new to it.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from audit_ledger.checkpoint import Checkpoint
from audit_ledger.errors import LedgerError, Malformed, NoPast, SplitView, Tampering, TreeMismatch, Untrusted
from audit_ledger.fetching import fetch_of, is_url
from audit_ledger.findings import Finding
from audit_ledger.mirror import Mirror, write_evidence
from audit_ledger.note import Note
from audit_ledger.overdue import overdue
from audit_ledger.periods import carried, next_trust
from audit_ledger.policy import Cosigned, TrustFile
from audit_ledger.reading import Wanted
from audit_ledger.replay import Dates, Progress, Replay
from audit_ledger.tiles import CHECKPOINT_PATH, Fetch, Tile, TileReader, check_partials
from audit_ledger.tree import root_at
from audit_ledger.vectors import Vectors
from audit_ledger.view import LedgerView


@dataclass(slots=True)
class LedgerReport:
    """What was verified, up to which entry, and what was found. `broken` is evidence that ended the run."""

    target: str
    origin: str = ""
    size: int = 0
    root: str = ""
    cosigned: dict[str, int] = field(default_factory=dict)
    witnessed: int | None = None
    verified_to: int = 0
    read_from: int = 0
    hashes_only: bool = False
    kinds: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    broken: LedgerError | None = None
    evidence: list[Path] = field(default_factory=list)
    unseen: list[int] = field(default_factory=list)
    vectors: Vectors | None = None
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
            "read_from": self.read_from,
            "hashes_only": self.hashes_only,
            "entries": dict(sorted(self.kinds.items())),
            "findings": [{"index": f.index, "rule": str(f.rule), "detail": f.detail} for f in self.findings],
            "broken": {"code": self.broken.code, "message": str(self.broken)} if self.broken else None,
            "evidence": [str(each) for each in self.evidence],
            "checkpoints_beyond": self.unseen,
            "rederived": self.vectors.rederived if self.vectors else None,
            "not_rederived": self.vectors.gone if self.vectors else None,
        }


@dataclass(frozen=True, slots=True)
class Audit:
    """How to verify: what to keep, what to compare with, and on how many processes. `keeps` holds every question in memory.

    `begun` makes the view that the logs before this one carry into it (`verified_past`); `vectors` counts over all of them.
    """

    mirror: Mirror | None = None
    checkpoints: tuple[bytes, ...] = ()
    evidence: Path | None = None
    processes: int = 2
    keeps: bool = False
    hashes_only: bool = False
    vectors: Vectors | None = None
    begun: Callable[[], LedgerView] | None = None


def verify_ledger(
    target: str,
    trust: TrustFile,
    now: int,
    progress: Progress = lambda *_: None,
    audit: Audit = Audit(),
) -> LedgerReport:
    """Raises Unavailable when the target cannot be read; everything else is in the report."""
    report = LedgerReport(target, hashes_only=audit.hashes_only)
    try:
        _Run(report, target, trust, now, audit).verify(progress)
    except LedgerError as error:
        if exit_code(error) != 1:
            raise
        report.broken = error
        if isinstance(error, SplitView):
            folder = audit.mirror.folder / "evidence" if audit.mirror else audit.evidence
            report.evidence = write_evidence(folder, error.notes) if folder else []
    return report


def exit_code(error: LedgerError) -> int:
    """1 for evidence (what was published contradicts itself or lacks a signature), 3 for what could not be checked."""
    return 1 if isinstance(error, Tampering | Malformed | Untrusted) else 3


def verified_past(
    after: Sequence[str], target: str, trust: TrustFile, now: int, progress: Progress = lambda *_: None, audit: Audit = Audit()
) -> tuple[TrustFile, Callable[[], LedgerView]] | LedgerReport:
    """The trust in the log at `target` and the view it begins with, from the trust in the first of the logs `after`, oldest first.

    Of `audit` the processes and the vectors are used: each log's releases are made again. Gives back the report of the first log
    that is not verified. Raises NotSuccessor where a log does not follow the one before it.
    """
    begun: Callable[[], LedgerView] | None = None
    for old, following in pairwise([*after, target]):
        report = verify_ledger(old, trust, now, progress, Audit(processes=audit.processes, vectors=audit.vectors, begun=begun))
        if not report.is_verified or report.view is None:
            return report
        [entry0] = TileReader(fetch_of(following), _size_at(following)).read_entries(0, 1)
        trust = next_trust(trust, report.view, entry0, now)
        begun = partial(carried, report.view, trust.entry0)
    if begun is None:
        raise ValueError("no log before")
    return trust, begun


def _size_at(target: str) -> int:
    return Checkpoint.parse(Note.parse(fetch_of(target)(CHECKPOINT_PATH)).text).size


class _Run:
    """One audit of one target."""

    def __init__(self, report: LedgerReport, target: str, trust: TrustFile, now: int, audit: Audit) -> None:
        self.report, self.target, self.trust, self.now, self.audit = report, target, trust, now, audit
        self.fetch: Fetch = fetch_of(target)
        self._kept: Replay | None = None

    def verify(self, progress: Progress) -> None:
        note = self.fetch(CHECKPOINT_PATH)
        cosigned = self._checkpoint(note)
        before = self._before(note, cosigned.checkpoint)
        replay = self._resumed(before)
        replay.dates = Dates.between(self._witnessed(before[0]) if before and replay.stack.size else None, self._witnessed(note))
        replay.vectors = self.report.vectors = self.audit.vectors
        self.report.read_from, self.report.verified_to = replay.stack.size, replay.stack.size
        self.report.view, self.report.findings, self.report.kinds = replay.view, replay.findings, replay.kinds
        self._carry_on(replay, cosigned.checkpoint, progress, note, before)
        self._require_past(replay.view)
        self._compare(note, cosigned.checkpoint)
        if not is_url(self.target):
            check_partials(Path(self.target))
        if self.audit.hashes_only:
            return  # nothing that a later audit of the rules could read on from
        if self.audit.mirror is not None:
            self.audit.mirror.save(self.trust, replay, note, replay is not self._kept or replay.stack.size > self.report.read_from)
        self.report.findings = [*replay.findings, *overdue(replay.view, self._witnessed(note) or self.now)]

    def _require_past(self, view: LedgerView) -> None:
        root = view.authority.root
        if root is not None and root.previous is not None and self.audit.begun is None:
            raise NoPast(f"log {root.log} follows {root.previous.origin}: verify it with that log, and the trust file of that log")

    def _witnessed(self, note: bytes) -> int | None:
        return self.trust.policy.evaluate(note, self.now, None).witness_time

    def _checkpoint(self, note: bytes) -> Cosigned:
        cosigned = self.trust.policy.open(note)
        checkpoint, report = cosigned.checkpoint, self.report
        report.origin, report.size, report.root = checkpoint.origin, checkpoint.size, checkpoint.root.hex()
        report.cosigned = dict(cosigned.times)
        report.witnessed = self.trust.policy.accept(cosigned, self.now, None).witness_time
        return cosigned

    def _before(self, note: bytes, today: Checkpoint) -> tuple[bytes, Checkpoint] | None:
        """The mirror's own checkpoint. Raises SplitView where today's is no later state of it."""
        kept = self.audit.mirror.note() if self.audit.mirror else None
        if kept is None:
            return None
        before = self.trust.policy.open(kept).checkpoint
        if before.size > today.size:
            raise SplitView(f"checkpoint of size {today.size}, but {before.size} entries were verified before", (kept, note))
        if before.size == today.size and before.root != today.root:
            raise SplitView(f"two roots at size {today.size}", (kept, note))
        return kept, before

    def _resumed(self, before: tuple[bytes, Checkpoint] | None) -> Replay:
        if before is not None and self.audit.mirror is not None and not self.audit.hashes_only:
            self._kept = self.audit.mirror.load(self.trust, before[1].size, before[1].root)
        return self._kept or Replay(self.audit.begun() if self.audit.begun else LedgerView(self.trust.entry0))

    def _carry_on(
        self, replay: Replay, today: Checkpoint, progress: Progress, note: bytes, before: tuple[bytes, Checkpoint] | None
    ) -> None:
        mirror, audit = self.audit.mirror.log if self.audit.mirror else None, self.audit
        wanted = Wanted(self.target, today.size, 0, 0, 0, {}, mirror, keeps_entries=audit.keeps, hashes_only=audit.hashes_only)
        try:
            replay.run(wanted, self._check_tile, progress, audit.processes)
            if replay.stack.root() != today.root:
                raise TreeMismatch(f"{today.size} entries do not hash to the signed root")
        except TreeMismatch:
            if before is not None and self._is_fork(before[1], today):
                raise SplitView(
                    f"the log of {today.size} entries does not begin with the {before[1].size} verified before", (before[0], note)
                ) from None
            raise
        self.report.verified_to = today.size

    def _is_fork(self, before: Checkpoint, today: Checkpoint) -> bool:
        """Whether what is served hashes to today's root and not to the earlier one: then it is no damage, but another history."""
        try:
            read = TileReader(self.fetch, today.size).read_hash
            return root_at(today.size, read) == today.root and root_at(before.size, read) != before.root
        except LedgerError:
            return False

    def _compare(self, note: bytes, today: Checkpoint) -> None:
        """Every checkpoint that was handed over, and the mirror's where the replay began anew."""
        kept = self.audit.mirror.note() if self.audit.mirror else None
        for other in (*self.audit.checkpoints, *([kept] if kept is not None else [])):
            checkpoint = self.trust.policy.open(other).checkpoint
            if checkpoint.size > today.size:
                self.report.unseen.append(checkpoint.size)
            elif root_at(checkpoint.size, TileReader(self.fetch, today.size).read_hash) != checkpoint.root:
                raise SplitView(f"two roots at size {checkpoint.size}", (other, note))

    def _check_tile(self, tile: Tile, expected: bytes) -> None:
        if TileReader(self.fetch, self.report.size).hashes(tile) != expected:
            raise TreeMismatch(f"tile {tile.path} does not hold the hashes of its entries")


def spelled_age(now: int, then: int) -> str:
    seconds = max(0, now - then)
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7200:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h" if seconds < 172_800 else f"{seconds // 86_400} d"
