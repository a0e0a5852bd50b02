"""The binding value: one encoding, read strictly, and a different u for every difference."""

import hashlib
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.canonical import framed, number, unframed
from protocols.errors import MalformedBytes
from protocols.secagg.binding import Binding, Member
from protocols.statements.base import MAX_ROUND
from tests.protocols.examples import HOSPITALS, binding

SMALL = st.integers(0, 2**64)
URIS = st.from_regex(r"kapok://hospital/[a-z0-9]{1,6}", fullmatch=True)
MEMBERS = st.lists(
    st.tuples(URIS, st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32)), unique_by=lambda m: m[0]
)


@st.composite
def bindings(draw):
    members = tuple(Member(*each) for each in sorted(draw(MEMBERS)))
    counting = tuple(each.uri for each in members if draw(st.booleans()))
    return Binding(
        origin=draw(st.from_regex(r"[a-z0-9.]{1,9}", fullmatch=True)),
        query=draw(st.binary(min_size=32, max_size=32)),
        round=draw(st.integers(0, MAX_ROUND)),
        attempt=draw(SMALL),
        input_hash=draw(st.sampled_from([b"", bytes(32), b"\xff" * 32])),
        dimension=draw(SMALL),
        ring=draw(st.sampled_from([32, 64])),
        scale=draw(SMALL),
        variances=tuple(draw(st.lists(SMALL, max_size=3))),
        n=draw(SMALL),
        c=draw(SMALL),
        not_after=draw(SMALL),
        members=members,
        counting=counting,
    )


@given(bindings())
def test_any_binding_is_read_back(bound):
    assert Binding.decode(bound.encode()) == bound
    assert bound.value == hashlib.sha256(bound.encode()).digest()


@given(bindings(), bindings())
def test_two_bindings_have_one_value_only_if_they_are_one(one, other):
    assert (one.value == other.value) == (one == other)


@given(bindings(), st.data())
def test_any_bytes_are_refused_or_are_the_one_encoding_of_what_is_read(bound, data):
    raw = bytearray(bound.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = Binding.decode(bytes(raw))
    except MalformedBytes:
        return
    assert read.encode() == bytes(raw)


CHANGES = {
    "origin": "ledger.kapok.test/2027",
    "query": bytes(32),
    "round": 1,
    "attempt": 2,
    "input_hash": bytes(32),
    "dimension": 5,
    "ring": 64,
    "scale": 2,
    "variances": (1600, 1600),
    "n": 5,
    "c": 2,
    "not_after": binding().not_after + 1,
    "members": binding().members[:4],
    "counting": HOSPITALS[:3],
}


def test_the_changes_below_are_of_every_field():
    assert list(CHANGES) == [each.name for each in fields(Binding)]


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_of_any_field_changes_u(name):
    assert replace(binding(), **{name: CHANGES[name]}).value != binding().value


@pytest.mark.parametrize("change", [{"uri": "kapok://hospital/h00"}, {"agreement": bytes(32)}, {"ready": bytes(32)}])
def test_a_change_of_any_part_of_a_member_changes_u(change):
    first, *rest = binding().members
    assert replace(binding(), members=(replace(first, **change), *rest)).value != binding().value


M = binding().members
UNSOUND = {
    "members not sorted": ({"members": M[::-1]}, "sorted, each once"),
    "a member twice": ({"members": (M[0], M[0], *M[1:])}, "sorted, each once"),
    "a member twice with another key": ({"members": (M[0], replace(M[0], agreement=bytes(32)), *M[1:])}, "sorted, each once"),
    "counting not sorted": ({"counting": HOSPITALS[3::-1]}, "sorted, each once"),
    "counting twice": ({"counting": (HOSPITALS[0], *HOSPITALS[:4])}, "sorted, each once"),
    "K outside U": ({"members": M[1:]}, "not within the member set"),
    "a ring of 16 bits": ({"ring": 16}, "a ring has 32 or 64 bits"),
    "a short query id": ({"query": bytes(31)}, "a query id and an input hash 32 bytes"),
    "a short input hash": ({"input_hash": bytes(31)}, "a query id and an input hash 32 bytes"),
    "a round beyond every query": ({"round": MAX_ROUND + 1}, "a round is at most"),
    "a member that is no identity": ({"members": (replace(M[0], uri="h01"), *M), "counting": ()}, "expected an identity"),
    "a short key": ({"members": (replace(M[0], agreement=bytes(31)), *M[1:])}, "a member is its URI, a 32-byte key"),
    "a short Ready id": ({"members": (replace(M[0], ready=bytes(31)), *M[1:])}, "a member is its URI, a 32-byte key"),
}


@pytest.mark.parametrize(("change", "why"), UNSOUND.values(), ids=UNSOUND)
def test_an_unsound_binding_is_refused(change, why):
    with pytest.raises(MalformedBytes, match=why):
        Binding.decode(replace(binding(), **change).encode())


@pytest.mark.parametrize(
    ("place", "part", "why"),
    [
        (0, b"kapok/v1/other", "not a binding of this protocol version"),
        (1, number(2), "not a binding of this protocol version"),
        (2, "é".encode(), "expected ASCII"),
        (4, b"00", "shortest decimal"),
        (7, b"9" * 5000, "shortest decimal"),
        (14, framed(framed(b"kapok://hospital/a", bytes(32))), "a member is its URI"),
        (15, b"", "cut short"),
    ],
)
def test_other_parts_are_refused(place, part, why):
    parts = list(unframed(binding().encode()))
    parts[place] = part
    with pytest.raises(MalformedBytes, match=why):
        Binding.decode(framed(*parts))


def test_a_part_too_few_or_too_many_is_refused():
    parts = unframed(binding().encode())
    for changed in (parts[:-1], (*parts, b"")):
        with pytest.raises(MalformedBytes, match="not a binding of this protocol version"):
            Binding.decode(framed(*changed))


def test_a_member_is_found_by_its_uri():
    assert binding().member(HOSPITALS[1]) == M[1]
    assert binding().member("kapok://hospital/h99") is None
