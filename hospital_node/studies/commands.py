"""`kapok-node studies`, `studies accept`, `studies drop`: which installed studies may run here."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from audit_ledger.party.home import Home
from hospital_node.commands import DEFAULT_HOME, HomeOption, JsonOption, LangOption, OwnHome, OwnLang, chosen, failures, say, show
from hospital_node.errors import Usage
from hospital_node.records.report_text import Lang
from hospital_node.studies.installed import STUDIES_FILE, installed_studies, pins_text, read_pins

studies_app = typer.Typer(help="Studies that may run here. 可在本院运行的研究程序。", pretty_exceptions_enable=False)

NameOrHash = Annotated[str, typer.Argument(help="A study's name, or its hash. 研究程序的名称或哈希。")]


@studies_app.callback(invoke_without_command=True, epilog="Example: kapok-node studies --json")
def studies(context: typer.Context, lang: LangOption, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Installed studies by their hash, and which of them are accepted. Nothing of them is run. 已安装的研究程序。"""
    context.obj = (home.expanduser(), lang, as_json)
    if context.invoked_subcommand is None:
        _list(*context.obj)


@studies_app.command("accept", epilog="Example: kapok-node studies accept mlp")
def accept(
    context: typer.Context, study: NameOrHash, home: OwnHome = None, lang: OwnLang = None, as_json: JsonOption = False
) -> None:
    """Let this very copy run: its hash, as it is installed now. 认可当前安装的版本。"""
    place, language, is_json = chosen(context, home, lang, as_json)
    with failures(is_json):
        _write(place, read_pins(place) | {_hash(study)})
    _list(place, language, is_json)


@studies_app.command("drop", epilog="Example: kapok-node studies drop mlp")
def drop(
    context: typer.Context, study: NameOrHash, home: OwnHome = None, lang: OwnLang = None, as_json: JsonOption = False
) -> None:
    """Let it run no longer; a question that has its Ready still ends. 撤销认可。"""
    place, language, is_json = chosen(context, home, lang, as_json)
    with failures(is_json):
        gone = study if study in read_pins(place) else _hash(study)
        _write(place, read_pins(place) - {gone})
    _list(place, language, is_json)


def _hash(study: str) -> str:
    installed = installed_studies()
    found = installed.get(study) or next((each for each in installed.values() if each.sha256 == study), None)
    if found is None:
        raise Usage(f"{study[:64]}: no installed study of this name or hash; there are {', '.join(sorted(installed))}")
    return found.sha256


def _write(home: Path, pins: frozenset[str]) -> None:
    Home(home).write(STUDIES_FILE, pins_text(pins, installed_studies()).encode())


def _list(home: Path, lang: Lang, as_json: bool) -> None:
    with failures(as_json):
        pins, installed = read_pins(home), installed_studies()
        rows = [
            {"name": each.name, "version": each.version, "sha256": each.sha256, "accepted": each.sha256 in pins}
            for each in sorted(installed.values(), key=lambda each: each.name)
        ]
        head = (("study", "研究程序"), ("version", "版本"), ("accepted", "已认可"), ("hash", "哈希"))
        table = Table(*(Column(say(lang, *words), overflow="fold") for words in head))  # a hash that is cut cannot be compared
        for row in rows:
            table.add_row(str(row["name"]), str(row["version"]), "✓" if row["accepted"] else "✗", str(row["sha256"]))
        show(rows, as_json, table)
