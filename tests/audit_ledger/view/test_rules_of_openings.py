"""The rules of an opening, its receipts and the release: one member set, one binding, every receipt."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from audit_ledger.findings import Rule
from audit_ledger.opener import OpenRequest
from protocols import statements as st
from protocols.canonical import b64
from protocols.secagg.binding import Binding
from protocols.statements import Seen
from tests.audit_ledger.view.test_rules import H1, city, found, ready_of
from tests.support.city import AUDITOR, DIMENSION, City, Question

__all__ = ["city"]


def opening(question: Question, binding: Binding, **changes: Any) -> bytes:
    view = question.city.view()
    honest = {
        "query": binding.query.hex(),
        "first_round": 0,
        "last_round": 0,
        "attempt": binding.attempt,
        "preimage": b64(binding.encode()),
        "stream_sum": "0" * 64,
        "seen": Seen(size=view.size, root=view.range.root().hex()),
    }
    return question.city.sign(st.Opening(**question.city.head(AUDITOR), **{**honest, **changes}), question.city.service)


def with_agreement(question: Question) -> bytes:
    binding = question.binding()
    first, *others = binding.members
    return opening(question, replace(binding, members=(replace(first, agreement=bytes(32)), *others)))


OPENINGS: dict[str, tuple[Callable[[Question], bytes], set[Rule]]] = {
    "an honest one": (lambda q: opening(q, q.binding()), set()),
    "an unknown query": (lambda q: opening(q, q.binding(), query="0" * 64), {Rule.TARGET_UNKNOWN}),
    "no preimage": (lambda q: opening(q, q.binding(), preimage=b64(b"x")), {Rule.BINDING}),
    "another attempt": (lambda q: opening(q, q.binding(), attempt=2), {Rule.BINDING}),
    "another log's binding": (lambda q: opening(q, q.binding(origin="other")), {Rule.BINDING}),
    "three counting": (lambda q: opening(q, q.binding(counting=tuple(sorted(q.readys))[:3], n=3, c=1)), {Rule.MEMBER}),
    "n of another set": (lambda q: opening(q, q.binding(n=4)), {Rule.BINDING}),
    "no colluders": (lambda q: opening(q, q.binding(c=0)), {Rule.BINDING}),
    "a fourth attempt": (lambda q: opening(q, q.binding(attempt=4)), {Rule.BINDING}),
    "attempt zero": (lambda q: opening(q, q.binding(attempt=0)), {Rule.BINDING}),
    "another binding's round": (lambda q: opening(q, q.binding(round=1)), {Rule.BINDING}),
    "another query's binding": (
        lambda q: opening(q, q.binding(), query=Question(q.city, q.opener).id.hex()),
        {Rule.BINDING, Rule.MEMBER},
    ),
    "rounds without a Ready": (lambda q: opening(q, q.binding(), last_round=1), {Rule.BINDING}),
    "less noise than asked": (lambda q: opening(q, q.binding(variances=(16,))), {Rule.BINDING}),
    "another history": (lambda q: opening(q, q.binding(), seen=Seen(size=1, root="0" * 64)), {Rule.FORKED}),
    "a history to come": (lambda q: opening(q, q.binding(), seen=Seen(size=9_999, root="0" * 64)), {Rule.FORKED}),
    "another agreement key": (with_agreement, {Rule.MEMBER}),
    "after the window": (lambda q: opening(q, q.binding(not_after=q.city.now)), {Rule.WINDOW}),
}


@pytest.mark.parametrize("what", OPENINGS)
def test_an_opening_keeps_its_rules(city: City, what: str) -> None:
    make, expected = OPENINGS[what]
    question = Question(city, city.opener())
    question.all_ready()
    assert found(city, make(question)) == expected


def test_an_opening_without_a_member_s_ready_twice_or_under_a_hold_is_found(city: City) -> None:
    question = Question(city, city.opener())
    question.all_ready([each for each in city.hospitals if each != H1])
    question.readys[H1] = ready_of(question, H1)
    assert found(city, opening(question, question.binding())) == {Rule.MEMBER}
    del question.readys[H1]
    honest = question.binding()
    city.hold(True)
    assert found(city, opening(question, honest)) == {Rule.HELD}
    city.now += 1
    city.hold(False)
    city.log_entry(opening(question, honest))
    assert found(city, opening(question, question.binding(attempt=2))) == {Rule.OPENED_TWICE}


def test_an_opening_after_the_end_of_its_query_has_no_effect(city: City) -> None:
    question = Question(city, city.opener())
    question.all_ready()
    honest = opening(question, question.binding())
    assert found(city, honest) == set()
    question.release(question.binding(), np.zeros(DIMENSION, np.int64), status="failed", values=None, binding=None)
    assert found(city, honest) == {Rule.OPENED_TWICE}


@pytest.fixture
def opened(city: City) -> tuple[Question, OpenRequest]:
    question = Question(city, city.opener())
    question.all_ready()
    request = question.request()
    question.open(request)
    return question, request


def test_a_receipt_is_a_member_s_under_the_opened_binding_once(city: City, opened: tuple[Question, OpenRequest]) -> None:
    question, request = opened
    other = question.contribute(H1, question.binding(), binding="0" * 64)
    assert found(city, other.receipt) == {Rule.RECEIPT}
    city.log_entry(request.seeds[0].receipt)
    again = question.contribute(H1, question.binding())
    assert found(city, again.receipt) == {Rule.RECEIPT_TWICE}
    early = Question(city, question.opener)
    early.all_ready()
    assert found(city, early.request().seeds[0].receipt) == {Rule.TARGET_UNKNOWN}


def test_a_release_follows_all_receipts_under_the_opened_binding_once(city: City, opened: tuple[Question, OpenRequest]) -> None:
    question, request = opened
    values, binding = np.zeros(DIMENSION, np.int64), Binding.decode(request.preimage)
    first = release(question, binding, values)
    assert found(city, first) == {Rule.RECEIPT_MISSING}
    for each in request.seeds:
        city.log_entry(each.receipt)
    assert found(city, release(question, binding, values, binding="0" * 64)) == {Rule.RELEASE}
    assert found(city, release(question, binding, values, values=None)) == {Rule.RELEASE}
    assert found(city, release(question, binding, values, query="0" * 64)) == {Rule.TARGET_UNKNOWN}
    assert found(city, release(question, binding, values, answered=binding.counting[1:])) == {Rule.RELEASE}
    assert found(city, first) == set()
    city.log_entry(first)
    assert found(city, release(question, binding, values, status="failed")) == {Rule.RELEASE_TWICE}


def test_a_training_is_released_by_members_who_stayed_and_gave_a_receipt(city: City) -> None:
    question = Question(city, city.opener(), rounds=2)
    question.all_ready(first=1, last=2)
    binding = question.binding(round=1)
    city.log_entry(opening(question, binding, first_round=1, last_round=2))
    for uri in binding.counting[1:]:
        city.log_entry(question.contribute(uri, binding, first_round=1, last_round=2).receipt)
    values = np.zeros(DIMENSION, np.int64)
    assert found(city, release(question, binding, values)) == {Rule.RECEIPT_MISSING}
    stranger = (*binding.counting[1:], "kapok://hospital/h99")
    assert found(city, release(question, binding, values, answered=stranger)) == {Rule.RELEASE, Rule.RECEIPT_MISSING}
    assert found(city, release(question, binding, values, answered=binding.counting[1:])) == set()


def release(question: Question, binding: Binding, values: Any, /, **changes: Any) -> bytes:
    city, logged = question.city, question.city.log_entry
    city.log_entry = lambda entry: 0  # type: ignore[method-assign]
    try:
        return question.release(binding, values, **changes)
    finally:
        city.log_entry = logged  # type: ignore[method-assign]
