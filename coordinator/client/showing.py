"""What the commands show and how they wait: the live line, answers and fits, files beside them, plans for machines."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import typer

from coordinator.client import export, reading, render, segments, training
from coordinator.client.advice import advice
from coordinator.client.city import Answer, City, Plan, Request
from coordinator.client.errors import Unreachable, told_reasons
from coordinator.client.forecast import ByPrice
from coordinator.client.further import Further
from coordinator.client.residents import errors_json
from coordinator.client.series import Due, promise, questions_like, standing, to_ask, variances_of
from coordinator.client.series_file import write_series
from coordinator.client.series_view import promise_json, promise_page, scale_of, series_json, series_page
from coordinator.client.session import Session, Waiting
from coordinator.client.shelf_view import kept
from coordinator.client.wording import decimal
from protocols.exact import EXACT
from protocols.query import QuerySpec


def detached(session: Session, city: City, ids: Sequence[str], *, as_json: bool) -> None:
    segments.submit(city, ids, is_new=True)
    if as_json:
        return session.show_json({"query": ids[0], "state": "logged", **({"segments": list(ids)} if len(ids) > 1 else {})})
    for id_ in ids:
        session.show(session.say("fit.detached", id=id_))
    return None


def show_when_fitted(session: Session, city: City, ids: Sequence[str], *, is_new: bool = False, as_json: bool) -> None:
    """A fit of one question, or the segments of a training, to their end."""
    with watching(session, ids[0], is_quiet=as_json) as waiting:
        found = segments.outcome(city, ids, waiting.watch, partial(_tell_segment, session, ids, is_quiet=as_json), is_new=is_new)
    if as_json:
        return session.show_json(found.to_json())
    show_fit(session, found.fitted, as_json=False)
    if found.stopped is not None:
        session.note("training.stopped", released=found.released, segments=len(ids), id=found.fitted.id)
        for reason in told_reasons(found.stopped.reasons, session.say):
            session.note("training.reason", reason=reason)
    return None


def _tell_segment(session: Session, ids: Sequence[str], place: int, *, is_quiet: bool) -> None:
    if len(ids) > 1 and not is_quiet:
        session.note("training.segment", number=place + 1, segments=len(ids), id=ids[place])


def show_fit(session: Session, fitted: training.Fitted, *, as_json: bool) -> None:
    if as_json:
        return session.show_json(fitted.to_json())
    return session.show(render.fitted(fitted, session.say))


def is_fit(city: City, id_: str) -> bool:
    asked = city.shelf.question(id_)
    return asked is not None and training.is_fit_question(asked)


def plan_json(plan: Plan) -> dict[str, Any]:
    """A preview for machines: exact numbers as decimal strings, half-widths in the measures' own units."""
    cast = plan.forecast
    if plan.request.is_exact:
        return _exact_plan_json(plan)
    segments = zip(cast.layout.segments, cast.variances, cast.total_variances, cast.half_widths, cast.shares, strict=True)
    return {
        "spec": plan.request.spec.to_json(),
        "purpose": plan.purpose,
        "programme": plan.programme,
        "hospitals": list(plan.audience),
        "colluders": cast.colluders,
        "cells": cast.layout.grid.size,
        "blocks": list(cast.blocks),
        "order": cast.order,
        "price": decimal(cast.price.one, 9),
        "price_two_hospitals": decimal(cast.price.two, 9),
        "noise": [
            {
                "part": part.part,
                "level": list(part.level),
                "variance": float(asked) / part.scale**2,
                "noise_sd": float(total) ** 0.5 / part.scale,
                "half_width": half / part.scale,
                "price_share": share,
            }
            for part, asked, total, half, share in segments
        ],
        "statements": [
            {
                "who": each.case.value,
                "epsilon": decimal(each.epsilon),
                "delta": f"{float(each.delta + each.sampler_delta):.6g}",
            }
            for each in cast.statements
        ],
        **_residents_json(plan),
        "advice": [asdict(each) for each in advice(plan.request.spec, cast)],
        "as_series": promise_json(promise(plan.request.spec, cast), cast.layout.segments[0].scale),
        "budgets": [
            {name: value if value is None or isinstance(value, str) else float(value) for name, value in asdict(each).items()}
            | {"fits": each.fits}
            for each in plan.catalog.budgets(plan.audience, plan.purpose, cast.due)
        ],
    }


def _residents_json(plan: Plan) -> dict[str, Any]:
    """What only a count of residents has: its error by size, and the hospitals that would not take part."""
    found, table = errors_json(plan.forecast), str(plan.request.spec.table)
    return found | {"without_residents": list(plan.catalog.without_residents(plan.audience, table))} if found else {}


def _exact_plan_json(plan: Plan) -> dict[str, Any]:
    """No price and no epsilon: there is none."""
    cast = plan.forecast
    return {
        "mode": EXACT,
        "private": False,
        "spec": plan.request.spec.to_json(),
        "purpose": plan.purpose,
        "hospitals": list(plan.audience),
        "floor": plan.floor,
        "cells": cast.layout.grid.size,
        "blocks": list(cast.blocks),
        "unwilling": list(plan.catalog.unwilling(plan.audience, str(plan.request.spec.table))),
    }


@contextmanager
def watching(session: Session, id_: str, *, is_quiet: bool) -> Iterator[Waiting]:
    """Ctrl-C stops waiting, not the question: hospitals may have paid for it already. A broken connection is told the same way."""
    if not is_quiet:
        session.note("progress.asked", id=id_)  # whoever has to wait for an approval names it to the auditor
    try:
        with Waiting(session, is_quiet) as waiting:
            yield waiting
    except KeyboardInterrupt:
        session.note("interrupted", id=id_)
        raise typer.Exit(3) from None
    except Unreachable:
        session.note("resume.hint", id=id_)
        raise


def present(
    session: Session,
    answer: Answer,
    out: Path | None,
    chart_file: Path | None,
    further: Further,
    *,
    is_whole: bool,
    as_json: bool,
) -> None:
    given = answer.verified
    if as_json:
        session.show_json(export.as_json(given) | reading.further_json(given, further))
    else:
        session.show(render.answer(given, session.say, is_whole=is_whole))
        for part in reading.further_parts(given, further, session.say, is_whole=is_whole):
            session.show(part)
    if out:
        export.write(given, out, session.say)
        session.note("answer.written", path=out)
    if chart_file:
        from coordinator.client import chart

        if not chart.draw(given, chart_file, session.say):
            session.note("chart.no_font")
        session.note("answer.written", path=chart_file)


def ask_what_is_due(session: Session, city: City, spec: QuerySpec, request: Request, *, months_alone: bool, as_json: bool) -> None:
    """One after the other, each planned by who answered before; what was asked before and is not answered is waited for."""
    questions, _ = standing(city, spec, months_alone=months_alone)
    cast = city.plan(request).forecast
    variances_of(questions, cast.price.one, cast.n)  # what has no noise wide enough is refused before anything is paid
    tried: set[Due] = set()
    while True:
        questions, answers = standing(city, spec, months_alone=months_alone)
        each = next((each for each in to_ask(questions, answers, _today(city)) if each not in tried), None)
        if each is None:
            return
        tried.add(each)
        if open_ids := questions_like(city.shelf, city.shelf.open_questions(), questions).get(each):
            with watching(session, open_ids[-1], is_quiet=as_json) as waiting:
                city.resume(open_ids[-1], waiting.watch)
            continue
        noise = ByPrice(cast.price.one * each.share)
        id_, envelope = city.sign(city.plan(replace(request, spec=each.spec, noise=noise)))
        with watching(session, id_, is_quiet=as_json) as waiting:
            city.send(id_, envelope, waiting.watch)


def _today(city: City) -> date:
    return datetime.fromtimestamp(city.now(), UTC).date()


def show_series(
    session: Session,
    city: City,
    request: Request,
    out: Path | None = None,
    chart_file: Path | None = None,
    *,
    months_alone: bool,
    as_json: bool,
) -> None:
    """With what it costs and promises, where a price was stated."""
    spec, today = request.spec, _today(city)
    questions, answers = standing(city, spec, months_alone=months_alone)
    cast = None if request.noise is None or months_alone else city.plan(request).forecast
    expected, scale = (None if cast is None else promise(spec, cast)), scale_of(spec)
    for_machines = series_json(spec, questions, answers, today) | {"promise": promise_json(expected, scale)}
    if as_json:
        session.show_json(for_machines)
    else:
        session.show(series_page(spec, questions, answers, today, session.say))
        if cast is not None and expected is not None:
            session.show(promise_page(expected, cast.price.one, scale, session.say))
    if out:
        write_series(spec, answers, for_machines, out, session.say)
        session.note("answer.written", path=out)
    if chart_file:
        from coordinator.client.chart_series import draw_series  # half a second of import that only charts need

        if not draw_series(spec, answers, chart_file, session.say):
            session.note("chart.no_font")
        session.note("answer.written", path=chart_file)


def list_answers(session: Session, city: City, *, as_json: bool) -> None:
    found = kept(city.shelf, session.say)
    if as_json:
        done, waiting = city.shelf.answers(), city.shelf.open_questions()
        return session.show_json({"answers": done, "unanswered": waiting, "questions": [each.to_json() for each in found]})
    for each in found:
        session.show(each.line(session.say))
    return None if found else session.note("answers.none")


def require_files(out: Path | None, chart_file: Path | None) -> None:
    if out:
        export.require_format(out, export.FORMATS)
    if chart_file:
        export.require_format(chart_file, export.CHART_FORMATS)
