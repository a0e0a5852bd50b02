"""Weights of regressions, carried to the columns' own units.

Linear: with moments A = X'X and b = X'y of noise s^2 an entry, the score b - A w has the noise
s^2 ((1 + |w|^2) I + ww' - diag(w^2)), since an entry beside the diagonal stands in two scores. Newton's: H^-1 (H + s^2 I) H^-1,
from the last round.
"""

import math

import numpy as np

from coordinator.client.fits.result import Estimate, Result, drowned, tested
from coordinator.client.fits.tails import student
from protocols.fits import INTERCEPT, Cox, Floats, Linear, Newton, Numeric, own_units, symmetric


def linear(spec: Linear, values: Floats, sd: float) -> Result:
    moments = symmetric(len(spec.columns) + 1, values / spec.scale)
    products, crossed, squares = moments[:-1, :-1], moments[:-1, -1], moments[-1, -1]
    rows, size = products[0, 0], len(spec.columns)
    inverse = np.linalg.pinv(products, hermitian=True)
    weights = inverse @ crossed
    left = max(squares - 2 * weights @ crossed + weights @ products @ weights, 0.0)
    freedom = max(rows - size, 1.0)
    noise = sd**2 * ((1 + weights @ weights) * np.eye(size) + np.outer(weights, weights) - np.diag(weights**2))
    covariance = inverse @ (left / freedom * products + noise) @ inverse
    to = spec.outcome.half * own_units(spec.features)
    own = to @ weights
    own[0] += spec.outcome.middle
    total = squares - crossed[0] ** 2 / max(rows, 1.0)
    figures = {
        "rows": rows,
        "r_squared": 1 - left / total if total > 0 else math.nan,
        "residual_sd": spec.outcome.half * math.sqrt(left / freedom),
    }
    errors = np.sqrt(np.maximum(np.diag(to @ covariance @ to.T), 0.0))
    estimates = tuple(
        Estimate(name, float(value), float(error), student(value / error, freedom) if error > 0 else None)
        for name, value, error in zip(spec.columns, own, errors, strict=True)
    )
    return Result(estimates, figures, is_drowned=drowned(products, sd))


def newton(spec: Newton, values: Floats, sd: float) -> Result:
    """The released numbers are the weights in `units`, then the last round's vector."""
    scaled = values[: spec.inputs] / spec.units
    _, hessian = spec.unpacked(values[spec.inputs :])
    inverse = np.linalg.pinv(hessian, hermitian=True)
    covariance = inverse @ (hessian + sd**2 * np.eye(len(hessian))) @ inverse
    is_cox = isinstance(spec, Cox)
    to = _of_features(spec) if is_cox else own_units(spec.features)
    own, variances = to @ scaled, np.diag(to @ covariance @ to.T)
    names = [each.label for each in spec.features] if is_cox else [INTERCEPT, *(each.label for each in spec.features)]
    estimates = tuple(tested(*each) for each in zip(names, own.tolist(), variances.tolist(), strict=True))
    return Result(estimates, is_log=True, is_drowned=drowned(hessian, sd))


def _of_features(spec: Cox | Newton) -> Floats:
    """A unit of a hazard ratio is the column's; the intervals' own hazards are not told."""
    halves = [each.half if isinstance(each, Numeric) else 1.0 for each in spec.features]
    of: Floats = np.concatenate([np.zeros((len(halves), spec.inputs - len(halves))), np.diag(1 / np.array(halves))], axis=1)
    return of
