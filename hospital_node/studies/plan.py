"""The plan of a training: a study's process, from the probe of its first segment on, and the rows that a question's rounds read.

A question is answered from one generation of the records: its rows are the same in all of its rounds, and are read once, from its
Ready on, so that no step has to wait for them.
"""

from collections.abc import Callable
from pathlib import Path
from threading import Lock

import duckdb

from hospital_node.fits.gradients import Asking, Round, sums_of_rows
from hospital_node.fits.kept import KeptRows
from hospital_node.fits.rows import Rows, rows_of
from hospital_node.studies.installed import Installed, installed_studies, read_pins, study_refusals
from hospital_node.studies.worker import Worker
from hospital_node.tables.matching import empty_table
from protocols.asked import Asked
from protocols.fits import Training
from protocols.refusal import Refusal
from protocols.secagg.ring import Integers

KEPT = 2
"""Studies that run at a time, and questions whose rows are at hand; what was asked longest ago goes."""


class TrainingPlan:
    """Steps of DP-SGD; the input are the public weights."""

    def __init__(self, home: Path | None = None, installed: Callable[[], dict[str, Installed]] = installed_studies) -> None:
        self._home, self._installed, self._lock = home, installed, Lock()
        self._running: dict[Training, Worker] = {}
        self._rows = KeptRows(KEPT)

    def refusals(self, spec: Training) -> list[Refusal]:
        """Why this study does not run here."""
        pins = read_pins(self._home) if self._home is not None else frozenset[str]()
        return study_refusals(spec, self._installed(), pins)

    def require_input(self, asked: Asked, round_input: bytes) -> None:
        _training(asked).decode(round_input)

    def probe(self, asked: Asked) -> None:
        """Starts the study, so that its first round does not wait for it, and sees whether its model is the stated one.

        What runs for an earlier segment has shown that.
        """
        spec = _training(asked)
        if self._is_running(spec):
            return
        with empty_table(spec) as records:
            self._sums(spec, rows_of(spec, records), _round(asked, spec.encode(spec.start()), bytes(32), 1))

    def prepare(self, asked: Asked, records: duckdb.DuckDBPyConnection) -> None:
        """Reads the question's rows, so that they are at hand when its first round comes."""
        self._rows_of(asked, records)

    def run(
        self, asked: Asked, records: duckdb.DuckDBPyConnection, bounding_key: bytes, round_input: bytes, number: int
    ) -> Integers:
        spec, at = _training(asked), _round(asked, round_input, bounding_key, number)
        return self._sums(spec, self._rows_of(asked, records), at)

    def _rows_of(self, asked: Asked, records: duckdb.DuckDBPyConnection) -> Rows:
        return self._rows.of(asked.query, lambda: rows_of(_training(asked), records))

    def _sums(self, spec: Training, rows: Rows, at: Round) -> Integers:
        with self._lock:  # a process answers one round at a time
            worker = self._of(spec)
            asking = Asking(lambda weights, rows: worker.gradients(weights, rows, spec.weights), worker.chances)
            try:
                return sums_of_rows(spec, rows, at, asking)
            except BaseException:
                self._running.pop(_whole(spec)).stop()  # it may be within an answer
                raise

    def _is_running(self, spec: Training) -> bool:
        with self._lock:
            worker = self._running.get(_whole(spec))
            return worker is not None and worker.is_alive

    def _of(self, spec: Training) -> Worker:
        key = _whole(spec)
        worker = self._running.pop(key, None)
        if worker is None or not worker.is_alive:
            worker = Worker.start(self._installed()[spec.study.name], spec)
        self._running[key] = worker
        while len(self._running) > KEPT:
            self._running.pop(next(iter(self._running))).stop()
        return worker

    def close(self) -> None:
        with self._lock:
            while self._running:
                self._running.popitem()[1].stop()


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
