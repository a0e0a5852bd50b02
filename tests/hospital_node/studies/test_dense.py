"""Many patients' factors at once: each has the bits that she has alone, and the gradient is that of the loss."""

import math
from itertools import pairwise

import numpy as np
import pytest

from hospital_node.exact_products import Floats
from hospital_node.factors import Layer, written_out
from hospital_node.studies.dense import Activation, Dense, exponential, factors, sigmoid, tanh

SIZES = (9, 16, 5, 1)


def _stack(activation: Activation, seed: int = 1, has_bias: bool = True, spread: float = 0.7) -> list[Dense]:
    draw = np.random.default_rng(seed)
    layers = [
        Dense(draw.normal(0, spread, (outputs, inputs)), draw.normal(0, spread, outputs) if has_bias else None, activation)
        for inputs, outputs in pairwise(SIZES)
    ]
    layers[-1] = Dense(layers[-1].weights, layers[-1].bias, Activation.NONE)
    return layers


def _patients(many: int, seed: int = 2) -> tuple[Floats, Floats]:
    draw = np.random.default_rng(seed)
    features = draw.uniform(-1, 1, (many, SIZES[0]))
    features[draw.uniform(size=features.shape) < 0.2] = 0.0  # ReLU's kink, where one bit makes a gradient
    return features, (draw.uniform(size=many) < 0.5).astype(float)


def _numbers(layers: list[Layer]) -> Floats:
    """A row each."""
    return np.concatenate([each for layer in layers for each in (layer.inputs, layer.signals)], axis=1)


@pytest.mark.parametrize("activation", Activation)
def test_a_patients_factors_have_the_same_bits_in_thousands_of_batches(activation: Activation) -> None:
    stack, (features, outcome), draw = _stack(activation), _patients(150), np.random.default_rng(3)
    alone = np.concatenate([_numbers(factors(stack, features[n : n + 1], outcome[n : n + 1])) for n in range(150)])
    for _ in range(1_000):
        who = draw.permutation(150)[: draw.integers(1, 151)]
        neighbours = features[who].copy()
        if len(who) > 1 and draw.uniform() < 0.5:
            neighbours[1:] *= 10.0 ** draw.integers(-300, 300)
        mine = slice(None) if np.array_equal(neighbours, features[who]) else slice(0, 1)
        with np.errstate(all="ignore"):
            found = _numbers(factors(stack, neighbours, outcome[who]))
        assert np.array_equal(found[mine], alone[who][mine])


@pytest.mark.parametrize("function", [exponential, tanh, sigmoid])
def test_a_number_gives_the_same_bits_wherever_it_stands(function: object) -> None:
    """At the end of an array, within it, alone, in a column: a library's own functions need not."""
    assert callable(function)
    values = np.random.default_rng(4).normal(0, 3, 257)
    alone = np.array([function(np.array([each]))[0] for each in values])
    for length in range(1, 258):
        assert np.array_equal(function(values[:length]), alone[:length])
        assert np.array_equal(function(values[-length:].reshape(-1, 1)).ravel(), alone[-length:])
    assert np.array_equal(function(np.asfortranarray(values[:256].reshape(16, 16))), alone[:256].reshape(16, 16))


def test_exponential_tanh_and_sigmoid_are_what_they_are_called() -> None:
    values = np.concatenate([np.linspace(-30, 30, 6001), np.array([-700.0, -499.0, 0.0, 500.0, 700.0])])
    assert exponential(values) == pytest.approx(np.array([math.exp(each) for each in values]), rel=1e-8)
    assert tanh(values) == pytest.approx(np.tanh(values), abs=1e-8)
    assert sigmoid(values) == pytest.approx(1 / (1 + np.exp(-np.clip(values, -500, 500))), abs=1e-8)
    assert sigmoid(np.array([-1e300, 1e300])) == pytest.approx([0.0, 1.0], abs=1e-200)


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("activation", Activation)
def test_the_gradient_is_that_of_the_log_loss(activation: Activation, has_bias: bool) -> None:
    """Beside differences of the loss in float64, weight by weight."""
    stack, (features, outcome) = _stack(activation, has_bias=has_bias, spread=0.4), _patients(4)
    features += 0.01  # off the kink, where differences say nothing
    found = written_out(factors(stack, features, outcome), 0, len(features))
    parameters = [each for layer in stack for each in (layer.weights, layer.bias) if each is not None]
    by_differences = []
    for parameter in parameters:
        for place in np.ndindex(parameter.shape):
            held, losses = parameter[place], []
            for moved in (1e-5, -1e-5):
                parameter[place] = held + moved
                losses.append(_loss(stack, features, outcome))
            parameter[place] = held
            by_differences.append((losses[0] - losses[1]) / 2e-5)
    assert found == pytest.approx(np.array(by_differences), abs=1e-5)


def _loss(stack: list[Dense], values: Floats, outcome: Floats) -> float:
    plain = {
        Activation.NONE: lambda x: x,
        Activation.TANH: np.tanh,
        Activation.RELU: lambda x: np.maximum(x, 0),
        Activation.SIGMOID: lambda x: 1 / (1 + np.exp(-x)),
    }
    for layer in stack:
        values = plain[layer.activation](values @ layer.weights.T + (0 if layer.bias is None else layer.bias))
    score = values[:, 0]
    return float(np.sum(np.log1p(np.exp(score)) - outcome * score))
