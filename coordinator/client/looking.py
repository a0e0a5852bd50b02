"""`kapok catalog` and `kapok programs`: what a city has, and what the bureau has stated that it will ask."""

from typing import Annotated

import typer

from coordinator.client import render
from coordinator.client.arguments import day_of, price_text
from coordinator.client.options import DEFAULT_HOME, AsJson, HomeFolder, LangName, Purpose, session_of

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
programs = typer.Typer(invoke_without_command=True, help="help.programs")


@app.command("catalog", help="help.catalog")
def catalog(ctx: typer.Context, home: HomeFolder = DEFAULT_HOME, lang: LangName = None, as_json: AsJson = False) -> None:
    session = session_of(ctx, lang)
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
    session = session_of(ctx, lang)
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
    session, price, last = session_of(ctx, lang), price_text(max_price), day_of(until)
    with session.connect(home) as city:
        id_, index = city.add_programme(title, purpose, table, price, last)
    if as_json:
        return session.show_json({"id": id_, "index": index})
    return session.show(session.say("programs.added", id=id_, index=index))
