"""From a round's noisy sums to the next round's input, by the kind of the fit: a pure function of public numbers.

Anybody who holds the released vectors can recompute every step; it spends nothing (post-processing). Regressions take damped Newton
steps, k-means moves its centres. A fit is steered by its last input alone, so that a restarted coordinator goes on where it was.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any, Protocol

import numpy as np

from privacy.rdp import share_variance
from protocols.answer import Answer
from protocols.asked import VARIANCE_STEPS, Asked
from protocols.fit import is_fit
from protocols.fits import TRAININGS, Floats, KMeans, Training
from protocols.secagg.binding import Binding
from protocols.secagg.ring import Integers
from protocols.statements import Query, parse

LONGEST_STEP = 2.0
NO_INFORMATION = 1e-9
"""Beside the largest: what a sum rounded to 5e-10 a hospital cannot tell from none."""
FEWEST_OF_NOISE = 3.0
"""A centre moves where its cluster's rows are beyond this many standard deviations of their noise."""


class Stepped(Protocol):
    """A fit of several rounds, as `protocols.fits` and `protocols.fit` state it."""

    @property
    def inputs(self) -> int: ...
    @property
    def scale(self) -> int: ...
    @property
    def width(self) -> int: ...
    def start(self) -> Floats: ...
    def encode(self, numbers: Floats) -> bytes: ...
    def decode(self, raw: bytes) -> Floats: ...
    def limited(self, numbers: Floats) -> Floats: ...


def next_input(spec: Stepped, numbers: Floats, vector: Integers, binding: Binding) -> Floats:
    """What the hospitals are asked at next; exactly what they are sent."""
    return STEPS.get(type(spec), next_weights)(spec, numbers, vector, binding)


def next_weights(spec: Any, weights: Floats, vector: Integers, binding: Binding) -> Floats:
    """One step, ridged by the noise of the Hessian so that noise alone cannot turn it around, and no longer than LONGEST_STEP."""
    gradient, hessian = spec.unpacked(vector)
    size = len(weights)
    ridge = 2.0 * noise_sd(spec, binding) * np.sqrt(size)
    lowest = float(np.linalg.eigvalsh(hessian)[0])
    damped = hessian + max(0.0, ridge - lowest) * np.eye(size)
    step = np.linalg.solve(damped, gradient) if ridge > 0 else _without_noise(hessian, gradient)
    length = float(np.linalg.norm(step))
    return spec.limited(weights + step * min(1.0, LONGEST_STEP / max(length, 1e-12)))  # type: ignore[no-any-return]


def _without_noise(hessian: Floats, gradient: Floats) -> Floats:
    """Newton's step of exact mode. Where the rows say nothing (a category nobody has) it goes nowhere, instead of anywhere."""
    length = np.sqrt(np.maximum(np.diag(hessian), 0.0))
    length = np.where(length > 0, length, 1.0)
    inverse = np.linalg.pinv(hessian / np.outer(length, length), rcond=NO_INFORMATION, hermitian=True)
    step: Floats = inverse @ (gradient / length) / length
    return step


def next_centres(spec: KMeans, centres: Floats, vector: Integers, binding: Binding) -> Floats:
    """The means of the clusters; a cluster that may be noise alone stays where it is."""
    size = len(spec.columns)
    sums = (vector[:-1] / spec.scale).reshape(spec.clusters, 1 + size)
    rows, is_there = sums[:, :1], sums[:, :1] > FEWEST_OF_NOISE * noise_sd(spec, binding)
    means = sums[:, 1:] / np.where(is_there, np.maximum(rows, 1e-12), 1.0)
    return spec.limited(np.clip(np.where(is_there, means, centres.reshape(-1, size)), -1.0, 1.0).ravel())


def is_test(spec: Stepped, number: int, rounds: int) -> bool:
    """Whether this round only tests the weights that it is asked at."""
    return isinstance(spec, Training) and spec.is_evaluated and number == rounds


def next_by_gradient(spec: Training, weights: Floats, vector: Integers, _: Binding) -> Floats:
    """A plain step against the mean gradient; what the noise adds to it, the next steps take back."""
    return spec.stepped(weights, vector.astype(np.float64))


def noise_sd(spec: Stepped, binding: Binding) -> float:
    """Standard deviation of one entry's noise, in the units of the contributions."""
    total = len(binding.members) * share_variance(Fraction(binding.variances[0], VARIANCE_STEPS), binding.n, binding.c)
    sd: float = float(total) ** 0.5 / spec.scale
    return sd


def trained_values(spec: Stepped, numbers: Floats, vector: Integers) -> Integers:
    """What a training releases: the last input in its units, then the last round's vector (for standard errors)."""
    units = np.frombuffer(spec.encode(numbers), "<i8").astype(np.int64)
    return np.concatenate([units, vector.astype(np.int64)])


def released_weights(spec: Training, entry: bytes, answer: bytes) -> Floats | None:
    """What an earlier training released, for this one to go on from; None where it was of another study or model."""
    earlier = parse(entry).statement
    if not isinstance(earlier, Query) or not is_fit(earlier.spec):
        return None
    before = Asked.of(earlier).spec
    if not isinstance(before, Training) or (before.study, before.weights) != (spec.study, spec.weights):
        return None
    values = Answer.model_validate_json(answer).values[: spec.weights]
    return np.array(values, np.float64) / before.units


STEPS: dict[type, Callable[[Any, Floats, Integers, Binding], Floats]] = {
    KMeans: next_centres,
    **dict.fromkeys(TRAININGS, next_by_gradient),
}
"""Every other fit takes Newton steps."""
