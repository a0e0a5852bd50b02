"""What is measured of a training's rounds is the whole of them, less what is a person's and what gradients take alone."""

import json
from pathlib import Path

import numpy as np
import pytest

from simulations.bench import rounds
from simulations.bench.flower_runtime import update
from simulations.bench.rounds import Overrun, Slots, Trained
from simulations.bench.wide_study import FEATURES, WEIGHTS, Wide
from simulations.processes import Services
from simulations.town import Town

STEPS = {"approval": 5.0, "segment_before": 2.0, "contribute": 3.0, "open": 1.0, "total": 11.0}
LINES = (
    {"counting_s": 0.1, "counted_s": 0.4, "contributing_s": 0.5},
    {"counting_s": 0.1, "counted_s": 0.2, "contributing_s": 0.5},
)
TRACED = tuple({**line, "round": float(number)} for number, line in enumerate(LINES, 1))


def test_the_wait_for_the_auditor_and_for_the_segment_before_is_not_a_round_s() -> None:
    assert Trained("q", 10, STEPS, TRACED).own_s == 4.0


def test_the_slots_leave_room_above_the_slowest_count_of_the_first_round_and_of_the_others() -> None:
    slots = rounds.slots_for([Trained("q", 10, STEPS, TRACED)])
    assert slots == Slots(2000, 300)
    assert slots.longer() == Slots(2500, 375)
    first_is_quick = tuple({**line, "counted_s": each} for line, each in zip(TRACED, (0.1, 0.21), strict=True))
    assert rounds.slots_for([Trained("q", 10, STEPS, first_is_quick)]) == Slots(1050, 315)


def test_two_hundred_steps_are_counted_with_what_a_segment_costs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "gradients_s", lambda: 0.1)
    traced = tuple({**each, "gate_s": 0.0, "masking_s": 0.0, "journal_s": 0.0} for each in TRACED)
    first, whole, beside = rounds.figures([Trained("q", 10, STEPS, traced)], Slots(600, 450), {"node": 2.0, "study": 1.0})[:3]
    assert (first.ours, first.ok) == (pytest.approx(60.0), False)
    assert (whole.ours, beside.ours) == (pytest.approx(400.0), pytest.approx(300.0))


def test_a_segment_in_which_a_hospital_sent_zeros_is_not_measured(tmp_path: Path) -> None:
    town = Town(tmp_path, {"a": tmp_path}, Services(tmp_path))
    town.trace("a").parent.mkdir()
    town.trace("a").write_text("".join(json.dumps({"query": "q", **line}) + "\n" for line in LINES))
    assert rounds._traced(town, "q", 2) == tuple({"query": "q", **each} for each in TRACED)
    with pytest.raises(Overrun):
        rounds._traced(town, "q", 3)
    with town.trace("a").open("a") as file:
        file.write(json.dumps({"query": "q", "contributing_s": 1.0}) + "\n")
    with pytest.raises(Overrun):
        rounds._traced(town, "q", 3)


def test_the_measured_model_s_gradient_is_that_of_its_loss() -> None:
    study, draw = Wide(), np.random.default_rng(3)
    assert study.prepare(FEATURES) == WEIGHTS == 10_000
    weights, row = draw.normal(0, 0.3, WEIGHTS), draw.uniform(-1, 1, (2, FEATURES))

    def loss(at: np.ndarray) -> float:
        inner, bias, outer = at[:9801].reshape(99, 99), at[9801:9900], at[9900:9999]
        score = np.tanh(row @ inner.T + bias) @ outer + at[-1]
        return float(np.sum(np.log1p(np.exp(score)) - np.array([1.0, 0.0]) * score))

    study.begin(weights)
    found = study.gradient(row, np.array([1.0, 0.0]))
    for place in (0, 5_000, 9_850, 9_950, 9_999):
        step = np.zeros(WEIGHTS)
        step[place] = 1e-5
        assert found[place] == pytest.approx((loss(weights + step) - loss(weights - step)) / 2e-5, rel=1e-4, abs=1e-6)


def test_the_measured_model_s_factors_are_those_of_its_gradients() -> None:
    study, draw = Wide(), np.random.default_rng(5)
    study.prepare(FEATURES)
    study.begin(draw.normal(0, 0.3, WEIGHTS))
    rows, outcome = draw.uniform(-1, 1, (3, FEATURES)), np.array([1.0, 0.0, 1.0])
    layers = study.factors(rows, outcome)
    assert sum(each.inputs.shape[1] + each.signals.shape[1] for each in layers) == study.numbers_a_row
    for n in range(len(rows)):
        pieces = [[np.outer(each.signals[n], each.inputs[n]).ravel(), each.signals[n]] for each in layers]
        found = np.concatenate([piece for of in pieces for piece in of])
        assert found == pytest.approx(study.gradient(rows[n : n + 1], outcome[n : n + 1]), rel=1e-3, abs=1e-5)


def test_flower_s_side_steps_down_the_same_loss() -> None:
    start = np.random.default_rng(4).normal(0, 0.3, WEIGHTS)
    moved = update(start, 8)
    assert moved.shape == start.shape
    assert 0 < np.linalg.norm(moved - start) <= 0.51
