"""The committed blind OR, recomputed from the standards alone: no line of `protocols.union` is used here."""

import hmac
import json

from Crypto.Cipher import AES

from tests.protocols.make_vectors import FOLDER
from tests.protocols.second import frame, hkdf_expand

VECTOR = json.loads((FOLDER / "union.json").read_text(encoding="utf-8"))
P = 2**256 - 2**224 + 2**192 + 2**96 - 1
G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
Point = tuple[int, int] | None


def plus(a: Point, b: Point) -> Point:
    if a is None or b is None:
        return a or b
    if a[0] == b[0] and (a[1] + b[1]) % P == 0:
        return None
    slope = (3 * a[0] ** 2 - 3) * pow(2 * a[1], -1, P) if a == b else (b[1] - a[1]) * pow(b[0] - a[0], -1, P)
    x = (slope**2 - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def times(k: int, point: Point) -> Point:
    total: Point = None
    while k:
        total, point, k = plus(total, point) if k & 1 else total, plus(point, point), k >> 1
    return total


def lifted(raw: bytes) -> Point:
    x = int.from_bytes(raw)
    y = pow(x**3 - 3 * x + B, (P + 1) // 4, P)
    assert (y * y - x**3 + 3 * x - B) % P == 0
    return x, y


def points(text: str) -> list[Point]:
    raw = bytes.fromhex(text)
    return [(int.from_bytes(raw[n : n + 32]), int.from_bytes(raw[n + 32 : n + 64])) for n in range(0, len(raw), 64)]


def test_tags_and_buckets_are_hmac_and_aes() -> None:
    key, question = bytes.fromhex(VECTOR["resident_key"]), bytes.fromhex(VECTOR["question"])
    of_question = AES.new(hkdf_expand(key, frame(b"kapok/v1/buckets", question)), AES.MODE_ECB)
    for each in VECTOR["residents"]:
        tag = hmac.digest(key, b"kapok/v1/resident\0" + each["number"].encode(), "sha256")[:16]
        assert tag.hex() == each["tag"]
        assert int.from_bytes(of_question.encrypt(tag)[:8], "little") % VECTOR["buckets"] == each["bucket"]


def test_hospitals_fill_their_residents_buckets_and_their_own_slots() -> None:
    buckets = [each["bucket"] for each in VECTOR["residents"]]
    tail = VECTOR["tail"]
    for n, vector in enumerate(VECTOR["hospitals"]):
        slots = [VECTOR["buckets"] + 2 * tail * n + k for k in range(tail + VECTOR["noise"][n])]
        wanted = {*buckets[n : n + 2], *slots}
        assert {place for place, word in enumerate(vector) if word} == wanted


def test_masked_sums_are_encrypted_one_more_than_they_are() -> None:
    secret, [public] = int(VECTOR["secret"], 16), points(VECTOR["public"])
    assert public == times(secret, G)
    entries = points(VECTOR["encrypted"])
    for word, hiding, hidden in zip(VECTOR["masked"], entries[::2], entries[1::2], strict=True):
        assert hidden == plus(times(word + 1, G), times(secret, hiding))


def test_the_blinded_cell_holds_as_many_zeros_as_sums_and_slots_do() -> None:
    secret, [cell] = int(VECTOR["secret"], 16), map(bytes.fromhex, VECTOR["blinded"])
    pairs = [(cell[n : n + 32], cell[n + 32 : n + 64]) for n in range(0, len(cell), 64)]
    opened = [times(secret, lifted(first)) for first, _ in pairs]
    not_zero = sum(point is None or point[0].to_bytes(32) != second for point, (_, second) in zip(opened, pairs, strict=True))
    filled = sum(masked != seed for masked, seed in zip(VECTOR["masked"], VECTOR["seeds"], strict=True))
    assert [not_zero] == VECTOR["not_zero"] == [filled + VECTOR["auditor_tail"] + VECTOR["auditor_noise"]]
    assert len(pairs) == len(VECTOR["masked"]) + 2 * VECTOR["auditor_tail"]
