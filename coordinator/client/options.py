"""The options that commands share: names, bounds, and the ids of their words in `texts`. `session_of` is how each begins."""

from pathlib import Path
from typing import Annotated

import typer

from coordinator.client.errors import BadUsage
from coordinator.client.session import Session

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


def session_of(ctx: typer.Context, lang: str | None) -> Session:
    if lang not in {None, "zh", "en"}:
        raise BadUsage("error.lang")
    session: Session = ctx.obj
    return session
