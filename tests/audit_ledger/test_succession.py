"""Keys over time: who may replace which key, what an old key is worth then, and commands that a crash leaves able to go on."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from audit_ledger.bundle import verify_answer
from audit_ledger.errors import LedgerError
from audit_ledger.findings import Rule
from audit_ledger.init import Share, combine, split
from audit_ledger.log import LogStore
from audit_ledger.main import run
from audit_ledger.party.home import Home
from audit_ledger.serve import open_witness
from audit_ledger.succession import hand_over_identity, successor
from audit_ledger.view import LedgerView
from audit_ledger.witness import AddCheckpoint
from coordinator.client.settings import Settings
from coordinator.config import Config
from coordinator.main import app as coordinator
from hospital_node.config import Config as NodeConfig
from protocols import statements as st
from protocols.canonical import b64
from protocols.identity import SigningKey, fingerprint
from tests.support.certificates import Authority
from tests.support.city import AUDITOR, BUREAU, COORDINATOR, EMERGENCY, ORIGIN, City, Question, key
from tests.support.desk import CityDesk, serve_desk
from tests.support.enrolment import open_door

H1, H2 = "kapok://hospital/h01", "kapok://hospital/h02"
NEW = key("a successor")


@pytest.fixture
def city(tmp_path: Path) -> Iterator[City]:
    made = City(tmp_path / "city", now=int(time.time()))
    yield made
    made.close()


def succession(city: City, uri: str, *signers: SigningKey, **changes: object) -> bytes:
    licence = None if uri == COORDINATOR else st.Licence(legal_name=f"legal name of {uri}", number=f"licence of {uri}")
    add = city.key_add(uri, "identity", NEW, licence, outbreak=uri == EMERGENCY).model_copy(update=changes)
    return city.sign(add, NEW, *signers)


def found(city: City, entry: bytes) -> set[Rule]:
    return {each.rule for each in city.view().apply(entry)}


# -- the rules ---------------------------------------------------------------------------------------------------------


def test_an_identity_key_hands_over_to_its_successor_without_the_auditor(city: City) -> None:
    old = {
        H1: city.hospitals[H1].identity,
        BUREAU: city.bureau,
        EMERGENCY: city.asker("outbreak")[1],
        COORDINATOR: city.coordinator,
    }
    for uri, signer in old.items():
        assert found(city, succession(city, uri, signer)) == set(), uri
        assert found(city, succession(city, uri)) == {Rule.SIGNATURE}, uri
        assert found(city, succession(city, uri, city.hospitals[H2].identity)) == {Rule.SIGNATURE}, uri
    assert found(city, succession(city, COORDINATOR, city.root)) == set(), "where the old key is lost"
    assert found(city, succession(city, COORDINATOR, city.approval)) == {Rule.SIGNATURE}
    assert found(city, succession(city, "kapok://coordinator/other", city.root)) == {Rule.ROLE}


def test_a_successor_changes_nothing_else_about_its_party(city: City) -> None:
    other = st.Licence(legal_name="another hospital", number="another licence")
    assert found(city, succession(city, H1, city.hospitals[H1].identity, licence=other)) == {Rule.SIGNATURE}
    assert found(city, succession(city, BUREAU, city.bureau, outbreak=True)) == {Rule.SIGNATURE}
    assert found(city, succession(city, H1, city.approval, licence=other)) == set(), "that takes a new admission"


def test_after_the_succession_the_old_key_says_nothing_and_hands_over_no_more(city: City) -> None:
    hospital = city.hospitals[H1]
    city.log_entry(succession(city, H1, hospital.identity))
    city.now += 1
    assert found(city, city.sign(city.policy_of(hospital), hospital.identity)) == {Rule.SIGNATURE}
    assert found(city, city.sign(city.policy_of(hospital), NEW)) == set()
    third = key("a third")
    licence = st.Licence(legal_name=f"legal name of {H1}", number=f"licence of {H1}")
    thief = city.sign(city.key_add(H1, "identity", third, licence), third, hospital.identity)
    assert found(city, thief) == {Rule.SIGNATURE}


def test_a_revoked_key_names_no_successor(city: City) -> None:
    hospital = city.hospitals[H1]
    city.revoke_key(H1, hospital.identity.public)
    assert found(city, succession(city, H1, hospital.identity)) == {Rule.SIGNATURE}


def test_questions_go_on_with_new_keys_of_hospital_bureau_coordinator_and_service(city: City) -> None:
    city.log_entry(succession(city, COORDINATOR, city.coordinator))
    city.coordinator = NEW
    hospital, made, service = city.hospitals[H1], key("h01, successor"), key("service, successor")
    licence = st.Licence(legal_name=f"legal name of {H1}", number=f"licence of {H1}")
    city.log_entry(city.sign(city.key_add(H1, "identity", made, licence), made, hospital.identity))
    hospital.identity = made
    city.log_entry(city.sign(city.key_add(AUDITOR, "service", service), service, city.root))
    city.revoke_key(AUDITOR, city.service.public)
    city.service = service
    question = Question(city, city.opener())
    answer = question.answer(question.live())
    assert city.findings() == []
    assert verify_answer(answer.model_dump_json().encode(), city.trust, city.now).problems == []


def test_a_hospital_leaves_and_comes_back_with_its_account(city: City) -> None:
    opener = city.opener()
    first = Question(city, opener)
    first.live()
    price = city.view().accounts[H1].totals[("surveillance", "2026-11")]
    city.revoke_key(H1, city.hospitals[H1].identity.public)
    gone = Question(city, opener, audience=[uri for uri in sorted(city.hospitals) if uri != H1])
    gone.live([uri for uri in sorted(city.hospitals) if uri != H1])
    made = key("h01, back again")
    city.log_entry(city.admission(H1, made))
    city.hospitals[H1].identity = made
    Question(city, opener).live()
    assert city.findings() == []
    account = city.view().accounts[H1]
    assert (account.sequence, account.totals[("surveillance", "2026-11")]) == (2, 2 * price), "budgets outlive an absence"


# -- the commands ------------------------------------------------------------------------------------------------------


@pytest.fixture
def office(city: City, tmp_path: Path) -> Iterator[Home]:
    ca, desk = Authority(), CityDesk(city)
    home = ca.equip(tmp_path / "A", AUDITOR)
    server, port = serve_desk(desk, ca.equip(tmp_path / "C", COORDINATOR))
    for name, made in (("approval", city.approval), ("service", city.service), ("root", city.root), ("witness", city.witness_key)):
        home.write_secret(f"keys/{name}.key", made.seed())
    home.write("trust.policy", city.trust.encode())
    text = f'uri = "{AUDITOR}"\nname = "gz"\ncoordinator = "{COORDINATOR}"\nlink_address = "127.0.0.1:{port}"\n'
    home.write("config.toml", text.encode())
    yield home
    server.stop(0)


@pytest.mark.wire
def test_the_auditor_replaces_its_keys_by_a_command(city: City, office: Home, capsys: pytest.CaptureFixture[str]) -> None:
    for use, old in (("approval", city.approval), ("service", city.service)):
        assert run(["rotate", use, "--home", str(office.path)]) == 0
        active = city.view().authority.active(AUDITOR, use)
        assert active is not None
        assert active.key == office.key(use).public != old.public
        assert city.view().authority.keys[old.public].until is not None
        assert not office.has(f"keys/{use}.next.key")
    assert run(["hold", "--on", "--reason", "the new key speaks", "--home", str(office.path)]) == 0
    assert city.findings() == []


@pytest.mark.wire
def test_one_approver_never_counts_as_two_while_its_key_is_replaced(city: City, office: Home) -> None:
    before = city.log.size
    assert run(["rotate", "approval", "--home", str(office.path)]) == 0
    for size in range(before, city.log.size + 1):
        view = LedgerView(city.trust.entry0)
        for entry in city.log.entries(0, size):
            view.apply(entry)
        approval = st.Approval(**city.head(AUDITOR), target="ab" * 32, until=city.head(AUDITOR)["at"])
        both = st.parse(city.sign(approval, city.approval, office.key("approval")))
        assert view.authority.approvers(both) <= 1, f"after entry {size - 1}"


@pytest.mark.wire
def test_a_witness_goes_on_from_its_memory_under_its_new_key(city: City, office: Home, capsys: pytest.CaptureFixture[str]) -> None:
    note, before = city.log.checkpoint_covering(city.log.size), office.key("witness").public

    def cosigned() -> tuple[int, bytes]:
        witness = open_witness(office)
        answer = witness.add_checkpoint(AddCheckpoint(0, tuple(city.log.consistency(0, city.log.size)), note).encode())
        witness.close()
        return answer.status, answer.body

    assert cosigned()[0] == 200
    assert run(["rotate", "witness", "--home", str(office.path)]) == 0
    assert office.key("witness").public != before
    assert b64(b"\x04" + office.key("witness").public) in capsys.readouterr().out
    assert cosigned() == (409, f"{city.log.size}\n".encode()), "a new key is no new memory"


@pytest.mark.wire
def test_a_hospital_and_a_bureau_replace_their_keys_by_a_command(city: City, tmp_path: Path) -> None:
    ca = Authority()
    server, port = serve_desk(CityDesk(city), ca.equip(tmp_path / "C2", COORDINATOR))
    node, bureau, link = ca.equip(tmp_path / "h01", H1), ca.equip(tmp_path / "bureau", BUREAU), f"127.0.0.1:{port}"
    for home, made in ((node, city.hospitals[H1].identity), (bureau, city.bureau)):
        home.write_secret("keys/identity.key", made.seed())
        home.write("trust.policy", city.trust.encode())
    named = {"uri": H1, "origin": ORIGIN, "coordinator": COORDINATOR, "link_address": link}
    node.write("config.toml", NodeConfig.model_validate({**named, "legal_name": "legal", "licence": "1"}).text().encode())
    Settings(BUREAU, ORIGIN, COORDINATOR, link).write(bureau)
    programs = {H1: ("hospital_node.main", node), BUREAU: ("coordinator.client.main", bureau)}
    for uri, (module, home) in programs.items():
        before = home.key("identity").public
        command = [sys.executable, "-m", module, "rotate", "--home", str(home.path), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        active = city.view().authority.active(uri)
        assert active is not None
        assert active.key == home.key("identity").public != before
        assert json.loads(done.stdout) == {"uri": uri, "fingerprint": active.fingerprint}
    assert city.findings() == []
    server.stop(0)


@pytest.mark.wire
def test_a_party_that_left_comes_back_by_a_command_with_its_account(city: City, tmp_path: Path) -> None:
    Question(city, city.opener()).live()
    ca = Authority()
    server, port = serve_desk(CityDesk(city), ca.equip(tmp_path / "C2", COORDINATOR))
    node, link, old = ca.equip(tmp_path / "h01", H1), f"127.0.0.1:{port}", city.hospitals[H1].identity
    node.write_secret("keys/identity.key", old.seed())
    node.write("trust.policy", city.trust.encode())
    named = {"uri": H1, "origin": ORIGIN, "coordinator": COORDINATOR, "link_address": link}
    node.write("config.toml", NodeConfig.model_validate({**named, "legal_name": "legal", "licence": "1"}).text().encode())

    def rotate(*more: object) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "hospital_node.main", "rotate", "--home", node.path, "--json", *more]
        return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)

    with open_door() as door:
        assert "its key is in force" in rotate("--invite", door.invite(H1, tmp_path)).stdout
        city.revoke_key(H1, old.public)
        assert rotate().returncode != 0
        assert "expected an invitation for this party" in rotate("--invite", door.invite(H2, tmp_path)).stdout
        assert (node.key("identity").public, door.requests) == (old.public, []), "nothing has changed yet"
        done = rotate("--invite", door.invite(H1, tmp_path))
    assert done.returncode == 0, done.stderr
    (request,) = door.requests
    made = node.key("identity")
    assert json.loads(done.stdout) == {"uri": H1, "fingerprint": fingerprint(made.public)}
    assert not node.has("keys/identity.next.key")
    assert found(city, request) == {Rule.SIGNATURE}, "it asks, and admits itself to nothing"
    city.log_entry(st.parse(request).envelope.signed([city.approval]).encode())
    city.hospitals[H1].identity = made
    Question(city, city.opener()).live()
    assert (city.findings(), city.view().accounts[H1].sequence) == ([], 2)
    server.stop(0)


@pytest.mark.wire
def test_the_root_takes_on_another_approver(city: City, office: Home, tmp_path: Path) -> None:
    second, request = key("approver two"), tmp_path / "approver.json"
    add = city.key_add(AUDITOR, "approval", second)
    request.write_bytes(city.sign(add, second))
    assert run(["approver", str(request), "--home", str(office.path)]) == 0
    keys = [each.key for each in city.view().authority.keys.values() if (each.use, each.until) == ("approval", None)]
    assert keys == [city.approval.public, second.public]
    request.write_bytes(city.sign(city.policy_of(city.hospitals[H1]), second))
    assert run(["approver", str(request), "--home", str(office.path)]) == 2
    assert run(["approver", "--home", str(office.path)]) == 2
    assert city.findings() == []


@pytest.mark.wire
def test_an_approver_makes_a_folder_of_its_own_and_a_request_that_the_root_can_sign(city: City, tmp_path: Path) -> None:
    place, second = tmp_path / "B", ["approver", "--home", str(tmp_path / "B"), "--invite"]
    with open_door() as door:
        assert run([*second, str(door.invite(AUDITOR, tmp_path, "twice"))]) == 3, "a token that is not good"
        assert run([*second, str(door.invite(BUREAU, tmp_path))]) == 2
        assert run([*second, str(door.invite(AUDITOR, tmp_path))]) == 0, "it goes on with the key it made"
        assert run([*second, str(door.invite(AUDITOR, tmp_path))]) == 2, "a folder is one party's"
    envelope = st.parse((place / "approver.json").read_bytes()).envelope
    assert found(city, envelope.signed([city.root]).encode()) == set()
    assert found(city, envelope.encode()) == {Rule.SIGNATURE}
    assert Home(place).config()["coordinator"] == COORDINATOR


@pytest.mark.wire
def test_without_the_root_key_nothing_is_replaced_and_shares_bring_it_back(city: City, office: Home, tmp_path: Path) -> None:
    shares = split(city.root, 2, 3)
    (office.path / "keys" / "root.key").unlink()
    assert run(["rotate", "approval", "--home", str(office.path)]) == 2
    assert office.key("approval").public == city.approval.public
    files = []
    for each in shares[:2]:
        path = tmp_path / f"share-{each.number}"
        path.write_text(each.encode())
        files += ["--restore", str(path)]
    assert combine([Share.parse(each.encode()) for each in shares[1:]]).public == city.root.public
    assert run(["init", *files, "--home", str(office.path)]) == 0
    assert run(["rotate", "approval", "--home", str(office.path)]) == 0
    assert city.findings() == []


def test_a_hand_over_that_a_crash_interrupted_goes_on_where_it_was(city: City, tmp_path: Path) -> None:
    home, hospital = Home(tmp_path / "h01"), city.hospitals[H1]
    home.write_secret("keys/identity.key", hospital.identity.seed())

    def lost(_: bytes) -> None:
        raise LedgerError("the line broke")

    def done_but_reported_failed(entry: bytes) -> None:
        city.log_entry(entry)
        raise LedgerError("the line broke")

    def hand_over(send: object) -> str:
        assert callable(send)
        return hand_over_identity(home, H1, city.head(H1), city.view().authority, send)

    with pytest.raises(LedgerError, match="the line broke"):
        hand_over(lost)
    made = successor(home, "identity").public
    assert home.key("identity").public == hospital.identity.public, "the old key is the key until the ledger has the new one"
    with pytest.raises(LedgerError, match="the line broke"):
        hand_over(done_but_reported_failed)
    hand_over(lost)  # nothing is sent: the ledger has it
    assert home.key("identity").public == made
    active = city.view().authority.active(H1)
    assert active is not None
    assert active.key == made
    assert city.findings() == []
    home.write_secret("keys/identity.next.key", SigningKey.generate().seed())
    city.revoke_key(H1, made)
    with pytest.raises(LedgerError, match="ask the auditor for a new admission"):
        hand_over(city.log_entry)


def test_the_coordinator_replaces_its_key_while_it_is_stopped(city: City) -> None:
    home = Home(city.path)
    home.write(
        "config.toml", Config(COORDINATOR, ORIGIN, city.trust.policy.logs[0].key.vkey.encode(), "", "", "", "http://w").encode()
    )
    home.write("trust.policy", city.trust.encode())
    for name, made in (("identity", city.coordinator), ("log", city.log_key)):
        home.write_secret(f"keys/{name}.key", made.seed())
    assert CliRunner().invoke(coordinator, ["rotate", "--home", str(city.path)]).exit_code == 3, "the log is held by a running one"
    city.log.close()
    assert CliRunner().invoke(coordinator, ["rotate", "--home", str(city.path)]).exit_code == 0
    city.log = LogStore(city.path / "log.sqlite", city.folder, city.trust.policy.logs[0].key, city.log_key)
    active = city.view().authority.active(COORDINATOR)
    assert active is not None
    assert active.key == home.key("identity").public != city.coordinator.public
    assert city.findings() == []
