"""What is wrong with a home folder is told in the reader's language by each program."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from audit_ledger.party.home_words import in_chinese
from tests.support.sentences import first_argument_of, not_in_chinese, sentences

ROOT = Path(__file__).parents[2]
PACKAGES = ("audit_ledger", "coordinator", "hospital_node")


def test_every_sentence_has_its_chinese_with_all_that_varies() -> None:
    found = sentences((each for package in PACKAGES for each in (ROOT / package).rglob("*.py")), first_argument_of({"HomeError"}))
    assert len(found) > 15, "the search has found them"
    assert not_in_chinese(found, in_chinese) == []


@pytest.mark.parametrize(
    ("module", "arguments", "status"),
    [
        ("hospital_node.main", ("protect", "--passphrase-file", "{}/p", "--home", "{}/none"), 2),
        ("coordinator.main", ("status", "--home", "{}/none"), 3),
        ("coordinator.client.main", ("catalog", "--home", "{}/none"), 2),
        ("audit_ledger.main", ("protect", "--passphrase-file", "{}/p", "--home", "{}/none"), 2),
    ],
)
@pytest.mark.parametrize(("lang", "told"), [("en_US.UTF-8", "not there"), ("zh_CN.UTF-8", "不存在")])
def test_a_folder_that_is_not_there_is_told_in_the_readers_language(
    tmp_path: Path, module: str, arguments: tuple[str, ...], status: int, lang: str, told: str
) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LC_")} | {"LANG": lang}
    command = [sys.executable, "-m", module, *(each.format(tmp_path) for each in arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)
    assert ended.returncode == status, ended.stderr
    assert told in ended.stderr
    assert ("not there" in ended.stderr) != ("不存在" in ended.stderr)
    assert "Traceback" not in ended.stderr
