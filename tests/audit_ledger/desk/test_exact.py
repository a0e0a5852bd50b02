"""An exact question before the auditor: told as not private, with what it would be compared with; approved only by its name."""

import json

import pytest

from audit_ledger import exact_words
from audit_ledger.waiting import find, lines
from protocols.exact import as_exact
from protocols.query.words import Language
from tests.audit_ledger.desk.test_decisions import Office, office, real_query
from tests.coordinator.support.asked import VISITS
from tests.support.city import Question
from tests.support.exact import EXACT, permit

pytestmark = pytest.mark.wire
__all__ = ["office"]
H1 = "kapok://hospital/h01"


def exact_query(office: Office) -> str:
    return real_query(office, **{**EXACT, "spec": as_exact(VISITS)})


def test_review_says_that_it_will_not_be_private_and_names_who_would_refuse(
    office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    permit(office.city, sorted(office.city.hospitals)[1:])
    target = exact_query(office)
    assert office.run("review") == 0
    shown = capsys.readouterr().out
    for fact in ("will NOT be private", "4 of 5 allow it", f"not of {H1}", "every one or none", "no budget is charged"):
        assert fact in shown
    assert "ε" not in shown
    assert office.run("review", "--json") == 0
    (told,) = json.loads(capsys.readouterr().out)["statements"]
    assert (told["id"], told["mode"], told["private"], told["unwilling"]) == (target, "exact", False, [H1])
    assert not {"price", "epsilon", "delta", "noise_sd"} & set(told)
    waiting = find(office.view(), target, Language.ZH, office.city.now) or pytest.fail("not there")
    assert "不具有隐私保护" in exact_words.warning(lambda _, zh: zh)
    assert "不加噪声" in "\n".join(lines(waiting, lambda _, zh: zh))


def test_review_shows_the_exact_answer_that_it_would_be_compared_with(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    permit(office.city)
    first = Question(office.city, office.city.opener(), purpose="research", stated=EXACT)
    first.live()
    exact_query(office)
    capsys.readouterr()
    assert office.run("review") == 0
    shown = capsys.readouterr().out
    assert f"COMPARE: an exact answer over these records was opened (entry {office.view().exact[0].index}" in shown
    assert "the same hospitals" in shown
    assert "this month: 1 of at most 4" in shown


def test_an_exact_question_is_approved_only_by_who_says_so(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    permit(office.city)
    target = exact_query(office)
    assert office.run("approve", target) == 2
    assert "--exact alone" in capsys.readouterr().err
    assert target not in office.view().approvals
    assert office.run("approve", target, "--exact") == 0
    assert target in office.view().approvals
