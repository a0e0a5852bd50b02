"""The process of a Strategy: told a training and its members, it names the weights of each round and is told that round's sums.

It spends nothing and sees nothing that is not public: every number it reads was released. A restarted coordinator tells the
finished rounds again, and the Strategy is where it was.
"""

import json
import os
import sys
from typing import IO, Any

import numpy as np
from flwr.app import Array, ArrayRecord
from flwr.serverapp.strategy import FedAvg

from coordinator.learning.secure_grid import AVERAGING, Floats, SecureGrid, flat
from protocols.fits import Training, read


def serve(source: IO[bytes], out: IO[bytes]) -> None:
    """One training, from its first round's weights to its last one's."""
    hello = json.loads(source.readline())
    spec = training_of(hello["spec"])
    start = np.frombuffer(source.read(8 * spec.weights), "<f8")

    def secure_round(weights: Floats) -> tuple[Floats, float]:
        sent = spec.limited(weights)
        _tell(out, sent)
        vector = np.frombuffer(source.read(8 * spec.width), "<i8").astype(np.float64)
        if len(vector) != spec.width:
            raise EOFError("the pipe ended within a training")
        return sent - float(spec.step) * spec.gradient(vector), spec.many(vector)

    strategy = strategy_of(spec)
    grid = SecureGrid(hello["members"], secure_round)
    _tell(out, spec.limited(flat(grid.train(strategy, ArrayRecord({"weights": Array(start)}), hello["rounds"]))))


def training_of(spec: dict[str, Any]) -> Training:
    fit = read(spec)
    assert isinstance(fit, Training)
    return fit


def _tell(out: IO[bytes], weights: Floats) -> None:
    out.write(weights.astype("<f8").tobytes())
    out.flush()


def strategy_of(spec: Training) -> FedAvg:
    options: dict[str, Any] = {name: float(value) for name, value in spec.options}
    return AVERAGING[spec.strategy](**options)


def main() -> None:
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    serve(sys.stdin.buffer, out)


if __name__ == "__main__":
    main()
