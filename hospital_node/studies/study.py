"""What a study is: a model's size, and the gradient of its loss over a few rows at given weights.

    class Mean(Study):
        def prepare(self, features): return 1
        def begin(self, weights): self._at = weights[0]
        def gradient(self, features, outcome): return np.array([np.sum(self._at - outcome)])

A package names it in its own entry points, in the group `kapok.studies`. A row's features lie in [-1, 1], its outcome is 0 or 1
or lies in [-1, 1]; both come from the table that the question names. `gradient` is called with the rows of one patient's one
block and nobody else's, so that no bit of it depends on who else is in the round. `hospital_node.learning` makes one out of a
torch model.

A study whose model is made of dense layers may give `factors` in place of gradients, for many patients in one call: a round is then
twenty times faster (decision 0021).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from hospital_node.errors import StudyFailed
from hospital_node.factors import Layer
from hospital_node.studies.dense import Activation, Dense, factors

Floats = npt.NDArray[np.float64]
Ends = npt.NDArray[np.int64]
"""Where each (patient, block)'s rows begin, and behind the last one where they end."""


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

    @property
    def numbers_a_row(self) -> int:
        """How many numbers `factors` gives of a row; 0 for a study that gives gradients."""
        return 0

    def factors(self, features: Floats, outcome: Floats) -> Sequence[Layer]:
        """Of each row's gradient, layer by layer in the order of the weights.

        The rows are of many patients: no bit of what is given of one may depend on another (`hospital_node.studies.dense`).
        """
        raise StudyFailed("it gives no factors")

    def chances(self, features: Floats) -> npt.NDArray[np.floating]:
        """Of the outcome, from 0 to 1, one a row. A study that is trained without held-out rows needs none."""
        raise StudyFailed("it gives no chances: it cannot be evaluated")

    def gradients(self, features: Floats, outcome: Floats, ends: Ends) -> npt.NDArray[np.floating]:
        """A row a (patient, block): each from a call of its own."""
        return np.stack([self.gradient(features[begin:end], outcome[begin:end]) for begin, end in pairwise(ends)])

    def all_chances(self, features: Floats, ends: Ends) -> npt.NDArray[np.floating]:
        """One a row: each (patient, block)'s from a call of its own."""
        return np.concatenate([self.chances(features[begin:end]) for begin, end in pairwise(ends)])


class Logistic(Study):
    """The log-odds of the outcome: an intercept, then a weight a column. Needs numpy alone."""

    def prepare(self, features: int) -> int:
        return features + 1

    def begin(self, weights: Floats) -> None:
        self._weights = weights

    def gradient(self, features: Floats, outcome: Floats) -> npt.NDArray[np.floating]:
        rows = np.concatenate([np.ones((len(features), 1)), features], axis=1)
        found: Floats = np.sum((self.chances(features) - outcome)[:, None] * rows, axis=0)
        return found

    @property
    def numbers_a_row(self) -> int:
        return len(self._weights) + 1

    def factors(self, features: Floats, outcome: Floats) -> Sequence[Layer]:
        rows = np.concatenate([np.ones((len(features), 1)), features], axis=1)
        return factors([Dense(self._weights[None, :], None, Activation.NONE)], rows, outcome)

    def chances(self, features: Floats) -> Floats:
        # np.sum over products, not a matrix product: what a row gives does not depend on how many there are.
        score = self._weights[0] + np.sum(features * self._weights[1:], axis=1)
        chance: Floats = 1.0 / (1.0 + np.exp(-np.clip(score, -500.0, 500.0)))
        return chance
