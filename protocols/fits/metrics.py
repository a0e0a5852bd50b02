"""How a model does on held-out patients, from released counts by outcome and by bin of its chance: anybody recomputes it.

Intervals are of 95 % and count two things: that the held-out patients are a sample, and the noise on every count. Chances are
told to the width of a bin, so that the log-loss is that of the bins' middles. Plain arithmetic of Python's floats:
coordinator, bureau and auditor come to the same six decimals.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate

import numpy as np

from protocols.fits.evaluated import Evaluated

NORMAL_95 = 1.959963984540054
FEWEST_OF_NOISE = 3.0
"""No metric is told of fewer rows, with or without the outcome, than this many standard deviations of their count's noise."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One metric with the ends of its interval, as decimals of six places."""

    name: str
    value: str
    low: str
    high: str


def metrics_of(spec: Evaluated, values: Sequence[int], total_variance: str) -> tuple[Measured, ...]:
    """Of a released training: its integers, and the noise variance of each, as an answer holds them. Empty where it has no test."""
    if not spec.is_evaluated:
        return ()
    without, having = spec.histogram(np.array(values[spec.inputs :], np.float64))
    sd = math.sqrt(Fraction(total_variance)) / spec.unit
    return measured([float(each) for each in without], [float(each) for each in having], sd)


def measured(without: Sequence[float], having: Sequence[float], sd: float) -> tuple[Measured, ...]:
    """`without` and `having` are patients by bin of the chance, of noise `sd` each. Empty where noise would be all that is told."""
    fewest = max(2.0, FEWEST_OF_NOISE * sd * math.sqrt(len(without)))
    if min(math.fsum(without), math.fsum(having)) < fewest:
        return ()
    return _accuracy(without, having, sd), _auc(without, having, sd), _log_loss(without, having, sd)


def _accuracy(without: Sequence[float], having: Sequence[float], sd: float) -> Measured:
    """Of the rule: the outcome is expected above a chance of one half."""
    half, bins = len(without) // 2, len(without)
    total = math.fsum(without) + math.fsum(having)
    value = (math.fsum(without[:half]) + math.fsum(having[half:])) / total
    sampled = _within(value) * (1 - _within(value)) / total
    return _told("accuracy", value, sampled + sd**2 * bins * ((1 - value) ** 2 + value**2) / total**2, 1.0)


def _auc(without: Sequence[float], having: Sequence[float], sd: float) -> Measured:
    """P(a patient with the outcome has a higher chance than one without), ties by halves; DeLong's variance, and the noise's."""
    less, more = math.fsum(without), math.fsum(having)
    of_having = [(below - own / 2) / less for below, own in zip(accumulate(without), without, strict=True)]
    of_without = [1 - (below - own / 2) / more for below, own in zip(accumulate(having), having, strict=True)]
    value = math.fsum(own * rank for own, rank in zip(having, of_having, strict=True)) / more
    sampled = _spread(having, of_having, value) / (more - 1) + _spread(without, of_without, value) / (less - 1)
    # A count moves the AUC by how far its own rank lies from the mean, over all of its kind.
    noise = (
        math.fsum((each - value) ** 2 for each in of_having) / more**2 + math.fsum((e - value) ** 2 for e in of_without) / less**2
    )
    return _told("AUC", value, max(0.0, sampled) + sd**2 * noise, 1.0)


def _spread(counts: Sequence[float], ranks: Sequence[float], mean: float) -> float:
    return math.fsum(own * (rank - mean) ** 2 for own, rank in zip(counts, ranks, strict=True)) / math.fsum(counts)


def _log_loss(without: Sequence[float], having: Sequence[float], sd: float) -> Measured:
    bins = len(without)
    losses = [-math.log(1 - (place + 0.5) / bins) for place in range(bins)] + [
        -math.log((place + 0.5) / bins) for place in range(bins)
    ]
    counts = [*without, *having]
    total = math.fsum(counts)
    value = math.fsum(own * loss for own, loss in zip(counts, losses, strict=True)) / total
    sampled = max(0.0, math.fsum(own * (loss - value) ** 2 for own, loss in zip(counts, losses, strict=True))) / total**2
    noise = sd**2 * math.fsum((loss - value) ** 2 for loss in losses) / total**2
    return _told("log-loss", value, sampled + noise, max(losses))


def _within(value: float, most: float = 1.0) -> float:
    return min(max(value, 0.0), most)


def _told(name: str, value: float, variance: float, most: float) -> Measured:
    reach = NORMAL_95 * math.sqrt(variance)
    return Measured(name, *(f"{_within(each, most):.6f}" for each in (value, value - reach, value + reach)))
