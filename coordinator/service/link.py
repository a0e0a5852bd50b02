"""NodeLink: one stream a hospital. Frames in are handled in order; frames out go through the member's one writer task."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc.aio
import structlog

from audit_ledger.before import PastLog
from audit_ledger.party.channel import peer_of
from coordinator.ledger import CityLedger
from coordinator.members import Member, Members, Partial, close, in_pieces
from coordinator.rounds import Rounds
from coordinator.service.statements import HOSPITAL_KINDS, append_statement
from protocols.contract import CONTRACT
from protocols.errors import ProtocolError
from protocols.identity import Role
from protocols.statements import Ready, Refused, parse
from protocols.v1 import link_pb2, link_pb2_grpc

log = structlog.get_logger("coordinator.link")
MAX_CONTRIBUTION_BYTES = CONTRACT.max_cells * 8 * 8
HEARTBEAT_S = 15.0


def _farewell(past: PastLog, entry0: bytes, followed: int) -> Iterator[link_pb2.CoordinatorFrame]:
    """To who followed a log that is closed: the rest of it, and entry 0 of the next."""
    start = min(followed, past.view.size)
    for frame in in_pieces(start, past.reader.read_entries(start, past.view.size), past.note):
        yield link_pb2.CoordinatorFrame(follow=frame)
    yield link_pb2.CoordinatorFrame(next_log=link_pb2.Statement(envelope=entry0))


class Link(link_pb2_grpc.NodeLinkServicer):
    """Serves hospitals. Identity is the certificate's URI."""

    def __init__(self, ledger: CityLedger, members: Members, rounds: Rounds) -> None:
        self._ledger, self._members, self._rounds = ledger, members, rounds

    async def Connect(  # noqa: N802
        self, request_iterator: AsyncIterator[link_pb2.NodeFrame], context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> AsyncIterator[link_pb2.CoordinatorFrame]:
        uri = peer_of(context)
        if uri.role is not Role.HOSPITAL:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "link.role")
        hello = await anext(request_iterator)
        if hello.WhichOneof("frame") != "hello":
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "link.hello_first")
        if (ended := self._ledger.ended_log(hello.hello.origin)) is not None:
            for farewell in _farewell(*ended, hello.hello.followed):
                yield farewell
            return
        member = Member(str(uri), told=hello.hello.followed, takes_before=hello.hello.takes_before)
        member.listener = lambda: member.catch_up_soon(self._ledger)
        tasks = [asyncio.create_task(each) for each in (self._read(member, request_iterator), _beat(member))]
        try:
            await self._welcome(member)
            while (frame := await member.next_frame()) is not None:
                yield frame
        finally:
            for task in tasks:
                task.cancel()
            if member.later is not None:
                member.later.cancel()
            self._ledger.unlisten(member.listener)
            self._members.leave(member)
            log.info("hospital left", party=member.uri)

    async def _welcome(self, member: Member) -> None:
        await self._ledger.refreshed(CONTRACT.freshness_s // 2)
        member.send(link_pb2.CoordinatorFrame(welcome=link_pb2.Welcome(size=self._ledger.note_size)))
        member.catch_up(self._ledger)
        self._ledger.listen(member.listener)
        self._members.join(member)
        log.info("hospital joined", party=member.uri)

    async def _read(self, member: Member, frames: AsyncIterator[link_pb2.NodeFrame]) -> None:
        try:
            async for frame in frames:
                await self._handle(member, frame)
        except ProtocolError as error:
            log.warning("frame refused", party=member.uri, code=error.code)
        except grpc.aio.AioRpcError:
            pass  # the peer is gone; the stream's end below says so
        finally:
            close(member)

    async def _handle(self, member: Member, frame: link_pb2.NodeFrame) -> None:
        match frame.WhichOneof("frame"):
            case "ready":
                await self._answered(member, frame.ready.envelope, is_ready=True)
            case "refused":
                await self._answered(member, frame.refused.envelope, is_ready=False)
            case "contribution":
                await self._contribution(member, frame.contribution)
            case "chunk":
                self._chunk(member, frame.chunk.data)
            case "complete":
                await self._complete(member)
            case "binding_refused":
                if (question := self._rounds.find(frame.binding_refused.query)) is not None:
                    self._rounds.gathering.balked(question, member.uri, frame.binding_refused)
            case "heartbeat":
                member.is_paused = frame.heartbeat.is_paused
            case "statement":
                appended = await append_statement(self._ledger, frame.statement.envelope, HOSPITAL_KINDS)
                member.send(link_pb2.CoordinatorFrame(appended=appended))
            case _:
                pass  # goodbye: a fact about the stream that needs no answer

    async def _answered(self, member: Member, envelope: bytes, is_ready: bool) -> None:
        statement = parse(envelope).statement
        if isinstance(statement, Ready | Refused) and (question := self._rounds.find(bytes.fromhex(statement.query))) is not None:
            await self._rounds.gathering.answered(question, member.uri, envelope, is_ready)

    async def _contribution(self, member: Member, header: link_pb2.Contribution) -> None:
        member.partial = Partial(header)
        if header.masked:
            self._chunk(member, header.masked)
            await self._complete(member)

    def _chunk(self, member: Member, data: bytes) -> None:
        if member.partial is None or len(member.partial.data) + len(data) > min(
            member.partial.header.total_bytes, MAX_CONTRIBUTION_BYTES
        ):
            raise ProtocolError("chunk: more bytes than the contribution declared")
        member.partial.data += data

    async def _complete(self, member: Member) -> None:
        partial, member.partial = member.partial, None
        if partial is None or len(partial.data) != partial.header.total_bytes:
            raise ProtocolError("contribution: completed without all its bytes")
        if (question := self._rounds.find(partial.header.query)) is not None:
            await self._rounds.gathering.contributed(question, member.uri, partial.header, bytes(partial.data))


async def _beat(member: Member) -> None:
    while True:
        await asyncio.sleep(HEARTBEAT_S)
        member.send(link_pb2.CoordinatorFrame(heartbeat=link_pb2.Heartbeat()))
