"""The committed vectors: each is recomputed from its inputs by a second implementation, and by ours."""

import base64
import hashlib
import json
import math
from fractions import Fraction

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocols.canonical import b64
from protocols.secagg.agreement import AgreementKey, require_certified
from protocols.secagg.binding import Binding
from protocols.secagg.sealing import SealingKey, require_sealing_key
from protocols.statements import Agreement, Sealing, parse
from tests.protocols import second
from tests.protocols.make_vectors import FOLDER, vectors
from tests.protocols.second import frame


def load(name):
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


STATEMENTS, BINDINGS, AGREEMENT, SEALING = load("statements"), load("binding"), load("agreement"), load("sealing")
STREAMS, ROUNDS, IDENTITY, EXACT = load("streams"), load("masks")["rounds"], load("identity"), load("exact")
WEIGHTED = load("weighted")["statements"]
PREIMAGES = [*BINDINGS["bindings"], *EXACT["bindings"], *(each["binding"] for each in ROUNDS)]


def raw(text):
    return bytes.fromhex(text)


def text(value):
    return str(value).encode()


def sign(seed, message):
    return Ed25519PrivateKey.from_private_bytes(raw(seed)).sign(message)


def public_of(seed):
    return Ed25519PrivateKey.from_private_bytes(raw(seed)).public_key().public_bytes_raw()


@pytest.mark.parametrize("name", vectors())
def test_the_committed_vectors_are_what_the_code_makes_today(name):
    assert json.loads(json.dumps(vectors()[name])) == load(name)


def test_no_vector_file_is_without_a_test():
    assert {path.stem for path in FOLDER.glob("*.json")} == set(vectors())


def test_there_is_a_vector_of_every_kind():
    assert [each["kind"] for each in STATEMENTS["statements"]] != []
    assert {each["kind"] for each in STATEMENTS["statements"]} == set(STATEMENTS["kinds"])


def test_a_charge_by_block_is_what_the_weights_and_the_published_bound_make_it():
    """Agarwal, Kairouz, Liu 2021, Corollary 3.6, written out once more: of one patient in one cell of at most two visits."""
    asked, charged = (json.loads(each["payload"]) for each in WEIGHTED)
    assert charged["query"] == WEIGHTED[0]["id"]
    variance, order = Fraction(asked["variances"][0]), 8
    for copies, told in ((1, "prices"), (2, "prices_two")):
        for weight, price in zip(asked["spec"]["weights"], charged["charge"][told], strict=True):
            l1, l2 = 2 * copies * weight, (2 * copies * weight) ** 2
            more = min(((2 * order - 1) * l2 + 6 * l1) / (4 * variance**2), 3 * l1 / (2 * variance))
            assert math.ceil((order * l2 / (2 * variance) + more) * 10**9) == Fraction(price) * 10**9
    assert (charged["charge"]["price"], charged["charge"]["price_two"]) == (
        charged["charge"]["prices"][2],
        charged["charge"]["prices_two"][2],
    )


@pytest.mark.parametrize("vector", [*STATEMENTS["statements"], *EXACT["statements"], *WEIGHTED], ids=lambda each: each["kind"])
def test_statements_and_envelopes(vector):
    payload, kind = vector["payload"].encode(), vector["payload_type"].encode()
    pae = b" ".join([b"DSSEv1", text(len(kind)), kind, text(len(payload)), payload])
    assert hashlib.sha256(pae).hexdigest() == vector["id"]
    signatures = [
        {"keyid": hashlib.sha256(public_of(s)).hexdigest(), "sig": base64.b64encode(sign(s, pae)).decode()}
        for s in vector["signing_seeds"]
    ]
    fields = {"payload": base64.b64encode(payload).decode(), "payloadType": vector["payload_type"], "signatures": signatures}
    assert json.dumps(fields, separators=(",", ":")) == vector["envelope"]
    assert kind == f"application/vnd.kapok.{vector['kind']}.v1+json".encode()
    assert parse(vector["envelope"].encode()).hex_id == vector["id"]


@pytest.mark.parametrize("vector", PREIMAGES)
def test_bindings(vector):
    members = frame(*(frame(m["uri"].encode(), raw(m["agreement"]), raw(m["ready"])) for m in vector["members"]))
    preimage = frame(
        b"kapok/v1/binding", b"1", vector["origin"].encode(), raw(vector["query"]), text(vector["round"]), text(vector["attempt"]),
        raw(vector["input_hash"]), text(vector["dimension"]), text(vector["ring"]), text(vector["scale"]),
        frame(*map(text, vector["variances_in_sixteenths"])), text(vector["n"]), text(vector["c"]), text(vector["not_after"]),
        members, frame(*(uri.encode() for uri in vector["counting"])),
    )  # fmt: skip
    assert preimage.hex() == vector["preimage"]
    assert hashlib.sha256(preimage).hexdigest() == vector["u"]
    assert Binding.decode(preimage).value.hex() == vector["u"]


def test_agreement_keys():
    for key in AGREEMENT["keys"].values():
        assert public_of(key["seed"]).hex() == key["edwards"]
        assert second.x25519(second.x25519_scalar(raw(key["seed"])), 9).hex() == key["montgomery"]


def test_the_agreement_certificate():
    vector = AGREEMENT["certificate"]
    key = base64.b64decode(vector["key"])
    message = frame(b"kapok/v1/agreement", AGREEMENT["origin"].encode(), vector["uri"].encode(), vector["month"].encode(), key)
    assert b64(sign(vector["identity_seed"], message)) == vector["identity_signature"]
    assert b64(sign(AGREEMENT["keys"][vector["uri"]]["seed"], message)) == vector["possession_signature"]
    fields = {name: vector[name] for name in Agreement.model_fields}
    assert require_certified(Agreement(**fields), AGREEMENT["origin"], vector["uri"], public_of(vector["identity_seed"])) == key


def test_the_pair_key_from_both_sides():
    vector, keys = AGREEMENT["pair"], AGREEMENT["keys"]
    for uri, peer in ((vector["uri"], vector["peer"]), (vector["peer"], vector["uri"])):
        ours, theirs = keys[uri], keys[peer]
        made = second.pair_secret(raw(ours["seed"]), uri, raw(ours["edwards"]), peer, raw(theirs["edwards"]))
        assert made.hex() == vector["secret"]
        pair = AgreementKey(raw(ours["seed"]), AGREEMENT["month"]).pair(uri, peer, raw(theirs["edwards"]))
        assert (pair.secret, pair.adds) == (made, ours["edwards"] < theirs["edwards"])
    assert vector["uri_adds"] == (keys[vector["uri"]]["edwards"] < keys[vector["peer"]]["edwards"])


def test_streams():
    u = raw(STREAMS["u"])
    for secret, label, want in (("seed", b"self", "self_first_64_bytes"), ("pair_secret", b"pair", "pair_first_64_bytes")):
        words = second.stream(raw(STREAMS[secret]), label, u, 16, 32)
        assert b"".join(word.to_bytes(4, "little") for word in words).hex() == STREAMS[want]


def test_sealing_contexts_and_seeds():
    u, uri, segment = raw(SEALING["u"]), SEALING["uri"].encode(), SEALING["segment"]
    assert frame(b"kapok/v1/seal", u, uri).hex() == SEALING["query_context"]
    parts = frame(
        b"1", SEALING["origin"].encode(), raw(segment["query"]), text(segment["first_round"]), text(segment["last_round"]),
        raw(segment["ready"]), uri,
    )  # fmt: skip
    assert frame(b"kapok/v1/segment", hashlib.sha256(parts).digest(), uri).hex() == SEALING["segment_context"]
    made = SEALING["round_seed"]
    info = frame(b"seed", text(made["round"]), text(made["attempt"]), u)
    assert second.hkdf_expand(raw(SEALING["seed"]), info).hex() == made["value"]


def test_the_sealed_seed_opens_in_both_implementations():
    context = raw(SEALING["query_context"])
    assert second.unseal(raw(SEALING["sealed"]), raw(SEALING["secret"]), context).hex() == SEALING["seed"]
    key = SealingKey.from_bytes(raw(SEALING["secret"]), SEALING["month"])
    assert key.open(raw(SEALING["sealed"]), context).hex() == SEALING["seed"]
    assert key.public.hex() == SEALING["public"]


def test_the_sealing_certificate():
    key = raw(SEALING["public"])
    message = frame(b"kapok/v1/sealing", SEALING["origin"].encode(), SEALING["month"].encode(), key)
    assert b64(sign(SEALING["service_seed"], message)) == SEALING["certificate"]["signature"]
    assert require_sealing_key(Sealing(**SEALING["certificate"]), SEALING["origin"], public_of(SEALING["service_seed"])) == key


@pytest.mark.parametrize("vector", ROUNDS, ids=["ring 32", "ring 64"])
def test_a_round_of_three(vector):
    bits, u, d = vector["binding"]["ring"], raw(vector["binding"]["u"]), vector["binding"]["dimension"]
    publics = {m["uri"]: raw(m["agreement"]) for m in vector["binding"]["members"]}
    total, streams = [0] * d, [0] * d
    for uri, member in vector["members"].items():
        own = second.stream(raw(member["seed"]), b"self", u, d, bits)
        words = [value + word for value, word in zip(member["values"], own, strict=True)]
        for peer in publics.keys() - {uri}:
            secret = second.pair_secret(raw(member["agreement_seed"]), uri, publics[uri], peer, publics[peer])
            sign_ = 1 if publics[uri] < publics[peer] else -1
            words = [a + sign_ * b for a, b in zip(words, second.stream(secret, b"pair", u, d, bits), strict=True)]
        masked = b"".join((word % 2**bits).to_bytes(bits // 8, "little") for word in words)
        assert masked.hex() == member["masked"]
        assert hashlib.sha256(masked).hexdigest() == member["masked_sha256"]
        total = [a + b for a, b in zip(total, words, strict=True)]
        streams = [a + b for a, b in zip(streams, own, strict=True)]
    stream_sum = b"".join((word % 2**bits).to_bytes(bits // 8, "little") for word in streams)
    assert stream_sum.hex() == vector["stream_sum"]
    assert hashlib.sha256(stream_sum).hexdigest() == vector["stream_sum_sha256"]
    values = [(a - b + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1) for a, b in zip(total, streams, strict=True)]
    assert (
        values == vector["sum"] == [sum(column) for column in zip(*(m["values"] for m in vector["members"].values()), strict=True)]
    )
    assert hashlib.sha256(b"".join(v.to_bytes(8, "big", signed=True) for v in values)).hexdigest() == vector["values_hash"]


def test_identity_keys():
    assert public_of(IDENTITY["seed"]).hex() == IDENTITY["public"]
    assert sign(IDENTITY["seed"], b"").hex() == IDENTITY["signature_of_empty"]
