"""Gathering: who is left out of the next attempt, and who is not. Nodes are real, their streams are in the test's hands."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator.admission import admitted_of
from coordinator.attempt import Turn, bind
from coordinator.config import Timing
from coordinator.gathering import Complete, Gathering
from coordinator.ledger import CityLedger
from coordinator.members import OUTBOX_FRAMES, Member, Members
from coordinator.question import Question
from coordinator.register import Register
from coordinator.rounds import Rounds
from hospital_node.journal import StoredContribution
from protocols.refusal import Reason, Refusal
from protocols.secagg.binding import Binding
from protocols.v1 import link_pb2
from tests.coordinator.support.witness import CityWitness
from tests.coordinator.test_log_door import HeldDisk, with_disk
from tests.hospital_node.support.nodes import Asking, Nodes
from tests.support.city import COORDINATOR

TIMING = Timing(straggler_s=0.05, vanished_s=0.05, return_s=0.01, contribution_s=20.0)


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Asking]:
    world = Nodes(tmp_path, 5)
    made = world.ask()
    made.all_ready()
    yield made
    world.close()


class Round:
    """One round being gathered: what the test lets hospitals answer."""

    def __init__(self, asking: Asking, path: Path) -> None:
        self.asking, city = asking, asking.world.city
        ledger = CityLedger(city.log, CityWitness(city), city.trust, lambda: city.now)
        ledger.note, ledger.note_size = city.checkpoint(), city.log.size
        self.members, self.register = Members(), Register(path / "register.sqlite")
        self.gathering = Gathering(ledger, self.members, self.register, None, lambda: city.now, TIMING)  # type: ignore[arg-type]
        self.question = Question(admitted_of(asking.entry))
        self.question.readys = dict(asking.readys)
        self.question.not_after = asking.not_after() if asking.readys else 0
        for uri in asking.readys:
            self.members.join(Member(uri, told=ledger.note_size, told_note=ledger.note))

    async def announced(self, attempt: int) -> Binding:
        while (last := self.register.last_attempt(self.question.id, 0)) is None or last[0] < attempt:
            await asyncio.sleep(0)
        while self.question.member_uris != tuple(each.uri for each in Binding.decode(last[1]).members):
            await asyncio.sleep(0)
        return Binding.decode(last[1])

    async def contribute(self, binding: Binding, *but: str) -> None:
        for uri in (each.uri for each in binding.members if each.uri not in but):
            made = self.asking.contribute(self.asking.world.nodes[uri], binding)
            assert isinstance(made, StoredContribution), made
            header = link_pb2.Contribution(
                query=self.question.id,
                attempt=binding.attempt,
                sealed=made.sealed,
                receipt=made.receipt,
                total_bytes=len(made.masked),
            )
            await self.gathering.contributed(self.question, uri, header, made.masked)

    async def balk(self, uri: str, attempt: int, reason: Reason) -> None:
        said = link_pb2.BindingRefused(query=self.question.id, attempt=attempt, refusals=[link_pb2.Reason(code=reason)])
        self.gathering.balked(self.question, uri, said)


def test_one_refusal_leaves_out_the_one_who_refused_and_nobody_who_is_still_in_its_slot(asking: Asking, tmp_path: Path) -> None:
    async def work() -> Complete:
        told = Round(asking, tmp_path)
        gathered = asyncio.create_task(told.gathering.round(told.question, 0, b""))
        await told.announced(1)
        await told.balk(max(asking.readys), 1, Reason.PAUSED)
        await told.contribute(await told.announced(2))
        return await gathered

    complete = asyncio.run(work())
    assert [each.uri for each in complete.binding.members] == sorted(asking.readys)[:-1]
    assert complete.binding.attempt == 2


def test_why_a_member_set_was_refused_outlives_the_process(asking: Asking, tmp_path: Path) -> None:
    async def work() -> list[Refusal]:
        told = Round(asking, tmp_path)
        told.register.put_question(told.question.id, asking.entry, 0)
        gathered = asyncio.create_task(told.gathering.round(told.question, 0, b""))
        await told.announced(1)
        await told.balk(max(asking.readys), 1, Reason.PAUSED)
        await told.announced(2)
        gathered.cancel()
        [row] = told.register.unfinished()
        return list(row.refusals)

    assert asyncio.run(work()) == [Refusal(Reason.PAUSED, subject=max(asking.readys))]


def test_a_disk_that_does_not_keep_why_costs_no_attempt(asking: Asking, tmp_path: Path) -> None:
    async def work() -> Binding:
        told = Round(asking, tmp_path)
        told.register._run(lambda: told.register._db.execute("DROP TABLE question"))
        gathered = asyncio.create_task(told.gathering.round(told.question, 0, b""))
        await told.announced(1)
        await told.balk(max(asking.readys), 1, Reason.PAUSED)
        second = await told.announced(2)
        gathered.cancel()
        return second

    assert [each.uri for each in asyncio.run(work()).members] == sorted(asking.readys)[:-1]


def test_a_hospital_that_vanished_is_left_out_and_what_the_others_sent_before_is_not_used(asking: Asking, tmp_path: Path) -> None:
    gone = min(asking.readys)

    async def work() -> Complete:
        told = Round(asking, tmp_path)
        gathered = asyncio.create_task(told.gathering.round(told.question, 0, b""))
        await told.contribute(await told.announced(1), gone)
        member = told.members.get(gone)
        assert member is not None
        told.members.leave(member)
        await told.contribute(await told.announced(2))
        return await gathered

    complete = asyncio.run(work())
    assert gone not in {each.uri for each in complete.made}
    assert {each.uri for each in complete.made} == set(asking.readys) - {gone}


@pytest.mark.parametrize("late", ["between rounds", "after a restart"])
def test_who_was_not_in_the_round_before_is_in_no_later_one_though_it_is_back(asking: Asking, tmp_path: Path, late: str) -> None:
    """A hospital that comes late has said Ready and is connected: a training's set only shrinks, whoever remembers it."""
    absent = max(asking.readys)

    async def work() -> Binding:
        told = Round(asking, tmp_path)
        before = bind(told.question, asking.world.city.view(), Turn(1, 1, asking.not_after(), b"1"), {absent})
        told.register.set_attempt(told.question.id, 1, 1, before.binding.encode())
        if late == "between rounds":
            told.question.gone.add(absent)
        gathered = asyncio.create_task(told.gathering.round(told.question, 2, b"2"))
        while (last := told.register.last_attempt(told.question.id, 2)) is None:
            await asyncio.sleep(0)
        gathered.cancel()
        return Binding.decode(last[1])

    assert [each.uri for each in asyncio.run(work()).members] == sorted(asking.readys)[:-1]


def test_a_complete_attempt_in_the_register_is_opened_as_it_is(asking: Asking, tmp_path: Path) -> None:
    async def work() -> tuple[Complete, Complete]:
        told = Round(asking, tmp_path)
        gathered = asyncio.create_task(told.gathering.round(told.question, 0, b""))
        await told.contribute(await told.announced(1))
        first = await gathered
        again = Question(told.question.admitted, readys=dict(asking.readys), not_after=told.question.not_after)
        return first, await told.gathering.round(again, 0, b"")

    first, again = asyncio.run(work())
    assert again.binding == first.binding
    assert sorted(again.made, key=lambda each: each.uri) == sorted(first.made, key=lambda each: each.uri)


def test_a_ready_that_is_not_on_the_disk_yet_is_not_read_from_it(tmp_path: Path) -> None:
    world, disk = Nodes(tmp_path, 5), HeldDisk()
    asking, late = world.ask(), max(world.nodes)
    offered = {uri: asking.offer(node).envelope for uri, node in world.nodes.items()}
    entry = offered.pop(late)
    for uri, envelope in offered.items():
        asking.log_ready(uri, envelope)

    async def work() -> tuple[set[str], set[str]]:
        city = world.city
        with_disk(city, disk)
        ledger = CityLedger(city.log, CityWitness(city), city.trust, lambda: city.now)
        timing = Timing(ready_s=0.05, straggler_s=0.01, return_s=0.0)
        rounds = Rounds(
            ledger,
            Members(),
            None,
            Register(tmp_path / "r.sqlite"),
            city.coordinator,
            COORDINATOR,
            lambda: city.now,
            timing,  # type: ignore[arg-type]
        )
        disk.go_on.clear()
        arriving = asyncio.create_task(ledger.append([entry]))
        while ledger.size == city.log.size:
            await asyncio.sleep(0)
        early, after = Question(admitted_of(asking.entry)), Question(admitted_of(asking.entry))
        early.not_after = after.not_after = asking.not_after()
        await rounds._gather(early)
        disk.go_on.set()
        await arriving
        await rounds._gather(after)
        return set(early.readys), set(after.readys)

    early, after = asyncio.run(work())
    assert after - early == {late}
    assert early == set(asking.readys)
    world.close()


@pytest.mark.parametrize("at_once", [False, True])
def test_the_last_ready_brings_the_checkpoint_under_which_all_of_them_stand(tmp_path: Path, at_once: bool) -> None:
    world = Nodes(tmp_path, 5)
    asking = world.ask()
    offered = {uri: asking.offer(node).envelope for uri, node in world.nodes.items()}

    async def work() -> list[bool]:
        told = Round(asking, tmp_path)
        answers = (told.gathering.answered(told.question, uri, envelope, True) for uri, envelope in offered.items())
        if at_once:
            await asyncio.gather(*answers)
            return [world.city.log._signed_size == world.city.log.size]
        found = []
        for each in answers:
            await each
            found.append(world.city.log._signed_size == world.city.log.size)
        return found

    assert asyncio.run(work()) == ([True] if at_once else [False] * 4 + [True])
    world.close()


def test_a_hospital_that_reads_too_slowly_loses_its_stream_and_stops_nobody() -> None:
    async def work() -> None:
        member = Member("kapok://hospital/h01", told=0)
        for _ in range(OUTBOX_FRAMES + 1):
            member.send(link_pb2.CoordinatorFrame())
        assert await member.outbox.get() is None

    asyncio.run(work())
