"""Cox's partial likelihood of one hospital: gradient and information at public weights, summed over its own risk sets.

Promise: exactly what the hospital's stratum adds to a pooled fit stratified by hospital; no row makes it raise. Asked in exact mode
alone (`StratifiedCox`): a patient moves every risk set that holds them, so that no clip bounds what they reach.

Of an event at t among d of that time, in their order l = 0 .. d - 1, the risk set weighs S - f D, with S over all who are there at
t, D over the d, f = l / d after Efron (JASA 72, 1977) or 0 after Breslow (Biometrics 30, 1974). Sums over events are turned into
sums over rows, each with the cumulative hazard it lives through; so that memory is of rows times features.
"""

import numpy as np
import numpy.typing as npt

from hospital_node.fits.rows import Rows
from protocols.fits import Floats, StratifiedCox

Places = npt.NDArray[np.int64]


def partial_likelihood(spec: StratifiedCox, rows: Rows, weights: Floats) -> Floats:
    """Gradient, then the upper triangle of the information, in the features' units; zeros where there is no event."""
    order = np.argsort(rows.own[:, -2], kind="stable")
    features, time, is_event = rows.scaled[order, :-2], rows.own[order, -2], rows.own[order, -1] > 0
    if not is_event.any():
        return np.zeros(spec.width)
    score = features @ weights
    risk = np.exp(score - score.max())  # a common factor stands in no ratio
    events = np.flatnonzero(is_event)
    first = np.searchsorted(time, time[events])  # of the rows that are at risk: this one and all behind it
    group, share = _ties(time[events], spec)
    dying = np.where(is_event, risk, 0.0)
    at_risk = _left(risk)[first] - share * _of_group(group, dying[events])
    weighed = _left(risk[:, None] * features)[first] - share[:, None] * _of_group(group, dying[events, None] * features[events])
    hazard = risk * _lived(time, events, 1 / at_risk)
    hazard[events] -= risk[events] * _of_group(group, share / at_risk)
    centres = weighed / at_risk[:, None]
    gradient = features.T @ (is_event - hazard)
    information = features.T @ (features * hazard[:, None]) - centres.T @ centres
    return np.concatenate([gradient, information[np.triu_indices(features.shape[1])]])


def _ties(times: Floats, spec: StratifiedCox) -> tuple[Places, Floats]:
    """Of each event: its group of one time, and what share of the group is left out of its risk set."""
    _, first, group, number = np.unique(times, return_index=True, return_inverse=True, return_counts=True)
    share = (np.arange(len(times)) - first[group]) / number[group]
    return group, share if spec.ties == "efron" else np.zeros(len(times))


def _of_group(group: Places, values: Floats) -> Floats:
    """The sum over an event's group, for each event."""
    total = np.zeros((group.max() + 1, *values.shape[1:]))
    np.add.at(total, group, values)
    whole: Floats = total[group]
    return whole


def _left(values: Floats) -> Floats:
    """The sum of each row and all behind it."""
    return np.flip(np.flip(values, axis=0).cumsum(axis=0), axis=0)


def _lived(time: Floats, events: Places, increments: Floats) -> Floats:
    """The increments of all events up to each row's time, those of its own time too."""
    total = np.r_[0.0, increments.cumsum()]
    return np.asarray(total[np.searchsorted(time[events], time, side="right")])
