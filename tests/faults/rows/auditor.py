"""The auditor's service is away, or a memory is an old copy."""

import shutil
from collections.abc import Callable
from pathlib import Path

from hospital_node.journal import JOURNAL_FILE
from simulations.processes import run
from tests.faults.rows.row import all_but_one_contributed, named, row
from tests.faults.support.world import End, World, until


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
