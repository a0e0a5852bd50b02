"""A quantile from a noisy histogram over public bins, with the interval that the noise leaves.

The p-quantile is where the count below, taken as straight inside a bin, is p of the whole: where T(x) = below(x) - p * whole is 0.
T is linear in the released bins, so at every x its noise has a known variance, and the interval is every x at which T(x) could
be 0: test inversion, which needs no large counts. The bins' own width, and the straight line inside a bin, are no noise:
what the interval covers is the quantile that the exact histogram would give.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STEPS_PER_BIN = 8
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Quantile:
    """In bins from the lowest edge, fractions included."""

    value: float
    low: float
    high: float


def quantile(counts: Sequence[float] | Floats, variance: float, p: float, z: float) -> Quantile | None:
    """None where the whole histogram cannot be told from nothing. `variance` is that of the noise in each bin."""
    bins = np.asarray(counts, dtype=np.float64)
    size, whole = len(bins), float(np.sum(bins))
    if whole <= z * math.sqrt(size * variance):
        return None
    places = np.arange(size * STEPS_PER_BIN + 1) / STEPS_PER_BIN
    bin_ = np.minimum(places.astype(np.int64), size - 1)
    inside = places - bin_
    below = np.concatenate(([0.0], np.cumsum(bins)))[bin_] + inside * bins[bin_]
    off = below - p * whole
    noise = variance * ((1 - p) ** 2 * bin_ + (inside - p) ** 2 + p**2 * (size - bin_ - 1))
    possible = np.flatnonzero(np.abs(off) <= z * np.sqrt(noise))
    value = _crossing(places, off)
    # One step more at each end: the truth may lie between two of the places tried.
    low = min(value, (places[possible[0]] if len(possible) else value) - 1 / STEPS_PER_BIN)
    high = max(value, (places[possible[-1]] if len(possible) else value) + 1 / STEPS_PER_BIN)
    return Quantile(value, max(float(low), 0.0), min(float(high), float(size)))


def _crossing(places: Floats, off: Floats) -> float:
    """Where `off` rises through 0; the middle of the first and the last such place, where noise makes several."""
    rises = np.flatnonzero((off[:-1] < 0) & (off[1:] >= 0))
    ends = [places[n] + (places[n + 1] - places[n]) * (-off[n]) / (off[n + 1] - off[n]) for n in (rises[0], rises[-1])]
    return float(sum(ends) / 2)
