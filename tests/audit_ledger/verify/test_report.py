"""A period's report in its forms: what it counts is what was done, it needs no network, and other systems can read its events."""

import copy
import csv
import io
import json
import re
import time
from decimal import Decimal
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from audit_ledger.audit_event import PROFILE, audit_events
from audit_ledger.main import run
from audit_ledger.report import epsilon_of, period_report
from audit_ledger.report_page import page
from audit_ledger.words import Words
from privacy.conversion import epsilon_at
from protocols import statements as st
from protocols.canonical import decode_json, unb64
from protocols.contract import CONTRACT
from tests.audit_ledger.verify.fhir_r4 import broken
from tests.support.city import AUDITOR, BUREAU, COORDINATOR, EMERGENCY, City, Question

H1, H5 = "kapok://hospital/h01", "kapok://hospital/h05"
NASTY = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A released question without h05, a rejected one, a hospital's refusal and incident, an emergency that nobody reviewed."""
    city = City(tmp_path_factory.mktemp("report") / "city", now=int(time.time()) - 80 * 3600)
    opener = city.opener()
    first = Question(city, opener)
    first.live(sorted(city.hospitals)[:4])
    reason = st.Reasoned(code="node.paused", expected="not paused", got="paused", subject="")
    head = {"query": first.id.hex()}
    city.log_entry(city.sign(st.Refused(**city.head(H5), **head, reasons=(reason,)), city.hospitals[H5].identity))
    city.log_entry(city.sign(st.Incident(**city.head(H1), **head, code="node.incomplete"), city.hospitals[H1].identity))
    second = Question(city, opener, purpose="research")
    told = st.Reasoned(code="authority.not_approved", expected="the auditor's approval", got=NASTY, subject="")
    city.log_entry(city.sign(st.Refused(**city.head(AUDITOR), query=second.id.hex(), reasons=(told,)), city.approval))
    Question(city, opener, purpose="outbreak").live()
    reviewed = Question(city, opener, purpose="outbreak")
    reviewed.live()
    seen = st.Review(**city.head(AUDITOR), target=reviewed.id.hex(), verdict="in_order", note=NASTY)
    city.log_entry(city.sign(seen, city.approval))
    city.checkpoint()
    yield city
    city.close()


def data(city: City) -> dict[str, Any]:
    return period_report(city.view(), now=int(time.time()))


def test_the_report_counts_what_was_done(city: City) -> None:
    report = data(city)
    assert report["queries_by_purpose"] == {"outbreak": 2, "research": 1, "surveillance": 1}
    assert report["queries_by_asker"][BUREAU] == {"surveillance": 1, "research": 1, "outbreak": 0}
    assert report["queries_by_asker"][EMERGENCY] == {"surveillance": 0, "research": 0, "outbreak": 2}
    assert report["ended"] == {"open": 1, "released": 3}
    assert [each["by"] for each in report["refusals"]] == [H5, AUDITOR]
    assert [each["by"] for each in report["incidents"]] == [H1]
    assert [(each["is_overdue"], each["verdict"]) for each in report["reviews"]] == [(True, None), (False, "in_order")]
    coverage = {each["hospital"]: (each["asked"], each["answered"], each["away"]) for each in report["coverage"]}
    assert (coverage[H1], coverage[H5]) == ((3, 3, 0), (3, 2, 1))


def test_a_question_that_was_never_offered_is_nobodys_absence(tmp_path: Path) -> None:
    city = City(tmp_path / "city")
    question = Question(city, city.opener(), purpose="research")
    away = st.Release(
        **city.head(COORDINATOR), query=question.id.hex(), status="failed", round=0, attempt=1, binding=None, values=None,
        answered=(), refused=(), away=tuple(sorted(city.hospitals)), left_out=(),
    )  # fmt: skip
    city.log_entry(city.sign(away, city.coordinator))
    report = period_report(city.view())
    assert report["ended"] == {"failed": 1}
    assert {each["asked"] for each in report["coverage"]} == {0}
    city.close()


def test_epsilon_is_that_of_the_running_total_over_all_purposes(city: City) -> None:
    view, report = city.view(), data(city)
    account = view.accounts[H1]
    whole = sum((total for (_, block), total in account.totals.items() if block == "2026-11"), start=Decimal(0))
    told = report["epsilon"][H1]["2026-11"]
    assert told["spent"] == f"{whole:.9f}"
    assert abs(float(told["epsilon"]) - float(epsilon_at(Fraction(whole), CONTRACT.order, CONTRACT.delta))) <= 1e-4
    assert epsilon_of(0.0) == 0.0
    assert abs(epsilon_of(float(CONTRACT.budget)) - float(CONTRACT.epsilon)) < 0.001, "a spent budget is the contract's ε"


class Outside(HTMLParser):
    """Whatever a page would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "link", "img", "iframe", "object") or any(name in ("src", "href", "onload") for name, _ in attrs):
            self.found.append(tag)


@pytest.mark.parametrize("is_chinese", [False, True], ids=["en", "zh"])
def test_the_page_is_whole_escaped_and_fetches_nothing(city: City, is_chinese: bool) -> None:
    text = page(data(city), Words(is_chinese))
    outside = Outside()
    outside.feed(text)
    assert outside.found == []
    assert "url(" not in text
    assert NASTY not in text
    assert "&lt;script&gt;" in text
    overdue = ("逾期复核", "已逾期") if is_chinese else ("reviews overdue", "OVERDUE")
    for fact in (BUREAU, EMERGENCY, H5, "node.paused", *overdue):
        assert fact in text
    words = re.sub(r"<style>.*?</style>|<[^>]+>|kapok://\S+", " ", text)
    assert bool(re.search(r"[\u4e00-\u9fff]", words)) is is_chinese


def test_the_command_writes_each_form(city: City, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trust = tmp_path / "trust.policy"
    trust.write_bytes(city.trust.encode())
    line = ["report", str(city.folder), "--trust", str(trust)]
    for form in ("html", "json", "csv", "fhir"):
        assert run([*line, "--format", form, "--out", str(tmp_path / form)]) == 0
    assert run([*line, "--out", str(tmp_path / "text")]) == 2
    assert (tmp_path / "html").read_text("utf-8").startswith("<!doctype html>")
    assert json.loads((tmp_path / "json").read_text("utf-8"))["size"] == city.log.size
    rows = list(csv.DictReader(io.StringIO((tmp_path / "csv").read_text("utf-8"))))
    assert [row["purpose"] for row in rows] == ["surveillance", "research", "outbreak", "outbreak"]
    assert [row["ended"] for row in rows] == ["released", "open", "released", "released"]
    assert len((tmp_path / "fhir").read_text("utf-8").splitlines()) == 9
    capsys.readouterr()
    assert run(line) == 0
    assert "queries: outbreak 2, research 1, surveillance 1; of them still open 1, released 3" in capsys.readouterr().out
    assert run([*line, "--since", "2999-01-01", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["queries"] == []


def test_a_ledger_with_a_broken_rule_is_reported_with_it_first_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    city, trust = City(tmp_path / "city"), tmp_path / "trust.policy"
    trust.write_bytes(city.trust.encode())
    city.now += 1
    at = city.log_entry(city.sign(city.policy_of(city.hospitals[H1]), city.hospitals[H5].identity))
    city.checkpoint()
    city.close()
    line = ["report", str(city.folder), "--trust", str(trust)]
    for form in ("html", "json", "csv", "fhir"):
        assert run([*line, "--format", form, "--out", str(tmp_path / form)]) == 1
    found = json.loads((tmp_path / "json").read_text("utf-8"))["findings"]
    assert [(each["entry"], each["rule"]) for each in found] == [(at, "authority.signature")]
    words = (tmp_path / "html").read_text("utf-8")
    assert words.index("authority.signature") < words.index(H1)
    capsys.readouterr()
    assert run(line) == 1
    assert capsys.readouterr().out.splitlines()[1].startswith(f"✗ entry {at}: lacks a signature")


# -- FHIR R4 -----------------------------------------------------------------------------------------------------------


def test_every_event_has_what_fhir_r4_and_its_profile_require_and_none_names_a_patient(city: City) -> None:
    events = list(audit_events(city.view()))
    assert [each["id"].partition("-")[0] for each in events].count("query") == 4
    assert {each["id"]: broken(each) for each in events if broken(each)} == {}
    roles = [entity.get("role", {}).get("code") for event in events for entity in event["entity"]]
    assert "1" not in roles, "no patient"


def _without(event: dict[str, Any], path: tuple[Any, ...]) -> dict[str, Any]:
    changed: Any = copy.deepcopy(event)
    place = changed
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    return dict(changed)


def test_an_event_that_lacks_a_required_element_is_found_whichever_it_is(city: City) -> None:
    event = next(audit_events(city.view()))
    for needed in (
        ("type",), ("recorded",), ("agent",), ("agent", 0), ("agent", 1), ("agent", 0, "requestor"), ("agent", 2, "requestor"),
        ("agent", 0, "who"), ("agent", 1, "network"), ("source",), ("source", "observer"), ("entity",), ("entity", 0),
        ("entity", 0, "query"), ("entity", 0, "role"), ("entity", 0, "type"), ("entity", 1, "what", "identifier", "value"),
        ("entity", 2, "detail", 0, "type"), ("entity", 2, "detail", 0, "valueString"), ("subtype",), ("action",), ("outcome",),
        ("resourceType",), ("id",),
    ):  # fmt: skip
        assert broken(_without(event, needed)), needed


def test_a_query_follows_the_balp_pattern_without_a_patient(city: City) -> None:
    view = city.view()
    event = next(audit_events(view))
    facts = next(iter(view.questions.values()))
    assert event["meta"]["profile"] == [PROFILE]
    assert (event["type"]["code"], event["subtype"][0]["code"], event["action"], event["outcome"]) == ("rest", "search", "E", "0")
    assert [each["type"]["coding"][0]["code"] for each in event["agent"]] == ["110153", "110152", "IRCP"]
    assert event["agent"][2]["purposeOfUse"][0]["coding"][0]["code"] == "PUBHLTH"
    query, request, ledger = event["entity"]
    assert (query["type"]["code"], query["role"]["code"], "detail" in query) == ("2", "24", False)
    assert decode_json(unb64(query["query"])) == facts.query.spec
    assert (request["type"]["code"], request["what"]["identifier"]["value"]) == ("XrequestId", facts.id.hex())
    assert {each["type"]: each["valueString"] for each in ledger["detail"]}["index"] == str(facts.index)


def test_releases_are_exports_and_refusals_are_alerts_of_their_party(city: City) -> None:
    found = [(each["type"]["code"], each["outcome"], each.get("outcomeDesc")) for each in audit_events(city.view())]
    assert found.count(("110106", "0", None)) == 3
    assert ("110113", "4", "node.paused") in found
    assert ("110113", "8", "authority.not_approved") in found
