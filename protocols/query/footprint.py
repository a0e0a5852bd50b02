"""What a query reads and how far one patient can move its answer, from the query alone.

Rules (privacy choice 2, block-local plans)
- The footprint is every block whose rows the plan may read, also where no row matches: a month of the period, or
  'static:patients'. Each footprint block pays.
- One patient's rows of one block touch at most k cells of a measure, each by a value in [lo, hi] with lo <= 0 <= hi; so
  removing them moves the vector by L1 <= max(|lo|, |hi|) * k and L2^2 <= max(|lo|, |hi|)^2 * k.
- k is never more than the cells one block can reach (one month of a monthly table has one cell).
- Measures stack: L1 and L2^2 of a query are the sums over its segments.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from protocols.query.domains import Grid, months_between
from protocols.query.spec import QuerySpec
from protocols.query.terms import Average, Count, Measure, Persons, Sum

PATIENTS_BLOCK = "static:patients"


def footprint(spec: QuerySpec) -> tuple[str, ...]:
    """The blocks that pay, in order; never empty."""
    if spec.period is None:
        return (PATIENTS_BLOCK,)
    return months_between(spec.period.start, spec.period.end)


class Part(StrEnum):
    """What one segment of the vector counts."""

    ROWS = "rows"
    PERSONS = "persons"
    TOTAL = "total"
    MEAN = "mean"
    PRESENT = "present"


@dataclass(frozen=True, slots=True)
class Segment:
    """One grid of integers in the vector. An average is two of them: MEAN (scaled) over PRESENT."""

    measure: Measure
    part: Part
    offset: int
    length: int
    lo: int
    hi: int
    cells: int

    @property
    def largest(self) -> int:
        """The most that one (patient, block) adds to one entry, in absolute value."""
        return max(-self.lo, self.hi)

    @property
    def scale(self) -> int:
        """What to divide an entry by, to have it in the column's own unit."""
        return self.measure.scale if isinstance(self.measure, Sum | Average) and self.part is not Part.PRESENT else 1

    @property
    def l1(self) -> int:
        return self.largest * self.cells

    @property
    def l2_squared(self) -> int:
        return self.largest**2 * self.cells


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each measure stands in the vector, and what it can cost."""

    grid: Grid
    segments: tuple[Segment, ...]

    @classmethod
    def of(cls, spec: QuerySpec) -> Layout:
        grid = spec.grid()
        cells = min(spec.cells_per_patient, grid.reachable_per_block)
        if not spec.table.is_dated:
            cells = 1  # one row per patient
        parts = [(measure, *part) for measure in spec.measures for part in _parts(measure)]
        return cls(
            grid,
            tuple(
                Segment(measure, part, n * grid.size, grid.size, lo, hi, cells) for n, (measure, part, lo, hi) in enumerate(parts)
            ),
        )

    @property
    def dimension(self) -> int:
        return self.grid.size * len(self.segments)

    @property
    def cells_kept(self) -> int:
        """How many cells the plan keeps of each (patient, block)."""
        return self.segments[0].cells

    @property
    def max_per_patient_block(self) -> int:
        """The most that one (patient, block) adds to any one entry of the vector, in absolute value."""
        return max(segment.largest for segment in self.segments)

    def sensitivities(self) -> tuple[tuple[int, int], ...]:
        """(L1, L2 squared) of each segment, in the order of the vector."""
        return tuple((segment.l1, segment.l2_squared) for segment in self.segments)

    def stacked(self) -> tuple[int, int]:
        """(L1, L2 squared) of the whole vector."""
        return sum(segment.l1 for segment in self.segments), sum(segment.l2_squared for segment in self.segments)


def _parts(measure: Measure) -> tuple[tuple[Part, int, int], ...]:
    if isinstance(measure, Count):
        return ((Part.ROWS, 0, measure.hi),)
    if isinstance(measure, Persons):
        return ((Part.PERSONS, 0, 1),)
    lo, hi = map(int, measure.scaled)
    if measure.kind == "sum":
        return ((Part.TOTAL, lo, hi),)
    return (Part.MEAN, lo, hi), (Part.PRESENT, 0, 1)
