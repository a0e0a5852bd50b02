"""One column of an answer: numbers with their 95 % noise intervals, and a word on how far to trust each.

Reliability follows the bars of the US National Center for Health Statistics (30 % relative standard error, 30 and 10 records, 95 %
interval of a relative width of 160 %), with Poisson chance and noise together:
  reliable  at least 30, and relative standard error at most 30 %
  caution   at least 10, and interval at most 160 % wide
  noise     everything else
A sum has no known count behind it: noise of at most 10 % is reliable, of at most 30 % caution. Means, spreads and quantiles are
judged by their count, and by the width of their own interval.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privacy.intervals import LEVEL, half_width

EXACT_UP_TO = 10**7
Z = NormalDist().inv_cdf((1 + float(LEVEL)) / 2)
WIDEST = 1.6
_NORMAL_FROM = 144
Numbers = NDArray[np.int64] | NDArray[np.floating[Any]]
Floats = NDArray[np.float64]


class Reliability(StrEnum):
    RELIABLE = "reliable"
    CAUTION = "caution"
    NOISE = "noise"


_WORDS: NDArray[np.str_] = np.array([Reliability.NOISE.value, Reliability.CAUTION.value, Reliability.RELIABLE.value])


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """Numbers over all cells, in their own unit. NaN where one cannot be told from the noise."""

    name: str
    values: Numbers
    lower: Numbers
    upper: Numbers
    half_width: Numbers
    reliability: NDArray[np.str_]

    def rows(self, chosen: NDArray[np.int64]) -> "Column":
        return Column(
            self.name,
            self.values[chosen],
            self.lower[chosen],
            self.upper[chosen],
            self.half_width[chosen],
            self.reliability[chosen],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """A released part over some cells, and the noise variance of each: exact for sums of released integers."""

    values: Numbers
    variance: Fraction | float


def reach(variance: Fraction | float) -> float:
    """The half-width of the 95 % interval of noise of this variance."""
    if isinstance(variance, Fraction):
        return half_width(variance) if variance <= EXACT_UP_TO else math.ceil(Z * math.sqrt(variance)) + 1
    # A weighted sum of many draws: normal but for its smallest steps.
    return Z * math.sqrt(variance) + (0.5 if variance < _NORMAL_FROM else 0.0)


def judged_column(name: str, values: Floats, lower: Floats, upper: Floats, counts: Numbers, count_sd: float | Floats) -> Column:
    with np.errstate(divide="ignore", invalid="ignore"):
        is_wide = ~((upper - lower) <= WIDEST * np.abs(values))
    words = np.where(is_wide, Reliability.NOISE.value, judged_counts(counts, count_sd))
    return Column(name, values, lower, upper, (upper - lower) / 2, words)


def judged_counts(values: Numbers, noise_sd: float | Floats) -> NDArray[np.str_]:
    counted = np.maximum(values, 1).astype(np.float64)
    relative = np.sqrt(counted + noise_sd**2) / counted
    caution = (values >= 10) & (2 * Z * relative <= WIDEST)
    return _words(caution, caution & (values >= 30) & (relative <= 0.3))


def judged_sums(values: Numbers, noise_sd: float) -> NDArray[np.str_]:
    relative = noise_sd / np.maximum(np.abs(values), 1)
    return _words(relative <= 0.3, relative <= 0.1)


def _words(caution: NDArray[np.bool_], reliable: NDArray[np.bool_]) -> NDArray[np.str_]:
    return _WORDS[np.where(reliable, 2, np.where(caution, 1, 0))]
