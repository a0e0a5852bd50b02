"""A second implementation of the masks, from SPEC.md and the RFCs alone: no line of `protocols` is used here."""

import hashlib
import hmac
import struct

from Crypto.Cipher import AES
from Crypto.Protocol import HPKE
from Crypto.Protocol.DH import import_x25519_private_key, import_x25519_public_key

P = 2**255 - 19


def frame(*parts: bytes) -> bytes:
    return struct.pack(">Q", len(parts)) + b"".join(struct.pack(">Q", len(part)) + part for part in parts)


def hkdf_expand(key: bytes, info: bytes) -> bytes:
    return hmac.digest(key, info + b"\x01", "sha256")


def hkdf(secret: bytes, info: bytes) -> bytes:
    return hkdf_expand(hmac.digest(bytes(32), secret, "sha256"), info)


def x25519_scalar(seed: bytes) -> bytes:
    return hashlib.sha512(seed).digest()[:32]


def x25519(scalar: bytes, u: int) -> bytes:
    """RFC 7748, section 5, as it stands there."""
    raw = bytearray(scalar)
    raw[0] &= 248
    raw[31] = raw[31] & 127 | 64
    k = int.from_bytes(raw, "little")
    x1, x2, z2, x3, z3, swap = u, 1, 0, u, 1, 0
    for t in reversed(range(255)):
        bit = k >> t & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a, b * b, d * a, c * b
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % P, x1 * (da - cb) ** 2 % P
        x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, P - 2, P) % P).to_bytes(32, "little")


def pair_secret(seed: bytes, uri: str, public: bytes, peer_uri: str, peer: bytes) -> bytes:
    y = int.from_bytes(peer, "little") % 2**255
    shared = x25519(x25519_scalar(seed), (1 + y) * pow(1 - y, -1, P) % P)
    low, high = sorted([(public, uri), (peer, peer_uri)])
    return hkdf(shared, frame(b"kapok/v1/pair", low[1].encode(), high[1].encode(), low[0], high[0]))


def stream(secret: bytes, label: bytes, u: bytes, count: int, bits: int) -> list[int]:
    """`count` words of the key stream, little-endian."""
    cipher = AES.new(hkdf_expand(secret, frame(label, u)), AES.MODE_CTR, nonce=b"", initial_value=0)
    size = bits // 8
    raw = cipher.encrypt(bytes(count * size))
    return [int.from_bytes(raw[at : at + size], "little") for at in range(0, len(raw), size)]


def unseal(sealed: bytes, secret: bytes, info: bytes) -> bytes:
    key = import_x25519_private_key(secret)
    return HPKE.new(receiver_key=key, aead_id=HPKE.AEAD.AES256_GCM, enc=sealed[:32], info=info).unseal(sealed[32:])


def seal(seed: bytes, public: bytes, info: bytes) -> bytes:
    cipher = HPKE.new(receiver_key=import_x25519_public_key(public), aead_id=HPKE.AEAD.AES256_GCM, info=info)
    return cipher.enc + cipher.seal(seed)
