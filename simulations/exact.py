"""What the whole city's records say: exact integers for a query, which only a simulation can know.

Two yardsticks, both laid out as `Layout.of(spec)` says, so that a released vector is compared entry by entry:

- `exact_answer`: nothing bounded, nothing clamped. Its SQL is written here on its own and shares no line with the hospital's
  plan, so that an error in one of them shows. Rows are counted as they stand; persons are the distinct patients of each
  hospital, summed (a patient of two hospitals counts at both, since nobody can know); a sum is rounded half up once, for
  the whole city; an average is the plain one of all rows: MEAN holds their scaled total and PRESENT their number.
- `bounded_exact`: the sum of what the hospitals would put into the round, bounded by their own keys, before any noise.

The difference of the two is the price of bounding, that of a release and the second is noise alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from hospital_node.plan import execute
from hospital_node.records.schema import open_read_only
from protocols.query import Axis, Layout, Part, QuerySpec, Segment, Table
from protocols.query.terms import (
    AgeBandKey,
    AgeBetween,
    AllOf,
    AnyOf,
    Average,
    BinKey,
    Cohort,
    Condition,
    Has,
    HasPrefix,
    Is,
    IsOneOf,
    Not,
    Quantiles,
    Spread,
    Sum,
)

Int64s: TypeAlias = npt.NDArray[np.int64]


class _Source(NamedTuple):
    table: str
    date: str


_SOURCES: Final = {
    Table.VISITS: _Source("visit_occurrence", "visit_date"),
    Table.DIAGNOSES: _Source("condition_occurrence", "condition_date"),
    Table.MEASUREMENTS: _Source("measurement", "measurement_date"),
    Table.PATIENTS: _Source("person", ""),
}


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
    """The unbounded answer over the records in force in each folder. Counts, sums and means of one level only.

    Raises: ValueError.
    """
    if spec.totals or any(isinstance(each, Spread | Quantiles | BinKey) for each in (*spec.measures, *spec.keys)):
        raise ValueError("no exact answer is written for totals, bins, spreads and quantiles")
    layout, hospitals = Layout.of(spec), 0
    cells = {measure.filter: _Cells() for measure in spec.measures}
    for folder in records_folders:
        hospitals += 1
        with open_read_only(folder) as connection:
            for filter_, of_filter in cells.items():
                select, parameters = _select(spec, filter_)
                of_filter.add(layout, connection.execute(select, parameters).fetchall())
    vector = np.zeros(layout.dimension, dtype=np.int64)
    for segment in layout.segments:
        for cell, found in cells[segment.measure.filter].items():
            vector[segment.offset + cell] = _amount(segment, found)
    return ExactAnswer(layout, vector, hospitals)


def bounded_exact(spec: QuerySpec, bounding_keys: Mapping[Path, bytes]) -> ExactAnswer:
    """The sum of the hospitals' own bounded vectors; `bounding_keys` gives the key of each records folder."""
    layout = Layout.of(spec)
    vector = np.zeros(layout.dimension, dtype=np.int64)
    for folder, key in bounding_keys.items():
        with open_read_only(folder) as connection:
            vector += execute(spec, connection, key)
    return ExactAnswer(layout, vector, len(bounding_keys))


@dataclass(slots=True)
class _Cell:
    """Totals of one cell over the hospitals read so far."""

    rows: int = 0
    persons: int = 0
    present: int = 0
    total: Decimal = Decimal(0)


class _Cells(dict[int, _Cell]):
    """Cells with a row in them, by their number in the grid."""

    def add(self, layout: Layout, rows: list[tuple[Any, ...]]) -> None:
        known = [frozenset(axis.labels) for axis in layout.grid.axes]
        for *labels, count, persons, present, total in rows:
            if all(label in names for label, names in zip(labels, known, strict=True)):
                cell = self.setdefault(layout.grid.cell_of(tuple(labels)), _Cell())
                cell.rows += count
                cell.persons += persons
                cell.present += present
                cell.total += Decimal(total or 0)


def _amount(segment: Segment, cell: _Cell) -> int:
    if segment.part is Part.ROWS:
        return cell.rows
    if segment.part is Part.PERSONS:
        return cell.persons
    if segment.part is Part.PRESENT:
        return cell.present
    assert isinstance(segment.measure, Sum | Average)
    return int((cell.total * segment.measure.scale + Decimal("0.5")).to_integral_value(ROUND_FLOOR))


def _select(spec: QuerySpec, filter_: Cohort | None) -> tuple[str, dict[str, Any]]:
    """Of the rows that pass a measure's filter, one row a cell with its labels, rows, persons, rows with a value and total.

    Values of the query are parameters.
    """
    parameters: dict[str, Any] = {}
    labels = [f"({_label(spec, axis, parameters)})" for axis in spec.grid().axes]
    added = next((measure.column for measure in spec.measures if isinstance(measure, Sum | Average)), None)
    number = "NULL::BIGINT" if added is None else _age(spec) if added == "age" else "value"
    columns = ", ".join([*labels, "count(*)", "count(DISTINCT person_id)", f"count({number})", f"sum({number})"])
    cohorts = [_cohort(spec, each, parameters) for each in (spec.cohort, filter_) if each is not None]
    conditions = " AND ".join(["person_id IS NOT NULL", *_conditions(spec, parameters), *cohorts])
    grouping = f" GROUP BY {', '.join(map(str, range(1, len(labels) + 1)))}" if labels else ""
    return f"SELECT {columns} FROM {_SOURCES[spec.table].table} AS counted WHERE {conditions}{grouping}", parameters


def _bind(parameters: dict[str, Any], value: object) -> str:
    parameters[f"v{len(parameters)}"] = value
    return f"$v{len(parameters) - 1}"


def _label(spec: QuerySpec, axis: Axis, parameters: dict[str, Any]) -> str:
    date = _SOURCES[spec.table].date
    if axis.key == "iso_week":
        return f"strftime({date}, '%G-W%V')"
    if axis.key == "month":
        return f"strftime({date}, '%Y-%m')"
    if axis.key == "age_band":
        bands = next(key.bands for key in spec.keys if isinstance(key, AgeBandKey))
        cases = zip(bands.edges, bands.labels, strict=True)
        return _cases(f"WHEN {_age(spec)} BETWEEN {low} AND {high} THEN '{label}'" for (low, high), label in cases)
    if axis.key == "icd10_prefix":
        bound = (_bind(parameters, prefix) for prefix in axis.labels)
        return _cases(f"WHEN starts_with(icd10, {prefix}) THEN {prefix}" for prefix in bound)
    return axis.key


def _cases(cases: Iterable[str]) -> str:
    return f"CASE {' '.join(cases)} END"


def _conditions(spec: QuerySpec, parameters: dict[str, Any]) -> Iterator[str]:
    if spec.period is not None:
        date = _SOURCES[spec.table].date
        yield f"{date} >= {_bind(parameters, spec.period.start)}"
        yield f"{date} < {_bind(parameters, spec.period.end)}"
    for condition in spec.where:
        yield _condition(spec, condition, parameters)


def _cohort(spec: QuerySpec, cohort: Cohort, parameters: dict[str, Any]) -> str:
    """True or false, and never NULL."""
    if isinstance(cohort, Not):
        return f"(NOT {_cohort(spec, cohort.of, parameters)})"
    if isinstance(cohort, AllOf | AnyOf):
        joined = " AND " if isinstance(cohort, AllOf) else " OR "
        return f"({joined.join(_cohort(spec, part, parameters) for part in cohort.of)})"
    if isinstance(cohort, Is):
        return f"coalesce({' AND '.join(_condition(spec, each, parameters) for each in cohort.where)}, false)"
    return _exists(spec, cohort, parameters)


def _exists(spec: QuerySpec, has: Has, parameters: dict[str, Any]) -> str:
    source, own = _SOURCES[has.table], f"counted.{_SOURCES[spec.table].date}"
    if has.period is not None:
        first, end = (_bind(parameters, day) for day in (has.period.start, has.period.end))
        window = f"{source.date} >= {first} AND {source.date} < {end}"
    else:
        assert has.days is not None
        window = f"{source.date} - {own} BETWEEN {has.days[0]} AND {has.days[1]}"
    dated = spec.model_copy(update={"as_of": None})  # events carry their own age
    conditions = " AND ".join([window, *(_condition(dated, each, parameters) for each in has.where)])
    return f"EXISTS (SELECT 1 FROM {source.table} AS other WHERE other.person_id = counted.person_id AND {conditions})"


def _condition(spec: QuerySpec, condition: Condition, parameters: dict[str, Any]) -> str:
    if isinstance(condition, AgeBetween):
        return f"{_age(spec)} >= {condition.low} AND {_age(spec)} <= {condition.high}"
    if isinstance(condition, HasPrefix):
        return f"({' OR '.join(f'starts_with(icd10, {_bind(parameters, prefix)})' for prefix in condition.prefixes)})"
    if isinstance(condition, IsOneOf):
        return f"{condition.column} IN ({', '.join(_bind(parameters, value) for value in condition.values)})"
    return f"value {condition.op.value} {_bind(parameters, Decimal(condition.number))}"


def _age(spec: QuerySpec) -> str:
    if spec.as_of is None:
        return "age"
    day = spec.as_of
    return f"({day.year} - year(birth_date) - (strftime(birth_date, '%m%d') > '{day:%m%d}')::INTEGER)"
