"""How long a city needs for a question beside counting it: real processes, mutual TLS, every signature and every fsync.

Promise: from the coordinator's receipt of the query to the client's last byte with the release cosigned, less the slowest
node's own counting time (from its trace file), the median is at most 150 ms; and the coordinator's steps sum to its total.

8 nodes of 100,000 visits each, 52 weeks x 11 districts. DuckDB reads one row group of that size with one thread. The client is one
channel that stays open, as a bureau's notebook has: the start of a program is not measured. A question comes alone: between two
the city rests, so that what its programs tidy up after an answer is not part of the next. The slot in which contributions leave is
set as an operator sets it: half as long again as what the slowest count of some questions before took from its Ready on, and a
third more where one does not fit all the same (then everything is asked again).

What was prepared. The first question of a shape counts months that nobody asked before. It leaves in the long slot (`slot_ms`, set
by its own count and told in a row), and is not among the timed ones. The timed ones ask the same shape again, as the next
issue of a report does, and leave in the slot of prepared months (`prepared_slot_ms`, set by the questions behind the first). Their
period cuts two months: what it leaves of them is taken from their kept rows each time. Nodes that start again have their months
ready by themselves; the bench waits until it counts as done, as a city would.
"""

import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import kapok
from audit_ledger.party.channel import open_blocking_channel
from audit_ledger.party.home import Home
from coordinator.client.city import City, Plan, Request
from coordinator.client.forecast import BySd
from coordinator.client.settings import Settings
from hospital_node.asked_before import AskedBefore
from protocols.query.sql import parse_sql
from protocols.v1 import link_pb2, link_pb2_grpc
from simulations.bench import machine
from simulations.bench.rows import Row, load
from simulations.bench.slots import set_slot
from simulations.city import build_city, write_duckdb
from simulations.processes import Services
from simulations.town import Town

SQL = (
    "SELECT week, district, COUNT(DISTINCT person_id) FROM visits "
    "WHERE date >= DATE '2024-12-30' AND date < DATE '2025-12-29' GROUP BY week, district"
)
HOSPITALS, VISITS, MANY_VISITS, QUERIES, WARM_UP = 8, 100_000, 1_000_000, 20, 3
GRID_MS = 25
FIRST_SLOT_MS, FIRST_SLOT_OF_MANY_MS = 2_000, 8_000
REST_S = 0.75
SD = Fraction(60)
"""Wide noise, so that one budget pays for all the questions; its width changes no step."""


@dataclass(frozen=True, slots=True)
class Timed:
    """One question: seconds at the client, at the coordinator by step, and of the slowest count."""

    query: str
    client_s: float
    steps: dict[str, float]
    counting_s: float
    counted_s: float
    contributing_s: float

    @property
    def coordinator_s(self) -> float:
        return self.steps["total"]

    @property
    def beside_counting_s(self) -> float:
        return self.client_s - self.counting_s

    @property
    def sum_of_steps(self) -> float:
        return sum(seconds for name, seconds in self.steps.items() if name != "total")


class Overrun(Exception):
    """A node sent zeros, since its count did not come within the slot: the machine was slower than when the slot was chosen."""


def rows(is_quick: bool = False, tell: Callable[[str], None] = lambda _: None) -> list[Row]:
    """The whole, what the client and the coordinator saw of it, and every step's median."""
    return _measured(Size(VISITS, FIRST_SLOT_MS), 5 if is_quick else QUERIES, tell)


def rows_of_many(is_quick: bool = False, tell: Callable[[str], None] = lambda _: None) -> list[Row]:
    """The same with a million visits a node: minutes to build, and counting takes most of a question."""
    return _measured(Size(MANY_VISITS, FIRST_SLOT_OF_MANY_MS), 3 if is_quick else 10, tell)


@dataclass(frozen=True, slots=True)
class Size:
    """How large each node is, and a slot that leaves it time for any count."""

    visits: int
    first_slot_ms: int


def _measured(size: Size, queries: int, tell: Callable[[str], None]) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="kapok-bench-") as folder, _town(Path(folder), size, tell) as town:
        first, *others = ask_many(town, 2 * WARM_UP, tell, 0)
        prepared_ms = _slot_for(others[WARM_UP - 1 :])
        slot_ms = max(_slot_for([first]), prepared_ms)
        while True:
            set_slot(town, slot_ms, tell, prepared_slot_ms=prepared_ms)
            _await_prepared(town, slot_ms, tell)
            spent_before = _processor_seconds(town)
            try:
                timed = ask_many(town, queries, tell)
            except Overrun:
                prepared_ms += math.ceil(prepared_ms / 3)
                if prepared_ms > slot_ms:
                    raise
                continue
            processor_s = (_processor_seconds(town) - spent_before) / (WARM_UP + queries)
            return [
                *_whole(timed, prepared_ms, size.visits),
                _first(slot_ms),
                _processor(processor_s),
                *machine.rows(),
                *_steps(timed),
            ]


@contextmanager
def _town(folder: Path, size: Size, tell: Callable[[str], None]) -> Iterator[Town]:
    tell(f"{HOSPITALS} hospitals of {size.visits:,} visits")
    records = write_duckdb(build_city(20250101, HOSPITALS, size.visits), folder / "records")
    settings = {"grid_ms": GRID_MS, "slot_ms": size.first_slot_ms}
    with Services(folder / "logs") as services:
        town = Town(folder / "city", records, services, tell=lambda english, _: tell(english), node_settings=settings)
        town.found()
        town.approve_programme("Latency", ("visits",), "0.500000000")
        yield town


def _await_prepared(town: Town, slot_ms: int, tell: Callable[[str], None]) -> None:
    """Until the one shape that was asked counts as prepared again, in every node that has just started."""
    settle_s = AskedBefore.settle_s_of(1, slot_ms)
    tell(f"the months that were asked count as prepared after {settle_s} s")
    time.sleep(settle_s + 1)


def _slot_for(timed: Sequence[Timed]) -> int:
    return math.ceil(1500 * max(each.counted_s for each in timed))  # no multiple of the grid, on which a contribution leaves


def _processor_seconds(town: Town) -> float:
    """What all programs of the city have used of the cores so far; 0 where the system does not tell."""
    return sum(service.processor_s for service in town.services.running.values())


def ask_many(town: Town, queries: int, tell: Callable[[str], None], warm_up: int = WARM_UP) -> list[Timed]:
    """`queries` questions one after the other, behind some that warm up keys, tables and channels. Raises Overrun."""
    home = Home(town.bureau)
    settings = Settings.read(home)
    with (
        kapok.connect(town.bureau) as city,
        open_blocking_channel(home, settings.coordinator_address, settings.coordinator_uri) as channel,
    ):
        stub = link_pb2_grpc.DeskStub(channel)
        plan = city.plan(Request(parse_sql(SQL), BySd(SD), programme=town.programme))
        asked = []
        for number in range(warm_up + queries):
            tell(f"question {number + 1} of {warm_up + queries}")
            asked.append(_ask(city, stub, plan))
            time.sleep(REST_S)
    slowest = (partial(slowest_s, town, query) for query, _, _ in asked[warm_up:])
    names = ("counting_s", "counted_s", "contributing_s")
    return [Timed(*each, *map(step, names)) for each, step in zip(asked[warm_up:], slowest, strict=True)]


def _ask(city: City, stub: link_pb2_grpc.DeskStub, plan: Plan) -> tuple[str, float, dict[str, float]]:
    query, envelope = city.sign(plan)
    started = time.perf_counter()
    for progress in stub.Ask(link_pb2.Statement(envelope=envelope)):
        if progress.is_last:
            break
    client_s = time.perf_counter() - started
    if any(each.code == "node.paused" for each in progress.refusals):
        raise Overrun("a count did not come within its slot, and its node has paused")
    if progress.state != "released":
        raise RuntimeError(f"the question ended as {progress.state}: {[each.code for each in progress.refusals]}")
    return query, client_s, json.loads(progress.breakdown)


def slowest_s(town: Town, query: str, step: str) -> float:
    """The slowest node's seconds for this step of the question. Raises Overrun where a node did not count in time."""
    found = []
    for name in town.hospitals:
        lines = (json.loads(line) for line in town.trace(name).read_text().splitlines())
        found.append([line for line in lines if line["query"] == query and "counting_s" in line])
    if not all(found):
        raise Overrun("a count did not come within its slot")
    return max(float(line[step]) for lines in found for line in lines)


def _whole(timed: list[Timed], slot_ms: int, visits: int = VISITS) -> list[Row]:
    size = f"{HOSPITALS} nodes of {visits:,} visits, 52 weeks x 11 districts"
    how = f"{size}, slot {slot_ms} ms on a grid of {GRID_MS} ms; median of {len(timed)}; {load()}"
    beside = _ms(each.beside_counting_s for each in timed)
    apart = max(abs(each.sum_of_steps / each.coordinator_s - 1) for each in timed)
    return [
        Row.measured("a question, less the slowest count", "ms", beside, how, bar="<= 150"),
        Row.measured("a question at the client", "ms", _ms(each.client_s for each in timed), how),
        Row.measured("a question at the coordinator", "ms", _ms(each.coordinator_s for each in timed), how),
        Row.measured(
            *("of that, the slot in which contributions leave", "ms", float(slot_ms)),
            "public, of months that were asked before; 1.5 x the slowest count before, from its Ready on",
        ),
        Row.measured("the slowest count", "ms", _ms(each.counting_s for each in timed), how),
        Row.measured("steps beside their total, largest distance", "%", 100 * apart, how, bar="<= 5"),
    ]


def _first(slot_ms: int) -> Row:
    how = "public; 1.5 x the slowest count of the first question, from its Ready on"
    return Row.measured("the slot of a question of months that were not asked before", "ms", float(slot_ms), how)


def _processor(processor_s: float) -> Row:
    how = f"of all {HOSPITALS} nodes, coordinator and auditor together, a question; over the cores it bounds the time from below"
    return Row.measured("processor time of the city", "ms", 1000 * processor_s, how)


def _steps(timed: list[Timed]) -> list[Row]:
    names = [name for name in timed[0].steps if name != "total"]
    how = f"the coordinator's breakdown; median of {len(timed)}"
    return [Row.measured(f"step {name}", "ms", _ms(each.steps[name] for each in timed), how) for name in names]


def _ms(seconds: Iterator[float]) -> float:
    return 1000 * statistics.median(seconds)
