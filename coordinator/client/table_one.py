"""A table one as a journal prints it: a line for each statistic, a column for each group, under every number its noise interval.

Groups are the cells of the question, after all of them together, and where measures have filters, so for each filter. Nothing is
computed here that the columns of the answer do not say already.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from rich.table import Table
from rich.text import Text

from coordinator.client.checked import Verified
from coordinator.client.column import Column
from coordinator.client.table import AnswerTable, Measured
from coordinator.client.texts import Say
from coordinator.client.wording import number
from protocols.query.footprint import MISSING
from protocols.query.terms import Categories, Cohort, Persons, Summary
from protocols.query.words import cohort_in_words

GROUPS_ABREAST = 5
_STATISTICS = {"mean_sd": (2, 3), "median": (5, 4, 6), MISSING: (0, 1)}
"""Of a `Summary`, by the places of its columns."""


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """One column: a cell of a table, or all of it, under a filter of the measures."""

    cells: AnswerTable
    cell: int
    filter: Cohort | None

    @property
    def keys(self) -> dict[str, str]:
        return {key: labels[self.cell] for key, labels in self.cells.key_columns().items()}


@dataclass(frozen=True, slots=True)
class Number:
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Line:
    """`column` and `label` are empty for the number of patients. One tuple a group; None where it was not asked for that group."""

    column: str
    statistic: str
    label: str
    numbers: tuple[tuple[Number, ...] | None, ...]


def is_table_one(given: Verified) -> bool:
    return any(isinstance(measure, Summary | Categories) for measure in given.spec.measures)


def groups(cells: AnswerTable) -> tuple[Group, ...]:
    tables = (cells.collapsed(()), cells) if cells.grid.size > 1 else (cells,)
    filters = dict.fromkeys(each.measure.filter for each in _lined(cells))
    return tuple(Group(table, n, each) for each in filters for table in tables for n in range(table.grid.size))


def lines(cells: AnswerTable) -> tuple[Line, ...]:
    """Patients first, then the columns in the order of the question."""
    columns_of = cache(_columns)
    told = []
    for kind, column in dict.fromkeys(map(_what, _lined(cells))):
        first = next(each.measure for each in _lined(cells) if _what(each) == (kind, column))
        of_groups = [columns_of(group.cells, kind, column, group.filter) for group in groups(cells)]
        for statistic, label, places in _statistics(first):
            numbers = (
                None if columns is None else tuple(_number(columns[place], group.cell) for place in places)
                for columns, group in zip(of_groups, groups(cells), strict=True)
            )
            told.append(Line(column, statistic, label, tuple(numbers)))
    return tuple(told)


def _lined(cells: AnswerTable) -> list[Measured]:
    return [each for each in cells.measured if isinstance(each.measure, Persons | Summary | Categories)]


def _what(each: Measured) -> tuple[str, str]:
    return each.measure.kind, "" if isinstance(each.measure, Persons) else str(getattr(each.measure, "column", ""))


def _columns(cells: AnswerTable, kind: str, column: str, rows: Cohort | None) -> tuple[Column, ...] | None:
    found = (each for each in _lined(cells) if _what(each) == (kind, column) and each.measure.filter == rows)
    return next((each.columns(cells.kept) for each in found), None)


def _statistics(measure: object) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    if isinstance(measure, Summary):
        yield from ((name, "", places) for name, places in _STATISTICS.items())
    elif isinstance(measure, Categories):
        for n, label in enumerate((*measure.labels, MISSING)):
            yield MISSING if label == MISSING else "n_percent", label, (2 * n, 2 * n + 1)
    else:
        yield "n", "", (0,)


def _number(column: Column, cell: int) -> Number:
    return Number(float(column.values[cell]), float(column.lower[cell]), float(column.upper[cell]))


def table_one(given: Verified, say: Say) -> list[Table]:
    """A few groups abreast at a time."""
    found, told = groups(given.cells), lines(given.cells)
    starts = range(0, len(found), GROUPS_ABREAST)
    return [_printed(found[start : start + GROUPS_ABREAST], told, start, say) for start in starts]


def _printed(abreast: tuple[Group, ...], told: tuple[Line, ...], start: int, say: Say) -> Table:
    table = Table(title=say("table_one.title"), title_justify="left")
    table.add_column("", overflow="fold")
    for group in abreast:
        table.add_column(_head(group, say), justify="right")
    before = ""
    for line in told:
        if line.column != before:
            table.add_section()
            table.add_row(Text(say(f"table_one.{line.column}"), style="bold"))
            before = line.column
        entries = (_entry(line.statistic, line.numbers[start + n], say) for n in range(len(abreast)))
        table.add_row(("  " if line.column else "") + _name(line, say), *entries)
    return table


def _head(group: Group, say: Say) -> str:
    labels = say("list.comma").join(say.label(key, label) for key, label in group.keys.items()) or say("table_one.all")
    return labels if group.filter is None else f"{labels}\n{cohort_in_words(group.filter, say.lang)}"


def _name(line: Line, say: Say) -> str:
    return say(f"table_one.{line.statistic}") if line.statistic != "n_percent" else say.label(line.column, line.label)


def _entry(statistic: str, numbers: tuple[Number, ...] | None, say: Say) -> Text:
    if numbers is None:
        return Text("")
    if any(math.isnan(each.value) for each in numbers):
        return Text(say("answer.untold"), style="bright_black")
    values = [number(each.value) for each in numbers]
    shown = {"mean_sd": "{} ± {}", "median": "{} [{} – {}]", "n": "{}"}.get(statistic, "{} ({} %)").format(*values)
    ends = "  ".join(f"{number(each.low)} … {number(each.high)}" for each in numbers)
    return Text.assemble(shown, "\n", (ends, "dim"))


def table_one_json(given: Verified, say: Say) -> dict[str, Any]:
    """Groups, and lines with the numbers of each group in their order; null where lost in noise, or not asked."""
    return {
        "groups": [
            {"keys": each.keys, "filter": None if each.filter is None else cohort_in_words(each.filter, say.lang)}
            for each in groups(given.cells)
        ],
        "lines": [
            {
                "column": line.column,
                "statistic": line.statistic,
                "label": line.label,
                "numbers": [None if each is None else list(map(_as_json, each)) for each in line.numbers],
            }
            for line in lines(given.cells)
        ],
    }


def _as_json(each: Number) -> dict[str, float] | None:
    return None if math.isnan(each.value) else {"value": each.value, "lower": each.low, "upper": each.high}
