"""The program's manners: usage errors with their place, help with examples, two complete languages, enrolment."""

import json
import re
import string
from pathlib import Path

import click
import pytest

import coordinator.client as package
import kapok
from audit_ledger.party.channel import server_name
from audit_ledger.party.home import Home
from audit_ledger.party.on_demand import Unloaded
from coordinator.client import commands, joining, looking
from coordinator.client.city import connect
from coordinator.client.main import COMMANDS, EXAMPLES, program, run
from coordinator.client.sentences import SENTENCES
from coordinator.client.texts import ENGLISH, Say, language
from coordinator.transport_ca import CertificateAuthority
from protocols import statements as st
from protocols.canonical import b64
from protocols.identity import fingerprint
from protocols.query import Language
from protocols.refusal import Reason
from tests.support.city import BUREAU, COORDINATOR, ORIGIN
from tests.support.enrolment import Door, open_door

CHINESE = Say(Language.ZH)
WRONG = "SELECT wek, COUNT(*)\nFROM visit WHERE date >= DATE '2026-01-01' AND date < DATE '2026-02-01' GROUP BY wek"


def _run(*args: str) -> int:
    return run(args, {"LANG": "C.UTF-8"}, connect)


@pytest.mark.parametrize(("lang", "place", "rule", "nearest"), [
    ("en", "line 2, column 6", "table visit: unknown", "nearest valid form: visits"),
    ("zh", "第 2 行第 6 列", "表 visit：未知", "；最接近的有效写法：visits"),
])  # fmt: skip
def test_a_wrong_query_exits_with_2_and_shows_place_rule_and_nearest_form(capsys, lang, place, rule, nearest):
    assert _run("preview", WRONG, "--lang", lang) == 2
    told = capsys.readouterr().err
    assert place in told
    assert rule in told
    assert nearest in told
    assert "[query.unknown_name]" in told
    assert told.count("query.unknown_name") >= 2, "every problem is told, not the first alone"


def test_a_home_or_an_invitation_that_is_no_such_thing_ends_without_a_traceback(capsys, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    assert _run("catalog", "--home", str(tmp_path / "file"), "--json") == 2
    told = capsys.readouterr()
    assert "Not a directory" in told.err
    assert json.loads(told.out)["error"]["exit_code"] == 2
    assert _run("init", "--invite", str(tmp_path), "--legal-name", "CDC", "--licence", "1") == 2
    assert "a folder, expected the invitation file" in capsys.readouterr().err


def test_a_missing_argument_is_json_for_a_program_that_asked_for_json(capsys):
    assert _run("query", "--json") == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "usage"


def test_a_wrong_file_names_its_place(capsys, tmp_path):
    (tmp_path / "a.toml").write_text('table = "visits"\nmeasures = [')
    assert _run("preview", str(tmp_path / "a.toml")) == 2
    assert _run("preview", str(tmp_path / "b.toml")) == 2
    (tmp_path / "c.sql").write_bytes(b"\xff\xfe\x00")
    assert _run("preview", str(tmp_path / "c.sql")) == 2
    told = capsys.readouterr().err
    assert "line 2" in told
    assert "No such file" in told
    assert "Traceback" not in told


GOOD = "SELECT COUNT(*) FROM visits WHERE date >= DATE '2026-01-01' AND date < DATE '2026-02-01'"


@pytest.mark.parametrize(
    "args",
    [
        ("query",),
        ("nothing",),
        ("query", GOOD, "--sd", "many"),
        ("query", GOOD, "--sd", "-1"),
        ("query", GOOD, "--sd", "nan"),
        ("query", GOOD, "--sd", "1", "--epsilon", "1"),
        ("query", GOOD, "--valid", "31d"),
        ("query", GOOD, "--valid", "1 hour"),
        ("query", GOOD, "--clamp", "0"),
        ("query", GOOD, "--home", "/nonexistent/home"),
        ("catalog", "--home", "/nonexistent/home"),
        ("catalog", "--lang", "fr"),
        ("programs", "add", "--title", "x", "--table", "visits", "--max-price", "0", "--until", "2027-01-01"),
        ("programs", "add", "--title", "x", "--table", "visits", "--max-price", "1", "--until", "tomorrow"),
        ("init", "--invite", "/nonexistent.json", "--legal-name", "x", "--licence", "1"),
    ],
)
def test_bad_usage_exits_with_2_and_no_traceback(args, capsys):
    assert _run(*args) == 2
    told = capsys.readouterr()
    assert "Traceback" not in told.err
    assert told.err.strip()


def test_help_of_every_command_has_an_example_and_words_in_the_language():
    for say in (ENGLISH, CHINESE):
        for command in _all_commands(program(say)):
            assert command.name in EXAMPLES
            assert EXAMPLES[str(command.name)] in str(command.epilog)
            assert str(command.help) in {pair[0 if say is CHINESE else 1] for pair in SENTENCES.values()}
            for param in command.params:
                assert not str(getattr(param, "help", "")).startswith("opt."), param.name


def _all_commands(group: click.Command) -> list[click.Command]:
    if not isinstance(group, click.Group):
        return [group]
    loaded = [each.load() if isinstance(each, Unloaded) else each for each in group.commands.values()]
    return [each for command in loaded for each in [command, *_all_commands(command)] if each is not group]


def test_every_command_of_the_modules_can_be_called():
    registered = [each.name for module in (joining, looking, commands) for each in module.app.registered_commands]
    assert sorted([*registered, "programs"]) == sorted(each.name for each in COMMANDS)


def test_help_exits_with_0_in_both_languages(capsys):
    assert _run("query", "--help") == 0
    assert _run("query", "--help", "--lang=zh") == 0
    told = capsys.readouterr().out
    assert "Ask, and wait" in told
    assert "提问并等待" in told


def test_both_languages_say_the_same_with_the_same_facts():
    for text_id, (zh, en) in SENTENCES.items():
        assert _fields(zh) == _fields(en), text_id
        assert re.search(r"[一-鿿]", zh) or not re.search(r"[A-Za-z]", re.sub(r"{\w+}", "", zh)), text_id


def _fields(text: str) -> set[str | None]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None} - {"wanted"} | (
        {"wanted"} if "{wanted" in text else set()
    )


def test_every_code_of_a_refusal_has_a_sentence():
    assert [reason for reason in Reason if f"reason.{reason}" not in SENTENCES] == []


def test_every_sentence_that_is_asked_for_exists():
    source = "\n".join(path.read_text("utf-8") for path in Path(str(package.__path__[0])).glob("*.py"))
    asked = set(re.findall(r'(?:say|note|ENGLISH|BadUsage|NotGiven|Unverified|Unreachable)\(\s*"([a-z_]+\.[a-z_0-9.]+)"', source))
    asked |= set(re.findall(r'help="([a-z_.]+)"', source))
    assert len(asked) > 80
    assert asked - set(SENTENCES) == set()


@pytest.mark.parametrize(
    ("flag", "environ", "wanted"),
    [
        (None, {}, Language.EN),
        (None, {"LANG": "zh_CN.UTF-8"}, Language.ZH),
        (None, {"LANG": "zh_CN.UTF-8", "LC_ALL": "en_US.UTF-8"}, Language.EN),
        ("zh", {"LANG": "en_US.UTF-8"}, Language.ZH),
        ("en", {"LANG": "zh_CN.UTF-8"}, Language.EN),
    ],
)
def test_the_flag_goes_before_the_environment(flag, environ, wanted):
    assert language(flag, environ) is wanted


def test_kapok_exports_a_small_client():
    assert {"connect", "City", "Answer"} <= set(kapok.__all__)
    with pytest.raises(Exception, match="run `init` first"):
        kapok.connect("/nonexistent/home")


@pytest.fixture
def door():
    with open_door() as opened:
        yield opened


def _invite(path: Path, door: Door, token: str = "once") -> str:
    return str(door.invite(BUREAU, path, token))


@pytest.mark.wire
def test_init_enrols_and_prints_the_fingerprint_the_auditor_compares(tmp_path, door, capsys):
    home = Home(tmp_path / "home")
    args = ("--legal-name", "广州市疾控中心", "--licence", "12440100", "--home", str(home.path), "--outbreak")
    assert _run("init", "--invite", _invite(tmp_path, door, "twice"), *args) == 1, "a token that is not good is a no"
    assert _run("init", "--invite", _invite(tmp_path, door), "--name", "someone-else", *args) == 2
    assert _run("init", "--invite", _invite(tmp_path, door), "--name", "cdc", *args) == 0
    public = home.key("identity").public
    assert fingerprint(public) in capsys.readouterr().out
    request = st.parse(door.requests[0]).statement
    assert isinstance(request, st.KeyAdd)
    assert (request.subject, request.key, request.outbreak) == (BUREAU, b64(public), True)
    assert request.licence == st.Licence(legal_name="广州市疾控中心", number="12440100")
    assert home.config() == {"uri": BUREAU, "origin": ORIGIN, "coordinator_uri": COORDINATOR, "coordinator_address": "127.0.0.1:1"}
    assert _run("init", "--invite", _invite(tmp_path, door), *args) == 2, "a second init never replaces the key"
    assert home.key("identity").public == public


@pytest.mark.wire
def test_a_door_that_cannot_be_reached_is_no_refusal_and_keeps_the_key(tmp_path, door):
    args = ("--legal-name", "x", "--licence", "1", "--home", str(tmp_path / "home"))
    away = Door(door.ca)
    assert _run("init", "--invite", _invite(tmp_path, away), *args) == 3
    made = Home(tmp_path / "home").key("identity").public
    assert _run("init", "--invite", _invite(tmp_path, door), *args) == 0
    assert Home(tmp_path / "home").key("identity").public == made
    assert server_name(BUREAU) == "cdc.bureau.kapok.internal"


def test_a_trust_file_that_is_none_is_refused_before_anything_is_made(tmp_path):
    (tmp_path / "trust").write_text("# no policy\n")
    ca = CertificateAuthority.create(ORIGIN)
    invite = _invite(tmp_path, Door(ca))
    args = ("--legal-name", "x", "--licence", "1", "--home", str(tmp_path / "home"), "--trust", str(tmp_path / "trust"))
    assert _run("init", "--invite", invite, *args) == 2
    assert not (tmp_path / "home").exists()
