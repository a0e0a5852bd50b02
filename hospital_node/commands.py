"""What every command of `kapok-node` shares: its options, its two languages, and its way to fail.

Exit codes: 0 done; 2 the command line, or a file that people write, is not right; 3 could not. No traceback: an exception that is
not ours is named by its type only, since its text may quote a record.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import orjson
import typer
from rich.console import Console, RenderableType

from audit_ledger.errors import LedgerError
from audit_ledger.party.home import HomeError
from audit_ledger.party.home_words import in_chinese
from audit_ledger.party.output import unabridged
from audit_ledger.words import words
from hospital_node.error_words import error_in_chinese
from hospital_node.errors import InvalidConfig, NodeError, Usage
from hospital_node.records.errors import InvalidSchema, NoSuchSource, RecordsError
from hospital_node.records.report_text import Lang
from protocols.errors import ProtocolError


def default_lang() -> str:
    return "zh" if words(sys.argv, os.environ).is_chinese else "en"


DEFAULT_HOME = Path("~/.kapok-node")
HomeOption = Annotated[Path, typer.Option("--home", help="The node's folder. 节点目录。", envvar="KAPOK_HOME")]
JsonOption = Annotated[bool, typer.Option("--json", help="For machines: one JSON value. 输出 JSON。")]
LangOption = Annotated[
    Lang,
    typer.Option("--lang", help="en or zh; LANG decides if not given. 语言：en 或 zh，默认看 LANG。", default_factory=default_lang),
]
OwnHome = Annotated[Path | None, typer.Option("--home", help="The node's folder. 节点目录。")]
OwnLang = Annotated[Lang | None, typer.Option("--lang", help="en or zh. 语言：en 或 zh。")]
"""Options of a command within a group that has them too: see `chosen`."""
OURS = (NodeError, LedgerError, ProtocolError, RecordsError)


@contextmanager
def failures(as_json: bool) -> Iterator[None]:
    """Turns errors into one line on standard error, a code for machines and an exit status."""
    try:
        yield
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except HomeError as error:
        _fail(error.code, in_chinese(str(error)) if default_lang() == "zh" else str(error), 2, as_json)
    except (InvalidConfig, Usage, NoSuchSource, InvalidSchema) as error:
        _fail(error.code, str(error), 2, as_json)
    except OURS as error:
        _fail(error.code, str(error), 3, as_json)
    except Exception as error:  # noqa: BLE001 (the text of an unknown exception may quote a record)
        _fail("node.internal", type(error).__name__, 3, as_json)


def _fail(code: str, detail: str, status: int, as_json: bool) -> NoReturn:
    if as_json:
        typer.echo(orjson.dumps({"error": code, "detail": detail}))
    told = error_in_chinese(detail) if default_lang() == "zh" else detail
    typer.echo(f"{told}   [{code}]", err=True)
    raise typer.Exit(status)


def show(value: object, as_json: bool, text: RenderableType) -> None:
    """The value for machines, or the text (or rich table) for people."""
    if as_json:
        typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2))
    elif isinstance(text, str):
        typer.echo(text)  # as it stands: fingerprints, paths and files are copied from here
    else:
        Console().print(unabridged(text))


def chosen(context: typer.Context, home: Path | None, lang: Lang | None, as_json: bool) -> tuple[Path, Lang, bool]:
    """Options count behind a group as `tables` and behind its commands; the group's stand in `context.obj`."""
    group_home, group_lang, group_json = context.obj
    return (home.expanduser() if home else group_home), lang or group_lang, as_json or group_json


def say(lang: Lang, english: str, chinese: str) -> str:
    return chinese if lang is Lang.ZH else english
