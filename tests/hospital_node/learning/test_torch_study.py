"""Torch models as studies: the gradients are Opacus' gradient samples, patient by patient; what mixes patients is refused."""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from hospital_node.errors import StudyFailed
from hospital_node.factors import written_out
from hospital_node.studies.study import Logistic
from tests.hospital_node.studies.specs import FEATURES, SIZES, some_rows

torch = pytest.importorskip("torch")

from opacus import GradSampleModule  # noqa: E402
from torch import nn  # noqa: E402

from hospital_node.learning.builtin import Mlp, TorchLogistic  # noqa: E402
from hospital_node.learning.torch_study import TorchStudy, load_weights  # noqa: E402

ROWS = some_rows(30)
EXAMPLE = Path(__file__).parents[3] / "simulations" / "example_study"


def _gradients(study: TorchStudy | Logistic, weights: np.ndarray) -> np.ndarray:
    study.begin(weights)
    ends = np.append(ROWS.starts, len(ROWS.scaled))
    return np.stack([study.gradient(ROWS.scaled[b:e, :-1], ROWS.scaled[b:e, -1]) for b, e in pairwise(ends)])


def _weights(study: TorchStudy) -> np.ndarray:
    return np.random.default_rng(4).normal(0, 0.3, study.prepare(FEATURES))


def test_a_patients_gradient_is_the_sum_of_opacus_gradient_samples_of_her_rows() -> None:
    study = Mlp()
    weights = _weights(study)
    ours = _gradients(study, weights)
    wrapped = GradSampleModule(Mlp().model(FEATURES), loss_reduction="sum")
    load_weights([each for each in wrapped.parameters() if each.requires_grad], weights)
    features, outcome = torch.from_numpy(ROWS.scaled[:, :-1]).float(), torch.from_numpy(ROWS.scaled[:, -1]).float()
    study.loss(wrapped(features), outcome).backward()
    samples = np.concatenate([each.grad_sample.flatten(1).numpy() for each in wrapped.parameters()], axis=1)
    assert ours == pytest.approx(np.add.reduceat(samples, ROWS.starts, axis=0), abs=2e-5)
    assert ours.shape[1] == SIZES["mlp"]


def test_factors_are_of_the_same_gradient_patient_by_patient() -> None:
    for study in (Mlp(), TorchLogistic()):
        by_torch = _gradients(study, _weights(study))
        layers = study.factors(ROWS.scaled[:, :-1], ROWS.scaled[:, -1])
        ends = np.append(ROWS.starts, len(ROWS.scaled))
        assert np.array([written_out(layers, *span) for span in pairwise(ends)]) == pytest.approx(by_torch, abs=2e-5)
        assert study.numbers_a_row == sum(each.inputs.shape[1] + each.signals.shape[1] for each in layers)


class _Doubling(nn.Linear):
    def forward(self, rows: "torch.Tensor") -> "torch.Tensor":
        return 2 * super().forward(rows)


def _frozen() -> nn.Module:
    layer = nn.Linear(FEATURES, 8)
    layer.bias.requires_grad_(False)
    return nn.Sequential(layer, nn.Linear(8, 1))


def _shared() -> nn.Module:
    twice = nn.Linear(FEATURES, FEATURES)
    return nn.Sequential(twice, nn.Tanh(), twice, nn.Linear(FEATURES, 1))


def _hooked() -> nn.Module:
    layer = nn.Linear(FEATURES, 1)
    layer.register_forward_hook(lambda module, given, found: 3 * found)
    return layer


OTHER_MODELS = {
    "LayerNorm": lambda: nn.Sequential(nn.Linear(FEATURES, 8), nn.LayerNorm(8), nn.Linear(8, 1)),
    "Dropout": lambda: nn.Sequential(nn.Linear(FEATURES, 8), nn.Dropout(0.5), nn.Linear(8, 1)),
    "GELU": lambda: nn.Sequential(nn.Linear(FEATURES, 8), nn.GELU(), nn.Linear(8, 1)),
    "two activations": lambda: nn.Sequential(nn.Linear(FEATURES, 8), nn.Tanh(), nn.ReLU(), nn.Linear(8, 1)),
    "two scores": lambda: nn.Sequential(nn.Linear(FEATURES, 8), nn.Linear(8, 2)),
    "a chance": lambda: nn.Sequential(nn.Linear(FEATURES, 1), nn.Sigmoid()),
    "a layer of one's own": lambda: nn.Sequential(_Doubling(FEATURES, 1)),
    "a bias that is not trained": _frozen,
    "a layer used twice": _shared,
    "a hook": _hooked,
}


@pytest.mark.parametrize("name", OTHER_MODELS)
def test_any_other_model_gives_gradients_a_patient_at_a_time(name: str) -> None:
    class Other(TorchStudy):
        def model(self, features: int) -> nn.Module:
            return OTHER_MODELS[name]()

        def loss(self, output: "torch.Tensor", outcome: "torch.Tensor") -> "torch.Tensor":
            return super().loss(output.mean(dim=1), outcome)

    class OtherModel(TorchStudy):
        model = Other.model

    study = Other() if name == "two scores" else OtherModel()
    study.prepare(FEATURES)
    assert study.numbers_a_row == 0
    with pytest.raises(StudyFailed, match="no factors"):
        study.factors(ROWS.scaled[:, :-1], ROWS.scaled[:, -1])


def test_a_loss_of_ones_own_gives_gradients_a_patient_at_a_time() -> None:
    class Squared(TorchLogistic):
        def loss(self, output: "torch.Tensor", outcome: "torch.Tensor") -> "torch.Tensor":
            return (output.squeeze(-1) - outcome).square().sum()

    study = Squared()
    study.prepare(FEATURES)
    assert study.numbers_a_row == 0


def test_the_two_logistic_studies_say_the_same() -> None:
    study, plain = TorchLogistic(), Logistic()
    weights = _weights(study)  # a weight a column, then the intercept; the plain one has the intercept first
    plain.prepare(FEATURES)
    assert np.roll(_gradients(study, weights), 1, axis=1) == pytest.approx(_gradients(plain, np.roll(weights, 1)), abs=1e-5)


class _Centred(nn.Module):
    def forward(self, rows: "torch.Tensor") -> "torch.Tensor":
        return rows - rows.mean(dim=0)


class _Remembering(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, rows: "torch.Tensor") -> "torch.Tensor":
        self.seen += rows.sum().detach()
        return rows


@pytest.mark.parametrize(
    ("layer", "why"),
    [(nn.BatchNorm1d(8), "BatchNorm"), (nn.SyncBatchNorm(8), "BatchNorm"), (_Centred(), "mixes rows"), (_Remembering(), "keeps")],
    ids=["BatchNorm1d", "SyncBatchNorm", "a layer of one's own that mixes", "one that remembers"],
)
def test_a_layer_that_mixes_patients_or_remembers_them_is_refused_before_any_row_is_read(layer: nn.Module, why: str) -> None:
    class Mixed(TorchStudy):
        def model(self, features: int) -> nn.Module:
            return nn.Sequential(nn.Linear(features, 8), layer, nn.Tanh(), nn.Linear(8, 1))

    with pytest.raises(StudyFailed, match=why):
        Mixed().prepare(FEATURES)


@pytest.mark.parametrize(
    "layer", [nn.LayerNorm(8), nn.GroupNorm(2, 8), nn.Dropout(0.5), nn.ReLU()], ids=lambda each: type(each).__name__
)
def test_a_layer_that_keeps_patients_apart_is_taken(layer: nn.Module) -> None:
    class Separate(TorchStudy):
        def model(self, features: int) -> nn.Module:
            return nn.Sequential(nn.Linear(features, 8), layer, nn.Linear(8, 1))

    assert Separate().prepare(FEATURES) >= 8 * FEATURES


def test_the_example_that_a_researcher_copies_is_a_study_of_the_stated_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    from heart_risk import HeartRisk  # type: ignore[import-not-found]

    sys.modules.pop("heart_risk")
    from coordinator.client.training import read_fit

    spec = read_fit(EXAMPLE / "training.toml").spec
    assert HeartRisk().prepare(len(spec.features)) == spec.weights  # type: ignore[union-attr]
