"""A replay that forgets answered questions comes to the verdicts of one that keeps them; dates among statements are compared."""

from pathlib import Path
from typing import Any

import pytest

from audit_ledger.findings import Rule
from audit_ledger.rules_time import TOLERANCE_S
from audit_ledger.view import LedgerView
from protocols import statements as st
from protocols.clock import stamp
from tests.support.city import AUDITOR, COORDINATOR, City, Question

H1, H2 = "kapok://hospital/h01", "kapok://hospital/h02"


@pytest.fixture
def city(tmp_path: Path) -> City:
    return City(tmp_path)


def afterwards(city: City, question: Question) -> dict[str, bytes]:
    """Whatever anybody may still say about a question that was answered."""
    at, q = stamp(city.now + 1), question.id.hex()
    entries = {st.parse(each).statement.kind: st.parse(each).statement for each in city.log.entries(0, city.log.size)}

    def said(kind: str, signer: Any, **changes: Any) -> bytes:
        return city.sign(entries[kind].model_copy(update={"at": at, **changes}), signer)

    h1, h5 = city.hospitals[H1].identity, city.hospitals["kapok://hospital/h05"].identity
    return {
        "a Ready": said("ready", h5, sequence=2),
        "an opening": said("opening", city.service, attempt=2),
        "an opening of rounds that nobody covered": said("opening", city.service, first_round=1, last_round=1),
        "a receipt": said("receipt", h5),
        "a receipt of a stranger": said("receipt", city.bureau, by="kapok://bureau/cdc"),
        "a release": said("release", city.coordinator),
        "a failed end": said("release", city.coordinator, status="failed", binding=None, values=None),
        "a refusal": city.sign(st.Refused(**{**city.head(H1), "at": at}, query=q, reasons=()), h1),
        "an incident": city.sign(st.Incident(**{**city.head(COORDINATOR), "at": at}, query=q, code="late"), city.coordinator),
        "a review": city.sign(
            st.Review(**{**city.head(AUDITOR), "at": at}, target=q, verdict="in_order", note="seen"), city.approval
        ),
        "an approval": city.sign(
            st.Approval(**{**city.head(AUDITOR), "at": at}, target=q, until=stamp(city.now + 99)), city.approval
        ),
        "the query again": question.entry,
    }


def failed_end(city: City, question: Question) -> bytes:
    ended = st.Release(
        **city.head(COORDINATOR), query=question.id.hex(), round=0, attempt=1, status="failed", binding=None, values=None,
        answered=(), refused=(), away=(), left_out=(),
    )  # fmt: skip
    return city.sign(ended, city.coordinator)


def test_what_follows_an_answer_is_judged_alike_by_who_kept_the_question_and_who_forgot_it(city: City) -> None:
    question = Question(city, city.opener())
    question.live()
    said = afterwards(city, question)
    judged = {}
    for what, entry in said.items():
        full, lean = city.view(), city.view()
        assert lean.forget(question.id.hex())
        assert lean.questions == {}
        judged[what] = bool(full.apply(entry))
        assert bool(lean.apply(entry)) == judged[what], what
        assert (full.accounts, full.seen_ids, full.range.root()) == (lean.accounts, lean.seen_ids, lean.range.root()), what
    assert [what for what, broke in judged.items() if not broke] == ["a refusal", "an incident", "a review"]


@pytest.mark.parametrize("is_answered", [True, False])
def test_nothing_is_left_to_approve_of_a_question_that_has_ended(city: City, is_answered: bool) -> None:
    question = Question(city, city.opener())
    if is_answered:
        question.live()
    else:
        city.log_entry(failed_end(city, question))
    approval = st.Approval(**city.head(AUDITOR), target=question.id.hex(), until=stamp(city.now + 99))
    full, lean = city.view(), city.view()
    assert lean.forget(question.id.hex()) == is_answered
    for view in (full, lean):
        assert {each.rule for each in view.apply(city.sign(approval, city.approval))} == {Rule.TARGET_UNKNOWN}


def test_a_question_is_forgotten_only_once_nothing_more_can_count(city: City) -> None:
    question = Question(city, city.opener())
    assert not city.view().forget(question.id.hex())
    question.all_ready()
    question.open(question.request())
    assert not city.view().forget(question.id.hex())
    failed = Question(city, city.opener("second"))
    city.log_entry(failed_end(city, failed))
    assert city.findings() == []
    assert not city.view().forget(failed.id.hex())


def dated(city: City, kind: str, by_s: int) -> set[Rule]:
    """The findings of a life whose last statement of this kind is dated `by_s` after what it rests on."""
    question = Question(city, city.opener(), purpose="research")
    if kind == "approval":
        city.now += by_s
        city.approve(question.id.hex())
        return {each.rule for each in city.findings()}
    city.approve(question.id.hex())
    question.all_ready(sorted(city.hospitals)[:-1])
    question.ready("kapok://hospital/h05", **({"at": stamp(city.now + by_s)} if kind == "ready" else {}))
    if kind == "ready":
        return {each.rule for each in city.findings()}
    request = question.request()
    if kind == "opening":
        city.now += by_s
    stream_sum = question.open(request)
    if kind in ("receipt", "release"):
        entries = {st.parse(each).statement.kind: st.parse(each).statement for each in city.log.entries(0, city.log.size)}
        assert "opening" in entries
        question.finish(request, stream_sum)
        statement = next(
            each for each in (st.parse(e).statement for e in reversed(city.log.entries(0, city.log.size))) if each.kind == kind
        )
        view = city.view()
        signer = city.coordinator if kind == "release" else city.hospitals[statement.by].identity
        moved = city.sign(statement.model_copy(update={"at": stamp(city.now + by_s)}), signer)
        return {each.rule for each in view.findings_for(st.parse(moved))} & {Rule.BACKDATED, Rule.RECEIPT_LATE}
    return {each.rule for each in city.findings()}


@pytest.mark.parametrize("kind", ["approval", "ready", "receipt", "release"])
def test_a_statement_dated_before_what_it_rests_on_is_found(city: City, kind: str) -> None:
    assert dated(city, kind, -TOLERANCE_S - 1) == {Rule.BACKDATED}


@pytest.mark.parametrize("kind", ["approval", "ready", "receipt", "release"])
def test_clocks_may_differ_by_their_tolerance(city: City, kind: str) -> None:
    assert dated(city, kind, -TOLERANCE_S) == set()


def test_a_back_dated_opening_is_found(city: City) -> None:
    question = Question(city, city.opener())
    question.all_ready()
    question.open(question.request())
    opening = st.parse(city.log.entries(city.log.size - 1, city.log.size)[0]).statement
    view = LedgerView(city.view().entry0)
    for each in city.log.entries(0, city.log.size - 1):
        view.apply(each)
    for by_s, expected in ((0, set()), (-TOLERANCE_S, set()), (-TOLERANCE_S - 1, {Rule.BACKDATED})):
        moved = city.sign(opening.model_copy(update={"at": stamp(city.now + by_s)}), city.service)
        assert {each.rule for each in view.findings_for(st.parse(moved))} == expected


def test_a_receipt_dated_after_its_window_is_late(city: City) -> None:
    assert dated(city, "receipt", 660) == set()


def test_a_receipt_dated_later_still_is_found(city: City) -> None:
    assert dated(city, "receipt", 661) == {Rule.RECEIPT_LATE}
