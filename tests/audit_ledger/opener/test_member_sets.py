"""Differencing: which member sets are held because an earlier one over the same blocks differs by one or two hospitals."""

from dataclasses import replace
from pathlib import Path

import pytest

from audit_ledger.member_sets import ABSENCES_A_MONTH
from audit_ledger.opener_core import OpenerCore
from protocols import statements as st
from protocols.refusal import Reason
from tests.support.city import COORDINATOR, City, Question

H6 = "kapok://hospital/h06"


@pytest.fixture
def city(tmp_path: Path) -> City:
    return City(tmp_path, n=6)


def all_but(city: City, *uris: str) -> list[str]:
    return sorted(set(city.hospitals) - set(uris))


def held(question: Question) -> set[str]:
    question.city.bring(question.opener)
    found = question.opener.open(question.request(), question.city.now).refusals
    assert {each.reason for each in found} <= {Reason.SET_DIFFERS}
    return {each.subject for each in found}


def ask(city: City, opener: OpenerCore, members: list[str], *blocks: str) -> Question:
    city.now += 1
    question = Question(city, opener, blocks=blocks or ("2026-10",))
    question.all_ready(members)
    return question


def absent_often(city: City, opener: OpenerCore, times: int = ABSENCES_A_MONTH) -> None:
    ask_and_open(city, opener, all_but(city))
    for _ in range(times):
        ask_and_open(city, opener, all_but(city, H6))


def ask_and_open(city: City, opener: OpenerCore, members: list[str], *blocks: str) -> None:
    question = ask(city, opener, members, *blocks)
    request = question.request()
    question.finish(request, question.open(request))


def test_a_fourth_unexplained_absence_in_a_month_is_held(city: City) -> None:
    opener = city.opener()
    absent_often(city, opener)
    assert held(ask(city, opener, all_but(city, H6))) == {H6}


def test_the_third_is_let_pass_and_the_hospital_may_come_back(city: City) -> None:
    opener = city.opener()
    absent_often(city, opener)
    assert held(ask(city, opener, all_but(city))) == set()


def test_a_hospital_that_was_left_out_often_before_it_is_let_in_is_held(city: City) -> None:
    opener = city.opener()
    for _ in range(ABSENCES_A_MONTH + 1):
        ask_and_open(city, opener, all_but(city, H6))
    assert held(ask(city, opener, all_but(city))) == {H6}


OWN = ("policy.table", "budget.exhausted", "node.paused", "node.disk", "node.no_records")
PROVOKED = ("gate.proof", "query.malformed", "round.sealing_key", "node.behind_ledger", "node.busy", "authority.not_approved")


def refuse(city: City, question: Question, by: str, *codes: str) -> None:
    reasons = tuple(st.Reasoned(code=code, expected="", got="", subject="") for code in codes)
    refusal = st.Refused(**city.head(by), query=question.id.hex(), reasons=reasons)
    signer = city.hospitals[by].identity if by in city.hospitals else city.coordinator
    city.log_entry(city.sign(refusal, signer))


def report(city: City, question: Question, by: str) -> None:
    incident = st.Incident(**city.head(by), query=question.id.hex(), code="attempt.failed")
    city.log_entry(city.sign(incident, city.hospitals[by].identity if by in city.hospitals else city.coordinator))


@pytest.fixture
def absent(city: City) -> Question:
    """The fourth absence of a month, not opened yet."""
    opener = city.opener()
    absent_often(city, opener)
    return ask(city, opener, all_but(city, H6))


@pytest.mark.parametrize("code", OWN)
def test_a_refusal_for_a_reason_of_its_own_accounts_for_an_absence(city: City, absent: Question, code: str) -> None:
    refuse(city, absent, H6, "gate.stale", code)
    assert held(absent) == set()


@pytest.mark.parametrize("code", PROVOKED)
def test_a_refusal_that_a_bad_offer_provokes_accounts_for_nothing(city: City, absent: Question, code: str) -> None:
    refuse(city, absent, H6, code)
    assert held(absent) == {H6}


def test_a_refusal_by_somebody_else_accounts_for_nothing(city: City, absent: Question) -> None:
    refuse(city, absent, COORDINATOR, *OWN)
    refuse(city, absent, "kapok://hospital/h01", *OWN)
    assert held(absent) == {H6}


def test_an_incident_of_the_absent_hospital_itself_accounts_for_its_absence(city: City, absent: Question) -> None:
    report(city, absent, H6)
    assert held(absent) == set()


@pytest.mark.parametrize("by", [COORDINATOR, "kapok://hospital/h01"])
def test_an_incident_that_somebody_else_reports_accounts_for_nothing(city: City, absent: Question, by: str) -> None:
    report(city, absent, by)
    assert held(absent) == {H6}


def test_a_revocation_in_between_accounts_for_an_absence(city: City) -> None:
    opener = city.opener()
    ask_and_open(city, opener, all_but(city))
    city.revoke_key(H6, city.hospitals[H6].identity.public)
    for _ in range(ABSENCES_A_MONTH + 2):
        city.now += 1
        question = Question(city, opener, blocks=("2026-10",), audience=all_but(city, H6))
        question.all_ready(all_but(city, H6))
        assert held(question) == set()


def test_other_blocks_are_free(city: City) -> None:
    opener = city.opener()
    absent_often(city, opener)
    assert held(ask(city, opener, all_but(city, H6), "2026-07")) == set()


def test_sets_that_differ_by_three_are_free(tmp_path: Path) -> None:
    city = City(tmp_path, n=7)
    opener = city.opener()
    ask_and_open(city, opener, all_but(city))
    for _ in range(ABSENCES_A_MONTH + 2):
        ask_and_open(city, opener, sorted(city.hospitals)[:4])


def test_the_auditor_lifts_it_by_approving_this_very_query_after_its_readys(city: City) -> None:
    opener = city.opener()
    absent_often(city, opener)
    question = ask(city, opener, all_but(city, H6))
    assert held(question) == {H6}
    city.approve(question.id.hex())
    assert held(question) == set()


def test_a_restored_opener_holds_the_same_set(city: City) -> None:
    opener = city.opener()
    absent_often(city, opener)
    question = ask(city, opener, all_but(city, H6))
    opener.store.close()
    for name in ("opener.sqlite", "opener.sqlite-wal", "opener.sqlite-shm"):
        (city.path / "opener" / name).unlink(missing_ok=True)
    question.opener = city.opener()
    assert held(question) == {H6}


def test_what_is_looked_up_once_is_looked_up_again_where_the_question_has_more(city: City) -> None:
    opener = city.opener()
    question = ask(city, opener, all_but(city))
    request = question.request()
    question.finish(request, question.open(request))
    city.bring(opener)
    facts = opener.gate.follower.view.questions[question.id.hex()]
    assert {block for _, block in facts.charged} == {"2026-10"}
    [(index, month, members)] = facts.opened_sets
    [(_, binding, opening)] = facts.openings.values()
    assert members == frozenset(all_but(city))
    facts.openings[9] = (index + 1, binding, opening)
    assert facts.opened_sets == [(index, month, members), (index + 1, month, members)]
    other = facts.readys[H6].statement
    charge = other.charge.model_copy(update={"blocks": ("2026-11",)})
    facts.readys[H6] = replace(facts.readys[H6], id=bytes(32), statement=other.model_copy(update={"charge": charge}))
    assert {block for _, block in facts.charged} == {"2026-10", "2026-11"}
