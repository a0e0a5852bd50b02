"""The fault table: at which point what happens, how the question ends, and with which reasons. One row, one function.

The town has five hospitals and a floor of four. A row brings it to its point, lets the fault happen, and mends it again, so that
the next row finds the town whole. The rows' order is the order in which they run.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from hospital_node.journal import JOURNAL_FILE
from privacy.filter import decode_charge
from protocols.contract import CONTRACT
from simulations.processes import run
from tests.faults.support.world import ROUNDS, Asking, End, World, until

Act = Callable[[World], End]
PRICE = "0.25"


@dataclass(frozen=True, slots=True)
class Row:
    """`coverage` counts hospitals: answered, refused, away, left out."""

    point: str
    fault: str
    state: str
    coverage: tuple[int, int, int, int]
    act: Act
    reasons: frozenset[str] = frozenset()


TABLE: list[Row] = []


def row(point: str, fault: str, state: str, *coverage: int, reasons: tuple[str, ...] = ()) -> Callable[[Act], Act]:
    def add(act: Act) -> Act:
        counts = (*coverage, 0, 0, 0, 0)[:4]
        TABLE.append(Row(point, fault, state, (counts[0], counts[1], counts[2], counts[3]), act, frozenset(reasons)))
        return act

    return add


def named(world: World, place: int) -> str:
    """The service of one hospital."""
    return world.node(sorted(world.town.hospitals)[place])


@contextmanager
def held(world: World, *services: str) -> Iterator[None]:
    for each in services:
        world.hold(each)
    try:
        yield
    finally:
        for each in services:
            if world.service(each).is_running():
                world.let_go(each)


def restart(world: World, *services: str) -> None:
    for each in services:
        world.kill(each)
    world.start(*services)


# -- a hospital is killed ----------------------------------------------------------------------------------------------


@row("a node has the Offer and has not answered", "node killed", "released", 4, 0, 1)
def before_ready(world: World) -> End:
    victim = named(world, 0)
    with held(world, victim):
        asking = world.ask()
        asking.await_logged("ready", 4)
        world.kill(victim)
    end = asking.end()
    world.start(victim)
    return end


@row("a node's Ready is in the ledger, the member set is not out", "node killed", "released", 4, 0, 0, 1)
def after_ready(world: World) -> End:
    victim, slow = named(world, 1), named(world, 2)
    with held(world, slow):
        asking = world.ask()
        asking.await_logged("ready", 4)
        world.kill(victim)
    end = asking.end()
    assert asking.attempts() <= 2
    world.start(victim)
    return end


@row("a node's contribution has arrived, another's has not", "node killed", "released", 5)
def after_contribution(world: World) -> End:
    victim, slow, last = named(world, 0), named(world, 2), named(world, 3)
    asking = all_but_one_contributed(world, slow, last)
    world.kill(victim)
    world.let_go(slow)
    end = asking.end()
    world.start(victim)
    return end


def all_but_one_contributed(world: World, slow: str, last: str) -> Asking:
    """A question with four of five contributions in the register; the fifth hospital, `slow`, is held after its Ready."""
    world.hold(last)
    asking = world.ask()
    until(lambda: f"kapok://hospital/{slow.removeprefix('node/')}" in asking.logged("ready"), "the slow one's Ready")
    world.hold(slow)
    world.let_go(last)
    asking.await_contributions(4)
    return asking


@row("two of five nodes are away", "nodes killed before the question", "failed", 0, 0, 2, 3, reasons=("round.too_few",))
def too_few(world: World) -> End:
    gone = (named(world, 3), named(world, 4))
    for each in gone:
        world.kill(each)
    end = world.ask().end()
    world.start(*gone)
    return end


@row("a node's Ready is in the ledger, the member set is not out", "node paused by its IT", "released", 4, 0, 0, 1)
def paused(world: World) -> End:
    victim, slow = named(world, 4), named(world, 2)
    home = world.town.node(victim.removeprefix("node/"))
    with held(world, slow):
        asking = world.ask()
        asking.await_logged("ready", 4)
        run("kapok-node", "pause", "--home", home)
    end = asking.end()
    assert asking.attempts() == 2
    run("kapok-node", "resume", "--home", home)
    return end


# -- the coordinator is killed and restarted; the question goes on by its id -------------------------------------------


def shut_after(world: World, asking: Callable[[], Asking], kind: str) -> Asking:
    """A question whose entry of this kind is appended, and is not cosigned."""
    before = len(world.log_entries())
    world.witness.shut_when(lambda: any(each[0] == kind for each in world.log_entries()[before:]))
    asked = asking()
    asked.await_logged(kind)
    until(world.witness.waiting.is_set, "a checkpoint before the shut door")
    return asked


def killed_at(world: World, kind: str) -> End:
    asking = shut_after(world, world.ask, kind)
    world.kill("coordinator")
    world.witness.open()
    world.start("coordinator")
    return asking.resume()


@row("the query is appended and not cosigned", "coordinator killed", "released", 5)
def coordinator_at_query(world: World) -> End:
    return killed_at(world, "query")


@row("four of five Readys are in the ledger", "coordinator killed", "released", 5)
def coordinator_at_readys(world: World) -> End:
    slow = named(world, 3)
    with held(world, slow):
        asking = world.ask()
        asking.await_logged("ready", 4)
        world.kill("coordinator")
    world.start("coordinator")
    return asking.resume()


@row("a Ready is charged and sent, and not in the ledger", "coordinator killed", "released", 5)
def coordinator_loses_a_ready(world: World) -> End:
    slow = named(world, 1)
    name = slow.removeprefix("node/")
    with held(world, slow):
        asking = world.ask()
        asking.await_logged("ready", 4)
        world.hold("coordinator")
    until(lambda: world.journal(name, "SELECT 1 FROM ready WHERE query = ?", asking.id), "the charge")
    world.kill("coordinator")
    world.start("coordinator")
    return asking.resume()


@row("four of five contributions are stored", "coordinator killed", "released", 5)
def coordinator_at_contributions(world: World) -> End:
    slow = named(world, 0)
    asking = all_but_one_contributed(world, slow, named(world, 4))
    world.kill("coordinator")
    world.let_go(slow)
    world.start("coordinator")
    return asking.resume()


@row("the opening is appended, the sum has not left the auditor", "coordinator killed", "released", 5)
def coordinator_at_opening(world: World) -> End:
    return killed_at(world, "opening")


@row("the release is appended, the answer is not given", "coordinator killed", "released", 5)
def coordinator_at_release(world: World) -> End:
    return killed_at(world, "release")


# -- the auditor's service ---------------------------------------------------------------------------------------------


@row("the query is not cosigned", "auditor's service killed, started later", "released", 5)
def auditor_before_cosigning(world: World) -> End:
    world.kill("auditor")
    asking = world.ask()
    asking.await_logged("query")
    until(lambda: world.has_told("coordinator", "not cosigned", "ledger.witness_unreachable"), "the reason in the log")
    assert asking.logged("ready") == []
    world.start("auditor")
    return asking.end()


@row("all contributions are stored, the sum is not opened", "auditor's service killed, started later", "released", 5)
def auditor_before_opening(world: World) -> End:
    slow = named(world, 1)
    asking = all_but_one_contributed(world, slow, named(world, 2))
    world.kill("auditor")
    world.let_go(slow)
    asking.await_contributions(5)
    until(lambda: world.has_told("coordinator", asking.id[:16], "coordinator.auditor_away"), "the reason in the log")
    assert asking.logged("opening") == []
    world.start("auditor")
    end = asking.end()
    assert asking.attempts() == 1
    return end


# -- old copies --------------------------------------------------------------------------------------------------------


@row("the witness's database is an old copy", "restored, then mended", "released", 5)
def witness_restored(world: World) -> End:
    home, old, new = world.town.auditor, world.town.root / "witness-old", world.town.root / "witness-new"
    stopped(world, "auditor", lambda: copied(home, "witness.sqlite", old))
    assert world.ask().end().state == "released"
    stopped(world, "auditor", lambda: replaced(home, "witness.sqlite", new, old))
    asking = world.ask()
    until(lambda: world.has_told("coordinator", "not cosigned", "ledger.witness_behind"), "the reason in the log")
    assert asking.logged("ready") == []
    assert asking.logged("release") == []
    stopped(world, "auditor", lambda: put_back(home, "witness.sqlite", new))
    return asking.end()


@row(
    "a node's journal is an old copy",
    "restored: it refuses (`node.behind_ledger`); then `kapok-node resume --after-restore`",
    "released",
    5,
)
def node_restored(world: World) -> End:
    name = sorted(world.town.hospitals)[2]
    home, old = world.town.node(name), world.town.root / "journal-old"
    stopped(world, world.node(name), lambda: copied(home, JOURNAL_FILE, old))
    assert world.ask().end().state == "released"
    stopped(world, world.node(name), lambda: put_back(home, JOURNAL_FILE, old))
    asking = world.ask()
    end = asking.end()
    ((reasons,),) = world.journal(name, "SELECT reasons FROM question WHERE query = ?", asking.id)
    assert set(str(reasons).split()) == {"node.behind_ledger"}
    assert (end.state, end.refused, len(end.answered)) == ("released", (name,), 4)
    run("kapok-node", "resume", "--after-restore", "--home", home)
    return world.ask().end()


def stopped(world: World, service: str, act: Callable[[], object]) -> None:
    world.kill(service)
    act()
    world.start(service)


def copied(home: Path, name: str, to: Path) -> None:
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir()
    for each in home.glob(f"{name}*"):
        shutil.copy2(each, to)


def replaced(home: Path, name: str, kept: Path, by: Path) -> None:
    copied(home, name, kept)
    put_back(home, name, by)


def put_back(home: Path, name: str, old: Path) -> None:
    for each in home.glob(f"{name}*"):
        each.unlink()
    for each in old.iterdir():
        shutil.copy2(each, home)


# -- nothing left to spend, nowhere to write ---------------------------------------------------------------------------


@row("a month's budget is spent", "one question more", "refused", reasons=("budget.exhausted",))
def budget_exhausted(world: World) -> End:
    month = "date >= DATE '2025-06-01' AND date < DATE '2025-07-01'"
    sql = f"SELECT district, COUNT(DISTINCT person_id) FROM visits WHERE {month} GROUP BY district"
    first = world.ask(sql, PRICE)
    assert first.end().state == "released"
    facts = world.view().questions[first.id]
    paid = decode_charge(next(iter(facts.readys.values())).statement.charge.price)
    allowed = int(CONTRACT.limit("surveillance") / paid)
    for _ in range(allowed - 1):
        assert world.ask(sql, PRICE).end().state == "released"
    end = world.ask(sql, PRICE).end()
    for name in world.town.hospitals:
        assert world.spent(name)[("surveillance", "2025-06")] == allowed * paid <= Fraction(CONTRACT.limit("surveillance"))
    return end


@row("a node's disk has less room than IT asked for", "a question", "released", 4, 1)
def disk_full(world: World) -> End:
    name = sorted(world.town.hospitals)[3]
    world.set_config(name, "min_free_mb", 1_000_000_000)
    restart(world, world.node(name))
    before = world.spent(name)
    asking = world.ask()
    end = asking.end()
    assert world.spent(name) == before
    ((reasons,),) = world.journal(name, "SELECT reasons FROM question WHERE query = ?", asking.id)
    assert set(str(reasons).split()) == {"node.disk"}
    world.set_config(name, "min_free_mb", 1)
    restart(world, world.node(name))
    return end


# -- a training --------------------------------------------------------------------------------------------------------


@row("a training's first round is over", "node killed", "released", 4, 0, 0, 1)
def node_within_a_segment(world: World) -> End:
    victim = named(world, 0)
    asking = world.train(2)
    until(asking.finished, "a finished round")
    world.kill(victim)
    before = asking.finished()
    end = asking.end()
    after = asking.finished()
    assert after[: len(before)] == before
    assert len(before) < len(after) == ROUNDS
    world.start(victim)
    return end


@row("a training's first round is over", "coordinator killed", "released", 5)
def coordinator_between_rounds(world: World) -> End:
    slow = named(world, 1)
    asking = world.train(3)
    until(asking.finished, "a finished round")
    world.hold(slow)
    world.kill("coordinator")
    before = asking.finished()
    world.let_go(slow)
    world.start("coordinator")
    end = asking.resume()
    after = asking.finished()
    assert after[: len(before)] == before, "no finished round is asked again"
    assert len(before) < len(after) == ROUNDS
    assert sorted(asking.logged("ready")) == sorted(set(asking.logged("ready"))), "nor paid twice"
    assert len(asking.logged("opening")) == 1
    return end


# -- the asker ---------------------------------------------------------------------------------------------------------


@row("four of five Readys are in the ledger", "the asker cancels", "cancelled", 0, 0, 1, 4)
def cancelled(world: World) -> End:
    slow = named(world, 4)
    with held(world, slow):
        asking = world.ask()
        asking.await_logged("ready", 4)
        asking.cancel()
        end = asking.end()
        world.kill(slow)
    world.start(slow)
    return end


@row("two questions run at once", "their Readys overtake each other", "released", 5)
def two_at_once(world: World) -> End:
    one, other = world.ask(), world.ask()
    assert one.end().answered == other.end().answered
    return other.end()
