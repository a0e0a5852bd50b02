"""Seeds sealed to the auditor: HPKE base mode (RFC 9180, X25519, HKDF-SHA256, AES-256-GCM), bound to (u, member).

A plain query seals a fresh seed under (u, i). A training seals one root a segment under v, which binds version, origin, query,
rounds, Ready and member; a round's seed is HKDF-Expand of the root over round, attempt and u. The binding goes into HPKE's
`info`, which for a single message binds as strongly as associated data (RFC 9180 section 8.1; decision 0001).
"""

import hashlib
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from protocols.canonical import b64, framed, number, unb64
from protocols.contract import PROTOCOL_VERSION
from protocols.errors import BadSignature
from protocols.identity import Signer, verifies
from protocols.statements.question import Sealing

SEED_BYTES = 32
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class SealingKey:
    """The auditor's private sealing key of one month."""

    __slots__ = ("_key", "month", "public")

    def __init__(self, key: X25519PrivateKey, month: str) -> None:
        self._key, self.month = key, month
        self.public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    @classmethod
    def generate(cls, month: str) -> Self:
        return cls(X25519PrivateKey.generate(), month)

    @classmethod
    def from_bytes(cls, raw: bytes, month: str) -> Self:
        return cls(X25519PrivateKey.from_private_bytes(raw), month)

    def secret(self) -> bytes:
        return self._key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())

    def certificate(self, origin: str, service: Signer) -> Sealing:
        signature = service.sign(_certified(origin, self.month, self.public))
        return Sealing(month=self.month, key=b64(self.public), signature=b64(signature))

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """The seed sealed under `context`; raises BadSignature if it was sealed under another one or to another key."""
        try:
            seed = _SUITE.decrypt(sealed, self._key, info=context)
        except (InvalidTag, ValueError):
            raise BadSignature("sealed seed: not sealed to this key for this member and binding") from None
        if len(seed) != SEED_BYTES:
            raise BadSignature(f"sealed seed: expected {SEED_BYTES} bytes, got {len(seed)}")
        return seed


def seal(seed: bytes, to: bytes, context: bytes) -> bytes:
    return _SUITE.encrypt(seed, X25519PublicKey.from_public_bytes(to), info=context)


def require_sealing_key(certificate: Sealing, origin: str, service: bytes) -> bytes:
    """The X25519 sealing key, if the auditor's service key signed it for this log and month; raises BadSignature otherwise."""
    key = unb64(certificate.key, 32)
    if not verifies(service, unb64(certificate.signature), _certified(origin, certificate.month, key)):
        raise BadSignature("sealing key: not signed by the auditor's service key")
    return key


def query_context(binding_value: bytes, uri: str) -> bytes:
    """(u, i) for a plain query."""
    return framed(b"kapok/v1/seal", binding_value, uri.encode())


def union_context(binding_value: bytes, uri: str) -> bytes:
    """(u, i) for a question for residents: another label, so that an opener which would hand out the sum cannot open the seed."""
    return framed(b"kapok/v1/seal-union", binding_value, uri.encode())


def segment_context(origin: str, query: bytes, first_round: int, last_round: int, ready: bytes, uri: str) -> bytes:
    """v and i for a training segment's root."""
    parts = (number(PROTOCOL_VERSION), origin.encode(), query, number(first_round), number(last_round), ready, uri.encode())
    return framed(b"kapok/v1/segment", hashlib.sha256(framed(*parts)).digest(), uri.encode())


def round_seed(root: bytes, round_: int, attempt: int, binding_value: bytes) -> bytes:
    return HKDFExpand(SHA256(), SEED_BYTES, framed(b"seed", number(round_), number(attempt), binding_value)).derive(root)


def _certified(origin: str, month: str, key: bytes) -> bytes:
    return framed(b"kapok/v1/sealing", origin.encode(), month.encode(), key)


def round_message(binding_value: bytes, uri: str, sealed_sha256: bytes, masked_sha256: bytes) -> bytes:
    """What a member signs in each round of a training; a plain query's receipt says the same as a statement."""
    return framed(b"kapok/v1/round", binding_value, uri.encode(), sealed_sha256, masked_sha256)


def chained(head: bytes, digest: bytes) -> bytes:
    """The next head of a segment's hash chain, which its one receipt signs; the first head is 32 zero bytes."""
    return hashlib.sha256(framed(b"kapok/v1/chain", head, digest)).digest()
