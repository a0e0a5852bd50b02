"""How numbers are written for people: costs rounded up, values rounded for show alone."""

import math
from fractions import Fraction

from protocols.contract import CONTRACT


def number(value: float) -> str:
    """Whole numbers whole, others with four significant digits at least."""
    if float(value).is_integer():
        return f"{int(value):,}"
    digits = max(0, 3 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(digits, 6)}f}"


def share_of_budget(price: Fraction, purpose: str) -> str:
    return f"{float(price / CONTRACT.limit(purpose)):.2%}"


def decimal(value: Fraction, places: int = 6) -> str:
    """Rounded up, because it is a cost."""
    return f"{math.ceil(value * 10**places) / 10**places:.{places}f}"
