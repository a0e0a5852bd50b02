"""Builds the SELECT of a query from its typed spec, and one for each window over a patient's other rows; no text of the asker is
part of them.

Rules
- The engine is handed the footprint's rows only: the date range is in the WHERE clause of each statement, the one that reads the
  table and those of its windows.
- Columns come from `columns.RELATIONS`, every value of the query is a bound parameter.
- The statement returns one row per matching record with small integers (day since the period's start, place on each axis);
  NULL and every value outside a domain come back as "outside" and are dropped later, never raised on.
- The age of a patient is in full years on the query's `as_of`, from integers alone: engines differ on 29 February.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from itertools import groupby
from typing import Any

from hospital_node.plan.columns import RELATIONS, Relation
from protocols.query import Axis, QuerySpec
from protocols.query.cohort import Read, leaves
from protocols.query.terms import (
    CLOSED_LISTS,
    UNITS,
    AgeBetween,
    BinKey,
    Categories,
    Condition,
    Has,
    HasPrefix,
    Is,
    IsOneOf,
    OfColumn,
)

NO_AGE = -1
DAY_ZERO = date(1970, 1, 1)
NO_VALUE = -(2**63)
FEW = 8
"""Words that are compared one after the other; more are looked up in a list, which costs as much as eight."""


@dataclass(frozen=True, slots=True)
class CompiledPlan:
    """A statement with its parameters. Columns: person, then `day`, `age`, one per listed axis, `micro`, as the spec needs them,
    `category_sex` and the like for a table one, and `holds_0`, `holds_1` ... for the conditions of its cohorts.

    `windows` are further statements, one for each window in the spec's order: person and `day`, counted from 1970-01-01.
    """

    sql: str
    parameters: dict[str, Any]
    windows: tuple[CompiledPlan, ...] = ()


def compile_plan(spec: QuerySpec) -> CompiledPlan:
    windows = zip(spec.windows, spec.reads[1:], strict=True)
    return replace(_Statement(spec).finished(), windows=tuple(_window(spec, window, read) for window, read in windows))


def plain_leaves(spec: QuerySpec) -> tuple[Is, ...]:
    """The conditions of the cohorts on the row itself, each once: `holds_0` is the first."""
    found = (leaf for _, cohort in spec.cohorts for leaf in leaves(cohort))
    return tuple(dict.fromkeys(leaf for leaf in found if isinstance(leaf, Is)))


def _window(spec: QuerySpec, window: Has, read: Read) -> CompiledPlan:
    statement = _Statement(spec, RELATIONS[window.table])
    person, day = statement.relation.column("person_id"), statement.relation.column(str(statement.relation.date))
    conditions = [f"{person} IS NOT NULL", *([statement.between(read.days)] if read.days else [])]
    conditions += [statement.condition(each) for each in window.where]
    columns = f"{person} AS person, CAST({day} - {statement.bind(DAY_ZERO)} AS INTEGER) AS day"
    where = " AND ".join(conditions)
    return CompiledPlan(f'SELECT {columns} FROM "{statement.relation.name}" WHERE {where}', statement.parameters)  # noqa: S608


def value_column(spec: QuerySpec) -> str | None:
    """The one column whose numbers a query uses, if any; a table has only one that can be."""
    columns = {each.column for each in (*spec.measures, *spec.keys) if isinstance(each, OfColumn | BinKey)}
    return columns.pop() if columns else None


def categories_of(spec: QuerySpec) -> dict[str, tuple[str, ...]]:
    """The columns that a table one counts by category, each with its list."""
    return {measure.column: measure.labels for measure in spec.measures if isinstance(measure, Categories)}


def by_length(words: tuple[str, ...]) -> Iterator[tuple[int, list[str]]]:
    """Words of one length together, so that one cut of a code is looked up among all of them."""
    for length, same in groupby(sorted(words, key=lambda word: (len(word), word)), key=len):
        yield length, list(same)


class _Statement:
    """Collects the parts of one SELECT together with their parameters."""

    def __init__(self, spec: QuerySpec, relation: Relation | None = None) -> None:
        self._spec = spec
        self.relation: Relation = relation or RELATIONS[spec.table]
        self.parameters: dict[str, Any] = {}

    def finished(self) -> CompiledPlan:
        columns, conditions = ", ".join(self._columns()), " AND ".join(self._conditions())
        return CompiledPlan(f'SELECT {columns} FROM "{self.relation.name}" WHERE {conditions}', self.parameters)  # noqa: S608

    def bind(self, value: Any) -> str:
        name = f"p{len(self.parameters)}"
        self.parameters[name] = value
        return f"${name}"

    def _columns(self) -> Iterator[str]:
        spec, relation = self._spec, self.relation
        yield f"{relation.column('person_id')} AS person"
        if spec.period is not None and relation.date is not None:
            yield f"CAST({relation.column(relation.date)} - {self.bind(spec.period.start)} AS INTEGER) AS day"
        axes = spec.grid().axes
        if any(axis.key == "age_band" for axis in axes):
            yield f"coalesce({self._age()}, {NO_AGE}) AS age"
        for axis in axes:
            if axis.key in CLOSED_LISTS:
                yield f"{self._place(axis.key, axis.labels)} AS {axis.key}"
            elif axis.key == "icd10_prefix":
                yield f"{self._prefix_place(axis)} AS icd10_prefix"
        if (column := value_column(spec)) is not None:
            # Widened first: the largest SMALLINT and DECIMAL(18,6) overflow in millionths, and an overflow would raise on data.
            number, wide = (self._age(), "BIGINT") if column == "age" else (relation.column(column), "DECIMAL(24,6)")
            yield f"coalesce(CAST(CAST({number} AS {wide}) * {UNITS} AS BIGINT), {NO_VALUE}) AS micro"
        for column, labels in categories_of(spec).items():
            yield f"{self._place(column, labels)} AS category_{column}"
        for n, leaf in enumerate(plain_leaves(spec)):
            yield f"{self._holds(leaf)} AS holds_{n}"

    def _place(self, column: str, labels: tuple[str, ...]) -> str:
        """The place of a column's value in a list, -1 where it is not in it."""
        return f"coalesce(list_position({self.bind(list(labels))}, {self.relation.column(column)}), 0) - 1"

    def _prefix_place(self, axis: Axis) -> str:
        """The place of the one prefix that a code begins with; the list is free of prefixes of each other."""
        code, cases = self.relation.column("icd10"), ""
        for length, words in by_length(axis.labels):
            places = self.bind([axis.labels.index(word) for word in words])
            found = f"list_position({self.bind(words)}, left({code}, {length}))"
            cases += f"list_extract({places}, {found}), "
        return f"coalesce({cases}-1)"

    def _conditions(self) -> Iterator[str]:
        spec, relation = self._spec, self.relation
        yield f"{relation.column('person_id')} IS NOT NULL"
        if spec.period is not None:
            yield self.between((spec.period.start, spec.period.end))
        for condition in spec.where:
            yield self.condition(condition)
        filters = dict.fromkeys(measure.filter for measure in spec.measures)
        if all(isinstance(each, Is) for each in filters):  # a row that none of them lets through need not be read
            yield f"({' OR '.join(self._holds(each) for each in filters if isinstance(each, Is))})"

    def _holds(self, leaf: Is) -> str:
        return f"coalesce({' AND '.join(map(self.condition, leaf.where))}, false)"

    def between(self, days: tuple[date, date]) -> str:
        column = self.relation.column(str(self.relation.date))
        return f"{column} >= {self.bind(days[0])} AND {column} < {self.bind(days[1])}"

    def condition(self, condition: Condition) -> str:
        if isinstance(condition, AgeBetween):
            return f"{self._age()} BETWEEN {self.bind(condition.low)} AND {self.bind(condition.high)}"
        column = self.relation.column(condition.column)
        if isinstance(condition, HasPrefix) and len(condition.prefixes) <= FEW:
            return f"({' OR '.join(f'starts_with({column}, {self.bind(word)})' for word in condition.prefixes)})"
        if isinstance(condition, HasPrefix):
            cuts = (
                f"list_contains({self.bind(words)}, left({column}, {length}))" for length, words in by_length(condition.prefixes)
            )
            return f"({' OR '.join(cuts)})"
        if isinstance(condition, IsOneOf) and len(condition.values) <= FEW:
            return f"({' OR '.join(f'{column} = {self.bind(value)}' for value in condition.values)})"
        if isinstance(condition, IsOneOf):
            return f"list_contains({self.bind(list(condition.values))}, {column})"
        return f"{column} {condition.op.value} CAST({self.bind(condition.number)} AS DECIMAL(18,6))"

    def _age(self) -> str:
        day = self._spec.as_of
        if day is None or self.relation.date is not None:
            return self.relation.column("age")
        birth = self.relation.column("birth_date")
        later = f"month({birth}) * 100 + day({birth}) > {self.bind(day.month * 100 + day.day)}"
        return f"({self.bind(day.year)} - year({birth}) - CAST({later} AS INTEGER))"
