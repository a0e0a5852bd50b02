"""Every rule of the language that an error can name has its Chinese, with what varies in it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import protocols.query as package
from protocols.query import QueryError
from protocols.query.chinese import construct_in_chinese, in_chinese
from protocols.query.spec import _SHAPES
from protocols.query.sql import parse_sql
from protocols.query.sql_source import _MEASURES, _NAMES, CLAUSES

HAN = range(0x4E00, 0x9FFF)


def _texts(node: ast.expr) -> Iterator[str]:
    """The texts that an expression can be, a sign standing for what varies."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=parts):
            yield "".join(str(each.value) if isinstance(each, ast.Constant) else "7" for each in parts)
        case ast.IfExp(body=body, orelse=other):
            yield from _texts(body)
            yield from _texts(other)


def _rules(tree: ast.Module) -> Iterator[str]:
    """What stands two places behind a code in a call; second in `_refuse`; and what is assigned to `rule`."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr="_refuse"), args=[_, rule, *_]):
                yield from _texts(rule)
            case ast.Call(args=args):
                codes = [n for n, each in enumerate(args) if ast.unparse(each).startswith("ProblemCode.")]
                if codes and len(args) > codes[0] + 2:
                    yield from _texts(args[codes[0] + 2])
            case ast.Assign(targets=[ast.Name(id="rule")], value=value):
                yield from _texts(value)
            case ast.Assign(targets=[ast.Tuple(elts=[ast.Name(id="rule"), *_])], value=ast.Tuple(elts=[value, *_])):
                yield from _texts(value)


def _all_rules() -> set[str]:
    folder = Path(str(package.__file__)).parent
    found = {rule for path in folder.glob("*.py") for rule in _rules(ast.parse(path.read_text("utf-8")))}
    # Two f-strings whose varying part is a word, not a name.
    found -= {"the range has no 7", "7 was expected"}
    found |= {"the range has no end", "the range has no start", "a day was expected", "a whole number was expected"}
    return found | set(_SHAPES.values()) | {"not in the language", "not a condition of the language"}


def test_every_rule_has_its_chinese() -> None:
    rules = _all_rules()
    assert len(rules) > 70, "the search has found the rules"
    untold = [rule for rule in sorted(rules) if not any(ord(sign) in HAN for sign in in_chinese(rule))]
    assert untold == []
    assert [rule for rule in sorted(rules) if "7" in rule and "7" not in in_chinese(rule)] == []
    assert in_chinese("not in GROUP BY") != in_chinese("not in 7").replace("7", "GROUP BY"), "the more exact of two that fit"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("SELECT COUNT(*) FROM visit", "未知"),
        (
            "SELECT SUM(value) FROM measurements WHERE date >= DATE '2025-01-01' AND date < DATE '2026-01-01'",
            "须写明公开的截断范围",
        ),
        (
            "SELECT COUNT(*) FROM visits WHERE date >= DATE '1825-01-01' AND date < DATE '1826-01-01'",
            "不在 1900-01-01 至 2200-01-01 之间",
        ),
    ],
)
def test_an_error_reads_as_its_rule(text: str, told: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse_sql(text)
    assert told in [in_chinese(each.rule) for each in caught.value.problems]


def test_a_piece_of_the_language_stands_as_it_is() -> None:
    for form in ("CLAMP(value, 0, 300)", "visits", "age BETWEEN 5 AND 14"):
        assert in_chinese(form) == form


def test_what_stands_in_the_place_of_sql_is_told_in_chinese_where_it_is_words() -> None:
    forms = {form for _, form in (*CLAUSES.values(), *_NAMES.values())} | {_MEASURES}
    worded = {form for form in forms if re.search(r"\b[a-z]+,? [a-z]+\b", form)}
    assert len(worded) > 20, "the search has found them"
    assert [form for form in sorted(worded) if not any(ord(sign) in HAN for sign in in_chinese(form))] == []


@pytest.mark.parametrize(
    ("construct", "told"), [("table visit", "表 visit"), ("subquery", "子查询"), ("LIMIT", "LIMIT"), ("icd10", "icd10")]
)
def test_what_a_problem_is_about_is_told_in_chinese_where_it_is_a_word(construct: str, told: str) -> None:
    assert construct_in_chinese(construct) == told
