"""The numbers of a combined series by span of months and by cell, as its files and its chart tell them.

Spans are each month, each three months in a row, and the total from the first month to each; those with an unasked month
are left out. All cells of a span have one noise variance, and a sum of them so many times it: noise of cells is independent.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coordinator.client.column import reach
from privacy.factorisation import WINDOW
from privacy.series import Series

Floats = NDArray[np.float64]
MONTH, THREE_MONTHS, TO_DATE = "month", "three_months", "to_date"


@dataclass(frozen=True, slots=True)
class Span:
    """Months from `start` on, before `stop`, numbered from the first of the series. `name` is its kind."""

    name: str
    start: int
    stop: int


def spans(found: Series) -> list[Span]:
    """In the order in which their last months end."""
    wanted = (
        each
        for step in found.steps
        for each in (Span(MONTH, step, step + 1), Span(THREE_MONTHS, step + 1 - WINDOW, step + 1), Span(TO_DATE, 0, step + 1))
    )
    return [each for each in wanted if each.start >= 0 and found.total(each.start, each.stop) is not None]


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """One number with its 95 % noise interval for each of some spans, in the measure's own unit."""

    values: Floats
    half_widths: Floats

    @property
    def lower(self) -> Floats:
        return self.values - self.half_widths

    @property
    def upper(self) -> Floats:
        return self.values + self.half_widths


def summed(found: Series, over: Sequence[Span], cells: NDArray[np.bool_], scale: int) -> Line:
    """The sum of the chosen cells in each span."""
    known = [_known(found, each) for each in over]
    values = [float(numbers[cells].sum()) / scale for numbers, _ in known]
    halves = [reach(int(cells.sum()) * variance) / scale for _, variance in known]
    return Line(np.array(values), np.array(halves))


def by_cell(found: Series, span: Span, scale: int) -> Line:
    """Each cell of one span."""
    numbers, variance = _known(found, span)
    return Line(numbers / scale, np.full(len(numbers), reach(variance) / scale))


def _known(found: Series, span: Span) -> tuple[Floats, float]:
    total = found.total(span.start, span.stop)
    if total is None:
        raise AssertionError("a month without an answer was told")
    return total
