"""What a month of a question is kept as: the numbers that it adds to an answer, and who is in cells that other months reach too.

Rules
- A month's vector is what the plan gives for a question of this month alone. All that adds up over months is added from there.
- Patients are an OR over months, so that who is in a cell of several months has to be known: at a level with weeks in the month's
  first and last week, since a week lies in two months at most; at a level without a key of time everybody; where the month itself
  is a key nobody.
- A patient whom two months put into one week is taken off once. At a level without time all months are joined.
- Patients are kept as numbers, cells without their week.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hospital_node.plan.amounts import Tally, add_amounts, add_ones, merged_cells
from hospital_node.plan.packing import Int64s, PackedRows, distinct, repeated
from protocols.query import Grid, Layout, QuerySpec, Segment
from protocols.query.terms import Cohort

WEEK, MONTH = "iso_week", "month"
Numbers = NDArray[np.integer]


class Persons(NamedTuple):
    """Each (patient, cell) once, in as few bytes as they need."""

    person: Numbers
    cell: Numbers

    @classmethod
    def of(cls, person: Int64s, cell: Int64s) -> Persons:
        return cls(narrowed(person), narrowed(cell))

    @property
    def nbytes(self) -> int:
        return self.person.nbytes + self.cell.nbytes


@dataclass(frozen=True, slots=True)
class Month:
    """One month, or what a period leaves of it. `edges` are, by the number of a segment, who is in its first and its last week."""

    layout: Layout
    vector: Int64s
    edges: Mapping[int, tuple[Persons, Persons]]
    repeats: dict[int, Int64s] = field(default_factory=dict)
    """By segment, how many patients a cell of its first week shares with the whole month before; as far as anybody asked."""

    @classmethod
    def of(cls, spec: QuerySpec, tallies: Mapping[Cohort | None, Tally]) -> Month:
        """`spec` asks of this month alone, and the tallies' cells are those of its grid."""
        layout = Layout.of(spec)
        vector, edges = np.zeros(layout.dimension, dtype=np.int64), {}
        leaves = {each: tally.packing.cell(tally.keys) for each, tally in tallies.items()}
        for n, segment in enumerate(layout.segments):
            tally, leaf = tallies[segment.measure.filter], leaves[segment.measure.filter]
            add_amounts(segment, tally, leaf, layout.grid, None, _part(segment, vector))
            if segment.is_union and MONTH not in segment.level:
                edges[n] = _edges(segment.grid, *_persons(segment, tally, leaf, layout.grid))
        return cls(layout, vector, edges)

    @property
    def nbytes(self) -> int:
        once = {id(each): each for edges in self.edges.values() for each in edges}
        return self.vector.nbytes + sum(each.nbytes for each in once.values())


def answer(layout: Layout, months: Sequence[Month], is_whole: Sequence[bool], weights: Sequence[int] | None) -> Int64s:
    """The vector of a question, from the months of its period in their order; weights have only sums."""
    vector = np.zeros(layout.dimension, dtype=np.int64)
    for n, segment in enumerate(layout.segments):
        part = _part(segment, vector)
        if segment.is_union and not {WEEK, MONTH} & set(segment.level):
            part += _joined(segment, [month.edges[n][0] for month in months])
            continue
        for month, weight in zip(months, weights or (1,) * len(months), strict=True):
            here = month.layout.segments[n]
            part[places_in(segment.grid, here.grid)] += weight * _part(here, month.vector)
        if segment.is_union and MONTH not in segment.level:
            _take_off_repeats(segment, n, months, is_whole, part)
    return vector


def _part(segment: Segment, vector: Int64s) -> Int64s:
    return vector[segment.offset : segment.offset + segment.length]


def _persons(segment: Segment, tally: Tally, leaf: Int64s, leaves: Grid) -> tuple[Int64s, Int64s]:
    """Each (patient, cell of the segment) once."""
    packing = tally.packing
    if segment.level == leaves.keys:
        return packing.person_id(tally.keys), leaf
    # A merged cell has a smaller number than the leaf, so that it fits where the leaf stood.
    keys = distinct(tally.keys - leaf + merged_cells(leaves, segment.level, leaf))
    return packing.person_id(keys), packing.cell(keys)


def _edges(grid: Grid, person: Int64s, cell: Int64s) -> tuple[Persons, Persons]:
    if WEEK not in grid.keys:
        everybody = Persons.of(person, cell)
        return everybody, everybody
    before, weeks, behind = _around_week(grid)
    outer, week, inner = np.indices((before, weeks, behind)).reshape(3, -1)
    without = outer * behind + inner

    def in_week(number: int) -> Persons:
        chosen = np.flatnonzero((week == number)[cell])
        return Persons.of(person[chosen], without[cell[chosen]])

    return in_week(0), in_week(weeks - 1)


def _around_week(grid: Grid) -> tuple[int, int, int]:
    """The sizes of a grid before, at and behind its axis of weeks."""
    at = grid.keys.index(WEEK)
    return math.prod(grid.shape[:at]), grid.shape[at], math.prod(grid.shape[at + 1 :])


def places_in(grid: Grid, of_month: Grid) -> Int64s:
    """Where each cell of a month's grid stands in the question's: both have the same keys, the month fewer labels of time."""
    places = np.zeros(1, dtype=np.int64)
    for axis, here in zip(grid.axes, of_month.axes, strict=True):
        first = axis.labels.index(here.labels[0])
        places = np.add.outer(places * len(axis.labels), np.arange(first, first + len(here.labels))).ravel()
    return places


def _joined(segment: Segment, found: Iterable[Persons]) -> Int64s:
    """Each patient once in each cell, however many months put it there."""
    keys = _packed(segment.length, found)
    counted = np.zeros(segment.length, dtype=np.int64)
    add_ones(keys.packing.cell(distinct(keys.rows.keys)), counted)
    return counted


def _take_off_repeats(segment: Segment, n: int, months: Sequence[Month], is_whole: Sequence[bool], part: Int64s) -> None:
    """Once each patient whom two months put into one cell of the week that they share."""
    before, weeks, behind = _around_week(segment.grid)
    labels, by_week = segment.grid.axes[segment.grid.keys.index(WEEK)].labels, part.reshape(before, weeks, behind)
    ends = [_weeks_of(month, n) for month in months]
    for at in range(1, len(months)):
        if ends[at - 1][-1] != ends[at][0]:
            continue
        repeated = _repeats(months[at - 1], months[at], n, before * behind, is_kept=is_whole[at - 1] and is_whole[at])
        by_week[:, labels.index(ends[at][0]), :] -= repeated.reshape(before, behind)


def _weeks_of(month: Month, n: int) -> tuple[str, ...]:
    return next(axis.labels for axis in month.layout.segments[n].grid.axes if axis.key == WEEK)


def _repeats(earlier: Month, later: Month, n: int, cells: int, *, is_kept: bool) -> Int64s:
    found = later.repeats.get(n) if is_kept else None
    if found is None:
        pairs = _packed(cells, (earlier.edges[n][1], later.edges[n][0]))
        cell = pairs.packing.cell(repeated(pairs.rows.keys))
        found = np.bincount(cell, minlength=cells)
        if is_kept:
            later.repeats[n] = found  # made twice by two threads, it is the same
    return found


def _packed(cells: int, found: Iterable[Persons]) -> PackedRows:
    person, cell = (np.concatenate(each).astype(np.int64) for each in zip(*found, strict=True))
    return PackedRows.of(person, cell, None, 1, cells)


def narrowed(numbers: Numbers) -> Numbers:
    """The same in as few bytes as they need."""
    if not len(numbers):
        return numbers.astype(np.uint8)
    kind = np.result_type(np.min_scalar_type(numbers.min()), np.min_scalar_type(numbers.max()))
    return numbers.astype(kind)
