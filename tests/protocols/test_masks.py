"""Masks: they cancel in the sum of those who were told the same, hide each vector, and no stream is ever used twice."""

import hashlib
import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from protocols.secagg import masks
from protocols.secagg.agreement import AgreementKey, PairKey
from protocols.secagg.masks import PIECE_BYTES, MasksRemain, mask, seed_stream_sum, unmask, values_hash, vector_hash
from protocols.secagg.ring import dtype_of, from_ring, into_ring, ring_bits
from tests.protocols import second
from tests.protocols.examples import MONTH, binding, seed

U = binding().value
OTHER_U = binding(attempt=2).value
REACH = 1_000_000


def uri(n):
    return f"kapok://hospital/m{n}"


KEYS = [AgreementKey(seed(f"masks {n}"), MONTH) for n in range(9)]
PAIRS = {(i, j): KEYS[i].pair(uri(i), uri(j), KEYS[j].public) for i in range(9) for j in range(9) if i != j}


def contribution(i, members, values, bits, u=U):
    return mask(values, bits, u, seed(f"s{i}"), [PAIRS[i, j] for j in members if j != i])


def opened(members, told, values, bits):
    masked = {uri(i): contribution(i, members, values[i], bits, told.get(i, U)) for i in members}
    stream_sum = seed_stream_sum([seed(f"s{i}") for i in members], len(values[0]), bits, U)
    return unmask(masked, stream_sum, bits, REACH)


@settings(deadline=None, max_examples=40)
@given(st.sampled_from([32, 64]), st.integers(2, 9), st.integers(0, 20), st.data())
def test_the_masks_cancel_in_the_sum_of_all_members(bits, n, dimension, data):
    cells = st.lists(st.integers(-1000, 1000), min_size=dimension, max_size=dimension)
    values = [np.array(data.draw(cells), np.int64) for _ in range(n)]
    assert np.array_equal(opened(range(n), {}, values, bits), sum(values))


@pytest.mark.parametrize("bits", [32, 64])
def test_the_masks_cancel_over_several_pieces(bits):
    values = [np.arange(PIECE_BYTES // 4 + 5, dtype=np.int64) - i for i in range(3)]
    assert np.array_equal(opened(range(3), {}, values, bits), sum(values))


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("liar", [0, 1, 2])
def test_one_member_told_another_binding_makes_garbage(bits, liar):
    """20 uniform cells within REACH by chance: below (2 · 10^6 / 2^32)^20 < 10^-66."""
    with pytest.raises(MasksRemain, match="do not cancel"):
        opened(range(3), {liar: OTHER_U}, [np.zeros(20, np.int64)] * 3, bits)


def test_a_sum_that_lacks_a_member_or_a_seed_is_garbage():
    vectors = {uri(i): contribution(i, range(3), np.zeros(20, np.int64), 32) for i in range(3)}
    all_seeds = seed_stream_sum([seed(f"s{i}") for i in range(3)], 20, 32, U)
    two_seeds = seed_stream_sum([seed(f"s{i}") for i in range(2)], 20, 32, U)
    without_one = {name: vector for name, vector in vectors.items() if name != uri(0)}
    for masked, stream_sum in ((without_one, two_seeds), (without_one, all_seeds), (vectors, two_seeds)):
        with pytest.raises(MasksRemain, match="do not cancel"):
            unmask(masked, stream_sum, 32, REACH)


def test_another_u_for_everybody_is_garbage_without_the_seeds_of_it():
    with pytest.raises(MasksRemain, match="do not cancel"):
        opened(range(3), dict.fromkeys(range(3), OTHER_U), [np.zeros(20, np.int64)] * 3, 32)


@pytest.mark.parametrize("wrong", [np.zeros(1, "<u4"), np.zeros(5, "<u4"), np.zeros(4, "<u8"), np.zeros((2, 2), "<u4")])
def test_a_vector_of_another_shape_or_ring_does_not_enter_a_sum(wrong):
    with pytest.raises(MasksRemain, match="another length or ring"):
        unmask({"a": wrong}, np.zeros(4, "<u4"), 32, REACH)


@pytest.mark.parametrize(("cell", "is_within"), [(9, True), (-9, True), (10, False), (-10, False)])
def test_the_reach_itself_is_honest_and_one_more_is_not(cell, is_within):
    masked = {"a": into_ring(np.array([cell], np.int64), 32)}
    if is_within:
        assert unmask(masked, np.zeros(1, "<u4"), 32, 9).tolist() == [cell]
    else:
        with pytest.raises(MasksRemain, match="do not cancel"):
            unmask(masked, np.zeros(1, "<u4"), 32, 9)


@pytest.mark.statistical
@pytest.mark.parametrize("missing", ["pair masks", "seed mask"])
def test_a_vector_without_one_layer_still_looks_uniform(missing):
    """Chi-square of 2^16 bytes against uniform, 255 degrees; fixed keys, false-alarm rate 10^-6 each time inputs are changed."""
    pairs = [] if missing == "pair masks" else [PAIRS[0, 1]]
    vector = mask(np.zeros(2**14, np.int64), 32, U, seed("s0"), pairs)
    if missing == "seed mask":
        np.subtract(vector, seed_stream_sum([seed("s0")], 2**14, 32, U), out=vector)
    counts = np.bincount(np.frombuffer(vector.tobytes(), np.uint8), minlength=256)
    statistic = float(((counts - 256.0) ** 2 / 256).sum())
    assert chi2.ppf(1e-6, 255) < statistic < chi2.isf(1e-6, 255)


@pytest.mark.statistical
def test_two_sums_of_vectors_that_differ_by_one_cannot_be_told_apart_by_their_mean():
    """z-test over 2^14 cells of two vectors under two bindings, false-alarm rate 10^-6 (two-sided, z < 4.9)."""
    one = contribution(0, range(3), np.zeros(2**14, np.int64), 32, U).astype(float)
    two = contribution(0, range(3), np.full(2**14, 1000), 32, OTHER_U).astype(float)
    sd = 2**32 / math.sqrt(12) * math.sqrt(2 / 2**14)
    assert abs(one.mean() - two.mean()) < 4.9 * sd


def test_a_stream_key_is_used_once_per_secret_label_and_binding(monkeypatch):
    used = []
    monkeypatch.setattr(masks, "_add_streams", lambda total, streams: used.extend(streams))
    for i in range(5):
        for u in (U, OTHER_U):
            contribution(i, range(5), np.zeros(1, np.int64), 32, u)
    selves, pairs = [used[n] for n in range(0, len(used), 5)], [each for n, each in enumerate(used) if n % 5]
    assert len({key for key, _ in selves}) == 10
    # Each pair's key serves exactly its two ends, one adding and one subtracting.
    assert len({key for key, _ in pairs}) == 2 * len(list(combinations(range(5), 2)))
    assert len(set(pairs)) == len(pairs) == 40
    assert not {key for key, _ in selves} & {key for key, _ in pairs}


def test_a_seed_that_were_a_pair_secret_would_give_another_stream():
    pair = PairKey(seed("s0"), adds=True)
    with_pair = mask(np.zeros(8, np.int64), 32, U, seed("other"), [pair])
    alone = mask(np.zeros(8, np.int64), 32, U, seed("other"), [])
    assert not np.array_equal(with_pair - alone, seed_stream_sum([seed("s0")], 8, 32, U))


@pytest.mark.parametrize("bits", [32, 64])
def test_a_second_implementation_makes_the_same_vector(bits):
    values = np.array([0, 5, -7, 2**30, -(2**30)], np.int64)
    total = values.tolist()
    words = [(second.stream(seed("s0"), b"self", U, 5, bits), 1)]
    words += [
        (second.stream(PAIRS[0, j].secret, b"pair", U, 5, bits), 1 if KEYS[0].public < KEYS[j].public else -1) for j in (1, 2)
    ]
    for stream, sign in words:
        total = [(value + sign * word) % 2**bits for value, word in zip(total, stream, strict=True)]
    assert contribution(0, range(3), values, bits).tolist() == total


def test_masking_leaves_its_input_alone():
    values = np.arange(4, dtype=np.int64)
    mask(values, 64, U, seed("s0"), [PAIRS[0, 1]])
    assert values.tolist() == [0, 1, 2, 3]


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1))
def test_signed_values_are_read_back_in_the_narrow_ring(values):
    assert from_ring(into_ring(np.array(values, np.int64), 32), 32).tolist() == values


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_signed_values_are_read_back_in_the_wide_ring(values):
    assert from_ring(into_ring(np.array(values, np.int64), 64), 64).tolist() == values


@given(st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=9), st.sampled_from([32, 64]))
def test_sums_that_wrap_on_the_way_are_right_if_the_end_is_within_the_ring(values, bits):
    total = np.zeros(1, dtype_of(bits))
    for value in values:
        np.add(total, into_ring(np.array([value], np.int64), bits), out=total)
    wrapped = (sum(values) + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)
    assert from_ring(total, bits).tolist() == [wrapped]


@pytest.mark.parametrize(("reach", "bits"), [(0, 32), (2**31 - 1, 32), (2**31, 64), (2**63 - 1, 64)])
def test_the_ring_is_the_narrowest_that_holds_the_reach(reach, bits):
    assert ring_bits(reach) == bits
    ends = np.array([reach, -reach], np.int64)
    assert from_ring(into_ring(ends, bits), bits).tolist() == ends.tolist()


def test_no_ring_holds_more_than_63_bits():
    with pytest.raises(OverflowError, match="the widest ring holds 2\\^63"):
        ring_bits(2**63)


def test_other_rings_are_refused():
    with pytest.raises(ValueError, match="expected a ring of 32 or 64 bits, got 16"):
        dtype_of(16)


def test_vector_and_values_are_hashed_in_their_own_byte_orders():
    assert vector_hash(into_ring(np.array([1, -1], np.int64), 32)) == hashlib.sha256(b"\1\0\0\0" + b"\xff" * 4).digest()
    assert vector_hash(np.arange(8, dtype="<u4")[::2]) == vector_hash(np.array([0, 2, 4, 6], "<u4"))
    assert values_hash(np.array([1, -2], np.int64)) == hashlib.sha256(bytes(7) + b"\1" + b"\xff" * 7 + b"\xfe").digest()
