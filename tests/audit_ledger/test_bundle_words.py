"""Every sentence about a broken answer file has its Chinese, with all that varies in it, and a Chinese auditor reads it."""

import ast
from collections.abc import Iterator
from pathlib import Path

from audit_ledger.bundle_words import problem_in_chinese

FOLDER = Path(__file__).parents[2] / "audit_ledger"
FILES = ("bundle", "bundle_proofs", "bundle_before")
VARIES = "7"
QUOTED = {"7: 7"}
"""A rule and its particulars, as the ledger's own findings are told."""


def _texts(node: ast.expr) -> Iterator[str]:
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=parts):
            yield "".join(str(each.value) if isinstance(each, ast.Constant) else VARIES for each in parts)


def _sentences() -> set[str]:
    found = set()
    for file in FILES:
        for node in ast.walk(ast.parse((FOLDER / f"{file}.py").read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(attr="_demand") | ast.Name(id="demand"), args=[_, _, what]):
                    found.update(_texts(what))
    return found - QUOTED


def test_every_sentence_has_its_chinese_with_all_that_varies() -> None:
    sentences = _sentences()
    assert len(sentences) > 50, "the search has found them"
    assert [each for each in sorted(sentences) if not any("\u4e00" <= sign <= "\u9fff" for sign in problem_in_chinese(each))] == []
    assert [each for each in sorted(sentences) if problem_in_chinese(each).count(VARIES) != each.count(VARIES)] == []


def test_what_is_not_known_stands_as_it_is() -> None:
    assert problem_in_chinese("said by a newer version") == "said by a newer version"
