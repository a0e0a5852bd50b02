"""Rules of a list of conditions, wherever it stands: in WHERE, in a filter, or in what else a patient has."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from decimal import Decimal

from protocols.query.errors import Problem, ProblemCode, nearest_name
from protocols.query.terms import (
    CLOSED_LISTS,
    AgeBetween,
    Condition,
    HasPrefix,
    IsOneOf,
    Table,
    ValueBound,
    covered_prefixes,
)


def condition_problems(where: tuple[Condition, ...], table: Table, path: str) -> Iterator[Problem]:
    """Conditions are of the table, sorted by column, one a column, and each can hold."""
    yield from _are_of_the_table(where, table, path)
    yield from _are_in_order(where, path)
    yield from _can_hold(where, path)


def condition_order(condition: Condition) -> tuple[str, bool]:
    """The place of a condition in a spec; two conditions of one place say the same thing twice."""
    return condition.column, isinstance(condition, ValueBound) and not condition.op.is_lower_bound


def _are_of_the_table(where: tuple[Condition, ...], table: Table, path: str) -> Iterator[Problem]:
    for n, condition in enumerate(where):
        if condition.column not in table.columns:
            nearest = nearest_name(condition.column, sorted(table.columns))
            yield Problem(ProblemCode.NOT_IN_TABLE, condition.column, f"not in {table}", nearest, path=f"{path}.{n}")


def _are_in_order(where: tuple[Condition, ...], path: str) -> Iterator[Problem]:
    order = [condition_order(condition) for condition in where]
    for n, (earlier, later) in enumerate(itertools.pairwise(order), start=1):
        name = where[n].column
        if earlier == later:
            yield Problem(
                ProblemCode.DUPLICATE, name, "more than one condition", "one list or one range per column", path=f"{path}.{n}"
            )
        elif earlier > later:
            yield Problem(ProblemCode.OUT_OF_ORDER, name, "conditions are sorted by column", path=f"{path}.{n}")


def _can_hold(where: tuple[Condition, ...], path: str) -> Iterator[Problem]:
    for n, condition in enumerate(where):
        place = f"{path}.{n}"
        if isinstance(condition, AgeBetween) and condition.low > condition.high:
            yield Problem(ProblemCode.BAD_VALUE, "age", "the range is empty", "age BETWEEN 5 AND 14", path=place)
        if isinstance(condition, IsOneOf) and condition.column in CLOSED_LISTS:
            known = CLOSED_LISTS[condition.column]
            for name in condition.values:
                if name not in known:
                    yield Problem(
                        ProblemCode.BAD_VALUE, condition.column, "a name outside its list", nearest_name(name, known), path=place
                    )
        if isinstance(condition, HasPrefix) and covered_prefixes(condition.prefixes):
            yield Problem(ProblemCode.OVERLAP, "icd10", "a prefix begins another", "only the shorter one", path=place)
    bounds = [condition for condition in where if isinstance(condition, ValueBound)]
    if [bound.op.is_lower_bound for bound in bounds] == [True, False] and not _leaves_room(*bounds):
        yield Problem(ProblemCode.BAD_VALUE, "value", "the range is empty", "value >= 3 AND value < 5", path=path)


def _leaves_room(lower: ValueBound, upper: ValueBound) -> bool:
    low, high = Decimal(lower.number), Decimal(upper.number)
    return low < high or (low == high and lower.op.value + upper.op.value == ">=<=")
