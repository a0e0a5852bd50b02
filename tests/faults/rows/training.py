"""A hospital is killed in a training's later round: before its contribution, and after it."""

from protocols.secagg.binding import Binding
from tests.faults.rows.row import held, named, row
from tests.faults.support.world import HOSPITALS, ROUNDS, Asking, End, World, until


@row("a training's later round, a node has not contributed", "node killed, started again at once", "released", 4, 0, 0, 1)
def before_its_contribution(world: World) -> End:
    victim = named(world, 0)
    asking = world.train(4)
    with held(world, victim):
        number = later_round_without(asking, victim)
        world.kill(victim)
    before = asking.finished()
    world.start(victim)
    end = asking.end()
    require_paid_once(asking, before)
    assert len(members(asking, number, 1)) == HOSPITALS, "it was in the round that it died in"
    assert all(uri_of(victim) not in members(asking, each, 2 if each == number else 1) for each in range(number, ROUNDS + 1))
    return end


@row("a training's later round, a node has contributed, another has not", "node killed", "released", 4, 0, 0, 1)
def after_its_contribution(world: World) -> End:
    victim, slow = named(world, 1), named(world, 3)
    asking = world.train(5)
    with held(world, slow):
        number = later_round_without(asking, slow)
        world.kill(victim)
    before = asking.finished()
    end = asking.end()
    require_paid_once(asking, before)
    assert (asking.finished()[number - 1][2], len(members(asking, number, 1))) == (1, HOSPITALS), "what it had sent counts"
    assert all(uri_of(victim) not in members(asking, each, attempts) for each, _, attempts in asking.finished()[number:])
    world.start(victim)
    return end


@row("a training's last round, a node has contributed, another has not", "node killed", "released", 5)
def after_its_last_contribution(world: World) -> End:
    victim, slow = named(world, 2), named(world, 4)
    asking = world.train(7)
    with held(world, slow):
        later_round_without(asking, slow, ROUNDS)
        world.kill(victim)
    before = asking.finished()
    end = asking.end()
    require_paid_once(asking, before)
    assert len(asking.logged("receipt")) == HOSPITALS, "its receipt came with its vector"
    world.start(victim)
    return end


def later_round_without(asking: Asking, slow: str, wanted: int = 0) -> int:
    """The number of a round behind the first (or the wanted one) that all but `slow` have contributed to; `slow` is held."""
    for first in [wanted] if wanted else range(2, ROUNDS + 1):
        await_finished(asking, first - 1)
        asking.world.hold(slow)
        number = len(asking.finished()) + 1
        await_contributed(asking, number)
        if uri_of(slow) not in contributed(asking, number):
            return number
        asking.world.let_go(slow)
    raise AssertionError(f"{slow} was faster than this test in every round")


def await_finished(asking: Asking, rounds: int) -> None:
    until(lambda: len(asking.finished()) >= rounds, f"{rounds} finished rounds")


def await_contributed(asking: Asking, number: int) -> None:
    until(lambda: len(contributed(asking, number)) >= HOSPITALS - 1, f"all contributions but one to round {number}")


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
