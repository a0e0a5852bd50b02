"""The one door without a client certificate: a one-time token admits a signing request for the URI it was made for."""

import asyncio
from typing import Any

import grpc.aio
import structlog

from audit_ledger.party.enrol import token_hash
from coordinator.register import Register
from coordinator.transport_ca import BadRequest, CertificateAuthority
from protocols.errors import ProtocolError
from protocols.statements import KeyAdd, parse
from protocols.v1 import link_pb2, link_pb2_grpc

log = structlog.get_logger("coordinator.enrolment")


class Enrolment(link_pb2_grpc.EnrolmentServicer):
    """Signs certificates and keeps key requests for the auditor."""

    def __init__(self, ca: CertificateAuthority, register: Register) -> None:
        self._ca, self._register = ca, register

    async def Enrol(self, request: link_pb2.EnrolRequest, context: "grpc.aio.ServicerContext[Any, Any]") -> link_pb2.EnrolReply:  # noqa: N802
        """The certificate, or why not. The token is used up only by a request that gets one."""
        try:
            self._require_key_request(request)
            certificate = self._ca.sign_request(request.uri, request.csr)
        except (BadRequest, ProtocolError) as error:
            return _refused(error.code, "a signing request and key request for this party", str(error))
        if not await asyncio.to_thread(self._register.use_invitation, token_hash(request.token), request.uri):
            return _refused("enrolment.token", "an unused invitation for this party", "none")
        if request.key_request:
            await asyncio.to_thread(self._register.put_key_request, request.uri, request.key_request)
        log.info("party enrolled", party=request.uri)
        return link_pb2.EnrolReply(certificate=certificate)

    def _require_key_request(self, request: link_pb2.EnrolRequest) -> None:
        if not request.key_request:
            return  # the auditor's keys stand in the founding entries
        signed = parse(request.key_request)
        if not isinstance(signed.statement, KeyAdd) or signed.statement.subject != request.uri:
            raise BadRequest("key request: not for the invited party")


def _refused(code: str, expected: str, got: str) -> link_pb2.EnrolReply:
    return link_pb2.EnrolReply(refusals=[link_pb2.Reason(code=code, expected=expected, got=got)])
