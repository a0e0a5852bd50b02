"""Cumulative tables of symmetric integer noise, exact to 128 bits, with a stated distance from the ideal distribution.

Rules (spec: choices 3 and 4):
 1. Every weight is a fixed-point integer of `PRECISION` bits; no float takes part in a table.
 2. Values beyond `tail_bound` are cut where the two tails together weigh at most 2**-120. Both distributions are
    log-concave, so a tail is bounded by the geometric series of its first ratio.
 3. The lower half is rounded up to multiples of 2**-128, the upper half is its mirror image: the table is exactly symmetric.
 4. `distance` bounds the total variation of one draw from the ideal: the cut, plus the rounding of every entry, plus
    2**-160 for the fixed-point error (measured in the tests against twice the precision: below 2**-250).

Skellam(v) here is the difference of two Poissons of mean v/2 each, so v is its VARIANCE: P(k) = exp(-v) I_k(v). The weights come
from backward recurrence, I_{k-1}(v) = I_{k+1}(v) + 2k/v I_k(v) (Miller; Gautschi 1967), in which the error of the starting value
shrinks by the square of every ratio passed. All terms are positive, so that an error of one unit stays below what a weight of one
unit would have grown to. Discrete Gaussian: Canonne, Kamath, Steinke 2020.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from privacy.errors import InvalidVariance

PRECISION = 320
TAIL_BITS = 120
ONE = 1 << PRECISION
MAX_VARIANCE = 2**32
"""A table of this variance has 1.7 million entries; beyond it, scale the release down."""

START_NATS = 280.0
"""The backward recurrence starts where a value is exp(-280) as likely as zero: the tail is cut near exp(-84), so the
starting error has shrunk below 2**-500 when it reaches an entry that is kept."""

START_BITS = 64
"""Of the starting value. What its rounding errors leave in an entry that is kept has shrunk below 2**-300 as well."""

GUIDE_BITS = 16

Entry = TypeVar("Entry", bound=np.generic)


@dataclass(frozen=True, slots=True, eq=False)
class NoiseTable:
    """A symmetric distribution on [-tail_bound, tail_bound] as cumulative 128-bit boundaries.

    Boundary j, `high[j] * 2**64 + low[j]`, is 2**128 times P(X <= j - tail_bound). `guide` maps the top 16 bits of a draw to
    its value, or to `unsettled` where a boundary lies inside that bucket.
    """

    variance: Fraction
    tail_bound: int
    distance: Fraction
    high: NDArray[np.uint64]
    low: NDArray[np.uint64]
    guide: NDArray[np.int16] | NDArray[np.int32]
    unsettled: int

    def boundary(self, index: int) -> int:
        return (int(self.high[index]) << 64) | int(self.low[index])

    def cumulative(self, value: int) -> Fraction:
        """P(X <= value) of the table itself; within `distance` of the ideal."""
        if value < -self.tail_bound:
            return Fraction(0)
        if value >= self.tail_bound:
            return Fraction(1)
        return Fraction(self.boundary(value + self.tail_bound), 1 << 128)


@lru_cache(maxsize=64)
def skellam_table(variance: Fraction) -> NoiseTable:
    """Symmetric Skellam noise of this variance; the sum of n independent ones is the one of n times the variance.

    Raises: InvalidVariance.
    """
    _check_variance(variance)
    return _table(variance, _bessel_weights(variance))


@lru_cache(maxsize=64)
def discrete_gaussian_table(sigma_squared: Fraction) -> NoiseTable:
    """P(k) proportional to exp(-k**2 / (2 sigma_squared)) on the integers. Its sum over hospitals is not of its kind.

    `variance` of the table is the parameter sigma_squared; the true variance is never larger (CKS 2020, Corollary 9).
    Raises: InvalidVariance.
    """
    _check_variance(sigma_squared)
    return _table(sigma_squared, _gaussian_weights(sigma_squared))


def _check_variance(variance: Fraction) -> None:
    if not 0 < variance <= MAX_VARIANCE:
        raise InvalidVariance(f"noise variance: expected above 0 and at most {MAX_VARIANCE}, got {variance}")


def _scaled(weight: int, ratio: int) -> int:
    return weight * ratio >> PRECISION


def _bessel_weights(variance: Fraction) -> list[int]:
    """I_k at the variance, k = 0, 1, 2, ..., in a unit in which the first has PRECISION bits."""
    twice, numerator = 2 * variance.denominator, variance.numerator
    weights, weight, beyond = [], 1 << START_BITS, 0
    for k in range(_start(float(variance)), 0, -1):
        weights.append(weight)
        weight, beyond = beyond + twice * k * weight // numerator, weight
    spare = weight.bit_length() - PRECISION
    return [weight >> spare, *(each >> spare for each in reversed(weights))]


def _start(variance: float) -> int:
    """Where the Chernoff bound of the Skellam tail reaches START_NATS. A float decides only how far to compute."""

    def nats(k: int) -> float:
        return k * math.asinh(k / variance) - (k * k / (math.hypot(k, variance) + variance))

    return bisect_left(range(1 << 24), START_NATS, key=nats)


def _gaussian_weights(sigma_squared: Fraction) -> list[int]:
    from mpmath import libmp  # here, since only a curator's noise needs it

    exponent = libmp.from_rational(-sigma_squared.denominator, 2 * sigma_squared.numerator, PRECISION + 64, "n")
    step = libmp.to_fixed(libmp.mpf_exp(exponent, PRECISION + 64, "n"), PRECISION)
    ratio, squared = step, _scaled(step, step)
    weights, weight = [], ONE
    while weight >> (PRECISION - 2 * TAIL_BITS):
        weights.append(weight)
        weight, ratio = _scaled(weight, ratio), _scaled(ratio, squared)
    return [*weights, weight, 0]


def _table(variance: Fraction, weights: Sequence[int]) -> NoiseTable:
    """Cuts, rounds and mirrors the weights of 0, 1, 2, ..."""
    tail_bound = _cut(weights)
    total = weights[0] + 2 * sum(weights[1 : tail_bound + 1])
    sums = accumulate(weights[tail_bound:0:-1])
    # Up: a boundary of 2**128 - 0 would not fit 128 bits.
    lower = b"".join((-(-(upto << 128) // total)).to_bytes(16, "little") for upto in sums)
    low_first = np.frombuffer(lower, dtype="<u8").reshape(-1, 2)
    low, high = (_frozen(np.concatenate(halves)) for halves in zip(low_first.T, _complement(low_first), strict=True))
    distance = Fraction(1, 1 << TAIL_BITS) + Fraction(2 * tail_bound + 2, 1 << 128) + Fraction(1, 1 << 160)
    unsettled = -tail_bound - 1
    return NoiseTable(variance, tail_bound, distance, high, low, _guide(high, tail_bound, unsettled), unsettled)


def _complement(low_first: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """2**128 less each, in reverse order: lower and upper 64 bits."""
    low, high = low_first[::-1].T
    return np.negative(low), ~high + (low == 0)


def _cut(weights: Sequence[int]) -> int:
    """The smallest T >= 1 whose two tails weigh at most 2**-TAIL_BITS of the weight of zero alone."""

    def is_light(cut: int) -> bool:
        last, beyond = weights[cut], weights[cut + 1]
        return 2 * beyond * last << TAIL_BITS <= (last - beyond) * weights[0]

    return bisect_left(range(1, len(weights) - 2), True, key=is_light) + 1


def _guide(high: NDArray[np.uint64], tail_bound: int, unsettled: int) -> NDArray[np.int16] | NDArray[np.int32]:
    inside = np.bincount((high >> np.uint64(64 - GUIDE_BITS)).astype(np.int64), minlength=1 << GUIDE_BITS)
    values = np.cumsum(inside) - tail_bound
    guide = np.where(inside > 0, unsettled, values)
    if tail_bound < 2**15 - 1:  # half the cache lines where the noise allows it
        return _frozen(guide.astype(np.int16))
    return _frozen(guide.astype(np.int32))


def _frozen(array: NDArray[Entry]) -> NDArray[Entry]:
    array.setflags(write=False)
    return array
