"""One town of real processes under fault: what a row of the table may do to it, and what must hold after every row.

Points are reached by holding somebody else: a process that is stopped (SIGSTOP) keeps the round where it is while the victim is
killed (SIGKILL), and a shut door before the witness keeps an appended entry from being cosigned. Everything that is waited for is a
fact on a disk: an entry of the log, a row of the register, a line of a log file. Nothing waits for the clock but with a deadline.
"""

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from audit_ledger.before import begun
from audit_ledger.party.home import Home
from audit_ledger.view import LedgerView
from coordinator.client.city import Answer, Request, connect
from coordinator.client.errors import NotGiven
from coordinator.client.forecast import ByPrice, BySd
from hospital_node.journal import JOURNAL_FILE
from privacy.filter import decode_charge
from protocols.query.sql import parse_sql
from protocols.statements import Query, parse
from protocols.union import asks_for_residents
from simulations.city import build_city, write_fhir
from simulations.processes import Service, Services, run
from simulations.town import Ports, Town
from tests.faults.support.held_witness import HeldWitness
from tests.faults.support.residents import with_residents

PATIENCE_S = 90.0
LOOK_S = 0.005
HOSPITALS, PATIENTS, ROUNDS = 5, 300, 4
TIMING = {"ready_s": 10.0, "straggler_s": 0.5, "contribution_s": 30.0, "vanished_s": 1.5, "return_s": 20.0}
JANUARY = "date >= DATE '2025-01-01' AND date < DATE '2025-02-01'"
QUESTION = f"SELECT district, COUNT(DISTINCT person_id) FROM visits WHERE {JANUARY} GROUP BY district"
CHEAP_SD = Fraction(60)


@dataclass(frozen=True, slots=True)
class End:
    """How a question ended: state, codes of the reasons (of a released table: why hospitals are absent), and who answered."""

    state: str
    reasons: frozenset[str] = frozenset()
    answered: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    away: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


@dataclass(slots=True)
class Asking:
    """A question on its way. `end` waits for it."""

    world: "World"
    id: str
    _future: "Future[End]"
    is_training: bool = False

    def end(self) -> End:
        return self._future.result(PATIENCE_S)

    def resume(self) -> End:
        """By its id, as `kapok resume` does, whatever became of the first connection."""
        with contextlib.suppress(Exception):
            self._future.result(PATIENCE_S)
        return self.followed()

    def followed(self) -> End:
        """To its end, on a connection of its own."""
        if self.is_training:
            return _end(lambda: run("kapok", "resume", self.id, "--home", self.world.town.bureau, "--json"), self.world, self.id)
        with connect(self.world.town.bureau) as city:
            return _end(lambda: city.resume(self.id), self.world, self.id)

    def cancel(self) -> None:
        with connect(self.world.town.bureau) as city:
            city.cancel(self.id)

    def logged(self, kind: str) -> list[str]:
        """Who stated an entry of that kind about this question, in the log as it is on the disk now."""
        return [by for entry_kind, query, by in self.world.log_entries() if (entry_kind, query) == (kind, self.id)]

    def await_logged(self, kind: str, count: int = 1) -> None:
        until(lambda: len(self.logged(kind)) >= count, f"{count} entries of kind {kind}, got {self.logged(kind)}")

    def await_contributions(self, count: int) -> None:
        until(lambda: self.contributions() >= count, f"{count} contributions in the register")

    def contributions(self) -> int:
        """Of the last announced attempt."""
        sql = (
            "SELECT count(*) FROM contribution AS c WHERE c.query = ?1 AND c.attempt = (SELECT max(attempt) FROM attempt "
            "WHERE query = ?1)"
        )
        return int(str(self.world.register(sql, bytes.fromhex(self.id))[0][0]))

    def finished(self) -> list[tuple[object, ...]]:
        """A training's rounds that are over, each with its vector and the number of its attempts."""
        sql = (
            "SELECT round, vector, (SELECT count(*) FROM attempt AS a WHERE a.query = f.query AND a.round = f.round) "
            "FROM finished_round AS f WHERE query = ? ORDER BY round"
        )
        return self.world.register(sql, bytes.fromhex(self.id))

    def attempts(self) -> int:
        return len(self.world.register("SELECT 1 FROM attempt WHERE query = ?", bytes.fromhex(self.id)))


@dataclass(slots=True)
class World:
    """See the module's docstring."""

    town: Town
    services: Services
    witness: HeldWitness
    _asking: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4, "asking"))
    _parsed: list[tuple[str, str, str]] = field(default_factory=list)
    _parsing: threading.Lock = field(default_factory=threading.Lock)

    # -- asking

    def ask(self, sql: str = QUESTION, price: str | None = None, sd: Fraction = CHEAP_SD) -> Asking:
        """Sends a question and does not wait."""
        noise = ByPrice(Fraction(price)) if price else BySd(sd)
        city = connect(self.town.bureau)
        id_, envelope = city.sign(city.plan(Request(parse_sql(sql), noise, self.town.programme)))

        def follow() -> End:
            with city:
                return _end(lambda: city.send(id_, envelope), self, id_)

        return Asking(self, id_, self._asking.submit(follow))

    def train(self, month: int) -> Asking:
        """A fit over one month of 2025, approved by the auditor; does not wait for its rounds."""
        fit = {"version": 1, "fit": "logistic", "table": "visits", "outcome": "IMP", "features": ["age", "male"]}
        path = self.town.root / "fit.json"
        path.write_text(json.dumps({**fit, "period": {"from": f"2025-{month:02}-01", "to": f"2025-{month + 1:02}-01"}}))
        asked = run("kapok", "train", path, "--home", self.town.bureau, "--rounds", ROUNDS, "--sd", 60, "--detach", "--json")
        id_ = str(json.loads(asked)["query"])
        run("kapok-audit", "approve", id_, "--home", self.town.auditor, "--until", self.town.until)

        asking = Asking(self, id_, Future(), is_training=True)
        asking._future = self._asking.submit(asking.followed)
        return asking

    # -- doing

    def service(self, name: str) -> Service:
        return self.services.running[name]

    def node(self, name: str) -> str:
        """The service of a hospital."""
        return f"node/{name}"

    def hold(self, service: str) -> None:
        self._signal(service, signal.SIGSTOP)

    def let_go(self, service: str) -> None:
        self._signal(service, signal.SIGCONT)

    def _signal(self, service: str, number: int) -> None:
        process = self.service(service).process
        assert process is not None, service
        os.kill(process.pid, number)

    def kill(self, service: str) -> None:
        """`kill -9`, also of a process that is held."""
        self.service(service).kill()

    def start(self, *services: str) -> None:
        """Starts and waits until they are ready: a node when it is connected again, a coordinator when its hospitals are."""
        for name in services:
            self.service(name).launch()
        for name in services:
            if not name.startswith("node/"):
                self.service(name).await_ready()
        if "coordinator" in services:
            self._await_connected(8.0)
            # A hospital deep in its back-off is restarted by its IT, as it would be.
            for name in self.missing():
                self.kill(self.node(name))
                self.service(self.node(name)).launch()
        self._await_connected(PATIENCE_S)

    def _await_connected(self, patience_s: float) -> None:
        deadline = time.monotonic() + patience_s
        while self.missing() and time.monotonic() < deadline:
            time.sleep(0.1)

    def missing(self) -> list[str]:
        """Hospitals whose program should run, but which are not connected."""
        with connect(self.town.bureau) as city:
            connected = {each.name for each in city.catalog().hospitals if each.connected}
        return [name for name in self.town.hospitals if name not in connected and self.service(self.node(name)).is_running()]

    def set_config(self, name: str, key: str, value: object) -> None:
        path = self.town.node(name) / "config.toml"
        kept = [line for line in path.read_text().splitlines() if line.split("=")[0].strip() != key]
        path.write_text("\n".join([*kept, f"{key} = {json.dumps(value)}", ""]))

    def snapshot(self, files: Iterator[Path], to: Path) -> None:
        shutil.rmtree(to, ignore_errors=True)
        to.mkdir(parents=True)
        for each in files:
            shutil.copy2(each, to)

    # -- looking

    def register(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        return _read(self.town.coordinator / "register.sqlite", sql, *values)

    def journal(self, name: str, sql: str, *values: object) -> list[tuple[object, ...]]:
        return _read(self.town.node(name) / JOURNAL_FILE, sql, *values)

    def log_entries(self) -> list[tuple[str, str, str]]:
        """Kind, query and author of every entry, read from the log's own database, cosigned or not."""
        sql = "SELECT bytes FROM entry WHERE position >= ? ORDER BY position"
        with self._parsing:
            for (raw,) in _read(self.town.coordinator / "log.sqlite", sql, len(self._parsed)):
                signed = parse(bytes(raw))  # type: ignore[call-overload]
                query = signed.hex_id if isinstance(signed.statement, Query) else str(getattr(signed.statement, "query", ""))
                self._parsed.append((signed.statement.kind, query, signed.statement.by))
            return list(self._parsed)

    def begin_next_log(self) -> None:
        """What is looked at from here on is the next period's log."""
        self._parsed.clear()

    def view(self) -> LedgerView:
        view = begun(Home(self.town.coordinator)).view
        for (raw,) in _read(self.town.coordinator / "log.sqlite", "SELECT bytes FROM entry ORDER BY position"):
            view.apply(bytes(raw))  # type: ignore[call-overload]
        return view

    def has_told(self, service: str, *words: str) -> bool:
        """Whether some line of the program's log has all these words."""
        lines = self.service(service).log.read_text(errors="replace").splitlines()
        return any(all(word in line for word in words) for line in lines)

    def spent(self, name: str) -> dict[tuple[str, str], Fraction]:
        """A node's own totals."""
        rows = self.journal(name, "SELECT purpose, block, single FROM spent")
        return {(str(purpose), str(block)): decode_charge(str(total)) for purpose, block, total in rows}

    # -- what must hold after every row

    def check_everything(self) -> None:
        """The ledger verifies; nobody paid twice or less; no question is open; no masked vector is left at a hospital."""
        open_states = "('submitted', 'logged', 'approved', 'running')"
        assert self.register(f"SELECT hex(query) FROM question WHERE state IN {open_states}") == []
        run("kapok-audit", "verify", self.town.ledger, "--trust", self.town.trust)
        until(lambda: not self._differing(), f"equal totals in journals and ledger, got {self._differing()}")
        until(lambda: not self._vectors(), f"no masked vector at a node, got {self._vectors()}")
        # With the auditor's seeds they would show which buckets are filled.
        assert self.register("SELECT 1 FROM counting") == [], "no key of a count of residents is kept"
        for (query,) in self.register("SELECT DISTINCT query FROM contribution"):
            assert bytes(query).hex() not in self._of_residents(), "no masked vector of residents is kept"  # type: ignore[call-overload]

    def _differing(self) -> Mapping[str, object]:
        accounts = self.view().accounts
        stated = {name: accounts.get(f"kapok://hospital/{name}") for name in self.town.hospitals}
        ledger = {
            name: {key: Fraction(total) for key, total in each.totals.items()} if each else {} for name, each in stated.items()
        }
        return {name: (self.spent(name), ledger[name]) for name in ledger if self.spent(name) != ledger[name]}

    def _vectors(self) -> list[str]:
        return [name for name in self.town.hospitals if self.journal(name, "SELECT 1 FROM contribution LIMIT 1")]

    def _of_residents(self) -> set[str]:
        return {id_ for id_, facts in self.view().questions.items() if asks_for_residents(facts.query.spec)}

    def close(self) -> None:
        for each in self.services.running.values():
            if each.is_running():
                self._signal(each.name, signal.SIGCONT)
        self._asking.shutdown(wait=False, cancel_futures=True)
        self.services.end()
        self.witness.close()


def until(is_so: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + patience_s
    while not is_so():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience_s:.0f} s: {what}")
        time.sleep(LOOK_S)


def _read(path: Path, sql: str, *values: object) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as database:
        return database.execute(sql, values).fetchall()


def _end(act: Callable[[], object], world: World, id_: str) -> End:
    state, reasons = "released", frozenset[str]()
    try:
        given = act()
        if isinstance(given, Answer):
            reasons = frozenset(each.code for each in given.verified.reasons)
    except NotGiven as no:
        state, reasons = no.text_id.removeprefix("ended."), frozenset(str(each.code) for each in no.reasons)
    facts = world.view().questions.get(id_)
    if facts is None or facts.release is None:
        return End(state, reasons)  # refused before it was logged
    told = facts.release[1]
    assert told.status == state
    names = {
        each: tuple(uri.rpartition("/")[2] for uri in getattr(told, each)) for each in ("answered", "refused", "away", "left_out")
    }
    return End(state, reasons, **names)


def found(root: Path, hospitals: int = HOSPITALS) -> World:
    """A founded town of small hospitals, with a door before the witness, and an approved programme."""
    source = write_fhir(build_city(1, hospitals, PATIENTS), root / "fhir")
    services, real = Services(root / "logs"), Ports.free()
    spare = Ports.free().witness
    town = Town(root / "city", source, services, ports=real, node_settings={"grid_ms": 25, "slot_ms": 400})
    witness = HeldWitness(spare, real.witness)
    world = World(town, services, witness)
    try:
        town.found()
        with_residents(town)
        town.programme = town.approve_programme("Respiratory", ("visits", "diagnoses"), "0.9")
        behind_the_door(world)
    except BaseException:
        world.close()
        raise
    return world


def behind_the_door(world: World) -> None:
    """From here on the coordinator's witness is the door, and its deadlines are short."""
    path = world.town.coordinator / "config.toml"
    text = path.read_text().replace(f"http://127.0.0.1:{world.town.ports.witness}", f"http://127.0.0.1:{world.witness.port}")
    lines = [f"{name} = {TIMING[name]}" if (name := line.split("=")[0].strip()) in TIMING else line for line in text.splitlines()]
    path.write_text("\n".join([*lines, ""]))
    world.kill("coordinator")
    world.start("coordinator")
