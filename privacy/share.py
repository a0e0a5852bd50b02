"""The share of one entry in a noisy histogram, with the interval that the noise leaves.

With c the entry, N the sum of all m entries and v the variance of each one's noise, p is the share where c - p N is 0, and the
noise of c - p N has variance v (1 - 2 p + m p^2), since the entry is a part of the whole. The interval is every p at which it
could be 0: Fieller's test inversion for a part and its whole, the two roots of a quadratic.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Share:
    """Of 1. Neither end is clamped."""

    value: float
    low: float
    high: float


def share(counts: Sequence[float], entry: int, variance: float, z: float) -> Share | None:
    """None where the whole histogram cannot be told from nothing. Half a step is added to the entry, since counts are integers."""
    whole, part = math.fsum(counts), counts[entry]
    certain = whole**2 - z**2 * variance * len(counts)
    if whole <= 0 or certain <= 0:
        return None
    low = min(_end(part - 0.5, whole, certain, z**2 * variance, -1), part / whole)
    high = max(_end(part + 0.5, whole, certain, z**2 * variance, 1), part / whole)
    return Share(part / whole, low, high)


def _end(part: float, whole: float, certain: float, reach: float, sign: int) -> float:
    """A root p of (part - p whole)^2 = reach (1 - 2 p + m p^2), `certain` being whole^2 - reach m."""
    middle = part * whole - reach
    return (middle + sign * math.sqrt(max(middle**2 - certain * (part**2 - reach), 0.0))) / certain
