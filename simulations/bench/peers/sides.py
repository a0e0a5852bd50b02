"""Sides of a comparison as processes that take turns, so that a busy machine disturbs all of them alike."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

# One thread everywhere, as in ours: seconds of a processor and of the clock then say the same.
_ONE_THREAD: Final = {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn used; `peak_mb` is the most memory the process has held so far, its table included."""

    wall_s: float
    processor_s: float
    peak_mb: float
    cells: int


class Side:
    """A running worker."""

    def __init__(self, process: "subprocess.Popen[str]", module: str) -> None:
        self._process, self._module = process, module
        self._read()

    def turn(self) -> Turn:
        if self._process.stdin is None:
            raise AssertionError("a worker was started without its input")
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return Turn(**self._read())

    def _read(self) -> dict[str, Any]:
        line = "" if self._process.stdout is None else self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._module} ended with exit code {self._process.wait()}")
        found: dict[str, Any] = json.loads(line)
        return found


@contextmanager
def started(module: str, data: Path, python: Path = Path(sys.executable)) -> Iterator[Side]:
    """A worker of this package by its name, over its data. Ended with the block."""
    command = [str(python), "-m", f"simulations.bench.peers.{module}", str(data)]
    environment = os.environ | _ONE_THREAD
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Side(process, module)
        finally:
            process.kill()


def in_turns(sides: Mapping[str, Callable[[], Turn]], turns: int, *, is_warm: bool = True) -> dict[str, list[Turn]]:
    """Every side once a turn. Where they have to be warm, a first turn fills caches and is thrown away."""
    rounds = [{name: turn() for name, turn in sides.items()} for _ in range(turns + is_warm)][is_warm:]
    return {name: [each[name] for each in rounds] for name in sides}


def around(quick: Mapping[str, Callable[[], Turn]], slow: Mapping[str, Callable[[], Turn]], turns: int) -> dict[str, list[Turn]]:
    """For sides that take minutes beside such as take seconds: a turn of each slow one, and some of the quick before, between and
    after them, so that all meet the same machine. The quick ones are warmed up; the slow ones hold their table in memory."""
    in_turns(quick, 1, is_warm=False)
    found = in_turns(quick, turns, is_warm=False)
    for name, turn in slow.items():
        found[name] = [turn()]
        for other, more in in_turns(quick, turns, is_warm=False).items():
            found[other] += more
    return found


def ratio(mine: list[Turn], theirs: list[Turn]) -> float:
    """The median over the turns of their processor times; of sides with other numbers of turns, that of their medians."""
    if len(mine) != len(theirs):
        return processor_s(mine) / processor_s(theirs)
    return statistics.median(a.processor_s / b.processor_s for a, b in zip(mine, theirs, strict=True))


def processor_s(turns: list[Turn]) -> float:
    return statistics.median(each.processor_s for each in turns)
