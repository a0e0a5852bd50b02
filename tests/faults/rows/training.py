"""A hospital is killed in a training's later round: before its contribution, and after it."""

from protocols.secagg.binding import Binding
from tests.faults.rows.row import held, named, row
from tests.faults.support.world import HOSPITALS, ROUNDS, Asking, End, World, until

LATER = 3


@row("a training's later round, a node has not contributed", "node killed, started again at once", "released", 4, 0, 0, 1)
def before_its_contribution(world: World) -> End:
    victim = named(world, 0)
    asking = world.train(4)
    round_without(asking, victim, LATER)
    world.kill(victim)
    before = asking.finished()
    world.start(victim)
    end = asking.end()
    require_paid_once(asking, before)
    assert len(members(asking, LATER, 1)) == HOSPITALS, "it was in the round that it died in"
    assert all(uri_of(victim) not in members(asking, each, attempts) for each, _, attempts in asking.finished()[LATER - 1 :])
    return end


@row("a training's later round, a node has contributed, another has not", "node killed", "released", 4, 0, 0, 1)
def after_its_contribution(world: World) -> End:
    victim, slow = named(world, 1), named(world, 3)
    asking = world.train(5)
    round_without(asking, slow, LATER)
    world.kill(victim)
    before = asking.finished()
    world.let_go(slow)
    end = asking.end()
    require_paid_once(asking, before)
    assert (asking.finished()[LATER - 1][2], len(members(asking, LATER, 1))) == (1, HOSPITALS), "what it had sent counts"
    assert all(uri_of(victim) not in members(asking, each, attempts) for each, _, attempts in asking.finished()[LATER:])
    world.start(victim)
    return end


@row("a training's last round, a node has contributed, another has not", "node killed", "released", 5)
def after_its_last_contribution(world: World) -> End:
    victim, slow = named(world, 2), named(world, 4)
    asking = world.train(7)
    round_without(asking, slow, ROUNDS)
    world.kill(victim)
    before = asking.finished()
    world.let_go(slow)
    end = asking.end()
    require_paid_once(asking, before)
    assert len(asking.logged("receipt")) == HOSPITALS, "its receipt came with its vector"
    world.start(victim)
    return end


def round_without(asking: Asking, slow: str, wanted: int) -> None:
    """All but `slow` have contributed to the round of this number; `slow` is held since before it was announced.

    It is held while the round before waits for the auditor: a hospital that was stopped within its count would overrun its slot.
    """
    world = asking.world
    until(lambda: len(asking.finished()) >= wanted - 2, f"{wanted - 2} finished rounds")
    with held(world, "auditor"):
        until(lambda: len(contributed(asking, wanted - 1)) == HOSPITALS, f"all contributions to round {wanted - 1}")
        world.hold(slow)
        assert not announced(asking, wanted), "this test came too late to its round"
    until(lambda: len(contributed(asking, wanted)) == HOSPITALS - 1, f"all contributions but one to round {wanted}")


def announced(asking: Asking, number: int) -> bool:
    sql = "SELECT 1 FROM attempt WHERE query = ? AND round = ?"
    return bool(asking.world.register(sql, bytes.fromhex(asking.id), number))


def contributed(asking: Asking, number: int) -> set[str]:
    """Whose contribution to a round's first attempt the coordinator has."""
    sql = "SELECT uri FROM contribution WHERE query = ? AND round = ? AND attempt = 1"
    return {str(uri) for (uri,) in asking.world.register(sql, bytes.fromhex(asking.id), number)}


def members(asking: Asking, number: object, attempt: object) -> set[str]:
    """Of a round's announced set."""
    sql = "SELECT preimage FROM attempt WHERE query = ? AND round = ? AND attempt = ?"
    [(preimage,)] = asking.world.register(sql, bytes.fromhex(asking.id), number, attempt)
    assert isinstance(preimage, bytes)
    return {each.uri for each in Binding.decode(preimage).members}


def uri_of(service: str) -> str:
    return f"kapok://hospital/{service.removeprefix('node/')}"


def require_paid_once(asking: Asking, before: list[tuple[object, ...]]) -> None:
    """No finished round is asked again, every round ends, and nobody has a second Ready."""
    after = asking.finished()
    assert after[: len(before)] == before
    assert len(after) == ROUNDS
    assert sorted(asking.logged("ready")) == sorted(set(asking.logged("ready")))
    assert len(asking.logged("ready")) == HOSPITALS
    assert len(asking.logged("opening")) == 1
