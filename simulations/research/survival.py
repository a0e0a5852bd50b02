"""Cox regressions of pooled rows, slowly: risk sets one by one as books write them, and a Poisson regression for the grid.

No line is the product's: this is what exact mode is compared with.
"""

from collections.abc import Callable, Sequence
from itertools import groupby

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Patients = tuple[Floats, Floats, "npt.NDArray[np.bool_]"]
"""Features in their own units, times, and who had the event."""
YEAR = 365.25
"""Exposures are told in these, so that a hazard is neither large nor small."""


def stratified(strata: Sequence[Patients], ties: str = "efron") -> tuple[Floats, Floats]:
    """Weights and standard errors at the maximum of the partial likelihood of all strata."""
    size = strata[0][0].shape[1]

    def at(weights: Floats) -> tuple[Floats, Floats]:
        gradient, information = np.zeros(size), np.zeros((size, size))
        for x, times, has_event in strata:
            risk = np.exp(x @ weights)
            for time, tied in _grouped(times, has_event):
                there = np.where(times >= time, risk, 0.0)
                for place, event in enumerate(tied):
                    weight = there.copy()
                    weight[tied] *= 1 - (place / len(tied) if ties == "efron" else 0.0)
                    centre = weight @ x / weight.sum()
                    apart = x - centre
                    gradient += x[event] - centre
                    information += (apart * weight[:, None]).T @ apart / weight.sum()
        return gradient, information

    return _maximum(at, np.zeros(size))


def _grouped(times: Floats, has_event: "npt.NDArray[np.bool_]") -> list[tuple[float, list[int]]]:
    """Event times in their order, and whose they are."""
    events = sorted(np.flatnonzero(has_event).tolist(), key=lambda n: float(times[n]))
    return [(time, list(group)) for time, group in groupby(events, key=lambda n: float(times[n]))]


def on_grid(x: Floats, times: Floats, has_event: "npt.NDArray[np.bool_]", ends: Sequence[float]) -> tuple[Floats, Floats]:
    """The piecewise exponential model as the Poisson regression it is: a row a patient and interval, its years as exposure."""
    until = np.array(ends)
    begins = np.r_[0.0, until[:-1]]
    patient, interval = np.nonzero(times[:, None] > begins[None])
    lived = (np.minimum(times[patient], until[interval]) - begins[interval]) / YEAR
    event = has_event[patient] & (times[patient] <= until[interval])
    design = np.column_stack([np.eye(len(until))[interval], x[patient]])

    def at(weights: Floats) -> tuple[Floats, Floats]:
        mean = lived * np.exp(design @ weights)
        return design.T @ (event - mean), design.T @ (design * mean[:, None])

    start = np.zeros(design.shape[1])
    start[: len(until)] = np.log(has_event.sum() / lived.sum())
    weights, errors = _maximum(at, start)
    return weights[len(until) :], errors[len(until) :]


def _maximum(at: Callable[[Floats], tuple[Floats, Floats]], weights: Floats) -> tuple[Floats, Floats]:
    """Newton's method until nothing moves. Raises ArithmeticError where it does not get there."""
    for _ in range(60):
        gradient, information = at(weights)
        step = np.linalg.solve(information, gradient)
        weights = weights + step
        if np.abs(step).max() < 1e-11:
            return weights, np.sqrt(np.diag(np.linalg.inv(information)))
    raise ArithmeticError("the pooled fit has no maximum that Newton's method finds")
