"""A series for people and for machines: what is asked when, what it promises, and the months and totals that the answers give."""

import math
from datetime import date
from fractions import Fraction
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from coordinator.client.column import reach
from coordinator.client.fits.tails import chi_square
from coordinator.client.series import Answers, Due, Promise, series_of, too_wide
from coordinator.client.table import column_names
from coordinator.client.texts import Say
from coordinator.client.wording import decimal, number
from privacy.series import Series
from protocols.query import QuerySpec
from protocols.query.terms import Sum

CHANGED = 0.001
"""Below this p the answers do not fit together: records have changed between two of them."""


def promise_lines(found: Promise | None, scale: int, say: Say) -> list[Text]:
    """Nothing where there is nothing to say."""
    if found is None:
        return []
    told = [Text(say("series.promise", questions=found.questions))]
    for name, field in (("to_date", "to_date"), ("year", "whole"), ("window", "window"), ("month", "single")):
        halves = (number(round(reach(getattr(each, field)) / scale, 1)) for each in (found.series, found.alone))
        told.append(Text(say(f"series.promise_{name}", **dict(zip(("series", "alone"), halves, strict=True)))))
    return told


def wide_lines(spec: QuerySpec, say: Say) -> list[Text]:
    """Why a series has no weighted sums, and what would have them; nothing where it has."""
    names = column_names(spec.measures)
    return [
        Text(
            say("series.too_wide", measure=say.code("measure", names[each.measure]), steps=each.steps, most=each.most),
            style="yellow",
        )
        for each in too_wide(spec)
    ]


def wide_json(spec: QuerySpec) -> list[dict[str, Any]]:
    names = column_names(spec.measures)
    return [{"measure": names[each.measure], "steps": each.steps, "most": each.most} for each in too_wide(spec)]


def promise_page(found: Promise, price: Fraction, scale: int, say: Say) -> RenderableType:
    """What each month pays, and what that buys."""
    return Group(Text(say("series.cost", price=decimal(price))), *promise_lines(found, scale, say))


def promise_json(found: Promise | None, scale: int) -> dict[str, Any] | None:
    """Half-widths, in the measure's own unit."""
    if found is None:
        return None
    return {
        which: {field: reach(getattr(each, field)) / scale for field in ("single", "window", "to_date", "whole")}
        for which, each in (("series", found.series), ("alone", found.alone))
    }


def scale_of(spec: QuerySpec, measure: int = 0) -> int:
    found = spec.measures[measure]
    return found.scale if isinstance(found, Sum) else 1


def series_page(spec: QuerySpec, due: tuple[Due, ...], answers: Answers, today: date, say: Say) -> RenderableType:
    has_spans = any(each.stop > each.start + 1 and not each.part.weights for each in due)
    parts: list[RenderableType] = [_schedule(due, answers, today, say), *_begun(due, say)]
    parts += wide_lines(spec, say) if has_spans else []
    for n, name in enumerate(column_names(spec.measures)):
        found = series_of(answers, n)
        if found is not None:
            parts += [_months(spec, n, name, found, due, say), *_cells(spec, n, found, say), *_misfit(found, say)]
    return Group(*parts)


def _schedule(due: tuple[Due, ...], answers: Answers, today: date, say: Say) -> Table:
    table = Table(say("series.months"), say("series.share"), say("column.state"), title=say("series.title"), title_justify="left")
    for each in due:
        name = say("series.weighted", months=_span(each)) if each.part.weights else _span(each)
        table.add_row(name, f"{float(each.share):.0%}", say(f"series.{_state(each, answers, today)}"))
    return table


def _begun(due: tuple[Due, ...], say: Say) -> list[Text]:
    begins = sorted({each.start for each in due if each.part.weights and each.start})
    names = {each.start: _span(each) for each in due if each.stop == each.start + 1}
    return [Text(say("series.begun", months=say("list.comma").join(names[each] for each in begins)))] if begins else []


def _span(due: Due) -> str:
    first, last = (str(month)[:7] for month in (_first_day(due), due.last_day.fromordinal(due.last_day.toordinal() - 1)))
    return first if first == last else f"{first} – {last}"


def _first_day(due: Due) -> date:
    if due.spec.period is None:
        raise AssertionError("a series without a period was accepted")
    return due.spec.period.start


def _state(due: Due, answers: Answers, today: date) -> str:
    if any(each == due for each, _ in answers):
        return "answered"
    return "due" if due.last_day <= today else "later"


def _months(spec: QuerySpec, measure: int, name: str, found: Series, due: tuple[Due, ...], say: Say) -> Table:
    scale, cells = scale_of(spec, measure), spec.grid().size
    table = Table("", say.code("measure", name), title=say("series.city"), title_justify="left")
    names = {each.start: _span(each) for each in due if each.stop == each.start + 1}
    for step in found.steps:
        values, variance = _known(found, step, step + 1)
        table.add_row(names[step], _told(float(values.sum()), cells * variance, scale))
    if (whole := found.total(0, found.steps[-1] + 1)) is not None:
        table.add_section()
        table.add_row(say("series.to_date"), _told(float(whole[0].sum()), cells * whole[1], scale))
    return table


def _cells(spec: QuerySpec, measure: int, found: Series, say: Say) -> list[Table]:
    whole = found.total(0, found.steps[-1] + 1)
    if whole is None or not spec.keys:
        return []
    grid, scale = spec.grid(), scale_of(spec, measure)
    table = Table(*(say(f"column.{key}") for key in grid.keys), say("series.to_date"))
    for cell, value in enumerate(whole[0].tolist()):
        labels = (say.label(key, label) for key, label in zip(grid.keys, grid.labels_of(cell), strict=True))
        table.add_row(*labels, _told(value, whole[1], scale))
    return [table]


def _misfit(found: Series, say: Say) -> list[Text]:
    p = misfit_p(found)
    return [Text(say("series.changed", p=f"{p:.2g}"), style="bold red")] if p < CHANGED else []


def misfit_p(found: Series) -> float:
    """How often noise alone makes answers that fit together as badly; 1 where there is nothing to compare."""
    return chi_square(found.misfit, found.freedom) if found.freedom else 1.0


def _known(found: Series, start: int, stop: int) -> tuple[Any, float]:
    total = found.total(start, stop)
    if total is None:
        raise AssertionError("a month without an answer was told")
    return total


def _told(value: float, variance: float, scale: int) -> str:
    return f"{number(round(value / scale, 1))} ± {number(round(reach(variance) / scale, 1))}"


def series_json(spec: QuerySpec, due: tuple[Due, ...], answers: Answers, today: date) -> dict[str, Any]:
    ids = {each: given.id for each, given in answers}
    return {
        "spec": spec.to_json(),
        "too_wide_for_weights": wide_json(spec),
        "questions": [
            {
                "period": each.spec.to_json()["period"],
                "share": float(each.share),
                "weights": list(each.part.weights) or None,
                "state": _state(each, answers, today),
                "query": ids.get(each),
            }
            for each in due
        ],
        "measures": [
            {"name": name, **_measure_json(found, scale_of(spec, n), due)}
            for n, name in enumerate(column_names(spec.measures))
            if (found := series_of(answers, n)) is not None
        ],
    }


def _measure_json(found: Series, scale: int, due: tuple[Due, ...]) -> dict[str, Any]:
    names = {each.start: _span(each) for each in due if each.stop == each.start + 1}
    whole = found.total(0, found.steps[-1] + 1)
    return {
        "months": [{"month": names[step], "cells": _numbers(*_known(found, step, step + 1), scale)} for step in found.steps],
        "to_date": None if whole is None else _numbers(*whole, scale),
        "misfit_p": misfit_p(found),
    }


def _numbers(values: Any, variance: float, scale: int) -> list[dict[str, float]]:
    half = reach(variance) / scale
    told = (value / scale for value in values.tolist())
    return [
        {"value": value, "lower": value - half, "upper": value + half, "noise_sd": math.sqrt(variance) / scale} for value in told
    ]
