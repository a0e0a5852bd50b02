"""What a hospital puts into a blind OR: for every cell a row of buckets, in the ring of 32 bits.

Rules
- A resident's bucket of a question is AES of the tag under the question's key: all hospitals name the same one, nobody else any.
- A bucket is a fresh random number other than zero if a resident of this hospital fell into it, zero if none did. The sum over
  hospitals is zero if all were, and hides how many were not; by chance it is zero in one of 2^32.
- Behind the buckets each hospital has slots of its own, `2 * tail` of them. It fills `tail` + one draw of its noise share: a number
  of filled slots that no one else knows, and that is never below zero.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from protocols.canonical import framed
from protocols.secagg.ring import Integers
from protocols.union.resident import TAG_BYTES, ResidentKey

RING = 32
Random = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Shape:
    """Public, from the question and the member set alone. `tail` is the largest draw of a hospital's share, in absolute value."""

    cells: int
    buckets: int
    hospitals: int
    tail: int

    def __post_init__(self) -> None:
        if self.buckets < 2 or self.buckets & (self.buckets - 1):
            raise ValueError(f"buckets: expected a power of two, got {self.buckets}")

    @property
    def width(self) -> int:
        """Of one cell."""
        return self.buckets + self.hospitals * 2 * self.tail

    @property
    def dimension(self) -> int:
        return self.cells * self.width

    @property
    def offset(self) -> int:
        """Slots of a cell that are filled where all noise is zero."""
        return self.hospitals * self.tail


@dataclass(frozen=True, slots=True)
class BucketKey:
    """One question's way from tags to buckets. Another question throws everybody anew."""

    secret: bytes

    @classmethod
    def of(cls, key: ResidentKey, question: bytes) -> "BucketKey":
        return cls(HKDFExpand(SHA256(), 32, framed(b"kapok/v1/buckets", question)).derive(key.secret))

    def buckets_of(self, tags: bytes, buckets: int) -> Integers:
        """Of each tag in a row of them."""
        # Each tag is one block and met once, so the mode that leaks equal blocks has nothing to leak.
        hashed = Cipher(AES(self.secret), ECB()).encryptor().update(tags)  # noqa: S305
        low = np.frombuffer(hashed, dtype="<u8")[:: TAG_BYTES // 8]
        return (low & np.uint64(buckets - 1)).astype(np.int64)


def place_of(shape: Shape, cell: Integers, bucket: Integers) -> Integers:
    """Where a bucket of a cell stands in the vector."""
    return cell * shape.width + bucket


def filled(shape: Shape, places: Integers, hospital: int, noise: Integers, random_bytes: Random) -> Integers:
    """One hospital's vector. `noise` is one draw of its share a cell; `hospital` its number in the counting set."""
    if len(noise) != shape.cells or (len(noise) and int(np.abs(noise).max()) > shape.tail):
        raise ValueError("noise: expected one draw a cell, none beyond the tail")
    is_filled = np.zeros(shape.dimension, dtype=np.bool_)
    is_filled[places] = True
    for cell, drawn in enumerate(noise):
        first = cell * shape.width + shape.buckets + hospital * 2 * shape.tail
        is_filled[first : first + shape.tail + int(drawn)] = True
    vector = np.zeros(shape.dimension, dtype=np.int64)
    vector[is_filled] = _not_zero(int(is_filled.sum()), random_bytes)
    return vector


def _not_zero(count: int, random_bytes: Random) -> Integers:
    """Uniform among 1 .. 2^32 - 1."""
    drawn = np.frombuffer(random_bytes(4 * count), dtype="<u4").astype(np.int64)
    while (zero := np.flatnonzero(drawn == 0)).size:
        drawn[zero] = np.frombuffer(random_bytes(4 * zero.size), dtype="<u4")
    return drawn
