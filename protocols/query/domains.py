"""Public domains: which cells a table of answers has, known before any record is read.

Rules
- An axis is a list of labels that depends on the query alone; a row whose value lies outside every label is not counted.
- A grid is dense and row-major: every cell is answered, empty ones included; a missing cell would tell that it is empty.
- A grid has at most `MAX_CELLS` cells (DESIGN, contract numbers).
- Weeks are ISO 8601 weeks, Monday to Sunday, named by the year of their Thursday: 2026-12-28 and 2027-01-03 are both in
  2026-W53.
- A period that cuts a week or a month counts only the days inside it; the label stays.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from functools import lru_cache

MAX_CELLS = 1_000_000
MAX_MONTHS = 240
EARLIEST, LATEST = date(1900, 1, 1), date(2200, 1, 1)
MAX_AGE = 150

DISTRICTS: dict[str, tuple[str, str]] = {
    "440103": ("荔湾区", "Liwan"),
    "440104": ("越秀区", "Yuexiu"),
    "440105": ("海珠区", "Haizhu"),
    "440106": ("天河区", "Tianhe"),
    "440111": ("白云区", "Baiyun"),
    "440112": ("黄埔区", "Huangpu"),
    "440113": ("番禺区", "Panyu"),
    "440114": ("花都区", "Huadu"),
    "440115": ("南沙区", "Nansha"),
    "440117": ("从化区", "Conghua"),
    "440118": ("增城区", "Zengcheng"),
}
SEXES: dict[str, tuple[str, str]] = {"F": ("女", "female"), "M": ("男", "male"), "O": ("其他", "other"), "U": ("未知", "unknown")}
VISIT_CLASSES: dict[str, tuple[str, str]] = {
    "AMB": ("门诊", "outpatient"),
    "EMER": ("急诊", "emergency"),
    "IMP": ("住院", "inpatient"),
    "OTHER": ("其他", "other"),
}


class AgeBands(StrEnum):
    """The named sets of age bands; a set's name, not its edges, is what a query states."""

    SURVEILLANCE = "surveillance"
    FIVE_YEARS = "five_years"

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """First and last age of each band, both inside it."""
        if self is AgeBands.SURVEILLANCE:
            return (0, 4), (5, 14), (15, 24), (25, 59), (60, MAX_AGE)
        return (*((low, low + 4) for low in range(0, 85, 5)), (85, MAX_AGE))

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(f"{low}+" if high == MAX_AGE else f"{low}-{high}" for low, high in self.edges)


@dataclass(frozen=True, slots=True)
class Axis:
    """One key with its labels. `per_block` is how many of them the rows of one block (a calendar month) can reach."""

    key: str
    labels: tuple[str, ...]
    per_block: int


@dataclass(frozen=True, slots=True)
class Grid:
    """All cells of an answer, row-major in the order of the axes; without an axis there is one cell."""

    axes: tuple[Axis, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(axis.labels) for axis in self.axes)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def reachable_per_block(self) -> int:
        """The most cells that one patient's rows of one block can fall into."""
        return math.prod(axis.per_block for axis in self.axes)

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(axis.key for axis in self.axes)

    def over(self, keys: Collection[str]) -> Grid:
        """The grid of these keys alone."""
        return Grid(tuple(axis for axis in self.axes if axis.key in keys))

    def labels_of(self, cell: int) -> tuple[str, ...]:
        if not 0 <= cell < self.size:
            raise IndexError(f"cell {cell}: the grid has {self.size} cells")
        labels: list[str] = []
        for axis in reversed(self.axes):
            cell, place = divmod(cell, len(axis.labels))
            labels.append(axis.labels[place])
        return tuple(reversed(labels))

    def cell_of(self, labels: tuple[str, ...]) -> int:
        cell = 0
        for axis, label in zip(self.axes, labels, strict=True):
            cell = cell * len(axis.labels) + axis.labels.index(label)
        return cell


def monday_of(day: date) -> date:
    return day - timedelta(days=day.weekday())


def week_label(day: date) -> str:
    iso = day.isocalendar()
    return f"{iso.year:04d}-W{iso.week:02d}"


def month_label(day: date) -> str:
    return f"{day.year:04d}-{day.month:02d}"


@lru_cache(256)
def weeks_between(start: date, end: date) -> tuple[str, ...]:
    """The ISO weeks with at least one day in [start, end)."""
    count = (monday_of(end - timedelta(days=1)) - monday_of(start)).days // 7 + 1
    return tuple(week_label(monday_of(start) + timedelta(weeks=n)) for n in range(count))


@lru_cache(256)
def months_between(start: date, end: date) -> tuple[str, ...]:
    """The calendar months with at least one day in [start, end)."""
    first, last = start.year * 12 + start.month - 1, (end - timedelta(days=1)).year * 12 + (end - timedelta(days=1)).month - 1
    return tuple(f"{n // 12:04d}-{n % 12 + 1:02d}" for n in range(first, last + 1))


@lru_cache(256)
def most_weeks_in_a_month(start: date, end: date) -> int:
    """The largest number of ISO weeks that the days of one calendar month of [start, end) touch."""
    weeks: dict[str, set[date]] = {}
    day = start
    while day < end:
        weeks.setdefault(month_label(day), set()).add(monday_of(day))
        day += timedelta(days=1)
    return max(map(len, weeks.values()))
