"""A fit as a table that a statistician has seen before: coefficient, standard error, z, p and the 95 % interval, as text.

The standard errors that come in count sampling and privacy noise together, so p and interval do too.
"""

import math
import unicodedata
from collections.abc import Sequence

from coordinator.client.fits import Estimate

WIDTH = 78
_HEAD = ("coef", "std err", "z", "P>|z|", "[0.025", "0.975]")
_CELLS = (11, 11, 10, 10, 11, 11)


def table_text(title: str, facts: Sequence[tuple[str, str]], estimates: Sequence[Estimate], notes: Sequence[str] = ()) -> str:
    """`facts` stand in two columns above the estimates; `notes` below, numbered."""
    names = max([14, *(_width(each.name) for each in estimates)])
    wide = max(WIDTH, names + sum(_CELLS))
    rule, thin = "=" * wide, "-" * wide
    head = " " * names + _in_cells(_HEAD)
    lines = [_centred(title, wide), rule, *_in_two(facts, wide), rule, head, thin]
    lines += [_padded(each.name, names) + _in_cells(_numbers(each)) for each in estimates]
    return "\n".join([*lines, rule, *(f"[{number}] {note}" for number, note in enumerate(notes, 1))])


def _numbers(each: Estimate) -> Sequence[str]:
    z = each.value / each.standard_error if each.standard_error > 0 else math.nan
    is_tested = each.p_value is not None
    told = [f"{z:.3f}", f"{each.p_value:.3f}"] if is_tested else ["", ""]
    return (_short(each.value), _short(each.standard_error), *told, _short(each.lower), _short(each.upper))


def _short(number: float) -> str:
    return f"{number:.4f}" if abs(number) < 10_000 else f"{number:.4g}"


def _in_cells(texts: Sequence[str]) -> str:
    return "".join(text.rjust(cell) for text, cell in zip(texts, _CELLS, strict=True))


def _in_two(facts: Sequence[tuple[str, str]], wide: int) -> list[str]:
    half = (wide - 3) // 2
    cells = [_between(name, value, half) for name, value in facts]
    return ["   ".join(cells[n : n + 2]) for n in range(0, len(cells), 2)]


def _between(name: str, value: str, wide: int) -> str:
    room = wide - _width(name) - _width(value) - 1
    return f"{name}:{' ' * max(1, room)}{value}"


def _centred(text: str, wide: int) -> str:
    return " " * max(0, (wide - _width(text)) // 2) + text


def _padded(text: str, wide: int) -> str:
    return text + " " * (wide - _width(text))


def _width(text: str) -> int:
    """Columns on a terminal: a Chinese character takes two."""
    return sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text)
