"""Monthly agreement keys, their proof of possession, and the pair keys that hospitals derive from them.

An agreement key is published in Edwards form, so that possession is proved by a plain Ed25519 signature; the X25519 key is its
birational image, u = (1 + y) / (1 - y) mod 2^255 - 19 (RFC 7748 section 4.1), and the X25519 scalar is the Ed25519 one. Using one
key pair for Ed25519 and an X25519 exchange is proven sound by Thormarker (IACR ePrint 2021/509).

k_ij = HKDF-SHA256 of the X25519 secret; `info` holds the version, both identities and both public keys, in the order of the keys.
An all-zero agreement is refused (RFC 7748 section 6.1).
"""

import hashlib
from dataclasses import dataclass
from typing import Self

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from protocols.canonical import b64, framed, unb64
from protocols.errors import BadSignature
from protocols.identity import Signer, SigningKey, is_small_order, verifies
from protocols.statements.question import Agreement

_P = 2**255 - 19


def montgomery(edwards: bytes) -> bytes:
    """The X25519 public key of an Ed25519 public key."""
    # All eight points: with one of order 8 every honest peer's exchange gives zero, after it has accepted the binding.
    if is_small_order(edwards):
        raise BadSignature("agreement key: a point of small order")
    y = int.from_bytes(edwards, "little") & (2**255 - 1)
    return ((1 + y) * pow(1 - y, -1, _P) % _P).to_bytes(32, "little")


@dataclass(frozen=True, slots=True)
class PairKey:
    """The secret two hospitals share for a month, and whether the holder adds the mask (the lower public key) or subtracts it."""

    secret: bytes
    adds: bool

    def __repr__(self) -> str:
        return f"PairKey(adds={self.adds})"


class AgreementKey:
    """A hospital's private agreement key of one month. Destroyed after the month's last window; never in a backup."""

    __slots__ = ("_scalar", "_signing", "month")

    def __init__(self, seed: bytes, month: str) -> None:
        self._signing = SigningKey.from_seed(seed)
        self._scalar = X25519PrivateKey.from_private_bytes(hashlib.sha512(seed).digest()[:32])
        self.month = month

    @classmethod
    def generate(cls, month: str) -> Self:
        return cls(SigningKey.generate().seed(), month)

    @property
    def public(self) -> bytes:
        """Edwards form."""
        return self._signing.public

    def certificate(self, origin: str, uri: str, identity: Signer) -> Agreement:
        """The signed statement of this key that goes into Readys."""
        message = _certified(origin, uri, self.month, self.public)
        signed = {"identity_signature": b64(identity.sign(message)), "possession_signature": b64(self._signing.sign(message))}
        return Agreement(month=self.month, key=b64(self.public), **signed)

    def pair(self, uri: str, peer_uri: str, peer: bytes) -> PairKey:
        """k_ij with `peer` (Edwards form). Raises BadSignature on a degenerate key."""
        try:
            secret = self._scalar.exchange(X25519PublicKey.from_public_bytes(montgomery(peer)))
        except ValueError:
            raise BadSignature("agreement key: the exchange gives zero") from None
        (low_key, low_uri), (high_key, high_uri) = sorted([(self.public, uri.encode()), (peer, peer_uri.encode())])
        info = framed(b"kapok/v1/pair", low_uri, high_uri, low_key, high_key)
        return PairKey(HKDF(SHA256(), 32, None, info).derive(secret), adds=self.public == low_key)


def require_certified(certificate: Agreement, origin: str, uri: str, identity: bytes) -> bytes:
    """The Edwards agreement key, if the identity key signed it and it proves possession; raises BadSignature otherwise."""
    key = unb64(certificate.key, 32)
    message = _certified(origin, uri, certificate.month, key)
    if not verifies(identity, unb64(certificate.identity_signature), message):
        raise BadSignature("agreement key: not signed by the hospital's identity key")
    montgomery(key)
    if not verifies(key, unb64(certificate.possession_signature), message):
        raise BadSignature("agreement key: possession is not proved")
    return key


def _certified(origin: str, uri: str, month: str, key: bytes) -> bytes:
    return framed(b"kapok/v1/agreement", origin.encode(), uri.encode(), month.encode(), key)
