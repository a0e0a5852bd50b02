"""A study made of a torch model. A researcher writes the model; everything else is here and at the node.

    class Risk(TorchStudy):
        def model(self, features: int) -> nn.Module:
            return nn.Sequential(nn.Linear(features, 16), nn.Tanh(), nn.Linear(16, 1))

A chain of dense layers with the loss below gives factors, many patients at once (decision 0021). Of any other model each (patient,
block)'s rows go through it by themselves: the gradient of their summed loss is the sum of Opacus' gradient samples of those rows
(the tests hold all three to each other), and no bit of it depends on the batch, which batched samples do (decision 0015). Opacus'
own noise, which has no secure generator, takes no part.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from hospital_node.errors import StudyFailed
from hospital_node.factors import Layer, written_out
from hospital_node.learning.dense_chain import DenseChain
from hospital_node.studies.study import Floats, Study


class TorchStudy(Study):
    """One model over a table's rows, in float32."""

    def model(self, features: int) -> nn.Module:
        raise NotImplementedError

    def loss(self, output: Tensor, outcome: Tensor) -> Tensor:
        """Summed over rows; by default the log-loss of one score a row."""
        return functional.binary_cross_entropy_with_logits(output.squeeze(-1), outcome, reduction="sum")

    def chance(self, output: Tensor) -> Tensor:
        """Of the outcome, by the model's output; by default that of one log-odds a row."""
        return torch.sigmoid(output.squeeze(-1))

    def prepare(self, features: int) -> int:
        torch.set_num_threads(1)
        self._model = self.model(features)
        self._trained = [each for each in self._model.parameters() if each.requires_grad]
        require_separate(self._model, features)
        self._dense = self._recognised(features)
        return sum(each.numel() for each in self._trained)

    def begin(self, weights: Floats) -> None:
        load_weights(self._trained, weights)
        if self._dense:
            self._dense.begin()

    @property
    def numbers_a_row(self) -> int:
        return self._dense.numbers_a_row if self._dense else 0

    def factors(self, features: Floats, outcome: Floats) -> Sequence[Layer]:
        return self._dense.factors(features, outcome) if self._dense else super().factors(features, outcome)

    def _recognised(self, features: int) -> DenseChain | None:
        """The model as a chain of dense layers, where it is one and gives the same gradients on some rows."""
        chain = DenseChain.of(self._model)
        if chain is None or [id(each) for each in chain.parameters] != [id(each) for each in self._trained]:
            return None
        rows, outcome = np.linspace(-1.0, 1.0, 3 * features).reshape(3, features), np.array([0.0, 1.0, 0.0])
        chain.begin()
        ours, theirs = written_out(chain.factors(rows, outcome), 0, 3), self.gradient(rows, outcome)
        return chain if ours.shape == theirs.shape and np.allclose(ours, theirs, rtol=1e-3, atol=1e-4) else None

    def gradient(self, features: Floats, outcome: Floats) -> npt.NDArray[np.floating]:
        loss = self.loss(self._model(torch.from_numpy(features).float()), torch.from_numpy(outcome).float())
        return flat_gradient(loss, self._trained).numpy()

    def chances(self, features: Floats) -> npt.NDArray[np.floating]:
        self._model.eval()  # a dropout is for learning
        with torch.no_grad():
            found: npt.NDArray[np.floating] = self.chance(self._model(torch.from_numpy(features).float())).numpy()
        self._model.train()
        return found


def load_weights(trained: list[nn.Parameter], weights: Floats) -> None:
    start = 0
    with torch.no_grad():
        for each in trained:
            each.copy_(torch.from_numpy(weights[start : start + each.numel()].copy()).view_as(each))
            start += each.numel()


def flat_gradient(loss: Tensor, trained: list[nn.Parameter]) -> Tensor:
    found = torch.autograd.grad(loss, trained, allow_unused=True, materialize_grads=True)
    return torch.cat([each.reshape(-1) for each in found])


def require_separate(model: nn.Module, features: int) -> None:
    """Refuses what lets one row's gradient depend on another's, and what one patient's rows leave behind for the next.

    Normalisation over a batch is known by its type. Whatever else mixes rows shows where the gradient of two is not the sum of
    theirs; what stays behind shows in the model's buffers. Raises StudyFailed.
    """
    if any(
        isinstance(each, _BatchNorm) or (isinstance(each, _InstanceNorm) and each.track_running_stats) for each in model.modules()
    ):
        raise StudyFailed("a layer that mixes rows (BatchNorm): take LayerNorm or GroupNorm")
    trained = [each for each in model.parameters() if each.requires_grad]
    before = [each.clone() for each in model.buffers()]
    rows = torch.linspace(-1.0, 1.0, 2 * features).view(2, features)
    model.eval()  # a dropout of its own for each row is no mixing
    both, first, second = (flat_gradient(model(part).square().sum(), trained) for part in (rows, rows[:1], rows[1:]))
    model.train()
    model(rows)
    if not torch.allclose(both, first + second, rtol=1e-3, atol=1e-4):
        raise StudyFailed("a layer that mixes rows: the gradient of two is not the sum of theirs")
    if any(not torch.equal(old, new) for old, new in zip(before, model.buffers(), strict=True)):
        raise StudyFailed("a layer that keeps something of the rows it has seen")
