"""Principal components and clusters."""

import math

import numpy as np

from coordinator.client.fits.result import Estimate, Result, by_noise, stated
from protocols.fits import Floats, KMeans, Pca, symmetric


def pca(spec: Pca, values: Floats, sd: float) -> Result:
    """Shares and loadings of the columns as scaled by their bounds. A variance's sampling error is that of normal columns."""
    entries = values / spec.scale
    variances, directions = np.linalg.eigh(_covariance(entries, len(spec.columns)))
    noise = np.diag(by_noise(lambda each: _variances(each, len(spec.columns)), entries, sd))
    rows, total = max(entries[0], 1.0), max(float(variances.sum()), 1e-300)
    estimates: list[Estimate] = []
    figures = {"rows": float(entries[0])}
    for n, at in enumerate(reversed(range(len(variances))), start=1):
        estimates.append(stated(f"variance {n}", variances[at], 2 * variances[at] ** 2 / rows + noise[at]))
        figures[f"share {n}"] = float(variances[at]) / total
        turned = directions[:, at] * (1 if directions[np.abs(directions[:, at]).argmax(), at] > 0 else -1)
        figures |= {f"loading {n} {each.column}": float(weight) for each, weight in zip(spec.columns, turned, strict=True)}
    return Result(tuple(estimates), figures, is_drowned=bool(sd * math.sqrt(len(spec.columns)) / rows > 0.1 * total))


def _variances(entries: Floats, size: int) -> Floats:
    found: Floats = np.asarray(np.linalg.eigvalsh(_covariance(entries, size)), np.float64)
    return found


def _covariance(entries: Floats, size: int) -> Floats:
    moments = symmetric(size + 1, entries)
    rows = max(moments[0, 0], 1.0)
    centre = moments[0, 1:] / rows
    covariance: Floats = moments[1:, 1:] / rows - np.outer(centre, centre)
    return covariance


def k_means(spec: KMeans, values: Floats, sd: float) -> Result:
    """Centres in the columns' own units, after the last round; sizes and spread are of the round before it."""
    size = len(spec.columns)
    centres = (values[: spec.inputs] / spec.units).reshape(spec.clusters, size)
    sums = values[spec.inputs :] / spec.scale
    rows = sums[:-1].reshape(spec.clusters, 1 + size)[:, 0]
    spread = max(4 * sums[-1] / max(rows.sum(), 1.0), 0.0)
    estimates = []
    for n, (centre, number) in enumerate(zip(centres, rows, strict=True), start=1):
        there = max(number, 1.0)
        estimates.append(stated(f"cluster {n} rows", number, sd**2))
        for each, at in zip(spec.columns, centre, strict=True):
            variance = spread / there + sd**2 * (1 + at**2) / there**2
            estimates.append(stated(f"cluster {n} {each.column}", each.middle + each.half * at, each.half**2 * variance))
    return Result(tuple(estimates), {"rows": float(rows.sum()), "spread": spread}, is_drowned=bool((rows < 10 * sd).any()))
