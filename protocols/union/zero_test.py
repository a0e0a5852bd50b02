"""How many buckets of a blind OR are not zero, and nothing else: the coordinator holds Y, the auditor holds S.

A bucket's sum is Y - S modulo 2^32. The coordinator encrypts Y under a key of its own (ElGamal in the exponent, over P-256). The
auditor takes S off, multiplies by a fresh secret, adds a fresh encryption of zero and slots of its own noise, shuffles each cell,
and hands back x coordinates. A zero comes back as an encryption of zero with fresh randomness, everything else as two independent
random points: what the coordinator sees depends on the NUMBER of zeros of each cell alone, whatever it sent
(`privacy/DISTINCT.md`, theorem 1).

Rules
1. The auditor refuses what is not on the curve, or not of the stated length; it never answers twice under one S.
2. Its own slots come from the auditor: no coordinator can take that noise away.
3. Scalars are drawn by the caller's `random_bytes`: 40 bytes each modulo the order, so that none is likelier by 2^-64.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec

from protocols.errors import ProtocolError
from protocols.secagg.ring import Integers
from protocols.union.curve import (
    CURVE,
    ORDER,
    BadPoint,
    Multiples,
    Point,
    base_multiple,
    negative,
    require_point,
    sums,
    x_of_lifted,
    x_of_multiples,
)

Random = Callable[[int], bytes]
WORDS = np.ndarray[Any, np.dtype[np.uint32]]
_NUMBER, POINT_BYTES = 32, 64
ENTRY_BYTES = 2 * POINT_BYTES
BLINDED_BYTES = 2 * _NUMBER


class BadCiphertext(ProtocolError):
    """Bytes that are no encrypted buckets, or none that an honest partner sends."""

    code = "union.ciphertext"


def _scalar(random_bytes: Random) -> int:
    return int.from_bytes(random_bytes(40)) % (ORDER - 1) + 1


def _of_point(point: Point) -> bytes:
    return point[0].to_bytes(_NUMBER) + point[1].to_bytes(_NUMBER)


def _point(raw: bytes) -> Point:
    return require_point(int.from_bytes(raw[:_NUMBER]), int.from_bytes(raw[_NUMBER:]))


@dataclass(frozen=True, slots=True)
class Counter:
    """The coordinator's side of one question. `secret` is fresh, kept until the answer is there, and forgotten with it.

    The same secret encrypts anew after a crash: the auditor answers one public key of a question, and with the same bytes.
    """

    random_bytes: Random
    secret: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        if not self.secret:
            object.__setattr__(self, "secret", _scalar(self.random_bytes))

    @property
    def public(self) -> bytes:
        return _of_point(base_multiple(self.secret))

    def encrypted(self, masked: WORDS) -> bytes:
        """Of each bucket of Y, in order. Knowing the secret, each point is one multiple of the base."""
        made = bytearray()
        for each in masked.tolist():
            hiding = _scalar(self.random_bytes)
            # One more than Y, here as at the auditor, so that a zero is a multiple too.
            hidden = (each + 1 + self.secret * hiding) % ORDER
            if not hidden:
                raise AssertionError("an encryption met the neutral point: likelier is a broken generator")
            made += _of_point(base_multiple(hiding)) + _of_point(base_multiple(hidden))
        return bytes(made)

    def not_zero(self, blinded_cells: Sequence[bytes]) -> list[int]:
        """How many entries of each cell are not zero. Raises BadCiphertext."""
        key = ec.derive_private_key(self.secret, CURVE)
        return [self._of_cell(key, cell) for cell in blinded_cells]

    def _of_cell(self, key: ec.EllipticCurvePrivateKey, cell: bytes) -> int:
        if len(cell) % BLINDED_BYTES:
            raise BadCiphertext("a blinded cell is a list of pairs of x")
        try:
            return sum(
                x_of_lifted(key, cell[at : at + _NUMBER]) != cell[at + _NUMBER : at + BLINDED_BYTES]
                for at in range(0, len(cell), BLINDED_BYTES)
            )
        except BadPoint as error:
            raise BadCiphertext("a blinded cell with an x that is none") from error


def blinded(public: bytes, encrypted: bytes, seeds: WORDS, noise: Integers, tail: int, random_bytes: Random) -> list[bytes]:
    """The auditor's side: S is `seeds`; per cell one draw of noise, no larger than `tail`. Raises BadCiphertext.

    Each cell comes back with 2 * tail entries more, of which tail + noise are not zero.
    """
    if len(public) != POINT_BYTES or len(encrypted) != ENTRY_BYTES * len(seeds):
        raise BadCiphertext("a public key, and one ciphertext a bucket")
    if not len(noise) or len(seeds) % len(noise) or int(np.abs(noise).max()) > tail:
        raise ValueError("noise: expected one draw a cell, none beyond the tail")
    width = len(seeds) // len(noise)
    try:
        holder = Multiples(_point(public))
        entries = [_point(encrypted[at : at + POINT_BYTES]) for at in range(0, len(encrypted), POINT_BYTES)]
        cells = []
        for cell, drawn in enumerate(noise.tolist()):
            mine = slice(cell * width, (cell + 1) * width)
            hiding, hidden = entries[2 * mine.start : 2 * mine.stop : 2], entries[2 * mine.start + 1 : 2 * mine.stop : 2]
            own = _own_slots(holder, tail, drawn, random_bytes)
            real = _fresh(holder, hiding, hidden, seeds[mine].tolist(), random_bytes)
            cells.append(_shuffled([*real, *own], random_bytes))
    except BadPoint as error:
        raise BadCiphertext("ciphertexts that are none") from error
    return cells


def _fresh(
    holder: Multiples, hiding: Sequence[Point], hidden: Sequence[Point], seeds: Sequence[int], random_bytes: Random
) -> list[bytes]:
    """Each entry without its seed, under fresh randomness and a fresh factor."""
    again = [_scalar(random_bytes) for _ in seeds]
    first = sums(hiding, [base_multiple(each) for each in again])
    zero = sums(holder.of(again), [negative(base_multiple(each + 1)) for each in seeds])
    second = sums(hidden, zero)
    return [b"".join(x_of_multiples(_scalar(random_bytes), pair)) for pair in zip(first, second, strict=True)]


def _own_slots(holder: Multiples, tail: int, drawn: int, random_bytes: Random) -> list[bytes]:
    """Encryptions of zero, and pairs of random points: what real entries look like, and none of anybody's making."""
    again = [_scalar(random_bytes) for _ in range(tail - drawn)]
    pairs = [(_scalar(random_bytes), _scalar(random_bytes)) for _ in range(tail + drawn)]
    # Both kinds are made for each slot and one is dropped, so that the multiples, which take the time, are as many for any noise.
    first, both = [*again, *(each for each, _ in pairs)], [*pairs, *zip(again, again, strict=True)]
    empty = [
        a[0].to_bytes(_NUMBER) + b[0].to_bytes(_NUMBER) for a, b in zip(map(base_multiple, first), holder.of(first), strict=True)
    ]
    full = [b"".join(base_multiple(scalar)[0].to_bytes(_NUMBER) for scalar in each) for each in both]
    return [*empty[: len(again)], *full[: len(pairs)]]


def _shuffled(entries: list[bytes], random_bytes: Random) -> bytes:
    """In the order of random 128-bit keys: every order is equally likely but for ties, which 2^-100 do not meet."""
    keys = np.frombuffer(random_bytes(16 * len(entries)), dtype="<u8").reshape(-1, 2)
    return b"".join(entries[n] for n in np.lexsort((keys[:, 1], keys[:, 0])))
