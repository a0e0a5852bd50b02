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

from hospital_node.fits.bounded import Floats
from hospital_node.fits.gradients import Asking, Gradients, training_sums
from hospital_node.fits.held_out import Chances, held_out_sums
from hospital_node.fits.rows import Rows
from hospital_node.plans import Plan
from hospital_node.studies.installed import installed_studies, pins_text
from hospital_node.studies.plan import TrainingPlan, _round
from hospital_node.studies.study import Logistic
from protocols.asked import Asked
from protocols.fits import TRAININGS, Evaluated, Training
from protocols.secagg.ring import Integers
from tests.hospital_node.studies.specs import training
from tests.hospital_node.support.nodes import Nodes
from tests.hospital_node.test_neighbours import SensitivityExceededError, Shown, check
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
            spec = SHAPES[shape]
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


def _logistic(weights: Floats, rows: Rows) -> Iterator[Floats]:
    study = Logistic()
    study.begin(weights)
    ends = np.append(rows.starts, len(rows.scaled))
    for begin, end in pairwise(ends):
        yield np.asarray(study.gradient(rows.scaled[begin:end, :-1], rows.scaled[begin:end, -1]))[None, :]


def _hostile(weights: Floats, rows: Rows) -> Iterator[Floats]:
    """Gradients without any bound: what a study gives of a patient's rows is judged by the node."""
    for part in _logistic(weights, rows):
        yield part * np.array([1e300, np.inf if part[0, 0] > 0 else -1e200])


def _chances(weights: Floats, rows: Rows) -> Iterator[Floats]:
    study = Logistic()
    study.begin(weights)
    yield study.chances(rows.scaled[:, :-1])


def _wild_chances(weights: Floats, rows: Rows) -> Iterator[Floats]:
    """What a chance is judged to be is the node's."""
    [honest] = _chances(weights, rows)
    yield np.where(honest > 0.5, 1e300, np.where(honest > 0.4, np.nan, -np.inf))


HONEST: dict[type, Plan] = dict.fromkeys(TRAININGS, InThisProcess(_logistic, _chances))
HOSTILE: dict[type, Plan] = dict.fromkeys(TRAININGS, InThisProcess(_hostile, _wild_chances))


def _without(shape: str, rows: list[Row], person: int, month: int) -> list[Row]:
    return [row for row in rows if row[0] != person or (shape.endswith("dated") and row[1].month != month)]


@pytest.mark.parametrize("plan", [HONEST, HOSTILE], ids=["honest study", "hostile study"])
@pytest.mark.parametrize("shape", SHAPES)
@FEW
@given(rows=_rows, person=some.integers(0, 2), month=some.sampled_from([10, 11]))
def test_one_patients_one_block_moves_a_round_by_no_more_than_is_charged(
    shown: Questions, shape: str, plan: dict[type, Plan], rows: list[Row], person: int, month: int
) -> None:
    question = shown(shape)
    check(question.asked, question.vector(rows, plan), question.vector(_without(shape, rows, person, month), plan))


@pytest.mark.parametrize("shape", [shape for shape, spec in SHAPES.items() if not isinstance(spec, Evaluated)])
def test_a_node_that_trusts_the_study_to_clip_is_caught_on_the_same_way(
    shown: Questions, shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    question, fewer = shown(shape), _without(shape, BUSY, 0, 10)
    kept = question.vector(BUSY, HONEST)
    check(question.asked, kept, question.vector(fewer, HONEST))
    assert kept.any()
    trusting: Callable[..., Integers] = lambda given, bound: np.rint(given * bound.scale).astype(np.int64).sum(axis=0)  # noqa: E731
    monkeypatch.setattr("hospital_node.fits.gradients.summed", trusting)
    with pytest.raises(SensitivityExceededError):
        check(question.asked, question.vector(BUSY, HONEST), question.vector(fewer, HONEST))


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
    question.vector(rows, {Training: Recording(_logistic, _chances)})
    counts = question.asking.world.first().answering.counts
    generation = counts._plans.generation()
    first, again, second = (
        counts.start("q", question.asked, generation, b"", question.input, number).result() for number in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)  # by chance alike: below 2^-190
