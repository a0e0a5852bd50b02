"""What a query reads and how far one patient can move its answer, from the query alone.

Rules (privacy choice 2)
- The footprint is every block whose rows the plan may read, also where no row matches: a month of the period or of a window,
  and 'static:patients'. Each footprint block pays.
- The next five rules are those of a question that is bounded per (patient, block).
- One patient's rows of one block touch at most k cells of a measure, each by a value in [lo, hi] with lo <= 0 <= hi; so
  removing them moves the vector by L1 <= max(|lo|, |hi|) * k and L2^2 <= max(|lo|, |hi|)^2 * k.
- k is never more than the cells one block can reach (one month of a monthly table has one cell).
- A total of `totals` adds up the kept cells of the leaves, each clamped there, so that the levels agree exactly: with f leaves of
  one block in one cell of the level, j = min(k, f) of them may coincide. The k clamped leaves then move it by L1 <= c * k and
  L2^2 <= c^2 * (q j^2 + r^2), where k = q j + r. Persons are an OR at each level instead: at most k cells by 1.
- Residents are an OR over hospitals too: what is said of a patient of one hospital holds of each bucket of a cell, and all records
  of one resident, at every hospital and in every block, touch one bucket of each cell: L1 = L2^2 <= the cells (`resident`).
- A quantile is a histogram: each kept cell is in one bin, so that bins add nothing to k. So are present and missing, the
  categories of a table one, and the intervals of a survival curve in which patients have their event or are lost.
- Bounded over the whole query (`bound` "query"): k cells of a patient count, each total within [lo, hi] over all blocks. Removing
  one block's rows may move a kept cell from one end to the other, or exchange a cell for another: with j of k cells kept, of
  `length` entries, L1 <= j (hi - lo) + 2 (k - j) c and L2^2 <= j (hi - lo)^2 + 2 (k - j) c^2. Both are largest at an end of
  max(0, 2k - length) <= j <= k: the bound of choice 2 where there are 2k entries, and less for a single number.
- There, a level above is two sums of at most k leaves, before and after, up to `together` of them in one cell. With Q the
  sum q j^2 + r^2, L2^2 <= 2 (hi^2 + lo^2) Q and L1 <= 2 k c; a level of one entry by k (hi - lo) (decision 0014).
- A patient who is in no block at all is the step from nothing to k cells: the block-local rule, once and not per block.
- With weights, block b of a question moves its vector by |w_b| times what the unweighted one moves it by: L1 by w_b, L2^2 by
  w_b^2. A segment states that of its largest weight; `of_weight` the others. A patient of all blocks: the sum of the weights.
- Measures and levels stack: L1 and L2^2 of a query are the sums over its segments.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

from protocols.query.cohort import QUERY_BOUND
from protocols.query.domains import Axis, Grid, months_between
from protocols.query.spec import QuerySpec
from protocols.query.terms import (
    Average,
    Categories,
    Count,
    Measure,
    Persons,
    Quantiles,
    Residents,
    Spread,
    Sum,
    Summary,
    Survival,
)

PATIENTS_BLOCK = "static:patients"


def footprint(spec: QuerySpec) -> tuple[str, ...]:
    """The blocks that pay, in order; never empty."""
    months = {month for read in spec.reads if read.days is not None for month in months_between(*read.days)}
    static = () if spec.table.is_dated else (PATIENTS_BLOCK,)
    return (*static, *sorted(months))


class Part(StrEnum):
    """What one segment of the vector counts."""

    ROWS = "rows"
    PERSONS = "persons"
    RESIDENTS = "residents"
    TOTAL = "total"
    MEAN = "mean"
    PRESENT = "present"
    DEVIATION = "deviation"
    SQUARE = "square"
    BINS = "bins"
    PRESENCE = "presence"
    CATEGORIES = "categories"
    ENDS = "ends"


MISSING = "missing"
_HISTOGRAMS = frozenset({Part.BINS, Part.PRESENCE, Part.CATEGORIES, Part.ENDS})


@dataclass(frozen=True, slots=True)
class Segment:
    """One grid of integers in the vector: a part of a measure at one level, an average being MEAN (scaled) over PRESENT.

    `cells` of a (patient, block) count, and up to `together` of them fall into one cell of this level. `is_whole`: of a patient
    over the whole query, one block of whom may exchange one cell for another. `weights`: of the blocks; none is one for each.
    """

    measure: Measure
    part: Part
    level: tuple[str, ...]
    grid: Grid
    offset: int
    lo: int
    hi: int
    cells: int
    together: int = 1
    is_whole: bool = False
    weights: tuple[int, ...] = ()

    @property
    def length(self) -> int:
        return self.grid.size

    @property
    def clamp(self) -> int:
        """The most that one kept cell adds, in absolute value."""
        return max(-self.lo, self.hi)

    @property
    def largest(self) -> int:
        """The most that one (patient, block), or under `is_whole` one patient, adds to one entry, in absolute value."""
        return self.clamp * self.together * max(self.weights, default=1)

    @property
    def is_union(self) -> bool:
        """Whether cells and blocks are joined by OR and not added."""
        return self.part in {Part.PERSONS, Part.RESIDENTS}

    @property
    def scale(self) -> int:
        """What to divide an entry by, to have it in the column's own unit."""
        return self.measure.scale if isinstance(self.measure, Sum | Average) and self.part is not Part.PRESENT else 1

    @property
    def l1(self) -> int:
        return self._of_a_change(1) if self.is_whole else self.of_weight(max(self.weights, default=1))[0]

    @property
    def l2_squared(self) -> int:
        return self._of_a_change(2) if self.is_whole else self.of_weight(max(self.weights, default=1))[1]

    def of_weight(self, weight: int) -> tuple[int, int]:
        """(L1, L2 squared) of a (patient, block) whose block has this weight."""
        l1, l2_squared = self.whole
        return weight * l1, weight**2 * l2_squared

    @property
    def whole(self) -> tuple[int, int]:
        """(L1, L2 squared) of all that is counted of a (patient, block) of weight 1, or of a patient: from no cell to `cells`."""
        return self.clamp * self.cells, self.clamp**2 * self._squares

    @property
    def resident(self) -> tuple[int, int] | None:
        """(L1, L2 squared) of one resident with a number, at all hospitals and in all blocks together; None for other parts."""
        return (self.length, self.length) if self.part is Part.RESIDENTS else None

    def over_all(self, blocks: int) -> tuple[int, int] | None:
        """(L1, L2 squared) of a patient of all blocks, where it is less than the sum over them."""
        if self.is_whole:
            return self.whole
        if self.weights:
            return self.of_weight(sum(self.weights))
        reached = min(self.length, self.cells * blocks)
        return (reached, reached) if self.part is Part.RESIDENTS else None

    @property
    def _squares(self) -> int:
        """The largest sum of squares of how many of the cells meet in each entry."""
        full, rest = divmod(self.cells, self.together)
        return full * self.together**2 + rest**2

    def _of_a_change(self, power: int) -> int:
        span, clamp, k = int((self.hi - self.lo) ** power), int(self.clamp**power), self.cells
        if self.together == 1:
            ends = (max(0, 2 * k - self.length), k)
            return max(kept * span + 2 * (k - kept) * clamp for kept in ends)
        if self.length == 1:
            return int(k**power) * span
        return 2 * k * clamp if power == 1 else 2 * (self.hi**2 + self.lo**2) * self._squares


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each measure stands in the vector, and what it can cost."""

    grid: Grid
    segments: tuple[Segment, ...]

    @classmethod
    def of(cls, spec: QuerySpec) -> Layout:
        grid, is_whole = spec.grid(), spec.bound == QUERY_BOUND
        cells = min(spec.cells_per_patient, grid.size if is_whole else grid.reachable_per_block)
        if not spec.table.is_dated:
            cells = 1  # one row per patient
        segments: list[Segment] = []
        for level in (grid.keys, *(spec.totals or ())):
            for measure in spec.measures:
                for part, lo, hi in _parts(measure):
                    offset = segments[-1].offset + segments[-1].length if segments else 0
                    segments.append(_segment(measure, part, (lo, hi), level, grid, cells, offset, is_whole=is_whole))
        return cls(grid, tuple(replace(each, weights=spec.weights or ()) for each in segments))

    @property
    def dimension(self) -> int:
        return self.segments[-1].offset + self.segments[-1].length

    @property
    def cells_kept(self) -> int:
        """How many cells the plan keeps of each (patient, block), or of each patient."""
        return self.segments[0].cells

    def sensitivities(self) -> tuple[tuple[int, int], ...]:
        """(L1, L2 squared) of each segment, in the order of the vector."""
        return tuple((segment.l1, segment.l2_squared) for segment in self.segments)

    def stacked(self) -> tuple[int, int]:
        """(L1, L2 squared) of the whole vector."""
        return sum(segment.l1 for segment in self.segments), sum(segment.l2_squared for segment in self.segments)


def _segment(
    measure: Measure,
    part: Part,
    ends: tuple[int, int],
    level: tuple[str, ...],
    leaves: Grid,
    cells: int,
    offset: int,
    *,
    is_whole: bool,
) -> Segment:
    at_level = leaves.over(level)
    gone = [axis for axis in leaves.axes if axis.key not in level]
    merged = math.prod(len(axis.labels) if is_whole else axis.per_block for axis in gone)
    shown = Grid((*at_level.axes, inner_axis(measure, part))) if part in _HISTOGRAMS else at_level
    if part in {Part.PERSONS, Part.RESIDENTS}:
        reachable = at_level.size if is_whole else at_level.reachable_per_block
        return Segment(measure, part, level, shown, offset, *ends, min(cells, reachable), is_whole=is_whole)
    return Segment(measure, part, level, shown, offset, *ends, cells, min(cells, merged), is_whole)


def inner_axis(measure: Measure, part: Part) -> Axis:
    """The entries of a part that is a histogram inside every cell."""
    if isinstance(measure, Categories):
        labels: tuple[str, ...] = (*measure.labels, MISSING)
    elif isinstance(measure, Survival):
        events, lost = ([f"{end} {edge}" for edge in measure.edges] for end in ("event", "censored"))
        labels = (*events, *lost, "outlived")
    elif part is Part.PRESENCE:
        labels = ("present", MISSING)
    elif isinstance(measure, Quantiles | Summary):
        labels = tuple(map(str, range(measure.bins)))  # numbered from the lowest
    else:
        raise AssertionError(f"a {measure.kind} has no histogram")
    return Axis(part.value, labels, len(labels))


def _parts(measure: Measure) -> tuple[tuple[Part, int, int], ...]:
    if isinstance(measure, Count):
        return ((Part.ROWS, 0, measure.hi),)
    if isinstance(measure, Persons):
        return ((Part.PERSONS, 0, 1),)
    if isinstance(measure, Residents):
        return ((Part.RESIDENTS, 0, 1),)
    if isinstance(measure, Quantiles | Categories | Survival):
        return ((_HISTOGRAM_OF[type(measure)], 0, 1),)
    if isinstance(measure, Spread | Summary):
        moments = (Part.DEVIATION, -measure.steps, measure.steps), (Part.SQUARE, 0, measure.steps**2)
        return (
            (*moments, (Part.PRESENT, 0, 1))
            if isinstance(measure, Spread)
            else (*moments, (Part.PRESENCE, 0, 1), (Part.BINS, 0, 1))
        )
    lo, hi = map(int, measure.scaled)
    if measure.kind == "sum":
        return ((Part.TOTAL, lo, hi),)
    return (Part.MEAN, lo, hi), (Part.PRESENT, 0, 1)


_HISTOGRAM_OF = {Quantiles: Part.BINS, Categories: Part.CATEGORIES, Survival: Part.ENDS}
