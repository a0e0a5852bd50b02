"""A fit as a table that a statistician has seen before: coefficient, standard error, z, p and the 95 % interval, as text.

The standard errors that come in count sampling and privacy noise together, so p and interval do too. They are those of the normal
law: an estimate that rests on few patients beneath its noise has heavier tails than that, and its wide interval says so first.
"""

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

WIDTH = 78
_HEAD = ("coef", "std err", "z", "P>|z|", "[0.025", "0.975]")
_CELLS = (10, 11, 11, 11, 11, 11)


@dataclass(frozen=True, slots=True)
class Estimate:
    """One coefficient."""

    name: str
    value: float
    standard_error: float

    @property
    def z(self) -> float:
        return self.value / self.standard_error if self.standard_error > 0 else math.nan

    @property
    def p(self) -> float:
        """Two-sided."""
        return math.erfc(abs(self.z) / math.sqrt(2))

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        reach = NormalDist().inv_cdf(0.5 + level / 2) * self.standard_error
        return self.value - reach, self.value + reach


def table_text(title: str, facts: Sequence[tuple[str, str]], estimates: Sequence[Estimate], notes: Sequence[str] = ()) -> str:
    """`facts` stand in two columns above the estimates; `notes` below, numbered."""
    names = max([14, *(_width(each.name) for each in estimates)])
    wide = max(WIDTH, names + sum(_CELLS))
    rule, thin = "=" * wide, "-" * wide
    head = " " * names + "".join(text.rjust(cell) for text, cell in zip(_HEAD, _CELLS, strict=True))
    lines = [_centred(title, wide), rule, *_in_two(facts, wide), rule, head, thin]
    lines += [_padded(each.name, names) + _numbers(each) for each in estimates]
    return "\n".join([*lines, rule, *(f"[{number}] {note}" for number, note in enumerate(notes, 1))])


def _numbers(each: Estimate) -> str:
    low, high = each.interval()
    told = (f"{each.value:.4f}", f"{each.standard_error:.3f}", f"{each.z:.3f}", f"{each.p:.3f}", f"{low:.3f}", f"{high:.3f}")
    return "".join(text.rjust(cell) for text, cell in zip(told, _CELLS, strict=True))


def _in_two(facts: Sequence[tuple[str, str]], wide: int) -> list[str]:
    half = (wide - 3) // 2
    cells = [_between(name, value, half) for name, value in facts]
    cells += [" " * half] * (len(cells) % 2)
    return ["   ".join(cells[n : n + 2]).rstrip() for n in range(0, len(cells), 2)]


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
