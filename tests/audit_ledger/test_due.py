"""What a Ready charges of every kind of question: an honest one breaks no rule, and one that lies about it has no effect."""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from audit_ledger import due
from audit_ledger.bundle import verify_answer
from audit_ledger.bundle_words import problem_in_chinese
from audit_ledger.due import wrongs
from audit_ledger.exact import FREE
from audit_ledger.findings import Rule
from audit_ledger.words import Words
from protocols import statements as st
from protocols.answer import Proven
from protocols.asked import Asked
from protocols.errors import ProtocolError
from protocols.exact import NO_NOISE, as_exact
from protocols.fits import of_fields
from protocols.query import QueryError
from protocols.refusal import Reason
from tests.coordinator.client.fits.city import spec as of_table
from tests.coordinator.client.fits.test_pooled import AGE, DIED, FITS, MALE, MONTHS, PRESSURE, TWO
from tests.hospital_node.support.shapes import FIT, SHAPES
from tests.protocols.examples import exact_query, query, ready
from tests.support.charged import at, honest, less, more, visits_of
from tests.support.city import City, Question
from tests.support.trained import SPEC as EVALUATED

H1 = "kapok://hospital/h01"
EXACT_FITS: dict[str, tuple[dict[str, Any], int]] = {
    **{fit: FITS[fit] for fit in ("linear", "poisson", "kaplan_meier")},
    "cox_stratified": ({"time": MONTHS, "event": DIED, "features": [AGE, MALE], "ties": "efron"}, 12),
    "meta_analysis": ({"outcome": PRESSURE, "groups": TWO, "within_sd": "10"}, 1),
}
PATIENTS = {
    "version": 1, "table": "patients", "measures": [{"kind": "count_distinct_person"}], "keys": [{"key": "sex"}], "where": [],
    "cells_per_patient": 1, "bound": "block",
}  # fmt: skip


def private(spec: dict[str, Any], rounds: int = 1) -> st.Query:
    """With noise of its own in each part of its vector."""
    noise = 10**9 if "fit" in spec else 400
    for parts in range(1, 40):
        asked = query(spec=spec, rounds=rounds, variances=tuple(f"{noise + n}.0000" for n in range(parts)))
        with suppress(ProtocolError, QueryError):
            Asked.of(asked)
            return asked
    raise AssertionError("the spec is none")


def trained(**changes: Any) -> st.Query:
    return private(of_fields(EVALUATED | changes).to_json(), 6)


def untested(**changes: Any) -> st.Query:
    plain = {name: value for name, value in EVALUATED.items() if name not in {"held_out", "bins"}}
    return private(of_fields(plain | {"version": 2} | changes).to_json(), 6)


def exactly(spec: dict[str, Any], rounds: int = 1) -> st.Query:
    parts = len(private(spec).variances) if "fit" not in spec else 1
    return exact_query(spec=as_exact(spec), rounds=rounds, variances=(NO_NOISE,) * parts)


KINDS: dict[str, st.Query] = {
    **{name: private(spec) for name, spec in SHAPES.items() if name != "fit"},
    "patients": private(PATIENTS),
    "a fit of visits": private(FIT, 3),
    **{f"{fit} over a static table": private(of_table(fit, **fields).to_json(), rounds) for fit, (fields, rounds) in FITS.items()},
    "a training that holds patients out": trained(),
    "a training": untested(),
    "a training that samples": untested(sampled="0.05"),
    "a training that samples and holds out": trained(sampled="0.05"),
    "a training of local steps": trained(fit="dp_fedavg", local_steps=3, longest="0.5", held_out="0"),
    "exact": exactly(visits_of(("2026-10", "2026-11"))),
    "exact means": exactly(SHAPES["mean"]),
    **{f"exact {fit}": exactly(of_table(fit, **fields).to_json(), rounds) for fit, (fields, rounds) in EXACT_FITS.items()},
}
"""Under a number of each."""


def ready_of(query: st.Query, charge: st.Charge | st.ChargeByBlock, rounds: tuple[int, int] | None = None) -> st.Ready:
    first, last = rounds or (Asked.of(query).first_round, Asked.of(query).last_round)
    return ready(query=query.envelope().statement_id().hex(), first_round=first, last_round=last, charge=charge)


def rules(query: st.Query, charge: st.Charge | st.ChargeByBlock) -> set[Rule]:
    return {rule for rule, _ in wrongs(query, ready_of(query, charge))}


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_node_charges_is_what_the_auditor_computes(kind: str) -> None:
    assert rules(KINDS[kind], honest(Asked.of(KINDS[kind]))) == set()


Lie = Callable[[st.Charge], st.Charge]


def of_blocks(change: Callable[[tuple[str, ...]], tuple[str, ...]]) -> Lie:
    """The same price on other blocks, and totals for each of them."""

    def lie(charge: st.Charge) -> st.Charge:
        blocks = change(charge.blocks)
        told = {name: getattr(charge, name)[:1] * len(blocks) for name in ("totals", "totals_two")}
        return charge.model_copy(update={"blocks": blocks, **told})

    return lie


LIES: dict[str, tuple[Lie, Rule]] = {
    "too little": (lambda c: at(c, less(c.price)), Rule.PRICE),
    "too much": (lambda c: at(c, more(c.price)), Rule.PRICE),
    "nothing": (lambda c: at(c, FREE, FREE), Rule.PRICE),
    "too little for two hospitals": (lambda c: at(c, c.price, less(c.price_two)), Rule.PRICE),
    "too much for two hospitals": (lambda c: at(c, c.price, more(c.price_two)), Rule.PRICE),
    "for two what one pays": (lambda c: at(c, c.price, c.price), Rule.PRICE),
    "a block less": (of_blocks(lambda blocks: blocks[1:]), Rule.BLOCKS),
    "a block more": (of_blocks(lambda blocks: (*blocks, "2027-01")), Rule.BLOCKS),
    "a block twice": (of_blocks(lambda blocks: (*blocks, blocks[-1])), Rule.BLOCKS),
    "another month": (of_blocks(lambda blocks: ("2024-01", *blocks[1:])), Rule.BLOCKS),
    "another order": (of_blocks(lambda blocks: blocks[::-1]), Rule.BLOCKS),
}


LESS = {"too little", "nothing", "too little for two hospitals", "for two what one pays"}


def is_lie(kind: str, lie: str) -> bool:
    """One block has no other order, and where nothing is due nothing can be paid too little."""
    asked = Asked.of(KINDS[kind])
    return not (len(asked.blocks) == 1 and lie == "another order") and not (asked.is_exact and lie in LESS) and not asked.weights


@pytest.mark.parametrize(("kind", "lie"), [(kind, lie) for kind in KINDS for lie in LIES if is_lie(kind, lie)])
def test_a_lie_about_the_charge_of_any_kind_is_told(kind: str, lie: str) -> None:
    charge = honest(Asked.of(KINDS[kind]))
    assert isinstance(charge, st.Charge)
    make, rule = LIES[lie]
    assert rules(KINDS[kind], make(charge)) == {rule}


@pytest.mark.parametrize("kind", KINDS)
def test_no_kind_is_charged_in_the_other_form(kind: str) -> None:
    """The right numbers, block by block where all pay the same, or as one where each pays its own."""
    charge = honest(Asked.of(KINDS[kind]))
    told = charge.model_dump(exclude={"prices", "prices_two"})
    by_block = {"prices": charge.totals, "prices_two": charge.totals_two}
    other = st.Charge(**told) if Asked.of(KINDS[kind]).weights else st.ChargeByBlock(**told, **by_block)
    assert rules(KINDS[kind], other) == {Rule.BLOCK_PRICE}


@pytest.mark.parametrize("kind", ["rows", "a fit of visits", "a training of local steps", "exact", "exact cox_stratified"])
def test_a_ready_covers_no_round_that_nobody_paid_for(kind: str) -> None:
    asked = Asked.of(KINDS[kind])
    first, last = asked.first_round, asked.last_round
    for rounds, is_found in {
        (first, last): False,
        (last, last): False,
        (first, last + 1): True,
        (first + 1, last): first == last,
    }.items():
        found = list(wrongs(KINDS[kind], ready_of(KINDS[kind], honest(asked), rounds)))
        assert bool(found) == is_found
        assert all(rule is Rule.PRICE and what.startswith(f"rounds: expected {first}..{last}") for rule, what in found)


def test_a_question_that_this_version_cannot_read_has_no_charge() -> None:
    unknown = query(spec={"version": 99, "table": "visits"})
    id_ = unknown.envelope().statement_id().hex()
    found = list(wrongs(unknown, ready(query=id_, charge=honest(Asked.of(KINDS["rows"])))))
    assert found == [(Rule.PRICE, "its question is none of this version")]


def test_each_sentence_has_its_chinese() -> None:
    plain, weighted = KINDS["rows"], KINDS["weighted"]
    due_plain, by_block = honest(Asked.of(plain)), honest(Asked.of(weighted))
    assert isinstance(due_plain, st.Charge)
    assert isinstance(by_block, st.ChargeByBlock)
    lies = [make(due_plain) for make, _ in LIES.values()]
    columns = "prices", "prices_two"
    dearer = [by_block.model_copy(update={name: tuple(map(more, getattr(by_block, name)))}) for name in columns]
    shorter = [by_block.model_copy(update={name: getattr(by_block, name)[1:]}) for name in columns]
    readys = [(plain, ready_of(plain, each)) for each in (*lies, by_block)]
    readys += [(weighted, ready_of(weighted, each)) for each in (*dearer, *shorter)]
    readys += [(plain, ready_of(plain, due_plain, (0, 1))), (query(spec={}), ready(query="0" * 64))]
    found = {what for asked, stated in readys for _, what in wrongs(asked, stated)}
    assert len({re.sub(r"[0-9.-]+", "0", each) for each in found}) >= 10, "each sentence of `due`"
    assert [each for each in found if re.search("[a-z]{3}", problem_in_chinese(f"{H1}: {each}").removeprefix(H1))] == []


# -- where it is held


@pytest.fixture
def city(tmp_path: Path) -> Iterator[City]:
    made = City(tmp_path)
    yield made
    made.close()


TOLD = {
    Rule.PRICE: ("charges another price than its question costs", "收取的价格与该问题应付的不符"),
    Rule.BLOCKS: ("charges other blocks than its question reads", "计费的区块与该问题读取的不符"),
}


def charges(lie: str, question: Question) -> st.Charge:
    charge = question.charge(H1)
    assert isinstance(charge, st.Charge)
    return LIES[lie][0](charge)


@pytest.mark.parametrize("lie", LIES)
def test_the_ledger_tells_of_it_the_opener_opens_nothing_and_others_are_not_held_up(city: City, lie: str) -> None:
    question, rule = Question(city, city.opener()), LIES[lie][1]
    question.ready(H1, charge=charges(lie, question))
    question.all_ready(sorted(city.hospitals)[1:])
    [found, *more_found] = city.findings()
    assert {each.rule for each in (found, *more_found)} == {rule}
    assert all(sentence in Words(is_chinese).finding(found) for is_chinese, sentence in enumerate(TOLD[rule]))
    assert ": expected " in found.detail
    assert ", got " in found.detail
    city.bring(question.opener)
    reply = question.opener.open(question.request(), city.now)
    assert (reply.opening, [each.reason for each in reply.refusals]) == (None, [Reason.READY_NOT_LOGGED])
    question.finish(request := question.request(question.binding(sorted(city.hospitals)[1:])), question.open(request))
    assert H1 not in city.view().accounts


@pytest.mark.parametrize("lie", LIES)
def test_an_answer_with_such_a_ready_is_not_verified_and_says_why_in_either_language(city: City, lie: str) -> None:
    question = Question(city, city.opener())
    answer = question.answer(question.live())
    assert verify_answer(answer.model_dump_json().encode(), city.trust, city.now).problems == []
    told = st.parse(answer.readys[0].entry.encode()).statement
    assert isinstance(told, st.Ready)
    assert isinstance(told.charge, st.Charge)
    entry = city.sign(told.model_copy(update={"charge": LIES[lie][0](told.charge)}), city.hospitals[H1].identity)
    city.log_entry(entry)
    false = answer.model_copy(
        update={"readys": (Proven(entry=entry.decode(), proof=city.prove(entry).decode()), *answer.readys[1:])}
    )
    report = verify_answer(false.model_dump_json().encode(), city.trust, city.now)
    wrong = next(each.what for each in report.problems if each.place == "price" and ": expected " in each.what)
    assert wrong.startswith(f"{H1}: ")
    assert "：" in problem_in_chinese(wrong)
    assert "expected" not in problem_in_chinese(wrong)


def test_a_price_is_computed_once_a_question(city: City) -> None:
    question = Question(city, city.opener())
    question.all_ready()
    due._due.cache_clear()
    city.view()
    assert (due._due.cache_info().misses, due._due.cache_info().hits) == (1, len(city.hospitals) - 1)
