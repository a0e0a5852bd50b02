"""Nothing left to spend, nowhere to write; a training; the asker."""

from fractions import Fraction

from privacy.filter import decode_charge
from protocols.contract import CONTRACT
from tests.faults.rows.row import PRICE, held, named, restart, row
from tests.faults.support.world import ROUNDS, End, World, until


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


@row("a node's disk has less room than IT asked for", "a question", "released", 4, 1, reasons=("node.disk",))
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
    restart(world, world.node(name), "coordinator")
    assert asking.followed() == end, "a coordinator that was restarted tells the same reasons"
    return end


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
    asking = world.train(3)
    until(asking.finished, "a finished round")
    world.kill("coordinator")
    before = asking.finished()
    world.start("coordinator")
    end = asking.resume()
    after = asking.finished()
    assert after[: len(before)] == before, "no finished round is asked again"
    assert len(before) < len(after) == ROUNDS
    assert sorted(asking.logged("ready")) == sorted(set(asking.logged("ready"))), "nor paid twice"
    assert len(asking.logged("opening")) == 1
    return end


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
