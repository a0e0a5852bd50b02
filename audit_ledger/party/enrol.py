"""Enrolment: a one-time invitation, a signing request, a certificate (transport only), and the key request for the auditor.

The party makes its own keys; nothing secret travels. The certificate comes from the coordinator's CA; the party's identity key
counts only once the auditor has admitted it by a second signature (`kapok-audit admit`).
"""

import hashlib
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from pydantic import BaseModel, ConfigDict, ValidationError

from audit_ledger.errors import LedgerError, Unavailable
from audit_ledger.party.channel import OPTIONS, server_name
from audit_ledger.party.home import Home, HomeError
from protocols.canonical import b64
from protocols.identity import SigningKey
from protocols.statements import KeyAdd, Licence
from protocols.v1 import link_pb2, link_pb2_grpc


class EnrolmentRefused(LedgerError):
    """The coordinator did not admit the signing request; the message lists the codes."""

    code = "enrolment.refused"


class EnrolmentUnreachable(Unavailable):
    """The door did not answer, or is not the one whose CA the invitation names; nobody refused."""

    code = "enrolment.unreachable"


class Invitation(BaseModel):
    """What the operator hands over, out of band. The token works once; the CA is pinned by being in here."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    uri: str
    origin: str
    coordinator: str
    link_address: str
    enrol_address: str
    ca_pem: str
    token: str

    @classmethod
    def read(cls, path: Path) -> "Invitation":
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise HomeError(f"{path}: not there") from None
        except IsADirectoryError:
            raise HomeError(f"{path}: a folder, expected the invitation file") from None
        except ValidationError:
            raise HomeError(f"{path}: not an invitation; ask the operator for `kapok-coordinator enroll`") from None


def key_request(home: Home, origin: str, uri: str, at: str, licence: Licence, outbreak: bool = False) -> bytes:
    """The identity key's own entry, signed by itself (possession): what the auditor countersigns."""
    return request_of(home.key("identity"), origin, uri, at, licence, outbreak)


def request_of(key: SigningKey, origin: str, uri: str, at: str, licence: Licence, outbreak: bool = False) -> bytes:
    """`key_request` for a key that is not its party's yet."""
    statement = KeyAdd(
        log=origin,
        at=at,
        by=uri,
        action="add",
        subject=uri,
        use="identity",
        key=b64(key.public),
        licence=licence,
        outbreak=outbreak,
    )
    return statement.envelope().signed([key]).encode()


def enrol(home: Home, invitation: Invitation, request: bytes) -> None:
    """Fetches the certificate and writes tls/. Raises EnrolmentRefused, or EnrolmentUnreachable when the door does not answer."""
    private = ec.generate_private_key(ec.SECP256R1())
    csr = x509.CertificateSigningRequestBuilder()
    csr = csr.subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, invitation.uri)])).add_extension(
        x509.SubjectAlternativeName([x509.UniformResourceIdentifier(invitation.uri), x509.DNSName(server_name(invitation.uri))]),
        critical=False,
    )
    signed = csr.sign(private, SHA256()).public_bytes(Encoding.PEM)
    certificate = _ask(invitation, signed, request)
    home.write_transport_key(private)
    home.write("tls/cert.pem", certificate)
    home.write("tls/ca.pem", invitation.ca_pem.encode())


def _ask(invitation: Invitation, csr: bytes, request: bytes) -> bytes:
    credentials = grpc.ssl_channel_credentials(root_certificates=invitation.ca_pem.encode())
    options = [*OPTIONS, ("grpc.ssl_target_name_override", server_name(invitation.coordinator))]
    with grpc.secure_channel(invitation.enrol_address, credentials, options) as channel:
        message = link_pb2.EnrolRequest(token=invitation.token, uri=invitation.uri, csr=csr, key_request=request)
        try:
            reply = link_pb2_grpc.EnrolmentStub(channel).Enrol(message, timeout=30)
        except grpc.RpcError as error:
            raise EnrolmentUnreachable(f"{invitation.enrol_address}: {error.code().name.lower()}") from None
    if reply.refusals:
        raise EnrolmentRefused("; ".join(f"{each.code}: expected {each.expected}, got {each.got}" for each in reply.refusals))
    return bytes(reply.certificate)


def token_hash(token: str) -> str:
    """What the coordinator keeps of a token."""
    return hashlib.sha256(token.encode()).hexdigest()
