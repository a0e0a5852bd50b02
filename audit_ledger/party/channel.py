"""Channels and server credentials: TLS 1.3 with certificates of the coordinator's CA on both sides; identity is their URI.

The keepalive set was measured: without `ping_timeout` a frozen peer goes unnoticed for over a minute (grpc keepalive guide).
"""

from typing import Any

import grpc
import grpc.aio

from audit_ledger import BARS_OLD_TLS
from audit_ledger.errors import LedgerError
from audit_ledger.party.home import Home
from protocols.errors import MalformedBytes
from protocols.identity import Identity

OPTIONS: list[tuple[str, Any]] = [
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.enable_retries", 0),
]
# An answer bundle of a million cells; frames between nodes and coordinator stay below gRPC's 4 MiB by chunking.
_ANSWER_BYTES = 64 * 1024 * 1024
CHUNK_BYTES = 256 * 1024


class NotAuthenticated(LedgerError):
    """The peer's certificate names no Kapok identity."""

    code = "link.not_authenticated"


def server_name(uri: str) -> str:
    """The DNS name in the certificate of `uri`, checked by clients whatever address they dialled."""
    identity = Identity.parse(uri)
    return f"{identity.name}.{identity.role}.kapok.internal"


def _credentials(home: Home) -> grpc.ChannelCredentials:
    ca, certificate = ((home.path / "tls" / name).read_bytes() for name in ("ca.pem", "cert.pem"))
    key = home.transport_key()
    return grpc.ssl_channel_credentials(root_certificates=ca, private_key=key, certificate_chain=certificate)


def open_channel(home: Home, address: str, peer: str) -> grpc.aio.Channel:
    """A mutual-TLS channel to `peer` (its URI) at `address`."""
    options = [*OPTIONS, ("grpc.ssl_target_name_override", server_name(peer))]
    return grpc.aio.secure_channel(address, _credentials(home), options)


def open_blocking_channel(home: Home, address: str, peer: str) -> grpc.Channel:
    options = [*OPTIONS, ("grpc.max_receive_message_length", _ANSWER_BYTES), ("grpc.ssl_target_name_override", server_name(peer))]
    return grpc.secure_channel(address, _credentials(home), options)


def server_credentials(home: Home) -> grpc.ServerCredentials:
    """Both sides show certificates of the CA. Certificates are read anew at each handshake, so rotation needs no restart."""
    require_tls_1_3()

    def fetch() -> grpc.ServerCertificateConfiguration:
        ca, certificate = ((home.path / "tls" / name).read_bytes() for name in ("ca.pem", "cert.pem"))
        key = home.transport_key()
        return grpc.ssl_server_certificate_configuration([(key, certificate)], root_certificates=ca)

    return grpc.dynamic_ssl_server_credentials(fetch(), fetch, require_client_authentication=True)


def require_tls_1_3() -> None:
    """For whoever opens a door: our own bug, never a user's, if gRPC was there first."""
    if not BARS_OLD_TLS:
        raise RuntimeError("gRPC was imported before audit_ledger: this door would accept TLS 1.2")


def peer_of(context: "grpc.aio.ServicerContext[Any, Any]") -> Identity:
    """The one Kapok URI in the peer's certificate; never a field of a message. Raises NotAuthenticated."""
    names = context.auth_context().get("peer_uri", []) or context.auth_context().get("x509_subject_alternative_name", [])
    for raw in names:
        text = raw.decode("ascii", "replace") if isinstance(raw, bytes) else str(raw)
        try:
            return Identity.parse(text)
        except MalformedBytes:
            continue
    raise NotAuthenticated("the certificate names no kapok:// identity")
