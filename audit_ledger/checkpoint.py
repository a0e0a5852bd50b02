"""Checkpoints: what a log says its tree is. C2SP tlog-checkpoint 1.0.0.

Rules
- Exactly three lines: origin, decimal size, base64 root. Extension lines are refused: no monitor can audit them.
- The log key's name is the origin.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from audit_ledger.errors import MalformedCheckpoint, MalformedNote, UnknownLog
from audit_ledger.note import LogKey, Note, Signer, demand_name
from audit_ledger.strict import base64_line, decimal, unbase64_hash


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One tree of one log."""

    origin: str
    size: int
    root: bytes

    def text(self) -> bytes:
        """The note text, which is what gets signed."""
        return f"{self.origin}\n{self.size}\n".encode() + base64_line(self.root)

    @classmethod
    def parse(cls, text: bytes) -> "Checkpoint":
        """Raises MalformedCheckpoint."""
        lines = text.split(b"\n")
        if len(lines) != 4 or lines[3]:
            raise MalformedCheckpoint(f"checkpoint has {len(lines) - 1} lines, expected origin, size and root")
        try:
            return cls(demand_name(lines[0].decode()), decimal(lines[1]), unbase64_hash(lines[2]))
        except (ValueError, MalformedNote) as cause:
            raise MalformedCheckpoint(f"checkpoint: {cause}") from cause


def sign_checkpoint(checkpoint: Checkpoint, key: LogKey, signer: Signer) -> Note:
    """The note with the log's signature. The caller answers for never signing two trees that contradict each other."""
    if key.origin != checkpoint.origin:
        raise ValueError(f"checkpoint of {checkpoint.origin!r} cannot be signed as {key.origin!r}")
    text = checkpoint.text()
    return Note(text, (key.sign(text, signer),))


def open_checkpoint(note: Note, keys: Iterable[LogKey]) -> Checkpoint:
    """The checkpoint, signed by one of `keys` whose name is its origin.

    Raises MalformedCheckpoint, UnknownLog (no such key signed) and BadSignature (a line claims one and lies).
    """
    checkpoint = Checkpoint.parse(note.text)
    signed = [note.signed_by(key) for key in keys if key.origin == checkpoint.origin]
    if not any(signed):
        raise UnknownLog(f"checkpoint of {checkpoint.origin!r} has no signature of a key trusted for that origin")
    return checkpoint
