"""Every finding and every help has its sentences in both languages, and the language follows --lang before the environment."""

import re
from collections.abc import Iterator

import pytest

from audit_ledger import decide, examine, renew, tell, watch
from audit_ledger.answer_report import NotShown
from audit_ledger.errors import LedgerError
from audit_ledger.findings import Finding, Rule
from audit_ledger.main import COMMANDS, app, run
from audit_ledger.screen import in_two_languages
from audit_ledger.words import Words, words


@pytest.mark.parametrize("rule", list(Rule))
def test_every_rule_has_a_sentence_in_both_languages(rule: Rule) -> None:
    english, chinese = (Words(each).finding(Finding(7, rule, "detail")) for each in (False, True))
    assert english.startswith("entry 7: ")
    assert chinese.startswith("第 7 条：")
    assert english.isascii()
    assert not chinese.isascii()


def test_lang_comes_before_the_environment() -> None:
    assert words(["--lang", "zh"], {"LANG": "en_US.UTF-8"}).is_chinese
    assert not words(["--lang=en"], {"LANG": "zh_CN.UTF-8"}).is_chinese
    assert words([], {"LANG": "zh_CN.UTF-8"}).is_chinese
    assert not words([], {"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}).is_chinese
    assert not words([], {}).is_chinese


@pytest.mark.parametrize("what", list(NotShown))
def test_what_a_bundle_cannot_show_is_told_in_both_languages(what: NotShown) -> None:
    english, chinese = (Words(each).not_shown(what, "7, 9") for each in (False, True))
    assert english.isascii()
    assert not chinese.isascii()
    assert ("7, 9" in english) == ("7, 9" in chinese) == (what is NotShown.ONE_HISTORY)


def descended(error: type[LedgerError]) -> Iterator[type[LedgerError]]:
    yield error
    for each in error.__subclasses__():
        yield from descended(each)


def test_an_error_of_the_auditors_program_is_told_by_its_code_in_chinese() -> None:
    codes = {each.code for each in descended(LedgerError)}
    told = {code for code in codes if not Words(True).error(code, "").isascii()}
    assert {"ledger.tree_mismatch", "ledger.split_view", "ledger.unavailable", "ledger.malformed_answer", "desk.refused"} <= told
    assert Words(False).error("ledger.stale", "7 s old") == "7 s old  [ledger.stale]"
    assert Words(True).error("ledger.stale", "7 s old") == "见证时间过旧：7 s old  [ledger.stale]"


def test_a_fault_of_the_program_is_no_evidence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a value that must not be shown")

    monkeypatch.setattr("audit_ledger.examine.pinned_trust", broken)
    assert run(["verify", "nowhere", "--trust", "nowhere"]) == 3
    shown = capsys.readouterr().err
    assert "RuntimeError, test_words.py:" in shown
    assert "must not be shown" not in shown


PARTS = (decide.app, examine.app, renew.app, tell.app, watch.app)


def test_every_command_of_every_module_can_be_called() -> None:
    registered = [each.name for part in PARTS for each in part.registered_commands]
    assert sorted(map(str, registered)) == sorted(each.name for each in COMMANDS)


def documented() -> Iterator[str]:
    for part in (app, *PARTS):
        yield from (each.callback.__doc__ or "" for each in part.registered_commands if each.callback)


def test_every_paragraph_of_every_help_is_in_both_languages() -> None:
    told = list(documented())
    assert len(told) > 20
    for text in told:
        english, chinese = in_two_languages(text)
        assert len(english.split("\n\n")) == len(chinese.split("\n\n")), text
        assert all(each and each.isascii() for each in english.split("\n\n")), text
        assert all(re.search(r"[\u4e00-\u9fff]", each) for each in chinese.split("\n\n")), text
