"""What a node has ready before the member set: given out once, for the set it hoped for, with a slot that begins at its Ready."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hospital_node.attempt import Attempt
from hospital_node.foreseen import Foreseen
from protocols import statements as st
from protocols.contract import colluders
from protocols.secagg.agreement import PairKey
from protocols.secagg.binding import Binding
from protocols.secagg.masks import mask
from protocols.secagg.ring import Integers, from_ring
from protocols.secagg.sealing import query_context
from tests.hospital_node.support.nodes import Asking, Node, Nodes

QUERY = "ab" * 32


def _zeros(n: int, c: int) -> Integers:
    return np.zeros(n + c, np.int64)


@pytest.fixture
def foreseen() -> Foreseen:
    made = Foreseen()
    made.foresee(QUERY, 5, _zeros, left_s=100.0)
    return made


def test_a_share_is_of_the_whole_audience_and_is_given_out_once(foreseen: Foreseen) -> None:
    share = foreseen.take(QUERY, 5, colluders(5))
    assert share is not None
    assert (share.n, share.c, len(share.noise)) == (5, colluders(5), 5 + colluders(5))
    assert foreseen.take(QUERY, 5, colluders(5)) is None


@pytest.mark.parametrize(("n", "c"), [(4, 1), (5, 2), (6, 1)])
def test_another_set_gets_none_and_no_later_one_does(foreseen: Foreseen, n: int, c: int) -> None:
    assert foreseen.take(QUERY, n, c) is None
    assert foreseen.take(QUERY, 5, colluders(5)) is None


def test_shares_of_questions_that_are_over_go(foreseen: Foreseen) -> None:
    foreseen.keep({QUERY})
    foreseen.foresee("cd" * 32, 5, _zeros, 0.0)
    foreseen.keep({QUERY})
    assert foreseen.take("cd" * 32, 5, colluders(5)) is None
    foreseen.drop(QUERY)
    assert foreseen.take(QUERY, 5, colluders(5)) is None


def test_for_an_audience_that_nobody_may_answer_nothing_is_drawn() -> None:
    def never(_n: int, _c: int) -> Integers:
        raise AssertionError("drawn")

    Foreseen().foresee(QUERY, 1, never, 0.0)


@pytest.mark.parametrize(("now_s", "waited_ms"), [(100.0, 0), (100.2504, 250), (99.0, 0)])
def test_what_a_share_has_waited_is_told_in_whole_milliseconds(foreseen: Foreseen, now_s: float, waited_ms: int) -> None:
    share = foreseen.take(QUERY, 5, colluders(5))
    assert share is not None
    assert share.waited_ms(now_s) == waited_ms


# -- at a node


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Nodes]:
    made = Nodes(tmp_path, 5)
    yield made
    made.close()


def _accepted(node: Node, binding: Binding) -> Attempt:
    found = node.answering.accept(binding.encode())
    assert isinstance(found, Attempt), found
    return found


def _smaller(asking: Asking) -> Binding:
    asking.readys.pop(max(asking.readys))
    return asking.binding()


def test_the_set_a_node_hoped_for_gets_the_noise_that_was_drawn_behind_the_ready(world: Nodes) -> None:
    node, asking = world.first(), world.ask()
    asking.all_ready()
    attempt = _accepted(node, asking.binding())
    assert attempt.share is not None
    drawn: list[int] = []
    node.answering.contributing.random = lambda size: drawn.append(size) or os.urandom(size)  # type: ignore[func-returns-value]
    node.answering.contribute(attempt, 30.0)
    assert drawn == [32]  # the seed of the masks, and no noise a second time


def test_a_smaller_set_gets_noise_of_its_own_in_a_slot_of_its_own(world: Nodes) -> None:
    node, asking = world.first(), world.ask()
    asking.all_ready()
    attempt = _accepted(node, _smaller(asking))
    assert attempt.share is None
    when = node.answering.departure(attempt, 0, 1e9)
    assert when.counted_by_ms == node.answering.slot_ms(attempt) <= when.leaves_at_ms


def test_masks_and_noise_may_be_made_ahead_and_give_the_same_bytes(world: Nodes) -> None:
    """One seed, one share: what left is the exact vector under them, whether they were ready before the count or made behind it."""
    node, asking = world.first(), world.ask()
    asking.all_ready()
    attempt = _accepted(node, asking.binding())
    assert attempt.share is not None
    node.answering.cover(attempt)
    cover = attempt.cover
    node.answering.cover(attempt)
    assert attempt.cover is cover is not None, "made once"
    made = node.answering.contribute(attempt, 30.0)
    assert made.sealed == cover.sealed
    exact = from_ring(np.frombuffer(made.masked, "<u4") - cover.vector, attempt.binding.ring)
    assert exact.tolist() == attempt.count.result().tolist()
    bare = mask(np.zeros(len(exact), np.int64), 32, attempt.value, _seed_of(asking, node, made.sealed), _pairs(node, attempt))
    assert from_ring(cover.vector - bare, 32).tolist() == attempt.share.noise.tolist()


def _seed_of(asking: Asking, node: Node, sealed: bytes) -> bytes:
    statement = st.parse(asking.readys[node.uri]).statement
    assert isinstance(statement, st.Ready)
    key = asking.world.opener.keys.find(statement.sealing.month)
    assert key is not None
    return key.open(sealed, query_context(asking.binding().value, node.uri))


def _pairs(node: Node, attempt: Attempt) -> list[PairKey]:
    return node.answering.contributing._pair_keys(attempt.binding, attempt.ready.month)


def test_a_contribution_that_was_stored_is_covered_no_second_time(world: Nodes) -> None:
    node, asking = world.first(), world.ask()
    asking.all_ready()
    made = asking.contribute(node, asking.binding())
    again = _accepted(node, asking.binding())
    node.answering.cover(again)
    assert again.cover is None
    assert node.answering.contribute(again, 0.0) == made


def test_a_second_attempt_at_the_same_set_draws_anew(world: Nodes) -> None:
    node, asking = world.first(), world.ask()
    asking.all_ready()
    first, second = (_accepted(node, asking.binding(attempt=number)) for number in (1, 2))
    assert first.share is not None
    assert second.share is None


def test_the_slot_of_the_set_it_hoped_for_begins_with_the_ready(world: Nodes) -> None:
    node, asking = world.first(), world.ask()
    asking.all_ready()
    attempt = _accepted(node, asking.binding())
    assert attempt.share is not None
    slot_ms, grid_ms, left_s = node.answering.slot_ms(attempt), node.answering.config.grid_ms, attempt.share.left_s
    for waited_ms in (0, slot_ms // 2, slot_ms, 10 * slot_ms):
        when = node.answering.departure(attempt, 10 * grid_ms, left_s + (waited_ms + 0.5) / 1000)
        left_ms = max(0, slot_ms - waited_ms)
        assert 0 <= when.leaves_at_ms - 10 * grid_ms - left_ms < grid_ms
        assert when.counted_by_ms == 10 * grid_ms + left_ms


def test_a_node_that_started_again_foresees_nothing(world: Nodes) -> None:
    node, asking = world.first(), world.ask()
    asking.all_ready()
    node.restart()
    node.bring()
    assert _accepted(node, asking.binding()).share is None


def test_what_was_foreseen_goes_with_its_question(world: Nodes) -> None:
    node, asking = world.first(), world.ask()
    asking.all_ready()
    node.answering.contributing.forget(asking.id.hex())
    assert _accepted(node, asking.binding()).share is None
    other = world.ask()
    other.all_ready()
    world.city.now += 8 * 86_400
    node.answering.sweep()
    assert node.answering.contributing._foreseen.take(other.id.hex(), 5, 1) is None


def test_an_attempt_that_never_left_goes_with_its_question(world: Nodes) -> None:
    node, first, second = world.first(), world.ask(), world.ask()
    first.all_ready()
    _accepted(node, first.binding())
    node.answering.contributing.forget(first.id.hex())
    assert not node.answering.contributing._running
    second.all_ready()
    binding = second.binding()
    _accepted(node, binding)
    node.answering.sweep()
    assert node.answering.contributing._running, "its window is open"
    world.city.now += 8 * 86_400
    node.answering.sweep()
    assert not node.answering.contributing._running
