"""Virtual hospitals in Flower's Simulation Engine: each answers a round with the product's own code, but for the wire.

The study is the very ClientApp that a node would run. Around it stands what a node does: who takes part, clip, whole numbers, this
hospital's Skellam share by the product's sampler. The engine sees each answer, since it is a simulation; in a city nobody does.
"""

import importlib
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MessageType, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from coordinator.learning.process import strategy_of
from coordinator.learning.secure_grid import SecureGrid
from hospital_node.factors import Part
from hospital_node.fits.bounded import Floats
from hospital_node.fits.gradients import Asking, Gradients, Round, sums_of_rows
from hospital_node.fits.rows import Rows
from hospital_node.studies.parts import parts
from hospital_node.studies.process import built
from hospital_node.studies.study import Study
from privacy.rdp import share_variance
from privacy.sampler import draw
from privacy.tables import skellam_table
from protocols.contract import colluders
from protocols.fits import Training
from protocols.secagg.ring import Integers
from simulations.learning.table import hospital

Told = Callable[[int, Floats], None]
"""Hears after each round its number and the weights that it led to."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What every virtual hospital is told: the training, the study's entry point, the noise (0: none), the table's seed."""

    spec: str
    target: str
    variance: str
    hospitals: int
    seed: int


def hospital_app() -> ClientApp:
    """Of a whole hospital. It asks the study's own ClientApp, which each process imports by its name."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        return answer(message, context)

    return app


def answer(message: Message, context: Context) -> Message:
    """A round at one hospital: its bounded sum with its share of the noise."""
    setting = Setting(**dict(message.content.config_records["setting"]))  # type: ignore[arg-type]
    spec = Training.model_validate_json(setting.spec)
    rows = hospital(int(context.node_config["partition-id"]), setting.seed)
    weights = message.content.array_records["arrays"]["weights"].numpy()
    asking = Asking(_gradients(study_of(setting.target), spec))
    noisy = sums_of_rows(spec, rows, Round(weights), asking) + _noise(setting, spec)
    return Message(RecordDict({"sums": ArrayRecord({"sums": Array(noisy)})}), reply_to=message)


def study_of(target: str) -> Study:
    """Of an entry point `module:attribute`, as a node's study process reads it."""
    module, _, name = target.partition(":")
    return built(getattr(importlib.import_module(module), name))


def _gradients(study: Study, spec: Training) -> Gradients:
    study.prepare(len(spec.features))

    def found(weights: Floats, rows: Rows) -> Iterator[Part]:
        study.begin(weights)
        ends = np.append(rows.starts, len(rows.scaled))
        return parts(study, spec.weights, rows.scaled[:, :-1], rows.scaled[:, -1], ends)

    return found


def _noise(setting: Setting, spec: Training) -> Integers:
    variance, n = Fraction(setting.variance), setting.hospitals
    if not variance:
        return np.zeros(spec.width, np.int64)
    return draw(skellam_table(share_variance(variance, n, colluders(n))), spec.width)


def server_app(settings: list[tuple[Setting, Told]], rounds: int) -> ServerApp:
    """One training after the other over the same hospitals, each steered by its unmodified Strategy over `SecureGrid`."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        for setting, told in settings:
            _train(grid, setting, rounds, told)

    return app


def _train(grid: Grid, setting: Setting, rounds: int, told: Told) -> None:
    spec = Training.model_validate_json(setting.spec)
    nodes, number = _nodes(grid, setting.hospitals), iter(range(rounds))

    def secure_round(weights: Floats) -> tuple[Floats, float]:
        sent = spec.limited(weights)
        if (finished := next(number)) > 0:
            told(finished, sent)
        total = _summed(grid, nodes, setting, sent)
        return sent - float(spec.step) * spec.gradient(total), spec.many(total)

    members = [f"virtual-{place}" for place in range(len(nodes))]
    start = ArrayRecord({"weights": Array(spec.start())})
    trained = SecureGrid(members, secure_round).train(strategy_of(spec), start, rounds)
    told(rounds, spec.limited(trained["weights"].numpy()))


def _nodes(grid: Grid, wanted: int) -> list[int]:
    """All of them: the engine starts the server before it registers its nodes. Raises RuntimeError where they do not come."""
    for _ in range(600):
        if len(nodes := list(grid.get_node_ids())) == wanted:
            return nodes
        time.sleep(0.1)
    raise RuntimeError(f"expected {wanted} virtual hospitals, got {len(nodes)}")


def _summed(grid: Grid, nodes: list[int], setting: Setting, weights: Floats) -> Floats:
    """The sum that secure aggregation would open. Raises RuntimeError for a hospital that gave none."""
    arrays, told = ArrayRecord({"weights": Array(weights)}), ConfigRecord(asdict(setting))
    messages = [Message(RecordDict({"arrays": arrays, "setting": told}), node, MessageType.TRAIN) for node in nodes]
    replies = list(grid.send_and_receive(messages))
    if any(each.has_error() for each in replies) or len(replies) != len(nodes):
        raise RuntimeError("a virtual hospital gave no answer")
    total: Floats = np.sum([each.content.array_records["sums"]["sums"].numpy() for each in replies], axis=0).astype(np.float64)
    return total
