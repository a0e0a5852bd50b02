"""Tail probabilities of the usual tests."""

import math

import mpmath


def normal(z: float) -> float:
    """Two-sided."""
    return math.erfc(abs(z) / math.sqrt(2))


def student(t: float, freedom: float) -> float:
    """Two-sided; many degrees of freedom are the normal's."""
    if not 0 < freedom < 1e4:
        return normal(t)
    return float(mpmath.betainc(freedom / 2, 0.5, 0, freedom / (freedom + t * t), regularized=True))


def fisher(f: float, between: float, within: float) -> float:
    if f <= 0:
        return 1.0
    if not within < 1e4:
        return chi_square(f * between, between)
    return float(mpmath.betainc(within / 2, between / 2, 0, within / (within + between * f), regularized=True))


def chi_square(x: float, freedom: float) -> float:
    return float(mpmath.gammainc(freedom / 2, max(x, 0.0) / 2, regularized=True))
