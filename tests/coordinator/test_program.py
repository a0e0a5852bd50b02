"""`kapok-coordinator` at the command line: how a log is founded, exit codes, one line for a mistake, and never a traceback."""

import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from audit_ledger.init import create_auditor, found
from audit_ledger.party.home import Home
from audit_ledger.tree import leaf_hash
from audit_ledger.words import Words
from coordinator import main
from coordinator.config import Config
from coordinator.main import app
from coordinator.serve import open_log
from protocols.clock import stamp
from protocols.identity import SigningKey
from protocols.statements import Hold
from simulations.processes import Services
from simulations.town import Ports
from tests.support.http import ask

ORIGIN = "gz.kapok.test/2026"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


def told(result: Result) -> str:
    """What a person sees; fails if it is a traceback."""
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result.output


@pytest.fixture
def auditor(tmp_path: Path) -> Home:
    home = Home(tmp_path / "auditor")
    create_auditor(home, "gz", 3, 2)
    return home


@pytest.fixture
def place(tmp_path: Path, auditor: Home) -> Path:
    """A coordinator's folder with its draft."""
    made = tmp_path / "coordinator"
    assert run("init", "--home", made, "--origin", ORIGIN, "--auditor-card", auditor.path / "auditor.json").exit_code == 0
    return made


def founding_file(auditor: Home, draft: Path, to: Path) -> Path:
    to.write_text(json.dumps([each.decode() for each in found(auditor, draft.read_bytes()).entries]))
    return to


# -- founding ----------------------------------------------------------------------------------------------------------


def test_the_countersigned_draft_founds_the_log_and_its_hash_is_what_everybody_pins(place: Path, auditor: Home) -> None:
    founding = founding_file(auditor, place / "founding" / "draft.json", place / "founding.json")
    assert run("init", "--home", place, "--founding", founding).exit_code == 0
    trust = Home(place).trust()
    assert trust.entry0 == leaf_hash((place / "founding" / "entry-00.json").read_bytes())
    assert len(list((place / "founding").glob("entry-*.json"))) == 3


def without_auditor(entries: list[str]) -> list[str]:
    envelope = json.loads(entries[0])
    return [json.dumps({**envelope, "signatures": envelope["signatures"][:1]}), *entries[1:]]


SPOILT: dict[str, Callable[[list[str]], object]] = {
    "no list": lambda _: {"entries": []},
    "numbers": lambda _: [1, 2],
    "nothing": lambda _: [],
    "not envelopes": lambda _: ["hello"],
    "without the auditor's signature": without_auditor,
    "in another order": lambda entries: entries[::-1],
    "an entry twice": lambda entries: [*entries, entries[-1]],
}


@pytest.mark.parametrize("spoilt", SPOILT)
def test_a_spoilt_founding_file_founds_nothing(place: Path, auditor: Home, spoilt: str) -> None:
    founding = founding_file(auditor, place / "founding" / "draft.json", place / "founding.json")
    founding.write_text(json.dumps(SPOILT[spoilt](json.loads(founding.read_text()))))
    result = run("init", "--home", place, "--founding", founding)
    assert result.exit_code == 3
    assert "coordinator.founding" in told(result)
    assert not (place / "trust.policy").exists()


def test_the_founding_of_another_coordinator_is_not_ours(place: Path, auditor: Home, tmp_path: Path) -> None:
    other = tmp_path / "other"
    run("init", "--home", other, "--origin", ORIGIN, "--auditor-card", auditor.path / "auditor.json")
    founding = founding_file(auditor, other / "founding" / "draft.json", tmp_path / "founding.json")
    result = run("init", "--home", place, "--founding", founding)
    assert result.exit_code == 3
    assert "names another coordinator key" in told(result)


def test_keys_are_never_made_twice_in_one_folder(place: Path, auditor: Home) -> None:
    before = (place / "keys" / "log.key").read_bytes()
    result = run("init", "--home", place, "--origin", ORIGIN, "--auditor-card", auditor.path / "auditor.json")
    assert result.exit_code == 3
    assert "not overwritten" in told(result).replace("\n", " ")
    assert (place / "keys" / "log.key").read_bytes() == before


# -- mistakes ----------------------------------------------------------------------------------------------------------


def test_a_log_without_entry_0_does_not_run_and_says_what_is_missing(place: Path) -> None:
    result = run("run", "--home", place)
    assert result.exit_code == 3
    assert "coordinator.not_founded" in told(result)


def test_what_is_missing_is_said_in_chinese_to_who_reads_it(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "WORDS", Words(is_chinese=True))
    assert "账本还没有首条：请审计方会签 founding/draft.json" in told(run("run", "--home", place))


MISTAKES: dict[str, tuple[list[str], int]] = {
    "a folder that is none": (["status", "--home", "{tmp}/nowhere"], 3),
    "no card": (["init", "--home", "{tmp}/new", "--origin", ORIGIN, "--auditor-card", "{tmp}/none.json"], 3),
    "no origin": (["init", "--home", "{tmp}/new", "--auditor-card", "{tmp}/auditor/auditor.json"], 2),
    "a name with a space": (
        ["init", "--home", "{tmp}/new", "--origin", ORIGIN, "--auditor-card", "{tmp}/auditor/auditor.json", "--name", "a b"], 3),
    "a role that is none": (["enroll", "patient", "p1", "--home", "{home}", "--out", "{tmp}/i.json"], 3),
    "a name that is none": (["enroll", "hospital", "H 1", "--home", "{home}", "--out", "{tmp}/i.json"], 3),
    "an invitation into nowhere": (["enroll", "hospital", "h1", "--home", "{home}", "--out", "{tmp}/no/where/i.json"], 3),
    "a founding file that is not there": (["init", "--home", "{home}", "--founding", "{tmp}/none.json"], 3),
    "a backup onto a folder": (["backup", "--home", "{home}", "--out", "{tmp}"], 3),
    "a command that is none": (["frobnicate"], 2),
    "a ledger that is not there": (["nodes", "--home", "{home}"], 3),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_message_and_an_exit_code(place: Path, tmp_path: Path, mistake: str) -> None:
    arguments, code = MISTAKES[mistake]
    result = run(*(each.format(tmp=tmp_path, home=place) for each in arguments))
    assert result.exit_code == code, result.output
    assert told(result)


SETTINGS = {
    "not TOML": "uri = ",
    "a missing setting": "",
    "an unknown deadline": "\nfaster_s = 1.0\n",
    "a deadline in words": 'ready_s = "soon"\n',
    "a deadline below zero": "ready_s = -1.0\n",
    "a list for a section": "",
    "a witness that is no URL": "",
    "a log key that is none": "",
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_wrong_setting_is_named_without_a_traceback(place: Path, auditor: Home, setting: str) -> None:
    founding = founding_file(auditor, place / "founding" / "draft.json", place / "founding.json")
    assert run("init", "--home", place, "--founding", founding).exit_code == 0
    path = place / "config.toml"
    text = path.read_text()
    changed = {
        "not TOML": "uri = ",
        "a missing setting": text.replace("witness_url", "witness_uri"),
        "a list for a section": text.replace("[timing]", "timing = [1]\n[other]"),
        "a witness that is no URL": text.replace('witness_url = "http:', 'witness_url = "ftp:'),
        "a log key that is none": text.replace(f'log_vkey = "{ORIGIN}', 'log_vkey = "no key'),
        "a deadline in words": text.replace("ready_s = 15.0", SETTINGS[setting]),
        "a deadline below zero": text.replace("ready_s = 15.0", SETTINGS[setting]),
    }.get(setting, text + SETTINGS[setting])
    assert changed != text
    path.write_text(changed)
    result = run("run", "--home", place)
    assert result.exit_code == 3
    assert told(result)


def test_an_invitation_is_for_its_reader_only_and_its_token_is_not_kept(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "h1.json"
    assert run("enroll", "hospital", "h1", "--home", place, "--out", out).exit_code == 0
    assert out.stat().st_mode & 0o077 == 0
    token = json.loads(out.read_text())["token"]
    assert token.encode() not in (place / "register.sqlite").read_bytes()


def test_status_is_one_json_object_for_machines(place: Path) -> None:
    result = run("status", "--home", place, "--json")
    assert json.loads(result.stdout)["questions_open"] == 0


def test_keys_on_disk_are_the_draft_s(place: Path) -> None:
    assert isinstance(Home(place).key("log"), SigningKey)


def test_a_second_coordinator_on_one_log_does_not_start_and_says_why(place: Path, auditor: Home) -> None:
    founding = founding_file(auditor, place / "founding" / "draft.json", place / "founding.json")
    assert run("init", "--home", place, "--founding", founding).exit_code == 0
    first = open_log(Home(place), Config.read(Home(place)))
    try:
        result = run("run", "--home", place)
    finally:
        first.close()
    assert result.exit_code == 3
    assert "is open for writing elsewhere" in told(result)
    assert "[ledger.locked]" in told(result)


def test_a_log_that_stops_ends_the_running_program_with_3_and_says_what_to_do(tmp_path: Path, auditor: Home) -> None:
    place, ports = tmp_path / "running", Ports.free()
    addresses = {"link-listen": ports.link, "enrol-listen": ports.enrol, "opener": ports.opener, "http-listen": ports.witness}
    listens = [text for name, port in addresses.items() for text in (f"--{name}", f"127.0.0.1:{port}")]
    run("init", "--home", place, "--origin", ORIGIN, "--auditor-card", auditor.path / "auditor.json", *listens)
    run("init", "--home", place, "--founding", founding_file(auditor, place / "founding" / "draft.json", tmp_path / "f.json"))
    hold = Hold(log=ORIGIN, at=stamp(int(time.time())), by="kapok://auditor/gz", is_held=True, reason="a test")
    with Services(tmp_path / "logs") as services:
        running = services.start("coordinator", "kapok-coordinator", "run", "--home", place)
        with closing(sqlite3.connect(place / "log.sqlite")) as database:  # another writer
            database.execute("INSERT INTO entry VALUES (3, ?, ?)", (bytes(32), b"not the log's own"))
            database.commit()
        ask(f"http://127.0.0.1:{ports.witness}", "POST", "/add", hold.envelope().signed([auditor.key("approval")]).encode())
        assert running.process is not None
        assert running.process.wait(30) == 3
    assert "has stopped" in running.tail()
    assert "what was acknowledged stands" in running.tail()
    assert "[ledger.stopped]" in running.tail()
    assert "Traceback" not in running.log.read_text()
