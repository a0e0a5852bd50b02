"""A coordinator that shows one hospital another tree than the other: caught by the witness, by the gate, and by the Readys.

Both histories begin alike and are signed with the log's one key. Each of the three sees it alone, whatever the others do.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from audit_ledger.errors import NoQuorum, RolledBack, TreeMismatch
from audit_ledger.findings import Rule
from audit_ledger.follower import Follower
from audit_ledger.gate import Gate
from audit_ledger.witness import AddCheckpoint
from protocols.refusal import Reason
from protocols.statements import Seen
from tests.support.city import City, Question, key


@pytest.fixture
def city(tmp_path: Path) -> Iterator[City]:
    made = City(tmp_path / "true")
    made.log_entry(made.admission("kapok://bureau/real", key("real")))
    yield made
    made.close()


@pytest.fixture
def twin(tmp_path: Path) -> Iterator[City]:
    """The same keys, and another history."""
    made = City(tmp_path / "twin")
    made.log_entry(made.admission("kapok://bureau/invented", key("invented")))
    yield made
    made.close()


def test_the_witness_cosigns_one_of_two_trees_and_no_proof_leads_to_the_other(city: City, twin: City) -> None:
    city.checkpoint()
    old, size = city.log.size, twin.log.size
    for claimed, proof in ((old, twin.log.consistency(old, size)), (0, [])):
        body = AddCheckpoint(claimed, tuple(proof), twin.log.checkpoint_covering(size)).encode()
        assert city.witness.add_checkpoint(body).status in (409, 422)
    follower = Follower(city.trust)
    with pytest.raises(NoQuorum, match="cosigned by nobody"):
        follower.follow(0, twin.log.entries(0, size), twin.log.checkpoint_covering(size), city.now)
    assert follower.size == 0


def test_a_gate_that_followed_one_tree_refuses_the_other_though_a_false_witness_cosigned_it(city: City, twin: City) -> None:
    follower = Follower(city.trust)
    follower.follow(*city.follow(0), city.now)
    size = follower.size
    twin.log_entry(twin.admission("kapok://bureau/invented-too", key("invented too")))
    with pytest.raises(TreeMismatch, match="another root"):
        follower.follow(size, twin.log.entries(size, twin.log.size), twin.checkpoint(), city.now)
    asked = Question(twin, twin.opener())
    passage = Gate(follower, next(iter(city.hospitals))).pass_query(asked.entry, twin.prove(asked.entry), city.now)
    assert {Reason.INCONSISTENT, Reason.NOT_LOGGED} <= {each.reason for each in passage.refusals}
    short = City(city.path / "short", 4)
    with pytest.raises(RolledBack, match="was followed before"):
        follower.follow(0, short.log.entries(0, short.log.size), short.checkpoint(), city.now)
    short.close()


def test_a_ready_that_saw_the_other_tree_shows_the_split_inside_the_log_itself(city: City, twin: City) -> None:
    question = Question(city, city.opener())
    view = twin.view()
    shown = Seen(size=view.size, root=(view.roots.get(view.size) or b"").hex())
    hospital = next(iter(city.hospitals))
    question.ready(hospital, seen=shown)
    assert {each.rule for each in city.findings()} == {Rule.FORKED}
