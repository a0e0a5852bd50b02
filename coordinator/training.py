"""From a round's noisy sums to the next weights: a damped Newton step, a pure function of public numbers.

Anybody who holds the released vectors can recompute every step; it spends nothing (post-processing).
"""

from fractions import Fraction

import numpy as np

from privacy.rdp import share_variance
from protocols.asked import VARIANCE_STEPS
from protocols.fit import MAX_WEIGHT, SCALE, WEIGHT_UNITS, FitSpec, Weights, unpacked
from protocols.secagg.binding import Binding
from protocols.secagg.ring import Integers

LONGEST_STEP = 2.0


def start_weights(spec: FitSpec) -> Weights:
    return np.zeros(len(spec.columns))


def next_weights(spec: FitSpec, weights: Weights, vector: Integers, binding: Binding) -> Weights:
    """One step, ridged by the noise of the Hessian so that noise alone cannot turn it around, and no longer than LONGEST_STEP.

    The next weights are whole units of 2^-20 within the public bound: exactly what the hospitals are sent, also after a restart.
    """
    gradient, hessian = unpacked(spec, vector)
    size = len(weights)
    ridge = 2.0 * noise_sd(binding) * np.sqrt(size)
    lowest = float(np.linalg.eigvalsh(hessian)[0])
    damped = hessian + max(0.0, ridge - lowest) * np.eye(size)
    step = np.linalg.solve(damped, gradient)
    length = float(np.linalg.norm(step))
    units = np.trunc((weights + step * min(1.0, LONGEST_STEP / max(length, 1e-12))) * WEIGHT_UNITS)
    limited: Weights = np.clip(units / WEIGHT_UNITS, -MAX_WEIGHT, MAX_WEIGHT)
    return limited


def noise_sd(binding: Binding) -> float:
    """Standard deviation of one entry's noise, in the units of the features."""
    total = len(binding.members) * share_variance(Fraction(binding.variances[0], VARIANCE_STEPS), binding.n, binding.c)
    sd: float = float(total) ** 0.5 / SCALE
    return sd


def trained_values(weights: Weights, vector: Integers) -> Integers:
    """What a training releases: the weights in units of 2^-20, then the last round's vector (for standard errors)."""
    units = np.rint(weights * WEIGHT_UNITS).astype(np.int64)
    return np.concatenate([units, vector.astype(np.int64)])
