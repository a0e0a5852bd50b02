"""One spelling: what rfc8785 writes is what we write, and nothing else is read."""

import json

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from protocols.canonical import (
    MAX_DEPTH,
    MAX_INTEGER,
    b64,
    decode_json,
    encode_json,
    framed,
    is_plainly_canonical,
    number,
    numbers,
    unb64,
    unframed,
    unnumber,
)
from protocols.errors import MalformedBytes

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | TEXT
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=12)
PARTS = st.lists(st.binary(max_size=20), max_size=5)


@given(VALUES)
def test_any_value_is_written_as_rfc8785_writes_it_and_read_back(value):
    raw = encode_json(value)
    assert raw == rfc8785.dumps(value)
    assert decode_json(raw) == value


@given(VALUES, st.booleans(), st.booleans(), st.sampled_from([(",", ":"), (", ", ": ")]))
def test_what_is_read_is_what_is_written(value, is_ascii, sorts, separators):
    """Whatever spelling json gives the value: it is read only if it is the canonical one."""
    raw = json.dumps(value, ensure_ascii=is_ascii, sort_keys=sorts, separators=separators).encode()
    try:
        read = decode_json(raw)
    except MalformedBytes:
        assert raw != encode_json(value)
        return
    assert encode_json(read) == raw


@given(st.binary(max_size=40))
def test_any_bytes_are_read_as_their_one_spelling_or_refused(raw):
    try:
        value = decode_json(raw)
    except MalformedBytes:
        return
    assert encode_json(value) == raw


def _no_float(_):
    raise ValueError("a float")


def _unique(pairs):
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)


def _deepest(value):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_deepest, inner)) if inner else 0


def second_reader(raw):
    """The definition, by the standard library's reader and rfc8785: strict JSON that is written back as it was."""
    reader = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_no_float, parse_constant=_no_float)
    try:
        value = reader.decode(raw.decode("utf-8"))
        return (value,) if rfc8785.dumps(value) == raw and _deepest(value) <= MAX_DEPTH else None
    except (ValueError, rfc8785.CanonicalizationError):
        return None


def why_not(raw):
    with pytest.raises(MalformedBytes) as caught:
        decode_json(raw)
    return caught.value


ODD = st.sampled_from(
    [b"1.0", b"1e3", b"-0", b"01", b"NaN", b'"\\u0041"', b'"\\u001f"', b'"\\/"', b" ", b'"a":1,', b"9007199254740993"]
)


@given(VALUES, st.booleans(), st.booleans(), ODD, st.data())
def test_both_readers_agree_on_any_spelling(value, is_ascii, sorts, odd, data):
    raw = json.dumps(value, ensure_ascii=is_ascii, sort_keys=sorts, separators=(",", ":")).encode()
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(raw)))
        raw = raw[:at] + odd + raw[at + data.draw(st.integers(0, 3)) :]
    try:
        read = (decode_json(raw),)
    except MalformedBytes:
        read = None
    assert read == second_reader(raw)
    if is_plainly_canonical(raw):
        assert read is not None or "float" in str(why_not(raw)) or "number" in str(why_not(raw))


OTHER_SPELLINGS = {
    "a key twice": b'{"a":1,"a":1}',
    "a key twice, nested": b'[{"b":{"a":1,"a":2}}]',
    "a space": b'{"a": 1}',
    "a newline at the end": b'{"a":1}\n',
    "a byte order mark": b'\xef\xbb\xbf{"a":1}',
    "keys out of order": b'{"b":1,"a":1}',
    "astral keys by code point": '{"\uffff":1,"\U00010000":1}'.encode(),
    "an escape that is not needed": b'{"a":"\\u0041"}',
    "an escaped slash": b'"\\/"',
    "an upper-case escape": b'"\\u001F"',
    "a long escape for a newline": b'"\\u000a"',
    "an escaped astral character": b'"\\ud83d\\ude00"',
    "a lone surrogate": b'"\\ud800"',
    "a lone surrogate in bytes": b'"\xed\xa0\x80"',
    "bytes that are not UTF-8": b'"\xff"',
    "a float": b"1.0",
    "an exponent": b"1e3",
    "minus zero": b"-0",
    "a leading zero": b"01",
    "not a number": b"NaN",
    "infinity": b"-Infinity",
    "a number beyond 2^53": b"9007199254740993",
    "a number beyond 2^53, negative": b"-9007199254740992",
    "five thousand digits": b"1" * 5000,
    "nothing": b"",
    "two values": b"1 2",
    "deep nesting": b"[" * (MAX_DEPTH + 2) + b"]" * (MAX_DEPTH + 2),
    "nesting near the interpreter's limit": b"[" * 990 + b"]" * 990,
    "nesting beyond it": b"[" * 20_000 + b"]" * 20_000,
}


@pytest.mark.parametrize("raw", [each for each in OTHER_SPELLINGS.values() if len(each) < 500])
def test_the_second_reader_refuses_them_too(raw):
    assert second_reader(raw) is None


@pytest.mark.parametrize("raw", OTHER_SPELLINGS.values(), ids=OTHER_SPELLINGS)
def test_other_spellings_are_refused(raw):
    with pytest.raises(MalformedBytes, match=r"canonical JSON|a statement holds no"):
        decode_json(raw)


def test_the_quick_check_does_not_decide_on_astral_keys():
    assert not is_plainly_canonical(OTHER_SPELLINGS["astral keys by code point"])
    assert is_plainly_canonical('{"a":"木棉","\uffff":1}'.encode())


def test_astral_keys_are_ordered_by_utf16_units():
    value = {"\uffff": 1, "\U00010000": 1}
    assert encode_json(value) == '{"\U00010000":1,"\uffff":1}'.encode()
    assert decode_json(encode_json(value)) == value


@pytest.mark.parametrize("value", [1.0, {"a": [0.5]}, 2**53, -(2**53), "\ud800", {1: 2}])
def test_what_has_no_canonical_spelling_is_not_written(value):
    with pytest.raises(MalformedBytes):
        encode_json(value)


def test_nesting_is_written_and_read_to_the_same_depth():
    deep = []
    for _ in range(MAX_DEPTH - 1):
        deep = [deep]
    assert decode_json(encode_json(deep)) == deep
    assert decode_json(encode_json([deep])) == [deep]
    with pytest.raises(MalformedBytes):
        encode_json([[deep]])


@given(st.binary(max_size=60))
def test_base64_is_read_back(raw):
    assert unb64(b64(raw), len(raw)) == raw


@given(st.text(st.sampled_from("AB+/=-_ \n"), max_size=8))
def test_base64_has_one_spelling(text):
    try:
        raw = unb64(text)
    except MalformedBytes:
        return
    assert b64(raw) == text


@pytest.mark.parametrize("text", ["QQ", "QQ=", "QR==", "QQ==\n", " QQ==", "Q_==", "QQ==QQ==", "QQ===", "é", "="])
def test_other_base64_is_refused(text):
    with pytest.raises(MalformedBytes, match="base64"):
        unb64(text)


def test_base64_of_another_length_is_refused():
    with pytest.raises(MalformedBytes, match="expected 32 bytes in base64, got 31"):
        unb64(b64(bytes(31)), 32)


@given(PARTS, PARTS)
def test_framing_is_injective(one, other):
    assert (framed(*one) == framed(*other)) == (one == other)


@given(PARTS)
def test_framed_parts_are_read_back(parts):
    assert unframed(framed(*parts)) == tuple(parts)


@given(PARTS, st.integers(0, 200), st.binary(min_size=1, max_size=3))
def test_any_change_of_framed_bytes_is_another_tuple_or_refused(parts, at, junk):
    raw = framed(*parts)
    changed = raw[: at % (len(raw) + 1)] + junk + raw[at % (len(raw) + 1) :]
    try:
        read = unframed(changed)
    except MalformedBytes:
        return
    assert framed(*read) == changed


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "cut short"),
        (bytes(7), "cut short"),
        (framed(b"a")[:-1], "cut short"),
        (framed(b"a") + b"x", "1 bytes after the last part"),
        (b"\xff" * 8, "cut short"),
        ((1).to_bytes(8, "big") + b"\xff" * 8, "cut short"),
    ],
)
def test_badly_framed_bytes_are_refused(raw, why):
    with pytest.raises(MalformedBytes, match=why):
        unframed(raw)


@given(st.integers(0, 10**39))
def test_numbers_are_read_back(value):
    assert unnumber(number(value)) == value


@pytest.mark.parametrize("raw", [b"", b"01", b"-1", b"+1", b" 1", b"1\n", "١".encode(), b"1_0", b"9" * 41, b"1" * 5000])
def test_other_spellings_of_numbers_are_refused(raw):
    with pytest.raises(MalformedBytes, match="shortest decimal"):
        unnumber(raw)


def test_negative_numbers_are_our_own_bug():
    with pytest.raises(ValueError, match="expected a non-negative integer, got -1"):
        numbers([1, -1])
