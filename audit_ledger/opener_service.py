"""The opener on the wire: `kapok.v1.Opener`, for the coordinator of entry 0 alone.

Rules of the `Open` stream
- The service speaks first: `followed`, the size from which it wants entries.
- `follow` frames may come at any time, in pieces; the last one has the checkpoint. They are answered only when they fail: with
  `refused`, after which the stream ends (open a new one and read `followed`).
- `encrypted` pieces stand before the `members` of a question for residents, whose `sum` are then its blinded cells.
- Each `members` is answered with `refused`, or with `opening` (not for later rounds of a segment) and then, once a `follow` covers
  it, with `sum` pieces and `complete`. Several may wait; they are answered in the order in which they came.
- `refused` for one request leaves the stream open. The end of a stream means nothing: send the same request again.

All state is touched by one thread of its own, masks included; the event loop only carries frames.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import grpc
import grpc.aio
import structlog

from audit_ledger.errors import Unavailable
from audit_ledger.opener import OpenRequest, SealedSeed
from audit_ledger.opener_core import OpenerCore, Reply
from audit_ledger.opener_keys import NoSealingKey
from audit_ledger.party.channel import CHUNK_BYTES, OPTIONS, NotAuthenticated, peer_of, server_credentials
from audit_ledger.party.home import Home
from audit_ledger.party.interceptor import Discreet
from audit_ledger.zero_test import MOST_BYTES
from protocols.canonical import encode_json
from protocols.identity import Identity, Role
from protocols.refusal import Reason, Refusal
from protocols.v1 import link_pb2, link_pb2_grpc

SWEEP_S = 60
_T = TypeVar("_T")
_Context = grpc.aio.ServicerContext[Any, Any]
_log = structlog.get_logger("opener")


def wall_clock() -> int:
    return int(time.time())


@dataclass(slots=True)
class _Pieces:
    """Entries of one stream that wait for their checkpoint."""

    start: int = 0
    entries: list[bytes] = field(default_factory=list)

    def take(self, frame: link_pb2.Follow) -> tuple[int, list[bytes], bytes] | None:
        """The whole, once its last piece is there. Raises Unavailable when a piece does not continue the one before."""
        if not self.entries:
            self.start = frame.start
        elif frame.start != self.start + len(self.entries):
            raise Unavailable(f"follow: expected a piece from {self.start + len(self.entries)}, got {frame.start}")
        self.entries.extend(frame.entries)
        if not frame.checkpoint:
            return None
        whole, self.entries = self.entries, []
        return self.start, whole, frame.checkpoint


class OpenerService(link_pb2_grpc.OpenerServicer):
    """See the module's docstring. `make` builds the core inside the service's own thread."""

    def __init__(self, make: Callable[[], OpenerCore], clock: Callable[[], int] = wall_clock) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="opener")
        self._core = self._thread.submit(make).result()
        self._clock = clock

    async def run(self, act: Callable[[OpenerCore], _T]) -> _T:
        """`act` in the thread that owns the core."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, act, self._core)

    async def sweep_forever(self) -> None:
        while True:
            await self.run(lambda core: core.sweep(self._clock()))
            await asyncio.sleep(SWEEP_S)

    def close(self) -> None:
        self._thread.submit(self._core.close).result()
        self._thread.shutdown()

    async def Sealing(self, request: link_pb2.SealingRequest, context: _Context) -> link_pb2.SealingReply:  # noqa: N802 - the wire's name
        await self._require_coordinator(context)
        try:
            found = await self.run(lambda core: core.sealing(request.month, self._clock()))
        except NoSealingKey as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, error.code)
        return link_pb2.SealingReply(certificate=encode_json(found.model_dump(mode="json")), zero_test=True)

    async def Open(  # noqa: N802 - the wire's name
        self, request_iterator: AsyncIterator[link_pb2.OpenRequest], context: _Context
    ) -> AsyncIterator[link_pb2.OpenReply]:
        await self._require_coordinator(context)
        yield link_pb2.OpenReply(followed=await self.run(lambda core: core.size))
        pieces, waiting, encrypted = _Pieces(), deque[Reply](), bytearray()
        async for frame in request_iterator:
            if frame.WhichOneof("frame") == "encrypted":
                encrypted += frame.encrypted.data
                if len(encrypted) > MOST_BYTES:
                    yield _refused([Refusal(Reason.ZERO_TEST_INVALID, f"at most {MOST_BYTES} bytes", "more")])
                    return
            elif frame.WhichOneof("frame") == "members":
                request, encrypted = _request(frame.members, bytes(encrypted)), bytearray()
                reply = await self.run(partial(OpenerCore.open, request=request, now=self._clock()))
                if reply.refusals:
                    yield _refused(reply.refusals)
                    continue
                waiting.append(reply)
                if reply.opening is not None:
                    yield link_pb2.OpenReply(opening=link_pb2.Statement(envelope=reply.opening))
            else:
                refused = await self._follow(pieces, frame.follow)
                if refused:
                    yield _refused(refused)
                    return
            async for each in self._released(waiting):
                yield each

    async def _follow(self, pieces: _Pieces, frame: link_pb2.Follow) -> list[Refusal]:
        try:
            whole = pieces.take(frame)
        except Unavailable as error:
            return [Refusal(Reason.INCONSISTENT, "pieces without a gap", error.code)]
        if whole is None:
            return []
        start, entries, checkpoint = whole
        return await self.run(partial(OpenerCore.follow, start=start, entries=entries, checkpoint=checkpoint, now=self._clock()))

    async def _released(self, waiting: deque[Reply]) -> AsyncIterator[link_pb2.OpenReply]:
        while waiting:
            first = waiting[0]
            found = await self.run(partial(OpenerCore.release, query=first.query, round_=first.round, now=self._clock()))
            if found is None:
                return
            waiting.popleft()
            if isinstance(found, list):
                yield _refused(found)
                continue
            for at in range(0, len(found), CHUNK_BYTES):
                yield link_pb2.OpenReply(sum=link_pb2.Chunk(data=found[at : at + CHUNK_BYTES]))
            yield link_pb2.OpenReply(complete=link_pb2.SumComplete(total_bytes=len(found)))

    async def _require_coordinator(self, context: _Context) -> None:
        try:
            peer = peer_of(context)
        except NotAuthenticated as error:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, error.code)
        coordinator = await self.run(lambda core: core.coordinator)
        # Before entry 0 was followed only the role is known; what such a peer sends must still lead to the pinned entry.
        allowed = peer.role is Role.COORDINATOR if coordinator is None else peer == Identity.parse(coordinator)
        if not allowed:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "not the coordinator of this log")


def _request(frame: link_pb2.Members, encrypted: bytes) -> OpenRequest:
    seeds = (SealedSeed(s.uri, s.sealed, s.masked_hash, s.receipt, s.round_signature) for s in frame.seeds)
    return OpenRequest(frame.preimage, tuple(seeds), frame.first_round, frame.last_round, frame.public, encrypted)


def _refused(found: Sequence[Refusal]) -> link_pb2.OpenReply:
    reasons = [link_pb2.Reason(**each.to_json()) for each in found]
    return link_pb2.OpenReply(refused=link_pb2.OpenRefused(refusals=reasons))


async def start_opener(service: OpenerService, home: Home, listen: str) -> tuple[grpc.aio.Server, int]:
    """A running server with mutual TLS, and its port."""
    server = grpc.aio.server(options=OPTIONS, interceptors=[Discreet()])
    link_pb2_grpc.add_OpenerServicer_to_server(service, server)
    port = server.add_secure_port(listen, server_credentials(home))
    await server.start()
    return server, port
