"""From a Renyi price to (epsilon, delta) and back, always rounded against ourselves.

epsilon = rdp + ln(1 - 1/a) + (ln(1/delta) - ln a) / (a - 1), Canonne, Kamath, Steinke 2020, Proposition 12; the same formula
as dp-accounting's `compute_epsilon`. Logarithms are computed to 60 digits in a context of our own (`decimal` rounds them
correctly, and no thread can change its precision); the margin of 1e-50 covers them.
"""

from decimal import Context, Decimal
from fractions import Fraction
from functools import lru_cache

from privacy.errors import InvalidPrice

EPSILON_GRID = Fraction(1, 10**6)
BUDGET_GRID = Fraction(1, 10**4)

_DIGITS = Context(prec=60)
_MARGIN = Fraction(1, 10**50)


def epsilon_at(rdp: Fraction, order: int, delta: Fraction) -> Fraction:
    """An epsilon that holds at this delta, rounded up to 1e-6; never below 0.

    Raises: InvalidPrice.
    """
    if rdp < 0:
        raise InvalidPrice(f"renyi price: expected at least 0, got {rdp}")
    exact = rdp + _surcharge(order, delta) + _MARGIN
    return max(Fraction(0), -(-exact // EPSILON_GRID) * EPSILON_GRID)


def budget_for(epsilon: Fraction, delta: Fraction, order: int) -> Fraction:
    """The Renyi budget at this order whose spending is (epsilon, delta), rounded down to 1e-4.

    Raises: InvalidPrice (also where the order is too small for the epsilon: no budget would be left).
    """
    budget = (epsilon - _surcharge(order, delta) - _MARGIN) // BUDGET_GRID * BUDGET_GRID
    if budget <= 0:
        raise InvalidPrice(f"budget: order {order} leaves nothing of epsilon {epsilon} at delta {delta}; take a larger order")
    return budget


def exp_up(exponent: Fraction) -> Fraction:
    """e**exponent, a little more."""
    power = _DIGITS.exp(_DIGITS.divide(Decimal(exponent.numerator), Decimal(exponent.denominator)))
    return Fraction(power) * (1 + _MARGIN)


def ln_up(value: Fraction) -> Fraction:
    """The natural logarithm of a positive value, a little more."""
    return _ln(value) + _MARGIN


@lru_cache(1024)
def _surcharge(order: int, delta: Fraction) -> Fraction:
    if order < 2:
        raise InvalidPrice(f"renyi order: expected an integer of at least 2, got {order}")
    if not 0 < delta < 1:
        raise InvalidPrice(f"delta: expected between 0 and 1, got {delta}")
    return _ln(Fraction(order - 1, order)) - _ln(delta * order) / (order - 1)


def _ln(value: Fraction) -> Fraction:
    return Fraction(_DIGITS.ln(_DIGITS.divide(Decimal(value.numerator), Decimal(value.denominator))))
