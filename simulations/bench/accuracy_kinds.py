"""How often the intervals of every kind of column cover what the bounded exact sum says, at noise below and from sigma 12.

The same arithmetic as a bureau's answer: bounded vectors of a city, noise of `BySd` from the sampler, columns of `AnswerTable`. The
truth of a column is the same column without noise. A number that is lost in noise has no interval and does not count; how many were
told is in the row. Monte Carlo: the standard error of each figure is in its row, from so many cells with noise of their own, and
three of them are allowed to a coverage that may be 95 % and no more.
"""

import math
import os
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import numpy as np

from coordinator.client.forecast import BySd
from coordinator.client.table import AnswerTable
from privacy.rdp import share_variance
from privacy.sampler import draw
from privacy.tables import skellam_table
from protocols.contract import CONTRACT, colluders
from protocols.query import Layout, QuerySpec
from protocols.query.sql import parse_sql
from protocols.secagg.ring import Integers
from simulations.bench.rows import Row
from simulations.city import build_city, write_duckdb
from simulations.exact import bounded_exact

HOSPITALS, VISITS, NUMBERS = 8, 8_000, 6_000
SIGMAS: Final = (4, 12)
BAR_FROM = 12
MOST_ERROR = 0.33
ALMOST_NOTHING = Fraction(1, 16)
_YEAR = "date >= DATE '2025-01-01' AND date < DATE '2026-01-01'"
_SYSTOLIC = f"loinc = '8480-6' AND {_YEAR}"
KINDS: Final = {
    "table one": f"SELECT district, TABLE_ONE(CLAMP(age, 0, 100), sex) FROM visits WHERE {_YEAR} GROUP BY district",
    "curve": (
        "SELECT sex, KAPLAN_MEIER(HAS(visits, 1, 90), [14, 30, 90], DATE '2026-01-01') FROM diagnoses "
        "WHERE date >= DATE '2025-01-01' AND date < DATE '2025-11-01' AND icd10 LIKE 'J%' AND sex IN ('F', 'M') GROUP BY sex"
    ),
    "percentage": f"SELECT district, COUNT(*), COUNT(*) FILTER (WHERE age < 15) FROM visits WHERE {_YEAR} GROUP BY district",
    "mean": f"SELECT district, AVG(CLAMP(age, 0, 100)) FROM visits WHERE {_YEAR} GROUP BY district",
    "spread and quantiles": (
        "SELECT STDDEV(CLAMP(value, 60, 200)), QUANTILE(CLAMP(value, 60, 200), [0.25, 0.5, 0.75]) FROM measurements "
        f"WHERE {_SYSTOLIC}"
    ),
    "totals": f"SELECT month, district, COUNT(*) FROM visits WHERE {_YEAR} GROUP BY ROLLUP(month, district)",
}


@dataclass(frozen=True, slots=True)
class Covered:
    """Of one kind of column: the share of told numbers that the interval covers, and of all numbers how many are told."""

    share: float
    told: float
    numbers: int
    """With noise of their own."""

    @property
    def error(self) -> float:
        """In points."""
        return 100 * math.sqrt(0.95 * 0.05 / self.numbers)


def rows(is_quick: bool = False) -> list[Row]:
    numbers, found = NUMBERS // 40 if is_quick else NUMBERS, []
    with tempfile.TemporaryDirectory(prefix="kapok-bench-") as folder:
        records = write_duckdb(build_city(20250101, HOSPITALS, VISITS), Path(folder)).values()
        keys = {each: os.urandom(32) for each in records}
        for kind, sql in KINDS.items():
            spec = parse_sql(sql)
            exact = bounded_exact(spec, keys).vector
            for sigma in SIGMAS:
                measured = coverage(spec, exact, sigma, -(-numbers // spec.grid().size))
                found += [row for column, each in measured.items() for row in _rows(f"{kind}: {column}", sigma, each)]
    return found


def coverage(spec: QuerySpec, exact: Integers, sigma: int, answers: int) -> dict[str, Covered]:
    """By kind of column."""
    layout, n = Layout.of(spec), HOSPITALS
    shares = [share_variance(each, n, colluders(n)) for each in BySd(Fraction(sigma)).variances(layout.segments, CONTRACT.order)]
    noise = [
        sum(draw(skellam_table(share), answers * segment.length).reshape(answers, -1) for _ in range(n))
        for segment, share in zip(layout.segments, shares, strict=True)
    ]
    noisy = exact + np.concatenate([np.asarray(each) for each in noise], axis=1)
    truth = AnswerTable.of(spec, exact.tolist(), [ALMOST_NOTHING] * len(shares)).columns
    hits: dict[str, list[bool]] = defaultdict(list)
    numbers: dict[str, int] = defaultdict(int)
    for values in noisy:
        told = AnswerTable.of(spec, values.tolist(), [n * share for share in shares]).columns
        for column, true in zip(told, truth, strict=True):
            is_told = ~np.isnan(column.lower) & ~np.isnan(true.values)
            inside = (column.lower <= true.values) & (true.values <= column.upper)
            hits[_kind(column.name)] += inside[is_told].tolist()
            numbers[_kind(column.name)] += len(inside)
    return {
        kind: Covered(float(np.mean(each)), len(each) / numbers[kind], answers * spec.grid().size)
        for kind, each in hits.items()
        if each
    }


def _kind(column: str) -> str:
    """Entries of one list together, and edges of one curve."""
    if column.startswith(("sex_", "survival_")):
        return "percent" if column.endswith("_percent") else column.split("_")[0]
    return column.removesuffix("_age").removesuffix("_value")


def _rows(name: str, sigma: int, each: Covered) -> list[Row]:
    how = f"{each.numbers:,} cells, {100 * each.told:.1f} % of the numbers told; standard error {each.error:.2f} points"
    covered, least = 100 * each.share, f">= {95 - 3 * each.error:.2f}"
    found = [Row.measured(f"{name}, 95 % interval covers, sigma {sigma}", "%", covered, how, bar=least)]
    if sigma >= BAR_FROM:
        off, bar = abs(covered - 95), "<= 1" if each.error <= MOST_ERROR else ""  # fewer answers cannot tell one point
        found.append(Row.measured(f"{name}, 95 % interval off by, sigma {sigma}", "points", off, how, bar=bar))
    return found
