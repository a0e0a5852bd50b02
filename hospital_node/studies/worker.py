"""A study's process: started before a Ready, kept for its rounds, and told nothing but weights and the rows of its question.

It runs the study and nothing else. What it gives back is taken for what it is, numbers of unknown worth: shape, type and length are
judged, clipped and rounded on this side (`hospital_node.fits.bounded`). It dies with its pipe. Frames are a JSON line and raw
bytes.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

import numpy as np

from hospital_node.errors import GradientError, StudyFailed, WrongSize
from hospital_node.factors import Factors, Part
from hospital_node.fits.bounded import Floats
from hospital_node.fits.rows import Rows
from hospital_node.studies.answers import Answers
from hospital_node.studies.installed import Installed
from hospital_node.studies.parts import heard
from protocols.fits import Training

PROGRAM = "hospital_node.studies.process"
PIPE_BYTES = 1 << 20
"""As large as the system lets a pipe be by itself: fewer turns between the two processes."""


@dataclass(slots=True)
class Worker:
    """One running study. Its calls are made one after another."""

    process: "subprocess.Popen[bytes]"
    answers: Answers

    @classmethod
    def start(cls, study: Installed, spec: Training, command: tuple[str, ...] = (sys.executable, "-m", PROGRAM)) -> "Worker":
        """The study with its model built. Raises StudyFailed where it cannot, or the model is not what the question says."""
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, pipesize=PIPE_BYTES,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )  # fmt: skip
        assert process.stdout is not None
        worker = cls(process, Answers(process.stdout.fileno()))
        hello = {"target": study.target, "sha256": study.sha256, "features": len(spec.features), "weights": spec.weights}
        hello["evaluated"] = spec.is_evaluated
        try:
            worker._send(hello)
            worker._require_ok(worker._answer())
        except StudyFailed:
            worker.stop()
            raise
        return worker

    def gradients(self, weights: Floats, rows: Rows, width: int) -> Iterator[Part]:
        """One a (patient, block), some at a time, in order. Raises StudyFailed, GradientError."""
        self._ask("gradients", weights, rows)
        ends = np.append(rows.starts, len(rows.scaled))
        while len(ends) > 1:
            head = self._answer()
            self._require_ok(head)
            part = heard(head, self.answers.exactly, ends, width)
            ends = ends[len(part.ends) - 1 if isinstance(part, Factors) else len(part) :]
            yield part

    def chances(self, weights: Floats, rows: Rows) -> Iterator[Floats]:
        """One a row, in order. Raises StudyFailed, GradientError."""
        self._ask("chances", weights, rows)
        answer = self._answer()
        self._require_ok(answer)
        many, dtype = len(rows.scaled), answer.get("dtype")
        if dtype not in ("<f4", "<f8") or answer.get("shape") != [many]:
            raise GradientError(f"chances: expected {many} numbers of 4 or 8 bytes, got another shape or type")
        yield np.frombuffer(self.answers.exactly(many * int(dtype[-1])), dtype)

    def _ask(self, what: str, weights: Floats, rows: Rows) -> None:
        starts = np.append(rows.starts, len(rows.scaled)).astype("<i8")
        sizes = {"weights": len(weights), "rows": len(rows.scaled), "columns": rows.scaled.shape[1], "blocks": len(rows.starts)}
        bodies = (weights.astype("<f8"), np.ascontiguousarray(rows.scaled, "<f8"), starts)
        self._send({"ask": what, **sizes}, *(each.tobytes() for each in bodies))

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what was not read any more
                    pipe.close()

    def _send(self, head: dict[str, object], *bodies: bytes) -> None:
        pipe = self._pipe(self.process.stdin)
        try:
            pipe.write(json.dumps(head).encode() + b"\n")
            for body in bodies:
                pipe.write(body)
            pipe.flush()
        except OSError as error:
            raise StudyFailed("study: its process has ended") from error

    def _answer(self) -> dict[str, object]:
        try:
            answer = json.loads(self.answers.line())
        except ValueError:
            raise StudyFailed("study: expected a frame, got something else") from None
        if not isinstance(answer, dict):
            raise StudyFailed("study: expected a frame, got something else")
        return answer

    def _require_ok(self, answer: dict[str, object]) -> None:
        if (code := answer.get("error")) is not None:
            raise (WrongSize if answer.get("is_size") is True else StudyFailed)(f"study: {str(code)[:120]}")

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        if pipe is None:
            raise StudyFailed("study: its process has no pipe")
        return pipe
