"""A certificate authority for tests on loopback: homes with tls/ folders as enrolment leaves them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from audit_ledger.party.channel import server_name
from audit_ledger.party.home import Home


class Authority:
    """Issues certificates whose subject alternative names are the URI and its DNS form."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self._name = name
        builder = _dated(x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(self._key.public_key()))
        self.certificate = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).sign(
            self._key, SHA256()
        )

    def equip(self, path: Path, uri: str) -> Home:
        """A home at `path` with tls/key.pem, tls/cert.pem and tls/ca.pem for `uri`."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, uri)])
        builder = _dated(x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key.public_key()))
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri), x509.DNSName(server_name(uri))])
        certificate = builder.add_extension(names, critical=False).sign(self._key, SHA256())
        home = Home(path)
        home.write("tls/key.pem", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())).chmod(0o600)
        home.write("tls/cert.pem", certificate.public_bytes(Encoding.PEM))
        home.write("tls/ca.pem", self.certificate.public_bytes(Encoding.PEM))
        return home


def _dated(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
