"""A pinned study is trained over real hospitals' registered tables, steered by Flower, through the coordinator's death.

Everything is real: processes, mutual TLS, ledger, auditor, budget. The table is invented so that one column decides the outcome.
"""

import json
from concurrent.futures import Future
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coordinator.client import segments as chain
from coordinator.client.city import connect
from hospital_node.studies.installed import installed_studies
from protocols.contract import CONTRACT
from protocols.fits import Evaluated, FedAvgTraining, Training
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


def spec_of(kind: type[Training] = Training, **changes: object) -> Training:
    here = installed_studies()["logistic"]
    columns = [{"column": name, "low": "-1", "high": "1", "unit": ""} for name in ("marker", "noise")]
    fields = {
        "study": {"name": "logistic", "version": here.version, "sha256": here.sha256},
        "table": "wards", "catalogue": "wards-1", "outcome": {"column": "ill", "category": "yes"}, "features": columns,
        "weights": 3, "longest": "1", "fineness": 1024, "step": "4", "strategy": "FedAvgM",
        "options": [["server_momentum", "0.5"]],
    }  # fmt: skip
    return kind.model_validate({**fields, **changes}, strict=False)


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
    policy.write_text(policy.read_text().replace("\ntables = [", '\ntables = ["wards", '))


def train(world: World, spec: Training, folder: Path, cost: str = "0.1") -> Asking:
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
    accepted(furnished)
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
        assert furnished.spent(name)[("research", STATIC)] == Fraction(told["price"]) < Fraction("0.1001")


def segmented(world: World, cost: str, segments: int) -> list[str]:
    """A training of as many segments, in the city and approved; whoever asked for it is gone."""
    with connect(world.town.bureau) as bureau:
        asked = chain.statements_of(bureau, spec_of(strategy="sgd", options=[], fineness=128), 3 * segments, price=cost, segment=3)
        ids = chain.sign(bureau, asked)
        chain.submit(bureau, ids, is_new=True)
    for each in reversed(ids):
        run("kapok-audit", "approve", each, "--home", world.town.auditor, "--until", world.town.until)
    return ids


def paid(world: World) -> dict[str, Fraction]:
    """What each hospital has paid out of the table's block."""
    return {name: world.spent(name).get(("research", STATIC), Fraction(0)) for name in world.town.hospitals}


def accepted(world: World) -> None:
    """The study may run at every hospital."""
    for name in world.town.hospitals:
        run("kapok-node", "studies", "accept", "logistic", "--home", world.town.node(name))


def resumed(world: World, id_: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("kapok", "resume", id_, "--home", world.town.bureau, "--json"))
    return found


@pytest.mark.wire
@pytest.mark.xdist_group("town")
def test_a_training_goes_on_from_segment_to_segment_without_its_asker_and_pays_each_once(furnished: World) -> None:
    accepted(furnished)
    before = paid(furnished)
    ids = segmented(furnished, "0.06", 3)
    second = Asking(furnished, ids[1], Future(), is_training=True)
    until(second.finished, "a finished round of the second segment", 240)
    furnished.kill("coordinator")
    finished = second.finished()
    furnished.start("coordinator")
    told = resumed(furnished, ids[1])
    assert (told["query"], told["segments_released"], told["segments"]) == (ids[2], 3, ids)
    assert second.finished()[: len(finished)] == finished, "no finished round is asked again"
    view = furnished.view()
    for each in ids:
        asking = Asking(furnished, each, Future(), is_training=True)
        assert len(asking.logged("ready")) == len(asking.logged("receipt")) == len(furnished.town.hospitals)
        facts = view.questions[each]
        assert facts.release is not None
    entries = [(kind, query) for kind, query, _ in furnished.log_entries()]
    starts = [entries.index(("ready", each)) for each in ids]
    ends = [view.questions[each].release[0] for each in ids]  # type: ignore[index]
    assert all(starts[n + 1] > ends[n] for n in range(2)), "nobody pays before there is a start"
    for name in furnished.town.hospitals:
        assert Fraction("0.0599") < paid(furnished)[name] - before[name] <= Fraction("0.06")
    furnished.check_everything()


@pytest.mark.wire
@pytest.mark.xdist_group("town")
@pytest.mark.parametrize(
    ("kind", "more"),
    [
        (Evaluated, {"sharpness": ROUNDS}),
        (FedAvgTraining, {"local_steps": 2, "sharpness": 2 * ROUNDS, "strategy": "sgd", "options": []}),
    ],
    ids=["DP-SGD", "DP-FedAvg"],
)
def test_a_model_is_tested_on_held_out_patients_and_its_card_says_so_wherever_one_looks(
    furnished: World, tmp_path: Path, kind: type[Training], more: dict[str, object]
) -> None:
    accepted(furnished)
    asking = train(furnished, spec_of(kind, held_out="0.3", fineness=256, **more), tmp_path, "0.07")
    assert asking.end().state == "released"
    told = json.loads(run("kapok", "resume", asking.id, "--home", furnished.town.bureau, "--json"))
    metrics = {each["name"]: each for each in told["coefficients"]}
    assert set(metrics) == {"accuracy", "AUC", "log-loss"}
    # One column decides the outcome: of these tables' best rule 83 % are right, of a coin 50 %.
    assert metrics["AUC"]["upper"] > 0.6
    trust, answer = ("--trust", furnished.town.trust), next((furnished.town.bureau / "answers").glob(f"{asking.id}*"))
    shown = json.loads(run("kapok-audit", "verify", answer, *trust, "--json"))
    assert shown["verdict"] == "verified"
    card = shown["card"]
    assert [(each["name"], float(each["value"])) for each in card["metrics"]] == [
        (each["name"], each["value"]) for each in told["coefficients"]
    ]
    here = installed_studies()["logistic"]
    assert (card["study_sha256"], card["rounds"], len(card["answered"])) == (here.sha256, ROUNDS, len(furnished.town.hospitals))
    assert Fraction(card["price"]) == Fraction(told["price"]) <= Fraction("0.0701")
    cards = json.loads(run("kapok-audit", "models", furnished.town.ledger, *trust, "--json"))
    assert card in [{name: value for name, value in each.items() if name != "index"} for each in cards]
    assert "AUC" in run("kapok-audit", "verify", answer, *trust)


@pytest.mark.wire
@pytest.mark.xdist_group("town")
def test_a_training_stops_at_the_budget_and_what_was_released_by_then_is_its_model(furnished: World, tmp_path: Path) -> None:
    limit = CONTRACT.limit("research")
    accepted(furnished)
    # All three together are within a whole budget, or the asker would be told at once; two are beyond what is left of it.
    while (left := limit - max(paid(furnished).values())) > limit * Fraction(13, 20):
        assert train(furnished, spec_of(), tmp_path, "0.1").end().state == "released"
    before, price = paid(furnished), f"{float(min(3 * left, limit)) * 0.99:.6f}"
    ids = segmented(furnished, price, 3)
    told = resumed(furnished, ids[0])
    assert (told["query"], told["segments_released"]) == (ids[0], 1)
    assert "budget.exhausted" in {reason["code"] for reason in told["stopped"]}
    for name in furnished.town.hospitals:
        assert 0 < paid(furnished)[name] - before[name] <= Fraction(price) / 3
    view = furnished.view()
    assert [view.questions[id_].release[1].status for id_ in ids] == ["released", "failed", "failed"]  # type: ignore[index]
    assert not view.questions[ids[2]].readys, "a segment without a start is offered to nobody"
    furnished.check_everything()
