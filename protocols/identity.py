"""Who is who: identities are URIs, keys are Ed25519, and a key is known by the SHA-256 of its 32 bytes.

The URI is what a certificate's subject alternative name holds, what a statement's `by` holds and what the authority maps to keys.
"""

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Protocol, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from protocols.errors import MalformedBytes

KEYS_KEPT = 4096
VERIFIED_KEPT = 256  # a statement is judged, appended and bundled within moments: each signature is computed once
_P = 2**255 - 19
_ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER_Y = frozenset({0, 1, _P - 1, _ORDER_8, _P - _ORDER_8})
_URI = re.compile(r"kapok://(hospital|bureau|auditor|coordinator)/([a-z0-9][a-z0-9-]{0,62})")


class Role(StrEnum):
    HOSPITAL = "hospital"
    BUREAU = "bureau"
    AUDITOR = "auditor"
    COORDINATOR = "coordinator"


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """A party of the city, written `kapok://<role>/<name>`."""

    role: Role
    name: str

    @classmethod
    def parse(cls, uri: str) -> Self:
        match = _URI.fullmatch(uri)
        if match is None:
            raise MalformedBytes("expected an identity like kapok://hospital/h01")
        return cls(Role(match[1]), match[2])

    def __str__(self) -> str:
        return f"kapok://{self.role}/{self.name}"


class Signer(Protocol):
    """Something that holds an Ed25519 key: a file today, a signing process tomorrow."""

    @property
    def public(self) -> bytes: ...

    def sign(self, message: bytes) -> bytes: ...


class SigningKey:
    """An Ed25519 private key in memory. `repr` shows the fingerprint only."""

    __slots__ = ("_key", "public")

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    @classmethod
    def generate(cls) -> Self:
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> Self:
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    def seed(self) -> bytes:
        """The 32 secret bytes, for key files and backups only."""
        return self._key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)

    def __repr__(self) -> str:
        return f"SigningKey({fingerprint(self.public)[:16]}…)"


def is_small_order(public: bytes) -> bool:
    """Whether an Ed25519 key is one of the eight points for which anybody can sign (RFC 8032 verification does not refuse them)."""
    return (int.from_bytes(public, "little") & (2**255 - 1)) % _P in _SMALL_ORDER_Y


@lru_cache(VERIFIED_KEPT)
def verifies(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether `signature` is this key's over `message`. A malformed key or signature, and a key of small order, is simply False."""
    try:
        key = _verifying(public)
        if key is not None:
            key.verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return key is not None


@lru_cache(KEYS_KEPT)
def _verifying(public: bytes) -> Ed25519PublicKey | None:
    """A city has few keys and many signatures. None for a key of small order; raises ValueError for what is no key."""
    return None if is_small_order(public) else Ed25519PublicKey.from_public_bytes(public)


@lru_cache(KEYS_KEPT)
def fingerprint(public: bytes) -> str:
    """What a hospital reads out on the telephone: lower-case hex SHA-256 of the raw 32-byte key."""
    return hashlib.sha256(public).hexdigest()
