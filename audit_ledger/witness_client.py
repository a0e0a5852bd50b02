"""The log's side of a witness: gets a checkpoint cosigned, and notices a witness that forgot.

Rules
- `old` is the size this client last got cosigned. A first contact sends what it was told (0 if nothing) and takes the
  witness's own size from the 409.
- 409 with a SMALLER size than one we hold the cosignature of: the witness's memory was restored or replaced. To go on
  would let it cosign a second history, so nothing goes on: WitnessBehind, and a person decides.
- 409 with a LARGER size than the log's: the log lost entries, or a twin of it is running: WitnessAhead.
- Only cosignatures that verify under the witness's key are returned; other lines are dropped.
"""

import http.client
import ssl
import threading
from collections.abc import Callable, Sequence
from http import HTTPStatus
from urllib.parse import urlsplit

from audit_ledger.checkpoint import Checkpoint
from audit_ledger.cosignature import WitnessKey
from audit_ledger.errors import (
    BadSignature,
    MalformedNote,
    Superseded,
    WitnessAhead,
    WitnessBehind,
    WitnessConflict,
    WitnessRefused,
    WitnessUnreachable,
)
from audit_ledger.note import Note
from audit_ledger.strict import decimal
from audit_ledger.witness import AddCheckpoint

Consistency = Callable[[int, int], Sequence[bytes]]
"""Gives the consistency proof old -> new; `LogStore.consistency` is one."""

_MAX_ANSWER = 64 << 10


class WitnessClient:
    """One witness of one log, over one connection that stays open. Methods may be called from any thread.

    `cosigned_size` is the size of the largest checkpoint we hold this witness's cosignature of, 0 for none: read it from
    the published checkpoint at start.
    """

    def __init__(
        self, url: str, key: WitnessKey, cosigned_size: int = 0, *, timeout_s: float = 10.0, tls: ssl.SSLContext | None = None
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"witness url is neither http nor https: {url!r}")
        self._path = parts.path.rstrip("/") + "/add-checkpoint"
        self._key = key
        self._cosigned_size = cosigned_size
        self._turn = threading.RLock()
        self._connection = (  # both turn Nagle's algorithm off on connect
            http.client.HTTPSConnection(parts.hostname, parts.port, timeout=timeout_s, context=tls)
            if parts.scheme == "https"
            else http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)
        )

    @property
    def cosigned_size(self) -> int:
        """Size of the largest checkpoint this witness cosigned for us."""
        return self._cosigned_size

    def cosign(self, checkpoint: bytes, consistency: Consistency) -> bytes:
        """The witness's cosignature lines for a signed checkpoint of ours, to be put under it.

        Raises Superseded, WitnessBehind, WitnessAhead, WitnessRefused (`status`), WitnessUnreachable and BadSignature.
        """
        size = Checkpoint.parse(Note.parse(checkpoint).text).size
        with self._turn:
            if size < self._cosigned_size:
                raise Superseded(f"checkpoint {size}: {self._key.name!r} has cosigned {self._cosigned_size} meanwhile")
            try:
                lines = self.add_checkpoint(self._cosigned_size, consistency(self._cosigned_size, size), checkpoint)
            except WitnessConflict as conflict:
                known = self._believe(conflict.size, size)
                lines = self.add_checkpoint(known, consistency(known, size), checkpoint)
            self._cosigned_size = size
            return lines

    def add_checkpoint(self, old: int, proof: Sequence[bytes], checkpoint: bytes) -> bytes:
        """One request, one answer. Raises WitnessConflict with the witness's size on 409."""
        with self._turn:
            status, body = self._post(AddCheckpoint(old, tuple(proof), checkpoint).encode())
        if status == HTTPStatus.CONFLICT:
            raise WitnessConflict(f"witness {self._key.name!r} did not last cosign {old}", _size(body))
        if status != HTTPStatus.OK:
            why = body[:200].decode(errors="replace").strip()
            raise WitnessRefused(f"witness {self._key.name!r} answered {status}: {why}", status)
        return self._verified(checkpoint, body)

    def close(self) -> None:
        """Let go of the connection."""
        with self._turn:
            self._connection.close()

    def _believe(self, theirs: int, size: int) -> int:
        if theirs < self._cosigned_size:
            raise WitnessBehind(
                f"witness {self._key.name!r} says it last cosigned size {theirs}, but we hold its cosignature of size"
                f" {self._cosigned_size}: its database was restored or replaced. Do not go on by hand: the auditor compares"
                f" the published checkpoint with the witness's records, then `kapok-audit pin` puts the witness at size"
                f" {self._cosigned_size}"
            )
        if theirs > size:
            raise WitnessAhead(
                f"witness {self._key.name!r} has cosigned size {theirs}, the log has {size}: the log lost entries, or a"
                " second log runs under its key. Stop it and compare with the witness's latest checkpoint"
            )
        return theirs

    def _verified(self, checkpoint: bytes, lines: bytes) -> bytes:
        try:
            note = Note.parse(Note.parse(checkpoint).text + b"\n" + lines)
        except MalformedNote as cause:
            raise WitnessRefused(f"witness {self._key.name!r} answered no signature lines", HTTPStatus.OK) from cause
        if self._key.cosigned_at(note) is None:
            raise BadSignature(f"witness {self._key.name!r} answered without a cosignature of its key")
        return b"".join(line.encode() for line in note.lines_of(self._key.vkey))

    def _post(self, body: bytes) -> tuple[int, bytes]:
        """Twice, since a connection kept open may have been closed by the other side. The second copy does no harm:

        if the first was taken after all, the witness answers with a 409 of the new size, and a fresh cosignature follows.
        """
        for attempt in (1, 2):
            try:
                self._connection.request("POST", self._path, body, {"Content-Type": "text/plain; charset=utf-8"})
                answer = self._connection.getresponse()
                return answer.status, answer.read(_MAX_ANSWER)
            except (http.client.HTTPException, OSError) as cause:
                self._connection.close()
                if attempt == 2 or isinstance(cause, TimeoutError):
                    raise WitnessUnreachable(f"witness {self._key.name!r}: {type(cause).__name__}: {cause}") from cause
        raise AssertionError("unreachable: the loop returns or raises")


def _size(body: bytes) -> int:
    try:
        return decimal(body.removesuffix(b"\n"))
    except ValueError as cause:
        raise WitnessRefused("witness answered 409 without a size", HTTPStatus.CONFLICT) from cause
