"""The auditor's own arithmetic and the one that charges come to the same digits; else it is shown another price than is paid."""

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from audit_ledger import cost
from privacy.filter import encode_charge
from privacy.intervals import STATED_ORDERS, Case, statements
from privacy.intervals import Release as Facts
from privacy.intervals import ReleasedPiece as Released
from privacy.pricing import price
from privacy.sensitivity import Sensitivity
from protocols import statements as st
from protocols.asked import Asked, Piece, variance_text
from protocols.contract import CONTRACT
from protocols.query import Layout, QuerySpec
from tests.coordinator.support.asked import VISITS
from tests.protocols.examples import query
from tests.protocols.query.specs import specs
from tests.support.city import BUREAU, ORIGIN

MEASURES: list[list[dict[str, Any]]] = [
    [{"kind": "count_distinct_person"}],
    [{"kind": "count", "hi": 3}],
    [{"kind": "count", "hi": 1}, {"kind": "count_distinct_person"}],
]


def asked(measures: list[dict[str, Any]], variances: tuple[str, ...]) -> Asked:
    spec = QuerySpec.from_fields({**VISITS, "measures": measures})
    made = st.Query(
        log=ORIGIN, at="2026-11-23T08:00:00Z", by=BUREAU, nonce="0" * 64, purpose="research", programme=None, audience=(),
        floor=4, valid_until="2026-11-24T08:00:00Z", rounds=1, spec=spec.to_json(), variances=variances,
    )  # fmt: skip
    return Asked.of(made)


@pytest.mark.parametrize("measures", MEASURES)
@pytest.mark.parametrize("variance", ["1.0625", "400.0000", "99999.5000"])
def test_the_auditor_is_shown_the_price_that_is_charged_and_the_epsilon_that_is_stated(
    measures: list[dict[str, Any]], variance: str
) -> None:
    assert cost.ORDERS == STATED_ORDERS
    one = asked(measures, (variance,) * len(measures))
    assert cost.price(one) == encode_charge(price(CONTRACT.order, one.pieces).one)
    pieces = tuple(Released(Sensitivity(each.l1, each.l2_squared), each.variance, each.length, Fraction(0)) for each in one.pieces)
    release = Facts(order=CONTRACT.order, pieces=pieces, n=4, colluders=1, members=4, blocks=len(one.blocks))
    stated = next(each for each in statements(release, [CONTRACT.delta]) if each.case is Case.ONE_HOSPITAL)
    assert abs(cost.epsilon(one) - float(stated.epsilon)) <= 1.1e-6


def test_a_count_of_residents_is_shown_at_the_price_that_is_charged() -> None:
    one = asked([{"kind": "count_distinct_resident", "buckets": 1024}], ("400.0000",))
    assert cost.price(one) == encode_charge(price(CONTRACT.order, one.pieces).one)


@pytest.mark.parametrize("rate", [Fraction(1, 100), Fraction(1)])
@pytest.mark.parametrize("variance", [Fraction(4 * 10**6)])
def test_a_training_that_samples_is_shown_at_the_price_that_is_charged(rate: Fraction, variance: Fraction) -> None:
    one = asked(MEASURES[0], ("1.0625",))
    round_ = Piece(100, 10_000, 10**6, variance, 10**9, rate)
    training = replace(one, query=one.query.model_copy(update={"rounds": 50}), pieces=(round_,))
    assert cost.price(training) == encode_charge(price(CONTRACT.order, training.pieces, 50).one)
    pieces = (Released(Sensitivity(10_000, 10**6), variance, 100, Fraction(0), rate=rate),) * 50
    release = Facts(order=CONTRACT.order, pieces=pieces, n=4, colluders=1, members=4, blocks=1)
    stated = next(each for each in statements(release, [CONTRACT.delta]) if each.case is Case.ONE_HOSPITAL)
    assert abs(cost.epsilon(training) - float(stated.epsilon)) <= 1.1e-6


@pytest.mark.parametrize("once", [None, (1000, 10**6), (30_000, 9 * 10**8)])
def test_local_steps_and_held_out_patients_are_shown_at_the_price_that_is_charged(once: tuple[int, int] | None) -> None:
    one, variance = asked(MEASURES[0], ("1.0625",)), Fraction(4 * 10**8)
    round_ = Piece(100, 10_000, 10**6, variance, 10**9, Fraction(1, 20), repeats=3, once=once)
    training = replace(one, query=one.query.model_copy(update={"rounds": 10}), pieces=(round_,))
    assert cost.price(training) == encode_charge(price(CONTRACT.order, training.pieces, 10).one)
    pieces = (Released(Sensitivity(10_000, 10**6), variance, 100, Fraction(0), rate=Fraction(1, 20)),) * 30
    held_out = (Released(Sensitivity(*once), variance, 0, Fraction(0)),) if once else ()
    release = Facts(order=CONTRACT.order, pieces=pieces, n=4, colluders=1, members=4, blocks=1, once=held_out)
    stated = next(each for each in statements(release, [CONTRACT.delta]) if each.case is Case.ONE_HOSPITAL)
    assert abs(cost.epsilon(training) - float(stated.epsilon)) <= 1.1e-6


@given(spec=specs(), sixteenths=some.integers(1, 2**31))
@settings(max_examples=150, deadline=None)
def test_any_table_question_costs_the_auditor_what_it_costs_a_node(spec: QuerySpec, sixteenths: int) -> None:
    noise = tuple(variance_text(Fraction(sixteenths + part, 16)) for part in range(len(Layout.of(spec).segments)))
    one = Asked.of(query(spec=spec.to_json(), variances=noise))
    due = price(CONTRACT.order, one.pieces)
    assert (cost.price(one), cost.price_two(one)) == (encode_charge(due.one), encode_charge(due.two))


@given(
    l1=some.integers(1, 10**8), l2=some.integers(1, 10**14), sixteenths=some.integers(1, 2**32), repeats=some.integers(1, 20),
    rate=some.fractions(Fraction(1, 10**6), 1, max_denominator=10**6), once=some.none() | some.integers(1, 10**7),
    rounds=some.integers(1, 50),
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_any_training_costs_the_auditor_what_it_costs_a_node(
    l1: int, l2: int, sixteenths: int, repeats: int, rate: Fraction, once: int | None, rounds: int
) -> None:
    """Also one that nobody could pay, or whose moments have more digits than a number holds."""
    held_out = (once, once**2) if once else None
    round_ = Piece(1, l1, l2, Fraction(sixteenths, 16), 1, rate, repeats=repeats, once=held_out)
    whole = asked(MEASURES[0], ("1.0625",))
    training = replace(whole, query=whole.query.model_copy(update={"rounds": rounds}), pieces=(round_,))
    due = price(CONTRACT.order, training.pieces, rounds)
    assert (cost.price(training), cost.price_two(training)) == (encode_charge(due.one), encode_charge(due.two))
