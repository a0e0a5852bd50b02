"""The plan of a training: a study's process, from the probe of its first segment on, and the rows that a question's rounds read.

A question is answered from one generation of the records: its rows are the same in all of its rounds, and are read once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import duckdb

from hospital_node.fits.gradients import Asking, Round, sums_of_rows
from hospital_node.fits.rows import Rows, rows_of
from hospital_node.studies.installed import Installed, installed_studies, read_pins, study_refusals
from hospital_node.studies.worker import Worker
from hospital_node.tables.matching import empty_table
from protocols.asked import Asked
from protocols.fits import Training
from protocols.refusal import Refusal
from protocols.secagg.ring import Integers
from protocols.statements import Query

KEPT = 2
"""Studies that run at a time; the one that was asked longest ago goes."""


@dataclass(slots=True)
class Running:
    """A study's process, and the rows of the question that it was asked last."""

    worker: Worker
    question: Query | None = None
    rows: Rows | None = None

    def rows_of(self, asked: Asked, spec: Training, records: duckdb.DuckDBPyConnection) -> Rows:
        if self.rows is None or self.question != asked.query:
            self.question, self.rows = asked.query, rows_of(spec, records)
        return self.rows


class TrainingPlan:
    """Steps of DP-SGD; the input are the public weights."""

    def __init__(self, home: Path | None = None, installed: Callable[[], dict[str, Installed]] = installed_studies) -> None:
        self._home, self._installed, self._lock = home, installed, Lock()
        self._running: dict[Training, Running] = {}

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
            self._sums(spec, lambda _: rows_of(spec, records), _round(asked, spec.encode(spec.start()), bytes(32), 1))

    def run(
        self, asked: Asked, records: duckdb.DuckDBPyConnection, bounding_key: bytes, round_input: bytes, number: int
    ) -> Integers:
        spec, at = _training(asked), _round(asked, round_input, bounding_key, number)
        return self._sums(spec, lambda running: running.rows_of(asked, spec, records), at)

    def _sums(self, spec: Training, read: Callable[[Running], Rows], at: Round) -> Integers:
        with self._lock:  # a process answers one round at a time
            running = self._of(spec)
            asking = Asking(lambda weights, rows: running.worker.gradients(weights, rows, spec.weights), running.worker.chances)
            try:
                return sums_of_rows(spec, read(running), at, asking)
            except BaseException:
                self._running.pop(_whole(spec)).worker.stop()  # it may be within an answer
                raise

    def _of(self, spec: Training) -> Running:
        key = _whole(spec)
        running = self._running.pop(key, None)
        if running is None or not running.worker.is_alive:
            running = Running(Worker.start(self._installed()[spec.study.name], spec))
        self._running[key] = running
        while len(self._running) > KEPT:
            self._running.pop(next(iter(self._running))).worker.stop()
        return running

    def close(self) -> None:
        with self._lock:
            while self._running:
                self._running.popitem()[1].worker.stop()


def _whole(spec: Training) -> Training:
    """The training that a segment is of: what follows the first one needs no other process."""
    return spec.model_copy(update={"after": None, "spread": "0"})


def _round(asked: Asked, round_input: bytes, key: bytes, number: int) -> Round:
    spec = _training(asked)
    is_test = spec.is_evaluated and number == asked.last_round
    return Round(spec.decode(round_input), key, asked.pieces[0].variance, is_test)


def _training(asked: Asked) -> Training:
    if not isinstance(asked.spec, Training):
        raise TypeError("a training's plan was given another question")
    return asked.spec
