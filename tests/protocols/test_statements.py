"""Statements: every kind is read back, and nothing that is not exactly one."""

import json
import re
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as hy
from pydantic import TypeAdapter, ValidationError

from protocols import statements as st
from protocols.canonical import b64, encode_json, unb64
from protocols.clock import month, stamp, unix
from protocols.dsse import Envelope
from protocols.errors import MalformedBytes
from protocols.statements.base import MAX_ROUND, Key, SignatureText
from tests.protocols.examples import NOW, every_kind, query, ready, seed, signing

EXAMPLES = [statement for statement, _ in every_kind()]
BY_KIND = {each.kind: each for each in EXAMPLES}
FIELDS = [(each.kind, name) for each in EXAMPLES for name in type(each).model_fields]
SECRET = "patient-4711"


def fields_of(statement: st.Statement) -> dict[str, Any]:
    return statement.model_dump(mode="json")


def read(statement: st.Statement, fields: dict[str, Any]) -> st.Statement:
    return type(statement).from_payload(encode_json(fields))


def refused(statement: st.Statement, fields: dict[str, Any]) -> str:
    with pytest.raises(MalformedBytes) as caught:
        read(statement, fields)
    return str(caught.value)


def test_the_examples_are_one_of_each_kind_and_the_kinds_are_these():
    assert {type(each) for each in EXAMPLES} == set(st.KINDS)
    assert len(EXAMPLES) == len(st.KINDS)
    assert [kind.kind for kind in st.KINDS] == [
        "root", "key", "key-revoke", "policy", "dataset", "programme", "rule", "query", "approval", "revocation", "hold",
        "refusal", "ready", "receipt", "opening", "release", "model", "review", "incident", "close",
        "registration", "model-card",
    ]  # fmt: skip


@pytest.mark.parametrize(("statement", "names"), every_kind(), ids=BY_KIND)
def test_every_kind_is_read_back_from_its_entry(statement, names):
    entry = statement.envelope().signed([signing(name) for name in names]).encode()
    signed = st.parse(entry)
    assert signed.statement == statement
    assert signed.id == statement.envelope().statement_id()
    assert signed.hex_id == signed.id.hex()
    assert signed.envelope.payload_type == f"application/vnd.kapok.{statement.kind}.v1+json"
    assert signed.statement.envelope().payload == signed.envelope.payload
    assert all(signed.envelope.is_signed_by(signing(name).public) for name in names)


@pytest.mark.parametrize("statement", EXAMPLES, ids=BY_KIND)
def test_a_payload_that_was_taken_before_is_read_again_as_the_same_statement(statement):
    payload = statement.envelope().payload
    again = type(statement).reread(payload)
    assert again == statement == type(statement).from_payload(payload)
    assert again.envelope().payload == payload
    assert again.model_dump() == statement.model_dump()
    assert again.model_fields_set == set(type(statement).model_fields)


@pytest.mark.parametrize(("kind", "name"), FIELDS)
def test_every_field_is_required(kind, name):
    statement = BY_KIND[kind]
    assert name in refused(statement, {key: value for key, value in fields_of(statement).items() if key != name})


@pytest.mark.parametrize(("kind", "name"), FIELDS)
def test_a_field_of_another_type_is_refused_by_its_place_without_its_value(kind, name):
    statement = BY_KIND[kind]
    wrong: Any = [{"no": SECRET}] if not isinstance(fields_of(statement)[name], list) else SECRET
    message = refused(statement, {**fields_of(statement), name: wrong})
    assert message.startswith(f"{kind} statement, {name}")
    assert SECRET not in message


@pytest.mark.parametrize("statement", EXAMPLES, ids=BY_KIND)
def test_a_field_too_many_is_refused(statement):
    message = refused(statement, {**fields_of(statement), "more": SECRET})
    assert message.startswith(f"{statement.kind} statement, more")
    assert SECRET not in message


def nested(value: Any, place: tuple[Any, ...] = ()) -> Any:
    if isinstance(value, dict):
        yield place
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in pairs:
        yield from nested(each, (*place, key))


FREE = ("spec", "limits", "approvers")
INNER = [(each.kind, place) for each in EXAMPLES for place in nested(fields_of(each)) if place and place[0] not in FREE]


@pytest.mark.parametrize(("kind", "place"), INNER)
def test_inner_parts_are_as_strict(kind, place):
    statement = BY_KIND[kind]
    for change in ("more", "less"):
        fields = fields_of(statement)
        inner = fields
        for step in place:
            inner = inner[step]
        if change == "more":
            inner["more"] = SECRET
        else:
            inner.pop(next(iter(inner)))
        message = refused(statement, fields)
        assert message.startswith(f"{kind} statement, " + ".".join(map(str, place)))
        assert SECRET not in message


def test_a_payload_that_is_not_canonical_is_refused():
    payload = query().envelope().payload
    with pytest.raises(MalformedBytes, match="another spelling"):
        st.Query.from_payload(payload.replace(b'":', b'": ', 1))


@given(hy.sampled_from(EXAMPLES), hy.data())
def test_a_payload_is_read_only_in_the_one_spelling_that_the_definition_gives(statement, data):
    """The quick check decides for typed fields alone; here the definition itself looks at what passed."""
    raw = statement.envelope().payload
    at = data.draw(hy.integers(0, len(raw) - 1))
    odd = data.draw(hy.sampled_from([b".0", b"e0", b"-0", b"0", b" ", b"\\u0041", b"\\/", b'"', b",", b"\xf0\x90\x80\x80"]))
    changed = raw[:at] + odd + raw[at + data.draw(hy.integers(0, 2)) :]
    try:
        type(statement).from_payload(changed)
    except MalformedBytes:
        return
    assert rfc8785.dumps(json.loads(changed)) == changed


@pytest.mark.parametrize("number", [b"1.5", b"9007199254740993", b"[" * 40 + b"]" * 40])
def test_a_free_spec_holds_no_float_no_large_number_and_no_deep_nesting(number):
    raw = query(spec={"any": 7}).envelope().payload
    with pytest.raises(MalformedBytes, match="a statement holds no"):
        st.Query.from_payload(raw.replace(b'{"any":7}', b'{"any":' + number + b"}"))


@pytest.mark.parametrize(("kind", "name"), [("query", "floor"), ("ready", "sequence"), ("policy", "order"), ("query", "rounds")])
@pytest.mark.parametrize("number", [b"4.0", b"4e0", b"-0", b"9007199254740993", b"18446744073709551616"])
def test_a_whole_number_has_one_spelling(kind, name, number):
    raw = BY_KIND[kind].envelope().payload
    changed = re.sub(rb'"' + name.encode() + rb'":[0-9]+', b'"' + name.encode() + b'":' + number, raw)
    assert changed != raw
    with pytest.raises(MalformedBytes):
        type(BY_KIND[kind]).from_payload(changed)


def test_an_unknown_kind_and_another_version_are_refused():
    for kind in ("application/vnd.kapok.wish.v1+json", "application/vnd.kapok.query.v2+json", "query"):
        entry = Envelope(kind, query().envelope().payload).signed([signing("bureau")]).encode()
        with pytest.raises(MalformedBytes, match="unknown kind of statement"):
            st.parse(entry)


def test_one_kind_is_not_read_as_another():
    approval = BY_KIND["approval"].envelope()
    as_revocation = Envelope(st.Revocation.payload_type(), approval.payload).signed([signing("approval")])
    with pytest.raises(MalformedBytes, match="revocation statement"):
        st.parse(as_revocation.encode())


WRONG_VALUES = [
    ("query", "log", "Ledger"), ("query", "log", "a//b"), ("query", "log", "a\n"), ("query", "log", "a" * 201),
    ("query", "at", "2026-11-23T08:00:00+00:00"), ("query", "at", "2026-02-30T00:00:00Z"), ("query", "at", "2026-11-23T08:00:60Z"),
    ("query", "by", "kapok://bureau/CDC"), ("query", "nonce", "A" * 64), ("query", "nonce", "a" * 63),
    ("query", "nonce", "a" * 64 + "\n"),
    ("query", "purpose", "curiosity"), ("query", "floor", -1), ("query", "floor", True),
    ("query", "rounds", MAX_ROUND + 1), ("query", "rounds", "1"), ("query", "variances", ["100"]), ("query", "variances", ["1e4"]),
    ("query", "variances", ["-1.0000"]), ("query", "variances", ["01.0000"]), ("query", "variances", ["1.00000"]),
    ("opening", "last_round", MAX_ROUND + 1), ("opening", "first_round", -1), ("approval", "target", "0"),
    ("key", "key", "QQ=="), ("key", "use", "root"), ("key", "action", "remove"), ("policy", "limits", {"curiosity": "1.000000000"}),
    ("policy", "limits", {"research": "1"}), ("hold", "is_held", 1), ("hold", "reason", ""), ("hold", "reason", "x" * 201),
    ("hold", "reason", "a\x1b[2Jb"), ("hold", "reason", "a\nb"), ("hold", "reason", "a\u202eb"), ("hold", "reason", "a\u200bb"),
    ("dataset", "static_blocks", ["2026-13"]), ("dataset", "static_blocks", ["static:"]), ("release", "status", "done"),
    ("review", "verdict", "fine"), ("programme", "max_price", "1.0"), ("programme", "until", "2026-11-23"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "name", "value"), WRONG_VALUES)
def test_values_outside_their_form_are_refused(kind, name, value):
    assert f"{kind} statement, {name}" in refused(BY_KIND[kind], {**fields_of(BY_KIND[kind]), name: value})


PART_VALUES = [
    ("agreement", "key", "AA=="), ("agreement", "month", "2026-00"), ("agreement", "possession_signature", "AA=="),
    ("sealing", "signature", "AA=="), ("sealing", "key", "A" * 44), ("charge", "price", "-0.010000000"),
    ("charge", "blocks", ["all"]),
    ("charge", "price", "0.01"), ("seen", "size", -1), ("seen", "root", ""),
]  # fmt: skip


@pytest.mark.parametrize(("part", "name", "value"), PART_VALUES)
def test_values_outside_their_form_are_refused_in_a_ready(part, name, value):
    fields = fields_of(ready())
    fields[part][name] = value
    assert f"ready statement, {part}.{name}" in refused(ready(), fields)


@given(
    hy.recursive(
        hy.none()
        | hy.booleans()
        | hy.integers(-(2**53) + 1, 2**53 - 1)
        | hy.text(hy.characters(exclude_categories=["Cs"]), max_size=5),
        lambda inner: (
            hy.lists(inner, max_size=3) | hy.dictionaries(hy.text(hy.characters(exclude_categories=["Cs"]), max_size=3), inner)
        ),
        max_leaves=6,
    )
)
def test_whatever_a_spec_holds_the_statement_has_one_spelling(value):
    payload = query(spec={"any": value}).envelope().payload
    assert st.Query.from_payload(payload).envelope().payload == payload


@given(hy.sampled_from(EXAMPLES), hy.data())
def test_any_changed_byte_of_an_entry_is_refused_or_another_fact(statement, data):
    entry = statement.envelope().signed([signing("x")]).encode()
    at = data.draw(hy.integers(0, len(entry) - 1))
    changed = entry[:at] + bytes([data.draw(hy.integers(0, 255))]) + entry[at + 1 :]
    try:
        signed = st.parse(changed)
    except MalformedBytes:
        return
    assert (
        changed == entry
        or signed.id != statement.envelope().statement_id()
        or not signed.envelope.is_signed_by(signing("x").public)
    )
    assert signed.envelope.encode() == changed


@given(hy.data(), hy.sampled_from([(Key, 32), (SignatureText, 64)]))
def test_a_key_and_a_signature_have_the_one_base64_of_their_length(data, form):
    annotated, length = form
    adapter = TypeAdapter(annotated)
    text = b64(data.draw(hy.binary(min_size=length, max_size=length)))
    at = data.draw(hy.integers(0, len(text) - 1) | hy.just(-text.count("=") - 1))  # the last letter holds bits of no byte
    letter, end = data.draw(hy.sampled_from("ABEQgw014/+=_\n ")), data.draw(hy.sampled_from(["", "\n", "="]))
    changed = text[:at] + letter + text[at:][1:] + end
    assert adapter.validate_python(text) == text
    assert _is_read(unb64, changed, length) == _is_read(adapter.validate_python, changed)


def _is_read(read_it: Any, *arguments: Any) -> bool:
    try:
        read_it(*arguments)
    except (MalformedBytes, ValidationError):
        return False
    return True


def test_statements_do_not_change():
    with pytest.raises(ValueError, match="frozen"):
        query().floor = 0


@given(hy.integers(unix("1970-01-01T00:00:00Z"), unix("2199-12-31T23:59:59Z")))
def test_times_are_read_back(at):
    assert unix(stamp(at)) == at
    assert re.fullmatch(r"\d{4}-\d{2}", month(at))
    assert stamp(at).startswith(month(at))


def test_the_examples_are_the_same_in_every_run():
    assert seed("a") != seed("b")
    assert month(NOW) == "2026-11"
