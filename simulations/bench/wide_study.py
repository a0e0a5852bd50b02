"""The study that the benchmarks train: 99 columns, one hidden layer of 99, 10,000 weights; in numpy, so that it loads at once.

Its layers are dense, so that it gives factors in place of gradients (decision 0021); `gradient` is the same, a patient at a time.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hospital_node.factors import Layer
from hospital_node.studies.dense import Activation, Dense, factors
from hospital_node.studies.study import Floats, Study

FEATURES = HIDDEN = 99
WEIGHTS = HIDDEN * (FEATURES + 2) + 1


class Wide(Study):
    """tanh, then the log-odds of the outcome."""

    def prepare(self, features: int) -> int:
        return HIDDEN * (features + 2) + 1

    def begin(self, weights: Floats) -> None:
        inner = HIDDEN * FEATURES
        self._inner, self._inner_bias = weights[:inner].reshape(HIDDEN, FEATURES), weights[inner : inner + HIDDEN]
        self._outer, self._outer_bias = weights[inner + HIDDEN : -1], weights[-1:]

    def gradient(self, features: Floats, outcome: Floats) -> npt.NDArray[np.floating]:
        hidden = np.tanh(features @ self._inner.T + self._inner_bias)
        wrong = 1.0 / (1.0 + np.exp(-np.clip(hidden @ self._outer + self._outer_bias, -500.0, 500.0))) - outcome
        back = wrong[:, None] * self._outer * (1.0 - hidden * hidden)
        inner, outer = back.T @ features, wrong @ hidden
        return np.concatenate([inner.ravel(), back.sum(axis=0), outer, [wrong.sum()]]).astype(np.float32)

    @property
    def numbers_a_row(self) -> int:
        return FEATURES + HIDDEN + HIDDEN + 1

    def factors(self, features: Floats, outcome: Floats) -> Sequence[Layer]:
        hidden = Dense(self._inner, self._inner_bias, Activation.TANH)
        return factors([hidden, Dense(self._outer[None, :], self._outer_bias, Activation.NONE)], features, outcome)
