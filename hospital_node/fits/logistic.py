"""One Newton round of a logistic regression: gradient and Hessian sums, clipped per (patient, block), as integers.

Promise: adding or removing one patient's rows of one block moves the returned vector by at most clip * SCALE in L2, in integers,
whatever the records hold (privacy choice 7). Floats appear only inside one (patient, block)'s own contribution; each contribution
is clipped, truncated toward zero to integers, and only then summed, so no rounding of a sum depends on anybody else's rows.

Total: an unknown age or sex is the public centre 0; no record raises.
"""

import duckdb
import numpy as np
import numpy.typing as npt

from hospital_node.fits.bounded import scores
from protocols.fit import SCALE, Feature, FitSpec, Weights
from protocols.secagg.ring import Integers

Floats = npt.NDArray[np.float64]

_COLUMNS = {
    Feature.INTERCEPT: "1.0",
    Feature.AGE: "least(greatest((coalesce(age, 50) - 50) / 50.0, -1.0), 1.0)",
    Feature.MALE: "CASE sex WHEN 'M' THEN 1.0 ELSE 0.0 END",
    Feature.WINTER: "CASE WHEN month(visit_date) IN (12, 1, 2) THEN 1.0 ELSE 0.0 END",
    Feature.WEEKEND: "CASE WHEN isodow(visit_date) > 5 THEN 1.0 ELSE 0.0 END",
}
# A float just below 1: the clipped vector's rounding error can then never carry its truncation past clip * SCALE.
_SAFE = SCALE * (1 - 2.0**-30)


def newton_sums(spec: FitSpec, connection: duckdb.DuckDBPyConnection, weights: Weights) -> Integers:
    """Gradient, then the upper triangle of the Hessian, row by row; length `spec.width`."""
    group, features, outcome = _rows(spec, connection)
    if not len(group):
        return np.zeros(spec.width, np.int64)
    stacked = _stacked(features, outcome, weights)
    starts = np.flatnonzero(np.r_[True, (group[1:] != group[:-1]).any(axis=1)])
    total: Integers = _clipped(np.add.reduceat(stacked, starts, axis=0), spec.clip).sum(axis=0)
    return total


def _rows(spec: FitSpec, connection: duckdb.DuckDBPyConnection) -> tuple[Integers, Floats, Floats]:
    """(person, month), features and outcome of every visit in the period, a patient's rows of one block together."""
    columns = ", ".join(f"{_COLUMNS[feature]} AS f{n}" for n, feature in enumerate(spec.columns))
    # Column expressions come from the table above; everything the question states is bound.
    sql = (
        "SELECT person_id, year(visit_date) * 12 + month(visit_date) AS block, "  # noqa: S608
        f"CASE WHEN visit_class = $outcome THEN 1.0 ELSE 0.0 END AS y, {columns} "
        "FROM visit_occurrence WHERE person_id IS NOT NULL AND visit_date >= $start AND visit_date < $end "
        "ORDER BY ALL"  # a patient's own rows too: the order of a sum must not depend on anybody else's
    )
    bound = {"outcome": spec.outcome, "start": spec.period.start, "end": spec.period.end}
    found = connection.execute(sql, bound).fetchnumpy()
    group = np.stack([np.asarray(found["person_id"], np.int64), np.asarray(found["block"], np.int64)], axis=1)
    features = np.stack([np.asarray(found[f"f{n}"], np.float64) for n in range(len(spec.columns))], axis=1)
    return group, features, np.asarray(found["y"], np.float64)


def _stacked(features: Floats, outcome: Floats, weights: Weights) -> Floats:
    chance = 1.0 / (1.0 + np.exp(-np.clip(scores(features, weights), -500.0, 500.0)))
    gradient = (outcome - chance)[:, None] * features
    rows, columns = np.triu_indices(features.shape[1])
    hessian = (chance * (1.0 - chance))[:, None] * features[:, rows] * features[:, columns]
    return np.concatenate([gradient, hessian], axis=1)


def _clipped(contributions: Floats, clip: float) -> Integers:
    norms = np.linalg.norm(contributions, axis=1, keepdims=True)
    shrink = np.minimum(1.0, clip / np.maximum(norms, 1e-300))
    # Truncation toward zero never lengthens a vector, so the integer norm stays within clip * SCALE.
    whole: Integers = np.trunc(contributions * shrink * _SAFE).astype(np.int64)
    return whole
