"""What can be read from an answer without asking again: rates per 100,000, the largest cells, and whether two keys go together.

All of it is made of released numbers, so it costs nothing. What a person asks for is checked against the question first: a typing
error must not cost budget.
"""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from coordinator.client.column import EXACT_UP_TO, Column, Stretch
from coordinator.client.errors import BadUsage
from coordinator.client.table import AnswerTable
from privacy.intervals import LEVEL, half_width
from protocols.query import QuerySpec
from protocols.query.terms import Count, Persons

PER = 100_000
TRIALS = 2_000
_LARGEST_FILE = 10_000_000
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Population:
    """Residents by some of the keys of an answer, from a public census."""

    keys: tuple[str, ...]
    residents: Mapping[tuple[str, ...], int]

    @classmethod
    def read(cls, path: Path) -> "Population":
        """CSV with a column `population` and one for each key, cells named by code. Raises BadUsage with the line."""
        try:
            if path.stat().st_size > _LARGEST_FILE:
                raise BadUsage("error.file", path=path, why=f"> {_LARGEST_FILE} bytes")
            with path.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file)
                names = tuple(reader.fieldnames or ())
                if "population" not in names or len(set(names)) != len(names):
                    raise BadUsage("error.population", place=f"{path}:1")
                keys = tuple(name for name in names if name != "population")
                residents: dict[tuple[str, ...], int] = {}
                for row in reader:
                    place, labels, number = f"{path}:{reader.line_num}", tuple(row[key] for key in keys), row["population"] or ""
                    if labels in residents or None in row or not (number.isascii() and number.isdigit() and int(number)):
                        raise BadUsage("error.population", place=place)
                    residents[labels] = int(number)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise BadUsage("error.file", path=path, why=getattr(error, "strerror", None) or type(error).__name__) from None
        return cls(keys, residents)

    def require(self, spec: QuerySpec) -> None:
        """Raises BadUsage unless every cell of the question has residents, and its first measure counts."""
        grid = spec.grid()
        wanted = grid.over(self.keys)
        if set(wanted.keys) != set(self.keys) or not isinstance(spec.measures[0], Count | Persons):
            raise BadUsage("error.population_keys", keys=", ".join(self.keys) or "-", known=", ".join(grid.keys) or "-")
        for cell in range(wanted.size):
            labels = dict(zip(wanted.keys, wanted.labels_of(cell), strict=True))
            if tuple(labels[key] for key in self.keys) not in self.residents:
                raise BadUsage("error.population_cell", cell=" ".join(labels.values()))

    def per_100k(self, cells: AnswerTable) -> Column:
        """The first measure over residents. They are known exactly, so the interval is the count's own, in the rate's unit."""
        labels, column = cells.key_columns(), cells.columns[0]
        of_cells = zip(*(labels[key] for key in self.keys), strict=True) if self.keys else [()] * cells.grid.size
        scale = PER / np.array([self.residents[each] for each in of_cells], dtype=np.float64)
        value, low, high, half = (each * scale for each in (column.values, column.lower, column.upper, column.half_width))
        return Column(f"{column.name}_per_100k", value, low, high, half, column.reliability)


@dataclass(frozen=True, slots=True)
class Top:
    """One of the largest cells. `is_certain`: at 95 %, together with all other cells, it belongs to them."""

    labels: tuple[str, ...]
    value: float
    low: float
    high: float
    is_certain: bool


def top(cells: AnswerTable, k: int) -> tuple[Top, ...]:
    """The k largest cells of the first measure. Their intervals hold for all cells of the answer at once (Bonferroni), so that
    having been picked for being large spoils none of them."""
    stretch = _first_counts(cells)
    values = stretch.values.reshape(-1)
    h = _half_width_of_all(stretch.variance, len(values))
    order = np.argsort(-values, kind="stable")[:k]
    upper = np.sort(values + h)
    # Certain, if at most k cells (itself among them) could be as large as its lower end.
    could_be = [len(values) - int(np.searchsorted(upper, values[n] - h, "left")) for n in order]
    return tuple(
        Top(cells.grid.labels_of(int(n)), float(values[n]), float(values[n] - h), float(values[n] + h), number <= k)
        for n, number in zip(order, could_be, strict=True)
    )


def _first_counts(cells: AnswerTable) -> Stretch:
    first = cells.measured[0]
    return first.parts[0].over(cells.kept)


def _half_width_of_all(variance: Fraction | float, cells: int) -> float:
    level = 1 - (1 - LEVEL) / cells
    if isinstance(variance, Fraction) and variance <= EXACT_UP_TO:
        return half_width(variance, level)
    return NormalDist().inv_cdf(1 - float(1 - level) / 2) * math.sqrt(variance) + 1


@dataclass(frozen=True, slots=True)
class Independence:
    """How far a cross-table is from no association, and how often a city without any would show one as far."""

    statistic: float
    p: float
    trials: int


def independence(counts: NDArray[np.int64], variance: float, random: np.random.Generator, trials: int = TRIALS) -> Independence:
    """Pearson's statistic, the noise in its denominators: sum of (O - E)^2 / (E + variance), which is Pearson's own without noise.

    A cell that nobody is in varies by its noise alone; divided by its tiny E it would drown all others. The distribution is
    simulated, since no textbook has it: tables drawn from the margins, with the noise (Gaboardi and others 2016, algorithm 1).
    """
    seen, expected = _distance(counts.astype(np.float64), variance)
    whole = float(expected.sum())
    if whole <= 0:
        return Independence(seen, 1.0, trials)  # nobody is there, as far as anybody can tell
    drawn = random.multinomial(max(round(whole), 1), (expected / whole).reshape(-1), size=trials).reshape(trials, *counts.shape)
    noisy = drawn + random.normal(0, math.sqrt(variance), drawn.shape).round()
    at_least = sum(_distance(each, variance)[0] >= seen for each in noisy)
    return Independence(seen, (1 + at_least) / (1 + trials), trials)


def _distance(table: Floats, variance: float) -> tuple[float, Floats]:
    """The statistic, and what would be expected without an association."""
    rows, columns = (np.maximum(table.sum(axis=axis), 0.0) for axis in (1, 0))
    expected: Floats = np.outer(rows, columns) / max(float(table.sum()), 1.0)
    varies = expected + variance
    return float((np.square(table - expected)[varies > 0] / varies[varies > 0]).sum()), expected


@dataclass(frozen=True, slots=True)
class Further:
    """What a person wants to read besides the cells."""

    top: int | None = None
    chi_square: bool = False
    population: Population | None = None

    def require(self, spec: QuerySpec) -> None:
        """Raises BadUsage for what this question's answer cannot show."""
        counts = isinstance(spec.measures[0], Count | Persons)
        if self.population:
            self.population.require(spec)
        if self.top is not None and not (counts and spec.keys):
            raise BadUsage("error.top")
        if self.chi_square and not (counts and len(spec.keys) == 2 and not spec.totals):
            raise BadUsage("error.chi_square")

    def test(self, cells: AnswerTable, id_: str) -> Independence:
        """The same answer gives the same p: the draws are seeded by its id."""
        stretch = _first_counts(cells)
        return independence(stretch.values.astype(np.int64), float(stretch.variance), np.random.default_rng(int(id_, 16)))
