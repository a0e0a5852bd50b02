"""The coordinator's enrolment door on loopback, for one token."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from audit_ledger.party.enrol import Invitation
from audit_ledger.party.passphrase import locked
from coordinator.transport_ca import CertificateAuthority
from protocols.v1 import link_pb2, link_pb2_grpc
from tests.support.city import COORDINATOR, ORIGIN


class Door(link_pb2_grpc.EnrolmentServicer):
    """Signs for one token, as the coordinator's enrolment does; nobody is at its address until it is opened."""

    def __init__(self, ca: CertificateAuthority) -> None:
        self.ca, self.requests, self.address = ca, list[bytes](), "127.0.0.1:1"

    def Enrol(self, request: link_pb2.EnrolRequest, context: Any) -> link_pb2.EnrolReply:
        if request.token != "once":
            return link_pb2.EnrolReply(refusals=[link_pb2.Reason(code="enrolment.token")])
        self.requests.append(request.key_request)
        return link_pb2.EnrolReply(certificate=self.ca.sign_request(request.uri, request.csr))

    def invite(self, uri: str, path: Path, token: str = "once") -> Path:
        """An invitation file for this door."""
        invitation = Invitation(
            uri=uri,
            origin=ORIGIN,
            coordinator=COORDINATOR,
            link_address="127.0.0.1:1",
            enrol_address=self.address,
            ca_pem=self.ca.pem().decode(),
            token=token,
        )
        (path / f"{token}.json").write_text(invitation.model_dump_json())
        return path / f"{token}.json"


@contextmanager
def open_door() -> Iterator[Door]:
    ca = CertificateAuthority.create(ORIGIN)
    door, server = Door(ca), grpc.server(ThreadPoolExecutor(max_workers=2))
    link_pb2_grpc.add_EnrolmentServicer_to_server(door, server)
    key, certificate = ca.issue_own(COORDINATOR)
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(locked(key, None), certificate)]))
    door.address = f"127.0.0.1:{port}"
    server.start()
    try:
        yield door
    finally:
        server.stop(0).wait()
