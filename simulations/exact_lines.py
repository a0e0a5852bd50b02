"""What measures that take one entry a patient and cell say of rows, in plain Python: spreads, quantiles, table ones, curves.

A patient's entry is made of all its rows of a cell and month, or of a cell where the question is bounded over the whole query: the
mean, in millionths rounded half up; the category of most rows; the first row's time to its event. Nothing bounds how many cells a
patient is in. What lies beyond the clamps of such a measure is at them, since that is what it asks for.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from protocols.query import Part
from protocols.query.terms import Categories, Measure, Quantiles, Ranged, Spread, Summary, Survival


class Row(NamedTuple):
    """One row that counts, as `exact_sql.select_rows` gives it."""

    person: int
    block: str
    day: date | None
    number: Decimal | int | None
    more: tuple[Any, ...]
    labels: tuple[str, ...]


def entries(rows: Iterable[Row]) -> list[list[Row]]:
    """The rows of each patient, block and cell together."""
    together: dict[tuple[int, str, tuple[str, ...]], list[Row]] = defaultdict(list)
    for row in rows:
        together[row.person, row.block, row.labels].append(row)
    return list(together.values())


def place_and_amount(measure: Measure, part: Part, rows: list[Row], column: int) -> tuple[int, int]:
    """Which entry of its cell's histogram (0 where there is none) a patient's rows add to, and how much. `column` is the place in
    `more` of what the measure asks."""
    if isinstance(measure, Categories):
        return _category(measure, [row.more[column] for row in rows]), 1
    if isinstance(measure, Survival):
        return _end(measure, rows, column), 1
    assert isinstance(measure, Spread | Quantiles | Summary)
    mean = _mean(rows)
    if part is Part.PRESENCE:
        return int(mean is None), 1
    if mean is None:
        return 0, 0
    if part is Part.PRESENT:
        return 0, 1
    if isinstance(measure, Quantiles) or part is Part.BINS:
        return _bin(measure, mean), 1
    steps = _steps(measure, mean)
    return 0, steps if part is Part.DEVIATION else steps**2


def _mean(rows: list[Row]) -> Fraction | None:
    numbers = [Fraction(row.number) for row in rows if row.number is not None]
    return Fraction(math.floor(sum(numbers, Fraction(0)) / len(numbers) * 10**6 + Fraction(1, 2)), 10**6) if numbers else None


def _ends(measure: Ranged) -> tuple[Fraction, Fraction]:
    return Fraction(measure.lo), Fraction(measure.hi)


def _bin(measure: Quantiles | Spread | Summary, mean: Fraction) -> int:
    assert isinstance(measure, Quantiles | Summary)
    lo, hi = _ends(measure)
    inside = min(max(mean, lo), hi)
    return min(math.floor((inside - lo) / (hi - lo) * measure.bins), measure.bins - 1)


def _steps(measure: Spread | Summary, mean: Fraction) -> int:
    lo, hi = _ends(measure)
    inside = min(max(mean, lo), hi)
    return math.floor((inside - (lo + hi) / 2) / (hi - lo) * 2 * measure.steps + Fraction(1, 2))


def _category(measure: Categories, found: list[str | None]) -> int:
    known = Counter(each for each in found if each in measure.labels)
    most = max(known.values(), default=0)
    return next((n for n, label in enumerate(measure.labels) if most and known[label] == most), len(measure.labels))


def _end(measure: Survival, rows: list[Row], column: int) -> int:
    first = min(rows, key=lambda row: row.day or date.max)
    assert first.day is not None
    days, edges = first.more[column], measure.edges
    if days is not None:
        return sum(edge < days for edge in edges)
    followed = (measure.until - first.day).days - 1
    return len(edges) + (sum(edge < followed for edge in edges) if followed < edges[-1] else len(edges))
