"""The opener in exact mode: the whole audience or nothing, and what it holds back beside earlier exact answers."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from audit_ledger.opener_core import OpenerCore
from protocols.contract import CONTRACT
from protocols.refusal import Reason
from tests.support.city import City, Question
from tests.support.exact import EXACT, permit

H1, H6 = "kapok://hospital/h01", "kapok://hospital/h06"


@pytest.fixture
def city(tmp_path: Path) -> City:
    made = City(tmp_path, n=6)
    permit(made)
    return made


def ask(city: City, opener: OpenerCore, audience: Sequence[str] = ()) -> Question:
    city.now += 1
    stated = {**EXACT, "audience": tuple(audience or sorted(city.hospitals))}
    return Question(city, opener, purpose="research", stated=stated)


def ready(question: Question) -> Question:
    question.all_ready(question.query.audience)
    return question


def live(question: Question) -> None:
    question.city.approve(question.id.hex())
    request = ready(question).request()
    question.finish(request, question.open(request))


def held(question: Question, members: Sequence[str] = ()) -> set[tuple[Reason, str]]:
    question.city.bring(question.opener)
    found = question.opener.open(question.request(question.binding(members)), question.city.now).refusals
    return {(each.reason, each.subject) for each in found}


def test_the_whole_audience_opens(city: City) -> None:
    question = ask(city, city.opener())
    live(question)
    assert city.findings() == []


def test_a_set_without_one_hospital_of_the_audience_does_not_open(city: City) -> None:
    question = ask(city, city.opener())
    city.approve(question.id.hex())
    assert held(ready(question), sorted(city.hospitals)[1:]) == {(Reason.NOT_THE_FIXED_SET, H1)}


def test_nothing_opens_before_the_auditor_approved_this_very_question(city: City) -> None:
    question = ask(city, city.opener())
    city.approve(city.programme)
    assert (Reason.NOT_APPROVED, "") in held(ready(question))


def test_a_second_answer_over_the_same_records_is_held_until_it_is_approved_behind_the_first(city: City) -> None:
    opener = city.opener()
    second = ask(city, opener)
    city.approve(second.id.hex())
    first = ask(city, opener)
    live(first)
    assert held(ready(second)) == {(Reason.EXACT_AGAIN, first.id.hex())}
    city.now += 1
    city.approve(second.id.hex())
    assert held(second) == set()


def test_another_audience_is_held_although_it_was_approved_behind_the_first(city: City) -> None:
    opener = city.opener()
    live(ask(city, opener))
    other = ask(city, opener, sorted(city.hospitals)[:5])
    city.approve(other.id.hex())
    assert (Reason.SET_DIFFERS, H6) in held(ready(other))
    city.now += 1
    city.approve(other.id.hex())  # behind its Readys: the auditor knows which hospital the difference is
    assert held(other) == set()


def test_a_set_whose_opening_is_not_logged_yet_holds_the_next_one(city: City) -> None:
    opener = city.opener()
    first, second = ask(city, opener), ask(city, opener)
    for each in (first, second):
        city.approve(each.id.hex())
        ready(each)
    city.bring(opener)
    assert not opener.open(first.request(), city.now).refusals
    assert held(second) == {(Reason.EXACT_AGAIN, first.id.hex())}


def test_the_month_has_so_many_exact_answers_and_no_approval_lifts_that(city: City) -> None:
    opener = city.opener()
    for _ in range(CONTRACT.exact_a_month):
        live(ask(city, opener))
    fifth = ready_and_approved(ask(city, opener))
    assert held(fifth) == {(Reason.EXACT_CAP, uri) for uri in city.hospitals}


def ready_and_approved(question: Question) -> Question:
    question.city.approve(question.id.hex())
    ready(question)
    question.city.now += 1
    question.city.approve(question.id.hex())
    return question


def test_a_private_question_beside_exact_ones_is_not_held(city: City) -> None:
    opener = city.opener()
    live(ask(city, opener))
    private = Question(city, opener, purpose="research")
    city.approve(private.id.hex())
    private.all_ready()
    assert held(private) == set()
