"""Cohorts in SQL: AND, OR and NOT of conditions on the row, and windows over the patient's other rows.

    HAS(diagnoses, icd10 LIKE 'J10%', -3, 3)                              days from this row's date, both inside
    HAS(diagnoses, icd10 LIKE 'E11%', DATE '2024-01-01', DATE '2025-01-01')   days of their own, the last one outside
    HAS(visits, -7, 0)                                                    any row of the table
    FIRST_EVER(365)                                                       no such row in the 365 days before

Rules
- The conditions of a window are joined by AND, and name columns of the window's table. A window holds no window.
- FIRST_EVER stands in WHERE, joined by AND, and repeats its conditions on icd10, loinc, value and visit_class; district, sex and
  age are of the row alone, since an earlier row may have been elsewhere. Without a look-back it is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

from sqlglot import exp

from protocols.query.cohort import WINDOW
from protocols.query.errors import Problem, ProblemCode, nearest_name
from protocols.query.sql_literals import day_of, flat, number_of
from protocols.query.sql_source import Source
from protocols.query.terms import MAX_DAYS, Table

FIRST_EVER = "FIRST_EVER(365)"
_FIXED = "HAS(diagnoses, icd10 LIKE 'E11%', DATE '2024-01-01', DATE '2025-01-01')"
_OF_THE_ILLNESS = {"icd10", "loinc", "value", "visit_class"}
Plain = Callable[[list[exp.Expr], "Table | None"], list[dict[str, Any]]]
"""Reads plain conditions on the rows of a table, noting what is wrong with them."""
Fields = dict[str, Any]


def is_cohort(node: exp.Expr) -> bool:
    """Whether a part of WHERE is more than one of the plain conditions."""
    node = node.unnest()
    if isinstance(node, exp.Or):
        return not are_prefixes(node)
    return isinstance(node, exp.Not) or _is_function(node, "HAS") or _is_function(node, "FIRST_EVER")


def are_prefixes(node: exp.Or) -> bool:
    """Whether an OR is a list of prefixes, which is one plain condition."""
    return all(isinstance(part, exp.Like) for part in flat(node, exp.Or))


def all_of(parts: list[Fields]) -> Fields | None:
    """Their conjunction; None of nothing."""
    if len(parts) < 2:
        return parts[0] if parts else None
    return {"kind": "all", "of": parts}


def first_ever(table: Table, conditions: list[Fields], days: int) -> Fields:
    """NOT HAS(the same, the days before)."""
    where = [condition for condition in conditions if condition["column"] in _OF_THE_ILLNESS]
    return {"kind": "not", "of": {"kind": "has", "table": table.value, "where": where, "days": [-days, -1]}}


class CohortReader:
    """Reads one boolean expression at a time; what it cannot read is a problem with a place, and gives None."""

    def __init__(self, source: Source, table: Table | None, problems: list[Problem], plain: Plain) -> None:
        self._source, self._table, self._problems, self._plain = source, table, problems, plain
        self.places: list[tuple[int, int]] = []
        """Of the leaves read, in the order of the spec."""

    def read(self, node: exp.Expr) -> Fields | None:
        node = node.unnest()
        if isinstance(node, exp.And):
            return self._conjunction(list(flat(node, exp.And)))
        if isinstance(node, exp.Or) and not are_prefixes(node):
            parts = [self.read(part) for part in flat(node, exp.Or)]
            return None if None in parts else {"kind": "any", "of": parts}
        if isinstance(node, exp.Not):
            inner = self.read(node.this)
            return None if inner is None else {"kind": "not", "of": inner}
        if _is_function(node, "HAS"):
            return self._has(node)
        return self._is([node])

    def days_before(self, node: exp.Expr) -> int | None:
        """The look-back of FIRST_EVER."""
        days = [number_of(each) for each in node.expressions]
        if len(days) == 1 and days[0] is not None and days[0] % 1 == 0 and 1 <= days[0] <= MAX_DAYS:
            return int(days[0])
        rule = f"first-ever needs a stated look-back: 1 to {MAX_DAYS} days before in which no such row lies"
        self._add(ProblemCode.LOOK_BACK, "FIRST_EVER", rule, FIRST_EVER, node)
        return None

    def _conjunction(self, parts: list[exp.Expr]) -> Fields | None:
        """Plain conditions that stand side by side are one leaf, as a range of ages needs."""
        plain = [part for part in parts if not is_cohort(part)]
        read = [self._is(plain)] if plain else []
        read += [self.read(part) for part in parts if is_cohort(part)]
        return None if None in read else all_of([each for each in read if each is not None])

    def _is(self, nodes: list[exp.Expr]) -> Fields | None:
        if any(_is_function(node, "FIRST_EVER") for node in nodes):
            self._add(ProblemCode.LOOK_BACK, "FIRST_EVER", "stands in WHERE, joined by AND", FIRST_EVER, nodes[0])
            return None
        where = self._plain(nodes, self._table)
        return self._leaf(nodes[0], {"kind": "is", "where": where}) if where else None

    def _has(self, node: exp.Expr) -> Fields | None:
        ends = node.expressions[-2:]
        name, conditions = node.expressions[0] if node.expressions else None, node.expressions[1:-2]
        window = _days(ends) or _period(ends)
        if len(node.expressions) not in {3, 4} or not isinstance(name, exp.Column) or window is None:
            rule = "a table, conditions, and the window's two ends, in days or as dates"
            self._add(ProblemCode.LOOK_BACK, "HAS", rule, _FIXED if any(map(day_of, ends)) else WINDOW, node)
            return None
        if any(abs(day) > MAX_DAYS for day in window.get("days", [])):
            self._add(ProblemCode.LOOK_BACK, "HAS", f"a window reaches at most {MAX_DAYS} days", WINDOW, node)
            return None
        if name.name.lower() not in list(Table):
            self._add(ProblemCode.UNKNOWN_NAME, f"table {name.name}", "unknown", nearest_name(name.name, list(Table)), name)
            return None
        table, where = Table(name.name.lower()), []
        if conditions:
            parts = list(flat(conditions[0], exp.And))
            where = self._plain(parts, table)
            if not where:
                return None
        return self._leaf(node, {"kind": "has", "table": table.value, "where": where, **window})

    def _leaf(self, node: exp.Expr, read: Fields) -> Fields:
        self.places.append(self._source.place(node))
        return read

    def _add(self, code: ProblemCode, construct: str, rule: str, nearest: str, node: exp.Expr) -> None:
        self._problems.append(Problem(code, construct, rule, nearest, *self._source.place(node)))


def _is_function(node: exp.Expr, name: str) -> bool:
    return isinstance(node, exp.Anonymous) and node.name.upper() == name


def is_window(node: exp.Expr) -> bool:
    return _is_function(node, "HAS")


def is_first_ever(node: exp.Expr) -> bool:
    return _is_function(node.unnest(), "FIRST_EVER")


def _days(ends: list[exp.Expr]) -> Fields | None:
    numbers = [number_of(end) for end in ends]
    whole = [int(number) for number in numbers if number is not None and number % 1 == 0]
    return {"days": whole} if len(whole) == len(ends) == 2 else None


def _period(ends: list[exp.Expr]) -> Fields | None:
    days: list[date] = [day for day in map(day_of, ends) if day is not None]
    return {"period": {"from": str(days[0]), "to": str(days[1])}} if len(days) == len(ends) == 2 else None
