"""Every sentence about a broken answer file has its Chinese, with all that varies in it, and a Chinese auditor reads it."""

import ast
from pathlib import Path

from audit_ledger.bundle_words import problem_in_chinese
from tests.support.sentences import not_in_chinese, sentences

FOLDER = Path(__file__).parents[2] / "audit_ledger"
FILES = ("bundle", "bundle_proofs", "bundle_before")
QUOTED = {"7: 7"}
"""A rule and its particulars, as the ledger's own findings are told."""


def _demanded(call: ast.Call) -> ast.expr | None:
    """What a file breaks, where something is demanded of it."""
    match call:
        case ast.Call(func=ast.Attribute(attr="_demand") | ast.Name(id="demand"), args=[_, _, what]):
            return what
    return None


def test_every_sentence_has_its_chinese_with_all_that_varies() -> None:
    found = sentences((FOLDER / f"{file}.py" for file in FILES), _demanded) - QUOTED
    assert len(found) > 50, "the search has found them"
    assert not_in_chinese(found, problem_in_chinese) == []


def test_what_is_not_known_stands_as_it_is() -> None:
    assert problem_in_chinese("said by a newer version") == "said by a newer version"
