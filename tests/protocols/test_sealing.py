"""Sealed seeds: opened by the auditor's key under the very same context, by any HPKE, and by nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.canonical import b64
from protocols.errors import BadSignature
from protocols.secagg.sealing import (
    SealingKey,
    query_context,
    require_sealing_key,
    round_seed,
    seal,
    segment_context,
)
from tests.protocols import second
from tests.protocols.examples import HOSPITALS, MONTH, ORIGIN, binding, digest, sealing_key, seed, signing

U, A, B = binding().value, *HOSPITALS[:2]
SEED = seed("s")
QUERY, READY = bytes.fromhex(digest("query")), bytes.fromhex(digest("ready"))
SEGMENT = (ORIGIN, QUERY, 1, 50, READY, A)
OTHER_SEGMENTS = [
    ("other", QUERY, 1, 50, READY, A), (ORIGIN, READY, 1, 50, READY, A), (ORIGIN, QUERY, 2, 50, READY, A),
    (ORIGIN, QUERY, 1, 51, READY, A), (ORIGIN, QUERY, 1, 50, QUERY, A), (ORIGIN, QUERY, 1, 50, READY, B),
]  # fmt: skip


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=100))
def test_a_seed_is_opened_under_its_context(raw, context):
    assert sealing_key().open(seal(raw, sealing_key().public, context), context) == raw


@pytest.mark.parametrize(
    "context", [query_context(U, B), query_context(bytes(32), A), query_context(U, A)[:-1], b"", segment_context(*SEGMENT)]
)
def test_a_seed_is_not_opened_for_another_member_or_binding(context):
    sealed = seal(SEED, sealing_key().public, query_context(U, A))
    with pytest.raises(BadSignature, match="not sealed to this key for this member and binding"):
        sealing_key().open(sealed, context)


def test_another_key_opens_nothing():
    sealed = seal(SEED, sealing_key().public, b"")
    with pytest.raises(BadSignature, match="not sealed to this key"):
        SealingKey.generate(MONTH).open(sealed, b"")


@given(st.integers(0, 79), st.integers(1, 255))
def test_any_changed_byte_is_noticed(at, change):
    sealed = bytearray(seal(SEED, sealing_key().public, b"c"))
    assert len(sealed) == 80  # the key, the seed, the tag
    sealed[at] ^= change
    with pytest.raises(BadSignature, match="not sealed to this key"):
        sealing_key().open(bytes(sealed), b"c")


@pytest.mark.parametrize("sealed", [b"", bytes(31), bytes(80), b"\xff" * 80])
def test_bytes_that_are_no_sealed_seed_are_refused(sealed):
    with pytest.raises(BadSignature, match="not sealed to this key"):
        sealing_key().open(sealed, b"")


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_seed_of_another_length_is_refused(size):
    with pytest.raises(BadSignature, match=f"expected 32 bytes, got {size}"):
        sealing_key().open(seal(bytes(size), sealing_key().public, b""), b"")


def test_the_same_seed_is_sealed_differently_each_time():
    assert seal(SEED, sealing_key().public, b"") != seal(SEED, sealing_key().public, b"")


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=60))
def test_another_hpke_opens_what_we_seal_and_we_what_it_seals(raw, context):
    assert second.unseal(seal(raw, sealing_key().public, context), sealing_key().secret(), context) == raw
    assert sealing_key().open(second.seal(raw, sealing_key().public, context), context) == raw


def test_the_other_hpke_refuses_another_context_too():
    with pytest.raises(ValueError, match="Incorrect HPKE keys"):
        second.unseal(seal(SEED, sealing_key().public, b"a"), sealing_key().secret(), b"b")


@pytest.mark.parametrize("other", OTHER_SEGMENTS)
def test_a_segment_s_context_binds_each_of_its_parts(other):
    assert segment_context(*SEGMENT) != segment_context(*other)


def test_a_round_s_seed_depends_on_round_attempt_binding_and_root():
    seeds = [round_seed(SEED, 1, 1, U), round_seed(SEED, 2, 1, U), round_seed(SEED, 1, 2, U), round_seed(SEED, 1, 1, bytes(32)),
             round_seed(bytes(32), 1, 1, U), round_seed(SEED, 11, 1, U), round_seed(SEED, 1, 11, U)]  # fmt: skip
    assert len(set(seeds)) == len(seeds)


def test_a_sealing_key_counts_with_the_service_key_s_signature_for_log_and_month():
    made = sealing_key().certificate(ORIGIN, signing("service"))
    assert require_sealing_key(made, ORIGIN, signing("service").public) == sealing_key().public
    lies = [
        (made, "other", signing("service").public),
        (made, ORIGIN, signing("approval").public),
        (made.model_copy(update={"month": "2026-12"}), ORIGIN, signing("service").public),
        (made.model_copy(update={"key": b64(SealingKey.generate(MONTH).public)}), ORIGIN, signing("service").public),
    ]
    for certificate, origin, service in lies:
        with pytest.raises(BadSignature, match="not signed by the auditor's service key"):
            require_sealing_key(certificate, origin, service)


def test_a_stored_sealing_key_is_the_same_key():
    made = SealingKey.generate(MONTH)
    assert SealingKey.from_bytes(made.secret(), MONTH).public == made.public
