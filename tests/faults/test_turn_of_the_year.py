"""A year ends in a town of real processes: the log is closed, the next one founded, and nobody has a night of work.

Claims: an answer of before and one of after are released and verified by the bureau; hospitals move by themselves, also the one
that was killed before; sequences and totals go on; both logs verify, one after the other, with the first trust file alone, and the
next one alone is not called verified.
"""

import json
import shutil
from fractions import Fraction
from pathlib import Path

import pytest

from audit_ledger.before import PastLog
from audit_ledger.party.home import Home
from simulations.processes import run
from tests.faults.support.world import World, until

NEXT = "guangzhou.kapok.example/2027"


def turn_the_year(world: World, spare: Path) -> None:
    """What operator and auditor do; the bureau pins the next log."""
    town = world.town
    world.service("coordinator").stop()
    run("kapok-coordinator", "close", "--home", town.coordinator, "--next-origin", NEXT)
    again = json.loads(run("kapok-coordinator", "close", "--home", town.coordinator, "--next-origin", NEXT, "--json"))
    shutil.copytree(town.ledger, spare)
    founding = town.root / "founding-2027.json"
    run("kapok-audit", "found", again["draft"], "--home", town.auditor, "--after", town.ledger, "--out", founding)
    assert len(json.loads(founding.read_text())) == 1  # keys carry over, and are not stated again
    run("kapok-coordinator", "init", "--home", town.coordinator, "--founding", founding)
    run("kapok", "trust", founding, "--after", spare, "--home", town.bureau)
    world.service("auditor").stop()
    world.service("auditor").start()


def origins(world: World) -> set[str]:
    return {Home(world.town.node(name)).trust().policy.logs[0].key.origin for name in world.town.hospitals}


@pytest.mark.wire
@pytest.mark.xdist_group("town")
def test_a_town_goes_from_one_years_log_to_the_next(world: World, tmp_path: Path) -> None:
    """Last of this folder: the table's town is another one afterwards."""
    start = totals(world)
    assert world.ask().end().state == "released"
    before = totals(world)
    first_trust = shutil.copy(world.town.trust, tmp_path / "first.policy")
    away, *_ = world.town.hospitals
    world.kill(world.node(away))
    spare = tmp_path / "ledger-2026"
    turn_the_year(world, spare)
    world.begin_next_log()
    world.start("coordinator", world.node(away))
    until(lambda: origins(world) == {NEXT}, "every hospital in the next log")
    until(lambda: not world.missing(), "every hospital connected again")
    assert totals(world) == before, "a new year is no new budget, and costs none"
    again = world.ask().end()
    assert again.state == "released", again
    after = totals(world)
    for name in world.town.hospitals:
        price = {key: total - start[name].get(key, 0) for key, total in before[name].items()}
        assert any(price.values())
        assert {key: total - before[name][key] for key, total in after[name].items()} == price, name
    accounts = PastLog.read(Home(world.town.coordinator)).carry(b"").accounts  # type: ignore[union-attr]
    now = world.view().accounts
    assert {uri: each.sequence for uri, each in now.items()} == {uri: each.sequence + 1 for uri, each in accounts.items()}
    run("kapok-audit", "verify", world.town.ledger, "--trust", first_trust, "--after", spare)
    run("kapok-audit", "verify", world.town.ledger, "--trust", world.town.coordinator / "trust.policy", expect=(3,))
    run("kapok-audit", "verify", spare, "--trust", first_trust)
    vectors = tmp_path / "vectors"
    for program, home in (("kapok-audit", world.town.auditor), ("kapok-coordinator", world.town.coordinator)):
        run(program, "vectors", "--home", home, "--out", vectors)
    line = ("verify", world.town.ledger, "--trust", first_trust, "--after", spare, "--vectors", vectors, "--json")
    assert json.loads(run("kapok-audit", *line))["rederived"] > 1, "the new log's one release, and those of the log before it"


def totals(world: World) -> dict[str, dict[tuple[str, str], Fraction]]:
    return {name: world.spent(name) for name in world.town.hospitals}
