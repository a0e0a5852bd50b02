"""Policies and proofs: who counts, how fresh, and what an entry is worth under them."""

from collections.abc import Mapping
from hashlib import sha256
from itertools import combinations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from audit_ledger.checkpoint import Checkpoint, sign_checkpoint
from audit_ledger.cosignature import WitnessKey
from audit_ledger.errors import (
    BadProof,
    BadSignature,
    MalformedPolicy,
    MalformedProof,
    NoQuorum,
    StaleCheckpoint,
    UnknownLog,
)
from audit_ledger.note import LogKey, Note
from audit_ledger.policy import Accepted, Policy, TrustFile
from audit_ledger.proof import TlogProof
from tests.audit_ledger import known

NOW = known.TIME + 30
SIGNERS = {name: Ed25519PrivateKey.from_private_bytes(bytes([at]) * 32) for at, name in enumerate("abcd", start=100)}
KEYS = {name: WitnessKey.of(f"{name}.example", signer.public_key()) for name, signer in SIGNERS.items()}
TREE = Checkpoint(known.ORIGIN, 8, bytes.fromhex(known.ROOTS[8]))


def policy_text(*lines: str) -> bytes:
    witnesses = [f"witness {name} {key.vkey.encode()}" for name, key in KEYS.items()]
    return "\n".join([f"log {known.LOG_VKEY}", *witnesses, *lines, ""]).encode()


def cosigned(times: Mapping[str, int]) -> bytes:
    note = sign_checkpoint(TREE, known.LOG_KEY, known.LOG_SIGNER)
    lines = [KEYS[name].cosign(note.text, time, SIGNERS[name]) for name, time in times.items()]
    return Note(note.text, (*note.signatures, *lines)).encode()


def judge(policy: str, times: Mapping[str, int], max_age_s: int | None = 60) -> Accepted:
    return Policy.parse(policy_text(*policy.split("; "))).evaluate(cosigned(times), NOW, max_age_s)


@pytest.mark.parametrize(
    ("policy", "witnesses", "is_quorum"),
    [
        ("quorum a", "a", True),
        ("quorum a", "bcd", False),
        ("group g any a b; quorum g", "b", True),
        ("group g any a b; quorum g", "cd", False),
        ("group g all a b; quorum g", "ab", True),
        ("group g all a b; quorum g", "a", False),
        ("group g 2 a b c; quorum g", "ac", True),
        ("group g 2 a b c; quorum g", "ad", False),
        ("group g 2 a b c; group h all g d; quorum h", "abd", True),
        ("group g 2 a b c; group h all g d; quorum h", "abc", False),
        ("group g 2 a b c; group h all g d; quorum h", "ad", False),
    ],
)
def test_a_quorum_stands_or_falls_with_its_members(policy: str, witnesses: str, is_quorum: bool) -> None:
    times = dict.fromkeys(witnesses, known.TIME)
    if is_quorum:
        assert judge(policy, times) == Accepted(TREE, frozenset(witnesses), known.TIME)
    else:
        with pytest.raises(NoQuorum, match=r"checkpoint 8 of 'ledger\.example/health': cosigned by"):
            judge(policy, times)


def test_witness_time_is_when_the_quorum_last_stood() -> None:
    times = {"a": NOW - 50, "b": NOW - 20, "c": NOW - 10}
    assert judge("group g 2 a b c; quorum g", times).witness_time == NOW - 20
    assert judge("group g any a b c; quorum g", times).witness_time == NOW - 10
    assert judge("group g all a b c; quorum g", times).witness_time == NOW - 50


def test_a_quorum_that_is_too_old_is_stale_and_old_witnesses_do_not_count() -> None:
    times = {"a": NOW - 61, "b": NOW - 60}
    assert judge("group g any a b; quorum g", times).counted == {"b"}
    with pytest.raises(StaleCheckpoint, match="61 s old, allowed 60 s"):
        judge("group g all a b; quorum g", times)
    assert judge("group g all a b; quorum g", times, max_age_s=None).counted == {"a", "b"}


def test_a_cosignature_from_the_future_does_not_count() -> None:
    assert judge("quorum a", {"a": NOW + 300}).witness_time == NOW + 300
    with pytest.raises(NoQuorum, match="cosigned by nobody"):
        judge("quorum a", {"a": NOW + 301})


def test_no_quorum_demanded_means_no_freshness_either() -> None:
    assert judge("quorum none", {}, max_age_s=None) == Accepted(TREE, frozenset(), None)
    with pytest.raises(StaleCheckpoint, match="no witness time"):
        judge("quorum none", {"a": NOW})


def test_a_lying_witness_line_spoils_the_checkpoint_even_outside_the_quorum() -> None:
    raw = cosigned({"a": known.TIME, "b": known.TIME})
    lines = Note.parse(raw)
    swapped = Note(lines.text + b"", (*lines.signatures[:2],)).encode() + lines.signatures[2].encode()[:-9] + b"AAAAAAA=\n"
    with pytest.raises(BadSignature, match=r"b\.example"):
        Policy.parse(policy_text("quorum a")).open(swapped)


def test_a_checkpoint_of_another_log_is_refused() -> None:
    other = LogKey.of("other.example", known.LOG_SIGNER.public_key())
    note = sign_checkpoint(Checkpoint("other.example", 8, TREE.root), other, known.LOG_SIGNER)
    with pytest.raises(UnknownLog, match=r"other\.example"):
        known.UNWITNESSED.open(note.encode())


WITNESS_A = f"witness a {KEYS['a'].vkey.encode()}"


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "0 quorum lines"),
        (b"quorum none", "does not end in a newline"),
        (b"quorum none\nquorum none\n", "2 quorum lines"),
        (b"quorum none\r\n", "control character"),
        (b"quorum\x0bnone\n", "control character"),
        (b"# \x7f\nquorum none\n", "control character"),
        (b"quorum x\n", "line 1: name 'x' is not defined above"),
        (b"Quorum none\n", "line 1: not a log"),
        (b"quorum none none\n", "line 1: not a log"),
        (b"log\nquorum none\n", "line 1: not a log"),
        (f"log {known.LOG_VKEY} u v\nquorum none\n".encode(), "line 1: not a log"),
        (f"log {known.WITNESS_VKEY}\nquorum none\n".encode(), "line 1: log key"),
        (f"witness w {known.LOG_VKEY}\nquorum none\n".encode(), "line 1: witness key"),
        (f"witness none {known.WITNESS_VKEY}\nquorum none\n".encode(), "reserved name"),
        (f"log {known.LOG_VKEY}\nlog {known.LOG_VKEY}\nquorum none\n".encode(), "one public key twice"),
        (f"{WITNESS_A}\nwitness b {KEYS['a'].vkey.encode()}\nquorum none\n".encode(), "one public key twice"),
        (policy_text("witness a " + known.WITNESS_VKEY, "quorum a"), "a name twice"),
        (policy_text("group a any b", "quorum a"), "a name twice"),
        (policy_text("group g any a", "group h any a", "quorum h"), "a member twice"),
        (policy_text("group g 2 a a", "quorum g"), "a member twice"),
        (policy_text("group g any h", "group h any a", "quorum g"), "name 'h' is not defined above"),
        (policy_text("group g any g", "quorum g"), "name 'g' is not defined above"),
        (policy_text("group g any none", "quorum g"), "name 'none' is not defined above"),
        (policy_text("group g any", "quorum a"), "not a log, witness, group or quorum"),
        (policy_text("group g 0 a", "quorum g"), "threshold outside"),
        (policy_text("group g 3 a b", "quorum g"), "threshold outside"),
        (policy_text("group g 02 a b", "quorum g"), "canonical decimal"),
        (policy_text("quorum g", "group g any a"), "name 'g' is not defined above"),
    ],
)
def test_a_policy_that_contradicts_itself_is_refused(raw: bytes, why: str) -> None:
    with pytest.raises(MalformedPolicy, match=why):
        Policy.parse(raw)


def test_a_log_key_may_not_cosign() -> None:
    as_witness = WitnessKey.of("w.example", known.LOG_SIGNER.public_key()).vkey.encode()
    with pytest.raises(MalformedPolicy, match="one public key twice"):
        Policy.parse(f"log {known.LOG_VKEY}\nwitness w {as_witness}\nquorum w\n".encode())


def test_spaces_tabs_comments_and_urls_are_read() -> None:
    raw = f"\t# hello +é\n\n log\t {known.LOG_VKEY}  https://log.example/ \nwitness w {known.WITNESS_VKEY} http://w/\nquorum w\n"
    policy = Policy.parse(raw.encode())
    assert (policy.logs[0].url, policy.witnesses[0].url) == ("https://log.example/", "http://w/")


def test_names_are_opaque_octets() -> None:
    raw = b"witness K " + known.WITNESS_VKEY.encode() + b"\nquorum \xe2\x84\xaa\n"
    with pytest.raises(MalformedPolicy, match="is not defined above"):
        Policy.parse(raw)
    assert Policy.parse(raw.replace(b"witness K", b"witness \xff").replace(b"\xe2\x84\xaa", b"\xff")).quorum == "\udcff"


def test_policies_and_trust_files_read_back_as_written() -> None:
    policy = Policy.parse(policy_text("group g 2 a b c", "group h all g d", "quorum h"))
    assert Policy.parse(policy.encode()) == policy
    trust = TrustFile(policy, sha256(b"entry 0").digest())
    assert TrustFile.parse(trust.encode()) == trust


@pytest.mark.parametrize(
    "line", ["", "# kapok entry0 12", "# kapok entry0 " + "A" * 64, "#  kapok entry0 " + "a" * 64, "# kapok entry0 " + "a" * 65]
)
def test_a_trust_file_without_one_well_formed_pin_is_refused(line: str) -> None:
    with pytest.raises(MalformedPolicy, match="trust file has"):
        TrustFile.parse(policy_text(line, "quorum a"))


def test_a_trust_file_with_two_pins_is_refused() -> None:
    pin = "# kapok entry0 " + "a" * 64
    with pytest.raises(MalformedPolicy, match="trust file has 2 lines"):
        TrustFile.parse(policy_text(pin, pin, "quorum a"))


def test_the_known_proof_reads_back_and_verifies() -> None:
    proof = TlogProof.parse(known.PROOF)
    assert len(known.PROOF) == 492
    assert sha256(known.PROOF).hexdigest() == known.PROOF_SHA256
    assert proof.encode() == known.PROOF
    assert proof.verify(known.LEAVES[5], known.POLICY, NOW, 60) == Accepted(TREE, frozenset({"w1"}), known.TIME)


def test_a_proof_is_worth_nothing_for_another_entry_index_or_age() -> None:
    proof = TlogProof.parse(known.PROOF)
    with pytest.raises(BadProof, match="does not lead to the root"):
        proof.verify(known.LEAVES[4], known.POLICY, NOW, 60)
    with pytest.raises(BadProof, match="does not lead to the root"):
        TlogProof(4, proof.path, proof.checkpoint).verify(known.LEAVES[5], known.POLICY, NOW, 60)
    with pytest.raises(BadProof, match="has 4 hashes, leaf 5 in size 8 needs 3"):
        TlogProof(5, (*proof.path, bytes(32)), proof.checkpoint).verify(known.LEAVES[5], known.POLICY, NOW, 60)
    with pytest.raises(StaleCheckpoint, match="61 s old"):
        proof.verify(known.LEAVES[5], known.POLICY, known.TIME + 61, 60)


def test_extra_data_and_a_tree_of_one_are_read() -> None:
    for extra in (None, b"", b"note"):
        proof = TlogProof(0, (), b"a\n\n\xe2\x80\x94 b\n", extra)
        assert TlogProof.parse(proof.encode()) == proof


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"proof@v1", b"proof@v2"),
        (b"index 5", b"index 05"),
        (b"index 5", b"index  5"),
        (b"index 5\n", b""),
        (b"index 5", b"extra !\nindex 5"),
        (b"index 5", b"extra AA==\nextra AA==\nindex 5"),
        (b"\nvBoG", b"\n vBoG"),
        (b"Znms=", b"Znmt="),
        (b"Znms=", b""),
        (b"WFLc=", b"WFLc=="),
        (b"\n\n", b"\n"),
        (b"vBoG", b"vBoG" * 2),
        (b"vBoGQ7EuTS18d5GPROD095qDi2z57FtcKD4fTYhZnms=\n", b"vBoGQ7EuTS18d5GPROD095qDi2z57FtcKD4fTYhZnms=\n" * 62),
    ],
)
def test_a_proof_with_another_spelling_is_refused(old: bytes, new: bytes) -> None:
    with pytest.raises(MalformedProof, match="tlog-proof"):
        TlogProof.parse(known.PROOF.replace(old, new))


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=63), st.integers(0, 2**63 - 1), st.none() | st.binary(max_size=9))
def test_any_proof_reads_back_as_written(path: list[bytes], index: int, extra: bytes | None) -> None:
    proof = TlogProof(index, tuple(path), b"checkpoint\n", extra)
    assert TlogProof.parse(proof.encode()) == proof


SPLIT = {
    "one of two": "group g any a b; quorum g",
    "half of four": "group g 2 a b c d; quorum g",
    "two groups, either of them": "group e all a b; group f all c d; group g any e f; quorum g",
    "a group that is split counts twice": "group e any a b; group g 2 e c d; quorum g",
}
SOUND = {
    "one witness": "quorum a",
    "two of three": "group g 2 a b c; quorum g",
    "all of two": "group g all a b; quorum g",
    "one common witness and any other": "group e any a b c; group g all e d; quorum g",
    "all of three, one of which is split": "group e any a b; group g 3 e c d; quorum g",
}


@pytest.mark.parametrize("case", [*SPLIT, *SOUND])
def test_a_trust_file_takes_only_a_quorum_of_which_any_two_share_a_witness(case: str) -> None:
    raw = policy_text(*{**SPLIT, **SOUND}[case].split("; "))
    policy, pinned = Policy.parse(raw), b"# kapok entry0 " + b"ab" * 32 + b"\n" + raw
    every = frozenset(KEYS)
    chosen = [frozenset(each) for size in range(len(every) + 1) for each in combinations(sorted(every), size)]
    is_split = any(policy.is_quorum(each) and policy.is_quorum(every - each) for each in chosen)
    assert policy.has_disjoint_quorums() == is_split == (case in SPLIT)
    if is_split:
        with pytest.raises(MalformedPolicy, match="share a witness"):
            TrustFile.parse(pinned)
    else:
        assert TrustFile.parse(pinned).policy == policy
