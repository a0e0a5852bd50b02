"""A hospital is killed, or its count takes too long."""

from simulations.processes import run
from tests.faults.rows.row import all_but_one_contributed, held, named, row
from tests.faults.support.world import End, World


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


@row("two of five nodes are away", "nodes killed before the question", "failed", 0, 0, 2, 3, reasons=("round.too_few",))
def too_few(world: World) -> End:
    gone = (named(world, 3), named(world, 4))
    for each in gone:
        world.kill(each)
    end = world.ask().end()
    world.start(*gone)
    return end


@row(
    "a node's Ready is in the ledger, the member set is not out",
    "node paused by its IT",
    "released",
    4,
    0,
    0,
    1,
    reasons=("node.paused",),
)
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
