"""Renyi price of one training round in which every (patient, block) takes part with a secret chance: Poisson sampling.

Zhu and Wang 2019 (ICML, "Poisson subsampled Renyi differential privacy"), the general bound of Theorem 5, at an integer order
a, rate g and any price curve eps(l) of the mechanism without sampling, for neighbours by adding or removing one:

    (a - 1) eps'(a) <= ln( (1-g)^(a-1) (a g - g + 1) + C(a,2) g^2 (1-g)^(a-2) e^eps(2)
                           + 3 sum over l = 3 ... a of C(a,l) (1-g)^(a-l) g^l e^((l-1) eps(l)) )

The factor 3 is kept: that it may be dropped is proven for the Gaussian, not for Skellam. The tests compute the divergence of
sampled Skellam noise itself, in both directions, and find it below the bound. It is never dearer than no sampling at all.
The sampling must be secret, per (patient, block), and drawn by the hospital: a batch that the asker can name amplifies nothing.

A patient with records in m places (two hospitals, or m blocks) is sampled in each for itself: she is in any of them with chance
1 - (1-g)^m, and then moves the sum by at most m times as much. That is sampling at this rate of a mechanism with m times the
sensitivity: given that she is in, the sum is a mixture over where, and the bound's moments are convex in it.
"""

import math
from bisect import bisect_left
from fractions import Fraction
from functools import lru_cache

from privacy.conversion import exp_up, ln_up
from privacy.errors import InvalidPrice
from privacy.rdp import GRID, LARGEST_RELEASE_VARIANCE, skellam_rdp

PRICE_GRID = Fraction(1, 10**15)
MOMENT_GRID = Fraction(1, 10**40)
BEYOND_PRICE = 1000
"""Above it a round is priced as if nobody were sampled: no budget pays either, and the moment has too many digits to compute."""


def rate_of(copies: int, rate: Fraction) -> Fraction:
    """The chance that at least one of a patient's `copies` is in the round."""
    return 1 - (1 - rate) ** copies


@lru_cache(4096)
def sampled_skellam_rdp(order: int, rate: Fraction, l1: int, l2_squared: int, variance: Fraction) -> Fraction:
    """Price of one round at this order, rounded up to 1e-15. (l1, l2_squared) bound one (patient, block)'s clipped gradient.

    Raises: InvalidPrice, InvalidSensitivity, InvalidVariance.
    """
    if not 0 < rate <= 1:
        raise InvalidPrice(f"sampling rate: expected above 0 and at most 1, got {rate}")
    whole = skellam_rdp(order, l1, l2_squared, variance)
    if rate == 1 or whole > BEYOND_PRICE:
        return whole
    rest = 1 - rate
    steps = _steps_up(rest ** (order - 1) * (order * rate - rate + 1))
    for taken in range(2, order + 1):
        weight = (1 if taken == 2 else 3) * math.comb(order, taken) * rest ** (order - taken) * rate**taken
        steps += _steps_up(weight, exp_up((taken - 1) * skellam_rdp(taken, l1, l2_squared, variance)))
    sampled = ln_up(steps * MOMENT_GRID) / (order - 1)
    return min(whole, -(-sampled // PRICE_GRID) * PRICE_GRID)


def sampled_variance_for(order: int, charge: Fraction, rate: Fraction, l1: int, l2_squared: int) -> Fraction:
    """The smallest total variance on the grid at which one round, sampled at this rate, costs at most `charge`.

    Raises: InvalidPrice (also where LARGEST_RELEASE_VARIANCE is not enough), InvalidSensitivity.
    """
    if charge <= 0:
        raise InvalidPrice(f"charge: expected above 0, got {charge}")

    def is_enough(steps: int) -> bool:
        return sampled_skellam_rdp(order, rate, l1, l2_squared, steps * GRID) <= charge

    largest = math.floor(LARGEST_RELEASE_VARIANCE / GRID)
    if not is_enough(largest):
        raise InvalidPrice(f"charge {charge}: no variance up to {LARGEST_RELEASE_VARIANCE} is enough at l2_squared {l2_squared}")
    return (1 + bisect_left(range(1, largest + 1), True, key=is_enough)) * GRID


def _steps_up(weight: Fraction, growth: Fraction = Fraction(1)) -> int:
    """Their product in steps of MOMENT_GRID, rounded up: whole numbers add quickly, fractions of a thousand digits do not."""
    return -(-(weight.numerator * growth.numerator * MOMENT_GRID.denominator) // (weight.denominator * growth.denominator))
