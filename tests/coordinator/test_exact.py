"""Exact mode at the coordinator: every hospital of the audience, in every attempt, or an end that names who is missing."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coordinator.admission import Admitted, admit, admitted_of
from coordinator.attempt import Turn, bind
from coordinator.gathering import Complete
from coordinator.question import Ended, Question
from coordinator.release import spending
from protocols.exact import as_exact
from protocols.query import QuerySpec
from protocols.refusal import Reason, Refusal
from tests.coordinator.test_gathering import Round
from tests.hospital_node.support.nodes import VISITS_BY_DISTRICT, Asking, Nodes
from tests.hospital_node.test_exact import allow_all, ask
from tests.support.city import BUREAU
from tests.support.exact import EXACT, permit


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Nodes]:
    made = Nodes(tmp_path / "world", 5)
    yield made
    made.close()


@pytest.fixture
def asking(world: Nodes) -> Asking:
    allow_all(world)
    made = ask(world)
    made.all_ready()
    return made


def named(found: list[Refusal]) -> set[tuple[Reason, str]]:
    return {(each.reason, each.subject) for each in found}


def admission(world: Nodes, **changes: Any) -> set[tuple[Reason, str]] | Admitted:
    stated = {**EXACT, "spec": as_exact(QuerySpec.from_fields(VISITS_BY_DISTRICT).to_json())}
    found = admit(world.query(**{**stated, **changes}), BUREAU, world.city.view(), world.city.now)
    return found if isinstance(found, Admitted) else named(found)


def test_a_question_that_every_policy_allows_is_admitted_at_no_price(world: Nodes) -> None:
    permit(world.city)
    found = admission(world)
    assert isinstance(found, Admitted)
    assert (found.price.one, found.price.two) == (0, 0)


def test_the_one_hospital_whose_policy_refuses_is_named_before_anybody_is_asked(world: Nodes) -> None:
    refusing = max(world.nodes)
    permit(world.city, set(world.nodes) - {refusing})
    assert admission(world) == {(Reason.EXACT_NOT_PERMITTED, refusing)}


def test_a_floor_of_four_and_noise_are_refused(world: Nodes) -> None:
    permit(world.city)
    assert (Reason.FLOOR_TOO_LOW, "") in admission(world, floor=4)  # type: ignore[operator]
    assert admission(world, variances=("400.0000",)) == {(Reason.MALFORMED, "")}


def question_of(asking: Asking) -> Question:
    question = Question(admitted_of(asking.entry))
    question.readys = dict(asking.readys)
    return question


def test_the_proposed_binding_is_the_one_that_nodes_compute_for_themselves(asking: Asking) -> None:
    bound = bind(question_of(asking), asking.world.city.view(), Turn(0, 1, asking.not_after(), b""), set())
    assert bound.binding == asking.binding()
    assert spending(question_of(asking).admitted.asked, bound.binding) == ()


def test_no_binding_is_proposed_without_the_whole_audience(asking: Asking) -> None:
    gone = max(asking.readys)
    with pytest.raises(Ended) as ended:
        bind(question_of(asking), asking.world.city.view(), Turn(0, 1, asking.not_after(), b""), {gone})
    assert (ended.value.state, named(ended.value.refusals)) == ("failed", {(Reason.NOT_THE_FIXED_SET, gone)})


def test_an_answer_needs_every_ready_and_a_private_one_the_floor(asking: Asking) -> None:
    assert question_of(asking).fewest == 5
    assert Question(admitted_of(asking.world.ask().entry)).fewest == 4


def test_who_refuses_the_member_set_ends_the_question_and_is_named(asking: Asking, tmp_path: Path) -> None:
    async def work() -> None:
        told = Round(asking, tmp_path)
        gathered = asyncio.create_task(told.gathering.round(told.question, 0, b""))
        await told.announced(1)
        await told.balk(max(asking.readys), 1, Reason.PAUSED)
        await gathered

    with pytest.raises(Ended) as ended:
        asyncio.run(work())
    gone = max(asking.readys)
    assert named(ended.value.refusals) == {(Reason.NOT_THE_FIXED_SET, gone), (Reason.PAUSED, gone)}


def test_who_vanishes_is_waited_for_in_the_next_attempt_of_the_same_set(asking: Asking, tmp_path: Path) -> None:
    gone = max(asking.readys)

    async def work() -> Complete:
        told = Round(asking, tmp_path)
        member = told.members.get(gone)
        assert member is not None
        gathered = asyncio.create_task(told.gathering.round(told.question, 0, b""))
        first = await told.announced(1)
        await told.contribute(first, gone)
        told.members.leave(member)
        second = await told.announced(2)
        while told.question.binding != second:  # the set is the same: the register alone does not show that it went out
            await asyncio.sleep(0)
        assert [each.uri for each in second.members] == [each.uri for each in first.members]
        told.members.join(member)
        await told.contribute(second)
        return await gathered

    complete = asyncio.run(work())
    assert len(complete.made) == 5


def test_who_stays_away_for_three_attempts_ends_the_question_and_is_named(asking: Asking, tmp_path: Path) -> None:
    gone = max(asking.readys)

    async def work() -> None:
        told = Round(asking, tmp_path)
        member = told.members.get(gone)
        assert member is not None
        told.members.leave(member)
        await told.gathering.round(told.question, 0, b"")

    with pytest.raises(Ended) as ended:
        asyncio.run(work())
    assert named(ended.value.refusals) == {(Reason.ATTEMPTS_EXHAUSTED, ""), (Reason.NOT_THE_FIXED_SET, gone)}
