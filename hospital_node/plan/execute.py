"""Runs a query on one hospital's records: a dense vector of exact, bounded integers, before any noise.

Promise: the vector has `Layout.of(spec).dimension` entries, and removing or adding one patient's rows of one block moves
each segment by at most its stated L1 and L2 (tests/hospital_node/plan replays neighbours against it).

Rules
- Total: no record makes it raise; NULL, unknown codes and values outside a public domain are not counted. An error that
  depended on records would be a release (privacy pitfall 4).
- Integers from end to end. A row's value enters in millionths, cut to +-`MAX_CLAMP`; totals are rounded half up at the
  query's scale and clamped per (patient, block, cell), after the choice of cells.
- One choice of cells serves all measures of a query. Persons are an OR over blocks, everything else a sum over blocks.
- DuckDB filters rows and cuts codes; grouping and bounding sort packed 64-bit keys in numpy, twice as fast as SQL.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

import duckdb
import numpy as np

from hospital_node.plan.bounding import Booleans, BoundingKey, Groups, Int64s, kept_cells
from hospital_node.plan.columns import RELATIONS
from hospital_node.plan.compile import NO_VALUE, compile_plan
from protocols.query import AgeBands, Axis, Layout, Part, QuerySpec, Segment, footprint
from protocols.query.domains import MAX_AGE, month_label, week_label
from protocols.query.terms import MAX_CLAMP, UNITS, AgeBandKey

_OUTSIDE = -1
_LARGEST_ROW = MAX_CLAMP * UNITS


def execute(spec: QuerySpec, connection: duckdb.DuckDBPyConnection, bounding_key: bytes) -> Int64s:
    """The exact vector of a query, its patients bounded. Reads the footprint's rows once, with one statement."""
    key, layout = BoundingKey(bounding_key), Layout.of(spec)
    plan = compile_plan(spec)
    fetched = connection.execute(plan.sql, plan.parameters).fetchnumpy()
    columns = {name: np.asarray(column).astype(np.int64, copy=False) for name, column in fetched.items()}
    tally = _bounded(_tally(spec, layout, columns), layout, key)
    return np.concatenate([_segment(segment, tally, layout.grid.size) for segment in layout.segments])


def probe(spec: QuerySpec) -> Int64s:
    """Runs the plan on empty tables: a plan that does not bind raises here, without a record in sight."""
    with _empty_tables().cursor() as connection:
        return execute(spec, connection, bytes(32))


@lru_cache(maxsize=1)
def _empty_tables() -> duckdb.DuckDBPyConnection:
    # Made once a process: a new database costs more than all other work of an Offer. Only SELECTs ever run on it.
    connection = duckdb.connect(config={"threads": 1})
    for relation in RELATIONS.values():
        connection.execute(relation.empty_copy)
    atexit.register(_empty_tables.cache_clear)  # DuckDB's binding complains on stderr of objects that outlive the interpreter
    return connection


@dataclass(frozen=True, slots=True)
class _Tally:
    """What each (patient, block, cell) holds: rows, rows with a value, and the total of the values in millionths.

    `person` numbers the patients of this answer from 0.
    """

    groups: Groups
    person: Int64s
    rows: Int64s
    present: Int64s
    micro: Int64s

    def where(self, kept: Booleans) -> _Tally:
        return _Tally(self.groups.where(kept), self.person[kept], self.rows[kept], self.present[kept], self.micro[kept])


def _tally(spec: QuerySpec, layout: Layout, columns: dict[str, Int64s]) -> _Tally:
    block, cell = _places(spec, layout, columns)
    inside = cell != _OUTSIDE
    person_id, block, cell = columns["person"][inside], block[inside], cell[inside]
    first, person = _numbered(person_id, len(footprint(spec)) * layout.grid.size)
    patient_block = person * len(footprint(spec)) + block
    packed = patient_block * layout.grid.size + cell
    if "micro" in columns:
        order = np.argsort(packed)
        packed, micro = packed[order], columns["micro"][inside][order]
    else:
        packed, micro = np.sort(packed), None
    return _grouped(packed, micro, first, layout.grid.size, len(footprint(spec)))


def _grouped(packed: Int64s, micro: Int64s | None, first: Int64s | int, cells: int, blocks: int) -> _Tally:
    starts = np.flatnonzero(np.concatenate(([True], packed[1:] != packed[:-1]))) if len(packed) else np.empty(0, dtype=np.int64)
    rows = np.diff(np.append(starts, len(packed)))
    patient_block, cell = np.divmod(packed[starts], cells)
    person = patient_block // blocks
    person_id = person + first if isinstance(first, int) else first[person]
    present, total = np.zeros_like(rows), np.zeros_like(rows)
    if micro is not None and len(starts):
        has_value = micro != NO_VALUE
        present = np.add.reduceat(has_value.astype(np.int64), starts)
        total = np.add.reduceat(np.where(has_value, np.clip(micro, -_LARGEST_ROW, _LARGEST_ROW), 0), starts)
    return _Tally(Groups(person_id, patient_block, cell), person, rows, present, total)


def _numbered(person_id: Int64s, cells_and_blocks: int) -> tuple[Int64s | int, Int64s]:
    """Patients as small numbers that leave room for block and cell in 64 bits, and how to get back."""
    if not len(person_id):
        return 0, person_id
    low, high = int(person_id.min()), int(person_id.max())
    if (high - low + 1) * cells_and_blocks < 2**63:
        return low, person_id - low
    known, person = np.unique(person_id, return_inverse=True)
    return known, person


def _bounded(tally: _Tally, layout: Layout, key: BoundingKey) -> _Tally:
    kept = kept_cells(tally.groups, layout.grid, layout.cells_kept, key)
    return tally if kept.all() else tally.where(kept)


def _places(spec: QuerySpec, layout: Layout, columns: dict[str, Int64s]) -> tuple[Int64s, Int64s]:
    """Block and cell of each row; the cell is `_OUTSIDE` where a value lies outside its domain."""
    rows = len(columns["person"])
    cell, outside = np.zeros(rows, dtype=np.int64), np.zeros(rows, dtype=np.bool_)
    for axis in layout.grid.axes:
        place = _place(spec, axis, columns)
        cell = cell * len(axis.labels) + place
        outside |= place == _OUTSIDE
    block = np.zeros(rows, dtype=np.int64) if spec.period is None else _by_day(spec, footprint(spec), month_label)[columns["day"]]
    return block, np.where(outside, _OUTSIDE, cell)


def _place(spec: QuerySpec, axis: Axis, columns: dict[str, Int64s]) -> Int64s:
    if axis.key == "iso_week":
        return _by_day(spec, axis.labels, week_label)[columns["day"]]
    if axis.key == "month":
        return _by_day(spec, axis.labels, month_label)[columns["day"]]
    if axis.key == "age_band":
        bands = next(key.bands for key in spec.keys if isinstance(key, AgeBandKey))
        age = columns["age"]
        return _by_age(bands)[np.where((age >= 0) & (age <= MAX_AGE), age, MAX_AGE + 1)]
    return columns[axis.key]


def _by_day(spec: QuerySpec, labels: tuple[str, ...], label_of: Callable[[date], str]) -> Int64s:
    """The place of each day of the period among the labels; weeks and months never fall outside."""
    if spec.period is None:
        raise AssertionError("a place by day needs a period")
    number = {label: n for n, label in enumerate(labels)}
    days = (spec.period.end - spec.period.start).days
    return np.array([number[label_of(spec.period.start + timedelta(days=n))] for n in range(days)], dtype=np.int64)


def _by_age(bands: AgeBands) -> Int64s:
    """The place of each age; one entry more stands for every age outside."""
    table = np.full(MAX_AGE + 2, _OUTSIDE, dtype=np.int64)
    for n, (low, high) in enumerate(bands.edges):
        table[low : high + 1] = n
    return table


def _segment(segment: Segment, tally: _Tally, cells: int) -> Int64s:
    vector = np.zeros(cells, dtype=np.int64)
    if segment.part is Part.PERSONS:
        np.add.at(vector, _distinct(tally.person * cells + tally.groups.cell) % cells, 1)
    else:
        np.add.at(vector, tally.groups.cell, np.clip(_amount(segment, tally), segment.lo, segment.hi))
    return vector


def _distinct(numbers: Int64s) -> Int64s:
    # Sorting beats the hash table of `np.unique` tenfold here: the numbers are nearly in order.
    in_order = np.sort(numbers)
    return in_order[np.concatenate(([True], in_order[1:] != in_order[:-1]))] if len(in_order) else in_order


def _amount(segment: Segment, tally: _Tally) -> Int64s:
    if segment.part is Part.ROWS:
        return tally.rows
    if segment.part is Part.PRESENT:
        return np.minimum(tally.present, 1)
    unit = UNITS // segment.scale
    if segment.part is Part.TOTAL:
        return (tally.micro + unit // 2) // unit
    weight = np.maximum(tally.present, 1) * unit
    mean: Int64s = (2 * tally.micro + weight) // (2 * weight)
    return mean
