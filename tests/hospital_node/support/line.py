"""The coordinator's end of the link, in a test's hands: frames out by `send`, frames in by `expect`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio

from audit_ledger.party.channel import peer_of, server_credentials
from audit_ledger.party.home import Home
from hospital_node.link import Link
from protocols.v1 import link_pb2, link_pb2_grpc
from tests.hospital_node.support.nodes import Node
from tests.support.certificates import Authority
from tests.support.city import COORDINATOR

PATIENCE_S = 30.0


@dataclass
class Line(link_pb2_grpc.NodeLinkServicer):
    """One stream at a time."""

    incoming: "asyncio.Queue[link_pb2.NodeFrame]" = field(default_factory=asyncio.Queue)
    outgoing: "asyncio.Queue[link_pb2.CoordinatorFrame | None]" = field(default_factory=asyncio.Queue)
    peers: list[str] = field(default_factory=list)

    async def Connect(self, request_iterator: Any, context: Any) -> AsyncIterator[link_pb2.CoordinatorFrame]:
        self.peers.append(str(peer_of(context)))
        reader = asyncio.create_task(self._read(request_iterator))
        try:
            while (frame := await self.outgoing.get()) is not None:
                yield frame
        finally:
            reader.cancel()

    async def _read(self, frames: Any) -> None:
        async for frame in frames:
            await self.incoming.put(frame)

    async def expect(self, kind: str) -> Any:
        """The next frame of this kind; heartbeats and statements that come between are skipped."""
        while True:
            frame = await asyncio.wait_for(self.incoming.get(), PATIENCE_S)
            found = frame.WhichOneof("frame")
            if found == kind:
                return getattr(frame, kind)
            if found not in {"heartbeat", "statement", "goodbye"}:
                raise AssertionError(f"expected {kind}, got {found}")

    def send(self, **frame: Any) -> None:
        self.outgoing.put_nowait(link_pb2.CoordinatorFrame(**frame))

    async def until_followed(self, node: Node, size: int) -> None:
        """The node says nothing of it: it is looked at."""
        async with asyncio.timeout(PATIENCE_S):
            while node.answering.follower.size < size:
                await asyncio.sleep(0.01)

    def follow(self, node: Node, pieces: int = 2) -> None:
        """The ledger from where the node stands, in pieces of which only the last has the checkpoint."""
        start, entries, checkpoint = node.city.follow(node.answering.follower.size)
        cut = max(1, len(entries) // pieces)
        parts = [entries[place : place + cut] for place in range(0, len(entries), cut)] or [[]]
        for number, part in enumerate(parts):
            note = checkpoint if number == len(parts) - 1 else b""
            self.send(follow=link_pb2.Follow(start=start, entries=part, checkpoint=note))
            start += len(part)


@asynccontextmanager
async def connected(node: Node, folder: Path) -> AsyncIterator[Line]:
    """A running link of this node over mutual TLS on loopback."""
    authority, line = Authority(), Line()
    server = grpc.aio.server()
    link_pb2_grpc.add_NodeLinkServicer_to_server(line, server)
    port = server.add_secure_port("127.0.0.1:0", server_credentials(authority.equip(folder / "coordinator", COORDINATOR)))
    await server.start()
    home: Home = authority.equip(node.home, node.uri)
    node.answering.config = node.answering.config.model_copy(update={"link_address": f"127.0.0.1:{port}"})
    link = Link(home, node.answering, lambda: None, lambda: 0.5)
    task = asyncio.create_task(link.run())
    try:
        yield line
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await server.stop(None)
