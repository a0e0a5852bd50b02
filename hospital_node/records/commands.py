"""`kapok-node import fhir | csv`: the door through which records come in.

Exit codes: 0 imported; 2 the command line, a path on it or a mapping is not right; 3 could not (nothing was changed).
Standard output carries the report alone; progress and errors go to standard error. No message holds a value of a record, not
even that of a fault in the program: an exception that is not ours is named by its type only.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, NoReturn
from zoneinfo import ZoneInfo, available_timezones

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from audit_ledger.words import words
from hospital_node.error_words import error_in_chinese
from hospital_node.records.codes import CodeMap
from hospital_node.records.csv_mapping import example_mapping, read_mapping
from hospital_node.records.districts import read_postal_codes
from hospital_node.records.errors import InvalidMapping, NoSuchSource, RecordsError
from hospital_node.records.fhir import fhir_files
from hospital_node.records.importing import Ingest, NothingLoaded
from hospital_node.records.report import ImportReport
from hospital_node.records.report_text import Lang, failure, render
from hospital_node.records.residents import Residents

import_app = typer.Typer(
    help="Import records into this node. 把病历导入本节点。",
    epilog="Example: kapok-node import fhir export/",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _zone(name: str) -> str:
    if name in available_timezones():
        return name
    near = get_close_matches(name, available_timezones(), 1) or ["Asia/Shanghai"]
    raise typer.BadParameter(f"not a time zone, did you mean {near[0]}?")


def _print_example(wanted: bool) -> None:
    if wanted:
        typer.echo(example_mapping(), nl=False)
        raise typer.Exit


def _default_lang() -> str:
    return "zh" if words(sys.argv, os.environ).is_chinese else "en"


_HOME = Path("~/.kapok-node")
Home = Annotated[
    Path, typer.Option(help="The node's folder; records lie in its records/. 节点目录，病历在其 records/ 中。", envvar="KAPOK_HOME")
]
AsJson = Annotated[bool, typer.Option("--json", help="The report as JSON. 以 JSON 输出报告。")]
Language = Annotated[
    Lang, typer.Option(help="en or zh; LANG decides if not given. 语言：en 或 zh，默认看 LANG。", default_factory=_default_lang)
]
CodeMaps = Annotated[
    list[Path] | None, typer.Option(help="More codes: system,code,icd10,name; may be repeated. 补充编码表，可重复，以后者为准。")
]
PostalCodes = Annotated[
    Path | None, typer.Option(help="Lines of postal code,adcode without a header. 邮政编码与区划代码对照，无表头。")
]
ResidentSystem = Annotated[
    str | None,
    typer.Option(
        help="The identifier system of resident numbers; kept as keyed hashes, needs `kapok-node residents`. "
        "居民身份证号的标识体系；仅存带密钥的散列，须先运行 kapok-node residents。"
    ),
]
Example = Annotated[
    bool, typer.Option("--example-mapping", help="Print a mapping. 打印映射示例。", callback=_print_example, is_eager=True)
]
Zone = Annotated[str, typer.Option(help="The zone whose calendar dates count. 日历日期所用时区。", callback=_zone)]


@import_app.command("fhir", epilog="Example: kapok-node import fhir export/ bundle.json --home /var/lib/kapok")
def import_fhir(
    paths: Annotated[
        list[Path],
        typer.Argument(help="Bundles (.json), Bulk Data (.ndjson), also .gz, or folders of them. 文件或目录，可为 .gz。"),
    ],
    lang: Language,
    home: Home = _HOME,
    as_json: AsJson = False,
    code_map: CodeMaps = None,
    postal_codes: PostalCodes = None,
    zone: Zone = "Asia/Shanghai",
    resident_system: ResidentSystem = None,
) -> None:
    """Import FHIR R4: Patient, Encounter, Condition, Observation. A record of a known id replaces it. 导入 FHIR R4 记录。"""
    with _failures(lang, as_json):
        files = fhir_files(paths)
        with _progress(files) as advance:
            report = _ingest(home, code_map, postal_codes, zone, advance).fhir(files, resident_system)
        _show(report, lang, as_json)


@import_app.command(
    "csv",
    epilog="Example: kapok-node import csv --example-mapping > m.toml; kapok-node import csv visits.csv --mapping m.toml",
)
def import_csv(
    path: Annotated[Path, typer.Argument(help="The CSV file, UTF-8 or GB18030. 表格文件（CSV），UTF-8 或 GB18030。")],
    mapping: Annotated[Path, typer.Option(help="TOML: which column means what. 映射文件：各列含义。")],
    lang: Language,
    home: Home = _HOME,
    as_json: AsJson = False,
    code_map: CodeMaps = None,
    postal_codes: PostalCodes = None,
    zone: Zone = "Asia/Shanghai",
    example: Example = False,
) -> None:
    """Import a CSV file whose columns a mapping file names. 按映射文件导入 CSV。"""
    with _failures(lang, as_json):
        columns = read_mapping(mapping)
        with _progress([path]) as advance:
            report = _ingest(home, code_map, postal_codes, zone, advance).csv(path, columns)
        _show(report, lang, as_json)


def _ingest(
    home: Path, code_map: list[Path] | None, postal_codes: Path | None, zone: str, advance: Callable[[int], None]
) -> Ingest:
    return Ingest(
        folder=home.expanduser() / "records",
        today=datetime.now(ZoneInfo(zone)).date(),
        zone=ZoneInfo(zone),
        codes=CodeMap.read(code_map or ()),
        by_postal_code=read_postal_codes(postal_codes) if postal_codes else {},
        progress=advance,
        residents=Residents.of(home.expanduser()),
    )


@contextmanager
def _progress(files: list[Path]) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), DownloadColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("import", total=sum(file.stat().st_size for file in files if file.is_file()))
        yield lambda size: bar.advance(task, size)


def _show(report: ImportReport, lang: Lang, as_json: bool) -> None:
    if as_json:
        typer.echo(orjson.dumps(report.as_json()))
    else:
        Console().print(render(report, lang))


@contextmanager
def _failures(lang: Lang, as_json: bool) -> Iterator[None]:
    try:
        yield
    except NothingLoaded as error:
        if not as_json:
            _show(error.report, lang, as_json)
        _fail(error.code, str(error), 3, lang, error.report if as_json else None, as_json)
    except (NoSuchSource, InvalidMapping) as error:
        _fail(error.code, str(error), 2, lang, None, as_json)
    except RecordsError as error:
        _fail(error.code, str(error), 3, lang, None, as_json)
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:  # noqa: BLE001 (the text of an unknown exception may quote a record)
        _fail("records.internal", type(error).__name__, 3, lang, None, as_json)


def _fail(code: str, detail: str, status: int, lang: Lang, report: ImportReport | None, as_json: bool) -> NoReturn:
    if as_json:
        typer.echo(orjson.dumps({"error": code, "detail": detail, **({"report": report.as_json()} if report else {})}))
    typer.echo(failure(code, lang, error_in_chinese(detail) if lang is Lang.ZH else detail), err=True)
    raise typer.Exit(status)
