"""An answer's integers as numbers a person can use: value, interval, and how far to trust it.

Rules
- Intervals cover the noise alone, at 95 %: exact Skellam quantiles from the total variance (normal ones above `EXACT_UP_TO`,
  where they agree to a part in a million), Fieller's for averages. Nothing is clamped, so sums of cells stay unbiased.
- `collapsed` sums cells over the axes that are left out; variances add, so a total has its own, narrower interval than the
  sum of its parts' would be. Summed distinct patients count a patient once per cell, not once.
- Reliability, after the bars of the US National Center for Health Statistics (30 % relative standard error, 30 and 10 records,
  95 % interval of a relative width of 160 %), with Poisson chance and noise together:
    reliable  at least 30, and relative standard error at most 30 %
    caution   at least 10, and interval at most 160 % wide
    noise     everything else
  A sum has no known count behind it: noise of at most 10 % is reliable, of at most 30 % caution. A mean is judged by its count,
  and by the width of its own interval.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import cached_property
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from privacy.intervals import LEVEL, half_width, ratio_interval
from protocols.query import Axis, Grid, Layout, QuerySpec
from protocols.query.terms import Average, Count, Measure, Persons, Sum

EXACT_UP_TO = 10**7
Z = NormalDist().inv_cdf((1 + float(LEVEL)) / 2)
WIDEST = 1.6
Numbers = NDArray[np.int64] | NDArray[np.float64]


class Reliability(StrEnum):
    RELIABLE = "reliable"
    CAUTION = "caution"
    NOISE = "noise"


_WORDS: NDArray[np.str_] = np.array([Reliability.NOISE.value, Reliability.CAUTION.value, Reliability.RELIABLE.value])


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One measure over all cells, in its own unit. NaN where a mean cannot be told from the noise."""

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
    """One segment of the vector, shaped as the grid, with the noise variance of each of its cells."""

    values: NDArray[np.int64]
    variance: Fraction

    def summed(self, axes: tuple[int, ...]) -> "Stretch":
        cells = math.prod(self.values.shape[axis] for axis in axes)
        return Stretch(self.values.sum(axis=axes), self.variance * cells)


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A measure with its segments: one, or two for an average."""

    name: str
    measure: Measure
    stretches: tuple[Stretch, ...]

    def column(self) -> Column:
        if isinstance(self.measure, Average):
            return _mean_column(self.name, self.measure.scale, *self.stretches)
        scale = self.measure.scale if isinstance(self.measure, Sum) else 1
        return _total_column(self.name, self.stretches[0], scale, is_count=not isinstance(self.measure, Sum))


@dataclass(frozen=True, eq=False)
class AnswerTable:
    """All cells of an answer, row-major over `axes`."""

    axes: tuple[Axis, ...]
    measured: tuple[Measured, ...]

    @classmethod
    def of(cls, spec: QuerySpec, values: Sequence[int], total_variances: Sequence[Fraction]) -> "AnswerTable":
        layout = Layout.of(spec)
        vector = np.array(values, dtype=np.int64)
        stretches = [
            Stretch(vector[part.offset : part.offset + part.length].reshape(layout.grid.shape), variance)
            for part, variance in zip(layout.segments, total_variances, strict=True)
        ]
        parts = iter(stretches)
        measured = tuple(
            Measured(name, measure, tuple(next(parts) for _ in range(2 if isinstance(measure, Average) else 1)))
            for name, measure in zip(column_names(spec.measures), spec.measures, strict=True)
        )
        return cls(layout.grid.axes, measured)

    @property
    def grid(self) -> Grid:
        return Grid(self.axes)

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        return tuple(each.column() for each in self.measured)

    @property
    def time(self) -> Axis | None:
        return next((axis for axis in self.axes if axis.key in {"iso_week", "month"}), None)

    def collapsed(self, keys: Sequence[str]) -> "AnswerTable":
        """The table over these keys alone; every other axis is summed."""
        gone = tuple(n for n, axis in enumerate(self.axes) if axis.key not in keys)
        measured = tuple(
            Measured(each.name, each.measure, tuple(part.summed(gone) for part in each.stretches)) for each in self.measured
        )
        return AnswerTable(tuple(axis for axis in self.axes if axis.key in keys), measured)

    def key_columns(self) -> dict[str, list[str]]:
        """The label of each cell on each axis."""
        if not self.axes:
            return {}
        places = np.indices(self.grid.shape).reshape(len(self.axes), -1)
        return {axis.key: np.array(axis.labels)[place].tolist() for axis, place in zip(self.axes, places, strict=True)}


def column_names(measures: Sequence[Measure]) -> tuple[str, ...]:
    """`count`, `persons`, `sum_value`, `avg_age`; a second one of a name gets `_2`."""
    plain = [_name(measure) for measure in measures]
    return tuple(name if plain.index(name) == n else f"{name}_{plain[: n + 1].count(name)}" for n, name in enumerate(plain))


def _name(measure: Measure) -> str:
    if isinstance(measure, Count):
        return "count"
    return "persons" if isinstance(measure, Persons) else f"{measure.kind}_{measure.column}"


def reach(variance: Fraction) -> int:
    """The half-width of the 95 % interval of noise of this variance."""
    return half_width(variance) if variance <= EXACT_UP_TO else math.ceil(Z * math.sqrt(variance)) + 1


def _total_column(name: str, stretch: Stretch, scale: int, *, is_count: bool) -> Column:
    values, h = stretch.values.reshape(-1), reach(stretch.variance)
    sd = math.sqrt(stretch.variance)
    words = _judged_counts(values, sd) if is_count else _judged_sums(values, sd)
    if scale == 1:
        return Column(name, values, values - h, values + h, np.full(values.shape, h), words)
    return Column(name, values / scale, (values - h) / scale, (values + h) / scale, np.full(values.shape, h / scale), words)


def _mean_column(name: str, scale: int, total: Stretch, count: Stretch) -> Column:
    totals, counts = total.values.reshape(-1), count.values.reshape(-1)
    ends = np.array([_mean_ends(int(t), total.variance, int(n), count.variance) for t, n in zip(totals, counts, strict=True)])
    lower, upper = ends[:, 0] / scale, ends[:, 1] / scale
    means = np.where(np.isnan(lower), np.nan, totals / np.where(counts == 0, 1, counts) / scale)
    with np.errstate(divide="ignore", invalid="ignore"):
        is_wide = ~((upper - lower) <= WIDEST * np.abs(means))
    words = np.where(is_wide, Reliability.NOISE.value, _judged_counts(counts, math.sqrt(count.variance)))
    return Column(name, means, lower, upper, (upper - lower) / 2, words)


def _mean_ends(total: int, total_variance: Fraction, count: int, count_variance: Fraction) -> tuple[float, float]:
    # Very noisy numbers are measured in coarser steps: their half step only widens the interval, and tables stay small.
    step, unit = _step(total_variance), _step(count_variance)
    found = ratio_interval(
        round(Fraction(total, step)), total_variance / step**2, round(Fraction(count, unit)), count_variance / unit**2
    )
    return (math.nan, math.nan) if found is None else (found.low * step / unit, found.high * step / unit)


def _step(variance: Fraction) -> int:
    step = 1
    while variance / step**2 > EXACT_UP_TO:
        step *= 2
    return step


def _judged_counts(values: NDArray[np.int64], noise_sd: float) -> NDArray[np.str_]:
    counted = np.maximum(values, 1).astype(np.float64)
    relative = np.sqrt(counted + noise_sd**2) / counted
    caution = (values >= 10) & (2 * Z * relative <= WIDEST)
    return _words(caution, caution & (values >= 30) & (relative <= 0.3))


def _judged_sums(values: NDArray[np.int64], noise_sd: float) -> NDArray[np.str_]:
    relative = noise_sd / np.maximum(np.abs(values), 1)
    return _words(relative <= 0.3, relative <= 0.1)


def _words(caution: NDArray[np.bool_], reliable: NDArray[np.bool_]) -> NDArray[np.str_]:
    words: NDArray[np.str_] = _WORDS[caution.astype(np.int64) + reliable]
    return words
