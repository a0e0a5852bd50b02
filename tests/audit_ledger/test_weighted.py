"""A charge by block: the right one breaks no rule, and one that lies about any block has no effect and is told by its reason."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from audit_ledger import cost
from audit_ledger.bundle import verify_answer
from audit_ledger.due import wrongs
from audit_ledger.findings import Finding, Rule
from audit_ledger.waiting import lines, of_query
from audit_ledger.words import Words
from privacy.filter import encode_charge
from privacy.pricing import prices
from protocols import statements as st
from protocols.answer import Proven
from protocols.asked import Asked
from protocols.contract import CONTRACT
from protocols.query import Language, QuerySpec
from protocols.refusal import Reason
from tests.protocols.examples import ready
from tests.support.charged import honest, less, more
from tests.support.city import City, Question

H1, H2 = "kapok://hospital/h01", "kapok://hospital/h02"
BLOCKS = ("2026-09", "2026-10", "2026-11")
SPEC = QuerySpec.from_fields(
    {
        "table": "visits",
        "measures": [{"kind": "count", "hi": 2}, {"kind": "sum", "column": "age", "lo": "0", "hi": "9"}],
        "keys": [{"key": "district"}],
        "period": {"from": "2026-09-01", "to": "2026-12-01"},
        "cells_per_patient": 1,
        "weights": [7, 24, 64],
    }
).to_json()
STATED = {"spec": SPEC, "variances": ("9000000.0000", "190000000.0000")}


@pytest.fixture
def city(tmp_path: Path) -> Iterator[City]:
    made = City(tmp_path)
    yield made
    made.close()


def asked(city: City, **changes: Any) -> Question:
    return Question(city, city.opener(), stated=STATED | changes)


def due(question: Question) -> st.ChargeByBlock:
    """Of a hospital that has spent nothing yet, as a node states it."""
    charge = honest(Asked.of(question.query))
    assert isinstance(charge, st.ChargeByBlock)
    return charge


def of_first(numbers: tuple[str, ...], one: str) -> tuple[str, ...]:
    return (one, *numbers[1:])


def applied(city: City, question: Question, charge: st.Charge | st.ChargeByBlock) -> list[Finding]:
    city.log_entry, logged = lambda entry: 0, city.log_entry  # type: ignore[method-assign]
    try:
        entry = question.ready(H1, charge=charge)
    finally:
        city.log_entry = logged  # type: ignore[method-assign]
    view = city.view()
    found = list(view.apply(entry))
    facts = view.questions[question.id.hex()]
    assert (H1 in facts.readys) == (not found), "what breaks a rule has no effect: the opener opens nothing for it"
    return found


def test_two_arithmetics_come_to_the_same_digits_for_each_block(city: City) -> None:
    question = Asked.of(asked(city).query)
    due = prices(CONTRACT.order, question.pieces, question.weights)
    assert cost.block_prices(question) == (
        tuple(encode_charge(each.one) for each in due),
        tuple(encode_charge(each.two) for each in due),
    )
    assert cost.block_prices(question)[0][-1] == cost.price(question)
    assert Decimal(cost.price(question)) / Decimal(cost.block_prices(question)[0][0]) == pytest.approx(
        Decimal(64**2 / 7**2), rel=Decimal("1e-3")
    )


def test_what_an_auditor_decides_from_names_the_price_of_each_month_in_both_languages(city: City) -> None:
    question = asked(city, programme=None, purpose="research")
    view = city.view()
    item = of_query(view, view.questions[question.id.hex()], Language.EN, city.now)
    due = dict(zip(BLOCKS, cost.block_prices(Asked.of(question.query))[0], strict=True))
    assert item.details["block_prices"] == due
    for is_chinese in (False, True):
        told = " ".join(lines(item, Words(is_chinese).say))
        assert all(f"{block} {price}" in told for block, price in due.items())
        assert ("按权重" if is_chinese else "by weight") in told


def test_an_honest_charge_by_block_counts_and_its_totals_are_carried_on(city: City) -> None:
    question = asked(city)
    charge = due(question)
    assert applied(city, question, charge) == []
    view = city.view()
    view.apply(question.readys[H1])
    assert [str(view.accounts[H1].totals["surveillance", block]) for block in BLOCKS] == list(charge.prices)
    assert [str(view.accounts[H1].totals_two["surveillance", block]) for block in BLOCKS] == list(charge.prices_two)


LIES = {
    "too little in one block": lambda c: {
        "prices": of_first(c.prices, less(c.prices[0])), "totals": of_first(c.totals, less(c.totals[0])),
    },
    "too little in one block for two hospitals": lambda c: {
        "prices_two": of_first(c.prices_two, less(c.prices_two[0])), "totals_two": of_first(c.totals_two, less(c.totals_two[0])),
    },
    "another month's weight": lambda c: {
        "prices": (c.prices[0], c.prices[0], c.prices[2]), "totals": (c.prices[0], c.prices[0], c.prices[2]),
    },
    "a month left out": lambda c: {
        name: getattr(c, name)[1:] for name in ("blocks", "prices", "prices_two", "totals", "totals_two")
    },
    "another month": lambda c: {"blocks": ("2026-08", *BLOCKS[1:])},
    "a smaller headline": lambda c: {"price": less(c.price)},
    "a larger doubled headline": lambda c: {"price_two": more(c.price_two)},
}  # fmt: skip


TOLD = {
    Rule.BLOCK_PRICE: ("another price than its weight has", "与其权重应付的不符"),
    Rule.BLOCKS: ("other blocks than its question reads", "与该问题读取的不符"),
    Rule.PRICE: ("another price than its question costs", "与该问题应付的不符"),
}
OTHERWISE = {"a month left out": Rule.BLOCKS, "another month": Rule.BLOCKS}
OTHERWISE |= {"a smaller headline": Rule.PRICE, "a larger doubled headline": Rule.PRICE}


@pytest.mark.parametrize("lie", LIES)
def test_a_charge_that_lies_about_a_block_has_no_effect_and_is_told_in_both_languages(city: City, lie: str) -> None:
    rule = OTHERWISE.get(lie, Rule.BLOCK_PRICE)
    question = asked(city)
    charge = due(question)
    found = applied(city, question, charge.model_copy(update=LIES[lie](charge)))
    assert {each.rule for each in found} == {rule}
    told = {is_chinese: Words(is_chinese).finding(found[0]) for is_chinese in (False, True)}
    assert all(sentence in told[is_chinese] for is_chinese, sentence in enumerate(TOLD[rule]))


def test_a_block_without_a_price_or_total_has_no_effect(city: City) -> None:
    question = asked(city)
    charge = due(question)
    assert {each.rule for each in applied(city, question, charge.model_copy(update={"prices": charge.prices[:2]}))} == {
        Rule.BLOCK_PRICE,
        Rule.TOTALS,
    }


def test_a_total_that_is_not_the_last_plus_the_block_s_own_price_is_found(city: City) -> None:
    question = asked(city)
    charge = due(question)
    dearer = charge.model_copy(update={"totals": (charge.totals[2],) * 3})
    assert {each.rule for each in applied(city, question, dearer)} == {Rule.TOTALS}


def test_one_price_for_all_blocks_is_no_charge_of_a_weighted_question_nor_the_reverse(city: City) -> None:
    question = asked(city)
    by_block = due(question)
    alike = st.Charge(
        **by_block.model_dump(exclude={"prices", "prices_two"})
        | {"totals": (by_block.price,) * 3, "totals_two": (by_block.price_two,) * 3}
    )
    assert {each.rule for each in applied(city, question, alike)} == {Rule.BLOCK_PRICE}
    plain = asked(city, spec={name: value for name, value in SPEC.items() if name != "weights"})
    assert Rule.BLOCK_PRICE in {each.rule for each in applied(city, plain, by_block)}


def test_a_spec_that_nobody_can_read_has_no_charge_by_block(city: City) -> None:
    question = asked(city, spec=SPEC | {"weights": [1, 2]})
    told = ready(query=question.id.hex(), charge=due(asked(city)))
    assert list(wrongs(question.query, told)) == [(Rule.PRICE, "its question is none of this version")]


@dataclass
class Answered(Question):
    """Every hospital charges by block, and some lie: their Readys have no effect, as if they were not there."""

    lies: dict[str, str] = field(default_factory=dict)

    def ready(self, uri: str, first: int = 0, last: int = 0, **changes: Any) -> bytes:
        charge = due(self)
        if uri in self.lies:
            charge = charge.model_copy(update=LIES[self.lies[uri]](charge))
        return super().ready(uri, first, last, charge=charge, **changes)


@pytest.mark.parametrize("lie", [None, "too little in one block", "another month's weight"])
def test_the_opener_opens_no_set_with_a_ready_that_lies_about_a_block(city: City, lie: str | None) -> None:
    question = Answered(city, city.opener(), stated=STATED, lies={H1: lie} if lie else {})
    question.all_ready()
    binding = question.binding(variances=Asked.of(question.query).variances)
    city.bring(question.opener)
    reply = question.opener.open(question.request(binding), city.now)
    assert (reply.opening is None) == (lie is not None)
    assert [each.reason for each in reply.refusals] == ([] if lie is None else [Reason.READY_NOT_LOGGED])
    assert {each.rule for each in city.findings()} == ({Rule.BLOCK_PRICE} if lie else set())


@pytest.mark.parametrize("lie", [None, "too little in one block", "another month's weight"])
def test_a_bundle_of_a_weighted_answer_is_verified_and_not_where_a_ready_charged_a_block_too_little(
    city: City, lie: str | None
) -> None:
    spec = SPEC | {"measures": SPEC["measures"][:1]}
    question = Answered(city, city.opener(), stated={"spec": spec, "variances": ("9000000.0000",)})
    answer = question.answer(question.live())
    if lie is not None:
        told = st.parse(answer.readys[0].entry.encode()).statement
        assert isinstance(told, st.Ready)
        false = told.model_copy(update={"charge": told.charge.model_copy(update=LIES[lie](told.charge))})
        entry = city.sign(false, city.hospitals[H1].identity)
        city.log_entry(entry)
        proven = Proven(entry=entry.decode(), proof=city.prove(entry).decode())
        answer = answer.model_copy(update={"readys": (proven, *answer.readys[1:])})
    report = verify_answer(answer.model_dump_json().encode(), city.trust, city.now)
    told_of_price = [each.what for each in report.problems if each.place == "price"]
    assert report.problems == [] if lie is None else "price expected" in told_of_price[0]
