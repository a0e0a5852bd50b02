"""Mask streams and their sums: y_i = x_i + noise_i + PRG(s_i) + sum over j of ± PRF(k_ij; u), in the ring.

Streams are AES-256 in counter mode from a zero block, each under a key that is used once: HKDF-Expand of the seed or of the pair
key over u. Streams are generated in 256 KiB pieces into one reused buffer and added in place, so that the cost is that of the
keystream and the additions alone.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from protocols.canonical import framed
from protocols.errors import ProtocolError
from protocols.secagg.agreement import PairKey
from protocols.secagg.ring import Integers, Vector, dtype_of, from_ring, into_ring

PIECE_BYTES = 256 * 1024
_ZEROS = memoryview(bytes(PIECE_BYTES))
_ADD = {True: np.add, False: np.subtract}


class MasksRemain(ProtocolError):
    """The sum is not a sum of honest contributions: members were told different bindings, or one lied about its masks."""

    code = "secagg.masks_remain"


def _stream_key(secret: bytes, label: bytes, binding_value: bytes) -> bytes:
    return HKDFExpand(SHA256(), 32, framed(label, binding_value)).derive(secret)


def _add_streams(total: Vector, streams: Iterable[tuple[bytes, bool]]) -> None:
    """Adds (or, where False, subtracts) the AES-256-CTR stream of each key, piece by piece: the sum stays in the cache."""
    steps = [(Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor().update_into, _ADD[adds]) for key, adds in streams]
    buffer = bytearray(PIECE_BYTES)
    words: np.ndarray[Any, Any] = np.frombuffer(buffer, dtype=total.dtype)
    for start in range(0, len(total), len(words)):
        piece = total[start : start + len(words)]
        zeros, stream = _ZEROS[: piece.nbytes], words[: len(piece)]
        for write_into, combine in steps:
            write_into(zeros, buffer)
            combine(piece, stream, piece)


def mask(exact_with_noise: Integers, bits: int, binding_value: bytes, seed: bytes, pairs: Iterable[PairKey]) -> Vector:
    """y_i of one member. `exact_with_noise` is x_i plus its noise share; `pairs` are its keys with all other members of U."""
    total = into_ring(exact_with_noise, bits)
    between = ((_stream_key(pair.secret, b"pair", binding_value), pair.adds) for pair in pairs)
    _add_streams(total, [(_stream_key(seed, b"self", binding_value), True), *between])
    return total


def masked_sum(mask_and_noise: Vector, exact: Integers, bits: int) -> Vector:
    """y_i from the mask of a noise share (`mask` of the noise alone) and x_i: the same ring elements as `mask` of their sum."""
    return np.add(mask_and_noise, into_ring(exact, bits))


def seed_stream_sum(seeds: Iterable[bytes], dimension: int, bits: int, binding_value: bytes) -> Vector:
    """What the auditor hands out: the sum of the members' PRG(s_i)."""
    total = np.zeros(dimension, dtype_of(bits))
    _add_streams(total, [(_stream_key(seed, b"self", binding_value), True) for seed in seeds])
    return total


def unmask(masked: Mapping[str, Vector], stream_sum: Vector, bits: int, reach: int) -> Integers:
    """The noisy sum. Raises MasksRemain if any cell is farther from zero than honest members can bring it (`reach`)."""
    total = np.zeros(len(stream_sum), dtype_of(bits))
    for each in masked.values():
        if each.shape != total.shape or each.dtype != total.dtype:
            raise MasksRemain("a masked vector has another length or ring than the stream sum")
        np.add(total, each, out=total)
    np.subtract(total, stream_sum, out=total)
    values = from_ring(total, bits)
    if len(values) and (int(values.max()) > reach or int(values.min()) < -reach):
        raise MasksRemain("the masked vectors do not cancel: members hold different bindings, or a contribution is not as bound")
    return values


def vector_hash(elements: Vector) -> bytes:
    """SHA-256 of ring elements, little-endian."""
    return hashlib.sha256(np.ascontiguousarray(elements).data).digest()


def values_hash(values: Integers) -> bytes:
    """SHA-256 of released integers, big-endian two's complement of 8 bytes: what a `release` entry commits to."""
    return hashlib.sha256(values.astype(">i8").tobytes()).digest()
