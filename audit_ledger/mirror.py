"""The auditor's own copy of a log, with what its replay has come to: so that the next audit costs only what is new.

A mirror is a folder on the auditor's disk:
- `log/`: entries and tiles as they were verified, a C2SP log like any other (`kapok-audit verify MIRROR/log` reads it);
- `log/checkpoint`: the newest checkpoint that was verified, and `notes/`: every one of them, byte for byte;
- `state`: the replay at that checkpoint, behind the hash of its bytes, the size and root it belongs to, and the hash of the rules
  that made it. A state that is damaged, of another log or of other rules is not used: all is replayed from the log;
- `evidence/`: pairs of checkpoints that contradict each other.

What is written before a run is complete lies beyond the state's size and is written again: a crash costs one run. The state is read
by a reader that makes values of this project's own kinds and nothing else.
"""

import hashlib
import io
import pickle
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import protocols
from audit_ledger.errors import Malformed, RolledBack
from audit_ledger.findings import Finding, Rule
from audit_ledger.history import Digests, Roots
from audit_ledger.policy import TrustFile
from audit_ledger.replay import Replay
from audit_ledger.tiles import CHECKPOINT_PATH, TileStack
from audit_ledger.view import LedgerView

_MAGIC = b"kapok-audit state 1\n"
_PLAIN = {("collections", "Counter"): Counter, ("decimal", "Decimal"): Decimal}
_OURS = {
    *(f"audit_ledger.{name}" for name in ("authority", "facts", "history", "tree", "view")),
    *(f"protocols.{name}" for name in ("secagg.binding", "secagg.member", "statements.authority", "statements.question")),
}
_ALSO = {
    ("copyreg", "_reconstructor"),
    ("builtins", "object"),
    ("builtins", "set"),
    ("builtins", "frozenset"),
    ("builtins", "bytearray"),
}


@cache
def rules_hash() -> bytes:
    """Of the source of everything that a verdict depends on: a state of other rules says nothing about these."""
    found = hashlib.sha256()
    for package in (Path(__file__).parent, Path(next(iter(protocols.__path__)))):
        for path in sorted(package.rglob("*.py")):
            found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.digest()


@dataclass(slots=True)
class Mirror:
    """See the module's docstring. Who asks it again, as a daemon does, gets the replay that it saved last, not read back."""

    folder: Path
    _held: tuple[bytes, Replay] | None = field(default=None, repr=False, compare=False)

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def note(self) -> bytes | None:
        """The newest checkpoint that was verified before. Raises RolledBack when a mirror has lost it."""
        path = self.log / CHECKPOINT_PATH
        if path.exists():
            return path.read_bytes()
        if self.log.exists() and (self.folder / "state").exists():
            raise RolledBack(f"mirror {self.folder}: its checkpoint is missing; move the folder away, and begin a new mirror")
        return None

    def load(self, trust: TrustFile, size: int, root: bytes) -> Replay | None:
        """The replay at this verified size; None where there is none that can be relied on."""
        head, held, self._held = _head(trust, size, root), self._held, None
        if held is not None and held[0] == head:
            return held[1]  # held again once a run is complete: what breaks off half-way is read back from the disk
        try:
            raw = (self.folder / "state").read_bytes()
        except OSError:
            return None
        digest, body = raw[len(head) : len(head) + 32], raw[len(head) + 32 :]
        if not raw.startswith(head) or hashlib.sha256(body).digest() != digest:
            return None
        kept = _Reader(io.BytesIO(body)).load()
        view: LedgerView = kept["view"]
        view.roots, view.seen_ids, view.ended = (
            Roots.decode(kept["roots"]), Digests.decode(kept["seen"]), Digests.decode(kept["ended"]),
        )  # fmt: skip
        findings = [Finding(index, Rule(rule), detail) for index, rule, detail in kept["findings"]]
        return Replay(view, stack=TileStack(kept["levels"]), kinds=kept["kinds"], findings=findings)

    def save(self, trust: TrustFile, replay: Replay, note: bytes, is_new: bool = True) -> None:
        """Keeps what was verified. The checkpoint goes last: without it the state belongs to nothing.

        `is_new`: False where the replay is as it was read from here, and only a cosignature's time has changed.
        """
        head = _head(trust, replay.stack.size, replay.stack.root())
        if is_new:
            _write(self.folder / "state", head + _body(replay))
        _write(self.folder / "notes" / f"{replay.stack.size:012d}-{replay.stack.root().hex()[:16]}.note", note)
        _write(self.log / CHECKPOINT_PATH, note)
        self._held = head, replay

    def save_evidence(self, notes: tuple[bytes, bytes]) -> list[Path]:
        return write_evidence(self.folder / "evidence", notes)


def _body(replay: Replay) -> bytes:
    """The replay behind the hash of its bytes."""
    view = replay.view
    roots, seen, ended = view.roots, view.seen_ids, view.ended
    kept: dict[str, Any] = {
        "roots": roots.encode(),
        "seen": seen.encode(),
        "ended": ended.encode(),
        "levels": replay.stack.levels,
    }
    # As texts: some versions of Python (3.11.2 is one) pickle a member of an enumeration as a call, which is not read.
    kept["findings"] = [(each.index, each.rule.value, each.detail) for each in replay.findings]
    view.roots, view.seen_ids, view.ended = Roots(), Digests(), Digests()  # encoded above, in a tenth of the room
    try:
        body = pickle.dumps({**kept, "view": view, "kinds": replay.kinds}, protocol=5)
    finally:
        view.roots, view.seen_ids, view.ended = roots, seen, ended
    return hashlib.sha256(body).digest() + body


def write_evidence(folder: Path, notes: tuple[bytes, bytes]) -> list[Path]:
    """Two checkpoints, byte for byte, named by their content."""
    paths = [folder / f"{hashlib.sha256(each).hexdigest()[:16]}.note" for each in notes]
    for path, note in zip(paths, notes, strict=True):
        _write(path, note)
    return paths


def _head(trust: TrustFile, size: int, root: bytes) -> bytes:
    return _MAGIC + rules_hash() + trust.entry0 + size.to_bytes(8, "big") + root


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    partial.write_bytes(content)
    partial.replace(path)


class _Reader(pickle.Unpickler):
    """Makes what this project's own classes are made of, and nothing that runs."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _PLAIN:
            return _PLAIN[(module, name)]
        if module in _OURS or (module, name) in _ALSO:
            found = super().find_class(module, name)
            # What a module has from elsewhere, or reaches through a dot, is not its own: a file or a process among them.
            if (module, name) in _ALSO or (isinstance(found, type) and (found.__module__, found.__qualname__) == (module, name)):
                return found
        raise Malformed(f"mirror: a state holds no {module}.{name}; somebody else wrote it")
