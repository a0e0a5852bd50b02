"""Several steps of DP-SGD at one hospital within a round: DP-FedAvg.

Promise: what is returned is made of `local_steps` releases, each of one sampled, clipped, whole sum with noise of the question's
whole variance, and of public numbers; so it loses what they lose together, whoever adds what to it afterwards. A share of the noise
would not do: the second step's weights come from the first's sum, and everybody's gradients from them.
"""

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from hospital_node.fits.bounded import Floats
from privacy.sampler import draw
from privacy.tables import skellam_table
from protocols.fits import Training
from protocols.secagg.ring import Integers

Step = Callable[[Floats], Integers]
"""The exact sum of one step at these weights, with who took part."""


def local_sums(spec: Training, weights: Floats, variance: Fraction, step: Step, random: Callable[[int], bytes]) -> Integers:
    """The noisy sums of all local steps, added up."""
    table, total, at = skellam_table(variance), np.zeros(spec.stepping, np.int64), weights
    for _ in range(spec.steps_a_round):
        noisy = step(at) + draw(table, spec.stepping, random)
        total += noisy
        at = spec.limited(at - float(spec.step) * _bounded_mean(spec, noisy.astype(np.float64)))
    return total


def _bounded_mean(spec: Training, noisy: Floats) -> Floats:
    """No longer than a patient's gradient may be: at a small hospital the noise alone is longer than any mean."""
    own_count = max(1.0, float(noisy[spec.weights]) / spec.counted)
    mean = noisy[: spec.weights] / (spec.fineness * own_count)
    bounded: Floats = mean * min(1.0, spec.clip / max(float(np.linalg.norm(mean)), 1e-300))
    return bounded
