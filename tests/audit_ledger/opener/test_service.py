"""The opener over real gRPC with mutual TLS on loopback."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest

from audit_ledger.opener import OpenRequest
from audit_ledger.opener_core import OpenerCore
from audit_ledger.opener_keys import SealingKeys
from audit_ledger.opener_service import OpenerService, start_opener
from audit_ledger.opener_store import OpenerStore
from audit_ledger.party.channel import open_channel
from audit_ledger.party.home import Home
from protocols.refusal import Reason
from protocols.statements import Sealing
from protocols.v1 import link_pb2, link_pb2_grpc
from tests.support.certificates import Authority
from tests.support.city import AUDITOR, COORDINATOR, City, Question

pytestmark = pytest.mark.wire


@asynccontextmanager
async def serving(city: City, tmp_path: Path, caller: str = COORDINATOR, name: str = "opener") -> AsyncIterator[Any]:
    ca = Authority()
    home = ca.equip(tmp_path / name, AUDITOR)
    peer = ca.equip(tmp_path / "peer", caller)
    service = OpenerService(lambda: core_of(city, home), lambda: city.now)
    server, port = await start_opener(service, home, "127.0.0.1:0")
    try:
        async with open_channel(peer, f"127.0.0.1:{port}", AUDITOR) as channel:
            yield link_pb2_grpc.OpenerStub(channel)
    finally:
        await server.stop(0)
        service.close()


def core_of(city: City, home: Home) -> OpenerCore:
    return OpenerCore(city.trust, OpenerStore(home.path / "opener.sqlite"), SealingKeys(home), city.service)


def members(request: OpenRequest) -> link_pb2.OpenRequest:
    seeds = [
        link_pb2.SealedSeed(
            uri=s.uri, sealed=s.sealed, receipt=s.receipt, masked_hash=s.masked_hash, round_signature=s.round_signature
        )
        for s in request.seeds
    ]
    frame = link_pb2.Members(preimage=request.preimage, seeds=seeds, first_round=request.first_round, last_round=request.last_round)
    return link_pb2.OpenRequest(members=frame)


def follow_in_pieces(city: City, start: int, piece: int = 4) -> list[link_pb2.OpenRequest]:
    _, entries, checkpoint = city.follow(start)
    cuts = range(0, max(1, len(entries)), piece)
    frames = [link_pb2.Follow(start=start + at, entries=entries[at : at + piece]) for at in cuts]
    frames[-1].checkpoint = checkpoint
    return [link_pb2.OpenRequest(follow=frame) for frame in frames]


async def read_sum(call: Any) -> bytes:
    received = b""
    while True:
        reply = await call.read()
        if reply.WhichOneof("frame") == "complete":
            assert reply.complete.total_bytes == len(received)
            return received
        assert reply.WhichOneof("frame") == "sum", reply
        received += reply.sum.data


def test_a_question_is_opened_over_the_wire_and_again_from_the_cache(tmp_path: Path) -> None:
    async def run() -> None:
        city = City(tmp_path / "city")
        async with serving(city, tmp_path) as stub:
            certificate = (await stub.Sealing(link_pb2.SealingRequest(month="2026-11"))).certificate
            question = Question(city, core_of(city, Home(tmp_path / "opener")))
            assert Sealing.model_validate_json(certificate) == question.opener.sealing("2026-11", city.now)
            question.all_ready()
            request = question.request(question.binding(dimension=200_000))
            call = stub.Open()
            size = (await call.read()).followed
            assert size == 0
            for frame in follow_in_pieces(city, size):
                await call.write(frame)
            await call.write(members(request))
            opening = (await call.read()).opening.envelope
            size = city.log.size
            city.log_entry(opening)
            for frame in follow_in_pieces(city, size):
                await call.write(frame)
            total = await read_sum(call)
            await call.write(members(request))
            assert (await call.read()).opening.envelope == opening
            assert await read_sum(call) == total
            call.cancel()
            values = question.finish(request, total)
            assert values.tolist() == sum(question.exact.values(), np.zeros(200_000, np.int64)).tolist()
            assert city.findings() == []

    asyncio.run(run())


def test_a_refused_request_names_its_reasons_and_leaves_the_stream_open(tmp_path: Path) -> None:
    async def run() -> None:
        city = City(tmp_path / "city")
        async with serving(city, tmp_path) as stub:
            await stub.Sealing(link_pb2.SealingRequest(month="2026-11"))
            question = Question(city, core_of(city, Home(tmp_path / "opener")))
            question.all_ready()
            call = stub.Open()
            for frame in follow_in_pieces(city, (await call.read()).followed):
                await call.write(frame)
            await call.write(members(question.request(question.binding(attempt=9))))
            refused = (await call.read()).refused.refusals
            assert [each.code for each in refused] == [Reason.ATTEMPTS_EXHAUSTED]
            await call.write(members(question.request()))
            assert (await call.read()).WhichOneof("frame") == "opening"
            call.cancel()

    asyncio.run(run())


def test_a_ledger_that_does_not_follow_is_refused_and_the_stream_ends(tmp_path: Path) -> None:
    async def run() -> None:
        city = City(tmp_path / "city")
        async with serving(city, tmp_path) as stub:
            call = stub.Open()
            await call.read()
            _, entries, checkpoint = city.follow(0)
            frame = link_pb2.Follow(start=0, entries=[b"an invented entry", *entries[1:]], checkpoint=checkpoint)
            await call.write(link_pb2.OpenRequest(follow=frame))
            assert [each.code for each in (await call.read()).refused.refusals] == [Reason.INCONSISTENT]
            assert await call.read() is grpc.aio.EOF

    asyncio.run(run())


@pytest.mark.parametrize("caller", ["kapok://hospital/h01", "kapok://coordinator/another", "kapok://bureau/cdc"])
def test_only_the_coordinator_of_entry_0_is_served(tmp_path: Path, caller: str) -> None:
    async def run() -> None:
        city = City(tmp_path / "city")
        home = Home(tmp_path / "opener")
        core = core_of(city, home)
        city.bring(core)
        core.store.close()
        async with serving(city, tmp_path, caller) as stub:
            for ask in (lambda: stub.Sealing(link_pb2.SealingRequest(month="2026-11")), lambda: stub.Open().read()):
                assert await code_of(ask) is grpc.StatusCode.PERMISSION_DENIED

    asyncio.run(run())


async def code_of(ask: Callable[[], Any]) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask()
    return caught.value.code()


def test_pieces_with_a_gap_are_refused_and_the_stream_ends(tmp_path: Path) -> None:
    async def run() -> None:
        city = City(tmp_path / "city")
        async with serving(city, tmp_path) as stub:
            call = stub.Open()
            await call.read()
            await call.write(link_pb2.OpenRequest(follow=link_pb2.Follow(start=0, entries=[b"one"])))
            await call.write(link_pb2.OpenRequest(follow=link_pb2.Follow(start=7, entries=[b"another"])))
            assert [each.code for each in (await call.read()).refused.refusals] == [Reason.INCONSISTENT]
            assert await call.read() is grpc.aio.EOF

    asyncio.run(run())
