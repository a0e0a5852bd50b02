"""What `kapok-node` says is wrong is told in the reader's language, with all that varies in it."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from hospital_node.error_words import error_in_chinese
from hospital_node.main import app
from tests.support.sentences import first_argument_of, not_in_chinese, sentences

FOLDER = Path(__file__).parents[2] / "hospital_node"
# Errors that a command ends with, by their classes; the others never reach a terminal.
TOLD = {
    *("Usage", "InvalidConfig", "InvalidSchema", "InvalidTable", "NoSuchSource", "InvalidMapping", "InvalidSource"),
    *("UnreadableSource", "NoRecords", "StoreFailed", "ImportRunning", "MissingDriver", "SlowSource", "SourceFailed", "WrongZone"),
}
# What another wrote into them is told by `protocols.outside`.
QUOTED = {"7: not there; 7", "7: 7", "7: 7: 7", "7", "7: the disk refused", "7: cannot be read"}


def test_every_sentence_has_its_chinese_with_all_that_varies() -> None:
    found = sentences(FOLDER.rglob("*.py"), first_argument_of(TOLD)) - QUOTED
    assert len(found) > 50, "the search has found them"
    assert not_in_chinese(found, error_in_chinese) == []


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
