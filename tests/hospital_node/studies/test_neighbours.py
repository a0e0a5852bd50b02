"""One patient's one block in a training's round, on the way that answers really take: the heart of what DP-SGD promises here.

A registered table, Offer, Ready, the study in its own process, clip, integers, noise, masks; noise and masks are taken off again.
What is left of two neighbouring hospitals differs by no more than is charged. A node that trusts a study to clip is caught on the
same way.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as some

from hospital_node.factors import Factors, Layer, Part
from hospital_node.fits import local_steps
from hospital_node.fits.bounded import Floats
from hospital_node.fits.gradients import Asking, Gradients, step_sums, training_sums
from hospital_node.fits.held_out import Chances, held_out_sums
from hospital_node.fits.rows import Rows
from hospital_node.plans import Plan
from hospital_node.studies.installed import installed_studies, pins_text
from hospital_node.studies.parts import parts
from hospital_node.studies.plan import TrainingPlan, _round
from hospital_node.studies.study import Logistic
from privacy.tables import skellam_table
from protocols.asked import Asked
from protocols.fits import TRAININGS, Evaluated, FedAvgTraining, Training
from protocols.secagg.ring import Integers
from tests.hospital_node.studies.specs import training
from tests.hospital_node.support.laid_bare import SensitivityExceededError, Shown, check
from tests.hospital_node.support.nodes import Nodes
from tests.hospital_node.test_neighbours_tables import AGE, BUSY, DEAD, SCHEMA, Row, _furnish, _rows, _writer, approve_table

FIELDS: dict[str, Any] = {"outcome": DEAD, "features": [AGE], "weights": 2}
SHAPES = {
    "counted": training(**FIELDS),
    "stated batch": training(**FIELDS, batch=30, longest="0.25", fineness=4_000),
    "dated": training(**{**FIELDS, "table": "dated", "catalogue": "dated-1"}, period={"from": "2026-10-01", "to": "2026-12-01"}),
}
HELD_OUT: dict[str, Any] = {"version": 3, "fineness": 256, "held_out": "0.5", "bins": 4, "sharpness": 1}
SHAPES |= {
    name: Evaluated.model_validate({**SHAPES[of].to_json(), **HELD_OUT}, strict=False)
    for name, of in (("learning", "counted"), ("testing", "counted"), ("testing, dated", "dated"))
}
LOCAL_STEPS = 3
LOCAL = {"version": 3, "fit": "dp_fedavg", "local_steps": LOCAL_STEPS, "fineness": 256, "held_out": "0.3", "bins": 4}
LOCAL_SHAPES = {
    name: FedAvgTraining.model_validate({**SHAPES[of].to_json(), **LOCAL, **more}, strict=False)
    for name, of, more in (
        ("local", "counted", {}),
        ("local, dated", "dated", {}),
        ("local, nobody held out", "counted", {"held_out": "0"}),
    )
}
FEW = settings(max_examples=3, deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck))
WEIGHTS = np.array([0.75, -1.5])


def _pinned(home: Path) -> None:
    _furnish(home)
    here = installed_studies()
    (home / "studies.txt").write_text(pins_text([here["logistic"].sha256], here))


class Questions:
    def __init__(self, path: Path) -> None:
        self.world, self._path = Nodes(path / "city", 4, _pinned), path
        self.world.city.programme = self.world.city.approved_programme(tables=("cohort", "dated"))
        self._asked: dict[str, Shown] = {}
        for uri in self.world.nodes:
            approve_table(self.world.city, uri, "cohort", SCHEMA)

    def __call__(self, shape: str) -> Shown:
        if shape not in self._asked:
            spec = (SHAPES | LOCAL_SHAPES)[shape]
            variance = min(400 * spec.l2_squared, 2**28)
            fields = {"spec": spec.to_json(), "rounds": 2, "variances": (f"{variance}.0000",)}
            asking = self.world.ask(entry_fields=fields)
            asking.all_ready()
            shown = self._asked[shape] = Shown(asking, self._path / shape, _writer(spec.table))
            shown.input = spec.encode(WEIGHTS)
            if shape.startswith("testing"):
                shown.round = shown.asked.last_round
        return self._asked[shape]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Questions]:
    questions = Questions(tmp_path_factory.mktemp("trainings"))
    yield questions
    questions.world.close()


class InThisProcess(TrainingPlan):
    """The same plan with a study beside it, for many small records: a process for each would take minutes."""

    def __init__(self, gradients: Gradients, chances: Chances) -> None:
        super().__init__()
        self._asking = Asking(gradients, chances)

    def run(
        self, asked: Asked, records: duckdb.DuckDBPyConnection, bounding_key: bytes, round_input: bytes, number: int
    ) -> Integers:
        assert isinstance(asked.spec, Training)
        return training_sums(asked.spec, records, _round(asked, round_input, bounding_key, number), self._asking)


def _factored(weights: Floats, rows: Rows) -> Iterator[Part]:
    """As the study gives them: products of two vectors, many patients at once."""
    study = Logistic()
    study.begin(weights)
    return parts(study, len(weights), rows.scaled[:, :-1], rows.scaled[:, -1], np.append(rows.starts, len(rows.scaled)))


def _hostile_factors(weights: Floats, rows: Rows) -> Iterator[Part]:
    """Without any bound, and in part no numbers, by what the row is."""
    for part in _factored(weights, rows):
        assert isinstance(part, Factors)
        [layer] = part.layers
        wild = np.choose((np.abs(layer.signals) * 997).astype(int) % 4, [1e300, 1.0, -1e200, np.nan])
        yield Factors([Layer(layer.inputs * 1e-3, layer.signals * wild, layer.has_bias)], part.ends)


def _written(weights: Floats, rows: Rows) -> Iterator[Floats]:
    study = Logistic()
    study.begin(weights)
    ends = np.append(rows.starts, len(rows.scaled))
    for begin, end in pairwise(ends):
        yield np.asarray(study.gradient(rows.scaled[begin:end, :-1], rows.scaled[begin:end, -1]))[None, :]


def _hostile(weights: Floats, rows: Rows) -> Iterator[Floats]:
    """Gradients without any bound: what a study gives of a patient's rows is judged by the node."""
    for part in _written(weights, rows):
        yield part * np.array([1e300, np.inf if part[0, 0] > 0 else -1e200])


def _chances(weights: Floats, rows: Rows) -> Iterator[Floats]:
    study = Logistic()
    study.begin(weights)
    yield study.chances(rows.scaled[:, :-1])


def _wild_chances(weights: Floats, rows: Rows) -> Iterator[Floats]:
    """What a chance is judged to be is the node's."""
    [honest] = _chances(weights, rows)
    yield np.where(honest > 0.5, 1e300, np.where(honest > 0.4, np.nan, -np.inf))


HONEST: dict[type, Plan] = dict.fromkeys(TRAININGS, InThisProcess(_factored, _chances))
PLANS: dict[str, dict[type, Plan]] = {
    "honest study": HONEST,
    "hostile study": dict.fromkeys(TRAININGS, InThisProcess(_hostile_factors, _wild_chances)),
    "gradients written out": dict.fromkeys(TRAININGS, InThisProcess(_written, _chances)),
    "hostile gradients": dict.fromkeys(TRAININGS, InThisProcess(_hostile, _wild_chances)),
}
ALONE: list[Row] = [(person, *row[1:]) for person, row in enumerate(BUSY[:20])]
_some_rows = _rows | _rows.map(lambda rows: [(person, *row[1:]) for person, row in enumerate(rows)])
"""Several rows of few patients, or one of each."""


def _without(shape: str, rows: list[Row], person: int, month: int) -> list[Row]:
    return [row for row in rows if row[0] != person or (shape.endswith("dated") and row[1].month != month)]


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("shape", SHAPES)
@FEW
@given(rows=_some_rows, person=some.integers(0, 2), month=some.sampled_from([10, 11]))
def test_one_patients_one_block_moves_a_round_by_no_more_than_is_charged(
    shown: Questions, shape: str, plan: str, rows: list[Row], person: int, month: int
) -> None:
    question, plans = shown(shape), PLANS[plan]
    check(question.asked, question.vector(rows, plans), question.vector(_without(shape, rows, person, month), plans))


@pytest.mark.parametrize("shape", [shape for shape, spec in SHAPES.items() if not isinstance(spec, Evaluated)])
def test_a_node_that_trusts_the_study_to_clip_is_caught_on_the_same_way(
    shown: Questions, shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    question, fewer = shown(shape), _without(shape, BUSY, 0, 10)
    kept = question.vector(BUSY, HONEST)
    check(question.asked, kept, question.vector(fewer, HONEST))
    assert kept.any()
    trusting: Callable[..., Integers] = lambda given, bound: np.rint(given * bound.scale).astype(np.int64).sum(axis=0)  # noqa: E731
    monkeypatch.setattr("hospital_node.fits.clipped_sum.summed", trusting)
    with pytest.raises(SensitivityExceededError):
        check(question.asked, question.vector(BUSY, HONEST), question.vector(fewer, HONEST))


def test_a_node_that_clips_no_factors_is_caught_on_the_same_way(shown: Questions, monkeypatch: pytest.MonkeyPatch) -> None:
    question, fewer = shown("stated batch"), _without("stated batch", ALONE, 0, 10)
    check(question.asked, question.vector(ALONE, HONEST), question.vector(fewer, HONEST))
    monkeypatch.setattr("hospital_node.fits.clipped_sum.room", lambda bound: 2.0**20)
    with pytest.raises(SensitivityExceededError):
        check(question.asked, question.vector(ALONE, HONEST), question.vector(fewer, HONEST))


class Frozen:
    """Noise of local steps that makes a neighbour release the very numbers that were released before.

    The first hospital draws from the product's sampler. Its neighbour's noise is what is missing to the same release; that such a
    draw is about as likely is the whole promise, and rests on how far the exact sums are apart.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.exact, self.at, self.released = list[Integers](), list[Floats](), list[Integers]()
        self._is_again, self._draw = False, local_steps.draw
        monkeypatch.setattr("hospital_node.fits.gradients.step_sums", self._stepped)
        monkeypatch.setattr("hospital_node.fits.local_steps.draw", self._drawn)

    def again(self) -> tuple[list[Integers], list[Floats]]:
        """What the steps so far were; the next ones are a neighbour's."""
        found, self._is_again = (self.exact, self.at), True
        self.exact, self.at = [], []
        return found

    def _stepped(self, spec: Training, rows: Rows, weights: Floats, *more: Any) -> Integers:
        self.at.append(weights)
        self.exact.append(step_sums(spec, rows, weights, *more))
        return self.exact[-1]

    def _drawn(self, table: Any, size: int, random: Callable[[int], bytes]) -> Integers:
        if self._is_again:
            return self.released[len(self.exact) - 1] - self.exact[-1]
        noise = self._draw(table, size, random)
        self.released.append(self.exact[-1] + noise)
        return noise


def _check_local(question: Shown, rows: list[Row], fewer: list[Row], plan: dict[type, Plan]) -> None:
    """Each local step is a release of its own: at equal releases before it, it moves by no more than is charged for one.

    And the contribution, its share of noise taken off, is those releases and nothing else.
    """
    with pytest.MonkeyPatch.context() as patched:
        frozen = Frozen(patched)
        sent = question.vector(rows, plan)
        exact, at = frozen.again()
        assert len(exact) == LOCAL_STEPS
        same = question.vector(fewer, plan)
    if not all(map(np.array_equal, at, frozen.at)):
        raise SensitivityExceededError("a step's weights follow from more than what was released before it")
    spec = question.asked.spec
    assert isinstance(spec, FedAvgTraining)
    for before, after in zip(exact, frozen.exact, strict=True):
        check(question.asked, _padded(spec, before), _padded(spec, after))
    if not np.array_equal(sent, same) or not np.array_equal(sent, _padded(spec, sum(frozen.released))):
        raise SensitivityExceededError("what is sent is more than what was released")


def _padded(spec: Training, stepping: Integers) -> Integers:
    return np.concatenate([stepping, np.zeros(spec.width - spec.stepping, np.int64)])


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("shape", LOCAL_SHAPES)
@FEW
@given(rows=_some_rows, person=some.integers(0, 2), month=some.sampled_from([10, 11]))
def test_one_patients_one_block_moves_each_local_step_by_no_more_than_is_charged(
    shown: Questions, shape: str, plan: str, rows: list[Row], person: int, month: int
) -> None:
    _check_local(shown(shape), rows, _without(shape, rows, person, month), PLANS[plan])


def _following_the_exact_sum(spec: Training, weights: Floats, variance: Any, step: Any, random: Any) -> Integers:
    total = np.zeros(spec.stepping, np.int64)
    for _ in range(spec.steps_a_round):
        exact = step(weights)
        total += exact + local_steps.draw(skellam_table(variance), spec.stepping, random)
        weights = spec.limited(weights - 1e-3 * exact[: spec.weights])
    return total


def _without_noise_in_the_last(spec: Training, weights: Floats, variance: Any, step: Any, random: Any) -> Integers:
    for number in range(spec.steps_a_round):
        exact = step(weights)
        noise = local_steps.draw(skellam_table(variance), spec.stepping, random)
        total = exact if number else exact + noise
    return total


@pytest.mark.parametrize("broken", [_following_the_exact_sum, _without_noise_in_the_last])
def test_local_steps_that_pass_on_more_than_was_released_are_caught_on_the_same_way(
    shown: Questions, broken: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    question, fewer = shown("local, nobody held out"), _without("local", ALONE, 0, 10)
    _check_local(question, ALONE, fewer, HONEST)
    monkeypatch.setattr("hospital_node.fits.gradients.local_sums", broken)
    with pytest.raises(SensitivityExceededError, match="released"):
        _check_local(question, ALONE, fewer, HONEST)


def test_local_steps_without_a_clip_are_caught_on_the_same_way(shown: Questions, monkeypatch: pytest.MonkeyPatch) -> None:
    question, fewer = shown("local, nobody held out"), _without("local", BUSY, 0, 10)
    _check_local(question, BUSY, fewer, HONEST)
    trusting: Callable[..., Integers] = lambda given, bound: np.rint(given * bound.scale).astype(np.int64).sum(axis=0)  # noqa: E731
    monkeypatch.setattr("hospital_node.fits.clipped_sum.summed", trusting)
    with pytest.raises(SensitivityExceededError, match="piece"):
        _check_local(question, BUSY, fewer, HONEST)


def test_a_test_that_counts_each_row_as_a_patient_is_caught_on_the_same_way(
    shown: Questions, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = shown("testing")
    everyone: list[Row] = [(person, *row[1:]) for person in range(20) for row in BUSY[:6]]
    vectors = {person: question.vector(_without("testing", everyone, person, 10), HONEST) for person in range(20)}
    kept = question.vector(everyone, HONEST)
    moved = {person for person, fewer in vectors.items() if (kept != fewer).any()}
    assert 0 < len(moved) < 20, "some are held out, and some are not"
    for fewer in vectors.values():
        check(question.asked, kept, fewer)
    broken = lambda spec, rows, *more: held_out_sums(spec, replace(rows, starts=np.arange(len(rows.scaled))), *more)  # noqa: E731
    monkeypatch.setattr("hospital_node.fits.gradients.held_out_sums", broken)
    with pytest.raises(SensitivityExceededError):
        check(question.asked, question.vector(everyone, HONEST), vectors[min(moved)])


def test_the_study_in_its_own_process_gives_the_same_integers(shown: Questions) -> None:
    question = shown("counted")
    plan = TrainingPlan(installed=installed_studies)
    assert np.array_equal(question.vector(BUSY, {Training: plan}), question.vector(BUSY, HONEST))
    plan.close()


def test_two_rounds_at_the_same_weights_choose_anew(shown: Questions) -> None:
    """A batch that came twice would be sampled once and charged as twice: nothing would be amplified the second time."""
    question, chosen = shown("counted"), []
    half = replace(question.asked, spec=SHAPES["counted"].model_copy(update={"sampled": "0.5"}))

    class Recording(InThisProcess):
        def run(
            self, asked: Asked, records: duckdb.DuckDBPyConnection, bounding_key: bytes, round_input: bytes, number: int
        ) -> Integers:
            found = super().run(half, records, bounding_key, round_input, number)
            chosen.append(tuple(found))
            return found

    rows: list[Row] = [(person, *BUSY[0][1:]) for person in range(200)]
    question.vector(rows, {Training: Recording(_factored, _chances)})
    counts = question.asking.world.first().answering.counts
    generation = counts._plans.generation()
    first, again, *others = (
        counts.start("q", question.asked, generation, b"", question.input, number).result() for number in (1, 1, *range(2, 8))
    )
    assert np.array_equal(first, again)
    # Of 200 alike, as many are chosen twice with a chance of at most 0.057; six times, below 1e-7.
    assert not all(np.array_equal(first, other) for other in others)
