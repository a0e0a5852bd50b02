"""What a peer learns of a failure inside a server: an incident number."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from audit_ledger.party.channel import open_channel, server_credentials
from audit_ledger.party.interceptor import Discreet
from protocols.v1 import link_pb2, link_pb2_grpc
from tests.support.certificates import Authority
from tests.support.city import AUDITOR, COORDINATOR

pytestmark = pytest.mark.wire


class Careless(link_pb2_grpc.OpenerServicer):
    """Fails with a value in its text, as code with a bug does; `Sealing` may also abort on purpose."""

    async def Sealing(self, request: Any, context: Any) -> Any:
        if request.month == "on purpose":
            await context.abort(grpc.StatusCode.NOT_FOUND, "said on purpose")
        raise RuntimeError("patient 12345")

    async def Open(self, request_iterator: Any, context: Any) -> Any:
        yield link_pb2.OpenReply(followed=1)
        raise RuntimeError("patient 12345")


def test_no_exception_text_reaches_the_peer_and_an_abort_on_purpose_does(tmp_path: Path) -> None:
    async def run() -> None:
        ca = Authority()
        server = grpc.aio.server(interceptors=[Discreet()])
        link_pb2_grpc.add_OpenerServicer_to_server(Careless(), server)
        port = server.add_secure_port("127.0.0.1:0", server_credentials(ca.equip(tmp_path / "a", AUDITOR)))
        await server.start()
        async with open_channel(ca.equip(tmp_path / "c", COORDINATOR), f"127.0.0.1:{port}", AUDITOR) as channel:
            stub = link_pb2_grpc.OpenerStub(channel)
            assert await failure(stub.Sealing(link_pb2.SealingRequest(month="2026-11"))) == (grpc.StatusCode.INTERNAL, True)
            assert await failure(stub.Sealing(link_pb2.SealingRequest(month="on purpose"))) == (grpc.StatusCode.NOT_FOUND, False)
            call = stub.Open()
            reply: Any = await call.read()
            assert reply.followed == 1
            assert await failure(call.read()) == (grpc.StatusCode.INTERNAL, True)
        await server.stop(0)

    asyncio.run(run())


async def failure(waited: Any) -> tuple[grpc.StatusCode, bool]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await waited
    details = caught.value.details() or ""
    assert "12345" not in details
    return caught.value.code(), details.startswith("incident ")
