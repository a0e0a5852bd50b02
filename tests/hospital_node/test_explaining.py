"""`kapok-node incident`: a hospital's own word for an absence, said once, in the ledger as soon as its node runs."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import Result

from audit_ledger.member_sets import ABSENCES_A_MONTH, differing_refusals
from audit_ledger.party.home import Home
from protocols import statements as st
from tests.hospital_node.support.nodes import Asking, Node, Nodes
from tests.hospital_node.test_commands import kapok_node


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    made = Nodes(tmp_path_factory.mktemp("city"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def away(world: Nodes) -> Node:
    """The one whose line is down; its folder is as `init` and `enroll` leave it."""
    node = world.nodes[max(world.nodes)]
    (node.home / "config.toml").write_text(node.answering.config.text())
    (node.home / "trust.policy").write_bytes(world.city.trust.encode())
    Home(node.home).write_secret("keys/identity.key", world.city.hospitals[node.uri].identity.seed())
    return node


def _asked(world: Nodes, absent: Node | None = None) -> Asking:
    """A question with the Readys of all that are there, in the ledger."""
    world.city.now += 1
    asking = world.ask()
    for uri, each in world.nodes.items():
        if each is not absent:
            asking.log_ready(uri, asking.offer(each).envelope)
    for each in world.nodes.values():
        each.bring()
    return asking


def _opened(world: Nodes, absent: Node | None = None) -> Asking:
    asking = _asked(world, absent)
    asking.open(asking.request(asking.binding())[0])
    return asking


def _held(asking: Asking) -> set[str]:
    view = asking.world.city.view()
    members = frozenset(each.uri for each in asking.binding().members)
    return {each.subject for each in differing_refusals(view, view.questions[asking.id.hex()], members, asking.world.city.now)}


def _incident(node: Node, query: str, *options: str) -> Result:
    node.answering.journal.flush()  # which a running node does within a second
    return kapok_node("incident", query, "--home", node.home, *options)


def _told(node: Node, query: str, *options: str) -> dict[str, Any]:
    result = _incident(node, query, "--json", *options)
    assert result.exit_code == 0, result.output + result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def _incidents(node: Node) -> list[st.Incident]:
    statements = [st.parse(each).statement for each in node.answering.due()]
    return [each for each in statements if isinstance(each, st.Incident)]


def test_an_absence_that_would_hold_a_question_is_accounted_for_once_the_hospital_has_said_why(world: Nodes, away: Node) -> None:
    everybody = _opened(world)
    for _ in range(ABSENCES_A_MONTH):
        _opened(world, away)
    fourth = _asked(world, away)
    assert _held(fourth) == {away.uri}

    query = fourth.id.hex()
    first = _told(away, query[:8], "--reason", "network")
    assert first == {"query": query, "code": "absent.network", "is_new": True}
    assert _told(away, query, "--reason", "power")["is_new"] is False, "it waits already"
    (stated,) = _incidents(away)
    assert (stated.query, stated.by, stated.code) == (query, away.uri, "absent.network")

    away.restart()
    for envelope in away.answering.due():
        if isinstance(st.parse(envelope).statement, st.Incident):
            world.city.log_entry(envelope)
    assert _held(fourth) == set()

    away.bring()
    assert _incidents(away) == []
    assert _told(away, query)["is_new"] is False, "it stands in the ledger"
    assert _incidents(away) == []

    part = _incident(away, everybody.id.hex())
    assert part.exit_code == 2
    assert "this hospital took part; its absence needs no reason" in part.stderr


def test_a_hospital_that_was_not_asked_has_nothing_to_explain(world: Nodes, away: Node) -> None:
    others = tuple(sorted(set(world.nodes) - {away.uri}))
    asking = world.ask(entry_fields={"audience": others})
    away.bring()
    found = _incident(away, asking.id.hex())
    assert (found.exit_code, _incidents(away)) == (2, [])
    assert "this hospital was not asked; nothing is to be explained" in found.stderr


@pytest.mark.parametrize("query", ["3f2a", "00000000", "no such thing"])
def test_a_question_that_is_not_in_the_ledger_is_no_traceback(away: Node, query: str) -> None:
    found = _incident(away, query)
    assert found.exit_code == 2
    assert f"{query}: 0 questions in the ledger begin so; give 8 digits or more of one" in found.stderr
    assert "Traceback" not in found.output + found.stderr


def test_what_kept_it_away_is_one_of_a_few_words_and_told_in_both_languages(world: Nodes, away: Node) -> None:
    asking = _asked(world, away)
    assert _incident(away, asking.id.hex(), "--reason", "patient 4711").exit_code == 2
    assert "节点运行后即写入账本" in _incident(away, asking.id.hex(), "--lang", "zh").output
    assert "it was stated before; nothing is added" in _incident(away, asking.id.hex(), "--lang", "en").output
