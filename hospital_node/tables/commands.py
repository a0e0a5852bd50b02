"""`kapok-node tables`, `tables add`, `tables remove`: what can be asked here, and research tables beside the records."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from hospital_node.commands import DEFAULT_HOME, HomeOption, JsonOption, LangOption, OwnHome, OwnLang, chosen, failures, say, show
from hospital_node.dataset import read_dataset
from hospital_node.errors import Usage
from hospital_node.policy import POLICY_FILE, read_policy
from hospital_node.records.errors import InvalidSchema, NoRecords
from hospital_node.records.profile import profile
from hospital_node.records.report_text import TABLE_NAMES, Lang
from hospital_node.tables.declared import declare, names, withdraw
from hospital_node.tables.registering import Registered, add_table, registered_tables, remove_table
from hospital_node.tables.schema import EXAMPLE, TableSchema, read_schema, require_name

tables_app = typer.Typer(help="The tables that can be asked. 可查询的数据表。", pretty_exceptions_enable=False)


def _print_example(wanted: bool) -> None:
    if wanted:
        typer.echo(EXAMPLE, nl=False)
        raise typer.Exit


@tables_app.callback(invoke_without_command=True, epilog="Example: kapok-node tables --json")
def tables(context: typer.Context, lang: LangOption, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """The records in force, exactly (for your eyes), registered tables, and what is declared to the city. 数据表。"""
    context.obj = (home.expanduser(), lang, as_json)
    if context.invoked_subcommand is None:
        with failures(as_json):
            _list(home.expanduser(), lang, as_json)


@tables_app.command("add", epilog="Example: kapok-node tables add heart heart.csv --schema heart.toml")
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What questions call it: lower-case letters, digits, _. 查询中使用的名称。")],
    file: Annotated[Path, typer.Argument(help="The CSV file, UTF-8 or GB18030, with a header. 带表头的 CSV 文件。")],
    schema: Annotated[Path, typer.Option(help="TOML: columns, public bounds, units, categories. 数据表说明文件。")],
    home: OwnHome = None,
    own_lang: OwnLang = None,
    own_json: JsonOption = False,
    example: Annotated[
        bool, typer.Option("--example-schema", help="Print a schema. 打印说明示例。", callback=_print_example, is_eager=True)
    ] = False,
) -> None:
    """Register a research table, or replace its rows. 登记或更新研究数据表。"""
    place, lang, as_json = chosen(context, home, own_lang, own_json)
    with failures(as_json):
        require_name(name)
        stated = read_schema(schema)
        _require_same_catalogue(place, name, stated)
        found = add_table(place / "records", name, file, stated)
        declare(place, name, schema.read_bytes())  # last: what is declared is there
        show(asdict(found), as_json, _added(found, stated, lang))


@tables_app.command("remove", epilog="Example: kapok-node tables remove heart")
def remove(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The registered table. 已登记的数据表。")],
    home: OwnHome = None,
    own_lang: OwnLang = None,
    own_json: JsonOption = False,
) -> None:
    """Take a registered table away; what was paid for it stays paid. 移除研究数据表（已用预算不恢复）。"""
    place, lang, as_json = chosen(context, home, own_lang, own_json)
    with failures(as_json):
        require_name(name)
        if (place / POLICY_FILE).exists() and name in read_policy(place).tables:
            raise Usage(f"{name}: {POLICY_FILE} still permits it; take it out of `tables` there first")
        withdraw(place, name)  # first: what is declared is there
        remove_table(place / "records", name)
        show({"name": name, "removed": True}, as_json, say(lang, f"{name} is no longer registered", f"已移除 {name}"))


def _require_same_catalogue(place: Path, name: str, stated: TableSchema) -> None:
    """One catalogue id is one table's: two would share what patients of each can lose; and a table keeps what it paid."""
    for other, schema in registered_tables(place / "records").items():
        if other != name and schema.catalogue == stated.catalogue:
            raise InvalidSchema(f"catalogue: {stated.catalogue} is that of {other}")


def _list(place: Path, lang: Lang, as_json: bool) -> None:
    folder, declared = place / "records", read_dataset(place)
    try:
        found = profile(folder)
    except NoRecords:
        found = None
    rows = [asdict(each) for each in found.tables] if found else []
    table = Table(*(say(lang, *words) for words in (("table", "表"), ("rows", "行数"), ("first", "最早"), ("last", "最晚"))))
    for row in rows:
        name = say(lang, *TABLE_NAMES[str(row["name"])])
        table.add_row(name, str(row["rows"]), *(str(row[day]) if row[day] else "–" for day in ("first", "last")))
    registered = registered_tables(folder)
    for name, schema in registered.items():
        table.add_row(name, say(lang, "registered", "已登记"), schema.static_block or schema.first_day, schema.last_day)
    told = {name: {**schema.model_dump(mode="json"), "declared": name in names(place)} for name, schema in registered.items()}
    public = declared.model_dump(mode="json") if declared else None
    value = {"tables": rows, "registered": told, "unmapped_share": found.unmapped_share if found else None, "declared": public}
    show(value, as_json, table)


def _added(found: Registered, stated: TableSchema, lang: Lang) -> str:
    name, block = found.name, stated.static_block or say(lang, "the months of its dates", "其日期所在月份")
    lines = [say(lang, f"{name}: {found.rows} rows; {block} pay", f"{name}：{found.rows} 行；由 {block} 付费")]
    for column, count in found.missing.items():
        if count:
            lines.append(say(lang, f"  {column}: {count} missing", f"  {column}：缺失 {count}"))
    for column, count in found.outside.items():
        if count:
            lines.append(
                say(lang, f"  {column}: {count} outside of its bounds, clamped", f"  {column}：{count} 个超出公开范围，将截断")
            )
    lines.append(say(lang, f'Next: add "{name}" to `tables` in policy.toml', f'下一步：在 policy.toml 的 tables 中加入 "{name}"'))
    return "\n".join(lines)
