"""A desk over real gRPC and mutual TLS on loopback, which tells the recorded frames it was given."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc

from audit_ledger.party.channel import server_credentials
from audit_ledger.party.home import Home
from protocols.v1 import link_pb2, link_pb2_grpc

Frames = Callable[[bytes], Iterable[link_pb2.Progress]]


@dataclass
class RecordedDesk(link_pb2_grpc.DeskServicer):
    """`asked`, `watched` and `cancelled` give the frames for a question; what came in is kept for the test to read."""

    catalog: bytes = b"{}"
    asked: Frames = lambda _: ()
    watched: Frames = lambda _: ()
    cancelled: Callable[[bytes], link_pb2.Progress] = lambda query: link_pb2.Progress(query=query, state="cancelled", is_last=True)
    appended: link_pb2.Appended = field(default_factory=link_pb2.Appended)
    envelopes: list[bytes] = field(default_factory=list)
    unknown: set[bytes] = field(default_factory=set)

    def Catalog(self, request: Any, context: Any) -> link_pb2.CatalogReply:
        return link_pb2.CatalogReply(catalog=self.catalog)

    def Append(self, request: link_pb2.Statement, context: Any) -> link_pb2.Appended:
        self.envelopes.append(request.envelope)
        return self.appended

    def Ask(self, request: link_pb2.Statement, context: Any) -> Iterator[link_pb2.Progress]:
        self.envelopes.append(request.envelope)
        yield from self.asked(request.envelope)

    def Watch(self, request: link_pb2.QueryId, context: Any) -> Iterator[link_pb2.Progress]:
        if request.query in self.unknown:
            context.abort(grpc.StatusCode.NOT_FOUND, "query.unknown")
        yield from self.watched(request.query)

    def Cancel(self, request: link_pb2.QueryId, context: Any) -> link_pb2.Progress:
        return self.cancelled(request.query)


class Served:
    """The desk on a free port of loopback, until `stop`."""

    def __init__(self, home: Home, desk: RecordedDesk) -> None:
        self.desk = desk
        self._server = grpc.server(ThreadPoolExecutor(max_workers=4))
        link_pb2_grpc.add_DeskServicer_to_server(desk, self._server)
        self.address = f"127.0.0.1:{self._server.add_secure_port('127.0.0.1:0', server_credentials(home))}"
        self._server.start()

    def stop(self) -> None:
        self._server.stop(0).wait()
