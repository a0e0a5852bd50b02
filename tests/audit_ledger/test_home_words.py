"""What is wrong with a home folder is told in the reader's language by each program."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from audit_ledger.party.home_words import in_chinese

ROOT = Path(__file__).parents[2]
PACKAGES = ("audit_ledger", "coordinator", "hospital_node")


def _is_chinese(text: str) -> bool:
    return any("\u4e00" <= sign <= "\u9fff" for sign in text)


def _sentences() -> Iterator[str]:
    """Every text that a `HomeError` is raised with, a word standing for what varies."""
    for path in (each for package in PACKAGES for each in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id="HomeError"), args=[ast.JoinedStr(values=parts)]):
                    yield "".join(str(each.value) if isinstance(each, ast.Constant) else "varies" for each in parts)
                case ast.Call(func=ast.Name(id="HomeError"), args=[other]):
                    raise AssertionError(f"{path}:{node.lineno}: {ast.unparse(other)}")


def test_every_sentence_has_its_chinese_with_all_that_varies() -> None:
    sentences = set(_sentences())
    assert len(sentences) > 15, "the search has found them"
    assert [each for each in sorted(sentences) if not _is_chinese(in_chinese(each))] == []
    assert [each for each in sorted(sentences) if in_chinese(each).count("varies") != each.count("varies")] == []


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
