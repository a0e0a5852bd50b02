"""Cohorts: what each reads, and the rules that keep it readable.

Rules (privacy choice 2)
- A cohort that looks at rows of other days makes a plan that is not block-local, whatever it is made of: first-ever within a
  look-back is NOT has(the same, the days before), "fever and cough within 3 days" is has(cough, -3 to 3).
- Such a question is bounded per patient over the whole query (`bound` "query"), and every month that a window can reach pays.
- A look-back is always stated: a window has two ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from protocols.query.conditions import condition_problems
from protocols.query.domains import EARLIEST, LATEST
from protocols.query.errors import Problem, ProblemCode
from protocols.query.terms import AllOf, AnyOf, Cohort, Has, Is, Not, Period, Table

MAX_LEAVES = 16
MAX_DEPTH = 16
WINDOW = "HAS(diagnoses, icd10 LIKE 'J10%', -3, 3)"
QUERY_BOUND = "query"


@dataclass(frozen=True, slots=True)
class Read:
    """Rows of one table that a plan may look at: days from the first on, before the second; None where a table has no date."""

    table: Table
    days: tuple[date, date] | None


def leaves(cohort: Cohort) -> Iterator[Is | Has]:
    """Its plain conditions and its windows, from left to right."""
    if isinstance(cohort, AllOf | AnyOf):
        for part in cohort.of:
            yield from leaves(part)
    elif isinstance(cohort, Not):
        yield from leaves(cohort.of)
    else:
        yield cohort


def depth(cohort: Cohort) -> int:
    if isinstance(cohort, AllOf | AnyOf):
        return 1 + max(map(depth, cohort.of))
    return 1 + depth(cohort.of) if isinstance(cohort, Not) else 1


def days_read(has: Has, period: Period | None) -> tuple[date, date]:
    """The days on which a row can be that the window of a row of `period` looks at, end excluded."""
    if has.period is not None:
        return has.period.start, has.period.end
    if period is None or has.days is None:
        raise AssertionError("a window without a place in time was accepted")
    first, last = has.days
    return _moved(period.start, first), _moved(period.end, last)


def _moved(day: date, days: int) -> date:
    """Within the calendar of the language: no row lies outside of it."""
    return min(max(day + timedelta(days=days), EARLIEST), LATEST)


def tables_named(spec: Mapping[str, Any]) -> frozenset[str]:
    """Every table that a spec in JSON names, its windows' too: what a policy or a programme has to allow."""
    named: set[str] = set()
    to_do: list[object] = [spec]
    while to_do:
        part = to_do.pop()
        if isinstance(part, Mapping):
            if "table" in part:
                named.add(str(part["table"]))
            to_do += part.values()
        elif isinstance(part, list | tuple):
            to_do += part
    return frozenset(named)


def cohort_problems(cohort: Cohort, table: Table, path: str) -> Iterator[Problem]:
    """Everything wrong with one cohort on rows of `table`; leaves are numbered from left to right."""
    found = list(leaves(cohort))
    if len(found) > MAX_LEAVES or depth(cohort) > MAX_DEPTH:
        rule = f"more than {MAX_LEAVES} conditions or {MAX_DEPTH} levels"
        yield Problem(ProblemCode.SHAPE, "cohort", rule, "fewer of them", path=path)
    for n, leaf in enumerate(found):
        place = f"{path}.{n}"
        if isinstance(leaf, Is):
            yield from condition_problems(leaf.where, table, place)
        else:
            yield from _window_problems(leaf, table, place)


def _window_problems(has: Has, table: Table, place: str) -> Iterator[Problem]:
    if not has.table.is_dated:
        yield Problem(ProblemCode.LOOK_BACK, f"HAS({has.table})", "no date to look for", "district, sex or age as such", path=place)
        return
    yield from condition_problems(has.where, has.table, place)
    if (has.days is None) == (has.period is None):
        yield Problem(ProblemCode.LOOK_BACK, "HAS", "a window has two ends, in days or as dates", WINDOW, path=place)
    elif has.days is not None and not table.is_dated:
        nearest = "HAS(diagnoses, icd10 LIKE 'E11%', DATE '2024-01-01', DATE '2025-01-01')"
        yield Problem(ProblemCode.LOOK_BACK, "HAS", f"{table} has no date to count days from", nearest, path=place)
    elif has.days is not None and has.days[0] > has.days[1]:
        yield Problem(ProblemCode.LOOK_BACK, "HAS", "the window ends before it begins", WINDOW, path=place)
    elif has.period is not None and not EARLIEST <= has.period.start < has.period.end <= LATEST:
        yield Problem(ProblemCode.LOOK_BACK, "HAS", f"the window is empty, or outside {EARLIEST} to {LATEST}", WINDOW, path=place)
