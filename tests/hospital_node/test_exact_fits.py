"""An exact fit on the way that rounds really take: real nodes, their gate, masks and the auditor's opener; no noise in the sum."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hospital_node.fits import fit_sums
from hospital_node.policy import default_policy
from hospital_node.records.schema import open_read_only
from hospital_node.tables.declared import declare
from hospital_node.tables.registering import add_table
from hospital_node.tables.schema import read_schema
from protocols.asked import Asked
from protocols.exact import LARGEST_ENTRY, as_exact
from protocols.fits import Fit
from protocols.refusal import Reason
from protocols.secagg.masks import unmask
from protocols.statements import Query, parse
from tests.hospital_node.support.nodes import Asking, Nodes
from tests.hospital_node.test_neighbours_tables import approve_table
from tests.support.exact import EXACT, permit

SCHEMA = """
catalogue = "trial-2026"
title = "a trial"
column = [
    {name = "age", type = "number", low = "20", high = "80", unit = "years"},
    {name = "days", type = "number", low = "0", high = "900", unit = "days"},
    {name = "dead", type = "category", categories = ["yes", "no"]},
]
"""
FIT: dict[str, Any] = {
    "version": 2,
    "fit": "cox_stratified",
    "table": "trial",
    "catalogue": "trial-2026",
    "period": None,
    "rows_per_patient": 1,
    "time": {"column": "days", "low": "0", "high": "900", "unit": "days"},
    "event": {"column": "dead", "category": "yes"},
    "features": [{"column": "age", "low": "20", "high": "80", "unit": "years"}],
    "ties": "efron",
}
ROUNDS = 3


def _furnish(home: Path) -> None:
    random = np.random.default_rng(int(home.name[1:]))
    rows = [f"{random.integers(20, 80)},{random.integers(1, 30)},{random.choice(['yes', 'no'])}" for _ in range(40)]
    (home / "trial.csv").write_text("\n".join(["age,days,dead", *rows, ""]))
    (home / "trial.toml").write_text(SCHEMA)
    add_table(home / "records", "trial", home / "trial.csv", read_schema(home / "trial.toml"))
    declare(home, "trial", SCHEMA.encode())
    policy = default_policy().replace("\ntables = [", '\ntables = ["trial", ')
    (home / "policy.toml").write_text(policy.replace("exact_tables = []", 'exact_tables = ["trial"]'))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Nodes]:
    made = Nodes(tmp_path, 5, _furnish)
    for uri in made.nodes:
        approve_table(made.city, uri, "trial", SCHEMA)
    permit(made.city, tables=("trial",))
    yield made
    made.close()


def ask(world: Nodes, **changes: Any) -> Asking:
    world.city.now += 1
    asking = Asking(world, world.query(**{**EXACT, "spec": as_exact(FIT), "rounds": ROUNDS, **changes}))
    world.city.approve(asking.id.hex())
    asking.proof = world.city.prove(asking.entry)
    return asking


def test_a_round_opens_as_the_sum_of_the_hospitals_own_partial_likelihoods(world: Nodes) -> None:
    asking = ask(world)
    asking.all_ready()
    statement = parse(asking.entry).statement
    assert isinstance(statement, Query)
    fit = Asked.of(statement).spec
    assert isinstance(fit, Fit)
    weights = fit.limited(fit.start() + 0.3)
    binding = asking.binding(1, fit.encode(weights), round=1)
    request, masked = asking.request(binding, fit.encode(weights))
    total = np.frombuffer(asking.open(request), f"<u{binding.ring // 8}")
    found = unmask(masked, total, binding.ring, 5 * LARGEST_ENTRY)
    assert found.any()
    wanted = []
    for node in world.nodes.values():
        with open_read_only(node.home / "records") as records:
            wanted.append(fit_sums(fit, records, weights))
    assert found.tolist() == np.sum(wanted, axis=0).tolist()
    assert not any(node.answering.journal.spent() for node in world.nodes.values())
    assert world.city.findings() == []


def test_asked_without_exact_mode_it_is_no_question_of_this_version(world: Nodes) -> None:
    asking = ask(world, spec=FIT, variances=("100000.0000",))
    assert Reason.MALFORMED in asking.reasons(world.first())


def test_another_unit_is_refused_before_a_ready_and_named_by_its_column(world: Nodes) -> None:
    months = {**FIT, "time": {**FIT["time"], "unit": "months"}}
    refusals = ask(world, spec=as_exact(months)).offer(world.first()).refusals
    assert [(no.reason, no.subject, no.expected, no.got) for no in refusals] == [(Reason.TABLE_DIFFERS, "days", "days", "months")]
