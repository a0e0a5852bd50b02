"""A study runs in a process of its own, gives what it should or is an error, and takes nothing with it."""

import os
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from hospital_node.errors import GradientError, StudyFailed, WrongSize
from hospital_node.factors import Factors, written_out
from hospital_node.studies.hashing import package_hash
from hospital_node.studies.installed import GROUP, Installed, installed_studies, pins_text, read_pins, study_refusals
from hospital_node.studies.worker import Worker
from protocols.refusal import Reason
from tests.hospital_node.studies.specs import FEATURES, some_rows, training

HEAD = """
import numpy as np
from hospital_node.factors import Layer
from hospital_node.studies.study import Logistic as Factored


class Logistic(Factored):
    numbers_a_row = 0
"""
ROWS = some_rows(40)
WEIGHTS = np.array([0.1, -0.5, 0.25, 1.0])


def _package(root: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> Installed:
    """A researcher's package beside the node's, as a hospital would install it."""
    name = f"study_{len(list(root.iterdir()))}"
    (root / name).mkdir()
    (root / name / "__init__.py").write_text(HEAD + body)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(root), *sys.path]))
    if str(root) not in sys.path:
        monkeypatch.syspath_prepend(str(root))
    digest = package_hash(name)
    assert digest is not None
    return Installed("mine", "1", digest, f"{name}:Mine")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path


def test_the_gradients_are_those_of_each_patients_own_rows() -> None:
    worker = Worker.start(installed_studies()["logistic"], training())
    try:
        [part] = worker.gradients(WEIGHTS, ROWS, FEATURES + 1)
        [again] = worker.gradients(WEIGHTS, ROWS, FEATURES + 1)
    finally:
        worker.stop()
    ends = np.append(ROWS.starts, len(ROWS.scaled))
    assert isinstance(part, Factors)
    assert isinstance(again, Factors)
    assert np.array_equal(part.ends, ends)
    found = [written_out(part.layers, *span) for span in pairwise(ends)]
    for place, (begin, end) in enumerate(pairwise(ends)):
        x = np.column_stack([np.ones(end - begin), ROWS.scaled[begin:end, :-1]])
        wrong = 1 / (1 + np.exp(-x @ WEIGHTS)) - ROWS.scaled[begin:end, -1]
        assert found[place] == pytest.approx(wrong @ x, abs=1e-6)
    assert np.array_equal(found, [written_out(again.layers, *span) for span in pairwise(ends)])


BROKEN = {
    "another shape": ("class Mine(Logistic):\n    def gradient(self, x, y): return np.zeros(2)", GradientError),
    "a matrix": ("class Mine(Logistic):\n    def gradient(self, x, y): return np.zeros((4, 1))", GradientError),
    "whole numbers": ("class Mine(Logistic):\n    def gradient(self, x, y): return np.zeros(4, int)", GradientError),
    "half precision": ("class Mine(Logistic):\n    def gradient(self, x, y): return np.zeros(4, np.float16)", GradientError),
    "objects": (
        "class Mine(Logistic):\n    def gradient(self, x, y): return np.array([y, None, 1, 2], object)",
        (GradientError, StudyFailed),
    ),
    "factors of another model": (
        "class Mine(Factored):\n    def factors(self, x, y): return [Layer(x, np.zeros((len(x), 7)), False)]",
        GradientError,
    ),
    "factors of too few rows": (
        "class Mine(Factored):\n    def factors(self, x, y): return super().factors(x[:-1], y[:-1])",
        GradientError,
    ),
    "factors of nothing": ("class Mine(Factored):\n    def factors(self, x, y): return []", GradientError),
    "factors of vectors": ("class Mine(Factored):\n    def factors(self, x, y): return [Layer(y, y, True)]", StudyFailed),
    "factors that it has not": ("class Mine(Factored):\n    def factors(self, x, y): raise KeyError('patient')", StudyFailed),
    "an exception": ("class Mine(Logistic):\n    def gradient(self, x, y): raise ValueError(f'patient {y[0]}')", StudyFailed),
    "its own end": ("import os\nclass Mine(Logistic):\n    def gradient(self, x, y): os._exit(3)", StudyFailed),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_what_a_study_gives_instead_of_gradients_is_a_typed_error_without_a_number(
    root: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    body, error = BROKEN[fault]
    worker = Worker.start(_package(root, monkeypatch, body), training())
    with pytest.raises(error) as caught:
        list(worker.gradients(WEIGHTS, ROWS, FEATURES + 1))
    worker.stop()
    assert "patient" not in str(caught.value)


def test_what_a_study_prints_disturbs_no_frame(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = "print('loading')\nclass Mine(Logistic):\n    def gradient(self, x, y): return print(y) or super().gradient(x, y)"
    worker = Worker.start(_package(root, monkeypatch, body), training())
    assert sum(len(part) for part in worker.gradients(WEIGHTS, ROWS, FEATURES + 1)) == len(ROWS.starts)
    worker.stop()


def test_a_study_whose_files_changed_since_it_was_asked_for_does_not_start(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = _package(root, monkeypatch, "class Mine(Logistic): pass")
    Worker.start(here, training()).stop()
    with pytest.raises(StudyFailed, match="changed"):
        Worker.start(replace(here, sha256="0" * 64), training())


def test_a_model_of_another_size_than_the_question_states_does_not_start() -> None:
    with pytest.raises(WrongSize, match="4 weights"):
        Worker.start(installed_studies()["logistic"], training(weights=7))


def test_a_hash_that_is_not_installed_or_not_accepted_is_refused_with_the_reason(tmp_path: Path) -> None:
    spec, installed = training(), installed_studies()
    mine = installed["logistic"]
    assert read_pins(tmp_path) == frozenset()
    (tmp_path / "studies.txt").write_text(pins_text([mine.sha256], installed))
    assert study_refusals(spec, installed, read_pins(tmp_path)) == []
    assert [each.reason for each in study_refusals(spec, installed, frozenset())] == [Reason.STUDY_NOT_PINNED]
    assert [each.reason for each in study_refusals(spec, {}, read_pins(tmp_path))] == [Reason.STUDY_NOT_INSTALLED]
    other = {"logistic": replace(mine, sha256="1" * 64)}
    assert [each.reason for each in study_refusals(spec, other, read_pins(tmp_path))] == [Reason.STUDY_DIFFERS]


def test_a_researchers_package_is_found_by_its_entry_point(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = _package(root, monkeypatch, "class Mine(Logistic): pass")
    found = installed_studies([EntryPoint("mine", here.target, GROUP)])
    assert found["mine"].sha256 == here.sha256
    (root / here.target.partition(":")[0] / "more.py").write_text("")
    assert installed_studies([EntryPoint("mine", here.target, GROUP)])["mine"].sha256 != here.sha256
