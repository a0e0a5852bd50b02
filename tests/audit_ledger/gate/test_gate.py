"""The gate of a hospital: one lie a test, and the code under which the query is refused. An honest Offer passes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from audit_ledger.errors import (
    BadSignature,
    LedgerError,
    NoQuorum,
    RolledBack,
    StaleCheckpoint,
    TreeMismatch,
    Unavailable,
    UnknownLog,
)
from audit_ledger.follower import Follower
from audit_ledger.gate import Gate, reason_of
from audit_ledger.proof import TlogProof
from protocols import statements as st
from protocols.clock import stamp
from protocols.contract import CONTRACT
from protocols.refusal import Reason
from tests.support.city import BUREAU, City, Question, key

H1 = "kapok://hospital/h01"


@pytest.fixture
def city(tmp_path: Path) -> City:
    return City(tmp_path)


def follow(city: City) -> Gate:
    follower = Follower(city.trust)
    follower.follow(*city.follow(0), city.now)
    return Gate(follower, H1)


def codes(gate: Gate, entry: bytes, proof: bytes, now: int) -> set[Reason]:
    return {each.reason for each in gate.pass_query(entry, proof, now).refusals}


def offered(city: City, purpose: str = "surveillance") -> tuple[bytes, bytes]:
    question = Question(city, city.opener(), purpose=purpose)
    return question.entry, city.prove(question.entry)


def test_an_honest_offer_passes_with_a_window_from_its_checkpoint(city: City) -> None:
    entry, proof = offered(city)
    city.now += 30
    passage = follow(city).pass_query(entry, proof, city.now)
    assert passage.refusals == []
    assert passage.facts is not None
    assert passage.not_after == city.now - 30 + CONTRACT.window_s


def test_bytes_that_are_not_in_the_ledger_are_refused(city: City) -> None:
    _, proof = offered(city)
    other = Question(city, city.opener()).entry
    city.checkpoint()
    gate = follow(city)
    assert Reason.PROOF_INVALID in codes(gate, other, proof, city.now)
    assert Reason.MALFORMED in codes(gate, b"not a statement", proof, city.now)
    approval = city.log.entries(2, 3)[0]
    assert Reason.MALFORMED in codes(gate, approval, city.prove(approval), city.now)


def test_another_envelope_of_the_same_statement_is_refused(city: City) -> None:
    entry, proof = offered(city)
    twice = st.parse(entry).envelope.signed([city.bureau]).encode()
    assert codes(follow(city), twice, proof, city.now) == {Reason.PROOF_INVALID, Reason.BYTES_DIFFER}


STRIPPED: dict[str, tuple[Callable[[bytes], bytes], Reason]] = {
    "no cosignature": (lambda note: b"\n".join(note.split(b"\n")[:-2]) + b"\n", Reason.NO_QUORUM),
    "another log": (lambda note: note.replace(b"ledger.kapok.test", b"ledger.other.test"), Reason.LOG_SIGNATURE),
    "another size": (lambda note: note.replace(b"\n", b"\n9", 1), Reason.PROOF_INVALID),
}


@pytest.mark.parametrize("what", STRIPPED)
def test_a_checkpoint_without_its_signatures_is_refused(city: City, what: str) -> None:
    change, expected = STRIPPED[what]
    entry, proof = offered(city)
    parsed = TlogProof.parse(proof)
    lied = TlogProof(parsed.index, parsed.path, change(parsed.checkpoint)).encode()
    assert codes(follow(city), entry, lied, city.now) == {expected}


def test_an_old_proof_and_an_old_ledger_are_stale(city: City) -> None:
    entry, proof = offered(city)
    gate = follow(city)
    assert codes(gate, entry, proof, city.now + CONTRACT.freshness_s) == set()
    assert codes(gate, entry, proof, city.now + CONTRACT.freshness_s + 1) == {Reason.STALE}


def test_a_clock_behind_the_witness_is_refused(city: City) -> None:
    entry, proof = offered(city)
    gate = follow(city)
    assert codes(gate, entry, proof, city.now - CONTRACT.clock_tolerance_s) == set()
    late = codes(gate, entry, proof, city.now - CONTRACT.clock_tolerance_s - 1)
    assert late == {Reason.CLOCK, Reason.NO_QUORUM, Reason.VALID_TOO_LONG}, "nothing dated in the future counts"


def test_a_node_that_has_followed_no_checkpoint_since_its_start_answers_nothing(city: City) -> None:
    entry, proof = offered(city)
    restarted = Follower(city.trust)
    restarted.restore(city.log.entries(0, city.log.size))
    gate = Gate(restarted, H1)
    assert codes(gate, entry, proof, city.now) == {Reason.STALE}
    assert {each.reason for each in gate.standing(restarted.view.questions[st.parse(entry).hex_id], city.now)} == {Reason.STALE}


TOLD = {
    RolledBack: Reason.ROLLED_BACK,
    TreeMismatch: Reason.INCONSISTENT,
    Unavailable: Reason.INCONSISTENT,
    UnknownLog: Reason.LOG_SIGNATURE,
    NoQuorum: Reason.NO_QUORUM,
    StaleCheckpoint: Reason.STALE,
    BadSignature: Reason.PROOF_INVALID,
}


@pytest.mark.parametrize("error", TOLD)
def test_each_fault_of_a_checkpoint_is_refused_under_its_own_code(error: type[LedgerError]) -> None:
    assert reason_of(error("so")) == TOLD[error]


def test_a_proof_beyond_what_was_followed_and_one_of_another_history_are_refused(city: City, tmp_path: Path) -> None:
    gate = follow(city)
    entry, proof = offered(city)
    assert codes(gate, entry, proof, city.now) == {Reason.INCONSISTENT, Reason.NOT_LOGGED}
    twin = City(tmp_path / "twin")
    twin.now += 1
    twin.approve(twin.programme)
    forked, forked_proof = offered(twin)
    city.approve(city.programme)
    city.now += 2
    city.approve(city.programme)
    city.now += 1
    city.approve(city.programme)
    assert codes(follow(city), forked, forked_proof, city.now) == {Reason.ROLLED_BACK, Reason.NOT_LOGGED}


def test_a_hospital_outside_the_audience_refuses(city: City) -> None:
    question = Question(city, city.opener(), audience=sorted(city.hospitals)[1:])
    proof = city.prove(question.entry)
    assert codes(follow(city), question.entry, proof, city.now) == {Reason.NOT_IN_AUDIENCE}


def test_a_query_past_its_validity_and_a_low_floor_are_refused(city: City) -> None:
    question = Question(city, city.opener())
    low = city.sign(question.query.model_copy(update={"floor": 3}), city.bureau)
    city.log_entry(low)
    assert codes(follow(city), low, city.prove(low), city.now) == {Reason.FLOOR_TOO_LOW}
    city.now += 86_400
    assert codes(follow(city), question.entry, city.prove(question.entry), city.now) == {Reason.EXPIRED}


def test_research_without_its_approval_is_refused(city: City) -> None:
    entry, proof = offered(city, "research")
    assert codes(follow(city), entry, proof, city.now) == {Reason.NOT_APPROVED}
    city.approve(st.parse(entry).hex_id)
    assert codes(follow(city), entry, city.prove(entry), city.now) == set()
    city.revoke_approval(st.parse(entry).hex_id)
    assert codes(follow(city), entry, city.prove(entry), city.now) == {Reason.NOT_APPROVED}


def test_a_hold_is_refused_and_its_end_lets_go_on(city: City) -> None:
    entry, proof = offered(city)
    city.hold(True)
    assert codes(follow(city), entry, proof, city.now) == {Reason.ON_HOLD}
    city.now += 1
    city.hold(False)
    assert codes(follow(city), entry, proof, city.now) == set()


def test_an_asker_revoked_after_its_query_is_refused(city: City) -> None:
    entry, proof = offered(city)
    city.revoke_key(BUREAU, city.bureau.public)
    assert codes(follow(city), entry, proof, city.now) == {Reason.ASKER_UNKNOWN}


def test_an_asker_with_a_new_key_is_admitted_still(city: City) -> None:
    entry, proof = offered(city)
    city.log_entry(city.admission(BUREAU, key("the bureau's second key")))
    assert codes(follow(city), entry, proof, city.now) == set()


def standing(city: City, entry: bytes) -> set[Reason]:
    gate = follow(city)
    facts = gate.follower.view.questions[st.parse(entry).hex_id]
    return {each.reason for each in gate.standing(facts, city.now)}


def test_what_stood_at_the_offer_is_asked_again_at_every_attempt(city: City) -> None:
    """A question that has run out is not finished."""
    entry, _ = offered(city)
    assert standing(city, entry) == set()
    city.now += 86_400 - 1
    assert standing(city, entry) == set()
    city.now += 1
    assert standing(city, entry) == {Reason.EXPIRED}


def test_the_asker_s_admission_is_asked_again_at_every_attempt(city: City) -> None:
    entry, _ = offered(city)
    assert standing(city, entry) == set()
    city.revoke_key(BUREAU, city.bureau.public)
    assert standing(city, entry) == {Reason.ASKER_UNKNOWN}


def dated(city: City, at: int, valid_s: int = 86_400) -> set[Reason]:
    """What the gate says to a logged query of these dates."""
    query = Question(city, city.opener()).query
    entry = city.sign(query.model_copy(update={"at": stamp(at), "valid_until": stamp(at + valid_s)}), city.bureau)
    city.log_entry(entry)
    proof = city.prove(entry)
    return codes(follow(city), entry, proof, city.now)


def test_a_post_dated_query_is_refused(city: City) -> None:
    """Its dates agree with each other, so the ledger takes it; but it would be valid for longer than it may."""
    longest = CONTRACT.valid_days * 86_400
    assert dated(city, city.now + CONTRACT.clock_tolerance_s) == set()
    assert dated(city, city.now + CONTRACT.clock_tolerance_s + 1) == {Reason.VALID_TOO_LONG}
    assert dated(city, city.now, longest) == set()
    assert dated(city, city.now + 1, longest) == {Reason.VALID_TOO_LONG}


def test_a_query_that_was_never_logged_is_refused_for_its_age_too(city: City) -> None:
    question = Question(city, city.opener())
    stale = city.sign(question.query.model_copy(update={"valid_until": stamp(city.now)}), city.bureau)
    assert Reason.EXPIRED in codes(follow(city), stale, city.prove(question.entry), city.now)


def test_a_query_of_a_revoked_asker_has_no_effect(city: City) -> None:
    city.revoke_key(BUREAU, city.bureau.public)
    question = Question(city, city.opener())
    proof = city.prove(question.entry)
    assert codes(follow(city), question.entry, proof, city.now) == {Reason.NOT_LOGGED}


def test_an_answered_query_is_refused(city: City) -> None:
    question = Question(city, city.opener())
    question.live()
    proof = city.prove(question.entry)
    assert codes(follow(city), question.entry, proof, city.now) == {Reason.ALREADY_ANSWERED}


def test_an_old_proof_is_refused_though_the_ledger_is_fresh(city: City) -> None:
    entry, proof = offered(city)
    city.now += CONTRACT.freshness_s + 1
    gate = follow(city)
    assert codes(gate, entry, proof, city.now) == {Reason.STALE}
    assert codes(gate, entry, city.prove(entry), city.now) == set()


def test_a_query_for_another_log_is_refused_as_that(city: City) -> None:
    query = Question(city, city.opener()).query
    other = city.sign(query.model_copy(update={"log": "ledger.kapok.test/2025"}), city.bureau)
    city.log_entry(other)
    assert codes(follow(city), other, city.prove(other), city.now) == {Reason.WRONG_LOG, Reason.NOT_LOGGED}


def test_an_attempt_at_a_ledger_that_went_stale_is_refused(city: City) -> None:
    entry, _ = offered(city)
    gate = follow(city)
    facts = gate.follower.view.questions[st.parse(entry).hex_id]
    assert gate.standing(facts, city.now + CONTRACT.freshness_s) == []
    assert {each.reason for each in gate.standing(facts, city.now + CONTRACT.freshness_s + 1)} == {Reason.STALE}
