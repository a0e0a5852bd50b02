"""Every fact that a refusal states in words has its Chinese, with all that varies in it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocols.refusal_words import fact_in_chinese

ROOT = Path(__file__).parents[2]
PACKAGES = ("audit_ledger", "coordinator", "hospital_node", "protocols")
VARIES = "7"
FORMULAE = {"n, c = 7, 7"}


def _texts(node: ast.expr, names: dict[str, ast.expr]) -> Iterator[str]:
    match node:
        case ast.Name(id=name) if name in names:
            yield from _texts(names[name], {})
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=parts):
            yield "".join(str(each.value) if isinstance(each, ast.Constant) else VARIES for each in parts)
        case ast.IfExp(body=body, orelse=other):
            yield from _texts(body, names)
            yield from _texts(other, names)
        case ast.BoolOp(values=values):
            for each in values:
                yield from _texts(each, names)


def _facts(function: ast.AST) -> Iterator[str]:
    """What stands second and third in a `Refusal`, also through a name that the function gives it."""
    assigned = [each for each in ast.walk(function) if isinstance(each, ast.Assign)]
    names = {each.targets[0].id: each.value for each in assigned if isinstance(each.targets[0], ast.Name)}
    for node in ast.walk(function):
        match node:
            case ast.Call(func=ast.Name(id="Refusal"), args=[_, *facts]):
                for fact in facts[:2]:
                    yield from _texts(fact, names)


def _all_facts() -> set[str]:
    paths = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    functions = (each for path in paths for each in ast.walk(ast.parse(path.read_text("utf-8"))))
    found = {fact for each in functions if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) for fact in _facts(each)}
    return {each for each in found - FORMULAE if any(sign.isalpha() for sign in each)}


def test_every_fact_has_its_chinese_with_all_that_varies() -> None:
    facts = _all_facts()
    assert len(facts) > 150, "the search has found them"
    assert [each for each in sorted(facts) if not any("\u4e00" <= sign <= "\u9fff" for sign in fact_in_chinese(each))] == []
    assert [each for each in sorted(facts) if fact_in_chinese(each).count(VARIES) != each.count(VARIES)] == []


@pytest.mark.parametrize(
    ("fact", "told"),
    [
        ("heart: a table registered here", "heart：本院已登记的数据表"),
        ("4 hospitals whose budget allows it", "至少 4 家医院的预算足够"),
        ("3; 0.012000000 left in 2026-10, 0.040131250 due", "3；2026-10 剩余 0.012000000，此问题需 0.040131250"),
        ("surveillance, research", "surveillance, research"),
        ("0.123456789", "0.123456789"),
        ("2026-11-30T00:00:00Z", "2026-11-30T00:00:00Z"),
        ("a fact of a newer city", "a fact of a newer city"),
    ],
)
def test_a_subject_before_a_fact_is_read_and_what_is_not_known_stands_as_it_is(fact: str, told: str) -> None:
    assert fact_in_chinese(fact) == told
