"""The plan of a training: a study's process for each question, from its probe to the question's end."""

from collections.abc import Callable
from pathlib import Path
from threading import Lock

import duckdb

from hospital_node.fits.gradients import training_sums
from hospital_node.studies.installed import Installed, installed_studies, read_pins, study_refusals
from hospital_node.studies.worker import Worker
from hospital_node.tables.matching import empty_table
from protocols.asked import Asked
from protocols.fits import Training
from protocols.refusal import Refusal
from protocols.secagg.ring import Integers

KEPT = 2
"""Studies that run at a time; the one that was asked longest ago goes."""


class TrainingPlan:
    """Steps of DP-SGD; the input are the public weights."""

    def __init__(self, home: Path | None = None, installed: Callable[[], dict[str, Installed]] = installed_studies) -> None:
        self._home, self._installed, self._lock = home, installed, Lock()
        self._workers: dict[Training, Worker] = {}

    def refusals(self, spec: Training) -> list[Refusal]:
        """Why this study does not run here."""
        pins = read_pins(self._home) if self._home is not None else frozenset[str]()
        return study_refusals(spec, self._installed(), pins)

    def require_input(self, asked: Asked, round_input: bytes) -> None:
        _training(asked).decode(round_input)

    def probe(self, asked: Asked) -> None:
        """Starts the study, so that its first round does not wait for it, and sees whether its model is the stated one."""
        spec = _training(asked)
        with empty_table(spec) as records:
            self._sums(spec, records, spec.encode(spec.start()))

    def run(self, asked: Asked, records: duckdb.DuckDBPyConnection, bounding_key: bytes, round_input: bytes) -> Integers:
        return self._sums(_training(asked), records, round_input)

    def _sums(self, spec: Training, records: duckdb.DuckDBPyConnection, round_input: bytes) -> Integers:
        with self._lock:  # a process answers one round at a time
            worker = self._worker(spec)
            try:
                weights = spec.decode(round_input)
                return training_sums(spec, records, weights, lambda at, rows: worker.gradients(at, rows, spec.weights))
            except BaseException:
                self._workers.pop(spec).stop()  # it may be within an answer
                raise

    def _worker(self, spec: Training) -> Worker:
        worker = self._workers.pop(spec, None)
        if worker is None or not worker.is_alive:
            worker = Worker.start(self._installed()[spec.study.name], spec)
        self._workers[spec] = worker
        while len(self._workers) > KEPT:
            self._workers.pop(next(iter(self._workers))).stop()
        return worker

    def close(self) -> None:
        with self._lock:
            while self._workers:
                self._workers.popitem()[1].stop()


def _training(asked: Asked) -> Training:
    if not isinstance(asked.spec, Training):
        raise TypeError("a training's plan was given another question")
    return asked.spec
