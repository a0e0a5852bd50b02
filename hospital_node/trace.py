"""Seconds per step of a question, for whoever runs the node: a file on its own disk, one JSON line a contribution.

The times depend on records, so nothing of them crosses the link. `Trace.off()` measures and writes nothing.
"""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Self

import orjson


class Trace:
    """Collects `<step>_s` per query until `finish` writes them."""

    def __init__(self, path: Path | None) -> None:
        self._path, self._lock = path, Lock()
        self._steps: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))

    @classmethod
    def off(cls) -> Self:
        return cls(None)

    @contextmanager
    def step(self, query: str, name: str) -> Iterator[None]:
        """The seconds of this block, added to the step's."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.since(started, query, name)

    def since(self, started: float, query: str, name: str) -> None:
        """The seconds since then (`time.perf_counter`), added to the step's."""
        if self._path is not None:
            with self._lock:
                self._steps[query][f"{name}_s"] += time.perf_counter() - started

    def finish(self, query: str) -> None:
        """One line; a second attempt at the query writes a second one."""
        if self._path is None:
            return
        with self._lock:
            steps = {name: round(seconds, 6) for name, seconds in self._steps.pop(query, {}).items()}
            with self._path.open("ab") as file:
                file.write(orjson.dumps({"query": query, **steps}) + b"\n")
