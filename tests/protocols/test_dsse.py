"""Envelopes: what is signed, by how many, and that one statement's identity does not depend on its signatures."""

import hashlib

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from protocols.canonical import b64, decode_json, encode_json
from protocols.dsse import MAX_ENTRY_BYTES, MAX_SIGNATURES, Envelope, Signature, pae
from protocols.errors import MalformedBytes
from protocols.identity import Identity, Role, SigningKey, fingerprint, is_small_order, verifies

P = 2**255 - 19
ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
SMALL = [y | sign << 255 for y in (0, 1, P - 1, ORDER_8, P - ORDER_8, P, P + 1) for sign in (0, 1)]


def a_key(name):
    return SigningKey.from_seed(hashlib.sha256(name.encode()).digest())


def an_envelope(*names):
    return Envelope("kind", b"fact").signed([a_key(name) for name in names])


def test_the_dsse_document_s_own_example():
    assert pae("http://example.com/HelloWorld", b"hello world") == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_pae_counts_bytes_not_characters():
    assert pae("木", "棉".encode()) == "DSSEv1 3 木 3 棉".encode()


@given(st.tuples(st.text(max_size=6), st.binary(max_size=6)), st.tuples(st.text(max_size=6), st.binary(max_size=6)))
def test_pae_is_injective(one, other):
    assert (pae(*one) == pae(*other)) == (one == other)


def test_each_of_several_signers_signed_and_nobody_else():
    envelope = an_envelope("a", "b")
    assert envelope.is_signed_by(a_key("a").public)
    assert envelope.is_signed_by(a_key("b").public)
    assert not envelope.is_signed_by(a_key("c").public)


def test_a_signature_does_not_hold_for_another_payload_or_type():
    signed = an_envelope("a")
    for changed in (Envelope("kind", b"other", signed.signatures), Envelope("other", b"fact", signed.signatures)):
        assert not changed.is_signed_by(a_key("a").public)


def test_a_keyid_alone_is_worth_nothing():
    forged = Envelope("kind", b"fact", (Signature(fingerprint(a_key("a").public), bytes(64)),))
    assert not forged.is_signed_by(a_key("a").public)


def test_one_statement_has_one_id_however_it_is_signed():
    ids = {an_envelope(*names).statement_id() for names in ("a", "ab", "ba")}
    assert ids == {hashlib.sha256(pae("kind", b"fact")).digest()}


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=9), st.binary(max_size=30), st.integers(1, MAX_SIGNATURES))
def test_envelopes_are_read_back(kind, payload, count):
    envelope = Envelope(kind, payload).signed([a_key(str(n)) for n in range(count)])
    assert Envelope.decode(envelope.encode()) == envelope


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=9), st.binary(max_size=9), st.integers(1, 3), st.data())
def test_the_quick_reader_and_the_json_reader_agree(kind, payload, count, data):
    """The quick one knows where an envelope's quotation marks stand; whatever is done to the bytes, both read one thing."""
    raw = bytearray(Envelope(kind, payload).signed([a_key(str(n)) for n in range(count)]).encode())
    for _ in range(data.draw(st.integers(0, 2))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 2))] = data.draw(
            st.sampled_from([b"", b'"', b"\\", b" ", b",", b"\x7f", b"=", b"A", b"\n"])
        )
    assert read(bytes(raw), Envelope.decode) == read(bytes(raw), lambda each: Envelope._of_json(decode_json(each)))


def read(raw, reader):
    try:
        return reader(raw)
    except MalformedBytes:
        return None


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=9), st.text(st.characters(exclude_categories=["Cs"]), max_size=5))
def test_an_envelope_is_written_as_canonical_json_writes_it(kind, keyid):
    fields = {**envelope_fields(), "payloadType": kind, "signatures": [{"keyid": keyid, "sig": b64(bytes(64))}]}
    assert Envelope(kind, b"fact", (Signature(keyid, bytes(64)),)).encode() == rfc8785.dumps(fields)


@pytest.mark.parametrize("count", [0, MAX_SIGNATURES + 1])
def test_no_signature_and_too_many_are_refused(count):
    raw = Envelope("kind", b"fact").signed([a_key("a")] * count).encode()
    with pytest.raises(MalformedBytes, match=f"an envelope has 1 to 8 signatures, got {count}"):
        Envelope.decode(raw)


def test_an_entry_of_the_largest_size_is_read_and_one_byte_more_is_refused():
    empty = len(Envelope("kind", b"", ()).signed([a_key("a")]).encode())
    room = (MAX_ENTRY_BYTES - empty) // 4 * 3
    padding = MAX_ENTRY_BYTES - empty - room // 3 * 4
    fits = Envelope("kind" + "x" * padding, bytes(room)).signed([a_key("a")])
    assert len(fits.encode()) == MAX_ENTRY_BYTES
    assert Envelope.decode(fits.encode()) == fits
    with pytest.raises(MalformedBytes, match="an entry has at most 65535 bytes, got 65536"):
        Envelope.decode(Envelope("kind" + "x" * (padding + 1), bytes(room)).signed([a_key("a")]).encode())


def envelope_fields():
    signature = {"keyid": "k", "sig": b64(bytes(64))}
    return {"payload": b64(b"fact"), "payloadType": "kind", "signatures": [signature]}


def test_the_fields_of_the_tests_below_are_an_envelope():
    assert Envelope.decode(encode_json(envelope_fields())).payload == b"fact"


@pytest.mark.parametrize("name", ["payload", "payloadType", "signatures"])
def test_an_envelope_with_a_field_missing_wrong_or_more_is_refused(name):
    fields = envelope_fields()
    without = {key: value for key, value in fields.items() if key != name}
    for changed in (without, {**fields, name: 1}, {**fields, "more": 1}, [fields]):
        with pytest.raises(MalformedBytes, match="not an envelope: expected payload, payloadType and signatures"):
            Envelope.decode(encode_json(changed))


@pytest.mark.parametrize(
    ("signature", "why"),
    [
        ({"keyid": "k"}, "not a signature"),
        ({"keyid": "k", "sig": b64(bytes(64)), "more": 1}, "not a signature"),
        ({"keyid": 1, "sig": b64(bytes(64))}, "not a signature"),
        ("k", "not a signature"),
        ({"keyid": "k", "sig": b64(bytes(63))}, "expected 64 bytes in base64, got 63"),
    ],
)
def test_a_malformed_signature_is_refused(signature, why):
    with pytest.raises(MalformedBytes, match=why):
        Envelope.decode(encode_json({**envelope_fields(), "signatures": [signature]}))


@pytest.mark.parametrize("y", SMALL)
def test_a_key_for_which_anybody_can_sign_verifies_nothing(y):
    public = (y % 2**256).to_bytes(32, "little")
    assert is_small_order(public)
    # R = identity, S = 0: for the identity point plain verification takes it for any message.
    assert not verifies(public, b"\x01" + bytes(63), b"anything")


def test_without_that_rule_the_identity_point_would_sign_everything():
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    Ed25519PublicKey.from_public_bytes(b"\x01" + bytes(31)).verify(b"\x01" + bytes(63), b"anything")


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=20))
def test_honest_keys_are_not_of_small_order_and_verify(seed, message):
    key = SigningKey.from_seed(seed)
    assert not is_small_order(key.public)
    assert verifies(key.public, key.sign(message), message)
    assert key.seed() == seed


@pytest.mark.parametrize(("public", "signature"), [(bytes(31), bytes(64)), (b"\x02" + bytes(31), bytes(64)), (bytes(32), b"")])
def test_malformed_keys_and_signatures_are_false_not_an_error(public, signature):
    assert not verifies(public, signature, b"")


def test_a_key_s_text_shows_no_secret():
    key = a_key("a")
    assert key.seed().hex() not in repr(key)
    assert fingerprint(key.public)[:16] in repr(key)


@pytest.mark.parametrize(
    "uri",
    ["kapok://hospital/H1", "kapok://clinic/h1", "kapok://hospital/", "kapok://hospital/-a", "kapok://hospital/a\n", "hospital/a",
     "kapok://hospital/" + "a" * 64, "kapok://hospital/a/b", "kapok://hospital/ａ"],
)  # fmt: skip
def test_other_identities_are_refused(uri):
    with pytest.raises(MalformedBytes, match="expected an identity like"):
        Identity.parse(uri)


@given(st.sampled_from(Role), st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True))
def test_identities_are_read_back(role, name):
    assert Identity.parse(str(Identity(role, name))) == Identity(role, name)
