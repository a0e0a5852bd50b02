"""A coordinator's desk over a test city: what the auditor's commands talk to, on loopback with mutual TLS."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from audit_ledger.party.channel import server_credentials
from audit_ledger.party.home import Home
from audit_ledger.tree import leaf_hash
from audit_ledger.view import LedgerView
from protocols.refusal import Reason
from protocols.v1 import link_pb2, link_pb2_grpc
from tests.support.city import City

PIECE = 5


class CityDesk(link_pb2_grpc.DeskServicer):
    """Appends what breaks no rule, hands out entries in pieces, and the key requests in `pending`."""

    def __init__(self, city: City) -> None:
        self.city = city
        self.pending: list[bytes] = []

    def Append(self, request: Any, context: Any) -> Any:
        view = LedgerView(leaf_hash(self.city.entry0))
        for entry in self.city.log.entries(0, self.city.log.size):
            view.apply(entry)
        found = view.apply(request.envelope)
        if found:
            reasons = [link_pb2.Reason(code=Reason.MALFORMED, expected=str(each.rule), got=each.detail) for each in found]
            return link_pb2.Appended(refusals=reasons)
        return link_pb2.Appended(index=self.city.log_entry(request.envelope))

    def Entries(self, request: Any, context: Any) -> Any:
        start, entries, checkpoint = self.city.follow(request.start)
        for at in range(0, len(entries), PIECE):
            is_last = at + PIECE >= len(entries)
            yield link_pb2.Follow(start=start + at, entries=entries[at : at + PIECE], checkpoint=checkpoint if is_last else b"")

    def Ask(self, request: Any, context: Any) -> Any:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "not at this desk")

    Watch = Cancel = Catalog = Ask

    def Requests(self, request: Any, context: Any) -> Any:
        return link_pb2.RequestsReply(envelopes=self.pending)


def serve_desk(desk: CityDesk, home: Home) -> tuple[grpc.Server, int]:
    server = grpc.server(ThreadPoolExecutor(2))
    link_pb2_grpc.add_DeskServicer_to_server(desk, server)
    port = server.add_secure_port("127.0.0.1:0", server_credentials(home))
    server.start()
    return server, port
