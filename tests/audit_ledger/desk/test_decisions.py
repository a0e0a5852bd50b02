"""The auditor's decisions over the wire: admit, approve, reject, revoke, hold, review; what is logged is what was decided."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from audit_ledger.decide import is_read_out
from audit_ledger.main import run
from audit_ledger.party.enrol import key_request
from audit_ledger.party.home import Home
from audit_ledger.view import LedgerView
from protocols import statements as st
from protocols.clock import stamp
from protocols.identity import fingerprint
from tests.support.certificates import Authority
from tests.support.city import AUDITOR, BUREAU, COORDINATOR, ORIGIN, City, Question
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


def test_what_the_ledger_refuses_or_nobody_can_reach_is_could_not_and_a_wrong_id_is_usage(office: Office, tmp_path: Path) -> None:
    assert office.run("revoke", "0" * 64, "--reason", "no such approval") == 3
    assert office.run("approve", "not an id") == 2
    config = (office.home / "config.toml").read_text()
    (office.home / "config.toml").write_text(config.replace("link_address", "other_address"))
    assert office.run("review") == 3
