"""What a row is, and the means by which several of them bring the town to their point."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.faults.support.world import Asking, End, World, until

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


def all_but_one_contributed(world: World, slow: str, last: str, asks: Callable[[World], Asking] = World.ask) -> Asking:
    """A question with four of five contributions in the register; the fifth hospital, `slow`, is held after its Ready."""
    world.hold(last)
    asking = asks(world)
    until(lambda: f"kapok://hospital/{slow.removeprefix('node/')}" in asking.logged("ready"), "the slow one's Ready")
    world.hold(slow)
    world.let_go(last)
    asking.await_contributions(4)
    return asking
