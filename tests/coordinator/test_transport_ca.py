"""Transport certificates: for the invited URI and no other, once per token, and never a CA's."""

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from audit_ledger.party.home import Home
from coordinator.register import Register
from coordinator.service.enrolment import Enrolment
from coordinator.transport_ca import BadRequest, CertificateAuthority
from protocols import statements as st
from protocols.canonical import b64
from protocols.clock import stamp
from protocols.identity import SigningKey
from protocols.v1 import link_pb2

URI, OTHER = "kapok://hospital/h01", "kapok://hospital/h02"
TOKEN = "a one-time token"


def request_for(uri: str, key: Any = None, is_ca: bool = False) -> bytes:
    key = key or ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri), x509.DNSName("city.coordinator.kapok.internal")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, uri)]))
    builder = builder.add_extension(names, critical=False)
    if is_ca:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)


@pytest.fixture(scope="module")
def ca() -> CertificateAuthority:
    return CertificateAuthority.create("ledger.kapok.test/2026")


def names_of(pem: bytes) -> list[str]:
    found = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return [str(each.value) for each in found.value]


def test_a_certificate_names_the_invited_party_whatever_the_request_says(ca: CertificateAuthority) -> None:
    assert names_of(ca.sign_request(URI, request_for("kapok://coordinator/city"))) == [URI, "h01.hospital.kapok.internal"]


def test_a_request_to_be_a_ca_is_not_granted(ca: CertificateAuthority) -> None:
    certificate = x509.load_pem_x509_certificate(ca.sign_request(URI, request_for(URI, is_ca=True)))
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    certificate.verify_directly_issued_by(ca.certificate)


def broken(pem: bytes) -> bytes:
    """The request with one byte of its signature changed."""
    lines = pem.decode().splitlines()
    body = "".join(lines[1:-1])
    place = len(body) - 12
    changed = body[:place] + ("A" if body[place] != "A" else "B") + body[place + 1 :]
    return "\n".join([lines[0], *(changed[at : at + 64] for at in range(0, len(changed), 64)), lines[-1], ""]).encode()


@pytest.mark.parametrize(
    "csr",
    [b"", b"not a request", broken(request_for(URI)), request_for(URI, rsa.generate_private_key(65537, 2048))],
    ids=["empty", "text", "another signature", "an RSA key"],
)
def test_what_is_no_request_signed_by_its_own_key_gets_nothing(ca: CertificateAuthority, csr: bytes) -> None:
    with pytest.raises(BadRequest, match="signing request"):
        ca.sign_request(URI, csr)


def test_a_loaded_ca_signs_like_the_saved_one(ca: CertificateAuthority, tmp_path: Path) -> None:
    ca.save(Home(tmp_path))
    assert (tmp_path / "ca" / "key.pem").stat().st_mode & 0o077 == 0
    again = CertificateAuthority.load(Home(tmp_path))
    x509.load_pem_x509_certificate(again.sign_request(URI, request_for(URI))).verify_directly_issued_by(ca.certificate)


# -- the door ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def register(tmp_path: Path) -> Iterator[Register]:
    made = Register(tmp_path / "register.sqlite")
    made.invite(hashlib.sha256(TOKEN.encode()).hexdigest(), URI)
    yield made
    made.close()


def enrol(ca: CertificateAuthority, register: Register, **changes: Any) -> link_pb2.EnrolReply:
    fields = {"token": TOKEN, "uri": URI, "csr": request_for(URI), "key_request": key_request(URI), **changes}
    return asyncio.run(Enrolment(ca, register).Enrol(link_pb2.EnrolRequest(**fields), None))  # type: ignore[arg-type]


def key_request(uri: str) -> bytes:
    key = SigningKey.from_seed(bytes(32))
    licence = st.Licence(legal_name="legal", number="1")
    added = st.KeyAdd(
        log="ledger.kapok.test/2026", at=stamp(1_700_000_000), by=uri, action="add", subject=uri, use="identity",
        key=b64(key.public), licence=licence, outbreak=False,
    )  # fmt: skip
    return added.envelope().signed([key]).encode()


def test_an_invitation_gets_one_certificate_and_leaves_one_key_request(ca: CertificateAuthority, register: Register) -> None:
    assert names_of(enrol(ca, register).certificate)[0] == URI
    assert len(register.key_requests()) == 1
    assert [each.code for each in enrol(ca, register).refusals] == ["enrolment.token"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"token": "another"}, "enrolment.token"),
        ({"uri": OTHER, "key_request": key_request(OTHER)}, "enrolment.token"),
        ({"csr": b"not a request"}, "enrolment.bad_request"),
        ({"key_request": key_request(OTHER)}, "enrolment.bad_request"),
        ({"key_request": b"{}"}, "protocol.malformed"),
    ],
)
def test_a_request_that_does_not_fit_its_invitation_gets_nothing_and_leaves_the_token_good(
    ca: CertificateAuthority, register: Register, changes: dict[str, Any], code: str
) -> None:
    refused = enrol(ca, register, **changes)
    assert [each.code for each in refused.refusals] == [code]
    assert refused.certificate == b""
    assert register.key_requests() == []
    assert enrol(ca, register).certificate
