"""Flower's averaging strategies, unmodified, come over secure means to what they come to over single updates."""

import asyncio
from typing import Any

import numpy as np
import pytest

from coordinator.errors import NeedsSingleUpdates, StrategyFailed, UnsuitableMessages
from coordinator.strategies import FlowerSteering, PlainSteps, steering
from protocols.fits.training import OPTIONS, Strategy
from tests.coordinator.test_training import BINDING
from tests.hospital_node.studies.specs import training

flwr = pytest.importorskip("flwr")

from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict  # noqa: E402
from flwr.serverapp import strategy as flower  # noqa: E402

from coordinator.learning.secure_grid import AVERAGING, SecureGrid, flat, require_averaging  # noqa: E402

HOSPITALS = [f"kapok://hospital/h0{number}" for number in range(1, 5)]
START = np.array([0.5, -1.0, 2.0])
MINE = [
    (np.array([1.0, 0.0, 0.0]), 10),
    (np.array([0.0, 1.0, 0.0]), 30),
    (np.array([0.0, 0.0, 3.0]), 5),
    (np.array([1.0, 1.0, 1.0]), 55),
]


def _local(weights: np.ndarray, place: int) -> np.ndarray:
    """What a hospital makes of the weights: a step toward a place of its own."""
    return weights - 0.3 * (weights - MINE[place][0])


class Open(SecureGrid):
    """The same hospitals without secure sums: each reply is its own. Flower's usual way, to compare with."""

    def send_and_receive(self, messages: Any, *, timeout: float | None = None) -> Any:
        asked = [each for each in messages if each.metadata.message_type == "train"]
        return [Message(self._own(each), reply_to=each) for each in asked]

    def _own(self, message: Message) -> RecordDict:
        place = message.metadata.dst_node_id - 1
        weights = _local(flat(message.content["arrays"]), place)
        metrics = MetricRecord({"num-examples": MINE[place][1]})
        return RecordDict({"arrays": ArrayRecord({"w": Array(weights)}), "metrics": metrics})


def _secure_mean(weights: np.ndarray) -> tuple[np.ndarray, float]:
    many = sum(count for _, count in MINE)
    return sum(count * _local(weights, place) for place, (_, count) in enumerate(MINE)) / many, float(many)


def _start() -> ArrayRecord:
    return ArrayRecord({"w": Array(START.copy())})


@pytest.mark.parametrize("name", AVERAGING)
def test_a_strategy_comes_to_the_same_weights_as_over_single_updates(name: str) -> None:
    secure = SecureGrid(HOSPITALS, _secure_mean).train(AVERAGING[name](), _start(), 4)
    usual = AVERAGING[name]().start(grid=Open(HOSPITALS, _secure_mean), initial_arrays=_start(), num_rounds=4).arrays
    assert flat(secure) == pytest.approx(flat(usual), abs=1e-9)
    assert not np.allclose(flat(secure), START)


@pytest.mark.parametrize("name", ["Krum", "MultiKrum", "Bulyan", "FedMedian", "FedTrimmedAvg", "QFedAvg"])
def test_a_strategy_that_looks_at_single_updates_is_refused_before_anything_is_asked(name: str) -> None:
    asked: list[int] = []

    def never(weights: np.ndarray) -> tuple[np.ndarray, float]:
        asked.append(1)
        return weights, 1.0

    made = {"Krum": {"num_malicious_nodes": 1}, "MultiKrum": {"num_malicious_nodes": 1, "num_nodes_to_select": 2}}
    made["Bulyan"] = {"num_malicious_nodes": 0}
    made["QFedAvg"] = {"client_learning_rate": 0.1}
    strategy = getattr(flower, name)(**made.get(name, {}))
    with pytest.raises(NeedsSingleUpdates, match="single"):
        SecureGrid(HOSPITALS, never).train(strategy, _start(), 2)
    assert not asked


def test_a_strategy_of_ones_own_is_welcome_as_long_as_it_averages() -> None:
    class Renamed(flower.FedAvg):
        pass

    class Median(flower.FedAvg):
        def aggregate_train(self, server_round: int, replies: Any) -> Any:
            return super().aggregate_train(server_round, replies)

    require_averaging(Renamed())
    with pytest.raises(NeedsSingleUpdates):
        require_averaging(Median())


def test_weights_that_differ_or_leave_somebody_out_are_refused() -> None:
    grid = SecureGrid(HOSPITALS, _secure_mean)
    messages = [Message(RecordDict({"arrays": _start()}), number, "train") for number in (1, 2, 3)]
    with pytest.raises(UnsuitableMessages, match="each of 4"):
        grid.send_and_receive(messages)
    other = Message(RecordDict({"arrays": ArrayRecord({"w": Array(START + 1)})}), 4, "train")
    with pytest.raises(UnsuitableMessages, match="same weights"):
        grid.send_and_receive([*messages, other])


@pytest.mark.parametrize("strategy", ["FedAvg", "FedAdam"])
def test_a_steered_training_told_its_rounds_again_goes_on_where_it_was(strategy: str) -> None:
    spec = training(strategy=strategy, batch=100, options=[["eta", "0.05"]] if strategy == "FedAdam" else [])
    draw = np.random.default_rng(3)
    sums = [draw.integers(-(10**5), 10**5, spec.width) for _ in range(3)]

    async def steered(told: int) -> np.ndarray:
        with steering(spec, spec.start(), 3, HOSPITALS) as one:
            for vector in sums[:told]:
                await one.tell(vector)
            for vector in sums[told:]:
                found = await one.after(spec.start(), vector, BINDING)
            return found

    whole, restarted = asyncio.run(steered(0)), asyncio.run(steered(2))
    assert np.array_equal(whole, restarted)
    plain = spec.start()
    for vector in sums:
        plain = asyncio.run(PlainSteps(spec).after(plain, vector, BINDING))
    assert np.allclose(whole, plain, atol=1e-5) is (strategy == "FedAvg")


def test_a_strategys_process_that_ends_is_an_error() -> None:
    spec = training(strategy="FedAvg")
    one = FlowerSteering(spec, spec.start(), 2, HOSPITALS)
    one._process.kill()
    with pytest.raises(StrategyFailed):
        asyncio.run(one.tell(np.zeros(spec.width, np.int64)))
    one.close()


def test_the_options_that_a_question_may_state_are_flowers_own() -> None:
    for strategy, names in OPTIONS.items():
        if strategy is not Strategy.SGD:
            AVERAGING[strategy](**dict.fromkeys(names, 0.5))
