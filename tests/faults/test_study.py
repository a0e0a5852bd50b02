"""A pinned study is trained over real hospitals' registered tables, steered by Flower, through the coordinator's death.

Everything is real: processes, mutual TLS, ledger, auditor, budget. The table is invented so that one column decides the outcome.
"""

import json
from concurrent.futures import Future
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from hospital_node.studies.installed import installed_studies
from protocols.fits import Training
from simulations.processes import CommandFailed, run
from tests.faults.support.world import Asking, World, until

STATIC = "static:wards-1"
SCHEMA = """
catalogue = "wards-1"
title = "wards"
column = [
    {name = "marker", type = "number", low = "-1", high = "1"},
    {name = "noise", type = "number", low = "-1", high = "1"},
    {name = "ill", type = "category", categories = ["yes", "no"]},
]
"""
ROUNDS = 6


def spec_of(**changes: object) -> Training:
    here = installed_studies()["logistic"]
    columns = [{"column": name, "low": "-1", "high": "1", "unit": ""} for name in ("marker", "noise")]
    fields = {
        "study": {"name": "logistic", "version": here.version, "sha256": here.sha256},
        "table": "wards", "catalogue": "wards-1", "outcome": {"column": "ill", "category": "yes"}, "features": columns,
        "weights": 3, "longest": "1", "fineness": 1024, "step": "4", "strategy": "FedAvgM",
        "options": [["server_momentum", "0.5"]],
    }  # fmt: skip
    return Training.model_validate({**fields, **changes}, strict=False)


def register(world: World, name: str, number: int) -> None:
    home, draw = world.town.node(name), np.random.default_rng(number)
    marker = draw.uniform(-1, 1, 250)
    ill = draw.uniform(size=250) < 1 / (1 + np.exp(-6 * marker))
    rows = [f"{m:.4f},{draw.uniform(-1, 1):.4f},{'yes' if y else 'no'}" for m, y in zip(marker, ill, strict=True)]
    table, schema = home / "wards.csv", home / "wards.toml"
    table.write_text("\n".join(["marker,noise,ill", *rows, ""]))
    schema.write_text(SCHEMA)
    run("kapok-node", "tables", "add", "wards", table, "--schema", schema, "--home", home)
    policy = home / "policy.toml"
    policy.write_text(policy.read_text().replace("tables = [", 'tables = ["wards", '))


def train(world: World, spec: Training, folder: Path, cost: str = "0.3") -> Asking:
    path = folder / "training.json"
    path.write_text(json.dumps(spec.to_json()))
    options = ("--rounds", ROUNDS, "--price", cost, "--detach", "--json")
    id_ = str(json.loads(run("kapok", "train", path, "--home", world.town.bureau, *options))["query"])
    run("kapok-audit", "approve", id_, "--home", world.town.auditor, "--until", world.town.until)
    asking = Asking(world, id_, Future(), is_training=True)
    asking._future = world._asking.submit(asking.followed)
    return asking


@pytest.fixture(scope="module")
def furnished(world: World) -> World:
    for number, name in enumerate(world.town.hospitals):
        register(world, name, number)
    until(lambda: all("wards" in each.tables for each in world.view().policies.values()), "the table in every policy")
    approved: list[object] = []

    def all_registered() -> bool:
        approved.extend(world.town.approve_tables())
        return len(approved) == len(world.town.hospitals)

    until(all_registered, "every hospital's registration")
    return world


@pytest.mark.wire
@pytest.mark.xdist_group("town")
def test_a_study_that_no_hospital_has_accepted_does_not_run(furnished: World, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"study\.not_pinned"):
        train(furnished, spec_of(), tmp_path).end()
    assert not any(block == STATIC for name in furnished.town.hospitals for _, block in furnished.spent(name))
    furnished.check_everything()


@pytest.mark.wire
@pytest.mark.xdist_group("town")
def test_an_accepted_study_trains_through_the_coordinators_death_and_pays_once(furnished: World, tmp_path: Path) -> None:
    for name in furnished.town.hospitals:
        run("kapok-node", "studies", "accept", "logistic", "--home", furnished.town.node(name))
    asking = train(furnished, spec_of(), tmp_path)
    until(asking.finished, "a finished round")
    furnished.kill("coordinator")
    before = asking.finished()
    furnished.start("coordinator")
    assert asking.resume().state == "released"
    after = asking.finished()
    assert after[: len(before)] == before, "no finished round is asked again"
    assert len(after) == ROUNDS
    assert len(asking.logged("ready")) == len(asking.logged("receipt")) == len(furnished.town.hospitals), "one of each a segment"
    told = json.loads(run("kapok", "resume", asking.id, "--home", furnished.town.bureau, "--json"))
    intercept, marker, other = told["model"]
    # The noise of a step is 4 * sd / n: below 0.2 of a weight here, and the marker's weight is 3 at least after six of them.
    assert marker > 1.0 > abs(other)
    assert abs(intercept) < 1.0
    furnished.check_everything()
    for name in furnished.town.hospitals:
        assert furnished.spent(name)[("research", STATIC)] == Fraction(told["price"]) < Fraction("0.3001")
