"""Runs a query on one hospital's records: a dense vector of exact, bounded integers, before any noise.

Promise: the vector has `Layout.of(spec).dimension` entries, and removing or adding one patient's rows of one block moves
each segment by at most its stated L1 and L2 (tests/hospital_node/plan replays neighbours against it).

Rules
- Total: no record makes it raise; NULL, unknown codes and values outside a public domain are not counted. An error that
  depended on records would be a release (privacy pitfall 4).
- Integers from end to end. A row's value enters in millionths, cut to +-`MAX_CLAMP`; totals are rounded half up at the
  query's scale and clamped per (patient, block, cell), after the choice of cells.
- Exact mode has no bounds on patients; what is cut to a public domain stays cut, and a row's value to +-`MAX_CLAMP`.
- What is clamped is then multiplied by its month's weight, where the question has weights.
- One choice of cells serves all measures, filters and levels of a query. Persons are an OR over blocks, everything else a sum
  over blocks; where a patient is bounded over the whole query, that is one block.
- DuckDB filters rows and cuts codes; grouping and bounding sort packed 64-bit keys in numpy (`packing`), faster than SQL.
- A patient's rows are judged together, whatever piece of the table they come in; the pieces only keep memory small.
"""

from __future__ import annotations

import atexit
import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from functools import lru_cache

import duckdb
import numpy as np
from numpy.typing import NDArray

from hospital_node.plan.amounts import Tally, add_amounts
from hospital_node.plan.bounding import Booleans, BoundingKey, Groups, kept_cells
from hospital_node.plan.cohort import Counted, counted, filters_of
from hospital_node.plan.columns import RELATIONS
from hospital_node.plan.compile import NO_VALUE, compile_plan
from hospital_node.plan.packing import Int64s, PackedRows, Packing, Rows, above, cell_bits, runs
from hospital_node.plan.picking import CATEGORY, END, picked
from hospital_node.plan.reading import columns_of
from protocols.query import AgeBands, Axis, Grid, Layout, QuerySpec
from protocols.query.cohort import QUERY_BOUND
from protocols.query.domains import MAX_AGE
from protocols.query.terms import MAX_CLAMP, UNITS, AgeBandKey, BinKey, Cohort

DAY = "day"
_OUTSIDE = -1
_LARGEST_ROW = MAX_CLAMP * UNITS
_MOST_MICRO = 2.0**62
_DAY_ZERO = date(1970, 1, 1).toordinal()
Column = NDArray[np.integer]


def execute(spec: QuerySpec, connection: duckdb.DuckDBPyConnection, bounding_key: bytes, *, is_bounded: bool = True) -> Int64s:
    """The exact vector of a query, its patients bounded. Reads its rows once, with one statement, and so each window's.

    Not `is_bounded` (exact mode, without filters): every cell of every patient counts, and nothing is clamped; raises OverflowError
    where 64 bits could wrap.
    """
    layout = Layout.of(spec)
    shared = shared_cells(spec, layout.grid)
    vector = np.zeros(layout.dimension, dtype=np.int64)
    for tallies in bounded_tallies(spec, connection, bounding_key) if is_bounded else _whole_tallies(spec, connection):
        leaves = {each: tally.packing.cell(tally.keys) for each, tally in tallies.items()}
        for segment in layout.segments:
            part, each = vector[segment.offset : segment.offset + segment.length], segment.measure.filter
            weight = _weights(spec, tallies[each])
            add_amounts(segment, tallies[each], leaves[each], layout.grid, shared, part, weight, is_bounded=is_bounded)
    return vector


def _weights(spec: QuerySpec, tally: Tally) -> Int64s | int:
    """What each entry is multiplied by, once it is clamped."""
    return 1 if spec.weights is None else np.array(spec.weights, dtype=np.int64)[tally.packing.block(tally.keys)]


def bounded_tallies(
    spec: QuerySpec, connection: duckdb.DuckDBPyConnection, bounding_key: bytes
) -> Iterator[dict[Cohort | None, Tally]]:
    """What each (patient, block, cell) that counts holds, by the filter of a measure; whole patients at a time."""
    rows = _rows(spec, connection)
    yield from tallies_of(spec, rows.packing, rows.pieces(), bounding_key)


def tallies_of(
    spec: QuerySpec, packing: Packing, pieces: Iterable[Rows], bounding_key: bytes
) -> Iterator[dict[Cohort | None, Tally]]:
    """The same of rows that were read before: in order, a run of whole patients at a time."""
    key, layout, filters = BoundingKey(bounding_key), Layout.of(spec), filters_of(spec)
    for piece in pieces:
        yield _tallies(packing, piece, filters, layout, key)


def rows_with_days(spec: QuerySpec, connection: duckdb.DuckDBPyConnection) -> PackedRows:
    """The rows of a question with a period, each with its day, counted from the first, as `DAY`."""
    return _rows(spec, connection, (DAY,))


def _rows(spec: QuerySpec, connection: duckdb.DuckDBPyConnection, kept: tuple[str, ...] = ()) -> PackedRows:
    plan = compile_plan(spec)
    return _packed(spec, spec.grid(), counted(spec, plan, columns_of(connection, plan), connection), kept)


def _whole_tallies(spec: QuerySpec, connection: duckdb.DuckDBPyConnection) -> Iterator[dict[Cohort | None, Tally]]:
    """The same with every cell of every patient."""
    rows = _rows(spec, connection)
    for piece in rows.pieces():
        if piece.micro is not None:
            _require_room(piece.micro)
        yield {None: _grouped(rows.packing, piece)}


def _require_room(micro: Column) -> None:
    """Totals of a piece, in millionths, fit into 64 bits however its rows fall together."""
    whole = np.abs(np.where(micro != NO_VALUE, micro, 0).astype(np.float64)).sum()
    if whole > _MOST_MICRO:
        raise OverflowError("values too large for an exact sum")


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


def _packed(spec: QuerySpec, grid: Grid, rows: Counted, kept: tuple[str, ...]) -> PackedRows:
    person, blocks = np.asarray(rows.columns["person"], dtype=np.int64), int(_block_of_days(spec)[-1]) + 1
    places, more = (
        _places(spec, grid, rows.columns),
        {name: of for name, of in rows.columns.items() if name.startswith((CATEGORY, END)) or name in kept},
    )
    return PackedRows.of(person, places, rows.columns.get("micro"), blocks, grid.size, rows.marks, more)


def _tallies(
    packing: Packing, piece: Rows, filters: tuple[Cohort, ...], layout: Layout, key: BoundingKey
) -> dict[Cohort | None, Tally]:
    """What each filter lets through of the cells that are kept; which those are, all rows decide together."""
    whole = _bounded(_grouped(packing, piece), layout, key)
    tallies: dict[Cohort | None, Tally] = {None: whole}
    for n, each in enumerate(filters):
        if piece.marks is None:  # every row of every measure passes the one filter that there is
            tallies[each] = whole
        else:
            tallies[each] = _grouped(packing, piece.at((piece.marks >> np.uint8(n) & np.uint8(1)) == 1)).within(whole)
    return tallies


def _grouped(packing: Packing, piece: Rows) -> Tally:
    keys, micro, starts = piece.keys, piece.micro, runs(piece.keys)
    more = picked(piece.more, starts)
    rows = np.diff(starts, append=len(keys))
    if micro is None or not len(starts):
        nothing = np.broadcast_to(np.int64(0), len(starts))
        return Tally(packing, keys[starts], rows, nothing, nothing, more)
    has_value = micro != NO_VALUE
    present = np.add.reduceat(has_value.astype(np.int64), starts)
    total = np.add.reduceat(np.where(has_value, np.clip(micro, -_LARGEST_ROW, _LARGEST_ROW), 0), starts)
    return Tally(packing, keys[starts], rows, present, total, more)


def _bounded(tally: Tally, layout: Layout, key: BoundingKey) -> Tally:
    patient_block = tally.packing.patient_block(tally.keys)
    too_many = above(patient_block, layout.cells_kept)
    if not len(too_many):
        return tally
    keys = tally.keys[too_many]
    groups = Groups(tally.packing.person_id(keys), patient_block[too_many], tally.packing.cell(keys))
    kept = np.ones(len(tally.keys), dtype=np.bool_)
    kept[too_many] = kept_cells(groups, layout.grid, layout.cells_kept, key)
    return tally.where(kept)


def _places(spec: QuerySpec, grid: Grid, columns: Mapping[str, Column]) -> Int64s:
    """Block and cell of each row as `PackedRows` takes them; block, week and month of a row are one look-up by its day."""
    by_day, weight = _block_of_days(spec) << cell_bits(grid.size), grid.size
    place, outside = np.zeros(len(columns["person"]), dtype=np.int64), []
    for axis in grid.axes:
        weight //= len(axis.labels)
        if axis.key in {"iso_week", "month"}:
            by_day = by_day + _place_of_days(spec, axis) * weight
            continue
        of_axis = _place(spec, axis, columns)
        place += of_axis if weight == 1 else of_axis.astype(np.int64) * weight
        outside.append(of_axis == _OUTSIDE)
    if spec.period is not None:
        place += by_day[columns["day"]]
    for each in outside:
        place[each] = grid.size
    return place


def _place(spec: QuerySpec, axis: Axis, columns: Mapping[str, Column]) -> Column:
    if axis.key == "age_band":
        bands = next(key.bands for key in spec.keys if isinstance(key, AgeBandKey))
        age = columns["age"]
        return _by_age(bands)[np.where((age >= 0) & (age <= MAX_AGE), age, MAX_AGE + 1)]
    if axis.key == "bin":
        return _by_number(next(key for key in spec.keys if isinstance(key, BinKey)), columns["micro"])
    return columns[axis.key]


def _by_age(bands: AgeBands) -> Int64s:
    """The place of each age; one entry more stands for every age outside."""
    table = np.full(MAX_AGE + 2, _OUTSIDE, dtype=np.int64)
    for n, (low, high) in enumerate(bands.edges):
        table[low : high + 1] = n
    return table


def _by_number(key: BinKey, micro: Column) -> Int64s:
    """The place of each number among a key's edges; the lower edge belongs to a bin, the upper one to the next."""
    edges = np.array([int(Decimal(edge) * UNITS) for edge in key.edges], dtype=np.int64)
    place = np.searchsorted(edges, micro, side="right") - 1
    return np.where((place >= 0) & (place < len(edges) - 1) & (micro != NO_VALUE), place, _OUTSIDE)


def _days(spec: QuerySpec) -> Int64s:
    """The days of the period, counted from 1970-01-01."""
    if spec.period is None:
        raise AssertionError("a place by day needs a period")
    first = spec.period.start.toordinal() - _DAY_ZERO
    return np.arange(first, first + (spec.period.end - spec.period.start).days, dtype=np.int64)


def _block_of_days(spec: QuerySpec) -> Int64s:
    """What a patient is bounded within, for each day of the period, counted from the first: a block, or the query as a whole."""
    if spec.period is None:
        return np.zeros(1, dtype=np.int64)
    return np.zeros_like(_days(spec)) if spec.bound == QUERY_BOUND else _month_of_days(spec)


def _month_of_days(spec: QuerySpec) -> Int64s:
    months = _days(spec).astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    return months - months[:1]


def _place_of_days(spec: QuerySpec, axis: Axis) -> Int64s:
    """The place of each day of the period among the labels of a key of time."""
    if axis.key == "month":
        return _month_of_days(spec)
    # Day zero is a Thursday: three days on, and the numbers of weeks change on Mondays.
    weeks: Int64s = (_days(spec) + 3) // 7
    return weeks - weeks[:1]


def shared_cells(spec: QuerySpec, grid: Grid) -> Booleans | None:
    """The cells that a patient can reach in more than one block; None if there is no such cell."""
    block, names = _block_of_days(spec), [axis.key for axis in grid.axes]
    if block[-1] == 0 or "month" in names:
        return None
    if "iso_week" not in names:
        return np.ones(grid.size, dtype=np.bool_)
    at = names.index("iso_week")
    week = _place_of_days(spec, grid.axes[at])
    is_shared = np.zeros(grid.shape[at], dtype=np.bool_)
    is_shared[week[1:][(week[1:] == week[:-1]) & (block[1:] != block[:-1])]] = True
    return is_shared[np.arange(grid.size) // math.prod(grid.shape[at + 1 :]) % grid.shape[at]]
