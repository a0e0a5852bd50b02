"""Admission names every reason from public facts; an empty list of reasons is a question that may be logged."""

import tomllib
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from coordinator.admission import Admitted, admit, admitted_of
from hospital_node.tables.schema import TableSchema
from privacy.filter import encode_charge
from protocols import statements as st
from protocols.asked import Asked
from protocols.clock import stamp
from protocols.contract import CONTRACT
from protocols.exact import as_exact
from protocols.identity import SigningKey
from protocols.refusal import Reason
from tests.coordinator.support.asked import query
from tests.support.charged import honest
from tests.support.city import BUREAU, ORIGIN, City, Question
from tests.support.exact import EXACT


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    """Admission writes nothing, so one city serves all that only ask."""
    made = City(tmp_path_factory.mktemp("city"))
    yield made
    made.close()


@pytest.fixture
def city(tmp_path: Path) -> Iterator[City]:
    made = City(tmp_path)
    yield made
    made.close()


def reasons(city: City, entry: bytes, asker: str = BUREAU) -> set[Reason]:
    found = admit(entry, asker, city.view(), city.now)
    return set() if isinstance(found, Admitted) else {each.reason for each in found}


def test_a_question_that_breaks_no_rule_is_admitted_with_its_price(shared: City) -> None:
    entry = query(shared)
    found = admit(entry, BUREAU, shared.view(), shared.now)
    assert isinstance(found, Admitted)
    assert found == admitted_of(entry)
    assert 0 < found.price.one < found.price.two


VISITS: dict[str, Any] = {
    "version": 1,
    "table": "visits",
    "measures": [{"kind": "count", "hi": 3}],
    "period": {"from": "2026-10-01", "to": "2026-12-01"},
}
THREE = ("kapok://hospital/h01", "kapok://hospital/h02", "kapok://hospital/h03")
BROKEN: dict[str, tuple[Callable[[City], bytes], set[Reason]]] = {
    "no statement": (lambda _: b"hello", {Reason.MALFORMED}),
    "another kind": (lambda c: c.sign(c.policy_of(next(iter(c.hospitals.values()))), c.bureau), {Reason.MALFORMED}),
    "another spec": (lambda c: query(c, variances=("1.0000", "1.0000")), {Reason.MALFORMED}),
    "no noise": (lambda c: query(c, variances=("0.0000",)), {Reason.MALFORMED}),
    "another log": (lambda c: query(c, log="elsewhere/1"), {Reason.WRONG_LOG}),
    "an unknown key": (lambda c: query(c, SigningKey.generate()), {Reason.ASKER_UNKNOWN}),
    "a hospital's question": (lambda c: query(c, by=THREE[0]), {Reason.ASKER_UNKNOWN}),
    "an unknown hospital": (
        lambda c: query(c, audience=(*sorted(c.hospitals), "kapok://hospital/h99")), {Reason.NOT_ADMITTED}),
    "an unknown programme": (lambda c: query(c, programme="0" * 64), {Reason.PROGRAMME_UNKNOWN}),
    "valid for too long": (lambda c: query(c, valid_until=stamp(c.now + 86_400 * 40)), {Reason.VALID_TOO_LONG}),
    "over already": (lambda c: query(c, at=stamp(c.now - 900), valid_until=stamp(c.now - 60)), {Reason.EXPIRED}),
    "a low floor": (lambda c: query(c, floor=3), {Reason.FLOOR_TOO_LOW}),
    "a small audience": (lambda c: query(c, audience=THREE), {Reason.TOO_FEW_MEMBERS}),
    "dearer than its programme": (lambda c: query(c, variances=("10.0000",)), {Reason.BUDGET_EXHAUSTED}),
}  # fmt: skip


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_rule_is_named(shared: City, broken: str) -> None:
    make, expected = BROKEN[broken]
    assert expected <= reasons(shared, make(shared))


OUTSIDE_A_LIST = [
    {"where": [{"column": "district", "values": ["440107"]}]},
    {"where": [{"column": "visit_class", "values": ["BED"]}]},
    {"cohort": {"kind": "has", "table": "visits", "where": [{"column": "sex", "values": ["X"]}], "days": [0, 0]}},
    {"measures": [{"kind": "count", "hi": 3, "filter": {"kind": "is", "where": [{"column": "sex", "values": ["X"]}]}}]},
]


@pytest.mark.parametrize("fields", OUTSIDE_A_LIST)
def test_a_code_outside_its_public_list_is_named_from_the_list_alone(shared: City, fields: dict[str, Any]) -> None:
    spec = {**VISITS, "bound": "block", "cells_per_patient": 4, "where": [], "keys": [], **fields}
    statement = st.parse(query(shared)).statement.model_copy(update={"spec": spec})
    found = admit(shared.sign(statement, shared.bureau), BUREAU, shared.view(), shared.now)
    assert isinstance(found, list)
    assert [each.reason for each in found] == [Reason.MALFORMED]
    assert "a name outside its list" in found[0].got
    assert "nearest valid form" in found[0].got


def test_all_broken_rules_are_named_at_once(shared: City) -> None:
    entry = query(shared, floor=2, programme="0" * 64, valid_until=stamp(shared.now + 86_400 * 40))
    assert reasons(shared, entry) >= {Reason.FLOOR_TOO_LOW, Reason.PROGRAMME_UNKNOWN, Reason.VALID_TOO_LONG}


def test_only_the_asker_brings_its_question(shared: City) -> None:
    assert reasons(shared, query(shared), "kapok://bureau/other") == {Reason.ASKER_UNKNOWN}


def test_a_question_that_stands_in_the_ledger_is_not_admitted_again(city: City) -> None:
    entry = query(city)
    city.log_entry(entry)
    assert reasons(city, entry) == {Reason.ALREADY_ANSWERED}


def test_a_programme_whose_approval_was_revoked_admits_nothing(city: City) -> None:
    city.revoke_approval(city.programme)
    assert reasons(city, query(city)) == {Reason.NOT_APPROVED}


def test_an_emergency_is_admitted_from_its_own_asker_and_refused_at_once_while_a_review_is_overdue(city: City) -> None:
    asker, signer = city.asker("outbreak")
    emergency = {"purpose": "outbreak", "programme": None}
    assert reasons(city, query(city, signer, by=asker, **emergency), asker) == set()
    assert reasons(city, query(city, **emergency)) == {Reason.BREAK_GLASS}
    Question(city, city.opener(), purpose="outbreak").live()
    city.now += CONTRACT.review_hours * 3600
    assert reasons(city, query(city, signer, by=asker, **emergency), asker) == {Reason.REVIEW_OVERDUE}
    assert reasons(city, query(city)) == set(), "routine questions go on"


def test_a_single_question_needs_no_approval_to_be_logged(shared: City) -> None:
    assert reasons(shared, query(shared, purpose="research", programme=None)) == set()


def test_a_question_no_hospital_can_pay_any_more_is_refused_before_it_is_logged(city: City) -> None:
    dear = Question(city, city.opener(), blocks=("2026-10",), stated={"variances": ("5.6875",)})
    for uri in sorted(city.hospitals)[:2]:
        dear.ready(uri)
    left = CONTRACT.limit("surveillance") - Fraction(honest(Asked.of(dear.query)).price)
    assert 0 < left < Fraction("0.01")
    assert city.findings() == []
    found = admit(query(city), BUREAU, city.view(), city.now)
    assert not isinstance(found, Admitted)
    [no] = found
    assert no.reason is Reason.BUDGET_EXHAUSTED
    assert no.got.startswith(f"3; {encode_charge(left)} left in 2026-10, 0.0"), (
        "how many could pay, and what is left where it is least"
    )
    assert no.subject == ", ".join(sorted(city.hospitals)[:2])


def test_hospitals_whose_policy_does_not_list_the_table_do_not_count_as_willing_and_are_named_for_that(city: City) -> None:
    uris = sorted(city.hospitals)
    for uri in uris[:2]:
        hospital = city.hospitals[uri]
        city.log_entry(city.sign(city.policy_of(hospital).model_copy(update={"tables": ("diagnoses",)}), hospital.identity))
    found = admit(query(city), BUREAU, city.view(), city.now)
    assert not isinstance(found, Admitted)
    assert [(each.reason, each.subject) for each in found] == [(Reason.TABLE_NOT_PERMITTED, ", ".join(uris[:2]))]


def test_each_reason_names_those_who_have_it(city: City) -> None:
    """One lists no such table, one permits no surveillance, one has no budget."""
    changes: list[dict[str, Any]] = [{"tables": ("diagnoses",)}, {"purposes": ("research",)}, {"limits": {}}]
    for uri, change in zip(sorted(city.hospitals), changes, strict=False):
        hospital = city.hospitals[uri]
        city.log_entry(city.sign(city.policy_of(hospital).model_copy(update=change), hospital.identity))
    found = admit(query(city), BUREAU, city.view(), city.now)
    assert not isinstance(found, Admitted)
    first, second, third = sorted(city.hospitals)[:3]
    assert {(each.reason, each.subject) for each in found} == {
        (Reason.TABLE_NOT_PERMITTED, first),
        (Reason.PURPOSE_NOT_PERMITTED, second),
        (Reason.BUDGET_EXHAUSTED, third),
    }


# -- fits of a registered table

HEART = """
catalogue = "heart-2026"
title = "heart disease"
column = [
    {name = "age", type = "number", low = "20", high = "80", unit = "years"},
    {name = "pressure", type = "number", low = "60", high = "200", unit = "mmHg"},
]
"""
MONTHS = HEART.replace('"years"', '"months"')
FIT: dict[str, Any] = {
    "version": 2,
    "fit": "linear",
    "table": "heart",
    "catalogue": "heart-2026",
    "period": None,
    "rows_per_patient": 1,
    "outcome": {"column": "pressure", "low": "60", "high": "200", "unit": "mmHg"},
    "features": [{"column": "age", "low": "20", "high": "80", "unit": "years"}],
}


def fitting(city: City, tables: list[str], *, exact: bool = False) -> set[tuple[Reason, str, str]]:
    """What is said of a fit where the first hospitals state these tables; reasons of the tables alone, each with its hospital."""
    for hospital, text in zip(sorted(city.hospitals.values(), key=lambda each: each.uri), tables, strict=False):
        stated = TableSchema.model_validate(tomllib.loads(text)).statement(ORIGIN, hospital.uri, city.now, "heart")
        city.log_entry(city.sign(stated, hospital.identity))
    for hospital in city.hospitals.values():
        policy = city.policy_of(hospital)
        permitted = (*policy.tables, "heart", *(["exact:heart"] if exact else []))
        city.log_entry(city.sign(policy.model_copy(update={"tables": permitted}), hospital.identity))
    changes: dict[str, Any] = {**EXACT, "spec": as_exact(FIT)} if exact else {"spec": FIT, "variances": ("100000000.0000",)}
    entry = query(city, **{"purpose": "research", "programme": None, **changes})
    found = admit(entry, BUREAU, city.view(), city.now)
    return set() if isinstance(found, Admitted) else {(each.reason, each.subject, each.expected) for each in found}


def test_a_fit_goes_on_without_one_hospital_of_another_unit_while_the_floor_holds(city: City) -> None:
    assert fitting(city, [MONTHS, HEART, HEART, HEART, HEART]) == set()


def test_below_the_floor_every_hospital_whose_table_differs_is_named_with_the_column(city: City) -> None:
    first, second = sorted(city.hospitals)[:2]
    assert fitting(city, [MONTHS, MONTHS, HEART, HEART, HEART]) == {
        (Reason.TABLE_DIFFERS, uri, "age: months") for uri in (first, second)
    }


def test_in_exact_mode_one_that_differs_or_has_no_table_is_enough(city: City) -> None:
    first, last = sorted(city.hospitals)[0], sorted(city.hospitals)[-1]
    assert fitting(city, [MONTHS, HEART, HEART, HEART], exact=True) == {
        (Reason.TABLE_DIFFERS, first, "age: months"),
        (Reason.TABLE_NOT_REGISTERED, last, "heart: a table registered here"),
    }


def test_a_table_that_is_registered_nowhere_is_said_to_be_that_and_nothing_about_budgets(city: City) -> None:
    entry = query(city, purpose="research", programme=None, spec=FIT, variances=("100000000.0000",))
    found = admit(entry, BUREAU, city.view(), city.now)
    assert not isinstance(found, Admitted)
    assert {(each.reason, each.subject) for each in found} == {(Reason.TABLE_NOT_REGISTERED, uri) for uri in city.hospitals}


def test_a_table_that_was_put_right_counts_as_it_was_stated_last(city: City) -> None:
    assert fitting(city, [MONTHS, HEART, HEART, HEART, HEART], exact=True)
    assert fitting(city, [HEART], exact=True) == set()
