"""`budget`: what each month of records has paid of its limit, as a table with bars and as a chart; also while `run` is at work."""

from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from hospital_node.commands import DEFAULT_HOME, HomeOption, JsonOption, LangOption, failures, say, show
from hospital_node.errors import Usage
from hospital_node.policy import Policy, read_policy
from hospital_node.records.report_text import Lang
from hospital_node.showing import opened
from privacy.conversion import epsilon_at
from privacy.filter import Spent, encode_charge

BAR = 10
CHART_FORMATS = (".png", ".svg")
PURPOSES = {"surveillance": ("surveillance", "监测"), "research": ("research", "研究"), "outbreak": ("outbreak", "疫情应急")}
ChartOption = Annotated[
    Path | None, typer.Option("--chart", help="Draw it to a .png or .svg file: spent and left by month. 画图到 .png 或 .svg。")
]


def budget(lang: LangOption, home: HomeOption = DEFAULT_HOME, chart: ChartOption = None, as_json: JsonOption = False) -> None:
    """What each month of records has paid, per purpose, of its limit. 隐私预算。"""
    with failures(as_json):
        if chart:
            _require_drawable(chart)
        policy = read_policy(home.expanduser())
        with opened(home.expanduser()) as journal:
            spent = journal.spent()
        rows = [_row(policy, purpose, block, each) for (purpose, block), each in sorted(spent.items(), key=_by_block)]
        show(rows, as_json, _table(rows, lang))
        if chart:
            _draw(policy, spent, chart, lang)


def _table(rows: list[dict[str, str]], lang: Lang) -> Table | str:
    if not rows:
        return say(lang, "no month has paid anything yet", "尚无月份支出预算")
    table = Table(*(say(lang, *words) for words in _WORDS))
    for row in rows:
        share = Fraction(str(row["spent"])) / max(Fraction(str(row["limit"])), Fraction(1, 10**9))
        purpose = say(lang, *PURPOSES.get(row["purpose"], (row["purpose"],) * 2))
        table.add_row(row["block"], purpose, *(row[name] for name in ("spent", "limit", "epsilon")), _bar(share))
    return table


_WORDS = (
    ("month", "月份"),
    ("purpose", "用途"),
    ("spent", "已用"),
    ("limit", "上限"),
    ("ε so far", "累计 ε"),
    ("", ""),
)


def _by_block(item: tuple[tuple[str, str], Spent]) -> tuple[str, str]:
    (purpose, block), _ = item
    return block, purpose


def _row(policy: Policy, purpose: str, block: str, spent: Spent) -> dict[str, str]:
    epsilon = epsilon_at(spent.single, policy.order, policy.delta)
    limit = encode_charge(policy.budget.limit(purpose))
    return {
        "block": block,
        "purpose": purpose,
        "spent": encode_charge(spent.single),
        "spent_two_hospitals": encode_charge(spent.doubled or Fraction(0)),
        "limit": limit,
        "epsilon": f"{float(epsilon):.3f}",
    }


def _bar(share: Fraction) -> str:
    full = min(BAR, -(-share.numerator * BAR // share.denominator))
    return "█" * full + "░" * (BAR - full)


def _require_drawable(path: Path) -> None:
    """Raises Usage, before anything else is done."""
    if path.suffix.lower() not in CHART_FORMATS:
        png, svg = CHART_FORMATS
        raise Usage(f"{path}: a chart is written as {png} or {svg}")
    if not path.parent.is_dir():
        raise Usage(f"{path.parent}: no such folder")


def _draw(policy: Policy, spent: dict[tuple[str, str], Spent], path: Path, lang: Lang) -> None:
    """Raises Usage. What is said of it goes to standard error, beside what `--json` says."""
    from audit_ledger.party import drawing  # half a second of import that only charts need
    from hospital_node.budget_chart import Accounts, figure_of

    found = Accounts.of(policy, spent)
    try:
        is_as_wished = drawing.save(lambda is_chinese: figure_of(found, Lang.ZH if is_chinese else Lang.EN), path, lang is Lang.ZH)
    except OSError as error:
        raise Usage(f"{path}: {error.strerror or type(error).__name__}") from None
    if not is_as_wished:
        typer.echo("未找到中文字体，图表用英文标注", err=True)
    typer.echo(say(lang, f"written to {path}", f"已写入 {path}"), err=True)
