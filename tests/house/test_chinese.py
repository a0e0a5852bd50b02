"""Chinese sentences have Chinese punctuation: no half-width sign beside a Chinese character, none that glues told parts."""

import ast
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("protocols", "privacy", "audit_ledger", "hospital_node", "coordinator", "simulations", "kapok")
HAN = "[\u4e00-\u9fff]"
HALF = re.compile(rf"{HAN}[:;,!?]|[:;,!?] ?{HAN}|{HAN}\(")
# What reads records as they are found, English that quotes what such records hold, and pieces of the language.
FOUND = re.compile(r"\(\?:|\[\\s,\]|广东省广州市, 区|35岁, 3岁6月")
LANGUAGE = re.compile(r"[A-Z]{2,}\([^)]*\)")
NAMES_OF_CODES = "simulations/city/seasons.py"
"""Invented records have the names of codes as hospitals write them."""
TELLS = {"say", "worded", "told", "in_chinese", "fact_in_chinese", "error_in_chinese", "problem_in_chinese", "outside_in_chinese"}
GLUE = re.compile(r"^[:;,] |^: ?$|^ \($|[:;,] $")


def _trees() -> Iterator[tuple[str, ast.Module]]:
    for path in (each for package in PACKAGES for each in (ROOT / package).rglob("*.py")):
        with tokenize.open(path) as source:
            yield path.relative_to(ROOT).as_posix(), ast.parse(source.read())


def half_width(text: str) -> str | None:
    """The first half-width sign beside a Chinese character, with that character."""
    found = HALF.search(LANGUAGE.sub("", text)) if not FOUND.search(text) else None
    return found[0] if found else None


def glued(node: ast.JoinedStr) -> Iterator[str]:
    """The signs that join what is told in the reader's language to its neighbours, the same in both languages."""
    for one, two in zip(node.values, node.values[1:], strict=False):
        pair = (one, two) if isinstance(one, ast.Constant) else (two, one)
        match pair:
            case (ast.Constant(value=str(sign)), ast.FormattedValue(value=ast.Call(func=called))) if GLUE.search(sign):
                if (called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")) in TELLS:
                    yield sign


def test_no_half_width_sign_stands_beside_a_chinese_character() -> None:
    texts = [
        (f"{path}:{node.lineno}", node.value)
        for path, tree in _trees()
        if path != NAMES_OF_CODES
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.search(HAN, node.value)
    ]
    assert len(texts) > 1_000, "the search has found them"
    assert {place: found for place, text in texts if (found := half_width(text))} == {}


def test_no_half_width_sign_joins_what_is_told_in_two_languages() -> None:
    found = [
        f"{path}:{node.lineno}: {sign!r}"
        for path, tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for sign in glued(node)
    ]
    assert found == []


def test_the_chinese_readme_has_no_half_width_colon_or_bracket_between_chinese_characters() -> None:
    prose = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)", "", (ROOT / "README.zh-CN.md").read_text("utf-8"), flags=re.DOTALL)
    assert re.findall(rf"{HAN}[:;,!?(]|[:;,!?)] ?{HAN}", prose) == []


def test_the_search_finds_what_it_looks_for() -> None:
    assert half_width("未知; 最接近") == "知;"
    assert half_width("第 1 行: 表 visit：未知") == "行:"
    assert half_width("见 https://例") is None
    tree = ast.parse('f"{place}: {say(1)}; {other}"').body[0]
    assert isinstance(tree, ast.Expr)
    assert isinstance(tree.value, ast.JoinedStr)
    assert list(glued(tree.value)) == [": ", "; "]
