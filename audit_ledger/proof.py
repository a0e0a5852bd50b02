"""tlog-proof files: an entry's place in a cosigned tree, to be checked offline. C2SP c2sp.org/tlog-proof@v1.

Rules
- Lines: the fixed first line; optionally `extra <base64>` (NOT authenticated: never decide on it); `index <n>`; one
  base64 hash per line, leaf sibling first; an empty line; the checkpoint verbatim.
- Verify: the leaf hash is computed from the entry the verifier holds; then log signature, quorum, age, path.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from audit_ledger.errors import MalformedProof
from audit_ledger.policy import FUTURE_TOLERANCE_S, Accepted, Policy
from audit_ledger.strict import base64_line, decimal, unbase64, unbase64_hash
from audit_ledger.tree import leaf_hash, verify_inclusion

HEADER = b"c2sp.org/tlog-proof@v1"
MAX_PATH = 63


@dataclass(frozen=True, slots=True)
class TlogProof:
    """Says that leaf `index` is in the tree of `checkpoint` (a signed note, verbatim)."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    def encode(self) -> bytes:
        """The file."""
        extra = b"" if self.extra is None else b"extra " + base64_line(self.extra)
        path = b"".join(base64_line(step) for step in self.path)
        return HEADER + b"\n" + extra + f"index {self.index}\n".encode() + path + b"\n" + self.checkpoint

    @classmethod
    def parse(cls, raw: bytes) -> "TlogProof":
        """Raises MalformedProof. The checkpoint is not looked into."""
        head, separator, checkpoint = raw.partition(b"\n\n")
        first, *lines = head.split(b"\n", MAX_PATH + 3)
        if not separator or first != HEADER:
            raise MalformedProof(f"tlog-proof does not start with {HEADER.decode()} and end its head with an empty line")
        try:
            extra = unbase64(lines.pop(0)[6:]) if lines and lines[0].startswith(b"extra ") else None
            return cls(_index(lines[:1]), _path(lines[1:]), checkpoint, extra)
        except ValueError as cause:
            raise MalformedProof(f"tlog-proof: {cause}") from cause

    def verify(
        self,
        entry: bytes,
        policy: Policy,
        now: int,
        max_age_s: int | None,
        tolerance_s: int = FUTURE_TOLERANCE_S,
    ) -> Accepted:
        """What the policy says of the checkpoint, once `entry` itself is shown to be in it.

        Raises what `Policy.evaluate` raises, and BadProof.
        """
        accepted = policy.evaluate(self.checkpoint, now, max_age_s, tolerance_s)
        tree = accepted.checkpoint
        verify_inclusion(leaf_hash(entry), self.index, tree.size, self.path, tree.root)
        return accepted


def _index(lines: Sequence[bytes]) -> int:
    if not lines or not lines[0].startswith(b"index "):
        raise ValueError("no index line")
    return decimal(lines[0].removeprefix(b"index "))


def _path(lines: Sequence[bytes]) -> tuple[bytes, ...]:
    if len(lines) > MAX_PATH:
        raise ValueError(f"more than {MAX_PATH} hash lines")
    return tuple(unbase64_hash(line) for line in lines)
