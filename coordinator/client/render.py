"""Answers, forecasts and catalogues on a terminal, for people: every number with its interval and a word on how far to trust it.

Wide answers are cut to the cells with the largest value of the first measure, and the total always stands below; `--all` prints
every cell. Only what is shown is rounded.
"""

import math
from collections.abc import Iterable, Sequence
from io import StringIO

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from coordinator.client import planning, residents
from coordinator.client.catalog import Budget, Catalog
from coordinator.client.checked import Verified
from coordinator.client.city import Plan
from coordinator.client.column import Column, Reliability
from coordinator.client.coverage import coverage, hospitals
from coordinator.client.ends import survival_parts
from coordinator.client.errors import BadUsage
from coordinator.client.fits import Result
from coordinator.client.forecast import LADDER, ByPrice, Forecast, forecast
from coordinator.client.table import AnswerTable
from coordinator.client.table_one import is_table_one, table_one
from coordinator.client.texts import Say
from coordinator.client.training import Fitted
from coordinator.client.wording import decimal, number, share_of_budget
from protocols.contract import CONTRACT
from protocols.fits import Fit, Training
from protocols.fits.words import NAMES
from protocols.identity import Identity
from protocols.query import Language, Segment, in_words
from protocols.query.terms import Categories, Summary, Survival
from protocols.union import asks_for_residents

SHOWN_ROWS = 30
_COLOURS = {Reliability.RELIABLE: "green", Reliability.CAUTION: "yellow", Reliability.NOISE: "bright_black"}


def answer(given: Verified, say: Say, *, is_whole: bool = False) -> RenderableType:
    """The answer with everything that has to stand beside a number."""
    lines: list[RenderableType] = [Text(say("answer.id", id=given.id), style="bold")]
    lines += [not_private(say)] if given.is_exact else []
    lines += [Text(in_words(given.spec, say.lang, is_exact=given.is_exact))]
    if is_table_one(given):
        lines += table_one(given, say)
    elif not all(isinstance(measure, Survival) for measure in given.spec.measures):
        lines += [cells_table(given.cells, say, is_whole=is_whole)]
    lines += survival_parts(given, say)
    lines += [_level_table(given, level, say, is_whole=is_whole) for level in given.spec.totals or () if level]
    if given.is_exact:
        return Group(*lines, *(Text(line) for line in coverage(given.bundle.coverage, given.reasons, say)), not_private(say))
    lines += [Text(line) for line in [*coverage(given.bundle.coverage, given.reasons, say), *_cost(given, say)]]
    note = "answer.residents_note" if asks_for_residents(given.query.spec) else "answer.interval_note"
    return Group(*lines, Text(say(note), style="dim"))


def not_private(say: Say) -> Text:
    """What stands above and below every number of exact mode."""
    return Text(say("exact.answer"), style="bold red")


def fitted(given: Fitted, say: Say) -> RenderableType:
    """Estimates with standard errors that count the noise too, what stands for the whole fit, and what it cost."""
    result, spec = given.result, given.spec
    named = ("fit.metric", "fit.measured") if isinstance(spec, Training) else ("fit.column", "fit.value")
    heads = (*named, "fit.error_exact" if given.is_exact else "fit.error", "fit.interval", "fit.p")
    table = Table(
        *(say(each) for each in heads), *([say("fit.ratio" if isinstance(spec, Fit) else "fit.odds")] if result.is_log else [])
    )
    table.title = _fit_title(given, say)
    for each in result.estimates:
        if not each.is_determined:
            table.add_row(each.name, "–")
            continue
        row = [each.name, f"{each.value:.4g}", f"{each.standard_error:.4g}", f"{each.lower:.4g} – {each.upper:.4g}"]
        ratio = [f"{math.exp(min(each.value, 50.0)):.3f}"] if result.is_log else []
        table.add_row(*row, "" if each.p_value is None else f"{each.p_value:.2g}", *ratio)
    lines = [f"{name} = {value:.5g}" for name, value in result.figures.items()]
    lines += [*coverage(given.bundle.coverage, given.reasons, say), *([] if given.is_exact else _fit_cost(given, say))]
    warning = [Text(each, style="bold red") for each in fit_warnings(result, say)]
    warning += [not_private(say)] if given.is_exact else []
    head = [Text(say("answer.id", id=given.id), style="bold"), *([not_private(say)] if given.is_exact else [])]
    return Group(*head, table, *warning, *(Text(line) for line in lines))


def fit_warnings(result: Result, say: Say) -> list[str]:
    """What must not be overlooked beside the estimates of a fit."""
    told = [say("fit.drowned")] if result.is_drowned else []
    told += [say("fit.not_converged")] if result.converged is False else []
    return told + ([say("fit.undetermined", names=say("list.comma").join(result.undetermined))] if result.undetermined else [])


def _fit_cost(given: Fitted, say: Say) -> Iterable[str]:
    first = given.bundle.spending[0]
    yield say("answer.price", price=given.bundle.price, purpose=say("purpose.research"))
    yield say("answer.spending", who=say.code("who", first.who), epsilon=first.epsilon, delta=first.delta)


def as_text(what: RenderableType, width: int = 120) -> str:
    """Without colours, for where no terminal is."""
    console = Console(width=width, file=StringIO(), highlight=False)
    console.print(what)
    written: str = console.file.getvalue()  # type: ignore[attr-defined]
    return written.rstrip()


def _fit_title(given: Fitted, say: Say) -> str:
    if isinstance(given.spec, Fit):
        name = NAMES[given.spec.fit][0 if say.lang is Language.ZH else 1]
        return say("fit.table_title", name=name, table=given.spec.table, rounds=given.rounds)
    return say("fit.title", outcome=given.spec.outcome, rounds=given.rounds)


def _level_table(given: Verified, level: tuple[str, ...], say: Say, *, is_whole: bool) -> Table:
    table = cells_table(given.cells.collapsed(level), say, is_whole=is_whole)
    table.title = say("answer.level", keys=say("list.comma").join(say(f"column.{key}") for key in level))
    return table


def cells_table(cells: AnswerTable, say: Say, *, is_whole: bool = False) -> Table:
    shown, total = _shown(cells, is_whole=is_whole), cells.collapsed(()).columns
    table = Table(caption=None if len(shown) == cells.grid.size else say("answer.cut", shown=len(shown), of=cells.grid.size))
    for axis in cells.axes:
        table.add_column(say(f"column.{axis.key}"))
    for column in cells.columns:
        name = say.code("measure", column.name)
        table.add_column(name, justify="right", style="red" if cells.is_exact else None)
        if not cells.is_exact:
            table.add_column(say("column.interval"), justify="right")
            table.add_column(say("column.reliability"))
    told = _exact_numbers if cells.is_exact else _numbers
    picked, keys = [column.rows(shown) for column in cells.columns], cells.key_columns()
    for n, cell in enumerate(shown.tolist()):
        labels = [say.label(axis.key, keys[axis.key][cell]) for axis in cells.axes]
        table.add_row(*labels, *told(picked, n, say))
    if cells.axes:
        table.add_section()
        table.add_row(say("answer.total"), *[""] * (len(cells.axes) - 1), *told(total, 0, say), style="bold")
    return table


def _exact_numbers(columns: Sequence[Column], n: int, _: Say) -> list[RenderableType]:
    return ["" if math.isnan(column.values[n]) else number(column.values[n]) for column in columns]


def _shown(cells: AnswerTable, *, is_whole: bool) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    everything = np.arange(cells.grid.size, dtype=np.int64)
    if is_whole or len(everything) <= SHOWN_ROWS:
        return everything
    largest = np.argsort(-np.nan_to_num(cells.columns[0].values, nan=-math.inf), kind="stable")[:SHOWN_ROWS]
    return np.sort(largest).astype(np.int64)


def _numbers(columns: Sequence[Column], n: int, say: Say) -> list[RenderableType]:
    cells: list[RenderableType] = []
    for column in columns:
        value, low, high, half = (each[n] for each in (column.values, column.lower, column.upper, column.half_width))
        word = Reliability(str(column.reliability[n]))
        cells += [_plus_minus(value, half, say), _interval(low, high), Text(say(f"reliability.{word}"), style=_COLOURS[word])]
    return cells


def _plus_minus(value: float, half: float, say: Say) -> str:
    return say("answer.untold") if math.isnan(value) else f"{number(value)} ± {number(half)}"


def _interval(low: float, high: float) -> str:
    return "" if math.isnan(low) else f"[{number(low)}, {number(high)}]"


def _cost(given: Verified, say: Say) -> Iterable[str]:
    told = "answer.price" if given.spec.weights is None else "answer.price_weighted"
    yield say(told, price=given.bundle.price, purpose=say.code("purpose", given.query.purpose))
    for each in given.bundle.spending:
        yield say("answer.spending", who=say.code("who", each.who), epsilon=each.epsilon, delta=each.delta)


def preview(plan: Plan, say: Say, *, with_ladder: bool) -> RenderableType:
    """The price and the error of a question that has not been asked."""
    cast, price = plan.forecast, "preview.price" if plan.request.spec.weights is None else "preview.price_weighted"
    if plan.request.is_exact:
        return _exact_preview(plan, say)
    facts = [
        say("preview.hospitals", n=cast.n, colluders=cast.colluders),
        say("preview.cells", cells=cast.layout.grid.size, kept=cast.layout.cells_kept),
        say("preview.blocks", count=len(cast.blocks), first=cast.blocks[0], last=cast.blocks[-1]),
        say(price, price=decimal(cast.price.one), order=cast.order, share=share_of_budget(cast.price.one, plan.purpose)),
        say("preview.price_two", price=decimal(cast.price.two)),
    ]
    if asks_for_residents(plan.request.spec.to_json()):
        without = plan.catalog.without_residents(plan.audience, str(plan.request.spec.table))
        facts.append(say("preview.without_residents", names=hospitals(without, say)) if without else say("preview.all_residents"))
    parts: list[RenderableType] = [
        Text(in_words(plan.request.spec, say.lang)),
        *map(Text, facts),
        _noise_table(cast, say),
        *residents.error_table(cast, say),
        _statement_table(cast, say),
    ]
    budgets = plan.catalog.budgets(plan.audience, plan.purpose, plan.forecast.due)
    parts += [_budget_table(plan, budgets, say), *planning.what_would_fit(plan, budgets, say), *planning.advice_table(plan, say)]
    return Group(*parts, *([ladder(plan, say)] if with_ladder else []), Text(say("answer.interval_note"), style="dim"))


def _exact_preview(plan: Plan, say: Say) -> RenderableType:
    """What stands in a price's place: what the answer will be, and who would have to agree."""
    cast, unwilling = plan.forecast, plan.catalog.unwilling(plan.audience, str(plan.request.spec.table))
    facts = [
        say("exact.hospitals", n=cast.n, floor=plan.floor),
        say("exact.cells", cells=cast.layout.grid.size),
        say("exact.blocks", count=len(cast.blocks), first=cast.blocks[0], last=cast.blocks[-1]),
        say("exact.unwilling", names=hospitals(unwilling, say)) if unwilling else say("exact.willing"),
    ]
    words = in_words(plan.request.spec, say.lang, is_exact=True)
    return Group(not_private(say), *map(Text, [words, *facts, say("exact.approval")]))


def _noise_table(cast: Forecast, say: Say) -> Table:
    heads = (say("preview.sd"), say("preview.half_width"), say("preview.part_price"))
    table = Table("", *heads, title=say("preview.noise_title"), title_justify="left")
    segments = zip(cast.layout.segments, cast.total_variances, cast.half_widths, cast.shares, strict=True)
    for segment, variance, half, share in segments:
        sd = math.sqrt(variance) / segment.scale
        table.add_row(_part(cast, segment, say), f"{sd:,.2f}", f"± {number(half / segment.scale)}", f"{share:.1%}")
    return table


def _part(cast: Forecast, segment: Segment, say: Say) -> str:
    part = say(f"part.{segment.part}")
    if isinstance(segment.measure, Summary | Categories):
        part = say("part.of_column", part=part, column=say(f"table_one.{segment.measure.column}"))
    if segment.level == cast.layout.grid.keys:
        return part
    keys = say("list.comma").join(say(f"column.{key}") for key in segment.level)
    return say("part.at_level", part=part, keys=keys) if keys else say("part.at_city", part=part)


def _statement_table(cast: Forecast, say: Say) -> Table:
    table = Table(say("preview.who"), "ε", "δ", title=say("preview.epsilon_title"), title_justify="left")
    for each in cast.statements:
        table.add_row(say(f"who.{each.case.value}"), decimal(each.epsilon), f"{float(each.delta + each.sampler_delta):.3g}")
    return table


def _budget_table(plan: Plan, budgets: Iterable[Budget], say: Say) -> Table:
    title = say("preview.budget_title", purpose=say.code("purpose", plan.purpose))
    table = Table(say("column.hospital"), say("preview.left"), say("preview.fullest"), "", title=title, title_justify="left")
    for each in budgets:
        left = say("preview.unknown") if each.left is None else f"{float(each.left):.6f}"
        fits = each.fits
        table.add_row(each.hospital, left, each.block, say("preview.fits") if fits else Text(say("preview.no_fit"), style="red"))
    return table


def ladder(plan: Plan, say: Say) -> Table:
    """What other prices would buy, from a 200th of what the purpose may spend on a block to a fifth."""
    titles = (say("preview.share"), say("preview.price_short"), "ε", say("preview.half_width"))
    table = Table(*titles, title=say("preview.ladder_title"), title_justify="left")
    for share in LADDER:
        try:
            cast = forecast(plan.request.spec, ByPrice(CONTRACT.limit(plan.purpose) * share), plan.forecast.n)
        except BadUsage:
            continue  # a price too low for any table of noise
        halves = ", ".join(number(half / part.scale) for half, part in zip(cast.half_widths, cast.layout.segments, strict=True))
        table.add_row(f"{float(share):.1%}", decimal(cast.price.one), decimal(cast.epsilon), f"± {halves}")
    return table


def catalog(city: Catalog, say: Say) -> RenderableType:
    titles = ("hospital", "state", "table", "days", "codes", "freshness", "purposes")
    table = _narrow(say, titles, title=say("catalog.title", origin=city.origin, size=city.size))
    for each in city.hospitals:
        state = "connected" if each.connected else "away"
        words = say(f"state.{state}" if each.admitted else "state.not_admitted")
        policy = say("list.comma").join(say.code("purpose", purpose) for purpose in each.policy.purposes) if each.policy else "-"
        for n, card in enumerate(each.tables or (None,)):
            head = (each.name, words) if n == 0 else ("", "")
            if card is None:
                table.add_row(*head, "-", "", "", say.code("freshness", each.freshness), policy)
            else:
                days = _days(card.first_day, card.last_day, say)
                codes = ", ".join(each for each in card.code_systems if each != "none") or "–"
                tail = (say.code("freshness", each.freshness), policy) if n == 0 else ("", "")
                table.add_row(*head, card.name, days, codes, *tail)
        for own in each.registered:
            days = _days(own.first_day, own.last_day, say)
            table.add_row("", "", own.table, days, own.catalogue, say("state.waiting") if own.approved is False else "", "")
        table.add_section()
    return table


def _days(first: str, last: str, say: Say) -> str:
    """As a hospital declares them: a table without dates has none, one that grows has no last."""
    return "-" if first == "-" else f"{first} – {say.code('day', last)}"


def _narrow(say: Say, titles: Iterable[str], title: str | None = None) -> Table:
    """Many columns on 80 characters: light lines, and what does not fit goes on below instead of being cut."""
    table = Table(title=title, box=SIMPLE_HEAD, padding=0, pad_edge=False)
    for each in titles:
        table.add_column(say(f"column.{each}"), overflow="fold", no_wrap=each in {"id", "until", "purpose"})
    return table


def programmes(city: Catalog, say: Say) -> Table:
    table = _narrow(say, ("id", "title", "purpose", "table", "max_price", "until", "state"))
    for each in city.programmes:
        state = say("state.approved" if each.approved else "state.waiting")
        purpose = say.code("purpose", each.purpose)
        title = f"{each.title} ({Identity.parse(each.by).name})"
        table.add_row(each.id[:12], title, purpose, "\n".join(each.tables), each.max_price.rstrip("0"), each.until[:10], state)
    return table
