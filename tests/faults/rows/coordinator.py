"""The coordinator is killed and restarted; the question goes on by its id."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from simulations.processes import run
from tests.faults.rows.row import all_but_one_contributed, held, named, row
from tests.faults.support.world import Asking, End, World, until


def shut_after(world: World, asking: Callable[[], Asking], kind: str) -> Asking:
    """A question whose entry of this kind is appended, and is not cosigned."""
    before = len(world.log_entries())
    world.witness.shut_when(lambda: any(each[0] == kind for each in world.log_entries()[before:]))
    asked = asking()
    asked.await_logged(kind)
    until(world.witness.waiting.is_set, "a checkpoint before the shut door")
    return asked


def killed_at(world: World, kind: str, asks: Callable[[World], Asking] = World.ask) -> End:
    asking = shut_after(world, lambda: asks(world), kind)
    world.kill("coordinator")
    world.witness.open()
    world.start("coordinator")
    end = asking.resume()
    assert len(asking.logged("opening")) == 1
    return end


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


@row("the release is appended, the answer is not given", "coordinator killed, the opener on hold; let go on later", "released", 5)
def coordinator_at_release_on_hold(world: World) -> End:
    asking, auditor = shut_after(world, world.ask, "release"), world.town.auditor
    hold = partial(run, "kapok-audit", "hold", "--home", auditor, "--reason", "inspection")
    with ThreadPoolExecutor(1) as pool:
        told = pool.submit(hold, "--on", expect=range(256))  # it loses its coordinator while it waits for a cosignature
        until(lambda: any(each[0] == "hold" for each in world.log_entries()), "the hold behind the release")
        world.kill("coordinator")
        told.result()
    world.witness.open()
    world.start("coordinator")
    try:
        until(lambda: world.has_told("coordinator", "question waits", asking.id[:16]), "a question that waits")
    finally:
        hold("--off")
    return asking.resume()
