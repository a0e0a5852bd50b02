"""`kapok`, the bureau's program: every command, one exit code each way.

Exit codes: 0 done; 1 refused, failed or not verified (no number shown); 2 usage; 3 could not reach or check. Bad input never
ends in a traceback. Help, tables and errors are Chinese or English: `--lang`, else LC_ALL, LC_MESSAGES, LANG.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click
import typer
from rich.console import Console

from audit_ledger.errors import LedgerError, MalformedPolicy
from audit_ledger.party import home_words
from audit_ledger.party.chinese import speak
from audit_ledger.party.home import HomeError
from audit_ledger.party.on_demand import Place, Unloaded, on_demand
from audit_ledger.party.output import steady_output
from coordinator.client.errors import ClientError, told_reasons
from coordinator.client.session import Session
from coordinator.client.texts import Say, language
from privacy.errors import PrivacyError
from protocols.errors import ProtocolError
from protocols.query import Language, Problem, QueryError
from protocols.query.chinese import construct_in_chinese, in_chinese

if TYPE_CHECKING:
    from coordinator.client.city import City

_WHERE = {
    "init": "joining",
    "rotate": "joining",
    "trust": "joining",
    "catalog": "looking",
    **dict.fromkeys(("preview", "plan-year", "query", "series", "train", "answers", "resume", "cancel"), "commands"),
}
COMMANDS = (
    *(Place(name, f"coordinator.client.{module}:app.") for name, module in _WHERE.items()),
    Place("programs", "coordinator.client.looking:programs"),
)
app = typer.Typer(cls=on_demand(*COMMANDS), no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
EXAMPLES = {
    "init": "kapok init --home bureau --invite invitation.json --legal-name '广州市疾病预防控制中心' --licence 12440100",
    "catalog": "kapok catalog --home bureau",
    "list": "kapok programs --home bureau",
    "add": "kapok programs add --title ILI --table visits --purpose surveillance --max-price 0.02 --until 2027-01-01",
    "programs": "kapok programs add --title ILI --table visits --purpose surveillance --max-price 0.02 --until 2027-01-01",
    "preview": "kapok preview ili.sql --sd 20 --programme ILI",
    "plan-year": "kapok plan-year surveillance.toml",
    "query": "kapok query ili.sql --programme ILI --sd 20 --out ili.csv --chart ili.png",
    "series": "kapok series january.sql --sd 40 --programme ILI --ask",
    "train": "kapok train admission.json --rounds 6 --sd 16",
    "answers": "kapok answers 3f2a --chart ili.png",
    "trust": "kapok trust founding-2027.json --after https://ledger.example/log/gz.kapok.example/2026",
    "rotate": "kapok rotate --home ~/.kapok",
    "cancel": "kapok cancel 3f2a",
    "resume": "kapok resume 3f2a",
}


@app.callback(help="help.app")
def _root(lang: Annotated[str | None, typer.Option("--lang", help="opt.lang")] = None) -> None:
    """`--lang` is read before the commands are built; here it is only listed."""


def _connect(home: Path) -> "City":
    from coordinator.client.city import connect

    return connect(home)


def main() -> None:
    """The console script."""
    with steady_output():
        sys.exit(run(sys.argv[1:], os.environ))


def run(args: Sequence[str], environ: Mapping[str, str], connecting: Callable[[Path], "City"] = _connect) -> int:
    """One invocation; the exit code."""
    session = Session(Say(language(_stated(args), environ)), connecting)
    try:
        code = program(session.say).main(args=list(args), prog_name="kapok", standalone_mode=False, obj=session)
    except click.ClickException as error:
        if "--json" in args:
            _show_json("usage", error.exit_code, error.format_message(), [])
        error.show(sys.stderr)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 3
    except (ClientError, LedgerError, ProtocolError, PrivacyError, QueryError, OSError) as error:
        return _told(error, session, is_json="--json" in args)
    return code if isinstance(code, int) else 0


def program(say: Say) -> click.Command:
    """The commands with their help in one language."""
    speak(say.lang is Language.ZH)
    return _word(typer.main.get_command(app), say)


def _word(command: click.Command, say: Say) -> click.Command:
    if isinstance(command, Unloaded):
        command.dress(say, lambda loaded: _word(loaded, say))
        return command
    command.help = say(command.help) if command.help else None
    if command.name in EXAMPLES:
        command.epilog = say("help.example") + EXAMPLES[command.name]
    for param in command.params:
        if isinstance(param, typer.core.TyperOption | typer.core.TyperArgument) and str(param.help).startswith("opt."):
            param.help = say(str(param.help))
    if isinstance(command, click.Group):
        for each in command.commands.values():
            _word(each, say)
    return command


def _stated(args: Sequence[str]) -> str | None:
    """The value of `--lang`, wherever it stands: help and usage errors need it before the arguments are read."""
    for n, each in enumerate(args):
        if each == "--lang" and n + 1 < len(args):
            return args[n + 1]
        if each.startswith("--lang="):
            return each.partition("=")[2]
    return None


def _told(error: Exception, session: Session, *, is_json: bool) -> int:
    code, lines = exit_code(error), list(_lines(error, session.say))
    if is_json:
        _show_json(getattr(error, "code", "error"), code, lines[0], lines[1:])
    console = Console(file=sys.stderr, highlight=False)
    console.print(session.say("error.prefix") + lines[0], style="bold red", markup=False, soft_wrap=True)
    for line in lines[1:]:
        console.print(f"  {line}", markup=False, soft_wrap=True)
    return code


def _show_json(code: str, exit_code: int, message: str, details: Sequence[str]) -> None:
    facts = {"code": code, "exit_code": exit_code, "message": message, "details": list(details)}
    sys.stdout.write(json.dumps({"error": facts}, ensure_ascii=False) + "\n")


def _lines(error: Exception, say: Say) -> Iterator[str]:
    if isinstance(error, QueryError):
        yield say("error.query")
        yield from (_problem(each, say) for each in error.problems)
    elif isinstance(error, ClientError):
        told = {name: say.outside(value) if name == "why" else value for name, value in error.values.items()}
        yield say(error.text_id, **told)
        yield from told_reasons(error.reasons, say)
    elif isinstance(error, OSError):
        yield say("error.file", path=error.filename or "-", why=say.outside(error.strerror or type(error).__name__))
    elif isinstance(error, HomeError) and say.lang is Language.ZH:
        yield home_words.in_chinese(str(error))
    else:
        yield say.outside(str(error) or type(error).__name__)


def _problem(problem: Problem, say: Say) -> str:
    place = say("error.place", line=problem.line, column=problem.column) if problem.line else problem.path
    is_chinese = say.lang is Language.ZH
    worded = in_chinese if is_chinese else str
    construct = construct_in_chinese(problem.construct) if is_chinese else problem.construct
    nearest = [say("error.nearest", nearest=worded(problem.nearest))] if problem.nearest else []
    told = say("list.colon").join(filter(None, (place, construct, worded(problem.rule))))
    return f"{say('list.semicolon').join([told, *nearest])}   [{problem.code}]"


def exit_code(error: Exception) -> int:
    """2 for what the person can set right, 1 for a no, 3 for what could not be had or checked."""
    from audit_ledger.party.enrol import EnrolmentRefused

    if isinstance(error, ClientError):
        return error.exit_code
    if isinstance(error, EnrolmentRefused):
        return 1
    if isinstance(error, LedgerError) and not isinstance(error, HomeError | MalformedPolicy):
        return 3
    return 2


if __name__ == "__main__":
    main()
