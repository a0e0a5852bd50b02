"""Tail probabilities of the usual tests."""

import math


def normal(z: float) -> float:
    """Two-sided."""
    return math.erfc(abs(z) / math.sqrt(2))


def student(t: float, freedom: float) -> float:
    """Two-sided; many degrees of freedom are the normal's."""
    if not 0 < freedom < 1e4:
        return normal(t)
    return _beta(freedom / 2, 0.5, freedom / (freedom + t * t))


def fisher(f: float, between: float, within: float) -> float:
    if f <= 0:
        return 1.0
    if not within < 1e4:
        return chi_square(f * between, between)
    return _beta(within / 2, between / 2, within / (within + between * f))


def chi_square(x: float, freedom: float) -> float:
    import mpmath

    return float(mpmath.gammainc(freedom / 2, max(x, 0.0) / 2, regularized=True))


def _beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function."""
    import mpmath  # here, since few answers are tested

    return float(mpmath.betainc(a, b, 0, x, regularized=True))
