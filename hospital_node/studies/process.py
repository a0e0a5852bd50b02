"""The process of a study: reads weights and rows from its pipe, writes gradients.

It is handed no network, no key and no file of the node's, and told nothing but what one round needs. What a study prints is thrown
away, and of its errors only a code is told: their text may quote a record.
"""

import importlib
import json
import os
import sys
from typing import IO, Any

import numpy as np

from hospital_node.errors import StudyFailed, WrongSize
from hospital_node.studies.hashing import package_hash
from hospital_node.studies.parts import parts, told
from hospital_node.studies.study import Study


def loaded(hello: dict[str, Any]) -> Study:
    """The study with its model built. Raises StudyFailed where it is not the one that the question names."""
    module, _, name = str(hello["target"]).partition(":")
    if package_hash(module) != hello["sha256"]:
        raise StudyFailed("its files have changed")
    study = built(getattr(importlib.import_module(module), name))
    size = study.prepare(int(hello["features"]))
    if size != hello["weights"]:
        raise WrongSize(f"its model has {size} weights, the question states {hello['weights']}")
    if hello["evaluated"]:
        _require_chances(study, int(hello["features"]), size)
    return study


def _require_chances(study: Study, features: int, size: int) -> None:
    """Before any row is read, so that a training does not end without its test."""
    study.begin(np.zeros(size))
    if np.shape(study.chances(np.zeros((1, features)))) != (1,):
        raise StudyFailed("it gives no chance a row: it cannot be evaluated")


def built(named: object) -> Study:
    """The study that an entry point names: a class of one, or one as a Flower ClientApp. Raises StudyFailed."""
    if isinstance(named, type):
        if not issubclass(named, Study):
            raise StudyFailed("its entry point names no study")
        return named()
    # By its name: Flower belongs to the extra `learning`, and whoever made an app has it.
    study = importlib.import_module("hospital_node.learning.client_app").AppStudy(named)
    assert isinstance(study, Study)
    return study


def serve(source: IO[bytes], out: IO[bytes]) -> None:
    """Until the pipe ends."""
    try:
        study = loaded(json.loads(source.readline()))
    except Exception as error:  # noqa: BLE001 (whatever a package raises while it is loaded is told as a code)
        _tell(out, {"error": _code(error), "is_size": isinstance(error, WrongSize)})
        return
    _tell(out, {})
    while line := source.readline():
        try:
            _round(study, json.loads(line), source, out)
        except Exception as error:  # noqa: BLE001 (its text may quote a record)
            _tell(out, {"error": _code(error)})
            return


def _code(error: Exception) -> str:
    return str(error) if isinstance(error, StudyFailed) else type(error).__name__


def _round(study: Study, head: dict[str, Any], source: IO[bytes], out: IO[bytes]) -> None:
    study.begin(_numbers(source, head["weights"], "<f8"))
    rows = _numbers(source, head["rows"] * head["columns"], "<f8").reshape(head["rows"], head["columns"])
    starts = _numbers(source, head["blocks"] + 1, "<i8")
    if head["ask"] == "chances":
        found = study.all_chances(rows[:, :-1], starts)
        _tell(out, {"shape": list(found.shape), "dtype": found.dtype.str}, np.ascontiguousarray(found).tobytes())
        return
    for part in parts(study, head["weights"], rows[:, :-1], rows[:, -1], starts):
        head_of, bodies = told(part)
        _tell(out, head_of, *bodies)


def _numbers(source: IO[bytes], count: int, dtype: str) -> "np.ndarray[Any, np.dtype[Any]]":
    size = count * np.dtype(dtype).itemsize
    raw = source.read(size)
    if len(raw) != size:
        raise EOFError("the pipe ended within a round")
    return np.frombuffer(raw, dtype)


def _tell(out: IO[bytes], head: dict[str, Any], *bodies: bytes) -> None:
    out.write(b"".join([json.dumps(head).encode(), b"\n", *bodies]))
    out.flush()


def main() -> None:
    """Frames go out where nothing that a study prints can get between them."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    serve(sys.stdin.buffer, out)


if __name__ == "__main__":
    main()
