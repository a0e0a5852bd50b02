"""Figures of an answer that follow from its others: the hash of its integers, and how wide its noise makes them."""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from protocols.secagg.masks import values_hash


def hash_of(values: Sequence[int]) -> str:
    """As a release states it; "" for integers that no release holds."""
    return values_hash(np.array(values, np.int64)).hex() if all(-(2**63) <= each < 2**63 for each in values) else ""


def is_half_width(half: int, variance: Fraction) -> bool:
    """Within a tenth and two units of the normal value; the exact one is computed where the prices are."""
    normal = 1.96 * math.sqrt(variance)
    return 0.9 * normal - 2 <= half <= 1.1 * normal + 2  # compared, not subtracted: `half` may be too large for a float
