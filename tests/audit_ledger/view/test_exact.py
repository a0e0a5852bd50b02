"""Exact mode by replay alone: an entry that breaks one of its rules is found and has no effect; an honest life has no finding."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from audit_ledger.findings import Finding, Rule
from audit_ledger.periods import CARRIED, carried
from protocols import statements as st
from protocols.contract import CONTRACT
from protocols.exact import NO_NOISE, NOT_PRIVATE, as_exact
from protocols.secagg.binding import Binding
from tests.support.charged import visits_of
from tests.support.city import COORDINATOR, City, Question
from tests.support.exact import EXACT, permit

H1 = "kapok://hospital/h01"


@dataclass
class Exactly(City):
    """A city with one opener, whose hospitals permit exact mode."""

    permits: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.one_opener = self.opener()
        if self.permits:
            permit(self)


@pytest.fixture
def city(tmp_path: Path) -> Exactly:
    return Exactly(tmp_path)


def exact_question(city: Exactly, **stated: Any) -> Question:
    city.now += 1
    return Question(city, city.one_opener, purpose="research", stated={**EXACT, **stated})


def broken(city: City, rule: Rule = Rule.EXACT) -> list[Finding]:
    return [each for each in city.findings() if each.rule is rule]


def test_an_exact_question_that_keeps_every_rule_has_no_finding_and_charges_nothing(city: Exactly) -> None:
    question = exact_question(city)
    question.live()
    assert city.findings() == []
    view = city.view()
    [opened] = view.exact
    assert (opened.query, opened.table, opened.audience) == (question.id.hex(), "visits", frozenset(city.hospitals))
    assert not any(any(account.totals.values()) for account in view.accounts.values())


@pytest.mark.parametrize(
    "stated",
    [
        {"floor": 4},
        {"purpose": "surveillance"},
        {"variances": ("100.0000",)},
        {"audience": tuple(f"kapok://hospital/h0{n}" for n in range(1, 5))},
    ],
)
def test_an_exact_statement_that_breaks_a_rule_has_no_effect(city: Exactly, stated: dict[str, Any]) -> None:
    question = exact_question(city, **stated)
    assert broken(city)
    assert question.id.hex() not in city.view().questions


def test_a_private_statement_without_noise_has_no_effect(city: Exactly) -> None:
    question = Question(city, city.one_opener, stated={"variances": (NO_NOISE,)})
    assert broken(city)
    assert question.id.hex() not in city.view().questions


def test_a_ready_whose_hospital_states_no_exact_mode_has_no_effect_and_is_named(tmp_path: Path) -> None:
    city = Exactly(tmp_path, permits=False)
    permit(city, sorted(city.hospitals)[1:])
    question = exact_question(city)
    city.approve(question.id.hex())
    question.all_ready()
    [found] = broken(city)
    assert H1 in found.detail
    assert H1 not in city.view().questions[question.id.hex()].readys


def test_a_ready_before_the_approval_of_this_very_question_has_no_effect(city: Exactly) -> None:
    question = exact_question(city)
    city.approve(city.programme)  # a standing approval of the same asker covers nothing here
    question.ready(H1)
    assert {each.rule for each in city.findings()} == {Rule.APPROVAL_MISSING}


def opening(question: Question, binding: Binding) -> bytes:
    """Signed by the auditor's service, as its opener would not."""
    city, opener = question.city, question.opener
    city.bring(opener)
    reply = opener._bind(question.request(binding), binding, list(question.seeds.values()), city.now)
    assert reply.opening is not None
    return reply.opening


def approved(city: Exactly, **stated: Any) -> Question:
    question = exact_question(city, **stated)
    city.approve(question.id.hex())
    question.all_ready()
    return question


def test_an_opening_without_the_whole_audience_has_no_effect_and_names_who_is_missing(tmp_path: Path) -> None:
    city = Exactly(tmp_path, n=6)
    question = approved(city)
    city.log_entry(opening(question, question.binding(sorted(city.hospitals)[1:])))
    [found] = broken(city)
    assert H1 in found.detail
    assert city.view().exact == []


def test_an_opening_with_noise_for_an_exact_question_has_no_effect(city: Exactly) -> None:
    question = approved(city)
    city.log_entry(opening(question, question.binding(variances=(1600,))))
    assert {each.rule for each in city.findings()} == {Rule.BINDING}


def test_a_second_exact_opening_whose_approval_came_before_the_first_one_has_no_effect(city: Exactly) -> None:
    first, second = exact_question(city), exact_question(city)
    city.approve(second.id.hex())
    first.live()
    second.all_ready()
    city.log_entry(opening(second, second.binding()))
    assert first.id.hex() in broken(city)[0].detail


def test_a_second_exact_opening_that_the_auditor_approved_behind_the_first_counts(city: Exactly) -> None:
    exact_question(city).live()
    second = approved(city)
    city.log_entry(opening(second, second.binding()))
    assert city.findings() == []


def test_another_block_or_another_table_is_no_second_answer(city: Exactly) -> None:
    permit(city, tables=("visits", "diagnoses"))
    specs = as_exact(visits_of(("2025-01",))), {**EXACT["spec"], "table": "diagnoses"}
    early = [exact_question(city, spec=each) for each in specs]
    for each in early:
        city.approve(each.id.hex())
    exact_question(city).live()
    for each in early:
        each.all_ready()
        city.log_entry(opening(each, each.binding()))
    assert city.findings() == []


def test_the_fifth_exact_opening_of_a_month_and_table_has_no_effect_even_when_approved(city: Exactly) -> None:
    for _ in range(CONTRACT.exact_a_month):
        exact_question(city).live()
    assert city.findings() == []
    fifth = approved(city)
    city.log_entry(opening(fifth, fifth.binding()))
    assert {each.detail.split(":")[0] for each in broken(city)} == {"policy.exact_cap"}
    assert len(broken(city)) == len(city.hospitals)


@pytest.mark.parametrize("away", [[H1], []])
def test_an_exact_release_has_the_whole_audience(city: Exactly, away: list[str]) -> None:
    question = approved(city)
    request = question.request()
    total = question.open(request)
    for each in request.seeds:
        city.log_entry(each.receipt)
    answered = tuple(sorted(set(city.hospitals) - set(away)))
    values = question.exact[H1]
    question.release(Binding.decode(request.preimage), values, answered=answered, away=tuple(away))
    assert bool(broken(city)) == bool(away)
    assert total


@pytest.mark.parametrize(("epsilon", "is_exact", "is_found"), [
    (NOT_PRIVATE, True, False), ("1.0", True, True), (NOT_PRIVATE, False, True), ("1.0", False, False),
])  # fmt: skip
def test_a_model_card_states_an_epsilon_exactly_where_its_question_is_private(
    city: Exactly, epsilon: str, is_exact: bool, is_found: bool
) -> None:
    question = exact_question(city) if is_exact else Question(city, city.one_opener)
    card = st.Model(
        **city.head(COORDINATOR), query=question.id.hex(), rounds=2, model_sha256="0" * 64, epsilon=epsilon, delta="1e-06"
    )
    city.log_entry(city.sign(card, city.coordinator))
    assert bool(broken(city)) == is_found


def test_the_next_log_remembers_what_was_answered_exactly(city: Exactly) -> None:
    exact_question(city).live()
    [kept] = carried(city.view(), b"\0" * 32).exact
    assert (kept.index, kept.table, kept.audience) == (CARRIED, "visits", frozenset(city.hospitals))


def test_forgetting_an_answered_question_keeps_what_it_answered(city: Exactly) -> None:
    question = exact_question(city)
    question.live()
    view = city.view()
    assert view.forget(question.id.hex())
    assert [each.query for each in view.exact] == [question.id.hex()]
