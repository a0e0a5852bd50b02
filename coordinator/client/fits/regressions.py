"""Weights of regressions, carried to the columns' own units.

Linear: with moments A = X'X and b = X'y of noise s^2 an entry, the score b - A w has the noise
s^2 ((1 + |w|^2) I + ww' - diag(w^2)), since an entry beside the diagonal stands in two scores. Newton's: H^-1 (H + s^2 I) H^-1,
from the last round.
"""

import math

import numpy as np

from coordinator.client.fits.result import Estimate, Result, drowned, tested
from coordinator.client.fits.tails import student
from protocols.fits import INTERCEPT, Floats, Linear, Newton, Numeric, own_units, symmetric

SMALL_STEP = 1e-4
LARGEST_OF_NOISE = 5.0
"""Standard errors that noise alone moves an estimate by once in a million rounds."""
NOTHING = 1e-9
"""What is left of information that is none: a hospital's sums are rounded to 5e-10."""


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
    if sd == 0:
        free = _undetermined(to, products)
        own, errors = np.where(free, math.nan, own), np.where(free, math.nan, errors)
    estimates = tuple(
        Estimate(name, float(value), float(error), student(value / error, freedom) if error > 0 else None)
        for name, value, error in zip(spec.columns, own, errors, strict=True)
    )
    return Result(estimates, figures, is_drowned=drowned(products, sd))


def newton(spec: Newton, values: Floats, sd: float) -> Result:
    """The released numbers are the weights in `units`, then the last round's vector."""
    scaled = values[: spec.inputs] / spec.units
    gradient, hessian = spec.unpacked(values[spec.inputs :])
    inverse = np.linalg.pinv(hessian, hermitian=True)
    covariance = inverse @ (hessian + sd**2 * np.eye(len(hessian))) @ inverse
    to, names = _told(spec)
    own, variances = to @ scaled, np.diag(to @ covariance @ to.T)
    if sd == 0:
        free = _undetermined(to, hessian)
        own, variances = np.where(free, math.nan, own), np.where(free, math.nan, variances)
    estimates = tuple(tested(*each) for each in zip(names, own.tolist(), variances.tolist(), strict=True))
    converged = _converged(to, inverse @ gradient, np.sqrt(np.maximum(variances, 0.0)), sd)
    return Result(estimates, is_log=True, is_drowned=drowned(hessian, sd), converged=converged)


def _told(spec: Newton) -> tuple[Floats, list[str]]:
    """What carries the weights to the columns' own units, and the names of those that are told."""
    features = [each.label for each in spec.features]
    if spec.has_intercept:
        return own_units(spec.features), [INTERCEPT, *features]
    return _of_features(spec), features


def _converged(to: Floats, step: Floats, errors: Floats, sd: float) -> bool:
    """Whether the last step was small beside the standard errors; without noise also as it stands, since errors may grow with it.

    Newton's steps square their error: what was left to do after one of a ten-thousandth is below 1e-7 of a standard error.
    """
    moved = np.abs(to @ step)
    if sd > 0:
        return bool((moved <= LARGEST_OF_NOISE * errors).all())
    return bool((moved <= SMALL_STEP * errors).all() and np.abs(step[(to != 0).any(axis=0)]).max(initial=0.0) <= SMALL_STEP)


def _undetermined(to: Floats, information: Floats) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """Estimates that the rows say nothing about: a category nobody has, columns that say the same, no rows at all."""
    length = np.sqrt(np.maximum(np.diag(information), 0.0))
    length = np.where(length > 0, length, 1.0)
    sizes, directions = np.linalg.eigh(information / np.outer(length, length))
    of = to / length
    of = of / np.linalg.norm(of, axis=1, keepdims=True)
    return np.asarray((np.abs(of @ directions[:, sizes < NOTHING]) > 1e-6).any(axis=1))


def _of_features(spec: Newton) -> Floats:
    """A unit of a hazard ratio is the column's; the intervals' own hazards are not told."""
    halves = [each.half if isinstance(each, Numeric) else 1.0 for each in spec.features]
    of: Floats = np.concatenate([np.zeros((len(halves), spec.inputs - len(halves))), np.diag(1 / np.array(halves))], axis=1)
    return of
