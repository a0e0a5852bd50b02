"""What `kapok-node` says is wrong is told in the reader's language, with all that varies in it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hospital_node.error_words import error_in_chinese
from hospital_node.main import app

FOLDER = Path(__file__).parents[2] / "hospital_node"
VARIES = "7"
# Errors that a command ends with, by their classes; the others never reach a terminal.
TOLD = {
    *("Usage", "InvalidConfig", "InvalidSchema", "InvalidTable", "NoSuchSource", "InvalidMapping", "InvalidSource"),
    *("UnreadableSource", "NoRecords", "StoreFailed", "ImportRunning", "MissingDriver", "SlowSource", "SourceFailed", "WrongZone"),
}
# What another wrote into them is told by `protocols.outside`.
QUOTED = {"7: not there; 7", "7: 7", "7: 7: 7", "7", "7: the disk refused", "7: cannot be read"}


def _texts(node: ast.expr) -> Iterator[str]:
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=parts):
            yield "".join(str(each.value) if isinstance(each, ast.Constant) else VARIES for each in parts)


def _sentences() -> set[str]:
    found = set()
    for path in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id=name), args=[first, *_]) if name in TOLD:
                    found.update(_texts(first))
    return found - QUOTED


def test_every_sentence_has_its_chinese_with_all_that_varies() -> None:
    sentences = _sentences()
    assert len(sentences) > 50, "the search has found them"
    assert [each for each in sorted(sentences) if not any("\u4e00" <= sign <= "\u9fff" for sign in error_in_chinese(each))] == []
    assert [each for each in sorted(sentences) if error_in_chinese(each).count(VARIES) != each.count(VARIES)] == []


@pytest.mark.parametrize(
    ("arguments", "english", "chinese"),
    [
        (("status", "--home", "{}/none"), "not there; run `kapok-node init` first", "不存在；请先运行 `kapok-node init`"),
        (("status", "--home", "{}/file"), "Not a directory", "不是目录"),
        (("tables", "add", "t", "{}/nofile", "--schema", "{}/none.toml", "--home", "{}"), "No such file", "没有这个文件"),
    ],
)
def test_a_mistake_is_told_in_the_readers_language(tmp_path: Path, arguments: tuple[str, ...], english: str, chinese: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    line = [each.format(tmp_path) for each in arguments]
    for language, told in (("en_US.UTF-8", english), ("zh_CN.UTF-8", chinese)):
        ended = CliRunner().invoke(app, line, env={"LANG": language})
        assert ended.exit_code == 2
        assert told in ended.stderr
