"""The process of a study: reads weights and rows from its pipe, writes a gradient a (patient, block).

It is handed no network, no key and no file of the node's, and told nothing but what one round needs. What a study prints is thrown
away, and of its errors only a code is told: their text may quote a record.
"""

import importlib
import json
import os
import sys
from itertools import pairwise
from typing import IO, Any

import numpy as np

from hospital_node.errors import StudyFailed
from hospital_node.studies.hashing import package_hash
from hospital_node.studies.study import Study

AT_ONCE = 1 << 17
"""Numbers in one answer: while the node clips them, the next are computed."""


def loaded(hello: dict[str, Any]) -> Study:
    """The study with its model built. Raises StudyFailed where it is not the one that the question names."""
    module, _, name = str(hello["target"]).partition(":")
    if package_hash(module) != hello["sha256"]:
        raise StudyFailed("its files have changed")
    study = getattr(importlib.import_module(module), name)()
    if not isinstance(study, Study):
        raise StudyFailed("its entry point names no study")
    size = study.prepare(int(hello["features"]))
    if size != hello["weights"]:
        raise StudyFailed(f"its model has {size} weights, the question states {hello['weights']}")
    return study


def serve(source: IO[bytes], out: IO[bytes]) -> None:
    """Until the pipe ends."""
    try:
        study = loaded(json.loads(source.readline()))
    except Exception as error:  # noqa: BLE001 (whatever a package raises while it is loaded is told as a code)
        _tell(out, {"error": _code(error)})
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


def _round(study: Study, head: dict[str, int], source: IO[bytes], out: IO[bytes]) -> None:
    study.begin(_numbers(source, head["weights"], "<f8"))
    rows = _numbers(source, head["rows"] * head["columns"], "<f8").reshape(head["rows"], head["columns"])
    starts = _numbers(source, head["blocks"] + 1, "<i8")
    at_once = max(1, AT_ONCE // head["weights"])
    for first in range(0, head["blocks"], at_once):
        ends = starts[first : first + at_once + 1]
        made = [study.gradient(rows[begin:end, :-1], rows[begin:end, -1]) for begin, end in pairwise(ends)]
        block = np.stack(made)
        head_of = {"blocks": len(made), "shape": list(block.shape[1:]), "dtype": block.dtype.str}
        _tell(out, head_of, np.ascontiguousarray(block).tobytes())


def _numbers(source: IO[bytes], count: int, dtype: str) -> "np.ndarray[Any, np.dtype[Any]]":
    size = count * np.dtype(dtype).itemsize
    raw = source.read(size)
    if len(raw) != size:
        raise EOFError("the pipe ended within a round")
    return np.frombuffer(raw, dtype)


def _tell(out: IO[bytes], head: dict[str, Any], body: bytes = b"") -> None:
    out.write(json.dumps(head).encode() + b"\n" + body)
    out.flush()


def main() -> None:
    """Frames go out where nothing that a study prints can get between them."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    serve(sys.stdin.buffer, out)


if __name__ == "__main__":
    main()
