"""Rules of the numbers that bound a measure or a histogram: clamps stand the right way round, edges and points rise, and a
follow-up ends after it began."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from decimal import Decimal

from protocols.query.domains import LATEST
from protocols.query.errors import Problem, ProblemCode
from protocols.query.terms import (
    MAX_BUCKETS,
    MAX_CLAMP,
    UNITS,
    Average,
    BinKey,
    Key,
    Measure,
    Period,
    Quantiles,
    Ranged,
    Residents,
    Sum,
    Survival,
)


def range_problems(measures: tuple[Measure, ...], keys: tuple[Key, ...]) -> Iterator[Problem]:
    yield from _clamps_are_bounds(measures)
    yield from _bins_rise(keys)


def resident_problems(measures: tuple[Measure, ...], has_totals: bool, cells: int) -> Iterator[Problem]:
    """Residents are counted by a protocol of their own: alone, and over few cells."""
    for n, measure in enumerate(measures):
        if not isinstance(measure, Residents):
            continue
        path = f"measures.{n}"
        if len(measures) > 1:
            rule, nearest = "stands beside another measure", "a question of its own for each"
            yield Problem(ProblemCode.BAD_VALUE, measure.kind, rule, nearest, path=path)
        if has_totals:
            yield Problem(ProblemCode.BAD_VALUE, "totals", "residents do not add up over levels", "no totals", path="totals")
        if measure.buckets & (measure.buckets - 1):
            nearest = str(1 << (measure.buckets.bit_length() - 1))
            yield Problem(ProblemCode.BAD_VALUE, "buckets", "a power of two", nearest, path=path)
        elif cells * measure.buckets > MAX_BUCKETS:
            rule = f"{cells} cells of {measure.buckets} buckets, the most is {MAX_BUCKETS} in all"
            yield Problem(ProblemCode.TOO_MANY_CELLS, measure.kind, rule, "fewer keys or buckets", path=path)


def _clamps_are_bounds(measures: tuple[Measure, ...]) -> Iterator[Problem]:
    for n, measure in enumerate(measures):
        if isinstance(measure, Ranged):
            yield from _range_is_one(measure, f"measures.{n}")
        if not isinstance(measure, Sum | Average):
            continue
        (lo, hi), path = measure.scaled, f"measures.{n}"
        if not lo <= 0 <= hi or lo == hi:
            yield Problem(ProblemCode.CLAMPS, measure.kind, "clamps need lo <= 0 <= hi, lo < hi", "CLAMP(value, 0, 300)", path=path)
        elif lo != int(lo) or hi != int(hi) or UNITS % measure.scale:
            nearest = "scale 1, 10, 100, 1000 ... with whole lo * scale and hi * scale"
            yield Problem(ProblemCode.CLAMPS, measure.kind, "the scale does not fit", nearest, path=path)
        elif max(-lo, hi) > MAX_CLAMP:
            yield Problem(ProblemCode.CLAMPS, measure.kind, f"a clamp times its scale is over {MAX_CLAMP}", path=path)


def _range_is_one(measure: Ranged, path: str) -> Iterator[Problem]:
    lo, hi = Decimal(measure.lo), Decimal(measure.hi)
    if not lo < hi:
        yield Problem(ProblemCode.CLAMPS, measure.kind, "clamps need lo < hi", "CLAMP(value, 0, 30)", path=path)
    elif max(-lo, hi) > MAX_CLAMP:
        yield Problem(ProblemCode.CLAMPS, measure.kind, f"a clamp is over {MAX_CLAMP}", path=path)
    points = [Decimal(point) for point in measure.points] if isinstance(measure, Quantiles) else []
    if points != sorted(set(points)) or not all(0 < point < 1 for point in points):
        yield Problem(ProblemCode.BAD_VALUE, "points", "rising, between 0 and 1", "0.25, 0.5, 0.75", path=path)


def _bins_rise(keys: tuple[Key, ...]) -> Iterator[Problem]:
    for n, key in enumerate(keys):
        if isinstance(key, BinKey):
            edges = [Decimal(edge) for edge in key.edges]
            if any(low >= high for low, high in itertools.pairwise(edges)):
                yield Problem(ProblemCode.BAD_VALUE, "bin", "edges must rise", "BIN(value, 0, 5, 10, 20)", path=f"keys.{n}")
            elif max(-edges[0], edges[-1]) > MAX_CLAMP:
                yield Problem(ProblemCode.BAD_VALUE, "bin", f"an edge is over {MAX_CLAMP}", path=f"keys.{n}")


def follow_up_problems(measures: tuple[Measure, ...], period: Period | None) -> Iterator[Problem]:
    """A survival curve's grid rises and ends where its event is looked for, within what the follow-up can see."""
    for n, measure in enumerate(measures):
        if not isinstance(measure, Survival):
            continue
        path, edges = f"measures.{n}", measure.edges
        if any(low >= high for low, high in itertools.pairwise(edges)):
            yield Problem(ProblemCode.BAD_VALUE, "KAPLAN_MEIER", "edges must rise", "[30, 60, 90]", path=path)
        elif measure.event.days != (1, edges[-1]):
            rule = "the event is looked for from day 1 to the last edge"
            yield Problem(ProblemCode.LOOK_BACK, "KAPLAN_MEIER", rule, f"HAS(..., 1, {edges[-1]})", path=path)
        if period is not None and not period.end < measure.until <= LATEST:
            rule = "follow-up has to last a day beyond the period at least"
            yield Problem(ProblemCode.PERIOD, "KAPLAN_MEIER", rule, f"a day after {period.end}", path=path)
