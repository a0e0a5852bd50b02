"""The sentences that the sources hold, so that a test can ask whether each of them has its Chinese."""

import ast
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

VARIES = "7"
"""Stands for what varies in a sentence."""


def sentences(paths: Iterable[Path], said_by: Callable[[ast.Call], ast.expr | None]) -> set[str]:
    """What `said_by` finds in the calls of these files, where it is a text or one with parts that vary."""
    calls = (node for path in paths for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call))
    return {text for call in calls if (said := said_by(call)) is not None for text in _texts(said)}


def first_argument_of(names: Iterable[str]) -> Callable[[ast.Call], ast.expr | None]:
    """Of calls of these names, as an error is made."""
    told = frozenset(names)
    return lambda call: call.args[0] if call.args and isinstance(call.func, ast.Name) and call.func.id in told else None


def not_in_chinese(found: Iterable[str], in_chinese: Callable[[str], str]) -> list[str]:
    """Those that stay without a Chinese sign, or that lose some of what varies in them."""

    def is_told(each: str) -> bool:
        told = in_chinese(each)
        return any("\u4e00" <= sign <= "\u9fff" for sign in told) and told.count(VARIES) == each.count(VARIES)

    return [each for each in sorted(found) if not is_told(each)]


def _texts(node: ast.expr) -> Iterator[str]:
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=parts):
            yield "".join(str(each.value) if isinstance(each, ast.Constant) else VARIES for each in parts)
