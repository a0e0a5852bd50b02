"""Renyi prices of integer noise at an integer order, as exact fractions: an upper bound, never below the true divergence.

Skellam: Agarwal, Kairouz, Liu 2021 (arXiv 2110.04995), Theorem 3.5 and Corollary 3.6. With total variance v, order a:

    eps(a) <= a L2^2 / (2 v) + min( ((2a - 1) L2^2 + 6 L1) / (4 v^2),  3 L1 / (2 v) )

Both branches are linear in (L1, L2^2), so the price of a vector is at least the sum of its coordinates' prices. The tests
compute the divergence itself at orders 2 to 256, shifts 1 to 128 and variances from 1/16 to 10,000: it is below the bound
everywhere (closest: 99.99 % of it at variance 10,000), so the domain is every positive variance and every order from 2.
Discrete Gaussian: a L2^2 / (2 sigma^2) (Canonne, Kamath, Steinke 2020, Theorem 4 with composition over coordinates).

Variances live on the public grid of 1/16, rounded up, so that every party names the same number.
"""

import math
from bisect import bisect_left
from fractions import Fraction

from privacy.errors import InvalidPrice, InvalidSensitivity, InvalidVariance

GRID = Fraction(1, 16)
LARGEST_RELEASE_VARIANCE = 2**28
"""A sixteenth of what tables are built for: the noise of all members together, more than the honest ones', still has one."""


def skellam_rdp(order: int, l1: int, l2_squared: int, variance: Fraction) -> Fraction:
    """Price of a release whose true sum moves by at most (l1, l2_squared) under Skellam noise of this total variance.

    Raises: InvalidPrice, InvalidSensitivity, InvalidVariance.
    """
    _check(order, l1, l2_squared, variance)
    l1 = min(l1, l2_squared)  # |d| <= d*d for integers: a looser l1 (clipped gradients state one) may be tightened
    near = Fraction((2 * order - 1) * l2_squared + 6 * l1) / (4 * variance**2)
    far = Fraction(3 * l1) / (2 * variance)
    return order * l2_squared / (2 * variance) + min(near, far)


def gaussian_rdp(order: int, l2_squared: int, sigma_squared: Fraction) -> Fraction:
    """Price under discrete Gaussian noise drawn once, in the local-noise mode.

    Raises: InvalidPrice, InvalidSensitivity, InvalidVariance.
    """
    _check(order, l2_squared, l2_squared, sigma_squared)
    return order * l2_squared / (2 * sigma_squared)


def skellam_variance_for(order: int, charge: Fraction, l1: int, l2_squared: int) -> Fraction:
    """The smallest total variance on the grid whose price is at most `charge`.

    Raises: InvalidPrice (also where LARGEST_RELEASE_VARIANCE is not enough: scale the query down), InvalidSensitivity.
    """
    if charge <= 0:
        raise InvalidPrice(f"charge: expected above 0, got {charge}")

    def is_enough(steps: int) -> bool:
        return skellam_rdp(order, l1, l2_squared, steps * GRID) <= charge

    largest = math.floor(LARGEST_RELEASE_VARIANCE / GRID)
    if not is_enough(largest):
        raise InvalidPrice(f"charge {charge}: no variance up to {LARGEST_RELEASE_VARIANCE} is enough at l2_squared {l2_squared}")
    return (1 + bisect_left(range(1, largest + 1), True, key=is_enough)) * GRID


def on_grid_up(variance: Fraction) -> Fraction:
    """The smallest point of the grid that is not below."""
    return math.ceil(variance / GRID) * GRID


def share_variance(variance: Fraction, n: int, colluders: int) -> Fraction:
    """What each of n hospitals draws so that the n - colluders honest ones alone reach `variance`.

    Raises: InvalidVariance.
    """
    if not 0 <= colluders < n:
        raise InvalidVariance(f"noise shares: expected 0 <= colluders < hospitals, got {colluders} of {n}")
    return on_grid_up(variance / (n - colluders))


def _check(order: int, l1: int, l2_squared: int, variance: Fraction) -> None:
    if order < 2:
        raise InvalidPrice(f"renyi order: expected an integer of at least 2, got {order}")
    if l1 < 0 or l2_squared < 0:
        raise InvalidSensitivity(f"sensitivity: expected l1 and l2_squared of at least 0, got {l1} and {l2_squared}")
    if variance <= 0:
        raise InvalidVariance(f"noise variance: expected above 0, got {variance}")
