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
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privacy.intervals import LEVEL, half_width, ratio_interval
from privacy.quantile import quantile
from privacy.spread import NoisySum, spread
from protocols.query.terms import Average, Count, Measure, Persons, Quantiles, Spread, Sum

EXACT_UP_TO = 10**7
Z = NormalDist().inv_cdf((1 + float(LEVEL)) / 2)
WIDEST = 1.6
_NORMAL_FROM = 144
_NOTHING = (math.nan, math.nan, math.nan)
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


def columns_of(name: str, measure: Measure, parts: tuple[Stretch, ...]) -> tuple[Column, ...]:
    """The columns that a measure is told in: one, or one for each quantile."""
    if isinstance(measure, Average):
        return (_mean_column(name, measure.scale, *parts),)
    if isinstance(measure, Spread):
        return (_spread_column(name, measure, *parts),)
    if isinstance(measure, Quantiles):
        names = quantile_names(name, measure)
        return tuple(_quantile_column(each, measure, point, *parts) for each, point in zip(names, measure.points, strict=True))
    scale = measure.scale if isinstance(measure, Sum) else 1
    return (_total_column(name, parts[0], scale, is_count=not isinstance(measure, Sum)),)


def measure_name(measure: Measure) -> str:
    """`count`, `persons`, `sum_value`, `avg_age`, `stddev_value`, `quantiles_value`; of a filter `count_where`."""
    if isinstance(measure, Count):
        name = "count"
    else:
        name = "persons" if isinstance(measure, Persons) else f"{measure.kind}_{measure.column}"
    return name if measure.filter is None else f"{name}_where"


def percent_of(name: str, part: Stretch, whole: Stretch) -> Column:
    """A share in percent with Fieller's interval: both counts are noisy. Judged by the part that it counts."""
    parts, wholes = part.values.reshape(-1), whole.values.reshape(-1)
    lower, upper = 100 * _ratio_ends(part, whole).T
    shares = np.where(np.isnan(lower), np.nan, 100 * parts / np.where(wholes == 0, 1, wholes))
    return _judged_column(name, shares, lower, upper, parts, math.sqrt(part.variance))


def quantile_names(name: str, measure: Quantiles) -> tuple[str, ...]:
    """`q0.5_value`, from `quantiles_value`."""
    return tuple(name.replace("quantiles", f"q{point}", 1) for point in measure.points)


def reach(variance: Fraction | float) -> float:
    """The half-width of the 95 % interval of noise of this variance."""
    if isinstance(variance, Fraction):
        return half_width(variance) if variance <= EXACT_UP_TO else math.ceil(Z * math.sqrt(variance)) + 1
    # A weighted sum of many draws: normal but for its smallest steps.
    return Z * math.sqrt(variance) + (0.5 if variance < _NORMAL_FROM else 0.0)


def _total_column(name: str, stretch: Stretch, scale: int, *, is_count: bool) -> Column:
    values, h = stretch.values.reshape(-1), reach(stretch.variance)
    sd = math.sqrt(stretch.variance)
    words = _judged_counts(values, sd) if is_count else _judged_sums(values, sd)
    low, high = values - h, values + h
    if scale == 1:
        return Column(name, values, low, high, np.full(values.shape, h), words)
    return Column(name, values / scale, low / scale, high / scale, np.full(values.shape, h / scale), words)


def _mean_column(name: str, scale: int, total: Stretch, count: Stretch) -> Column:
    totals, counts = total.values.reshape(-1), count.values.reshape(-1)
    if not total.variance and not count.variance:
        return _exact_mean_column(name, scale, totals, counts)
    lower, upper = _ratio_ends(total, count).T / scale
    means = np.where(np.isnan(lower), np.nan, totals / np.where(counts == 0, 1, counts) / scale)
    return _judged_column(name, means, lower, upper, counts, math.sqrt(count.variance))


def _exact_mean_column(name: str, scale: int, totals: Numbers, counts: Numbers) -> Column:
    """Exact mode: the mean itself; NaN only where nobody was counted."""
    means = np.where(counts == 0, np.nan, totals / np.where(counts == 0, 1, counts) / scale)
    return _judged_column(name, means, means, means, counts, 0.0)


def _ratio_ends(total: Stretch, count: Stretch) -> Floats:
    """Lower and upper end of each cell's ratio."""
    totals, counts = total.values.reshape(-1), count.values.reshape(-1)
    variances = Fraction(total.variance), Fraction(count.variance)
    return np.array([_mean_ends(float(t), variances[0], float(n), variances[1]) for t, n in zip(totals, counts, strict=True)])


def _mean_ends(total: float, total_variance: Fraction, count: float, count_variance: Fraction) -> tuple[float, float]:
    # Very noisy numbers are measured in coarser steps: their half step only widens the interval, and tables stay small.
    step, unit = _step(total_variance), _step(count_variance)
    found = ratio_interval(round(total / step), total_variance / step**2, round(count / unit), count_variance / unit**2)
    return (math.nan, math.nan) if found is None else (found.low * step / unit, found.high * step / unit)


def _step(variance: Fraction) -> int:
    step = 1
    while variance / step**2 > EXACT_UP_TO:
        step *= 2
    return step


def _spread_column(name: str, measure: Spread, deviations: Stretch, squares: Stretch, count: Stretch) -> Column:
    z = max(reach(part.variance) / math.sqrt(part.variance) for part in (deviations, squares, count))
    rows = zip(*(part.values.reshape(-1).tolist() for part in (deviations, squares, count)), strict=True)
    variances = [float(part.variance) for part in (deviations, squares, count)]
    found = [spread(list(map(NoisySum, row, variances)), z) for row in rows]
    step = float(Decimal(measure.hi) - Decimal(measure.lo)) / (2 * measure.steps)
    told = np.array([(each.value, each.low, each.high) if each else _NOTHING for each in found]) * step**2
    told = np.sqrt(told) if measure.kind == "stddev" else told
    return _judged_column(name, told[:, 0], told[:, 1], told[:, 2], count.values.reshape(-1), math.sqrt(count.variance))


def _quantile_column(name: str, measure: Quantiles, point: str, histogram: Stretch) -> Column:
    bins, variance = histogram.values.reshape(-1, measure.bins), histogram.variance
    z, lo, hi = reach(variance) / math.sqrt(variance), float(Decimal(measure.lo)), float(Decimal(measure.hi))
    found = [quantile(row.astype(np.float64), float(variance), float(Decimal(point)), z) for row in bins]
    told = np.array([(each.value, each.low, each.high) if each else _NOTHING for each in found])
    told = lo + told * (hi - lo) / measure.bins
    counts, sd = bins.sum(axis=1), math.sqrt(measure.bins * variance)
    column = _judged_column(name, told[:, 0], told[:, 1], told[:, 2], counts, sd)
    # A quantile may lie at 0, so its interval is judged against the whole range and not against itself.
    is_wide = ~((column.upper - column.lower) <= (hi - lo) / 4)
    return replace(column, reliability=np.where(is_wide, Reliability.NOISE.value, _judged_counts(counts, sd)))


def _judged_column(name: str, values: Floats, lower: Floats, upper: Floats, counts: Numbers, count_sd: float) -> Column:
    with np.errstate(divide="ignore", invalid="ignore"):
        is_wide = ~((upper - lower) <= WIDEST * np.abs(values))
    words = np.where(is_wide, Reliability.NOISE.value, _judged_counts(counts, count_sd))
    return Column(name, values, lower, upper, (upper - lower) / 2, words)


def _judged_counts(values: Numbers, noise_sd: float) -> NDArray[np.str_]:
    counted = np.maximum(values, 1).astype(np.float64)
    relative = np.sqrt(counted + noise_sd**2) / counted
    caution = (values >= 10) & (2 * Z * relative <= WIDEST)
    return _words(caution, caution & (values >= 30) & (relative <= 0.3))


def _judged_sums(values: Numbers, noise_sd: float) -> NDArray[np.str_]:
    relative = noise_sd / np.maximum(np.abs(values), 1)
    return _words(relative <= 0.3, relative <= 0.1)


def _words(caution: NDArray[np.bool_], reliable: NDArray[np.bool_]) -> NDArray[np.str_]:
    return _WORDS[np.where(reliable, 2, np.where(caution, 1, 0))]
