"""The auditor's decisions over the wire: admit, approve, reject, revoke, hold, review; what is logged is what was decided."""

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from audit_ledger import cost
from audit_ledger.decide import is_read_out
from audit_ledger.main import run
from audit_ledger.party.enrol import key_request
from audit_ledger.party.home import Home
from audit_ledger.view import LedgerView
from audit_ledger.waiting import find, lines
from protocols import statements as st
from protocols.asked import Asked
from protocols.clock import stamp, unix
from protocols.contract import CONTRACT
from protocols.identity import SigningKey, fingerprint
from protocols.query.words import Language
from tests.coordinator.support.asked import query as asked_query
from tests.support.certificates import Authority
from tests.support.city import AUDITOR, BUREAU, COORDINATOR, ORIGIN, City, Question, key
from tests.support.desk import CityDesk, serve_desk

pytestmark = pytest.mark.wire
NEW = "kapok://hospital/new"


@dataclass
class Office:
    """An auditor's home that is connected to a city's desk."""

    city: City
    desk: CityDesk
    home: Path

    def run(self, *arguments: str) -> int:
        return run([*arguments, "--home", str(self.home)])

    def view(self) -> LedgerView:
        return self.city.view()

    def request(self) -> tuple[bytes, str]:
        other = Home(self.home.parent / "new")
        made = other.create_key("identity")
        licence = st.Licence(legal_name="New Hospital", number="PDY-9")
        return key_request(other, ORIGIN, NEW, stamp(self.city.now), licence), fingerprint(made.public)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    city = City(tmp_path / "city", now=int(time.time()))
    ca, desk = Authority(), CityDesk(city)
    home = ca.equip(tmp_path / "A", AUDITOR)
    server, port = serve_desk(desk, ca.equip(tmp_path / "C", COORDINATOR))
    home.write_secret("keys/approval.key", city.approval.seed())
    home.write("trust.policy", city.trust.encode())
    link = f'uri = "{AUDITOR}"\nname = "gz"\ncoordinator = "{COORDINATOR}"\nlink_address = "127.0.0.1:{port}"\n'
    home.write("config.toml", link.encode())
    yield Office(city, desk, home.path)
    server.stop(0)
    city.close()


def test_admit_countersigns_what_is_pending_and_shows_who_it_is(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    envelope, printed = office.request()
    office.desk.pending = [envelope]
    assert office.run("admit", "--pending", "--yes", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert [(each["subject"], each["legal_name"], each["fingerprint"]) for each in shown] == [(NEW, "New Hospital", printed)]
    assert NEW in office.view().authority.hospitals()
    assert office.city.findings() == []


def test_admit_with_another_fingerprint_admits_nobody(office: Office, tmp_path: Path) -> None:
    envelope, printed = office.request()
    (tmp_path / "request.json").write_bytes(envelope)
    assert office.run("admit", str(tmp_path / "request.json"), "--fingerprint", "0" * 64) == 0
    assert NEW not in office.view().authority.hospitals()
    assert office.run("admit", str(tmp_path / "request.json"), "--fingerprint", printed) == 0
    assert NEW in office.view().authority.hospitals()


def test_a_request_that_is_not_a_hospital_s_own_is_not_countersigned(office: Office, tmp_path: Path) -> None:
    for entry in (office.city.founding()[1], office.city.entry0, b"{}"):
        (tmp_path / "request.json").write_bytes(entry)
        assert office.run("admit", str(tmp_path / "request.json"), "--yes") == 2
    assert office.run("admit", "--yes") == 2


def test_review_lists_what_waits_and_approve_takes_it_off_the_list(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    question = Question(office.city, office.city.opener(), purpose="research")
    assert office.run("review", "--json") == 0
    waiting = json.loads(capsys.readouterr().out)
    assert [(each["kind"], each["id"], each["by"]) for each in waiting["statements"]] == [("query", question.id.hex(), BUREAU)]
    assert office.run("review") == 0
    assert office.run("approve", question.id.hex(), "--until", "2099-01-01") == 0
    assert office.view().approvals[question.id.hex()][1].until == "2099-01-01T23:59:59Z"
    capsys.readouterr()
    assert office.run("review", "--json") == 0
    assert json.loads(capsys.readouterr().out)["statements"] == []


def test_a_question_that_has_ended_is_not_approved(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    question = Question(office.city, office.city.opener())
    question.live()
    size = office.city.log.size
    assert office.run("approve", question.id.hex()) == 2
    assert "this question has ended" in capsys.readouterr().err
    assert office.city.log.size == size


def test_until_is_a_day_or_a_time_and_anything_else_says_what_is_expected(
    office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    target = Question(office.city, office.city.opener(), purpose="research").id.hex()
    assert office.run("approve", target, "--until", "soon") == 2
    assert office.run("approve", target, "--until", "2099-01-01T07:00") == 2
    assert capsys.readouterr().err.count("expected 2026-12-31 or 2026-12-31T00:00:00Z") == 2
    assert office.run("approve", target, "--until", "2099-01-01T07:00:00Z") == 0
    assert office.view().approvals[target][1].until == "2099-01-01T07:00:00Z"


def test_review_shows_an_id_whole_so_that_it_can_be_copied(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    target = Question(office.city, office.city.opener(), purpose="research").id.hex()
    assert office.run("review") == 0
    assert target in capsys.readouterr().out


@pytest.mark.parametrize("said", ["", " " * 16, "abcdef" + " " * 10, "abcdef0123456789abcdef0123456780"])
def test_a_fingerprint_of_too_few_or_other_digits_is_not_read_out(said: str) -> None:
    assert not is_read_out(said, "abcdef0123456789" * 4)
    assert is_read_out("ABCDEF01 23456789", "abcdef0123456789" * 4)


def test_with_json_a_failure_is_json_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["review", "--json", "--home", str(tmp_path)]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "home"


def test_reject_revoke_and_hold_stand_in_the_ledger(office: Office) -> None:
    question = Question(office.city, office.city.opener(), purpose="research")
    assert office.run("reject", question.id.hex(), "--reason", "purpose unclear") == 0
    assert office.view().questions[question.id.hex()].refusals[AUDITOR][1].reasons[0].got == "purpose unclear"
    assert office.run("revoke", office.city.programme, "--reason", "ended") == 0
    assert office.city.programme not in office.view().approvals
    assert office.run("hold", "--on", "--reason", "inspection") == 0
    assert office.view().is_held
    assert office.run("hold", "--off", "--reason", "in order") == 0
    assert not office.view().is_held
    assert office.run("revoke", "kapok://hospital/h01", "--reason", "key lost") == 0
    assert "kapok://hospital/h01" not in office.view().authority.hospitals()
    assert office.city.findings() == []


def real_query(office: Office, **changes: Any) -> str:
    """A logged research query of the language, so that it can be told in words."""
    entry = asked_query(office.city, **{"purpose": "research", "programme": None, **changes})
    office.city.log_entry(entry)
    return st.parse(entry).hex_id


def test_review_tells_a_query_in_words_with_its_cost_audience_noise_and_rule(
    office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    target = real_query(office)
    assert office.run("review", "--json") == 0
    (told,) = json.loads(capsys.readouterr().out)["statements"]
    assert told["id"] == target
    assert told["words"].splitlines()[0] == "Counted over visits: distinct patients (within each hospital)"
    assert (told["approvers"], told["floor"], told["noise_sd"]) == (1, 4, ["20"])
    assert (told["audience"], told["willing"], told["unwilling"]) == (sorted(office.city.hospitals),) * 2 + ([],)
    query = office.view().questions[target].query
    assert told["price"] == cost.price(Asked.of(query))
    assert office.run("review") == 0
    shown = capsys.readouterr().out
    for fact in (target, told["price"], f"ε = {told['epsilon']}", "standard deviation 20", "kapok://hospital/h05", "5 of 5"):
        assert fact in shown
    chinese = lines(find(office.view(), target, Language.ZH, office.city.now) or pytest.fail("not there"), lambda _, zh: zh)
    assert chinese[0] == "统计（就诊）：患者人数（每家医院内不重复）"
    assert not any(line.isascii() for line in chinese)


def test_two_approvers_sign_one_file_and_one_alone_is_told_what_is_missing(
    office: Office, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second, place = key("approver two"), Home(tmp_path / "B")
    office.city.log_entry(office.city.sign(office.city.key_add(AUDITOR, "approval", second), second, office.city.root))
    target, half = real_query(office), tmp_path / "half.json"
    assert office.run("rule", "--research", "2") == 2, "the root key is kept elsewhere"
    Home(office.home).write_secret("keys/root.key", office.city.root.seed())
    assert office.run("rule", "--research", "2") == 0
    assert office.run("approve", target) == 2
    assert "2 approvers have to sign, this has 1" in capsys.readouterr().err
    assert office.run("approve", target, "--out", str(half)) == 0
    assert target not in office.view().approvals
    shutil.copytree(office.home / "tls", place.path / "tls")
    shutil.copy(office.home / "config.toml", place.path)
    shutil.copy(office.home / "trust.policy", place.path)
    place.write_secret("keys/approval.key", second.seed())
    assert run(["approve", "--countersign", str(half), "--home", str(place.path)]) == 0
    assert "Counted over visits" in capsys.readouterr().err, "the second approver sees what it signs for"
    assert target in office.view().approvals
    assert office.city.findings() == []


def test_a_programme_and_a_key_request_are_rejected_and_wait_no_more(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    city = office.city
    programme = city.sign(
        st.Programme(
            **city.head(BUREAU), title="too wide", purpose="surveillance", tables=("visits",), max_price="1.000000000",
            until=stamp(city.now + 86_400),
        ),
        city.bureau,
    )  # fmt: skip
    city.log_entry(programme)
    envelope, _ = office.request()
    office.desk.pending = [envelope]
    assert office.run("review", "--json") == 0
    waits = json.loads(capsys.readouterr().out)
    assert [each["title"] for each in waits["statements"]] == ["too wide"]
    assert [each["subject"] for each in waits["keys"]] == [NEW]
    for each in (waits["statements"][0]["id"], waits["keys"][0]["id"]):
        assert office.run("reject", each, "--reason", "not needed") == 0
    capsys.readouterr()
    assert office.run("review", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"keys": [], "statements": []}
    assert office.run("admit", "--pending", "--yes") == 0
    assert NEW not in office.view().authority.hospitals(), "a lying coordinator may show it again: it is not admitted"
    assert city.findings() == []


def test_an_opened_emergency_waits_for_its_review_and_the_review_closes_it(
    office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    question = Question(office.city, office.city.opener(), purpose="outbreak")
    question.live()
    capsys.readouterr()
    assert office.run("review", "--json") == 0
    (told,) = json.loads(capsys.readouterr().out)["statements"]
    due = stamp(unix(told["opened"]) + CONTRACT.review_hours * 3600)
    assert (told["kind"], told["id"], told["due"], told["is_overdue"]) == ("review", question.id.hex(), due, False)
    assert office.run("review", question.id.hex(), "--verdict", "fine", "--note", "n") == 2
    assert office.run("review", question.id.hex(), "--verdict", "in_order", "--note", "cholera in Haizhu") == 0
    capsys.readouterr()
    assert office.run("review") == 0
    assert capsys.readouterr().out == "nothing waits for a decision\n"
    assert office.city.findings() == []


def test_a_hospital_s_admission_is_ended_and_given_again(office: Office, tmp_path: Path) -> None:
    uri = "kapok://hospital/h01"
    assert office.run("end", "kapok://auditor/gz", "--reason", "no") == 2
    assert office.run("end", uri, "--reason", "merged") == 0
    assert uri not in office.view().authority.hospitals()
    (tmp_path / "again.json").write_bytes(request_of(office.city, uri, key("h01, new key")))
    assert office.run("admit", str(tmp_path / "again.json"), "--yes") == 0
    assert uri in office.view().authority.hospitals()
    assert office.city.findings() == []


def request_of(city: City, uri: str, made: SigningKey) -> bytes:
    licence = st.Licence(legal_name=f"legal name of {uri}", number=f"licence of {uri}")
    return city.sign(city.key_add(uri, "identity", made, licence), made)


def test_what_the_ledger_refuses_or_nobody_can_reach_is_could_not_and_a_wrong_id_is_usage(office: Office, tmp_path: Path) -> None:
    assert office.run("revoke", "0" * 64, "--reason", "no such approval") == 3
    assert office.run("approve", "not an id") == 2
    config = (office.home / "config.toml").read_text()
    (office.home / "config.toml").write_text(config.replace("link_address", "other_address"))
    assert office.run("review") == 3
