"""Member sets at a real node: what it refuses, what it never does twice, and what leaves where a count fails."""

from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from threading import Event
from typing import Any

import pytest
import structlog

from hospital_node.attempt import Attempt
from hospital_node.counting import InstalledPlans
from hospital_node.errors import Withheld
from hospital_node.journal import StoredContribution
from hospital_node.logs import only_known_keys
from hospital_node.plans import TablePlan
from protocols import statements as st
from protocols.asked import Asked
from protocols.fit import FitSpec
from protocols.query import QuerySpec
from protocols.refusal import Reason
from protocols.secagg.binding import Binding
from protocols.secagg.ring import Integers
from tests.hospital_node.support.nodes import Asking, Node, Nodes


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Nodes]:
    made = Nodes(tmp_path, 4)
    yield made
    made.close()


@pytest.fixture
def asking(world: Nodes) -> Asking:
    made = world.ask()
    made.all_ready()
    return made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    """For member sets that are refused, which leaves no trace."""
    made = Nodes(tmp_path_factory.mktemp("shared"), 4)
    asking = made.ask()
    asking.all_ready()
    yield asking
    made.close()


def _reasons(asking: Asking, node: Node, binding: Binding) -> list[Reason]:
    found = asking.contribute(node, binding)
    assert isinstance(found, list)
    return [each.reason for each in found]


def _made(asking: Asking, node: Node, binding: Binding) -> StoredContribution:
    found = asking.contribute(node, binding)
    assert isinstance(found, StoredContribution), found
    return found


# -- refusals


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"origin": "elsewhere/1"}, Reason.BINDING_DIFFERS),
        ({"dimension": 5}, Reason.BINDING_DIFFERS),
        ({"variances": (16,)}, Reason.BINDING_DIFFERS),
        ({"ring": 64}, Reason.BINDING_DIFFERS),
        ({"scale": 2}, Reason.BINDING_DIFFERS),
        ({"input_hash": bytes(32)}, Reason.BINDING_DIFFERS),
        ({"not_after": 2**33}, Reason.BINDING_DIFFERS),
        ({"n": 5}, Reason.BINDING_DIFFERS),
        ({"c": 0}, Reason.BINDING_DIFFERS),
        ({"attempt": 4}, Reason.ATTEMPTS_EXHAUSTED),
        ({"round": 1}, Reason.NOT_A_MEMBER),
        ({"query": bytes(32)}, Reason.NOT_A_MEMBER),
    ],
)
def test_a_binding_that_differs_from_what_the_node_computed_is_refused(
    shared: Asking, changes: dict[str, Any], reason: Reason
) -> None:
    assert reason in _reasons(shared, shared.world.first(), shared.binding(**changes))


def test_bytes_that_are_no_binding_are_refused(shared: Asking) -> None:
    found = shared.world.first().answering.accept(b"u")
    assert isinstance(found, list)
    assert [each.reason for each in found] == [Reason.BINDING_MALFORMED]


def test_an_input_to_a_question_that_has_none_is_refused(shared: Asking) -> None:
    found = shared.contribute(shared.world.first(), shared.binding(round_input=b"weights"), b"weights")
    assert isinstance(found, list)
    assert [each.reason for each in found] == [Reason.BINDING_MALFORMED]


def test_fewer_hospitals_than_the_floor_are_refused(shared: Asking) -> None:
    uris = sorted(shared.readys)[:3]
    binding = shared.binding()
    members = tuple(each for each in binding.members if each.uri in uris)
    smaller = shared.binding(members=members, counting=tuple(uris), n=3, c=1)
    assert Reason.TOO_FEW_MEMBERS in _reasons(shared, shared.world.first(), smaller)


def test_a_hospital_that_is_not_on_the_peer_list_is_refused_by_name(asking: Asking) -> None:
    node = asking.world.first()
    lines = (node.home / "peers.txt").read_text().splitlines()
    last = max(asking.readys)
    (node.home / "peers.txt").write_text("\n".join(line for line in lines if last not in line) + "\n")
    node.answering.adopt_policy(node.policy(), None)
    found = asking.contribute(node, asking.binding())
    assert isinstance(found, list)
    assert [(each.reason, each.subject) for each in found] == [(Reason.NOT_A_PEER, last)]


def test_a_member_whose_ready_is_not_in_the_ledger_is_refused(world: Nodes) -> None:
    asking = world.ask()
    for uri, node in world.nodes.items():
        envelope = asking.offer(node).envelope
        asking.readys[uri] = envelope
        if uri != max(world.nodes):
            world.city.log_entry(envelope)
    world.first().bring()
    assert _reasons(asking, world.first(), asking.binding()) == [Reason.READY_NOT_LOGGED, Reason.NOT_A_PEER]


def test_a_paused_node_does_not_contribute(asking: Asking) -> None:
    node = asking.world.first()
    node.answering.journal.set_note("paused", "by IT")
    assert _reasons(asking, node, asking.binding()) == [Reason.PAUSED]


def test_a_hold_after_the_ready_stops_the_contribution(asking: Asking) -> None:
    node = asking.world.first()
    asking.world.city.hold(True)
    node.bring()
    assert _reasons(asking, node, asking.binding()) == [Reason.ON_HOLD]


def test_after_its_window_nothing_is_contributed(asking: Asking) -> None:
    node, binding = asking.world.first(), asking.binding()
    asking.world.city.now += 601
    node.bring()
    assert _reasons(asking, node, binding) == [Reason.WINDOW_CLOSED]


# -- once


def test_the_same_member_set_gets_the_same_bytes_also_after_a_restart(asking: Asking) -> None:
    node, binding = asking.world.first(), asking.binding()
    first = _made(asking, node, binding)
    assert _made(asking, node, binding) == first
    node.restart()
    node.bring()
    assert _made(asking, node, binding) == first


def test_another_member_set_for_the_same_attempt_is_refused(asking: Asking) -> None:
    node = asking.world.first()
    _made(asking, node, asking.binding())
    assert Reason.ATTEMPT_REPLAYED in _reasons(asking, node, asking.binding(ring=64))


def test_attempts_only_go_upward(asking: Asking) -> None:
    node = asking.world.first()
    _made(asking, node, asking.binding(attempt=2))
    assert _reasons(asking, node, asking.binding(attempt=1)) == [Reason.ATTEMPT_REPLAYED]
    assert _made(asking, node, asking.binding(attempt=3)).masked != _made(asking, node, asking.binding(attempt=2)).masked


def test_an_accepted_member_set_without_stored_bytes_is_refused_and_never_recomputed(asking: Asking) -> None:
    node, binding = asking.world.first(), asking.binding()
    assert not isinstance(node.answering.accept(binding.encode()), list)
    node.restart()  # as a crash between accepting and storing
    node.bring()
    assert _reasons(asking, node, binding) == [Reason.UNSTORED]
    assert _made(asking, node, asking.binding(attempt=2))


def test_after_the_question_has_ended_its_vector_is_gone(asking: Asking) -> None:
    node, binding = asking.world.first(), asking.binding()
    _made(asking, node, binding)
    node.answering.ended(asking.id.hex())
    assert node.answering.journal.contribution(asking.id.hex(), 0, 1) is None
    assert _reasons(asking, node, binding) == [Reason.UNSTORED]


@pytest.mark.parametrize("is_asked_again", [False, True])
def test_what_was_sent_and_forgotten_is_not_made_again_for_one_who_still_waits_for_it(asking: Asking, is_asked_again: bool) -> None:
    """A member set that comes twice has two slots. The coordinator's word of an end between them must not bring a second vector."""
    node, binding = asking.world.first(), asking.binding()
    attempts = [node.answering.accept(binding.encode())]
    if is_asked_again:
        assert isinstance(attempts[0], Attempt)
        node.answering.contribute(attempts[0], 30.0)
    attempts.append(node.answering.accept(binding.encode()))
    first, second = attempts
    assert isinstance(first, Attempt)
    assert isinstance(second, Attempt)
    node.answering.contribute(first, 30.0)
    node.answering.ended(asking.id.hex())
    with pytest.raises(Withheld):
        node.answering.contribute(second, 0.0)
    assert not node.answering.is_paused


class _Live(InstalledPlans):
    """A database that goes on: read again, it has other numbers."""

    read = 0

    def count(self, asked: Asked, generation: str, bounding_key: bytes, round_input: bytes, number: int) -> Integers:
        self.read += 1
        return super().count(asked, generation, bounding_key, round_input, number) + self.read


def test_an_attempt_after_the_coordinator_s_word_of_an_end_counts_nothing_anew(world: Nodes) -> None:
    node = world.first()
    node.plans = plans = _Live(node.home / "records")
    node.restart()
    node.bring()
    asking = world.ask()
    asking.all_ready()
    first = _made(asking, node, asking.binding(attempt=1))
    node.answering.ended(asking.id.hex())
    second = _made(asking, node, asking.binding(attempt=2))
    assert plans.read == 1
    assert first.masked != second.masked


class _Ahead(InstalledPlans):
    """What is read ahead of a first round, and what is counted."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.prepared: Queue[Asked] = Queue()
        self.counted = 0

    def prepare(self, asked: Asked, generation: str) -> None:
        super().prepare(asked, generation)
        self.prepared.put(asked)

    def count(self, asked: Asked, generation: str, bounding_key: bytes, round_input: bytes, number: int) -> Integers:
        self.counted += 1
        return super().count(asked, generation, bounding_key, round_input, number)


def test_once_its_ready_is_out_a_training_is_prepared_and_nothing_of_it_is_counted(world: Nodes) -> None:
    node = world.first()
    node.plans = plans = _Ahead(node.home / "records")
    node.restart()
    node.bring()
    fit = {"version": 1, "fit": "logistic", "table": "visits", "outcome": "IMP", "features": ["age", "male"]}
    spec = FitSpec.from_json({**fit, "period": {"from": "2026-10-01", "to": "2026-11-01"}}).to_json()
    asking = Asking(world, world.query(purpose="research", programme=None, rounds=3, spec=spec, variances=("200000000.0000",)))
    world.city.approve(asking.id.hex())
    assert asking.offer(node).refusals == []
    node.answering.speculate(asking.id.hex(), 0.0)
    assert plans.prepared.get(timeout=20).query == st.parse(asking.entry).statement
    assert plans.counted == 0


def test_a_contribution_leaves_on_the_grid_whatever_the_count_took(asking: Asking) -> None:
    node, binding = asking.world.first(), asking.binding()
    config, attempt = node.answering.config, node.answering.accept(binding.encode(), b"")
    assert isinstance(attempt, Attempt)
    for arrived in (0, 1, 24, 25, 1013):
        leaves = node.answering.departure(attempt, arrived, 0.0).leaves_at_ms
        assert leaves % config.grid_ms == 0
        assert 0 <= leaves - arrived - config.slot_ms < config.grid_ms


# -- failures


class _Failing(TablePlan):
    def run(self, asked: Asked, records: Any, bounding_key: bytes, round_input: bytes, number: int) -> Integers:
        raise ValueError("patient Zhang San 440103198001011234 has no date")


def test_a_failing_count_sends_zeros_and_noise_once_pauses_and_names_the_question(world: Nodes) -> None:
    node = world.first()
    node.plans = InstalledPlans(node.home / "records", {QuerySpec: _Failing()})
    node.restart()
    node.bring()
    asking = world.ask()
    asking.all_ready()
    with structlog.testing.capture_logs() as events:
        made = _made(asking, node, asking.binding())
    assert len(made.masked) == 4 * 11
    assert node.answering.is_paused
    (incident,) = [st.parse(each).statement for each in node.answering.journal.outbox().values()]
    assert isinstance(incident, st.Incident)
    assert incident.query == asking.id.hex()
    assert _reasons(asking, node, asking.binding(attempt=2)) == [Reason.PAUSED]
    assert "Zhang" not in str([only_known_keys(None, "", event) for event in events]) + str(node.answering.journal.note("paused"))
    assert all(b"Zhang" not in row for row in (made.masked, made.receipt, made.sealed))


class _Slow(TablePlan):
    """Counts only when it is let go."""

    def __init__(self) -> None:
        self.let_go = Event()

    def run(self, asked: Asked, records: Any, bounding_key: bytes, round_input: bytes, number: int) -> Integers:
        self.let_go.wait(60)
        return super().run(asked, records, bounding_key, round_input, number)


def _slowed(world: Nodes) -> tuple[Node, _Slow, Asking]:
    """A question that waits for its count at the first node."""
    node, slow = world.first(), _Slow()
    node.plans = InstalledPlans(node.home / "records", {QuerySpec: slow})
    node.restart()
    node.bring()
    asking = world.ask()
    asking.all_ready()
    return node, slow, asking


def test_a_count_that_is_not_there_in_time_is_not_waited_for_and_pauses_the_node(world: Nodes) -> None:
    node, slow, asking = _slowed(world)
    found = asking.contribute(node, asking.binding(), patience_s=0.01)
    slow.let_go.set()
    assert isinstance(found, StoredContribution)
    assert (node.answering.journal.note("paused") or "").startswith("node.overrun")


def test_a_count_that_comes_after_its_zeros_left_is_not_sent_under_the_same_masks(world: Nodes) -> None:
    """The difference of the two would be the exact vector, for whoever sees both."""
    node, slow, asking = _slowed(world)
    first, second = (node.answering.accept(asking.binding().encode()) for _ in range(2))
    assert isinstance(first, Attempt)
    assert isinstance(second, Attempt)
    node.answering.cover(first)
    zeros = node.answering.contribute(first, 0.01)
    node.answering.ended(asking.id.hex())
    slow.let_go.set()
    with pytest.raises(Withheld):
        node.answering.contribute(second, 30.0)
    assert zeros.masked
