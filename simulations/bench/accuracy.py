"""How close released counts are, beside what a trusted centre could do at the same price.

Promises, wherever the noise asked for has sigma >= 12
- the RMSE against the bounded exact sum is at most 1.02 x sqrt(n / (n - c)) times that of one central discrete Gaussian of the
  same Renyi price; below sigma 12 the price of Skellam noise has no bar and stands in rows of its own;
- the stated 95 % interval covers 95 +- 1 % of the cells; at every sigma it covers at least 95 %.
The intervals of the other kinds are in `accuracy_kinds`, a standing series in `accuracy_series`, and
beside a factorisation in `factorised`. What bounding takes away from a
count stands in rows of its own: it is a bias, which no interval covers.

In memory, by the code that hospitals and coordinator run: bounded vectors from `execute`, shares from the tables and the sampler,
widths from `half_width`. Monte Carlo: the standard error of each figure is in its row.
"""

import math
import os
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import numpy as np

from privacy.intervals import half_width
from privacy.rdp import on_grid_up, share_variance, skellam_rdp
from privacy.sampler import draw
from privacy.tables import discrete_gaussian_table, skellam_table
from protocols.contract import CONTRACT, colluders
from protocols.query import Layout, QuerySpec
from protocols.query.sql import parse_sql
from protocols.secagg.ring import Integers
from simulations.bench import accuracy_kinds, accuracy_series, factorised
from simulations.bench.rows import Row
from simulations.city import build_city, write_duckdb
from simulations.exact import bounded_exact, exact_answer

HOSPITALS, VISITS = 8, 8_000
SIGMAS: Final = (2, 4, 8, 12, 20, 40)
BAR_FROM = 12
RELEASES = 1_000
SQL = (
    "SELECT week, district, COUNT(DISTINCT person_id) FROM visits "
    "WHERE date >= DATE '2024-12-30' AND date < DATE '2025-12-29' GROUP BY week, district"
)


@dataclass(frozen=True, slots=True)
class Measured:
    """Errors of many releases at one sigma against the bounded exact sum, and those of the central mechanism."""

    sigma: int
    ours: float
    central: float
    covered: float
    cells: int

    @property
    def allowance(self) -> float:
        """What the absent centre costs: everybody's share is sized for n - c honest hospitals."""
        return math.sqrt(HOSPITALS / (HOSPITALS - colluders(HOSPITALS)))

    @property
    def ratio(self) -> float:
        return self.ours / (self.allowance * self.central)

    @property
    def has_bar(self) -> bool:
        return self.sigma >= BAR_FROM


def rows(is_quick: bool = False) -> list[Row]:
    spec, releases = parse_sql(SQL), RELEASES // 10 if is_quick else RELEASES
    bounded, exact = _city(spec)
    segment = Layout.of(spec).segments[0]
    price_at = {sigma: _central_variance(sigma, segment.l1, segment.l2_squared) for sigma in SIGMAS}
    measured = [measure(sigma, price_at[sigma], bounded, releases) for sigma in SIGMAS]
    of_counts = [*(_error(each) for each in measured), *(row for each in measured for row in _coverage(each))]
    return [
        *of_counts,
        *accuracy_kinds.rows(is_quick),
        *accuracy_series.rows(is_quick),
        *factorised.rows(is_quick),
        *_bias(bounded, exact),
    ]


def measure(sigma: int, central_variance: Fraction, bounded: Integers, releases: int) -> Measured:
    """`releases` answers to the same question. The draws of all come in one pass; each cell has its own."""
    variance, n, cells = Fraction(sigma**2), HOSPITALS, releases * len(bounded)
    share = share_variance(variance, n, colluders(n))
    truth = np.tile(bounded, releases)
    released = truth.copy()
    for _ in range(n):
        released += draw(skellam_table(share), cells)
    central = truth + draw(discrete_gaussian_table(central_variance), cells)
    inside = np.abs(released - truth) <= half_width(n * share)
    return Measured(sigma, _rmse(released, truth), _rmse(central, truth), float(inside.mean()), cells)


def _central_variance(sigma: int, l1: int, l2_squared: int) -> Fraction:
    """The parameter at which `gaussian_rdp` is what the Skellam release of this sigma costs."""
    price = skellam_rdp(CONTRACT.order, l1, l2_squared, Fraction(sigma**2))
    return on_grid_up(CONTRACT.order * l2_squared / (2 * price))


def _city(spec: QuerySpec) -> tuple[Integers, Integers]:
    """The bounded exact sum of all hospitals, and the plain one."""
    with tempfile.TemporaryDirectory(prefix="kapok-bench-") as folder:
        records = write_duckdb(build_city(20250101, HOSPITALS, VISITS), Path(folder)).values()
        keys = {each: os.urandom(32) for each in records}
        return bounded_exact(spec, keys).vector, exact_answer(spec, records).vector


def _rmse(released: Integers, truth: Integers) -> float:
    return math.sqrt(float(np.mean((released - truth).astype(np.float64) ** 2)))


def _error(each: Measured) -> Row:
    how = (
        f"{each.cells:,} cells, {HOSPITALS} hospitals; the reference is the central RMSE times sqrt(n/(n-c)) = "
        f"{each.allowance:.3f}; standard error of the ratio {1 / math.sqrt(each.cells):.4f}"
    )
    bar = "<= 1.02" if each.has_bar else ""
    name = "rmse" if each.has_bar else "rmse, with the Skellam penalty"
    reference = each.allowance * each.central
    return Row.measured(f"{name}, sigma {each.sigma}", "count", each.ours, how, bar=bar, reference=reference, ratio=each.ratio)


def _coverage(each: Measured) -> list[Row]:
    error = 100 * math.sqrt(0.95 * 0.05 / each.cells)
    how = f"{each.cells:,} cells; standard error {error:.3f} points"
    covered = 100 * each.covered
    least = f">= {95 - 3 * error:.2f}"  # three standard errors of this run
    found = [Row.measured(f"95 % interval covers, sigma {each.sigma}", "%", covered, how, bar=least)]
    if each.has_bar:
        found.append(Row.measured(f"95 % interval off by, sigma {each.sigma}", "points", abs(covered - 95), how, bar="<= 1"))
    return found


def _bias(bounded: Integers, exact: Integers) -> list[Row]:
    lost = (exact - bounded).astype(np.float64)
    how = f"{HOSPITALS} hospitals of {VISITS:,} visits, {len(exact)} cells, {CONTRACT.cells_per_patient} a patient and month"
    return [
        Row.measured("bounding takes from a cell, mean", "count", float(lost.mean()), how),
        Row.measured("bounding takes from a cell, largest", "count", float(lost.max()), how),
        Row.measured("bounding takes from the whole", "%", 100 * float(lost.sum()) / float(exact.sum()), how),
    ]
