"""What a study is: a model's size, and the gradient of its loss over a few rows at given weights.

    class Mean(Study):
        def prepare(self, features): return 1
        def begin(self, weights): self._at = weights[0]
        def gradient(self, features, outcome): return np.array([np.sum(self._at - outcome)])

A package names it in its own entry points, in the group `kapok.studies`. A row's features lie in [-1, 1], its outcome is 0 or 1
or lies in [-1, 1]; both come from the table that the question names. `gradient` is called with the rows of one patient's one
block and nobody else's, so that no bit of it depends on who else is in the round. `hospital_node.learning` makes one out of a
torch model.
"""

from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Study(ABC):
    """Built once in its own process, asked for gradients round after round."""

    @abstractmethod
    def prepare(self, features: int) -> int:
        """Builds the model over this many features; how many weights it has.

        Raises StudyFailed for one that cannot be trained so.
        """

    @abstractmethod
    def begin(self, weights: Floats) -> None:
        """The weights of the round, in the model's own order."""

    @abstractmethod
    def gradient(self, features: Floats, outcome: Floats) -> npt.NDArray[np.floating]:
        """Of the loss summed over these rows; float32 or float64."""


class Logistic(Study):
    """The log-odds of the outcome: an intercept, then a weight a column. Needs numpy alone."""

    def prepare(self, features: int) -> int:
        return features + 1

    def begin(self, weights: Floats) -> None:
        self._weights = weights

    def gradient(self, features: Floats, outcome: Floats) -> npt.NDArray[np.floating]:
        rows = np.concatenate([np.ones((len(features), 1)), features], axis=1)
        # np.sum over products, not a matrix product: what a row gives does not depend on how many there are.
        score = np.sum(rows * self._weights, axis=1)
        wrong = 1.0 / (1.0 + np.exp(-np.clip(score, -500.0, 500.0))) - outcome
        found: Floats = np.sum(wrong[:, None] * rows, axis=0)
        return found
