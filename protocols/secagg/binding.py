"""The binding value u: one hash over everything that defines an attempt at a round.

u = SHA-256 of a length-prefixed encoding of: protocol version, log origin, q, r, a, SHA-256 of the round's input, dimension,
ring, scale, variances, n, c, `not_after`, the member set U (identity, agreement key, Ready id) and the counting set K. Every mask
of the attempt depends on u, so parties who were told different things produce garbage and learn nothing.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from protocols.canonical import framed, number, numbers, unframed, unnumber
from protocols.contract import PROTOCOL_VERSION
from protocols.errors import MalformedBytes
from protocols.identity import Identity
from protocols.statements.base import MAX_ROUND

_TAG = b"kapok/v1/binding"


@dataclass(frozen=True, slots=True, order=True)
class Member:
    """One hospital of U: its URI, its agreement key of the month (Edwards form), the id of its Ready."""

    uri: str
    agreement: bytes
    ready: bytes


@dataclass(frozen=True, slots=True)
class Binding:
    """The preimage of u. `variances` are total noise variances per measure in sixteenths; `counting` are the URIs of K."""

    origin: str
    query: bytes
    round: int
    attempt: int
    input_hash: bytes
    dimension: int
    ring: int
    scale: int
    variances: tuple[int, ...]
    n: int
    c: int
    not_after: int
    members: tuple[Member, ...]
    counting: tuple[str, ...]

    def encode(self) -> bytes:
        head = (number(PROTOCOL_VERSION), self.origin.encode(), self.query, number(self.round), number(self.attempt))
        shape = (self.input_hash, number(self.dimension), number(self.ring), number(self.scale), numbers(self.variances))
        noise = (number(self.n), number(self.c), number(self.not_after))
        members = framed(*(framed(each.uri.encode(), each.agreement, each.ready) for each in self.members))
        return framed(_TAG, *head, *shape, *noise, members, framed(*(uri.encode() for uri in self.counting)))

    @property
    def value(self) -> bytes:
        """u itself."""
        return _value(self)

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """Strict inverse of `encode`: sorted members, each once, K within U; raises MalformedBytes otherwise."""
        parts = unframed(raw)
        if len(parts) != 16 or parts[:2] != (_TAG, number(PROTOCOL_VERSION)):
            raise MalformedBytes("not a binding of this protocol version")
        found = cls(
            origin=_text(parts[2]),
            query=parts[3],
            round=unnumber(parts[4]),
            attempt=unnumber(parts[5]),
            input_hash=parts[6],
            dimension=unnumber(parts[7]),
            ring=unnumber(parts[8]),
            scale=unnumber(parts[9]),
            variances=tuple(unnumber(each) for each in unframed(parts[10])),
            n=unnumber(parts[11]),
            c=unnumber(parts[12]),
            not_after=unnumber(parts[13]),
            members=tuple(_member(each) for each in unframed(parts[14])),
            counting=tuple(_text(each) for each in unframed(parts[15])),
        )
        found._require_shape()
        return found

    def _require_shape(self) -> None:
        uris = [each.uri for each in self.members]
        if uris != sorted(set(uris)) or list(self.counting) != sorted(set(self.counting)):
            raise MalformedBytes("members and counting set must be sorted, each once")
        if not set(self.counting) <= set(uris):
            raise MalformedBytes("the counting set is not within the member set")
        if self.round > MAX_ROUND:
            raise MalformedBytes(f"a round is at most {MAX_ROUND}")
        if self.ring not in (32, 64) or len(self.query) != 32 or len(self.input_hash) not in (0, 32):
            raise MalformedBytes("a ring has 32 or 64 bits, a query id and an input hash 32 bytes")

    def member(self, uri: str) -> Member | None:
        return next((each for each in self.members if each.uri == uri), None)


@lru_cache(64)
def _value(binding: Binding) -> bytes:
    # Every receipt and signature of a round is compared with it.
    return hashlib.sha256(binding.encode()).digest()


def _text(raw: bytes) -> str:
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError:
        raise MalformedBytes("expected ASCII") from None


def _member(raw: bytes) -> Member:
    parts = unframed(raw)
    if len(parts) != 3 or len(parts[1]) != 32 or len(parts[2]) != 32:
        raise MalformedBytes("a member is its URI, a 32-byte key and a 32-byte Ready id")
    return Member(str(Identity.parse(_text(parts[0]))), parts[1], parts[2])
