"""Integer noise from a table by inversion: at most the table's stated distance per draw from the ideal distribution.

Rules (spec: choice 4, pitfall 13):
 1. A draw is the value whose cumulative interval holds a uniform 128-bit number: 64 bits, and 64 more that break a tie.
 2. The bits come from the operating system. There is no seedable generator here; another `BitSource` can only be passed in.
 3. No state between calls, so a forked process repeats nothing.

The 128 bits are taken lazily: 16 bits settle a draw wherever no boundary lies inside their bucket (99.9 % of draws at
sigma 10), the rest draw 128 fresh bits of which 16 are replaced by the ones already used. The number compared is the same;
the rate is the operating system's generator at two bytes a draw instead of eight. Running time and the number of bytes read
depend on the draws, so nobody may time a single one (Jin et al. 2022): a node samples in bulk, before its answer slot.
"""

import os
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from privacy.tables import GUIDE_BITS, NoiseTable

CHUNK = 1 << 16
"""Draws per pass; guide, bits and result of a pass stay in the second-level cache."""


class BitSource(Protocol):
    """`size` bytes, uniform and independent of all others. In production this is `os.urandom`."""

    def __call__(self, size: int, /) -> bytes: ...


def draw(table: NoiseTable, count: int, random_bytes: BitSource = os.urandom) -> NDArray[np.int64]:
    """`count` independent draws."""
    drawn = np.empty(count, dtype=np.int64)
    for start in range(0, count, CHUNK):
        _fill(drawn[start : start + CHUNK], table, random_bytes)
    return drawn


def _fill(drawn: NDArray[np.int64], table: NoiseTable, random_bytes: BitSource) -> None:
    top = np.frombuffer(random_bytes(2 * drawn.size), dtype="<u2")
    values = table.guide.take(top)
    drawn[:] = values
    unsettled = np.flatnonzero(values == table.unsettled)
    if unsettled.size:
        drawn[unsettled] = _settle(top[unsettled], table, random_bytes)


def _settle(top: NDArray[np.uint16], table: NoiseTable, random_bytes: BitSource) -> NDArray[np.int64]:
    """Compares 128 bits: the 16 already drawn, 48 more, and 64 that matter only on a tie."""
    fresh = np.frombuffer(random_bytes(16 * top.size), dtype="<u8").reshape(-1, 2)
    high = (top.astype(np.uint64) << np.uint64(64 - GUIDE_BITS)) | (fresh[:, 0] >> np.uint64(GUIDE_BITS))
    reached = np.searchsorted(table.high, high, side="right")
    tied = np.flatnonzero(table.high[reached - 1] == high)  # where none is reached, -1 is the largest, which is not equal
    for place in tied:
        reached[place] = _boundaries_reached(table, int(high[place]), int(fresh[place, 1]))
    return reached - table.tail_bound


def _boundaries_reached(table: NoiseTable, high: int, low: int) -> int:
    first, after = (int(np.searchsorted(table.high, np.uint64(high), side)) for side in ("left", "right"))
    return first + int(np.searchsorted(table.low[first:after], np.uint64(low), side="right"))
