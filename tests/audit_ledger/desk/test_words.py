"""Every finding has a sentence in both languages, and the language follows --lang before the environment."""

import pytest

from audit_ledger.findings import Finding, Rule
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
