"""`kapok-node source`: answer from the hospital's own database from the next start on, or from imported records again."""

from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from audit_ledger.party.home import Home
from hospital_node.commands import DEFAULT_HOME, HomeOption, JsonOption, LangOption, failures, say, show
from hospital_node.config import Config
from hospital_node.errors import Usage
from hospital_node.records.codes import CodeMap
from hospital_node.sources.errors import SourceError
from hospital_node.sources.mapping import SOURCE_FILE, example_source, read_source


def _print_example(wanted: bool) -> None:
    if wanted:
        typer.echo(example_source(), nl=False)
        raise typer.Exit


def source(
    lang: LangOption,
    mapping: Annotated[Path | None, typer.Argument(help="TOML: which database, table and column mean what. 映射文件。")] = None,
    home: HomeOption = DEFAULT_HOME,
    imported: Annotated[bool, typer.Option("--imported", help="Answer from imported records again. 改回已导入的数据。")] = False,
    as_json: JsonOption = False,
    example: Annotated[
        bool, typer.Option("--example-mapping", help="Print a mapping. 打印映射示例。", callback=_print_example, is_eager=True)
    ] = False,
) -> None:
    """Answer from your own database (PostgreSQL, MySQL, Oracle, Spark): checks it, then takes it. 使用医院自己的数据库。"""
    with failures(as_json):
        place = home.expanduser()
        config = Config.read(place)
        if imported == (mapping is not None):
            raise Usage("give a mapping file, or --imported")
        if mapping is None:
            (place / SOURCE_FILE).unlink(missing_ok=True)
            text = say(lang, "imported records from the next start on", "下次启动起使用已导入的数据")
            show({"source": "imported"}, as_json, text)
            return
        found = _look(place, config, mapping)
        Home(place).write(SOURCE_FILE, mapping.read_bytes())
        tables = ", ".join(found)
        text = say(lang, f"{tables}: from the database from the next start on", f"{tables}：下次启动起取自数据库")
        show({"source": "database", "tables": found}, as_json, text)


def _look(place: Path, config: Config, mapping: Path) -> list[str]:
    """The mapped tables of a database that can be asked. Raises the first thing that is wrong, with all of them in its text."""
    from hospital_node.sources.plans import DatabasePlans

    mapped = read_source(mapping)
    wrong = DatabasePlans(place, mapped, ZoneInfo(config.zone), CodeMap.read()).faults()
    if wrong:
        raise _all_of(wrong)
    return [str(table) for table in mapped.tables]


def _all_of(wrong: list[SourceError]) -> SourceError:
    return type(wrong[0])("; ".join(f"{each} [{each.code}]" for each in wrong))
