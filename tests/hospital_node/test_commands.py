"""`kapok-node` as a person at the hospital runs it: in process, on a folder, beside a journal that a node has written."""

import json
import re
import stat
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from xml.etree import ElementTree

import click
import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from audit_ledger.party.enrol import Invitation
from audit_ledger.party.help import in_one_language
from audit_ledger.party.home import Home
from audit_ledger.party.on_demand import Unloaded
from hospital_node.main import app
from hospital_node.policy import default_policy, read_peers
from protocols.contract import CONTRACT
from tests.hospital_node.support.nodes import Nodes, write_records
from tests.support.city import COORDINATOR, ORIGIN

PERSONAL = ("Zhang San", "440103198001011234")


def kapok_node(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments], env={"LANG": "en_US.UTF-8", "COLUMNS": "200"})


@pytest.fixture
def invitation(tmp_path: Path) -> Path:
    made = Invitation(
        uri="kapok://hospital/h01",
        origin=ORIGIN,
        coordinator=COORDINATOR,
        link_address="127.0.0.1:1",
        enrol_address="127.0.0.1:1",
        ca_pem="pem",
        token="once",
    )
    (tmp_path / "invite.json").write_text(made.model_dump_json())
    return tmp_path / "invite.json"


def _init(home: Path, invitation: Path) -> Result:
    return kapok_node("init", "--home", home, "--invite", invitation, "--legal-name", "第一医院", "--licence", "PDY1")


def test_init_makes_a_folder_whose_secrets_are_for_the_owner_and_prints_the_fingerprint(tmp_path: Path, invitation: Path) -> None:
    home = tmp_path / "home"
    result = _init(home, invitation)
    assert result.exit_code == 0, result.output
    assert re.search(r"[0-9a-f]{64}", result.output.replace("\n", ""))
    for secret in ("keys/identity.key", "invitation.json"):
        assert stat.S_IMODE((home / secret).stat().st_mode) == 0o600
    assert _init(home, invitation).exit_code == 2, "a second init changes nothing"


def test_enroll_without_a_coordinator_fails_with_a_code_and_no_traceback(tmp_path: Path, invitation: Path) -> None:
    _init(tmp_path / "home", invitation)
    result = kapok_node("enroll", "--home", tmp_path / "home", "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["error"].startswith("enrolment")
    assert "Traceback" not in result.output


def test_the_default_policy_prints_the_numbers_of_the_contract() -> None:
    result = kapok_node("policy", "--default")
    assert result.output == default_policy()
    for number in (CONTRACT.order, CONTRACT.floor, CONTRACT.max_cells, "1.4569", "0.6", "0.3", "0.1", "0.000001"):
        assert str(number) in result.output


@pytest.mark.parametrize("command", ["status", "budget", "questions", "policy", "pause", "resume", "run", "doctor", "peers"])
def test_a_command_on_an_empty_folder_says_what_to_do(command: str, tmp_path: Path) -> None:
    result = kapok_node(command, "--home", tmp_path / "nowhere")
    assert result.exit_code in {2, 3}
    assert "init" in result.output + result.stderr or "policy --default" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ("order = 8", "order = 16", "order: expected 8, the order of every account in the city, got 16"),
        ('epsilon = "3"', 'epsilon = "1"', "order 8 leaves nothing"),
        ('budget = "1.4569"', 'budget = "1.4570"', "budget"),
        ("floor = 4", "floor = 3", "floor"),
        ('"visits", ', '"nowhere", ', "nowhere"),
        ('research = "0.3"', 'research = "0.4"', "shares"),
        ('epsilon = "3"', "epsilon = 3", "epsilon"),
        ("order = 8", "order = ", "not TOML"),
        ("order = 8", "order = 8\nextra = 1", "extra"),
    ],
)
def test_a_wrong_policy_is_named_by_its_field(before: str, after: str, named: str, tmp_path: Path, invitation: Path) -> None:
    _init(tmp_path / "home", invitation)
    assert before in default_policy()
    (tmp_path / "home" / "policy.toml").write_text(default_policy().replace(before, after, 1))
    result = kapok_node("policy", "--home", tmp_path / "home")
    assert result.exit_code == 2
    assert named in result.stderr


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """A city in which one question was answered and one refused; the first node's folder has what a node's folder has."""
    world = Nodes(tmp_path_factory.mktemp("asked"), 4)
    node = world.first()
    asking = world.ask()
    asking.all_ready()
    world.ask(entry_fields={"variances": ("1.0000",)}).offer(node)
    (node.home / "trust.policy").write_bytes(world.city.trust.encode())
    (node.home / "config.toml").write_text(node.answering.config.text())
    seed = world.city.hospitals[node.uri].identity.seed()
    Home(node.home).write_secret("keys/identity.key", seed)
    yield world
    world.close()


def test_status_says_who_and_how_far(asked: Nodes) -> None:
    found = json.loads(kapok_node("status", "--home", asked.first().home, "--json").stdout)
    assert found["uri"] == asked.first().uri
    assert found["admitted"] is True
    assert found["followed"] == asked.first().answering.follower.size
    assert (found["questions"], found["generation"], found["peers"]) == (2, "g00000001", 4)


def test_questions_are_listed_in_words_with_price_and_outcome(asked: Nodes) -> None:
    rows = json.loads(kapok_node("questions", "--home", asked.first().home, "--json").stdout)
    assert sorted((row["outcome"], tuple(row["reasons"])) for row in rows) == [("ready", ()), ("refused", ("budget.exhausted",))]
    assert all("district" in row["words"] and float(row["price"]) > 0 for row in rows)
    shown = kapok_node("questions", "--home", asked.first().home, "--lang", "zh").output
    assert "就诊" in shown


def test_budget_shows_each_month_with_its_epsilon(asked: Nodes) -> None:
    rows = json.loads(kapok_node("budget", "--home", asked.first().home, "--json").stdout)
    assert [row["block"] for row in rows] == ["2026-10", "2026-11"]
    assert all(0 < float(row["epsilon"]) < 3 for row in rows)
    assert "█" in kapok_node("budget", "--home", asked.first().home).output


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_budget_is_drawn_beside_its_table(asked: Nodes, tmp_path: Path, lang: str) -> None:
    home = asked.first().home
    for name in ("b.png", "b.svg"):
        told = kapok_node("budget", "--home", home, "--chart", tmp_path / name, "--lang", lang, "--json")
        assert [row["block"] for row in json.loads(told.stdout)] == ["2026-10", "2026-11"]
        assert name in told.stderr
    assert (tmp_path / "b.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert ElementTree.parse(tmp_path / "b.svg").getroot().tag.endswith("svg")


@pytest.mark.parametrize(
    ("name", "told"), [("b.pdf", ".png or .svg"), ("none/b.png", "no such folder"), ("folder.png", "directory")]
)
def test_a_chart_that_cannot_be_written_is_named(asked: Nodes, tmp_path: Path, name: str, told: str) -> None:
    (tmp_path / "folder.png").mkdir()
    failed = kapok_node("budget", "--home", asked.first().home, "--chart", tmp_path / name)
    assert (failed.exit_code, "Traceback" in failed.stderr) == (2, False)
    assert told in failed.stderr


def test_pause_stops_the_running_node_and_resume_lets_it_answer(asked: Nodes) -> None:
    node = asked.first()
    assert kapok_node("pause", "--home", node.home).exit_code == 0
    assert node.answering.is_paused
    assert asked.ask().offer(node).refusals
    assert kapok_node("resume", "--home", node.home).exit_code == 0
    assert asked.ask().offer(node).is_ready


def test_peers_are_accepted_by_fingerprint_and_an_unknown_one_is_not(asked: Nodes) -> None:
    home = asked.first().home
    (home / "peers.txt").unlink()
    rows = json.loads(kapok_node("peers", "--home", home, "--json").stdout)
    assert len(rows) == 3
    assert not any(row["accepted"] for row in rows)
    assert kapok_node("peers", "--home", home, "accept", rows[0]["fingerprint"]).exit_code == 0
    assert read_peers(home) == {rows[0]["fingerprint"]}
    assert kapok_node("peers", "--home", home, "accept", "0" * 64).exit_code == 2
    assert kapok_node("peers", "--home", home, "--accept-admitted").exit_code == 0
    assert len(read_peers(home)) == 3


def test_backup_writes_a_new_file_and_never_over_an_old_one(asked: Nodes, tmp_path: Path) -> None:
    home = asked.first().home
    assert kapok_node("backup", tmp_path / "copy.sqlite", "--home", home).exit_code == 0
    assert kapok_node("backup", tmp_path / "copy.sqlite", "--home", home).exit_code == 2


def test_tables_and_doctor_speak_of_counts_and_never_of_people(asked: Nodes, tmp_path: Path) -> None:
    home = asked.first().home
    write_records(home / "records", [(1, date(2026, 10, 1), PERSONAL[0])], "g00000002")
    result = kapok_node("tables", "--home", home, "--json")
    assert {row["name"]: row["rows"] for row in json.loads(result.stdout)["tables"]}["person"] == 1
    checks = kapok_node("doctor", "--home", home, "--json")
    found = {row["name"].split()[0].rstrip(","): row["is_well"] for row in json.loads(checks.stdout)}
    assert found["files"] and found["trust"] and found["disk"] and found["columns"]  # noqa: PT018
    assert found["certificate"] is False
    assert checks.exit_code == 3
    assert not any(secret in result.output + checks.output for secret in PERSONAL)


def test_the_policy_is_printed_as_the_file_it_is(tmp_path: Path, invitation: Path) -> None:
    """A renderer that reads `[shares]` as markup prints a policy that is none."""
    _init(tmp_path / "home", invitation)
    shown = kapok_node("policy", "--home", tmp_path / "home").stdout
    assert shown.strip() == (tmp_path / "home" / "policy.toml").read_text("utf-8").strip()


def test_peers_are_listed_with_whole_fingerprints_and_options_behind_the_command_count(asked: Nodes) -> None:
    home = asked.first().home
    rows = json.loads(kapok_node("peers", "list", "--home", home, "--json").stdout)
    shown = kapok_node("peers", "--home", home, "list", "--lang", "zh").stdout
    assert all(row["fingerprint"] in shown for row in rows)
    assert "已接受" in shown


def test_a_help_page_is_in_one_language() -> None:
    for is_chinese in (False, True):
        command = in_one_language(typer.main.get_command(app), is_chinese)
        for each in _all_below(command):
            texts = [str(each.help), *(str(getattr(param, "help", "") or "") for param in each.params)]
            assert all(bool(re.search(r"[\u4e00-\u9fff]", text)) == is_chinese for text in texts if text), each.name


def _all_below(command: click.Command) -> Iterator[click.Command]:
    yield command
    for each in command.commands.values() if isinstance(command, click.Group) else ():
        if isinstance(each, Unloaded):
            each.read_help()
            yield each
            each = each.load()
        yield from _all_below(each)


def test_a_mistake_about_files_is_named_and_is_no_internal_error(asked: Nodes, tmp_path: Path) -> None:
    home = asked.first().home
    (tmp_path / "file").write_bytes(b"")
    assert "Not a directory   [node.config]" in kapok_node("status", "--home", tmp_path / "file").stderr
    assert "no such folder" in kapok_node("backup", tmp_path / "nowhere" / "j", "--home", home).stderr
    Home(home).write("tls/cert.pem", b"")
    assert "enrolled already" in kapok_node("enroll", "--home", home).stderr
    told = kapok_node("import", "csv", tmp_path / "file", "--mapping", tmp_path / "nope", "--home", home)
    assert "No such file or directory" in told.stderr


def test_every_command_has_an_example() -> None:
    for command in (
        "init",
        "enroll",
        "run",
        "status",
        "doctor",
        "policy",
        "budget",
        "questions",
        "tables",
        "pause",
        "resume",
        "backup",
    ):
        assert "Example: kapok-node" in kapok_node(command, "--help").output, command
