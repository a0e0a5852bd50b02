"""What research gets: exact fits beside the pooled ones, and how often a private Cox regression's intervals hold the truth.

Published data, which lie beside the repository: UCI heart (five hospitals) and TCGA-BRCA (six regions). Nothing is timed. The
private question (one column, two intervals, three rounds, most of what research may spend on one block) shortens no row. That
1,088 patients with 151 deaths drown in its noise is told by the fits themselves, and counted here.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from coordinator.client.fits import Result
from coordinator.client.training import EXACT_ROUNDS
from hospital_node.fits.rows import Rows, rows_of
from privacy.rdp import skellam_variance_for
from protocols.contract import CONTRACT
from protocols.fits import Floats, read
from simulations.bench.rows import Row
from simulations.research import brca, heart
from simulations.research.rounds import by_rounds, of_rows, released
from simulations.research.table import Cohort

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
UNIT = 1e-9
"""Rows keep six decimals, and these differences are smaller."""
RUNS, ROUNDS, PRICE = 200, 3, "0.43"
Held = Sequence[duckdb.DuckDBPyConnection]


def rows(is_quick: bool = False) -> list[Row]:
    """No row where the data are not there."""
    found: list[Row] = []
    if (DATA / "uci_heart").exists():
        found += _heart(DATA / "uci_heart")
    if (DATA / "tcga_brca").exists():
        with _registered(brca.COHORT, brca.hospitals(DATA / "tcga_brca")) as held:
            found += [*_exact_cox(held), *_private_cox(held, 20 if is_quick else RUNS)]
    return found


@contextmanager
def _registered(cohort: Cohort, hospitals: Sequence[list[dict[str, str]]]) -> Iterator[Held]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        yield [stack.enter_context(cohort.registered(Path(folder) / str(n), each)) for n, each in enumerate(hospitals)]


# -- exact


def _heart(folder: Path) -> list[Row]:
    hospitals = heart.hospitals(folder)
    with _registered(heart.COHORT, hospitals) as held:
        return _beside("exact logistic, UCI heart", heart.fit(), held, heart.pooled(hospitals))


def _exact_cox(held: Held) -> list[Row]:
    hospitals = brca.hospitals(DATA / "tcga_brca")
    stratified = _beside("exact Cox by hospital, TCGA-BRCA", brca.stratified(), held, brca.pooled_stratified(hospitals))
    return stratified + _beside("exact Cox on the grid, TCGA-BRCA", brca.on_grid(), held, brca.pooled_on_grid(hospitals))


def _beside(name: str, fields: dict[str, Any], held: Held, reference: tuple[Floats, Floats]) -> list[Row]:
    found = by_rounds(read(fields).exactly(), held, EXACT_ROUNDS)
    how = f"{len(held)} hospitals, {len(found.estimates)} estimates, {EXACT_ROUNDS} rounds; converged: {found.converged}"
    how += f"; in units of {UNIT:g}"
    values, errors = ([getattr(each, part) for each in found.estimates] for part in ("value", "standard_error"))
    return [
        Row.measured(f"{name}: largest difference of an estimate", "1e-9", _largest(values, reference[0]), how, bar="<= 1000"),
        Row.measured(f"{name}: largest difference of an error", "1e-9", _largest(errors, reference[1]), how, bar="<= 100000"),
    ]


def _largest(found: Sequence[float], reference: Floats) -> float:
    return float(np.abs(np.array(found) - reference).max()) / UNIT


# -- private


@dataclass(frozen=True, slots=True)
class Covered:
    """Of some runs: how many intervals held the truth, and how many said that noise may bend them; the middle standard error."""

    share: float
    drowned: float
    error: float


def _private_cox(held: Held, runs: int) -> list[Row]:
    fit = read({**brca.on_grid(), "features": [brca.COHORT.number("age")], "edges": ["1825", "9000"]})
    variance = skellam_variance_for(CONTRACT.order, Fraction(PRICE) / ROUNDS, fit.l1, fit.l2_squared)
    exact = by_rounds(fit.exactly(), held, EXACT_ROUNDS).estimates[0]
    read_once, random = [rows_of(fit, records) for records in held], np.random.default_rng()
    ask = partial(released, fit, hospitals=len(held), rounds=ROUNDS, variance=variance)
    drawn = _covered(runs, exact.value, lambda: ask(of_rows(fit, [_drawn(each, random) for each in read_once])))
    fixed = _covered(runs, exact.value, lambda: ask(of_rows(fit, read_once)))
    how = (
        f"{runs} runs, hazard ratio of age over two intervals, {ROUNDS} rounds at price {PRICE}, noise sd "
        f"{float(variance) ** 0.5 / fit.scale:.1f}; "
    )
    return [
        Row.measured(
            "private Cox, TCGA-BRCA: 95 % intervals that hold the truth", "share", drawn.share,
            f"{how}patients of each region drawn anew with replacement, the truth is the pooled exact fit; "
            f"{drawn.drowned:.0%} of the runs say that noise may bend them", bar=">= 0.9" if runs >= RUNS else "",
        ),
        Row.measured(
            "private Cox, TCGA-BRCA: the same for the same patients", "share", fixed.share,
            f"{how}noise alone is drawn anew: sampling counts in the interval and not in the runs",
            bar=">= 0.9" if runs >= RUNS else "",
        ),
        Row.measured(
            "private Cox, TCGA-BRCA: its standard error beside the exact one", "-", drawn.error, how,
            reference=exact.standard_error,
        ),
    ]  # fmt: skip


def _covered(runs: int, truth: float, run: Callable[[], Result]) -> Covered:
    results = [run() for _ in range(runs)]
    found = [each.estimates[0] for each in results]
    holds = np.mean([each.lower <= truth <= each.upper for each in found])
    error = np.median([each.standard_error for each in found])
    return Covered(float(holds), float(np.mean([each.is_drowned for each in results])), float(error))


def _drawn(held: Rows, random: np.random.Generator) -> Rows:
    """As many patients of a region, drawn from it with replacement."""
    chosen = random.integers(0, len(held.own), len(held.own))
    return Rows(held.scaled[chosen], held.own[chosen], np.arange(len(chosen)))
