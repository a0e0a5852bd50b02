"""Bounded months kept for the next question: what one for other months, or of another measure of the same rows, need not do again.

Promise: `execute_prepared` gives the integers of `execute`, to the last one (tests/hospital_node/plan/test_prepared.py).

Rules
- A month is kept as the cells of its patients that count. Which these are depends on one patient's rows of one block and on the
  node's key of the period alone (`bounding`), so that they are the same whatever months a question asks beside them. A month that
  the period of a question cuts has other rows: it is read anew and never kept.
- A `Prepared` belongs to one generation of the records and goes with it. The key of the period is part of what a month is kept
  under: the next key chooses anew.
- Only for questions bounded per block, of tables with dates. A bound over the whole query knows no months. Measures that choose
  one of a patient's rows (categories, survival) ask `execute`.
- In memory alone and at most `most_bytes`; the month asked longest ago goes first.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from hashlib import sha256
from threading import Lock
from typing import NamedTuple

import duckdb
import numpy as np
from numpy.typing import NDArray

from hospital_node.plan.amounts import Tally, add_amounts, add_ones, merged_cells
from hospital_node.plan.bounding import Booleans
from hospital_node.plan.cohort import filters_of
from hospital_node.plan.compile import value_column
from hospital_node.plan.execute import bounded_tallies, execute, shared_cells
from hospital_node.plan.packing import Int64s, PackedRows, Packing, distinct
from protocols.query import Grid, Layout, QuerySpec, Segment
from protocols.query.cohort import QUERY_BOUND
from protocols.query.terms import Categories, Cohort, Period, Survival

MOST_BYTES = 256 << 20
Tallies = Mapping[Cohort | None, Tally]


def execute_prepared(spec: QuerySpec, connection: duckdb.DuckDBPyConnection, bounding_key: bytes, prepared: Prepared) -> Int64s:
    """The exact vector of a bounded query. `prepared` has to be of the records that `connection` reads."""
    if spec.period is None or spec.bound == QUERY_BOUND or any(isinstance(each, Categories | Survival) for each in spec.measures):
        return execute(spec, connection, bounding_key)
    layout = Layout.of(spec)
    shared, vector = shared_cells(spec, layout.grid), np.zeros(layout.dimension, dtype=np.int64)
    unions: dict[int, list[tuple[Int64s, Int64s]]] = defaultdict(list)
    for n, month in enumerate(_months(spec, spec.period)):
        leaf_of = _places_in(layout.grid, month.grid())
        tallies = prepared.tallies(month, connection, bounding_key)
        leaves = {each: leaf_of[tally.packing.cell(tally.keys)] for each, tally in tallies.items()}
        for segment in layout.segments:
            tally, leaf = tallies[segment.measure.filter], leaves[segment.measure.filter]
            part = vector[segment.offset : segment.offset + segment.length]
            if segment.is_union:
                unions[segment.offset].append(_add_alone(segment, tally, leaf, layout.grid, shared, part))
            else:
                add_amounts(segment, tally, leaf, layout.grid, shared, part, spec.weights[n] if spec.weights else 1)
    for segment in layout.segments:
        if segment.is_union:
            _add_together(unions[segment.offset], vector[segment.offset : segment.offset + segment.length])
    return vector


class Prepared:
    """The bounded months of one generation of the records."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes, self._bytes, self._lock = most_bytes, 0, Lock()
        self._kept: OrderedDict[_Month, dict[Cohort | None, _Narrow]] = OrderedDict()

    def tallies(self, month: QuerySpec, connection: duckdb.DuckDBPyConnection, bounding_key: bytes) -> Tallies:
        """What each filter lets through of a question for one month or a part of it."""
        if not _is_whole(month.period):
            return _read(month, connection, bounding_key)
        name = _Month.of(month, bounding_key)
        with self._lock:
            found = self._kept.get(name)
            if found is not None:
                self._kept.move_to_end(name)
                return {each: narrow.wide() for each, narrow in found.items()}
        tallies = _read(month, connection, bounding_key)
        self._keep(name, {each: _Narrow.of(tally) for each, tally in tallies.items()})
        return tallies

    def _keep(self, name: _Month, narrow: dict[Cohort | None, _Narrow]) -> None:
        with self._lock:
            if name in self._kept:
                return  # another thread was as fast
            self._kept[name] = narrow
            self._bytes += _size(narrow)
            while self._bytes > self._most_bytes:
                self._bytes -= _size(self._kept.popitem(last=False)[1])


class _Month(NamedTuple):
    """All that the kept cells of a month and what they hold depend on, beside the records."""

    key_print: bytes
    spec: QuerySpec
    filters: tuple[Cohort, ...]
    is_every_measure_filtered: bool
    value: str | None

    @classmethod
    def of(cls, month: QuerySpec, bounding_key: bytes) -> _Month:
        rows = month.model_copy(update={"measures": (), "totals": None})
        is_every_measure_filtered = all(measure.filter is not None for measure in month.measures)
        key_print = sha256(b"kapok prepared v1\0" + bounding_key).digest()
        return cls(key_print, rows, filters_of(month), is_every_measure_filtered, value_column(month))


class _Narrow(NamedTuple):
    """A tally in as few bytes as its numbers need."""

    packing: Packing
    keys: Int64s
    amounts: tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.integer]]

    @classmethod
    def of(cls, tally: Tally) -> _Narrow:
        return cls(tally.packing, tally.keys, (_narrow(tally.rows), _narrow(tally.present), _narrow(tally.micro)))

    def wide(self) -> Tally:
        rows, present, micro = (np.broadcast_to(each, self.keys.shape).astype(np.int64) for each in self.amounts)
        return Tally(self.packing, self.keys, rows, present, micro)


def _narrow(numbers: Int64s) -> NDArray[np.integer]:
    if not numbers.any():
        return np.zeros(1, dtype=np.uint8)
    kind = np.result_type(np.min_scalar_type(numbers.min()), np.min_scalar_type(numbers.max()))
    return numbers.astype(kind)


def _size(kept: dict[Cohort | None, _Narrow]) -> int:
    of_ids = {id(each.packing.ids): each.packing.ids.nbytes for each in kept.values() if each.packing.ids is not None}
    return sum(of_ids.values()) + sum(each.keys.nbytes + sum(part.nbytes for part in each.amounts) for each in kept.values())


def _read(month: QuerySpec, connection: duckdb.DuckDBPyConnection, bounding_key: bytes) -> Tallies:
    pieces = list(bounded_tallies(month, connection, bounding_key))
    return {each: Tally.joined([piece[each] for piece in pieces]) for each in pieces[0]}


def _months(spec: QuerySpec, period: Period) -> Iterator[QuerySpec]:
    """The question, asked of each month of its period alone and unweighted."""
    start = period.start
    while start < period.end:
        end = min(_next_month(start), period.end)
        yield spec.model_copy(update={"period": Period.model_validate({"from": start, "to": end}), "weights": None})
        start = end


def _is_whole(period: Period | None) -> bool:
    return period is not None and period.start.day == 1 and period.end == _next_month(period.start)


def _next_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=31)).replace(day=1)


def _places_in(grid: Grid, of_month: Grid) -> Int64s:
    """Where each cell of a month's grid stands in the question's: both have the same keys, the month fewer labels of time."""
    places = np.zeros(1, dtype=np.int64)
    for axis, here in zip(grid.axes, of_month.axes, strict=True):
        first = axis.labels.index(here.labels[0])
        places = np.add.outer(places * len(axis.labels), np.arange(first, first + len(here.labels))).ravel()
    return places


def _add_alone(
    segment: Segment, tally: Tally, leaf: Int64s, leaves: Grid, shared: Booleans | None, vector: Int64s
) -> tuple[Int64s, Int64s]:
    """Counts the patients in cells that no other month reaches; gives (patient, cell) of those who may stand there twice."""
    if segment.level != leaves.keys:
        return tally.packing.person_id(tally.keys), merged_cells(leaves, segment.level, leaf)
    if shared is None:
        add_ones(leaf, vector)
        return tally.keys[:0], leaf[:0]
    is_shared = shared[leaf]
    add_ones(leaf[~is_shared], vector)
    return tally.packing.person_id(tally.keys[is_shared]), leaf[is_shared]


def _add_together(found: list[tuple[Int64s, Int64s]], vector: Int64s) -> None:
    """Counts each patient once in each cell, however many months put it there."""
    person, cell = (np.concatenate(each) for each in zip(*found, strict=True))
    pairs = PackedRows.of(person, cell, None, 1, len(vector))
    add_ones(pairs.packing.cell(distinct(pairs.rows.keys)), vector)
