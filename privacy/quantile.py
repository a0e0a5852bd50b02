"""A quantile from a noisy histogram over public bins, with the interval that the noise leaves.

The p-quantile is where the count below, taken as straight inside a bin, is p of the whole: where T(x) = below(x) - p * whole is 0.
T is linear in the released bins, so at every x its noise has a known variance, and the interval is from the first x to the last at
which T(x) could be 0: test inversion, which needs no large counts. Inside a bin both are polynomials of x, so that the ends are
roots of a quadratic. The bins' own width, and the straight line inside a bin, are no noise:
what the interval covers is the quantile that the exact histogram would give.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST_WHOLE = 4
"""Standard deviations of its own noise that the whole has to reach: of thirty thousand groups that nobody is in, one is told. The
interval of one that is told is right at any count; a threshold at 95 % would give a median to every fortieth group of nobody."""
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
    if whole <= max(z, LEAST_WHOLE) * math.sqrt(size * variance):
        return None
    # T at the edges, and at each bin's lower one what its square must not pass: z^2 v (k + (u - p)^2), u being the place inside.
    off = np.concatenate(([0.0], np.cumsum(bins))) - p * whole
    number = np.arange(size)
    reach, fixed = z**2 * variance, (1 - p) ** 2 * number + p**2 * (size - number - 1)
    value = _crossing(off)
    possible = _possible(off[:-1], bins, reach, fixed, p)
    low, high = min([value, *possible]), max([value, *possible])
    return Quantile(value, max(low, 0.0), min(high, float(size)))


def _possible(off: Floats, bins: Floats, reach: float, fixed: Floats, p: float) -> list[float]:
    """Every place at which (off + u bins)^2 <= reach (fixed + (u - p)^2) begins or ends to hold, and each edge at which it does."""
    square, middle = bins**2 - reach, off * bins + reach * p
    rest = off**2 - reach * (fixed + p**2)
    root = np.sqrt(np.maximum(middle**2 - square * rest, 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = np.stack([(-middle - root) / square, (-middle + root) / square])
    is_end = (ends >= 0) & (ends <= 1) & (middle**2 >= square * rest)
    edges = [float(n) for n in np.flatnonzero(rest <= 0)]
    edges += [float(n + 1) for n in np.flatnonzero(square + 2 * middle + rest <= 0)]
    return [*edges, *(np.arange(len(bins)) + ends)[is_end].tolist()]


def _crossing(off: Floats) -> float:
    """Where `off`, told at every edge, rises through 0; the middle of the first and the last such place, if noise makes several."""
    rises = np.flatnonzero((off[:-1] < 0) & (off[1:] >= 0))
    ends = [n + (-off[n]) / (off[n + 1] - off[n]) for n in (rises[0], rises[-1])]
    return float(sum(ends) / 2)
