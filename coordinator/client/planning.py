"""Advice and yearly plans, for people and for machines."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from coordinator.client.advice import Advice, advice
from coordinator.client.catalog import Budget
from coordinator.client.city import Plan
from coordinator.client.errors import BadUsage
from coordinator.client.forecast import ByPrice, forecast
from coordinator.client.series import promise
from coordinator.client.series_view import promise_lines, wide_lines
from coordinator.client.texts import Say
from coordinator.client.wording import decimal, number, share_of_budget
from coordinator.client.year import Line, Year
from privacy.errors import PrivacyError
from protocols.contract import CONTRACT

_BAR = 40


def advice_table(plan: Plan, say: Say) -> list[RenderableType]:
    """Nothing where nothing is worth saying."""
    cast, spec = plan.forecast, plan.request.spec
    found, expected = advice(spec, cast), promise(spec, cast)
    as_series = [*promise_lines(expected, cast.layout.segments[0].scale, say), *(wide_lines(spec, say) if expected else [])]
    if not found:
        return [*as_series]
    titles = ("", say("preview.advice_cells_short"), say("preview.half_width"), say("preview.instead_of"))
    table = Table(*titles, title=say("preview.advice_title"), title_justify="left")
    for each in found:
        halves = (f"± {number(round(half, 1))}" for half in (each.half_width, each.instead_of))
        table.add_row(_asked(each, cast.layout.cells_kept, say), f"{each.cells:,}", *halves)
    return [table, *as_series]


def what_would_fit(plan: Plan, budgets: Sequence[Budget], say: Say) -> list[Text]:
    """Where a budget is short: the price that the shortest one still has, and what it buys. Nothing where nothing is left."""
    short = [each.left for each in budgets if each.left is not None and not each.fits]
    if not short or len(set(plan.forecast.due.values())) > 1:
        return []  # or months weigh differently, and no one price says what each has to pay
    left = Fraction(math.floor(min(short) * 10**6), 10**6)
    try:
        cast = forecast(plan.request.spec, ByPrice(left), plan.forecast.n)
    except (BadUsage, PrivacyError):
        return [Text(say("preview.nothing_fits"))]
    scaled = zip(cast.half_widths, cast.layout.segments, strict=True)
    halves = ", ".join(number(half / segment.scale) for half, segment in scaled)
    return [Text(say("preview.would_fit", price=f"{float(left):.6f}", halves=halves))]


def _asked(each: Advice, kept: int, say: Say) -> str:
    keys = say("list.comma").join(say(f"column.{key}") for key in each.keys)
    by = say("preview.advice_by", keys=keys) if keys else say("preview.advice_one")
    return by if each.cells_per_patient >= kept else say("preview.advice_cells", by=by, kept=each.cells_per_patient)


def year_plan(found: Year, say: Say) -> RenderableType:
    titles = (say("column.title"), say("column.purpose"), say("year.runs"), say("preview.price_short"))
    table = Table(*titles, say("preview.half_width"), say("year.fullest"), say("year.share"))
    table.title = say("year.title", n=len(found.lines))
    for line in found.lines:
        table.add_row(*_line(line, say))
    verdict = Text(say("year.fits"), style="green") if found.fits else Text(say("year.over"), style="red")
    return Group(table, *(_blocks(purpose, blocks, say) for purpose, blocks in found.paid.items()), verdict)


def _line(line: Line, say: Say) -> list[str]:
    cast, purpose = line.cast, line.standing.purpose
    half = number(cast.half_widths[0] / cast.layout.segments[0].scale)
    told = (decimal(cast.price.one), f"± {half}", decimal(line.fullest), share_of_budget(line.fullest, purpose))
    return [line.standing.title, say.code("purpose", purpose), str(line.runs), *told]


def _blocks(purpose: str, blocks: Any, say: Say) -> Table:
    """A bar a block: how much of its limit the plan takes."""
    table = Table.grid(padding=(0, 1))
    table.title = say("year.blocks_title", purpose=say.code("purpose", purpose))
    for block, price in blocks.items():
        share = float(price / CONTRACT.limit(purpose))
        bar = Text("█" * min(_BAR, max(1, round(share * _BAR))), style="red" if share > 1 else "green")
        table.add_row(block, bar, share_of_budget(price, purpose))
    return table


def year_json(found: Year) -> dict[str, Any]:
    """Prices as decimal strings, rounded up."""
    return {
        "fits": found.fits,
        "questions": [
            {
                "title": line.standing.title,
                "purpose": line.standing.purpose,
                "runs": line.runs,
                "price": decimal(line.cast.price.one, 9),
                "half_width": line.cast.half_widths[0] / line.cast.layout.segments[0].scale,
                "fullest_block": decimal(line.fullest, 9),
            }
            for line in found.lines
        ],
        "blocks": {
            purpose: {block: _paid(purpose, price) for block, price in blocks.items()} for purpose, blocks in found.paid.items()
        },
    }


def _paid(purpose: str, price: Fraction) -> dict[str, str]:
    return {"paid": decimal(price, 9), "limit": decimal(CONTRACT.limit(purpose), 9)}
