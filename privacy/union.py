"""How many residents stand behind a number of filled buckets, and how sure that is (`DISTINCT.md`).

`filled` is what was released: buckets that are not empty, plus the noise of hospitals and auditor, minus their known offsets. n
residents thrown into m buckets fill m (1 - (1 - 1/m)^n) of them on average; the estimate is the n whose average is `filled` (linear
counting, Whang et al. 1990). It may be negative, as every noisy count, and does not exist where all buckets would be full.

The interval inverts the test "would n residents give this?", with the variance of the occupancy and of the noise, as if normal: it
covers chance in the throw as well as noise. Measured in the tests.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from statistics import NormalDist
from typing import Protocol

from privacy.errors import InvalidVariance
from privacy.intervals import LEVEL
from privacy.rdp import share_variance
from privacy.tables import skellam_table

MOST_PER_BUCKET = 8
"""Residents a bucket up to which an end of the interval is looked for; above it nearly all buckets are full."""


@dataclass(frozen=True, slots=True)
class Distinct:
    """An estimated number of residents with its interval; `high` None is "too many to say"."""

    value: float
    low: float
    high: float | None


def total_variance(variance: Fraction, members: int, n: int, colluders: int) -> Fraction:
    """Of all noise in a released number: `variance` by the auditor alone, and by the hospitals what n - colluders need for it."""
    return variance + members * share_variance(variance, n, colluders)


class Piece(Protocol):
    """Of a release, as `protocols.asked.Piece` states it; `resident` only where residents are counted."""

    @property
    def variance(self) -> Fraction: ...
    @property
    def resident(self) -> tuple[int, int] | None: ...


def released_variance(piece: Piece, members: int, n: int, colluders: int) -> Fraction:
    """Of all noise in a released number: all members draw a share that is sized for n, and of residents the auditor the whole."""
    if piece.resident is not None:
        return total_variance(piece.variance, members, n, colluders)
    return members * share_variance(piece.variance, n, colluders)


def hospital_tail(variance: Fraction, n: int, colluders: int) -> int:
    """The largest noise, in absolute value, that one hospital can draw for a cell: half the slots it has."""
    return skellam_table(share_variance(variance, n, colluders)).tail_bound


def auditor_tail(variance: Fraction) -> int:
    """The same of the auditor."""
    return skellam_table(variance).tail_bound


def distinct(filled: int, buckets: int, noise_variance: Fraction, level: Fraction = LEVEL) -> Distinct | None:
    """None where the buckets are too few to say anything.

    Raises: InvalidVariance.
    """
    if noise_variance <= 0:
        raise InvalidVariance(f"noise variance: expected above 0, got {noise_variance}")
    if filled >= buckets:
        return None
    z = NormalDist().inv_cdf(float((1 + level) / 2))

    def excess(n: float) -> float:
        """How far above `filled` the average of n lies, in standard deviations, half a step aside."""
        return (_mean(n, buckets) - filled) / math.sqrt(_variance(n, buckets) + float(noise_variance))

    step = 0.5 / math.sqrt(float(noise_variance))
    most = float(MOST_PER_BUCKET * buckets)
    low = _root(lambda n: excess(n) + z + step, -most, most)
    high = _root(lambda n: excess(n) - z - step, -most, most)
    return Distinct(math.log1p(-filled / buckets) / math.log1p(-1 / buckets), low, None if high >= most - 1 else high)


def relative_sd(residents: int, buckets: int, noise_variance: Fraction) -> float:
    """The standard deviation of the estimate over the truth, to first order: what to choose a number of buckets by."""
    slope = math.exp(-residents / buckets)
    return math.sqrt(_variance(residents, buckets) + float(noise_variance)) / slope / residents


def _mean(n: float, buckets: int) -> float:
    return -buckets * math.expm1(n * math.log1p(-1 / buckets))


def _variance(n: float, buckets: int) -> float:
    """Of the number of filled buckets; nothing for no residents."""
    if n <= 0:
        return 0.0
    one, two = math.exp(n * math.log1p(-1 / buckets)), math.exp(n * math.log1p(-2 / buckets)) if buckets > 2 else 0.0
    return max(buckets * (buckets - 1) * two + buckets * one - (buckets * one) ** 2, 0.0)


def _root(rises: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising function passes zero, to a hundredth; an end where it does not."""
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (low, middle) if rises(middle) > 0 else (middle, high)
    return (low + high) / 2
