"""What steers a training from round to round: a plain step, or one of Flower's strategies in a process of its own."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol

import numpy as np

from coordinator.errors import StrategyFailed
from coordinator.training import Stepped, next_input
from protocols.fits import Floats, Training
from protocols.fits.training import Strategy
from protocols.secagg.binding import Binding
from protocols.secagg.ring import Integers

PROGRAM = "coordinator.learning.process"


class Steering(Protocol):
    """Asked after each round; `tell` hears a round of before a restart."""

    async def tell(self, vector: Integers) -> None: ...

    async def after(self, numbers: Floats, vector: Integers, binding: Binding) -> Floats:
        """The next round's input, from this one's and its sums; after the last round what is released."""
        ...


class PlainSteps:
    """Each step is a function of its own round: nothing of before a restart is missing."""

    def __init__(self, spec: Stepped) -> None:
        self._spec = spec

    async def tell(self, vector: Integers) -> None:
        return

    async def after(self, numbers: Floats, vector: Integers, binding: Binding) -> Floats:
        return next_input(self._spec, numbers, vector, binding)


class FlowerSteering:
    """Flower's Strategy, unmodified, over `SecureGrid`."""

    def __init__(self, spec: Training, start: Floats, rounds: int, members: Sequence[str]) -> None:
        self._spec = spec
        self._process = subprocess.Popen(
            [sys.executable, "-m", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        steps = rounds - spec.is_evaluated  # the last round is a test
        hello = json.dumps({"spec": spec.to_json(), "members": list(members), "rounds": steps}).encode()
        self._first = hello + b"\n" + start.astype("<f8").tobytes()

    async def tell(self, vector: Integers) -> None:
        """Raises StrategyFailed."""
        await asyncio.to_thread(self._exchange, vector.astype("<i8").tobytes())

    async def after(self, numbers: Floats, vector: Integers, binding: Binding) -> Floats:
        """Raises StrategyFailed."""
        return await asyncio.to_thread(self._exchange, vector.astype("<i8").tobytes())

    def _exchange(self, vector: bytes) -> Floats:
        if self._first:
            self._send(self._first)
            self._first = b""
            self._receive()  # the weights it starts from, which all know
        self._send(vector)
        return self._receive()

    def _send(self, raw: bytes) -> None:
        pipe = self._process.stdin
        assert pipe is not None
        try:
            pipe.write(raw)
            pipe.flush()
        except OSError as error:
            raise StrategyFailed("strategy: its process has ended") from error

    def _receive(self) -> Floats:
        pipe, size = self._process.stdout, 8 * self._spec.weights
        assert pipe is not None
        raw = pipe.read(size)
        if len(raw) != size:
            raise StrategyFailed("strategy: its process has ended")
        return np.frombuffer(raw, "<f8")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what was not read any more
                    pipe.close()


@contextmanager
def steering(spec: Stepped, start: Floats, rounds: int, members: Sequence[str]) -> Iterator[Steering]:
    """Of this training, from these weights. A Strategy's process ends with it."""
    if not isinstance(spec, Training) or spec.strategy is Strategy.SGD:
        yield PlainSteps(spec)
        return
    flower = FlowerSteering(spec, start, rounds, members)
    try:
        yield flower
    finally:
        flower.close()
