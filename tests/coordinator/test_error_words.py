"""What `kapok-coordinator` says is wrong is told in the reader's language, with all that varies in it."""

import ast
from collections.abc import Iterator
from pathlib import Path

from coordinator.error_words import error_in_chinese

FOLDER = Path(__file__).parents[2] / "coordinator"
VARIES = "7"
# Errors that a command of the program ends with, by their classes; a strategy's speak to who writes one.
TOLD = {"CoordinatorError", "BadConfig", "BadFounding", "NotClosable", "NotFounded", "AuditorAway", "BadRequest"}
# Rules of the ledger and codes of a transport, as the auditor's program words them; what another wrote.
QUOTED = {"7: 7", "7", "7 7"}


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
    assert len(sentences) > 20, "the search has found them"
    assert [each for each in sorted(sentences) if not any("\u4e00" <= sign <= "\u9fff" for sign in error_in_chinese(each))] == []
    assert [each for each in sorted(sentences) if error_in_chinese(each).count(VARIES) != each.count(VARIES)] == []
