"""The ring of a round: unsigned integers modulo 2^32 or 2^64, by dtype overflow, decoded as signed.

The ring is 64 bits wide as soon as n times the largest honest cell plus every share's tail could reach 2^31: noise must never
wrap silently (spec of the masks, step 5). Both numbers are public and checked at admission.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[Any]
Integers = npt.NDArray[np.int64]

_DTYPES: dict[int, np.dtype[Any]] = {32: np.dtype("<u4"), 64: np.dtype("<u8")}


def ring_bits(reach: int) -> int:
    """32 or 64: the narrowest ring that holds sums up to `reach` in absolute value. Raises where even 64 bits do not."""
    if reach >= 2**63:
        raise OverflowError(f"an entry may reach {reach}, the widest ring holds 2^63")
    return 64 if reach >= 2**31 else 32


def dtype_of(bits: int) -> np.dtype[Any]:
    if bits not in _DTYPES:
        raise ValueError(f"expected a ring of 32 or 64 bits, got {bits}")
    return _DTYPES[bits]


def into_ring(values: Integers, bits: int) -> Vector:
    """Signed integers as ring elements (a fresh array)."""
    return values.astype("<i8", copy=False).view("<u8").astype(dtype_of(bits))


def from_ring(elements: Vector, bits: int) -> Integers:
    """Ring elements as the signed integers nearest zero."""
    return elements.astype(dtype_of(bits), copy=False).view(f"<i{bits // 8}").astype(np.int64)
