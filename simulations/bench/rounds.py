"""What a training's rounds cost beside its gradients: real processes, mutual TLS, every signature and every fsync.

Promise: 200 steps of distributed DP-SGD (four segments of 50) of a model of 10,000 weights over 8 hospitals take at most 20 s more
than their gradients would alone, in a plain loop on as many cores as there are. Offers, Readys, openings, receipts and releases of
the segments are in; the auditor's approval, which is a person's, is not. A segment has one Ready and one receipt of each hospital.

Beside it the same model through Flower's own deployment runtime (`flower_runtime`), in the same run: a round there takes at least
50 times as long.

Contributions leave in a slot, which the protocol demands in every round. A training's first round has the slot of a count, the
others that of a step; both are set as an operator sets them, from what the slowest count of a training before took from its member
set on.
"""

import json
import math
import os
import sqlite3
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np

import kapok
from coordinator.client import segments as chain
from coordinator.client.errors import NotGiven
from simulations.bench import machine
from simulations.bench.flower_runtime import rounds_s
from simulations.bench.rows import Row, load
from simulations.bench.slots import set_slot
from simulations.bench.turns import seconds
from simulations.bench.wide_city import HOSPITALS, PATIENTS, SAMPLED, city, training
from simulations.bench.wide_study import FEATURES, WEIGHTS, Wide
from simulations.processes import run
from simulations.town import Town

SEGMENTS, SEGMENT, WARM_UP = 4, 50, 25
PRICE = "0.033"
"""Of a segment: a budget holds the warm-up and two tries."""
FLOWER_ROUNDS = 4
PAUSED = "node.paused"
FIRST_SLOT_MS, LONGEST_SLOT_MS, GRID_MS = 1_500, 1_500, 5
ROOM = 1.5
"""A step's slot over the slowest count before, which must be there at its end."""

FIRST_ROOM = 5
"""A first round's, whose rows are read behind a Ready that may have left a moment before, in a city that has just started."""

LONGER = 1.25
"""The next slot, where one was too short."""


class Overrun(Exception):
    """A hospital's count did not come within its slot: the machine was slower than when the slot was chosen."""


@dataclass(frozen=True, slots=True)
class Slots:
    """Of a training's first round, and of every other."""

    first_ms: int
    step_ms: int

    def longer(self) -> "Slots":
        return Slots(_on_grid(LONGER * self.first_ms), _on_grid(LONGER * self.step_ms))


@dataclass(frozen=True, slots=True)
class Trained:
    """One segment: its rounds, seconds of the coordinator's steps, and what each hospital's trace says of its contributions."""

    query: str
    rounds: int
    steps: dict[str, float]
    traced: tuple[dict[str, float], ...]

    @property
    def own_s(self) -> float:
        """All but the wait for the auditor's approval and for the segment before."""
        return self.steps["total"] - self.steps["approval"] - self.steps["segment_before"]


def rows(is_quick: bool = False, tell: Callable[[str], None] = lambda _: None) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="kapok-bench-") as folder:
        round_s, own = _own(Path(folder), *((1, 10) if is_quick else (SEGMENTS, SEGMENT)), tell)
        return [own[0], _beside_flower(Path(folder), round_s, is_quick, tell), *own[1:], *machine.rows()]


def _own(folder: Path, segments: int, length: int, tell: Callable[[str], None]) -> tuple[float, list[Row]]:
    """Seconds of a round, and the rows."""
    with city(folder, {"grid_ms": GRID_MS, "slot_ms": FIRST_SLOT_MS}, tell) as town:
        slots = slots_for(trained(town, 1, WARM_UP, tell))
        while True:
            set_slot(town, slots.first_ms, tell, training_slot_ms=slots.step_ms)
            before = processor_seconds(town)
            try:
                found = trained(town, segments, length, tell)
                spent = {name: seconds - before[name] for name, seconds in processor_seconds(town).items()}
                return sum(each.own_s for each in found) / (segments * length), figures(found, slots, spent)
            except Overrun:
                slots = slots.longer()
                if slots.first_ms > LONGEST_SLOT_MS:
                    raise


def trained(town: Town, segments: int, length: int, tell: Callable[[str], None]) -> list[Trained]:
    """One training in segments that follow one another, as a researcher's program asks for it."""
    with kapok.connect(town.bureau) as bureau:
        price = str(Decimal(PRICE) * segments)
        ids = chain.sign(bureau, chain.statements_of(bureau, training(), segments * length, price=price, segment=length))
        chain.submit(bureau, ids, is_new=True)
        tell(f"the auditor approves {segments} segments of {length} rounds")
        for query in reversed(ids):  # the first one last: then nothing but the rounds runs
            run("kapok-audit", "approve", query, "--until", town.until, "--home", town.auditor)
        tell("the rounds")
        try:
            ended = chain.outcome(bureau, ids, lambda _: None).stopped
        except NotGiven as no:
            ended = no
    if ended is not None:
        codes = sorted({each.code for each in ended.reasons})
        raise Overrun("hospitals paused") if PAUSED in codes else RuntimeError(f"the training stopped: {', '.join(codes)}")
    return [Trained(query, length, _breakdown(town, query), _traced(town, query, length)) for query in ids]


def _breakdown(town: Town, query: str) -> dict[str, float]:
    with closing(sqlite3.connect(f"file:{town.coordinator / 'register.sqlite'}?mode=ro", uri=True)) as register:
        [(told,)] = register.execute("SELECT breakdown FROM question WHERE query = ?", (bytes.fromhex(query),))
    found: dict[str, float] = json.loads(told)
    return found


def _traced(town: Town, query: str, length: int) -> tuple[dict[str, float], ...]:
    """Raises Overrun where a hospital sent zeros in a round."""
    found = []
    for name in town.hospitals:
        lines = (json.loads(line) for line in town.trace(name).read_text().splitlines())
        own = [line for line in lines if line["query"] == query]
        if len(own) != length or not all("counting_s" in line for line in own):
            raise Overrun(f"{name}: a count did not come within its slot")
        found += [{**line, "round": float(number)} for number, line in enumerate(own, 1)]
    return tuple(found)


def slots_for(found: Sequence[Trained]) -> Slots:
    """A step's from the second half of the rounds: before, programs read what they run for the first time."""
    lines = [line for each in found for line in each.traced]
    half = max(line["round"] for line in lines) / 2
    first, later = ([line["counted_s"] for line in lines if (line["round"] <= half) is is_early] for is_early in (True, False))
    return Slots(_on_grid(1000 * FIRST_ROOM * max(first + later)), _on_grid(1000 * ROOM * max(later)))


def _on_grid(slot_ms: float) -> int:
    return math.ceil(slot_ms / GRID_MS) * GRID_MS


def processor_seconds(town: Town) -> dict[str, float]:
    """What the coordinator, the auditor, all nodes and all studies have used of the cores so far."""
    found = dict.fromkeys(("coordinator", "auditor", "node", "study"), 0.0)
    for name, service in town.services.running.items():
        if service.process is not None:
            found[name.partition("/")[0]] += _used(service.process.pid)
            for child in _children(service.process.pid):
                found["study"] += _used(child)
    return found


def _children(pid: int) -> list[int]:
    """Of any of its threads: a study is started from one."""
    return [int(child) for thread in Path(f"/proc/{pid}/task").iterdir() for child in (thread / "children").read_text().split()]


def _used(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def gradients_s() -> float:
    """A round's gradients alone, in factors: those of all hospitals one after another, as if the cores shared them evenly."""
    study, draw, many = Wide(), np.random.default_rng(1), int(PATIENTS * float(SAMPLED))
    study.prepare(FEATURES)
    study.begin(draw.normal(0, 0.1, WEIGHTS))
    features, outcome = draw.uniform(-1, 1, (many, FEATURES)), np.ones(many)
    turns = [seconds(lambda: study.factors(features, outcome)) for _ in range(20)]
    return statistics.median(turns) * HOSPITALS / (os.cpu_count() or 1)


def _beside_flower(folder: Path, round_s: float, is_quick: bool, tell: Callable[[str], None]) -> Row:
    nodes, rounds = (2 if is_quick else HOSPITALS), (3 if is_quick else FLOWER_ROUNDS)
    tell(f"Flower's deployment runtime, {nodes} nodes")
    took = rounds_s(folder / "flower", nodes, rounds, int(PATIENTS * float(SAMPLED)))
    how = (
        f"{nodes} SuperNodes, {WEIGHTS:,} weights, median of {len(took)} rounds behind the first; ours with all it takes; {load()}"
    )
    return Row.measured(
        "a round of Flower's deployment runtime beside ours", "s", statistics.median(took), how, bar=">= 50", reference=round_s
    )


def figures(found: Sequence[Trained], slots: Slots, spent: dict[str, float]) -> list[Row]:
    rounds, alone = sum(each.rounds for each in found), gradients_s()
    whole = sum(each.own_s for each in found)
    overhead = whole - rounds * alone
    how = (
        f"{HOSPITALS} nodes, {WEIGHTS:,} weights, {rounds} rounds in {len(found)} segments, slot {slots.step_ms} ms "
        f"({slots.first_ms} ms in a segment's first) on a grid of {GRID_MS} ms; gradients alone {1000 * alone:.1f} ms a round; "
        f"{load()}"
    )
    busy = sum(spent.values())
    return [
        Row.measured("200 steps of DP-SGD beside their gradients", "s", overhead * 200 / rounds, how, bar="<= 20"),
        Row.measured("a round, with all it takes", "ms", 1000 * whole / rounds, how),
        Row.measured("a round beside its gradients", "ms", 1000 * overhead / rounds, how),
        Row.measured(
            "of that, the slot in which contributions leave", "ms", float(slots.step_ms), "public; from the slowest before"
        ),
        Row.measured("processors' time of a round, all programs", "ms", 1000 * busy / rounds, how),
        *(Row.measured(f"of that, {name}", "ms", 1000 * each / rounds, how) for name, each in spent.items()),
        *_steps(found, rounds, how),
    ]


def _steps(found: Sequence[Trained], rounds: int, how: str) -> Iterator[Row]:
    for name in found[0].steps:
        if name not in ("total", "approval", "segment_before"):
            took = sum(each.steps[name] for each in found)
            yield Row.measured(f"step: {name}, a round", "ms", 1000 * took / rounds, how)
    lines = [line for each in found for line in each.traced]
    for name in ("counting_s", "counted_s", "gate_s", "masking_s", "journal_s", "contributing_s"):
        times = [1000 * line[name] for line in lines if name in line]
        yield Row.measured(f"hospital: {name[:-2]}, median", "ms", statistics.median(times), how)
        yield Row.measured(f"hospital: {name[:-2]}, slowest", "ms", max(times), how)
