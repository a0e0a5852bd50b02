"""Writes `protocols/vectors/*.json` (`python -m tests.protocols.make_vectors`). Every value is hex, a number or plain text.

A sealed seed is random by nature: the committed one is kept, and only has to open.
"""

import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np

from protocols.contract import colluders
from protocols.identity import SigningKey
from protocols.secagg.agreement import montgomery
from protocols.secagg.binding import Binding, Member
from protocols.secagg.masks import mask, seed_stream_sum, unmask, values_hash, vector_hash
from protocols.secagg.sealing import query_context, round_seed, seal, segment_context
from protocols.statements import KINDS, Statement
from protocols.union import BucketKey, Counter, ResidentKey, Shape, blinded, filled, place_of
from protocols.union.buckets import Random
from tests.protocols.examples import (
    AUDITOR,
    BUREAU,
    HOSPITALS,
    MONTH,
    ORIGIN,
    agreement,
    binding,
    digest,
    every_kind,
    exact_query,
    exact_ready,
    sealing_key,
    seed,
    signing,
    weighted_query,
    weighted_ready,
)
from tests.protocols.union.numbers import number

FOLDER = Path(__file__).parents[2] / "protocols" / "vectors"
VALUES = {32: (0, 5, -7, 2**20, -(2**20)), 64: (0, 5, -7, 2**40, -(2**40))}


def statements() -> dict[str, Any]:
    return {"kinds": [kind.kind for kind in KINDS], "statements": [statement_json(*each) for each in every_kind()]}


def statement_json(statement: Statement, names: tuple[str, ...]) -> dict[str, Any]:
    return {
        "kind": statement.kind,
        "payload_type": statement.payload_type(),
        "payload": statement.envelope().payload.decode(),
        "signing_seeds": [seed(name).hex() for name in names],
        "id": statement.envelope().statement_id().hex(),
        "envelope": statement.envelope().signed([signing(name) for name in names]).encode().decode(),
    }


def exact() -> dict[str, Any]:
    """Exact mode: its query, a Ready that charges nothing, and the binding of the whole audience without noise."""
    asked, uri = exact_query(), HOSPITALS[0]
    whole = binding(query=asked.envelope().statement_id(), ring=64, variances=(0,), n=5, c=colluders(5), counting=HOSPITALS)
    stated = [statement_json(asked, (BUREAU,)), statement_json(exact_ready(uri), (uri,))]
    return {"statements": stated, "bindings": [binding_json(whole)]}


def weighted() -> dict[str, Any]:
    """A question that weighs its months, and a Ready that charges each by its weight."""
    uri = HOSPITALS[0]
    return {"statements": [statement_json(weighted_query(), (BUREAU,)), statement_json(weighted_ready(uri), (uri,))]}


def binding_json(bound: Binding) -> dict[str, Any]:
    return {
        "origin": bound.origin,
        "query": bound.query.hex(),
        "round": bound.round,
        "attempt": bound.attempt,
        "input_hash": bound.input_hash.hex(),
        "dimension": bound.dimension,
        "ring": bound.ring,
        "scale": bound.scale,
        "variances_in_sixteenths": list(bound.variances),
        "n": bound.n,
        "c": bound.c,
        "not_after": bound.not_after,
        "members": [{"uri": m.uri, "agreement": m.agreement.hex(), "ready": m.ready.hex()} for m in bound.members],
        "counting": list(bound.counting),
        "preimage": bound.encode().hex(),
        "u": bound.value.hex(),
    }


def bindings() -> dict[str, Any]:
    training = binding(round=7, attempt=2, input_hash=bytes.fromhex(digest("weights")), ring=64, scale=1024, variances=(16, 32))
    return {"bindings": [binding_json(binding()), binding_json(training)]}


def agreements() -> dict[str, Any]:
    one, other = HOSPITALS[:2]
    certificate = agreement(one).certificate(ORIGIN, one, signing(one))
    pair = agreement(one).pair(one, other, agreement(other).public)
    keys = {
        uri: {"seed": seed("agreement " + uri).hex(), "edwards": agreement(uri).public.hex(),
              "montgomery": montgomery(agreement(uri).public).hex()}
        for uri in (one, other)
    }  # fmt: skip
    return {
        "origin": ORIGIN,
        "month": MONTH,
        "keys": keys,
        "certificate": {"uri": one, "identity_seed": seed(one).hex(), **certificate.model_dump(mode="json")},
        "pair": {"uri": one, "peer": other, "secret": pair.secret.hex(), "uri_adds": pair.adds},
    }


def sealing() -> dict[str, Any]:
    kept = FOLDER / "sealing.json"
    u, uri, query, ready = binding().value, HOSPITALS[0], bytes.fromhex(digest("query")), bytes.fromhex(digest("ready"))
    context = query_context(u, uri)
    old = json.loads(kept.read_text())["sealed"] if kept.exists() else seal(seed("s"), sealing_key().public, context).hex()
    return {
        "month": MONTH,
        "secret": seed("sealing").hex(),
        "public": sealing_key().public.hex(),
        "origin": ORIGIN,
        "service_seed": seed("service").hex(),
        "certificate": sealing_key().certificate(ORIGIN, signing("service")).model_dump(mode="json"),
        "u": u.hex(),
        "uri": uri,
        "query_context": context.hex(),
        "seed": seed("s").hex(),
        "sealed": old,
        "segment": {"query": query.hex(), "first_round": 1, "last_round": 50, "ready": ready.hex()},
        "segment_context": segment_context(ORIGIN, query, 1, 50, ready, uri).hex(),
        "round_seed": {"round": 7, "attempt": 2, "value": round_seed(seed("s"), 7, 2, u).hex()},
    }


def round_of_three(bits: int) -> dict[str, Any]:
    uris = HOSPITALS[:3]
    members = tuple(Member(uri, agreement(uri).public, bytes.fromhex(digest("ready " + uri))) for uri in uris)
    values = {uri: np.array(VALUES[bits], np.int64) * (n + 1) for n, uri in enumerate(uris)}
    bound = binding(ring=bits, dimension=5, members=members, counting=uris, n=3, c=1)
    masked = {uri: masked_of(bound, uri, values[uri]) for uri in uris}
    stream_sum = seed_stream_sum([seed("s " + uri) for uri in uris], 5, bits, bound.value)
    total = unmask(masked, stream_sum, bits, 2**50)
    return {
        "binding": binding_json(bound),
        "members": {
            uri: {
                "agreement_seed": seed("agreement " + uri).hex(),
                "seed": seed("s " + uri).hex(),
                "values": values[uri].tolist(),
                "masked": masked[uri].tobytes().hex(),
                "masked_sha256": vector_hash(masked[uri]).hex(),
            }
            for uri in uris
        },
        "stream_sum": stream_sum.tobytes().hex(),
        "stream_sum_sha256": vector_hash(stream_sum).hex(),
        "sum": total.tolist(),
        "values_hash": values_hash(total).hex(),
    }


def masked_of(bound: Binding, uri: str, values: Any) -> Any:
    pairs = [agreement(uri).pair(uri, each.uri, each.agreement) for each in bound.members if each.uri != uri]
    return mask(values, bound.ring, bound.value, seed("s " + uri), pairs)


def streams() -> dict[str, Any]:
    one, other = HOSPITALS[:2]
    u, pair = binding().value, agreement(one).pair(one, other, agreement(other).public)
    # What a mask of zeros holds is the stream itself; the pair's is what is left of one that adds.
    of_seed = seed_stream_sum([seed("s")], 16, 32, u)
    adder = pair if pair.adds else agreement(other).pair(other, one, agreement(one).public)
    with_pair = mask(np.zeros(16, np.int64), 32, u, seed("s"), [adder])
    return {
        "u": u.hex(),
        "seed": seed("s").hex(),
        "self_first_64_bytes": of_seed.tobytes().hex(),
        "pair_secret": pair.secret.hex(),
        "pair_first_64_bytes": np.subtract(with_pair, of_seed).tobytes().hex(),
    }


def identities() -> dict[str, Any]:
    key = SigningKey.from_seed(seed("root"))
    return {"uri": AUDITOR, "seed": seed("root").hex(), "public": key.public.hex(), "signature_of_empty": key.sign(b"").hex()}


def hashed(name: str) -> Random:
    """Bytes that come again: SHA-256 of the name and a counter."""
    calls = itertools.count()

    def give(size: int) -> bytes:
        call = next(calls)
        blocks = (hashlib.sha256(f"{name} {call} {n}".encode()).digest() for n in range(-(-size // 32)))
        return b"".join(blocks)[:size]

    return give


def union() -> dict[str, Any]:
    """A blind OR of two hospitals who share a resident: numbers, tags, buckets, vectors, and the zero test over their sum."""
    key, question, shape = ResidentKey(seed("resident")), seed("question"), Shape(cells=1, buckets=16, hospitals=2, tail=2)
    numbers = ["11010519491231002X", number(1), number(2)]
    buckets = BucketKey.of(key, question)
    tags = [key.tag(each) for each in numbers]
    found = buckets.buckets_of(b"".join(tags), shape.buckets)
    noise = [1, -2]
    of_hospital = [
        filled(shape, place_of(shape, np.zeros(2, np.int64), found[mine]), n, np.array([noise[n]]), hashed(f"filled {n}"))
        for n, mine in enumerate((slice(0, 2), slice(1, 3)))
    ]
    seeds = np.frombuffer(hashed("seeds")(4 * shape.dimension), dtype="<u4")
    masked = (np.sum(of_hospital, axis=0) % 2**32).astype("<u4") + seeds
    counter = Counter(hashed("counter"))
    encrypted = counter.encrypted(masked)
    cells = blinded(counter.public, encrypted, seeds, np.array([-1]), 3, hashed("blinded"))
    return {
        "resident_key": key.secret.hex(),
        "question": question.hex(),
        "residents": [
            {"number": number, "tag": tag.hex(), "bucket": int(bucket)}
            for number, tag, bucket in zip(numbers, tags, found, strict=True)
        ],
        "buckets": shape.buckets,
        "tail": shape.tail,
        "noise": noise,
        "hospitals": [vector.tolist() for vector in of_hospital],
        "seeds": seeds.tolist(),
        "masked": masked.tolist(),
        "secret": f"{counter.secret:064x}",
        "public": counter.public.hex(),
        "encrypted": encrypted.hex(),
        "auditor_tail": 3,
        "auditor_noise": -1,
        "blinded": [cell.hex() for cell in cells],
        "not_zero": counter.not_zero(cells),
    }


def vectors() -> dict[str, Any]:
    return {
        "statements": statements(),
        "binding": bindings(),
        "agreement": agreements(),
        "sealing": sealing(),
        "streams": streams(),
        "masks": {"rounds": [round_of_three(32), round_of_three(64)]},
        "identity": identities(),
        "union": union(),
        "exact": exact(),
        "weighted": weighted(),
    }


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, content in vectors().items():
        text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False)
        (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
