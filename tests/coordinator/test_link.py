"""The coordinator's end of a hospital's stream: it is never silent for long, and ends with its reader."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from coordinator.ledger import CityLedger
from coordinator.members import Members
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
