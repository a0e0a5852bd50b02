"""A survival curve from a noisy histogram of ends, with the interval that the noise leaves.

Entries: events by interval, those censored by interval, and those who outlive the last. Who is censored in an interval is at risk
for its events. log S to edge j is the sum over i <= j of log(r_i - d_i) - log r_i; both are sums of entries, so that to first
order its noise has the variance v |gradient|^2. From where those left are not `LEAST_COUNT` of their noise's standard deviations
away from zero, that order is not enough, and nothing is told any more.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST_COUNT = 8
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Survived:
    """The share to one edge; the ends lie between 0 and 1."""

    value: float
    low: float
    high: float


def survival(entries: Sequence[float] | Floats, variance: float, z: float) -> list[Survived | None]:
    """To each edge; None from where it is lost in noise. `entries` has 2 * edges + 1 numbers."""
    numbers = np.asarray(entries, dtype=np.float64)
    edges = len(numbers) // 2
    events = numbers[:edges]
    at_risk = _at_risk_of(edges) @ numbers
    told: list[Survived | None] = []
    log, gradient = 0.0, np.zeros(len(numbers))
    for n in range(edges):
        reaches, is_event = _at_risk_of(edges)[n], np.eye(len(numbers))[n]
        left = float(at_risk[n] - events[n])
        if told[-1:] == [None] or left <= LEAST_COUNT * math.sqrt(variance * (reaches - is_event).sum()):
            told.append(None)
            continue
        log += math.log(left) - math.log(float(at_risk[n]))
        gradient = gradient + (reaches - is_event) / left - reaches / at_risk[n]
        error = z * math.sqrt(variance * float(gradient @ gradient))
        told.append(Survived(math.exp(log), max(math.exp(log - error), 0.0), min(math.exp(log + error), 1.0)))
    return told


def _at_risk_of(edges: int) -> Floats:
    """Which entries are at risk in each interval: whoever ends in it or later."""
    interval = np.array([*range(edges), *range(edges), edges])
    reaches: Floats = (interval[None, :] >= np.arange(edges)[:, None]).astype(np.float64)
    return reaches
