"""Residents, counted once: the same kills where a zero test stands in the place of a sum.

What a kill must not leave is more than elsewhere: the coordinator's key beside masked vectors, or a second reply of the auditor to
one question. `World.check_everything` looks for the first, every row for the second.
"""

from tests.faults.rows.coordinator import killed_at, shut_after
from tests.faults.rows.row import all_but_one_contributed, held, named, row
from tests.faults.support.residents import RESIDENTS, SD
from tests.faults.support.world import Asking, End, World, until


def asks(world: World) -> Asking:
    return world.ask(RESIDENTS, sd=SD)


def opened_once(asking: Asking, end: End) -> End:
    assert len(asking.logged("opening")) == 1
    return end


@row("residents: a node has the Offer and has not answered", "node killed", "released", 4, 0, 1)
def residents_node_before_ready(world: World) -> End:
    victim = named(world, 2)
    with held(world, victim):
        asking = asks(world)
        asking.await_logged("ready", 4)
        world.kill(victim)
    end = asking.end()
    world.start(victim)
    return opened_once(asking, end)


@row("residents: a node's contribution has arrived, another's has not", "node killed", "released", 5)
def residents_node_after_contribution(world: World) -> End:
    victim, slow = named(world, 1), named(world, 3)
    asking = all_but_one_contributed(world, slow, named(world, 4), asks)
    world.kill(victim)
    world.let_go(slow)
    end = asking.end()
    world.start(victim)
    return opened_once(asking, end)


@row("residents: the query is appended and not cosigned", "coordinator killed", "released", 5)
def residents_coordinator_at_query(world: World) -> End:
    return killed_at(world, "query", asks)


@row("residents: four of five Readys are in the ledger", "coordinator killed", "released", 5)
def residents_coordinator_at_readys(world: World) -> End:
    with held(world, named(world, 0)):
        asking = asks(world)
        asking.await_logged("ready", 4)
        world.kill("coordinator")
    world.start("coordinator")
    return opened_once(asking, asking.resume())


@row("residents: four of five contributions are stored", "coordinator killed", "released", 5)
def residents_coordinator_at_contributions(world: World) -> End:
    slow = named(world, 2)
    asking = all_but_one_contributed(world, slow, named(world, 0), asks)
    world.kill("coordinator")
    world.let_go(slow)
    world.start("coordinator")
    return opened_once(asking, asking.resume())


@row("residents: the opening is appended, the blinded cells have not left the auditor", "coordinator killed", "released", 5)
def residents_coordinator_at_opening(world: World) -> End:
    """It encrypts anew under the key that it kept, and is given the first reply."""
    return killed_at(world, "opening", asks)


@row("residents: the release is appended, the answer is not given", "coordinator killed", "released", 5)
def residents_coordinator_at_release(world: World) -> End:
    return killed_at(world, "release", asks)


@row("residents: all contributions are stored, no cell is blinded", "auditor's service killed, started later", "released", 5)
def residents_auditor_before_opening(world: World) -> End:
    slow = named(world, 1)
    asking = all_but_one_contributed(world, slow, named(world, 2), asks)
    world.kill("auditor")
    world.let_go(slow)
    asking.await_contributions(5)
    until(lambda: world.has_told("coordinator", asking.id[:16], "coordinator.auditor_away"), "the reason in the log")
    assert asking.logged("opening") == []
    world.start("auditor")
    return opened_once(asking, asking.end())


@row(
    "residents: the opening is appended, the blinded cells have not left the auditor",
    "auditor's service killed, started later",
    "released",
    5,
)
def residents_auditor_at_opening(world: World) -> End:
    """Noise and order of its slots are those that it drew before: what the opening commits to is what leaves."""
    asking = shut_after(world, lambda: asks(world), "opening")
    world.kill("auditor")
    world.witness.open()
    world.start("auditor")
    return opened_once(asking, asking.end())
