"""The city's certificate authority, for transport only: who may open a channel. Who may speak is the ledger's matter.

Certificates hold one Kapok URI and one DNS name derived from it. They last a year; revoking a party means taking it out of the
register and closing its stream.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from audit_ledger.party.channel import server_name
from audit_ledger.party.home import Home
from coordinator.errors import CoordinatorError

CA_DAYS, CERTIFICATE_DAYS = 3650, 365


class BadRequest(CoordinatorError):
    """A signing request that is not one, or not for the name it was invited for."""

    code = "enrolment.bad_request"


@dataclass(frozen=True, slots=True)
class CertificateAuthority:
    """Signs what an invitation admits."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def create(cls, origin: str) -> Self:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Kapok {origin}"[:64])])
        builder = _builder(name, name, key.public_key(), CA_DAYS)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        return cls(key, builder.sign(key, SHA256()))

    @classmethod
    def load(cls, home: Home) -> Self:
        key = load_pem_private_key(home.transport_key("ca/key.pem"), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise CoordinatorError("ca/key.pem: not an elliptic-curve key")
        return cls(key, x509.load_pem_x509_certificate((home.path / "ca" / "cert.pem").read_bytes()))

    def save(self, home: Home) -> None:
        home.write_transport_key(self.key, "ca/key.pem")
        home.write("ca/cert.pem", self.pem())

    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def sign_request(self, uri: str, csr: bytes) -> bytes:
        """A certificate for exactly `uri`, whatever else the request names. Raises BadRequest."""
        try:
            request = x509.load_pem_x509_csr(csr)
            signature = request.signature
            hash_algorithm = request.signature_hash_algorithm
            public = request.public_key()
            if not isinstance(public, ec.EllipticCurvePublicKey) or hash_algorithm is None:
                raise BadRequest("signing request: expected an elliptic-curve key")
            public.verify(signature, request.tbs_certrequest_bytes, ec.ECDSA(hash_algorithm))
        except (ValueError, InvalidSignature):
            raise BadRequest("signing request: malformed, or not signed by its own key") from None
        return self._issue(uri, public)

    def issue_own(self, uri: str) -> tuple[ec.EllipticCurvePrivateKey, bytes]:
        """The coordinator's own key, and its certificate as PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        return key, self._issue(uri, key.public_key())

    def _issue(self, uri: str, public: ec.EllipticCurvePublicKey) -> bytes:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, uri[:64])])
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri), x509.DNSName(server_name(uri))])
        builder = _builder(subject, self.certificate.subject, public, CERTIFICATE_DAYS).add_extension(names, critical=False)
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = builder.add_extension(usage, critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        return builder.sign(self.key, SHA256()).public_bytes(Encoding.PEM)


def _builder(subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, days: int) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=days))
    )
