"""What a witness cosigns: only a tree that extends the last one it cosigned. C2SP tlog-witness 1.0.0, add-checkpoint.

Rules, in this order
- 400 a body that is not `old <size>`, at most 63 hashes, an empty line and a checkpoint; 404 an unknown origin; 403 no
  signature of a key trusted for the origin, or a line that claims one and lies; 400 old above the checkpoint's size;
- 409 old is not the size last cosigned (the body says which it is, `text/x.tlog.size`);
- 422 a consistency proof that does not verify, a non-empty one for old 0 or for old = size, one size with two roots, or
  size 0 with another root than SHA-256("").
- Same size and same root is no error but a fresh timestamp.

No IO here. `admit` needs no state, so it runs before the transaction; `extend` compares with the state, so the store runs
it inside the very transaction that persists the result.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from audit_ledger.checkpoint import Checkpoint, open_checkpoint
from audit_ledger.errors import BadProof, BadSignature, Malformed, MalformedRequest, UnknownLog
from audit_ledger.note import LogKey, Note
from audit_ledger.strict import base64_line, decimal, unbase64_hash
from audit_ledger.tree import EMPTY_ROOT, verify_consistency

MAX_PROOF = 63
SIZE_TYPE = "text/x.tlog.size"


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """The body of a request; `checkpoint` is a signed note, verbatim."""

    old: int
    proof: tuple[bytes, ...]
    checkpoint: bytes

    def encode(self) -> bytes:
        """The body."""
        return f"old {self.old}\n".encode() + b"".join(map(base64_line, self.proof)) + b"\n" + self.checkpoint

    @classmethod
    def parse(cls, raw: bytes) -> "AddCheckpoint":
        """Raises MalformedRequest. The checkpoint is not looked into."""
        head, separator, checkpoint = raw.partition(b"\n\n")
        first, *lines = head.split(b"\n", MAX_PROOF + 2)
        if not separator or not first.startswith(b"old "):
            raise MalformedRequest("add-checkpoint body is not an old size, a proof, an empty line and a checkpoint")
        if len(lines) > MAX_PROOF:
            raise MalformedRequest(f"add-checkpoint body has more than {MAX_PROOF} proof lines")
        try:
            return cls(decimal(first.removeprefix(b"old ")), tuple(map(unbase64_hash, lines)), checkpoint)
        except ValueError as cause:
            raise MalformedRequest(f"add-checkpoint body: {cause}") from cause


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: HTTPStatus
    body: bytes
    media_type: str = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Admitted:
    """A well-formed request over a checkpoint its log signed."""

    request: AddCheckpoint
    note: Note
    checkpoint: Checkpoint


def admit(raw: bytes, logs: Mapping[str, tuple[LogKey, ...]]) -> Admitted | Answer:
    """The request, or the refusal that needs no look at what was cosigned before."""
    try:
        request = AddCheckpoint.parse(raw)
        note = Note.parse(request.checkpoint)
        origin = Checkpoint.parse(note.text).origin
    except Malformed as cause:
        return _refusal(HTTPStatus.BAD_REQUEST, cause)
    if origin not in logs:
        return _refusal(HTTPStatus.NOT_FOUND, "origin is not one this witness knows")
    try:
        checkpoint = open_checkpoint(note, logs[origin])
    except (UnknownLog, BadSignature) as cause:
        return _refusal(HTTPStatus.FORBIDDEN, cause)
    if request.old > checkpoint.size:
        return _refusal(HTTPStatus.BAD_REQUEST, f"old size {request.old} is above the checkpoint's {checkpoint.size}")
    return Admitted(request, note, checkpoint)


def extend(latest: Checkpoint | None, admitted: Admitted) -> Answer | None:
    """The refusal that follows from what was cosigned last, None when the checkpoint extends it."""
    size = 0 if latest is None else latest.size
    if admitted.request.old != size:
        return Answer(HTTPStatus.CONFLICT, f"{size}\n".encode(), SIZE_TYPE)
    root = EMPTY_ROOT if latest is None else latest.root
    tree = admitted.checkpoint
    try:
        verify_consistency(size, tree.size, admitted.request.proof, root, tree.root)
    except BadProof as cause:
        return _refusal(HTTPStatus.UNPROCESSABLE_ENTITY, cause)
    return None


def _refusal(status: HTTPStatus, why: object) -> Answer:
    return Answer(status, f"{why}\n".encode())
