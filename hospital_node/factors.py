"""Gradients as the products that they are: of a dense layer, over a row, its inputs and the loss's signals at its outputs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hospital_node.exact_products import Floats


@dataclass(frozen=True, slots=True)
class Layer:
    """The gradient of row r is signals[r] (outer) inputs[r], outputs by inputs, and then signals[r] where there is a bias."""

    inputs: Floats
    signals: Floats
    has_bias: bool

    @property
    def width(self) -> int:
        return int(self.signals.shape[1] * (self.inputs.shape[1] + self.has_bias))

    def rows(self, which: "npt.NDArray[np.bool_] | slice") -> "Layer":
        return Layer(self.inputs[which], self.signals[which], self.has_bias)


@dataclass(frozen=True, slots=True)
class Factors:
    """All layers over the same rows, in the order of the weights; `ends` are where each (patient, block) begins, and the end."""

    layers: Sequence[Layer]
    ends: npt.NDArray[np.int64]


Part = npt.NDArray[np.floating] | Factors
"""Some of a round's gradients: a row each, or in factors."""


def written_out(layers: Sequence[Layer], begin: int, end: int) -> Floats:
    """The gradient of the loss summed over these rows. Elements and sums: a matrix product may depend on where rows lie."""
    found = []
    for layer in layers:
        inputs, signals = layer.inputs[begin:end].astype(np.float64), layer.signals[begin:end].astype(np.float64)
        found.append(np.sum(signals[:, :, None] * inputs[:, None, :], axis=0).ravel())
        if layer.has_bias:
            found.append(np.sum(signals, axis=0))
    return np.concatenate(found)
