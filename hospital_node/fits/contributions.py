"""What one row adds to a round, by the kind of the fit: pure functions of the fit, the rows and the round's input.

No row makes them raise or give anything but numbers: exponents are cut at the outcome's public bound. What a row adds is the same
to the last bit whoever else is there.
"""

import numpy as np

from hospital_node.fits.bounded import scores
from hospital_node.fits.rows import Rows
from protocols.fits import (
    Count,
    Cox,
    Floats,
    KaplanMeier,
    KMeans,
    Linear,
    Logistic,
    MannWhitney,
    Means,
    MetaAnalysis,
    NegativeBinomial,
    Pca,
    Poisson,
    Roc,
)

_LARGEST_EXPONENT = 500.0


def moments(spec: Linear | Pca, rows: Rows, _: Floats) -> Floats:
    """The upper triangle of (1, row) (1, row)'."""
    return _products(_with_intercept(rows.scaled))


def logistic(spec: Logistic, rows: Rows, weights: Floats) -> Floats:
    features, outcome = _with_intercept(rows.scaled[:, :-1]), rows.scaled[:, -1]
    chance = _chance(scores(features, weights))
    return _newton(features, outcome - chance, chance * (1.0 - chance))


def poisson(spec: Poisson, rows: Rows, weights: Floats) -> Floats:
    features, outcome, mean = _counted(spec, rows, weights)
    return _newton(features, outcome - mean, mean)


def negative_binomial(spec: NegativeBinomial, rows: Rows, weights: Floats) -> Floats:
    features, outcome, mean = _counted(spec, rows, weights)
    spread = 1.0 + float(spec.dispersion) * mean
    return _newton(features, (outcome - mean) / spread, mean / spread)


def means(spec: Means, rows: Rows, _: Floats) -> Floats:
    outcome, groups = rows.scaled[:, :1], rows.scaled[:, 1:]
    return np.concatenate([groups, groups * outcome, groups * outcome**2], axis=1)


def in_groups(spec: MetaAnalysis, rows: Rows) -> Floats:
    """Membership in either group, and the outcome there."""
    outcome, groups = rows.scaled[:, :1], rows.scaled[:, 1:]
    return np.concatenate([groups, groups * outcome], axis=1)


def bins(spec: MannWhitney, rows: Rows, _: Floats) -> Floats:
    return _in_group(rows.scaled[:, 1:], _one_hot(_binned(rows.scaled[:, 0], spec.bins), spec.bins))


def ends(spec: KaplanMeier, rows: Rows, _: Floats) -> Floats:
    grid = len(spec.edges)
    time, is_event = rows.own[:, 0], rows.own[:, 1] > 0
    interval = np.searchsorted(_edges(spec), time)  # (e_k-1, e_k]
    has_event = is_event & (interval < grid)
    place = np.where(has_event, interval, grid + interval)
    groups = rows.own[:, 2:] if spec.groups else np.ones((len(rows.own), 1))
    return _in_group(groups, _one_hot(place, 2 * grid + 1))


def hazards(spec: Cox, rows: Rows, numbers: Floats) -> Floats:
    """Of the piecewise exponential likelihood: a row lives through a part of each interval, and has its event in one at most."""
    edges, features = _edges(spec), rows.scaled[:, :-2]
    time, is_event = rows.own[:, -2], rows.own[:, -1] > 0
    begins = np.r_[0.0, edges[:-1]]
    lived = np.clip((time[:, None] - begins) / (edges - begins), 0.0, 1.0)
    event = _one_hot(np.searchsorted(edges, time), len(edges) + 1)[:, :-1] * is_event[:, None]
    log_hazard = numbers[: len(edges)] + scores(features, numbers[len(edges) :])[:, None]
    expected = lived * np.exp(np.minimum(log_hazard, _LARGEST_EXPONENT / 2))
    residual, total = (event - expected).sum(axis=1), expected.sum(axis=1)
    crossed = (expected[:, :, None] * features[:, None, :]).reshape(len(features), -1)
    of_features = total[:, None] * _products(features)
    return np.concatenate([event - expected, residual[:, None] * features, expected, crossed, of_features], axis=1)


def clusters(spec: KMeans, rows: Rows, numbers: Floats) -> Floats:
    values, centres = rows.scaled, numbers.reshape(spec.clusters, -1)
    apart = ((values[:, None, :] - centres[None]) ** 2).sum(axis=2)
    nearest = _one_hot(apart.argmin(axis=1), spec.clusters)
    row = np.concatenate([np.ones((len(values), 1)), values], axis=1)
    within = apart.min(axis=1, keepdims=True) / (4 * values.shape[1])
    return np.concatenate([_in_group(nearest, row), within], axis=1)


def chances(spec: Roc, rows: Rows, _: Floats) -> Floats:
    weights = np.array([float(each) for each in spec.weights])
    chance = _chance(weights[0] + scores(rows.own[:, :-1], weights[1:]))
    place = _one_hot(_binned(2 * chance - 1, spec.bins), spec.bins)
    outcome = rows.own[:, -1:]
    return np.concatenate([place * (1 - outcome), place * outcome, place * chance[:, None]], axis=1)


# -- parts of them


def _with_intercept(values: Floats) -> Floats:
    return np.concatenate([np.ones((len(values), 1)), values], axis=1)


def _products(values: Floats) -> Floats:
    rows, columns = np.triu_indices(values.shape[1])
    products: Floats = values[:, rows] * values[:, columns]
    return products


def _newton(features: Floats, residual: Floats, information: Floats) -> Floats:
    return np.concatenate([residual[:, None] * features, information[:, None] * _products(features)], axis=1)


def _chance(score: Floats) -> Floats:
    chance: Floats = 1.0 / (1.0 + np.exp(-np.clip(score, -_LARGEST_EXPONENT, _LARGEST_EXPONENT)))
    return chance


def _counted(spec: Count, rows: Rows, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Features, count, and its mean, which is at most the outcome's bound."""
    size = len(spec.features)
    features, outcome = _with_intercept(rows.scaled[:, :size]), rows.own[:, size]
    score = scores(features, weights)
    if spec.offset is not None:
        score = score + np.log(rows.own[:, size + 1])
    return features, outcome, np.exp(np.minimum(score, np.log(spec.largest)))


def _edges(spec: KaplanMeier | Cox) -> Floats:
    return np.array([float(each) for each in spec.edges])


def _binned(values: Floats, number: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Equal bins of [-1, 1], the last with both its ends."""
    return np.minimum(((values + 1) / 2 * number).astype(np.int64), number - 1)


def _one_hot(place: "np.ndarray[tuple[int], np.dtype[np.int64]]", number: int) -> Floats:
    found = np.zeros((len(place), number))
    found[np.arange(len(place)), place] = 1.0
    return found


def _in_group(groups: Floats, row: Floats) -> Floats:
    """The row in its group's stretch, zeros in the others'."""
    return (groups[:, :, None] * row[:, None, :]).reshape(len(row), -1)
