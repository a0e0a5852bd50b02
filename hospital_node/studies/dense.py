"""A model of dense layers over many rows at once, each row's part a function of that row alone, to the last bit.

The gradient of a dense layer over one row is a product of two vectors, the layer's inputs and the loss's signals at its outputs: a
round needs those two and never a gradient a row (`hospital_node.fits.clipped_sum`). They are computed here for many patients at
once, and yet no bit of one depends on another: matrix products are exact (`hospital_node.exact_products`), and all else, the
exponential included, is made of additions, multiplications, divisions and roundings, each of which IEEE 754 rounds correctly for
one element at a time. A library's `exp` or `tanh` may give other last bits where an array ends than within it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from hospital_node.exact_products import Exponents, Floats, rowwise
from hospital_node.factors import Layer


class Activation(StrEnum):
    """What follows a layer."""

    NONE = "none"
    TANH = "tanh"
    RELU = "relu"
    SIGMOID = "sigmoid"


@dataclass(frozen=True, slots=True)
class Dense:
    """`outputs x inputs` weights, and a bias an output where there is one."""

    weights: Floats
    bias: Floats | None
    activation: Activation


def factors(stack: list[Dense], features: Floats, outcome: Floats) -> list[Layer]:
    """Of the log-loss of one log-odds a row: each layer's inputs and signals, first layer first."""
    inputs, values = [], features
    for layer in stack:
        inputs.append(values)
        values = _outputs(layer, values)
    signals, found = sigmoid(values) - outcome[:, None], []
    for place in reversed(range(len(stack))):
        layer = stack[place]
        found.append(Layer(inputs[place], signals, layer.bias is not None))
        if place:
            signals = rowwise(signals, layer.weights.T) * _SLOPES[stack[place - 1].activation](inputs[place])
    return found[::-1]


def _outputs(layer: Dense, values: Floats) -> Floats:
    sums = rowwise(values, layer.weights)
    return _OF[layer.activation](sums if layer.bias is None else sums + layer.bias)


# -- activations, and their slopes by what they gave


def tanh(values: Floats) -> Floats:
    twice = exponential(2.0 * np.clip(values, -20.0, 20.0))
    twice += 1.0
    return 1.0 - np.divide(2.0, twice, out=twice)


def sigmoid(values: Floats) -> Floats:
    opposite = exponential(np.clip(-values, -500.0, 500.0))
    opposite += 1.0
    return np.divide(1.0, opposite, out=opposite)


_OF: dict[Activation, Callable[[Floats], Floats]] = {
    Activation.NONE: lambda values: values,
    Activation.TANH: tanh,
    Activation.RELU: lambda values: np.maximum(values, 0.0),
    Activation.SIGMOID: sigmoid,
}
_SLOPES: dict[Activation, Callable[[Floats], Floats]] = {
    Activation.NONE: lambda given: np.ones_like(given),
    Activation.TANH: lambda given: 1.0 - given * given,
    Activation.RELU: lambda given: (given > 0.0).astype(np.float64),
    Activation.SIGMOID: lambda given: given * (1.0 - given),
}
_TAYLOR = [1.0 / 5040, 1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5, 1.0, 1.0]
_LN2 = 0.6931471805599453


def exponential(values: Floats) -> Floats:
    """To 1e-8 of itself, of values from -700 to 700: a power of two, times Taylor's sum for what is left."""
    whole = np.rint(values * (1.0 / _LN2))
    left = values - whole * _LN2
    found = np.full_like(left, _TAYLOR[0])
    for term in _TAYLOR[1:]:
        found *= left
        found += term
    bits: Exponents = whole.astype(np.int64)
    bits += 1023
    bits <<= 52
    found *= bits.view(np.float64)
    return found
