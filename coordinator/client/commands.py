"""The commands' arguments and what each does with them; words come from `texts`, by the ids that stand here as help."""

import time
from pathlib import Path
from typing import Annotated

import typer

from audit_ledger.before import entry0_in, take_next
from audit_ledger.desk import desk_at
from audit_ledger.party.enrol import Invitation
from audit_ledger.party.home import Home
from audit_ledger.succession import renew_identity
from coordinator.client import planning, render, segments, training
from coordinator.client.arguments import day_of, names_of, price_text, seconds_of, trust_bytes
from coordinator.client.city import Request, noise_of
from coordinator.client.enrolling import enrolled
from coordinator.client.errors import BadUsage
from coordinator.client.further import Further, Population
from coordinator.client.question import read_question
from coordinator.client.session import Session
from coordinator.client.settings import Settings
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
from protocols.identity import Identity, fingerprint
from protocols.statements import Licence

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="help.app")
programs = typer.Typer(invoke_without_command=True, help="help.programs")
app.add_typer(programs, name="programs")

HomeFolder = Annotated[Path, typer.Option("--home", envvar="KAPOK_HOME", help="opt.home")]
LangName = Annotated[str | None, typer.Option("--lang", help="opt.lang")]
AsJson = Annotated[bool, typer.Option("--json", help="opt.json")]
Question = Annotated[str, typer.Argument(help="opt.question")]
Id = Annotated[str, typer.Argument(help="opt.id")]
Sd = Annotated[float | None, typer.Option("--sd", help="opt.sd")]
Epsilon = Annotated[float | None, typer.Option("--epsilon", help="opt.epsilon")]
Price = Annotated[float | None, typer.Option("--price", help="opt.price")]
ProgrammeName = Annotated[str | None, typer.Option("--programme", help="opt.programme")]
Purpose = Annotated[str, typer.Option("--purpose", help="opt.purpose")]
Hospitals = Annotated[str, typer.Option("--hospitals", help="opt.hospitals")]
Floor = Annotated[int | None, typer.Option("--floor", min=1, help="opt.floor")]
Valid = Annotated[str | None, typer.Option("--valid", help="opt.valid")]
Cells = Annotated[int | None, typer.Option("--cells-per-patient", min=1, help="opt.cells")]
Bound = Annotated[str | None, typer.Option("--bound", help="opt.bound")]
Clamp = Annotated[int | None, typer.Option("--clamp", min=1, help="opt.clamp")]
OutFile = Annotated[Path | None, typer.Option("--out", help="opt.out")]
ChartFile = Annotated[Path | None, typer.Option("--chart", help="opt.chart")]
Exact = Annotated[bool, typer.Option("--exact", help="opt.exact")]
TopCells = Annotated[int | None, typer.Option("--top", min=1, max=1000, help="opt.top")]
ChiSquare = Annotated[bool, typer.Option("--chi-square", help="opt.chi_square")]
PopulationFile = Annotated[Path | None, typer.Option("--population", help="opt.population")]
ShowAll = Annotated[bool, typer.Option("--all", help="opt.all")]

DEFAULT_HOME = Path.home() / ".kapok"


@app.command("init", help="help.init")
def init(
    ctx: typer.Context,
    invite: Annotated[Path, typer.Option("--invite", help="opt.invite")],
    legal_name: Annotated[str, typer.Option("--legal-name", help="opt.legal")],
    licence: Annotated[str, typer.Option("--licence", help="opt.licence")],
    home: HomeFolder = DEFAULT_HOME,
    name: Annotated[str | None, typer.Option("--name", help="opt.name")] = None,
    outbreak: Annotated[bool, typer.Option("--outbreak", help="opt.outbreak")] = False,
    trust: Annotated[Path | None, typer.Option("--trust", help="opt.trust")] = None,
    passphrase_file: Annotated[Path | None, typer.Option("--passphrase-file", help="opt.passphrase")] = None,
    lang: LangName = None,
    as_json: AsJson = False,
) -> None:
    session, place, invitation = _session(ctx, lang), Home(home), Invitation.read(invite)
    invited = Identity.parse(invitation.uri)
    if name not in {None, invited.name}:
        raise BadUsage("error.name_differs", invited=invited, name=name)
    trusted = trust_bytes(trust) if trust else None
    enrolled(place.protect(passphrase_file), invitation, Licence(legal_name=legal_name, number=licence), outbreak=outbreak)
    if trusted:
        place.write("trust.policy", trusted)
    print_ = fingerprint(place.key("identity").public)
    if as_json:
        return session.show_json({"uri": invitation.uri, "fingerprint": print_, "trust": place.has("trust.policy")})
    session.show(session.say("init.done", uri=invitation.uri))
    session.show(f"  {print_}")
    session.show(session.say("init.next"))
    if not place.has("trust.policy"):
        session.note("init.no_trust", path=place.path / "trust.policy")
    return None


@app.command("rotate", help="help.rotate")
def rotate(
    ctx: typer.Context,
    home: HomeFolder = DEFAULT_HOME,
    invite: Annotated[Path | None, typer.Option("--invite", help="opt.invite_anew")] = None,
    lang: LangName = None,
    as_json: AsJson = False,
) -> None:
    session, place = _session(ctx, lang), Home(home)
    settings = Settings.read(place)
    with desk_at(place, settings.coordinator_address, settings.coordinator_uri) as desk:
        made = renew_identity(desk, settings.uri, invite)
    if as_json:
        return session.show_json({"uri": settings.uri, "fingerprint": made})
    done = "rotate.asked" if invite else "rotate.done"
    return session.show(session.say(done, uri=settings.uri, fingerprint=made))


@app.command("trust", help="help.next_log")
def next_log(
    ctx: typer.Context,
    founding: Annotated[Path, typer.Argument(help="opt.founding")],
    after: Annotated[str, typer.Option("--after", help="opt.after")],
    home: HomeFolder = DEFAULT_HOME,
    lang: LangName = None,
    as_json: AsJson = False,
) -> None:
    session, place = _session(ctx, lang), Home(home)
    taken = take_next(place, entry0_in(founding), after, int(time.time()))
    origin, entry0 = taken.policy.logs[0].key.origin, taken.entry0.hex()
    if as_json:
        return session.show_json({"origin": origin, "entry0": entry0})
    return session.show(session.say("next_log.done", origin=origin, entry0=entry0))


@app.command("catalog", help="help.catalog")
def catalog(ctx: typer.Context, home: HomeFolder = DEFAULT_HOME, lang: LangName = None, as_json: AsJson = False) -> None:
    session = _session(ctx, lang)
    with session.connect(home) as city:
        if as_json:
            return session.show_json(city.catalog_json())
        found = city.catalog()
    session.show(render.catalog(found, session.say))
    return session.show(render.programmes(found, session.say))


@programs.callback(help="help.programs")
def list_programs(ctx: typer.Context, home: HomeFolder = DEFAULT_HOME, lang: LangName = None, as_json: AsJson = False) -> None:
    if ctx.invoked_subcommand:
        return
    session = _session(ctx, lang)
    with session.connect(home) as city:
        found = city.catalog()
    if as_json:
        session.show_json([each.model_dump(mode="json") for each in found.programmes])
    else:
        session.show(render.programmes(found, session.say))


@programs.command("add", help="help.programs.add")
def add_program(
    ctx: typer.Context,
    title: Annotated[str, typer.Option("--title", help="opt.title")],
    table: Annotated[list[str], typer.Option("--table", help="opt.table")],
    max_price: Annotated[str, typer.Option("--max-price", help="opt.max_price")],
    until: Annotated[str, typer.Option("--until", help="opt.until")],
    purpose: Purpose = "surveillance",
    home: HomeFolder = DEFAULT_HOME,
    lang: LangName = None,
    as_json: AsJson = False,
) -> None:
    session, price, last = _session(ctx, lang), price_text(max_price), day_of(until)
    with session.connect(home) as city:
        id_, index = city.add_programme(title, purpose, table, price, last)
    if as_json:
        return session.show_json({"id": id_, "index": index})
    return session.show(session.say("programs.added", id=id_, index=index))


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
    session, noise = _session(ctx, lang), noise_of(sd, epsilon, price)
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
    session, standing = _session(ctx, lang), read_year(plan_file, noise_of)
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
    session, spec = _session(ctx, lang), read_question(question, cells_per_patient, clamp, bound)
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
    session, spec = _session(ctx, lang), read_question(question, cells_per_patient, clamp)
    require_files(out, chart_file)
    request = Request(spec, noise_of(sd, epsilon, price), programme, purpose, names_of(hospitals))
    with session.connect(home) as city:
        if ask:
            ask_what_is_due(session, city, spec, request, as_json=as_json)
        show_series(session, city, spec, out, chart_file, as_json=as_json)


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
    session, written = _session(ctx, lang), training.read_fit(fit)
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
    session = _session(ctx, lang)
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
    session = _session(ctx, lang)
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
    session = _session(ctx, lang)
    with session.connect(home) as city:
        id_ = city.shelf.full_id(start)
        step = city.cancel(id_)
    if as_json:
        return session.show_json({"query": id_, "state": step.state})
    text_id = "cancel.done" if step.is_last else "cancel.asked"
    return session.show(session.say(text_id, id=id_, state=session.say(f"state.{step.state}")))


def _session(ctx: typer.Context, lang: str | None) -> Session:
    if lang not in {None, "zh", "en"}:
        raise BadUsage("error.lang")
    session: Session = ctx.obj
    return session
