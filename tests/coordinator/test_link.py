"""The coordinator's end of a hospital's stream: it is never silent for long, and ends with its reader."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from coordinator.ledger import CityLedger
from coordinator.members import JOINED_BYTES, Member, Members
from coordinator.service import link as link_module
from coordinator.service.link import Link
from protocols.v1 import link_pb2
from tests.coordinator.support.witness import CityWitness
from tests.support.city import ORIGIN, City


class Caller:
    """What gRPC knows of a caller: the names in its certificate."""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def auth_context(self) -> dict[str, list[bytes]]:
        return {"peer_uri": [self._uri.encode()]}


@pytest.fixture
def city(tmp_path: Path) -> Iterator[City]:
    made = City(tmp_path)
    yield made
    made.close()


def test_a_stream_on_which_nothing_happens_is_kept_up_by_heartbeats_and_ends_with_what_comes_in(
    city: City, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "HEARTBEAT_S", 0.01)
    hung_up, members = asyncio.Event(), Members()

    async def frames() -> AsyncIterator[link_pb2.NodeFrame]:
        yield link_pb2.NodeFrame(hello=link_pb2.Hello(followed=0, origin=ORIGIN))
        await hung_up.wait()

    async def story() -> list[str | None]:
        ledger = CityLedger(city.log, CityWitness(city), city.trust, lambda: city.now)
        ledger.note, ledger.note_size = city.checkpoint(), city.log.size
        link, told = Link(ledger, members, None), list[str | None]()  # type: ignore[arg-type]  # no question is asked here
        uri = min(city.hospitals)
        async for frame in link.Connect(frames(), Caller(uri)):  # type: ignore[arg-type]
            told.append(frame.WhichOneof("frame"))
            if told.count("heartbeat") == 3:
                assert members.get(uri) is not None
                hung_up.set()
        return told

    told = asyncio.run(asyncio.wait_for(story(), 30))
    assert told[:2] == ["welcome", "follow"]
    assert set(told[2:]) == {"heartbeat"}
    assert members.all() == []


def _frame(number: int, size: int = 0) -> link_pb2.CoordinatorFrame:
    return link_pb2.CoordinatorFrame(input=link_pb2.Chunk(data=bytes([number]) + bytes(size)))


def _sent(frames: list[link_pb2.CoordinatorFrame | None], takes_before: bool) -> list[list[int]]:
    """The messages that a hospital gets, each as the numbers of its frames in order."""

    async def story() -> list[list[int]]:
        member = Member("kapok://hospital/h01", told=0, takes_before=takes_before)
        for frame in frames:
            member.outbox.put_nowait(frame)
        messages = []
        while (message := await member.next_frame()) is not None:
            assert not any(each.before for each in message.before)
            messages.append([each.input.data[0] for each in (*message.before, message)])
        return messages

    return asyncio.run(asyncio.wait_for(story(), 10))


def test_what_waits_together_is_sent_in_one_message_and_in_its_order() -> None:
    frames = [_frame(number) for number in range(3)]
    assert _sent([*frames, None], takes_before=True) == [[0, 1, 2]]
    assert [len(each.before) for each in frames] == [0, 0, 0]  # they wait in other outboxes too
    assert _sent([*frames, None, _frame(9)], takes_before=True) == [[0, 1, 2]]
    assert _sent([None], takes_before=True) == []


def test_a_program_that_does_not_say_that_it_takes_them_gets_frames_one_by_one() -> None:
    assert _sent([_frame(0), _frame(1), None], takes_before=False) == [[0], [1]]


def test_a_message_grows_no_further_once_it_is_long() -> None:
    frames = [_frame(0), _frame(1, JOINED_BYTES), _frame(2), _frame(3), None]
    assert _sent(frames, takes_before=True) == [[0, 1], [2, 3]]
