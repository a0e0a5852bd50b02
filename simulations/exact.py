"""What the whole city's records say: exact integers for a query, which only a simulation can know.

Two yardsticks, both laid out as `Layout.of(spec)` says, so that a released vector is compared entry by entry:

- `exact_answer`: nothing bounded, nothing clamped. Its SQL (`exact_sql`) is written on its own and shares no line with the
  hospital's plan, so that an error in one of them shows. Rows are counted as they stand; persons are the distinct patients of
  each hospital, summed (a patient of two hospitals counts at both, since nobody can know); a sum is rounded half up once, for the
  whole city; an average is the plain one of all rows: MEAN holds their scaled total and PRESENT their number. What takes one entry
  a patient and cell (spreads, quantiles, table ones, curves) is in `exact_lines`.
- `bounded_exact`: the sum of what the hospitals would put into the round, bounded by their own keys, before any noise.

The difference of the two is the price of bounding, that of a release and the second is noise alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from duckdb import DuckDBPyConnection

from hospital_node.plan import execute
from hospital_node.records.schema import open_read_only
from protocols.query import Layout, Part, QuerySpec, Segment
from protocols.query.terms import Cohort, InOneRange
from simulations.exact_lines import Row, entries, place_and_amount
from simulations.exact_sql import further, select_cells, select_rows

Int64s: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ExactAnswer:
    """The vector of a query over some hospitals."""

    layout: Layout
    vector: Int64s
    hospitals: int

    def to_json(self) -> dict[str, Any]:
        """Axes with their labels, and the values of each segment in row-major order."""
        return {
            "hospitals": self.hospitals,
            "axes": [{"key": axis.key, "labels": list(axis.labels)} for axis in self.layout.grid.axes],
            "segments": [
                {"measure": segment.measure.kind, "part": segment.part.value, "values": self.values(segment).tolist()}
                for segment in self.layout.segments
            ],
        }

    def values(self, segment: Segment) -> Int64s:
        return self.vector[segment.offset : segment.offset + segment.length]


def exact_answer(spec: QuerySpec, records_folders: Iterable[Path]) -> ExactAnswer:
    """The unbounded answer over the records in force in each folder."""
    layout, hospitals = Layout.of(spec), 0
    vector, totals = np.zeros(layout.dimension, dtype=np.int64), _Totals()
    for folder in records_folders:
        hospitals += 1
        with open_read_only(folder) as connection:
            for segments in _alike(layout):
                if isinstance(segments[0].measure, InOneRange):
                    _add_entries(spec, segments, connection, vector)
                else:
                    _add_cells(spec, segments, connection, vector, totals)
    for entry, (total, scale) in totals.items():
        vector[entry] = int((total * scale + Decimal("0.5")).to_integral_value(ROUND_FLOOR))
    return ExactAnswer(layout, vector, hospitals)


def bounded_exact(spec: QuerySpec, bounding_keys: Mapping[Path, bytes]) -> ExactAnswer:
    """The sum of the hospitals' own bounded vectors; `bounding_keys` gives the key of each records folder."""
    layout = Layout.of(spec)
    vector = np.zeros(layout.dimension, dtype=np.int64)
    for folder, key in bounding_keys.items():
        with open_read_only(folder) as connection:
            vector += execute(spec, connection, key)
    return ExactAnswer(layout, vector, len(bounding_keys))


class _Totals(dict[int, tuple[Decimal, int]]):
    """Sums of the city by their place in the vector, with their scale: rounded once, for all hospitals."""


def _alike(layout: Layout) -> list[list[Segment]]:
    """The segments of one filter and level that are read alike."""
    alike: dict[tuple[Cohort | None, tuple[str, ...], bool], list[Segment]] = {}
    for segment in layout.segments:
        key = (segment.measure.filter, segment.level, isinstance(segment.measure, InOneRange))
        alike.setdefault(key, []).append(segment)
    return list(alike.values())


def _add_cells(spec: QuerySpec, segments: list[Segment], connection: DuckDBPyConnection, vector: Int64s, totals: _Totals) -> None:
    select, parameters = select_cells(spec, segments[0].measure.filter, segments[0].level)
    for *labels, rows, persons, present, total in connection.execute(select, parameters).fetchall():
        for segment in segments:
            entry = segment.offset + segment.grid.cell_of(tuple(labels))
            plain = {Part.ROWS: rows, Part.PERSONS: persons, Part.PRESENT: present}
            if segment.part in plain:
                vector[entry] += plain[segment.part]
            else:
                totals[entry] = totals.get(entry, (Decimal(0), 0))[0] + Decimal(total or 0), segment.scale


def _add_entries(spec: QuerySpec, segments: list[Segment], connection: DuckDBPyConnection, vector: Int64s) -> None:
    select, parameters = select_rows(spec, segments[0].measure.filter)
    asked, width = further(spec), 4 + len(further(spec))
    found = connection.execute(select, parameters).fetchall()
    read = [Row(each[0], each[1], each[2], each[3], each[4:width], each[width:]) for each in found]
    at = [axis.key in segments[0].level for axis in spec.grid().axes]
    for rows in entries(read):
        labels = tuple(label for label, is_kept in zip(rows[0].labels, at, strict=True) if is_kept)
        for segment in segments:
            column = asked.index(segment.measure) if segment.measure in asked else 0
            place, amount = place_and_amount(segment.measure, segment.part, rows, column)
            cell = segment.grid.over(segment.level).cell_of(labels)
            vector[segment.offset + cell * (segment.length // segment.grid.over(segment.level).size) + place] += amount
