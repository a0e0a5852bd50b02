"""What each kind of measure is told in: one column, one for each quantile, or the lines of a table one or of a survival curve.

Intervals are those of the noise alone: exact for counts and sums, Fieller's for means, and `privacy.spread`, `privacy.quantile`,
`privacy.share` and `privacy.survival` for theirs.
"""

import math
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import numpy as np

from coordinator.client.column import (
    EXACT_UP_TO,
    Column,
    Floats,
    Numbers,
    Reliability,
    Stretch,
    judged_column,
    judged_counts,
    judged_sums,
    reach,
)
from privacy.intervals import ratio_interval
from privacy.quantile import quantile
from privacy.share import share
from privacy.spread import NoisySum, spread
from privacy.survival import survival
from protocols.query.footprint import MISSING
from protocols.query.terms import Average, Categories, Count, Measure, Persons, Quantiles, Residents, Spread, Sum, Summary, Survival

QUARTILES = ("0.25", "0.5", "0.75")
_NOTHING = (math.nan, math.nan, math.nan)


def columns_of(name: str, measure: Measure, parts: tuple[Stretch, ...]) -> tuple[Column, ...]:
    """The columns that a measure is told in: one, one for each quantile, or the lines of a table one."""
    if isinstance(measure, Average):
        return (_mean_column(name, measure.scale, *parts),)
    if isinstance(measure, Spread):
        return (_spread_column(name, measure, *parts),)
    if isinstance(measure, Quantiles):
        names = quantile_names(name, measure)
        return tuple(_quantile_column(each, measure, point, *parts) for each, point in zip(names, measure.points, strict=True))
    if isinstance(measure, Summary):
        return _summary_columns(name, measure, *parts)
    if isinstance(measure, Categories):
        return _category_columns(name, measure, *parts)
    if isinstance(measure, Survival):
        return _survival_columns(name, measure, *parts)
    scale = measure.scale if isinstance(measure, Sum) else 1
    return (_total_column(name, parts[0], scale, is_count=not isinstance(measure, Sum)),)


def measure_name(measure: Measure) -> str:
    """`count`, `persons`, `sum_value`, `avg_age`, `stddev_value`, `quantiles_value`; of a filter `count_where`."""
    if isinstance(measure, Count):
        name = "count"
    else:
        name = _NAMES.get(type(measure)) or f"{measure.kind}_{measure.column}"  # type: ignore[union-attr]
    return name if measure.filter is None else f"{name}_where"


_NAMES: dict[type, str] = {Persons: "persons", Residents: "residents", Survival: "survival"}


def percent_of(name: str, part: Stretch, whole: Stretch) -> Column:
    """A share in percent with Fieller's interval: both counts are noisy. Judged by the part that it counts."""
    parts, wholes = part.values.reshape(-1), whole.values.reshape(-1)
    lower, upper = 100 * _ratio_ends(part, whole).T
    shares = np.where(np.isnan(lower), np.nan, 100 * parts / np.where(wholes == 0, 1, wholes))
    return judged_column(name, shares, lower, upper, parts, math.sqrt(part.variance))


def quantile_names(name: str, measure: Quantiles) -> tuple[str, ...]:
    """`q0.5_value`, from `quantiles_value`."""
    return tuple(name.replace("quantiles", f"q{point}", 1) for point in measure.points)


def _total_column(name: str, stretch: Stretch, scale: int, *, is_count: bool) -> Column:
    values, h = stretch.values.reshape(-1), reach(stretch.variance)
    sd = math.sqrt(stretch.variance)
    words = judged_counts(values, sd) if is_count else judged_sums(values, sd)
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
    return judged_column(name, means, lower, upper, counts, math.sqrt(count.variance))


def _exact_mean_column(name: str, scale: int, totals: Numbers, counts: Numbers) -> Column:
    """Exact mode: the mean itself; NaN only where nobody was counted."""
    means = np.where(counts == 0, np.nan, totals / np.where(counts == 0, 1, counts) / scale)
    return judged_column(name, means, means, means, counts, 0.0)


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
    z = max(_critical(part.variance) for part in (deviations, squares, count))
    rows = zip(*(part.values.reshape(-1).tolist() for part in (deviations, squares, count)), strict=True)
    variances = [float(part.variance) for part in (deviations, squares, count)]
    found = [spread(list(map(NoisySum, row, variances)), z) for row in rows]
    step = float(Decimal(measure.hi) - Decimal(measure.lo)) / (2 * measure.steps)
    told = np.array([(each.value, each.low, each.high) if each else _NOTHING for each in found]) * step**2
    told = np.sqrt(told) if measure.kind == "stddev" else told
    return judged_column(name, told[:, 0], told[:, 1], told[:, 2], count.values.reshape(-1), math.sqrt(count.variance))


def _quantile_column(name: str, measure: Quantiles, point: str, histogram: Stretch) -> Column:
    bins, variance = histogram.values.reshape(-1, measure.bins), histogram.variance
    z, lo, hi = _critical(variance), float(Decimal(measure.lo)), float(Decimal(measure.hi))
    found = [quantile(row.astype(np.float64), float(variance), float(Decimal(point)), z) for row in bins]
    told = np.array([(each.value, each.low, each.high) if each else _NOTHING for each in found])
    told = lo + told * (hi - lo) / measure.bins
    counts, sd = bins.sum(axis=1), math.sqrt(measure.bins * variance)
    return _judged_by_range(judged_column(name, told[:, 0], told[:, 1], told[:, 2], counts, sd), counts, sd, hi - lo)


def _judged_by_range(column: Column, counts: Numbers, sd: float, span: float) -> Column:
    """A quantile, or a mean from a middle, may lie at 0: its interval is judged against the whole range, not against itself."""
    is_wide = ~((column.upper - column.lower) <= span / 4)
    return replace(column, reliability=np.where(is_wide, Reliability.NOISE.value, judged_counts(counts, sd)))


def _critical(variance: Fraction | float) -> float:
    """In standard deviations, for what is made of many integers and is none: half a step beyond where integers are covered."""
    return (reach(variance) + 0.5) / math.sqrt(variance)


def _summary_columns(
    name: str, measure: Summary, deviations: Stretch, squares: Stretch, presence: Stretch, bins: Stretch
) -> tuple[Column, ...]:
    """Missing, in number and percent; mean; standard deviation; quartiles."""
    spread_of = Spread(kind="stddev", column=measure.column, lo=measure.lo, hi=measure.hi, steps=measure.steps)
    of_bins = Quantiles(column=measure.column, lo=measure.lo, hi=measure.hi, points=QUARTILES, bins=measure.bins)
    present = Stretch(presence.values[..., 0], presence.variance)
    quartiles = (name.replace("summary", f"q{point}", 1) for point in QUARTILES)
    return (
        *_entry_columns(name.replace("summary", MISSING, 1), presence, 1),
        _mean_of_steps(name.replace("summary", "mean", 1), measure, deviations, present),
        _spread_column(name.replace("summary", "stddev", 1), spread_of, deviations, squares, present),
        *(_quantile_column(each, of_bins, point, bins) for each, point in zip(quartiles, QUARTILES, strict=True)),
    )


def _mean_of_steps(name: str, measure: Summary, deviations: Stretch, present: Stretch) -> Column:
    lo, hi = float(Decimal(measure.lo)), float(Decimal(measure.hi))
    step = (hi - lo) / (2 * measure.steps)
    ends = _ratio_ends(deviations, present)
    counts = present.values.reshape(-1)
    away = np.where(np.isnan(ends[:, 0]), np.nan, deviations.values.reshape(-1) / np.where(counts == 0, 1, counts))
    value, low, high = ((lo + hi) / 2 + step * each for each in (away, ends[:, 0], ends[:, 1]))
    column = judged_column(name, value, low, high, counts, math.sqrt(present.variance))
    return _judged_by_range(column, counts, math.sqrt(present.variance), hi - lo)


def _category_columns(name: str, measure: Categories, histogram: Stretch) -> tuple[Column, ...]:
    labels = (*measure.labels, MISSING)
    named = (name.replace(f"categories_{measure.column}", f"{measure.column}_{label}", 1) for label in labels)
    return tuple(column for n, each in enumerate(named) for column in _entry_columns(each, histogram, n))


def _entry_columns(name: str, histogram: Stretch, entry: int) -> tuple[Column, Column]:
    """One entry of the histogram of each cell, in number and in percent of its cell."""
    rows = histogram.values.reshape(-1, histogram.values.shape[-1])
    count = _total_column(name, Stretch(rows[:, entry], histogram.variance), 1, is_count=True)
    variance, z = float(histogram.variance), reach(histogram.variance) / math.sqrt(histogram.variance)
    found = [share(row.astype(np.float64).tolist(), entry, variance, z) for row in rows]
    told = 100 * np.array([(each.value, each.low, each.high) if each else _NOTHING for each in found])
    sd = math.sqrt(histogram.variance)
    return count, judged_column(f"{name}_percent", told[:, 0], told[:, 1], told[:, 2], rows[:, entry], sd)


def survival_names(name: str, measure: Survival) -> tuple[str, ...]:
    """`survival_30`, to each edge in days."""
    return tuple(name.replace("survival", f"survival_{edge}", 1) for edge in measure.edges)


def _survival_columns(name: str, measure: Survival, histogram: Stretch) -> tuple[Column, ...]:
    rows, sd = histogram.values.reshape(-1, 2 * len(measure.edges) + 1).astype(np.float64), math.sqrt(histogram.variance)
    curves = [survival(row, float(histogram.variance), _critical(histogram.variance)) for row in rows]
    told = np.array([[(each.value, each.low, each.high) if each else _NOTHING for each in curve] for curve in curves])
    names, noise_sd = survival_names(name, measure), sd * math.sqrt(rows.shape[1])
    return tuple(
        judged_column(each, told[:, n, 0], told[:, n, 1], told[:, n, 2], rows.sum(axis=1), noise_sd) for n, each in enumerate(names)
    )
