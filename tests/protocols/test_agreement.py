"""Agreement keys: certified by the right identity with possession, and the same pair key on both sides with opposite signs."""

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from protocols.canonical import b64
from protocols.errors import BadSignature
from protocols.identity import SigningKey
from protocols.secagg import agreement as module
from protocols.secagg.agreement import AgreementKey, montgomery, require_certified
from tests.protocols.examples import HOSPITALS, MONTH, ORIGIN, agreement, seed, signing
from tests.protocols.second import hkdf, x25519_scalar
from tests.protocols.test_dsse import SMALL

A, B, C = HOSPITALS[:3]
SEEDS = st.binary(min_size=32, max_size=32)


@given(SEEDS)
def test_the_montgomery_image_is_the_x25519_public_key_of_the_same_scalar(raw):
    scalar = X25519PrivateKey.from_private_bytes(x25519_scalar(raw))
    assert montgomery(SigningKey.from_seed(raw).public) == scalar.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


@pytest.mark.parametrize("y", SMALL)
def test_points_of_small_order_are_refused_also_in_other_spellings(y):
    with pytest.raises(BadSignature, match="a point of small order"):
        montgomery((y % 2**256).to_bytes(32, "little"))


@pytest.mark.parametrize("y", SMALL)
def test_a_small_order_key_is_not_certified_whatever_is_signed(y):
    public = (y % 2**256).to_bytes(32, "little")
    honest = certificate()
    forged = honest.model_copy(update={"key": b64(public), "possession_signature": b64(b"\x01" + bytes(63))})
    message = module._certified(ORIGIN, A, MONTH, public)
    forged = forged.model_copy(update={"identity_signature": b64(signing(A).sign(message))})
    with pytest.raises(BadSignature, match="a point of small order"):
        require_certified(forged, ORIGIN, A, signing(A).public)


def test_an_exchange_that_gives_zero_is_refused(monkeypatch):
    # Unreachable while `montgomery` refuses all eight points; it stays, since RFC 7748 demands it.
    monkeypatch.setattr(module, "montgomery", lambda _: bytes(32))
    with pytest.raises(BadSignature, match="the exchange gives zero"):
        agreement(A).pair(A, B, agreement(B).public)


def certificate():
    return agreement(A).certificate(ORIGIN, A, signing(A))


def test_an_honest_certificate_gives_the_key():
    assert require_certified(certificate(), ORIGIN, A, signing(A).public) == agreement(A).public


def test_a_certificate_by_another_identity_is_refused():
    by_another = agreement(A).certificate(ORIGIN, A, signing(B))
    with pytest.raises(BadSignature, match="not signed by the hospital's identity key"):
        require_certified(by_another, ORIGIN, A, signing(A).public)


@pytest.mark.parametrize("change", ["origin", "uri", "month"])
def test_a_certificate_for_another_log_hospital_or_month_is_refused(change):
    made = AgreementKey(seed("agreement " + A), "2026-12") if change == "month" else agreement(A)
    origin, uri = ("other" if change == "origin" else ORIGIN), (B if change == "uri" else A)
    other = made.certificate(origin, uri, signing(A)).model_copy(update={"month": MONTH})
    with pytest.raises(BadSignature, match="not signed by the hospital's identity key"):
        require_certified(other, ORIGIN, A, signing(A).public)


def test_another_hospital_s_agreement_key_cannot_be_claimed():
    """C signs B's public key as its own with its identity key; possession it can only borrow, under B's name."""
    victim = agreement(B).certificate(ORIGIN, B, signing(B))
    message = module._certified(ORIGIN, C, MONTH, agreement(B).public)
    for possession in (victim.possession_signature, b64(signing(C).sign(message)), b64(agreement(C)._signing.sign(message))):
        claimed = victim.model_copy(
            update={"identity_signature": b64(signing(C).sign(message)), "possession_signature": possession}
        )
        with pytest.raises(BadSignature, match="possession is not proved"):
            require_certified(claimed, ORIGIN, C, signing(C).public)


@given(SEEDS, SEEDS)
def test_both_sides_have_one_pair_key_and_opposite_signs(one, other):
    if one == other:
        return
    left, right = AgreementKey(one, MONTH), AgreementKey(other, MONTH)
    ours, theirs = left.pair(A, B, right.public), right.pair(B, A, left.public)
    assert ours.secret == theirs.secret
    assert ours.adds != theirs.adds
    assert ours.adds == (left.public < right.public)


def test_a_pair_key_depends_on_everything_in_its_context():
    ours = agreement(A).pair(A, B, agreement(B).public).secret
    others = {
        agreement(A).pair(A, C, agreement(B).public).secret,
        agreement(A).pair(C, B, agreement(B).public).secret,
        agreement(A).pair(B, A, agreement(B).public).secret,
        agreement(A).pair(A, B, agreement(C).public).secret,
        agreement(C).pair(A, B, agreement(B).public).secret,
    }
    assert len(others) == 5
    assert ours not in others


def test_a_pair_key_depends_on_the_protocol_version():
    """The version stands in the context's tag: with another tag another key comes out of the same exchange."""
    low, high = sorted([(agreement(A).public, A), (agreement(B).public, B)])
    secret = X25519PrivateKey.from_private_bytes(x25519_scalar(seed("agreement " + A))).exchange(
        X25519PrivateKey.from_private_bytes(x25519_scalar(seed("agreement " + B))).public_key()
    )
    made = {
        tag: hkdf(secret, module.framed(tag, low[1].encode(), high[1].encode(), low[0], high[0]))
        for tag in (b"kapok/v1/pair", b"kapok/v2/pair")
    }
    assert made[b"kapok/v1/pair"] == agreement(A).pair(A, B, agreement(B).public).secret != made[b"kapok/v2/pair"]


def test_secrets_are_not_shown():
    pair = agreement(A).pair(A, B, agreement(B).public)
    assert repr(pair) in ("PairKey(adds=True)", "PairKey(adds=False)")
    assert seed("agreement " + A).hex() not in repr(agreement(A))


def test_fresh_keys_differ():
    assert AgreementKey.generate(MONTH).public != AgreementKey.generate(MONTH).public
