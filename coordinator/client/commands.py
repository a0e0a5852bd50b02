"""The commands that ask: their arguments and what each does with them; words come from `texts`, by the ids that stand as help."""

from pathlib import Path
from typing import Annotated

import typer

from coordinator.client import planning, render, segments, training
from coordinator.client.arguments import names_of, seconds_of
from coordinator.client.city import Request, noise_of
from coordinator.client.further import Further, Population
from coordinator.client.options import (
    DEFAULT_HOME,
    AsJson,
    Bound,
    Cells,
    ChartFile,
    ChiSquare,
    Clamp,
    Epsilon,
    Exact,
    Floor,
    HomeFolder,
    Hospitals,
    Id,
    LangName,
    OutFile,
    PopulationFile,
    Price,
    ProgrammeName,
    Purpose,
    Question,
    Sd,
    ShowAll,
    TopCells,
    Valid,
    session_of,
)
from coordinator.client.question import read_question
from coordinator.client.showing import (
    ask_what_is_due,
    detached,
    is_fit,
    list_answers,
    plan_json,
    present,
    require_files,
    show_fit,
    show_series,
    show_when_fitted,
    watching,
)
from coordinator.client.year import read_year, year

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command("preview", help="help.preview")
def preview(
    ctx: typer.Context,
    question: Question,
    sd: Sd = None,
    epsilon: Epsilon = None,
    price: Price = None,
    programme: ProgrammeName = None,
    purpose: Purpose = "research",
    hospitals: Hospitals = "",
    exact: Exact = False,
    cells_per_patient: Cells = None,
    clamp: Clamp = None,
    bound: Bound = None,
    home: HomeFolder = DEFAULT_HOME,
    lang: LangName = None,
    as_json: AsJson = False,
) -> None:
    session, noise = session_of(ctx, lang), noise_of(sd, epsilon, price)
    spec = read_question(question, cells_per_patient, clamp, bound)
    request = Request(spec, noise, programme, purpose, names_of(hospitals), is_exact=exact)
    with session.connect(home) as city:
        plan = city.plan(request)
    if as_json:
        return session.show_json(plan_json(plan))
    return session.show(render.preview(plan, session.say, with_ladder=noise is None))


@app.command("plan-year", help="help.plan_year")
def plan_year(
    ctx: typer.Context,
    plan_file: Annotated[Path, typer.Argument(help="opt.plan_file")],
    hospitals: Hospitals = "",
    home: HomeFolder = DEFAULT_HOME,
    lang: LangName = None,
    as_json: AsJson = False,
) -> None:
    session, standing = session_of(ctx, lang), read_year(plan_file, noise_of)
    with session.connect(home) as city:
        found = year(standing, len(city.catalog().audience(names_of(hospitals))))
    if as_json:
        session.show_json(planning.year_json(found))
    else:
        session.show(planning.year_plan(found, session.say))
    if not found.fits:
        raise typer.Exit(1)


@app.command("query", help="help.query")
def query(
    ctx: typer.Context,
    question: Question,
    sd: Sd = None,
    epsilon: Epsilon = None,
    price: Price = None,
    programme: ProgrammeName = None,
    purpose: Purpose = "research",
    hospitals: Hospitals = "",
    floor: Floor = None,
    exact: Exact = False,
    valid: Valid = None,
    cells_per_patient: Cells = None,
    clamp: Clamp = None,
    bound: Bound = None,
    top: TopCells = None,
    chi_square: ChiSquare = False,
    population: PopulationFile = None,
    out: OutFile = None,
    chart_file: ChartFile = None,
    show_all: ShowAll = False,
    home: HomeFolder = DEFAULT_HOME,
    lang: LangName = None,
    as_json: AsJson = False,
) -> None:
    session, spec = session_of(ctx, lang), read_question(question, cells_per_patient, clamp, bound)
    require_files(out, chart_file)
    further = Further(top, chi_square, Population.read(population) if population else None)
    further.require(spec)
    if chart_file:
        from coordinator.client import chart  # half a second of import that only charts need

        chart.require_drawable(spec)
    noise, valid_s = noise_of(sd, epsilon, price), seconds_of(valid)
    request = Request(spec, noise, programme, purpose, names_of(hospitals), floor, valid_s, exact)
    with session.connect(home) as city:
        id_, envelope = city.sign(city.plan(request))
        with watching(session, id_, is_quiet=as_json) as waiting:
            answer = city.send(id_, envelope, waiting.watch)
    present(session, answer, out, chart_file, further, is_whole=show_all, as_json=as_json)


@app.command("series", help="help.series")
def series(
    ctx: typer.Context,
    question: Question,
    ask: Annotated[bool, typer.Option("--ask", help="opt.ask")] = False,
    months_alone: Annotated[bool, typer.Option("--months-alone", help="opt.months_alone")] = False,
    sd: Sd = None,
    epsilon: Epsilon = None,
    price: Price = None,
    programme: ProgrammeName = None,
    purpose: Purpose = "surveillance",
    hospitals: Hospitals = "",
    cells_per_patient: Cells = None,
    clamp: Clamp = None,
    out: OutFile = None,
    chart_file: ChartFile = None,
    home: HomeFolder = DEFAULT_HOME,
    lang: LangName = None,
    as_json: AsJson = False,
) -> None:
    session, spec = session_of(ctx, lang), read_question(question, cells_per_patient, clamp)
    require_files(out, chart_file)
    request = Request(spec, noise_of(sd, epsilon, price), programme, purpose, names_of(hospitals))
    with session.connect(home) as city:
        if ask:
            ask_what_is_due(session, city, spec, request, months_alone=months_alone, as_json=as_json)
        show_series(session, city, request, out, chart_file, months_alone=months_alone, as_json=as_json)


@app.command("train", help="help.train")
def train(
    ctx: typer.Context,
    fit: Annotated[Path, typer.Argument(help="opt.fit")],
    rounds: Annotated[int | None, typer.Option("--rounds", min=1, max=segments.MOST_ROUNDS, help="opt.rounds")] = None,
    sd: Annotated[float | None, typer.Option("--sd", min=0.01, help="opt.fit_sd")] = None,
    price: Annotated[str, typer.Option("--price", help="opt.fit_price")] = "",
    hospitals: Hospitals = "",
    exact: Exact = False,
    detach: Annotated[bool, typer.Option("--detach", help="opt.detach")] = False,
    home: HomeFolder = DEFAULT_HOME,
    lang: LangName = None,
    as_json: AsJson = False,
) -> None:
    session, written = session_of(ctx, lang), training.read_fit(fit)
    is_exact, asked = written.is_exact(exact), names_of(hospitals)
    with session.connect(home) as city:
        asked_for = segments.statements_of(city, written.spec, rounds, sd, price, exact=is_exact, hospitals=asked)
        ids = segments.sign(city, asked_for)
        if detach:
            return detached(session, city, ids, as_json=as_json)
        return show_when_fitted(session, city, ids, is_new=True, as_json=as_json)


@app.command("answers", help="help.answers")
def answers(
    ctx: typer.Context,
    start: Annotated[str | None, typer.Argument(metavar="[ID]", help="opt.id")] = None,
    top: TopCells = None,
    chi_square: ChiSquare = False,
    population: PopulationFile = None,
    out: OutFile = None,
    chart_file: ChartFile = None,
    show_all: ShowAll = False,
    home: HomeFolder = DEFAULT_HOME,
    lang: LangName = None,
    as_json: AsJson = False,
) -> None:
    session = session_of(ctx, lang)
    require_files(out, chart_file)
    further = Further(top, chi_square, Population.read(population) if population else None)
    with session.connect(home) as city:
        if start is None:
            return list_answers(session, city, as_json=as_json)
        id_ = city.shelf.full_id(start)
        if is_fit(city, id_) and id_ in city.shelf.answers():
            return show_fit(session, training.fitted(city.shelf.answer(id_), id_, city), as_json=as_json)
        answer = city.answer(id_)
    further.require(answer.verified.spec)
    return present(session, answer, out, chart_file, further, is_whole=show_all, as_json=as_json)


@app.command("resume", help="help.resume")
def resume(
    ctx: typer.Context,
    start: Id,
    out: OutFile = None,
    chart_file: ChartFile = None,
    show_all: ShowAll = False,
    home: HomeFolder = DEFAULT_HOME,
    lang: LangName = None,
    as_json: AsJson = False,
) -> None:
    session = session_of(ctx, lang)
    require_files(out, chart_file)
    with session.connect(home) as city:
        id_ = city.shelf.full_id(start)
        if is_fit(city, id_):
            show_when_fitted(session, city, city.shelf.training(id_), as_json=as_json)
            return
        with watching(session, id_, is_quiet=as_json) as waiting:
            answer = city.resume(id_, waiting.watch)
    present(session, answer, out, chart_file, Further(), is_whole=show_all, as_json=as_json)


@app.command("cancel", help="help.cancel")
def cancel(ctx: typer.Context, start: Id, home: HomeFolder = DEFAULT_HOME, lang: LangName = None, as_json: AsJson = False) -> None:
    session = session_of(ctx, lang)
    with session.connect(home) as city:
        id_ = city.shelf.full_id(start)
        step = city.cancel(id_)
    if as_json:
        return session.show_json({"query": id_, "state": step.state})
    text_id = "cancel.done" if step.is_last else "cancel.asked"
    return session.show(session.say(text_id, id=id_, state=session.say(f"state.{step.state}")))
