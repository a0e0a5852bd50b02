"""What was read further from an answer (`further`), for people and for machines."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from coordinator.client.checked import Verified
from coordinator.client.column import Column
from coordinator.client.further import Further, Top, top
from coordinator.client.table import AnswerTable
from coordinator.client.texts import Say
from coordinator.client.wording import number

_SHOWN = 30


def further_parts(given: Verified, further: Further, say: Say, *, is_whole: bool) -> Iterator[RenderableType]:
    cells = given.cells
    if further.top is not None:
        yield _top_table(cells, top(cells, further.top), say)
    if further.population:
        yield _rate_table(cells, further.population.per_100k(cells), say, most=cells.grid.size if is_whole else _SHOWN)
    if further.chi_square:
        found = further.test(cells, given.id)
        yield Text(say("answer.chi_square", statistic=number(round(found.statistic, 2)), p=f"{found.p:.4f}", trials=found.trials))


def further_json(given: Verified, further: Further) -> dict[str, Any]:
    """Fields only for what was asked."""
    told: dict[str, Any] = {}
    if further.top is not None:
        told["top"] = [asdict(each) for each in top(given.cells, further.top)]
    if further.population:
        rate = further.population.per_100k(given.cells)
        rows = zip(rate.values.tolist(), rate.lower.tolist(), rate.upper.tolist(), rate.half_width.tolist(), strict=True)
        told["per_100k"] = [dict(zip(("value", "lower", "upper", "half_width"), row, strict=True)) for row in rows]
    if further.chi_square:
        told["independence"] = asdict(further.test(given.cells, given.id))
    return told


def _top_table(cells: AnswerTable, found: tuple[Top, ...], say: Say) -> Table:
    table = Table(*(say(f"column.{axis.key}") for axis in cells.axes), say.code("measure", cells.columns[0].name))
    table.title = say("answer.top", k=len(found))
    table.add_column(say("column.interval"))
    table.add_column("")
    for each in found:
        labels = (say.label(axis.key, label) for axis, label in zip(cells.axes, each.labels, strict=True))
        word = say("answer.certain" if each.is_certain else "answer.maybe")
        table.add_row(*labels, number(each.value), f"[{number(each.low)}, {number(each.high)}]", word)
    return table


def _rate_table(cells: AnswerTable, rate: Column, say: Say, most: int) -> Table:
    table = Table(*(say(f"column.{axis.key}") for axis in cells.axes), say("answer.per_100k"), say("column.interval"))
    keys = cells.key_columns()
    for n in range(min(cells.grid.size, most)):
        labels = (say.label(axis.key, keys[axis.key][n]) for axis in cells.axes)
        value, low, high = (float(each[n]) for each in (rate.values, rate.lower, rate.upper))
        table.add_row(*labels, number(value), f"[{number(low)}, {number(high)}]")
    if most < cells.grid.size:
        table.caption = say("answer.first", shown=most, of=cells.grid.size)
    return table
