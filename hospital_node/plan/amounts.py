"""What each kept (patient, block, cell) adds to the vector, for every part of a measure and every level of an answer.

Rules
- Amounts are integers, rounded half up, clamped per (patient, block, cell) of the leaves; a level above adds them up as they are.
- A mean of a cell's rows weighs a patient once. Its deviation is counted in whole steps from the middle of the clamps, and its
  square is the square of those steps; its bin is one of the equal bins between the clamps, the ends taking what lies outside.
- Of a histogram inside a cell, a (patient, block, cell) is in one entry, or in none.
- Persons are an OR over blocks, and over the cells that a level merges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np

from hospital_node.plan.bounding import Booleans
from hospital_node.plan.packing import Int64s, Packing, distinct
from hospital_node.plan.picking import CATEGORY, end_name, place_of_end
from protocols.query import Grid, Part, Segment
from protocols.query.terms import UNITS, Categories, Quantiles, Ranged, Spread, Summary, Survival


@dataclass(frozen=True, slots=True)
class Tally:
    """What each (patient, block, cell) holds: rows, and where values are asked the rows with one and their total in millionths.

    `keys` are packed, in order, each once.
    """

    packing: Packing
    keys: Int64s
    rows: Int64s
    present: Int64s
    micro: Int64s
    more: Mapping[str, Int64s] = field(default_factory=dict)
    """What `picking` made of its rows, by the name of their column."""

    @classmethod
    def joined(cls, pieces: Sequence[Tally]) -> Tally:
        """The pieces of one answer, in their order."""
        if len(pieces) == 1:
            return pieces[0]
        return cls(
            pieces[0].packing,
            np.concatenate([piece.keys for piece in pieces]),
            np.concatenate([piece.rows for piece in pieces]),
            np.concatenate([piece.present for piece in pieces]),
            np.concatenate([piece.micro for piece in pieces]),
            {name: np.concatenate([piece.more[name] for piece in pieces]) for name in pieces[0].more},
        )

    def where(self, kept: Booleans) -> Tally:
        more = {name: numbers[kept] for name, numbers in self.more.items()}
        return Tally(self.packing, self.keys[kept], self.rows[kept], _kept(self.present, kept), _kept(self.micro, kept), more)

    def within(self, chosen: Tally) -> Tally:
        """What of it lies in cells that were chosen."""
        if not len(chosen.keys):
            return self.where(np.zeros(len(self.keys), dtype=np.bool_))
        place = np.minimum(np.searchsorted(chosen.keys, self.keys), len(chosen.keys) - 1)
        return self.where(chosen.keys[place] == self.keys)


def _kept(numbers: Int64s, kept: Booleans) -> Int64s:
    """Those that are kept; of one number that stands for all, as where no values are asked, as many as are kept."""
    return np.broadcast_to(numbers[:1], (int(np.count_nonzero(kept)),)) if numbers.strides == (0,) else numbers[kept]


def add_amounts(
    segment: Segment,
    tally: Tally,
    leaf: Int64s,
    leaves: Grid,
    shared: Booleans | None,
    vector: Int64s,
    weight: Int64s | int = 1,
    *,
    is_bounded: bool = True,
) -> None:
    """Adds the patients of one piece to a segment. `leaf` is the cell of each entry, `shared` says which cells a patient can reach
    in several blocks, if any; `weight` is that of each entry's block, of what is summed up over blocks."""
    if segment.is_union:
        _add_persons(segment, tally, leaves, shared, leaf, vector)
        return
    cell = merged_cells(leaves, segment.level, leaf)
    if (entry := _entry(segment, tally)) is not None:
        cell = cell * len(segment.grid.axes[-1].labels) + entry
    amount = _amount(segment, tally)
    np.add.at(vector, cell, weight * (np.clip(amount, segment.lo, segment.hi) if is_bounded else amount))


def _add_persons(segment: Segment, tally: Tally, leaves: Grid, shared: Booleans | None, leaf: Int64s, vector: Int64s) -> None:
    if segment.level != leaves.keys:
        merged = merged_cells(leaves, segment.level, leaf)
        # A merged cell has a smaller number than the leaf, so that it fits where the leaf stood.
        add_ones(tally.packing.cell(distinct(tally.packing.patient_cell(tally.keys) - leaf + merged)), vector)
    elif shared is None:
        add_ones(leaf, vector)
    else:
        # Only in a cell of several blocks can a patient stand twice, so only those are looked through.
        is_shared = shared[leaf]
        add_ones(leaf[~is_shared], vector)
        add_ones(tally.packing.cell(distinct(tally.packing.patient_cell(tally.keys[is_shared]))), vector)


def add_ones(cell: Int64s, vector: Int64s) -> None:
    """One for each entry."""
    if len(vector) <= len(cell):
        vector += np.bincount(cell, minlength=len(vector))
    else:
        np.add.at(vector, cell, 1)


def merged_cells(leaves: Grid, level: tuple[str, ...], cell: Int64s) -> Int64s:
    """The cell of a level that each leaf lies in."""
    if level == leaves.keys:
        return cell
    merged, width, rest = np.zeros_like(cell), 1, cell
    for axis in reversed(leaves.axes):
        rest, place = np.divmod(rest, len(axis.labels))
        if axis.key in level:
            merged += place * width
            width *= len(axis.labels)
    return merged


def _entry(segment: Segment, tally: Tally) -> Int64s | None:
    """Which entry of the histogram of its cell; None for a part that is none."""
    measure = segment.measure
    if segment.part is Part.PRESENCE:
        is_missing: Int64s = (tally.present == 0).astype(np.int64)
        return is_missing
    if isinstance(measure, Quantiles | Summary) and segment.part is Part.BINS:
        return _bin(measure, tally)
    if isinstance(measure, Categories):
        place = tally.more[f"{CATEGORY}{measure.column}"]
        return np.where(place < 0, len(measure.labels), place)
    return place_of_end(tally.more[end_name(measure)]) if isinstance(measure, Survival) else None


def _amount(segment: Segment, tally: Tally) -> Int64s:
    if segment.part is Part.ROWS:
        return tally.rows
    if segment.part in {Part.PRESENT, Part.BINS}:
        return np.minimum(tally.present, 1)
    if segment.part in {Part.PRESENCE, Part.CATEGORIES, Part.ENDS}:
        return np.ones_like(tally.keys)
    if isinstance(segment.measure, Spread | Summary):
        steps = _steps(segment.measure, tally)
        return steps if segment.part is Part.DEVIATION else steps**2
    unit = UNITS // segment.scale
    if segment.part is Part.TOTAL:
        return (tally.micro + unit // 2) // unit
    return _mean(tally, unit)


def _mean(tally: Tally, unit: int) -> Int64s:
    weight = np.maximum(tally.present, 1) * unit
    mean: Int64s = (2 * tally.micro + weight) // (2 * weight)
    return mean


def _steps(measure: Spread | Summary, tally: Tally) -> Int64s:
    """Whole steps from the middle, not clamped yet; 0 for a cell without a value."""
    lo, hi = _ends(measure)
    width = hi - lo
    twice = 2 * (_mean(tally, 1) - lo) - width
    steps: Int64s = (2 * twice * measure.steps + width) // (2 * width)
    return np.where(tally.present > 0, np.clip(steps, -measure.steps, measure.steps), 0)


def _bin(measure: Quantiles | Summary, tally: Tally) -> Int64s:
    lo, hi = _ends(measure)
    number: Int64s = (np.clip(_mean(tally, 1), lo, hi) - lo) * measure.bins // (hi - lo)
    return np.minimum(number, measure.bins - 1)


def _ends(measure: Ranged) -> tuple[int, int]:
    return int(Decimal(measure.lo) * UNITS), int(Decimal(measure.hi) * UNITS)
