"""A variance from three noisy sums: deviations from a public middle, their squares, and how many they are.

The interval is that of the noise alone, by the first-order error of q / n - (d / n)^2 at the released sums. Where the count is
not `LEAST_COUNT` of its noise's standard deviations away from zero, that order is not enough, and nothing is told. Sums in whole
steps carry rounding: Sheppard's twelfth of a step is taken off.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

LEAST_COUNT = 8
SHEPPARD = 1 / 12


@dataclass(frozen=True, slots=True)
class NoisySum:
    """A released sum and the variance of its noise."""

    value: float
    variance: float


@dataclass(frozen=True, slots=True)
class Spread:
    """A variance in squared steps with its interval; the ends are not below zero."""

    value: float
    low: float
    high: float


def spread(sums: Sequence[NoisySum], z: float) -> Spread | None:
    """Of the sums of deviations and of squares, and the count; None where that is too close to 0 for a first-order error."""
    deviations, squares, count = sums
    n = count.value
    if n <= LEAST_COUNT * math.sqrt(count.variance):
        return None
    mean, square = deviations.value / n, squares.value / n
    value = square - mean**2 - SHEPPARD
    slopes = (-2 * mean, 1.0, 2 * mean**2 - square)
    noises = (deviations.variance, squares.variance, count.variance)
    error = z * math.sqrt(sum(slope**2 * noise for slope, noise in zip(slopes, noises, strict=True))) / n
    return Spread(max(value, 0.0), max(value - error, 0.0), max(value + error, 0.0))
