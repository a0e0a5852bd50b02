"""A study over a few virtual hospitals in Flower's Simulation Engine: the node's own object, the product's rounds, a chart."""

import json
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from hospital_node.factors import Factors
from hospital_node.studies.installed import installed_studies
from hospital_node.studies.worker import Worker
from simulations.main import app

pytest.importorskip("flwr")
pytest.importorskip("ray")
pytest.importorskip("torch")

from flwr.clientapp import ClientApp

from hospital_node.learning import builtin
from protocols.fits import Training
from protocols.fits.training import Strategy
from simulations.learning import virtual
from simulations.learning.run import Wanted, _training
from simulations.learning.table import hospital

WANTED = Wanted("mlp", Strategy.FED_AVG_M, 5, 2, Fraction(1), Fraction(1), 7)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("learn")
    made = [
        "learn",
        "--out",
        str(out),
        "--hospitals",
        "5",
        "--rounds",
        "3",
        "--study",
        "torch-logistic",
        "--price",
        "2",
        "--lang",
        "zh",
    ]
    found = CliRunner().invoke(app, made)
    assert found.exit_code == 0, found.output
    assert "虚拟医院" in found.output
    return out


@pytest.mark.xdist_group("ray")
def test_one_command_trains_with_noise_and_without_and_leaves_a_chart(learned: Path) -> None:
    told = json.loads((learned / "learning.json").read_text())
    assert [each["round"] for each in told["private"]] == [0, 1, 2, 3] == [each["round"] for each in told["without_noise"]]
    assert told["private"][0] == told["without_noise"][0], "both begin with the same weights"
    assert told["private"][-1] != told["without_noise"][-1], "one of them has noise"
    assert told["without_noise"][-1]["log_loss"] < told["without_noise"][0]["log_loss"]
    assert told["epsilon"] > 0
    assert (learned / "learning.png").read_bytes().startswith(b"\x89PNG")
    assert b"</svg>" in (learned / "learning.svg").read_bytes()


def test_a_virtual_hospital_runs_the_very_app_that_a_node_runs() -> None:
    target = installed_studies()["mlp"].target
    module, _, name = target.partition(":")
    app_of_node = getattr(sys.modules[module], name)
    assert app_of_node is builtin.mlp
    assert isinstance(app_of_node, ClientApp)
    assert virtual.study_of(target)._app is app_of_node  # type: ignore[attr-defined]


def test_a_virtual_hospitals_gradients_are_those_of_a_nodes_process() -> None:
    spec = _sized()
    rows, weights = hospital(3, seed=7), spec.start()
    worker = Worker.start(installed_studies()["mlp"], spec)
    try:
        [theirs] = worker.gradients(weights, rows, spec.weights)
    finally:
        worker.stop()
    [ours] = virtual._gradients(virtual.study_of(installed_studies()["mlp"].target), spec)(weights, rows)
    assert isinstance(ours, Factors)
    assert isinstance(theirs, Factors)
    for mine, its in zip(ours.layers, theirs.layers, strict=True):
        assert np.array_equal(mine.inputs, its.inputs)
        assert np.array_equal(mine.signals, its.signals)
    assert sum(each.width for each in ours.layers) == spec.weights


def test_a_virtual_hospital_adds_the_products_noise_and_bounds_each_patient() -> None:
    from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict

    from hospital_node.learning.client_app import _identify

    _identify()
    spec, found = _sized(), []
    for variance in ("0.0000", "0.0000", "1000000.0000"):
        setting = {"spec": spec.model_dump_json(), "target": installed_studies()["mlp"].target, "variance": variance}
        content = {
            "arrays": ArrayRecord({"weights": Array(spec.start())}),
            "setting": ConfigRecord({**setting, "hospitals": 5, "seed": 7}),
        }
        context = Context(run_id=1, node_id=1, node_config={"partition-id": 3}, state=RecordDict(), run_config={})
        reply = virtual.answer(Message(RecordDict(content), 1, "train"), context)
        found.append(reply.content.array_records["sums"]["sums"].numpy())
    exact, again, noisy = found
    assert np.array_equal(exact, again)
    assert np.linalg.norm(exact[:-1]) <= len(hospital(3, seed=7).starts) * spec.reach
    # Five of them draw for four honest ones: a share's standard deviation is 500, of 1377 entries; 3 % is beyond five errors.
    assert 470 < (noisy - exact)[:-1].std() < 530


def _sized() -> Training:
    from protocols.fits import Training

    made: Training = _training(WANTED, virtual.study_of(installed_studies()["mlp"].target).prepare(8))
    return made


@pytest.mark.parametrize(
    ("more", "said"), [(["--study", "nobody"], "there are"), (["--strategy", "sgd"], "FedAvg"), (["--price", "0"], "0.001")]
)
def test_what_cannot_be_trained_is_told_before_anything_starts(tmp_path: Path, more: list[str], said: str) -> None:
    found = CliRunner().invoke(app, ["learn", "--out", str(tmp_path / "out"), *more, "--lang", "en"])
    assert found.exit_code == 2
    assert said in found.output
    assert "Traceback" not in found.output
