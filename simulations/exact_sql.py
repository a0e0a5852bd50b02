"""The exact answer's own SQL: which rows a question counts, and in which cell, written from the language and not from the plan.

Values of the query are parameters. A row outside a public domain is in no cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any, Final, NamedTuple

from protocols.query import Axis, QuerySpec, Table
from protocols.query.cohort import QUERY_BOUND
from protocols.query.terms import (
    AgeBandKey,
    AgeBetween,
    AllOf,
    AnyOf,
    BinKey,
    Categories,
    Cohort,
    Condition,
    Has,
    HasPrefix,
    Is,
    IsOneOf,
    Not,
    OfColumn,
    Survival,
)


class _Source(NamedTuple):
    table: str
    date: str


_SOURCES: Final = {
    Table.VISITS: _Source("visit_occurrence", "visit_date"),
    Table.DIAGNOSES: _Source("condition_occurrence", "condition_date"),
    Table.MEASUREMENTS: _Source("measurement", "measurement_date"),
    Table.PATIENTS: _Source("person", ""),
}


def select_cells(spec: QuerySpec, rows: Cohort | None, level: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    """Of the rows that pass a measure's filter, one row a cell of a level: its labels, rows, persons, rows with a value, total."""
    parameters: dict[str, Any] = {}
    inner = _rows(spec, rows, parameters)
    labels = [f"l{n}" for n, axis in enumerate(spec.grid().axes) if axis.key in level]
    columns = ", ".join([*labels, "count(*)", "count(DISTINCT person_id)", "count(number)", "sum(number)"])
    grouping = f" GROUP BY {', '.join(labels)}" if labels else ""
    return f"SELECT {columns} FROM ({inner}){_inside(spec, parameters)}{grouping}", parameters


def select_rows(spec: QuerySpec, rows: Cohort | None) -> tuple[str, dict[str, Any]]:
    """Every row that passes, as it is: person, block, day, number, a value for each `Categories` and the days to each `Survival`'s
    event, then its labels."""
    parameters: dict[str, Any] = {}
    more = [f"{_further(spec, measure, parameters)} AS m{n}" for n, measure in enumerate(further(spec))]
    inner = _rows(spec, rows, parameters, more)
    named = [*(f"m{n}" for n in range(len(more))), *(f"l{n}" for n in range(len(spec.keys)))]
    columns = ", ".join(["person_id", "block", "day", "number", *named])
    return f"SELECT {columns} FROM ({inner}){_inside(spec, parameters)}", parameters


def further(spec: QuerySpec) -> list[Categories | Survival]:
    return [measure for measure in spec.measures if isinstance(measure, Categories | Survival)]


def _rows(spec: QuerySpec, filter_: Cohort | None, parameters: dict[str, Any], more: Iterable[str] = ()) -> str:
    date = _SOURCES[spec.table].date
    labels = [f"{_label(spec, axis, parameters)} AS l{n}" for n, axis in enumerate(spec.grid().axes)]
    is_whole = spec.bound == QUERY_BOUND or not date
    block, day = "''" if is_whole else f"strftime({date}, '%Y-%m')", date or "NULL::DATE"
    columns = ", ".join(["person_id", f"{block} AS block", f"{day} AS day", f"{_number(spec)} AS number", *labels, *more])
    cohorts = [_cohort(spec, each, parameters) for each in (spec.cohort, filter_) if each is not None]
    conditions = " AND ".join(["person_id IS NOT NULL", *_conditions(spec, parameters), *cohorts])
    return f"SELECT {columns} FROM {_SOURCES[spec.table].table} AS counted WHERE {conditions}"


def _inside(spec: QuerySpec, parameters: dict[str, Any]) -> str:
    known = [f"list_contains({_bind(parameters, list(axis.labels))}, l{n})" for n, axis in enumerate(spec.grid().axes)]
    return f" WHERE {' AND '.join(known)}" if known else ""


def _number(spec: QuerySpec) -> str:
    """The one column that a question of this table can measure, if it does."""
    if not any(isinstance(each, OfColumn | BinKey) for each in (*spec.measures, *spec.keys)):
        return "NULL::BIGINT"
    return "value" if spec.table is Table.MEASUREMENTS else _age(spec)


def _further(spec: QuerySpec, measure: Categories | Survival, parameters: dict[str, Any]) -> str:
    if isinstance(measure, Categories):
        return measure.column
    source, own = _SOURCES[measure.event.table], f"counted.{_SOURCES[spec.table].date}"
    dated = spec.model_copy(update={"as_of": None})
    conditions = [f"{source.date} > {own}", f"{source.date} - {own} <= {measure.edges[-1]}"]
    conditions += [f"{source.date} < {_bind(parameters, measure.until)}"]
    conditions += [_condition(dated, each, parameters) for each in measure.event.where]
    other = f"{source.table} AS other WHERE other.person_id = counted.person_id AND {' AND '.join(conditions)}"
    return f"(SELECT min({source.date} - {own}) FROM {other})"


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
    if axis.key == "bin":
        key = next(key for key in spec.keys if isinstance(key, BinKey))
        numbers = [_bind(parameters, Decimal(edge)) for edge in key.edges]
        inside = zip(numbers[:-1], numbers[1:], key.labels, strict=True)
        return _cases(f"WHEN {_number(spec)} >= {low} AND {_number(spec)} < {high} THEN '{label}'" for low, high, label in inside)
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
