"""Exact mode at a real node: who has to agree first, what then leaves without noise, and that a private question never does."""

import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hospital_node.contributing as contributing
from hospital_node.attempt import require_within
from hospital_node.counting import InstalledPlans
from hospital_node.errors import InvalidConfig, Withheld
from hospital_node.journal import StoredContribution
from hospital_node.policy import default_policy
from protocols import statements as st
from protocols.asked import Asked
from protocols.contract import CONTRACT
from protocols.exact import LARGEST_ENTRY, as_exact
from protocols.query import QuerySpec
from protocols.refusal import Reason
from protocols.secagg.masks import unmask
from protocols.secagg.ring import Integers
from tests.hospital_node.support.nodes import VISITS_BY_DISTRICT, Asking, Node, Nodes, write_records
from tests.support.exact import EXACT, permit

COUNTS: dict[str, Any] = {**VISITS_BY_DISTRICT, "measures": [{"kind": "count", "hi": 1}], "cells_per_patient": 1}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Nodes]:
    made = Nodes(tmp_path, 5)
    yield made
    made.close()


def allow(node: Node, line: str = 'exact_tables = ["visits"]') -> None:
    """IT permits exact mode in the file, and the running node takes it up."""
    path = node.home / "policy.toml"
    path.write_text(path.read_text().replace("exact_tables = []", line))
    node.answering.adopt_policy(node.policy(), None)


def allow_all(world: Nodes, *but: str) -> None:
    for uri, node in world.nodes.items():
        if uri not in but:
            allow(node)
    permit(world.city, set(world.nodes) - set(but))


def ask(world: Nodes, spec: dict[str, Any] = VISITS_BY_DISTRICT, *, approved: bool = True, **changes: Any) -> Asking:
    world.city.now += 1
    stated = {**EXACT, "spec": as_exact(QuerySpec.from_fields(spec).to_json())}
    asking = Asking(world, world.query(**{**stated, **changes}))
    if approved:
        world.city.approve(asking.id.hex())
        asking.proof = world.city.prove(asking.entry)
    return asking


def released(asking: Asking, attempt: int = 1) -> Integers:
    """The opened sum of all nodes."""
    binding = asking.binding(attempt)
    request, masked = asking.request(binding)
    total = np.frombuffer(asking.open(request), f"<u{binding.ring // 8}")
    return unmask(masked, total, binding.ring, 5 * LARGEST_ENTRY)


def truth(world: Nodes, spec: dict[str, Any]) -> Integers:
    """What the plans count at each node, added up."""
    asked = Asked.of(_query(ask(world, spec)))
    found = []
    for node in world.nodes.values():
        plans = InstalledPlans(node.home / "records")
        found.append(plans.count(asked, plans.generation(), bytes(32), b"", 0))
    total: Integers = np.sum(found, axis=0)
    return total


def _query(asking: Asking) -> st.Query:
    statement = st.parse(asking.entry).statement
    assert isinstance(statement, st.Query)
    return statement


# -- who has to agree


def test_the_default_policy_refuses_and_names_this_hospital_in_the_ledger_too(world: Nodes) -> None:
    reply = ask(world).offer(world.first())
    assert [each.reason for each in reply.refusals] == [Reason.EXACT_NOT_PERMITTED] * 2
    assert reply.refusals[1].subject == world.first().uri


def test_a_policy_that_the_ledger_does_not_state_yet_is_not_enough(world: Nodes) -> None:
    allow(world.first())
    assert ask(world).reasons(world.first()) == [Reason.EXACT_NOT_PERMITTED]


def test_a_stated_policy_that_the_file_took_back_is_not_enough(world: Nodes) -> None:
    permit(world.city)
    assert ask(world).reasons(world.first()) == [Reason.EXACT_NOT_PERMITTED]


def test_without_the_auditors_approval_of_this_very_question_nobody_is_ready(world: Nodes) -> None:
    allow_all(world)
    world.city.approve(world.city.programme)
    assert ask(world, approved=False).reasons(world.first()) == [Reason.NOT_APPROVED]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"floor": 4}, Reason.FLOOR_TOO_LOW),
        ({"variances": ("400.0000",)}, Reason.NOISE_MALFORMED),
        ({"purpose": "surveillance"}, Reason.EXACT_STATEMENT),
    ],
)
def test_a_statement_that_breaks_a_rule_is_refused_by_its_code(world: Nodes, changes: dict[str, Any], reason: Reason) -> None:
    allow_all(world)
    assert set(ask(world, approved=False, **changes).reasons(world.first())) >= {reason, Reason.NOT_LOGGED}


def test_the_month_has_as_many_exact_questions_as_the_file_says(world: Nodes) -> None:
    allow_all(world)
    node = world.first()
    allow_once = node.home / "policy.toml"
    allow_once.write_text(allow_once.read_text().replace(f"exact_a_month = {CONTRACT.exact_a_month}", "exact_a_month = 1"))
    node.answering.adopt_policy(node.policy(), None)
    first = ask(world)
    assert first.offer(node).is_ready  # in the journal alone: it counts before the ledger has it
    assert ask(world).reasons(node) == [Reason.EXACT_CAP]
    world.city.now += 40 * 86_400
    assert Reason.EXACT_CAP not in ask(world).reasons(node)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('exact_tables = ["nowhere"]', "exact_tables: nowhere is not one of"),
        ("exact_tables = []\nexact_a_month = 5", "exact_a_month"),
    ],
)
def test_a_policy_file_permits_only_what_it_answers_at_all_and_never_more_than_the_city(world: Nodes, line: str, what: str) -> None:
    node, text = world.first(), default_policy()
    if "a_month" in line:
        text = text.replace(f"exact_a_month = {CONTRACT.exact_a_month}\n", "")
    (node.home / "policy.toml").write_text(text.replace("exact_tables = []", line))
    with pytest.raises(InvalidConfig, match=what):
        node.policy()


# -- what leaves


def test_the_sum_is_exact_and_nobody_charges_anything(world: Nodes) -> None:
    wanted = truth(world, VISITS_BY_DISTRICT)
    allow_all(world)
    asking = ask(world)
    asking.all_ready()
    assert np.array_equal(released(asking), wanted)
    assert {price for node in world.nodes.values() for price in node.answering.journal.spent().values()} == set()
    ready = st.parse(asking.readys[world.first().uri]).statement
    assert isinstance(ready, st.Ready)
    assert (ready.charge.price, set(ready.charge.totals)) == ("0.000000000", {"0.000000000"})
    assert world.city.findings() == []


def test_no_patient_is_bounded_and_no_count_clamped(world: Nodes) -> None:
    node = world.first()
    node.stop()
    shutil.rmtree(node.home / "records")
    write_records(node.home / "records", [(1, date(2026, 10, 1 + n), d) for n in range(9) for d in ("440103", "440104")])
    node.start()
    private = Asked.of(_query(world.ask(COUNTS)))
    plans = InstalledPlans(node.home / "records")
    assert plans.count(private, plans.generation(), bytes(32), b"", 0).sum() == 1  # one of the two cells, one of the nine rows
    exact = Asked.of(_query(ask(world, COUNTS)))
    assert plans.count(exact, plans.generation(), bytes(32), b"", 0).sum() == 18


def test_the_sampler_is_not_asked_for_an_exact_question_and_always_for_a_private_one(
    world: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    real = contributing.draw
    monkeypatch.setattr(contributing, "draw", lambda table, size, random: drawn.append(size) or real(table, size, random))
    allow_all(world)
    asking = ask(world)
    asking.all_ready()
    released(asking)
    assert drawn == []
    private = world.ask()
    private.all_ready()
    private.request(private.binding())
    assert drawn == [private.binding().dimension] * 5


def test_a_binding_of_the_other_mode_is_refused_by_both(world: Nodes) -> None:
    allow_all(world)
    exact, private = ask(world), world.ask()
    for each, variances in ((exact, (6400,)), (private, (0,))):
        each.all_ready()
        found = each.contribute(world.first(), each.binding(variances=variances))
        assert isinstance(found, list)
        assert [(no.reason, no.subject) for no in found] == [(Reason.BINDING_DIFFERS, "variances")]


def test_a_set_without_one_hospital_is_refused_and_names_it(world: Nodes) -> None:
    allow_all(world)
    asking = ask(world)
    asking.all_ready()
    gone = max(world.nodes)
    del asking.readys[gone]
    found = asking.contribute(world.first(), asking.binding())
    assert isinstance(found, list)
    assert (Reason.NOT_THE_FIXED_SET, gone) in {(each.reason, each.subject) for each in found}


def test_a_second_attempt_has_the_same_set_and_the_same_sum(world: Nodes) -> None:
    wanted = truth(world, VISITS_BY_DISTRICT)
    allow_all(world)
    asking = ask(world)
    asking.all_ready()
    assert isinstance(asking.contribute(world.first(), asking.binding()), StoredContribution)
    assert np.array_equal(released(asking, attempt=2), wanted)


class Failing(InstalledPlans):
    def count(self, *_: Any) -> Integers:
        raise RuntimeError("a record broke it")


def test_a_count_that_fails_sends_nothing_pauses_and_says_so(world: Nodes) -> None:
    allow_all(world)
    node = world.first()
    node.plans = Failing(node.home / "records")
    node.restart()
    asking = ask(world)
    asking.all_ready()
    with pytest.raises(Withheld):
        asking.contribute(node, asking.binding())
    assert node.answering.is_paused
    [incident] = [st.parse(each).statement for each in node.answering.journal.outbox().values()]
    assert isinstance(incident, st.Incident)
    assert node.answering.journal.contribution(asking.id.hex(), 0, 1) is None
    node.answering.journal.set_note("paused", None)
    again = asking.contribute(node, asking.binding())
    assert isinstance(again, list)
    assert Reason.UNSTORED in [each.reason for each in again]


def test_an_entry_that_no_ring_was_priced_for_is_withheld() -> None:
    require_within(np.array([LARGEST_ENTRY, -LARGEST_ENTRY], np.int64))
    for beyond in (LARGEST_ENTRY + 1, -LARGEST_ENTRY - 1, -(2**63)):
        with pytest.raises(OverflowError):
            require_within(np.array([0, beyond], np.int64))
