"""One round of any fit of a registered table: each row's contribution, summed and clipped per (patient, block), as whole numbers.

Promise: adding or removing one patient's rows of one block moves the returned vector by at most `reach` in L2, in integers,
whatever it holds (privacy choice 7). Floats appear only inside one (patient, block)'s own contribution; it is clipped and made
whole before it is added to another's, so that no rounding of a sum depends on anybody else's rows.

Exact mode promises none of this: nothing is clipped, and a hospital's whole sum is made whole once.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import duckdb
import numpy as np

from hospital_node.fits import contributions as of
from hospital_node.fits.partial_likelihood import partial_likelihood
from hospital_node.fits.rows import Rows, rows_of
from protocols.contract import LARGEST_ENTRY
from protocols.fits import (
    Anova,
    Cox,
    Fit,
    Floats,
    KaplanMeier,
    KMeans,
    Linear,
    Logistic,
    MannWhitney,
    MetaAnalysis,
    NegativeBinomial,
    Pca,
    Poisson,
    Roc,
    StratifiedCox,
    TTest,
)
from protocols.secagg.ring import Integers

AT_ONCE = 4_000_000
"""Numbers of contributions in memory at a time."""
# A float just below 1: a shortened vector's rounding error can then never carry it past the clip.
_SAFE = 1 - 2.0**-30

Contributions = Callable[[Any, Rows, Floats], Floats]
"""From the fit, the rows and the round's input to one row of contributions each."""
CONTRIBUTIONS: dict[type[Fit], Contributions] = {
    Linear: of.moments,
    Pca: of.moments,
    Logistic: of.logistic,
    Poisson: of.poisson,
    NegativeBinomial: of.negative_binomial,
    TTest: of.means,
    Anova: of.means,
    MannWhitney: of.bins,
    KaplanMeier: of.ends,
    Cox: of.hazards,
    KMeans: of.clusters,
    Roc: of.chances,
}


def fit_sums(spec: Fit, records: duckdb.DuckDBPyConnection, numbers: Floats) -> Integers:
    """The exact vector of one round at this input. Raises OverflowError where exact mode has no room for it."""
    rows, total = rows_of(spec, records), np.zeros(spec.width, np.int64)
    if isinstance(spec, MetaAnalysis):
        return hospital_sums(spec, rows)
    if spec.is_exact:
        return _whole(
            spec, partial_likelihood(spec, rows, numbers) if isinstance(spec, StratifiedCox) else _added(spec, rows, numbers)
        )
    for first, last in _parts(rows, spec.width):
        part = rows.between(first, last)
        made = CONTRIBUTIONS[type(spec)](spec, part, numbers)
        total += bounded(spec, np.add.reduceat(made, part.starts, axis=0)).sum(axis=0)
    return total


def hospital_sums(spec: MetaAnalysis, rows: Rows) -> Integers:
    """What this hospital's own difference adds; its reach is proved in `protocols.fits.meta`, for patients who count one each."""
    if not len(rows.starts):
        return np.zeros(spec.width, np.int64)
    patients = np.diff(np.r_[rows.starts, len(rows.own)])[:, None]
    shares = np.add.reduceat(of.in_groups(spec, rows), rows.starts, axis=0) / patients
    first, second, of_first, of_second = shares.sum(axis=0)
    if not (first > 0 and second > 0):
        return np.zeros(spec.width, np.int64)  # without one of the groups there is no difference, and no weight
    weight = first * second / (first + second)
    weighted = (second * of_first - first * of_second) / (first + second)
    whole: Integers = np.rint(np.array([weight, weighted / 2, weighted**2 / weight / 12]) * spec.scale).astype(np.int64)
    return whole


def _added(spec: Fit, rows: Rows, numbers: Floats) -> Floats:
    """Exact mode: the sum of all contributions as they are."""
    total = np.zeros(spec.width)
    for first, last in _parts(rows, spec.width):
        total += CONTRIBUTIONS[type(spec)](spec, rows.between(first, last), numbers).sum(axis=0)
    return total


def _whole(spec: Fit, total: Floats) -> Integers:
    """Exact mode: a hospital's whole sum, made whole once."""
    scaled = total * spec.scale
    if not (np.abs(scaled) <= LARGEST_ENTRY).all():  # false for NaN too
        raise OverflowError("sums beyond what exact mode may add up")
    whole: Integers = np.rint(scaled).astype(np.int64)
    return whole


def bounded(spec: Fit, contributions: Floats) -> Integers:
    """Each row, one (patient, block)'s contribution, no longer than the clip and whole."""
    contributions = np.ascontiguousarray(contributions)  # the order of a sum along a row is then the row's own
    norms = np.linalg.norm(contributions, axis=1, keepdims=True)
    shrink = np.where(norms > spec.clip, spec.clip / np.maximum(norms, 1e-300) * _SAFE, 1.0)
    scaled = contributions * shrink * spec.scale
    whole: Integers = (np.rint(scaled) if spec.is_rounded else np.trunc(scaled)).astype(np.int64)
    return whole


def _parts(rows: Rows, width: int) -> list[tuple[int, int]]:
    """Stretches of (patient, block)s whose rows fit into memory together; one patient's are never parted."""
    if not len(rows.starts):
        return []
    part = rows.starts // max(1, AT_ONCE // width)
    cuts = np.flatnonzero(np.r_[True, part[1:] != part[:-1], True])
    return [(first, last) for first, last in pairwise(cuts.tolist())]
