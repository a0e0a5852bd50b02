"""An answer's integers as numbers a person can use, at its own cells and summed over any of its keys.

Rules
- Intervals cover the noise alone, at 95 %: exact Skellam quantiles from the total variance (normal ones above `EXACT_UP_TO`,
  where they agree to a part in a million), Fieller's for averages, `privacy.spread` and `privacy.quantile` for theirs.
- A filtered count beside the same count of all rows is told as a percentage as well, with Fieller's interval.
- Nothing is clamped, so sums of cells stay unbiased.
- `collapsed` sums cells over the axes that are left out; variances add, so a total has its own, narrower interval than the
  sum of its parts' would be. Summed distinct patients count a patient once per cell, not once.
- Residents are estimated from filled buckets, cell by cell (`residents`).
- Levels that were released as well (`totals`) are made one table by least squares (`privacy.consistency`): every number here adds
  up, and the released integers stay in the bundle. Distinct patients do not add up, so each of their levels is told as released.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from coordinator.client.column import Column, Stretch
from coordinator.client.kinds import columns_of, measure_name, percent_of
from coordinator.client.residents import resident_column
from privacy.consistency import Consistent, Level, consistent
from protocols.query import Axis, Grid, Layout, QuerySpec, Segment
from protocols.query.terms import Count, Measure, Persons, Residents

Axes = tuple[int, ...]


class Released(Protocol):
    """One part of a measure at every level."""

    def over(self, kept: Axes) -> Stretch:
        """The part over these axes of the leaves, all others summed or, where they were released so, as released."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Leaves:
    """Released once, at the leaves."""

    values: NDArray[np.int64]
    variance: Fraction

    def over(self, kept: Axes) -> Stretch:
        gone = tuple(axis for axis in range(self.values.ndim) if axis not in kept)
        cells = math.prod(self.values.shape[axis] for axis in gone)
        return Stretch(self.values.sum(axis=gone), self.variance * cells)


@dataclass(frozen=True, slots=True, eq=False)
class _Levels:
    """Released at several levels that add up."""

    found: Consistent

    def over(self, kept: Axes) -> Stretch:
        return Stretch(self.found.at(kept), self.found.variance(kept))


@dataclass(frozen=True, slots=True, eq=False)
class _Unions:
    """Released at several levels that do not add up: each as it is, another one from the smallest level that holds it."""

    levels: Mapping[Axes, _Leaves]

    def over(self, kept: Axes) -> Stretch:
        holding = min((axes for axes in self.levels if set(kept) <= set(axes)), key=len)
        return self.levels[holding].over(tuple(holding.index(axis) for axis in kept))


@dataclass(frozen=True, slots=True, eq=False)
class _Histogram:
    """A part with an axis of its own behind the keys, which is never summed."""

    released: Released
    inner: int

    def over(self, kept: Axes) -> Stretch:
        return self.released.over((*kept, self.inner))


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A measure with its parts."""

    name: str
    measure: Measure
    parts: tuple[Released, ...]

    def columns(self, kept: Axes) -> tuple[Column, ...]:
        if isinstance(self.measure, Residents) and isinstance(filled := self.parts[0], _Leaves):
            return (resident_column(self.name, filled.values, filled.variance, self.measure.buckets, kept),)
        return columns_of(self.name, self.measure, tuple(part.over(kept) for part in self.parts))


@dataclass(frozen=True, slots=True, eq=False)
class Share:
    """A filtered count over the same count of all rows, of one answer and so under the same bound."""

    name: str
    part: Measured
    whole: Measured

    def columns(self, kept: Axes) -> tuple[Column, ...]:
        return (percent_of(self.name, self.part.parts[0].over(kept), self.whole.parts[0].over(kept)),)


@dataclass(frozen=True, eq=False)
class AnswerTable:
    """All cells of an answer, row-major over `axes`; these are the `kept` ones among the axes of its leaves."""

    leaves: tuple[Axis, ...]
    measured: tuple[Measured, ...]
    kept: Axes
    shares: tuple[Share, ...] = ()

    @classmethod
    def of(cls, spec: QuerySpec, values: Sequence[int], total_variances: Sequence[Fraction]) -> "AnswerTable":
        layout, vector = Layout.of(spec), np.array(values, dtype=np.int64)
        axes = layout.grid.axes
        released = [(each, _Leaves(_cells(each, vector), v)) for each, v in zip(layout.segments, total_variances, strict=True)]
        measured = [
            _measured(name, measure, [(each, part) for each, part in released if each.measure == measure], spec)
            for name, measure in zip(column_names(spec.measures), spec.measures, strict=True)
        ]
        return cls(axes, tuple(measured), tuple(range(len(axes))), tuple(_shares(measured)))

    @property
    def axes(self) -> tuple[Axis, ...]:
        return tuple(self.leaves[n] for n in self.kept)

    @property
    def grid(self) -> Grid:
        return Grid(self.axes)

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        told: tuple[Measured | Share, ...] = (*self.measured, *self.shares)
        return tuple(column for each in told for column in each.columns(self.kept))

    @property
    def is_exact(self) -> bool:
        """Whether no number here carries noise: exact mode."""
        return not any(stretch.variance for each in self.measured for stretch in (part.over(self.kept) for part in each.parts))

    @property
    def time(self) -> Axis | None:
        return next((axis for axis in self.axes if axis.key in {"iso_week", "month"}), None)

    def collapsed(self, keys: Sequence[str]) -> "AnswerTable":
        """The table over these keys alone; every other axis is summed."""
        return AnswerTable(self.leaves, self.measured, tuple(n for n in self.kept if self.leaves[n].key in keys), self.shares)

    def key_columns(self) -> dict[str, list[str]]:
        """The label of each cell on each axis."""
        if not self.axes:
            return {}
        places = np.indices(self.grid.shape).reshape(len(self.axes), -1)
        return {axis.key: np.array(axis.labels)[place].tolist() for axis, place in zip(self.axes, places, strict=True)}


def column_names(measures: Sequence[Measure]) -> tuple[str, ...]:
    """The name of each measure, `measure_name` but for the second one of a name, which gets `_2`."""
    plain = [measure_name(measure) for measure in measures]
    return tuple(name if plain.index(name) == n else f"{name}_{plain[: n + 1].count(name)}" for n, name in enumerate(plain))


def _shares(measured: list[Measured]) -> Iterator[Share]:
    """One for each filtered count that stands beside the same count of all rows."""
    wholes = {each.measure: each for each in measured if each.measure.filter is None}
    for each in measured:
        whole = wholes.get(each.measure.model_copy(update={"filter": None}))
        if isinstance(each.measure, Count | Persons) and each.measure.filter is not None and whole is not None:
            yield Share(each.name.replace("_where", "_percent"), each, whole)


def _cells(segment: Segment, vector: NDArray[np.int64]) -> NDArray[np.int64]:
    return vector[segment.offset : segment.offset + segment.length].reshape(segment.grid.shape)


def _measured(name: str, measure: Measure, released: list[tuple[Segment, _Leaves]], spec: QuerySpec) -> Measured:
    parts = {part: [each for each in released if each[0].part == part] for part in dict.fromkeys(each.part for each, _ in released)}
    return Measured(name, measure, tuple(_part(levels, spec) for levels in parts.values()))


def _part(levels: list[tuple[Segment, _Leaves]], spec: QuerySpec) -> Released:
    """One part of a measure, at every level that was released."""
    keys: list[str] = [key.key for key in spec.keys]
    inner = (len(keys),) if len(levels[0][0].grid.axes) > len(keys) else ()
    found = _released([(_axes(each, keys, inner), leaves) for each, leaves in levels], spec)
    return _Histogram(found, *inner) if inner else found


def _axes(segment: Segment, keys: list[str], inner: Axes) -> tuple[Axes, bool]:
    return (*(keys.index(key) for key in segment.level), *inner), segment.is_union


def _released(levels: list[tuple[tuple[Axes, bool], _Leaves]], spec: QuerySpec) -> Released:
    (_, is_union), leaves = levels[0]
    if len(levels) == 1:
        return leaves
    if not leaves.variance and not (is_union and spec.table.is_dated):
        return leaves  # exact mode: every level is the sum of its leaves as it stands
    if is_union and spec.table.is_dated:
        return _Unions({axes: part for (axes, _), part in levels})
    at = [Level(axes, part.values, float(part.variance)) for (axes, _), part in levels]
    return _Levels(consistent(leaves.values.shape, at))
