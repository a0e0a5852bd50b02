"""A torch model that is a chain of dense layers, as `hospital_node.studies.dense` computes it: exactly, many patients at once."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from hospital_node.exact_products import Floats
from hospital_node.factors import Layer
from hospital_node.studies.dense import Activation, Dense, factors

_ACTIVATIONS: dict[type[nn.Module], Activation] = {
    nn.Tanh: Activation.TANH,
    nn.ReLU: Activation.RELU,
    nn.Sigmoid: Activation.SIGMOID,
}


@dataclass(slots=True)
class DenseChain:
    """The layers, which go on belonging to the model."""

    layers: list[nn.Linear]
    activations: list[Activation]
    _stack: list[Dense] = field(default_factory=list)

    @classmethod
    def of(cls, model: nn.Module) -> "DenseChain | None":
        """None for whatever else. Exact types: a class of one's own may do anything. The last layer gives one number a row."""
        chain = cls([], [])
        for each in model if type(model) is nn.Sequential else [model]:
            if type(each) is nn.Linear:
                chain.layers.append(each)
                chain.activations.append(Activation.NONE)
            elif type(each) in _ACTIVATIONS and chain.activations and chain.activations[-1] is Activation.NONE:
                chain.activations[-1] = _ACTIVATIONS[type(each)]
            else:
                return None
        is_score = bool(chain.layers) and chain.layers[-1].out_features == 1 and chain.activations[-1] is Activation.NONE
        return chain if is_score else None

    @property
    def parameters(self) -> list[Tensor]:
        """In the model's own order."""
        return [each for layer in self.layers for each in (layer.weight, layer.bias) if each is not None]

    @property
    def numbers_a_row(self) -> int:
        return sum(each.in_features + each.out_features for each in self.layers)

    def begin(self) -> None:
        """At the weights that the layers have now."""
        self._stack = [
            Dense(_floats(layer.weight), _floats(layer.bias) if layer.bias is not None else None, activation)
            for layer, activation in zip(self.layers, self.activations, strict=True)
        ]

    def factors(self, features: Floats, outcome: Floats) -> Sequence[Layer]:
        return factors(self._stack, features, outcome)


def _floats(values: Tensor) -> Floats:
    found: Floats = values.detach().double().numpy().copy()
    return found
