"""What an auditor checks, as commands: verify, monitor, report, explain. Each needs the pinned trust file."""

import time
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from audit_ledger.bundle import verify_answer
from audit_ledger.errors import Malformed
from audit_ledger.policy import TrustFile
from audit_ledger.report import explain as explain_entry
from audit_ledger.report import keys_of, period_report
from audit_ledger.screen import (
    USAGE,
    JsonOption,
    TrustOption,
    command,
    end_answer,
    end_ledger,
    fail,
    out,
    print_json,
    progress_bar,
    say,
    show_ledger,
)
from audit_ledger.tiles import CHECKPOINT_PATH, TileReader
from audit_ledger.tree import FullTree, leaf_hash
from audit_ledger.verify import LedgerReport, fetch_of, verify_ledger
from protocols.statements import parse

app = typer.Typer()


@command(app, "verify", "kapok-audit verify build/demo/ledger --trust build/demo/trust.policy")
def verify(
    target: Annotated[str, typer.Argument(help=say("Ledger folder, URL, or answer file.", "账本目录、网址或答案文件"))],
    trust: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Verify a whole ledger, or one answer offline. / 核验整本账，或离线核验一个答案。"""
    pinned = _trust(trust)
    if Path(target).is_file():
        end_answer(verify_answer(Path(target).read_bytes(), pinned, int(time.time())), as_json)
    end_ledger(_verified(target, pinned), as_json)


@command(app, "monitor", "kapok-audit monitor https://ledger.example --trust trust.policy --mirror M --every 60")
def monitor(
    target: Annotated[str, typer.Argument(help=say("Ledger folder or URL.", "账本目录或网址"))],
    mirror: Annotated[Path, typer.Option("--mirror", help=say("Own copy of what was verified.", "已核验内容的本地副本"))],
    trust: TrustOption = None,
    every: Annotated[int, typer.Option("--every", min=0, help=say("Seconds; 0: once.", "间隔秒数；0 表示一次"))] = 0,
    as_json: JsonOption = False,
) -> None:
    """Verify again and again, reading only what is new; ends at the first evidence. / 反复核验，只读新内容；见证据即止。"""
    pinned = _trust(trust)
    while True:
        report = _verified(target, pinned, mirror)
        if every == 0 or not report.is_verified:
            end_ledger(report, as_json)
        show_ledger(report, as_json)
        time.sleep(every)


@command(app, "report", "kapok-audit report build/demo/ledger --trust trust.policy --since 2026-11-01 --json")
def report(
    target: Annotated[str, typer.Argument(help=say("Ledger folder or URL.", "账本目录或网址"))],
    trust: TrustOption = None,
    since: Annotated[str, typer.Option("--since", help="YYYY-MM-DD")] = "",
    until: Annotated[str, typer.Option("--until", help="YYYY-MM-DD")] = "9999",
    as_json: JsonOption = False,
) -> None:
    """A period's report: queries, spending, refusals, incidents; only of a verified ledger. / 时段报告（先核验）。"""
    _require_day("--since", since)
    _require_day("--until", until)
    found = _verified(target, _trust(trust))
    if not found.is_verified or found.view is None:
        end_ledger(found, as_json)
    data = period_report(found.view, since, until)
    if as_json:
        print_json(data)
        return
    _show_report(data)


def _require_day(option: str, text: str) -> None:
    try:
        _ = text in {"", "9999"} or date.fromisoformat(text[:10])
    except ValueError:
        fail(USAGE, say(f"{option}: expected YYYY-MM-DD", f"{option} 应写成 YYYY-MM-DD"))


def _show_report(data: dict[str, Any]) -> None:
    out.print(say(f"{data['origin']}: {data['size']} entries", f"{data['origin']}：共 {data['size']} 条"))
    out.print(say("queries", "问题数") + f" {data['queries_by_purpose']}  {data['ended']}")
    table = Table(say("hospital", "医院"), say("purpose", "目的"), say("block", "时段"), say("spent", "已消耗"))
    for uri, purposes in data["spent"].items():
        for purpose, blocks in purposes.items():
            for block, total in blocks.items():
                table.add_row(uri, purpose, block, total)
    out.print(table)
    for each in data["refusals"]:
        out.print(say("refused", "拒绝") + f" {each['query'][:16]} {each['by']} {', '.join(each['codes'])}")
    for each in data["incidents"]:
        out.print(say("incident", "事件") + f" {each['query'][:16]} {each['by']}")


@command(app, "explain", "kapok-audit explain 12 build/demo/ledger --trust trust.policy")
def explain_index(
    index: Annotated[int, typer.Argument(help=say("The entry's index.", "条目序号"))],
    target: Annotated[str, typer.Argument(help=say("Ledger folder or URL.", "账本目录或网址"))],
    trust: TrustOption = None,
) -> None:
    """Print the shell commands by which openssl and sha256sum confirm one entry. / 打印用 openssl 与 sha256sum 复核一条的命令。"""
    found = _verified(target, _trust(trust))
    if found.broken is not None or found.view is None:
        end_ledger(found, False)
    if not 0 <= index < found.size:
        fail(USAGE, say(f"the ledger has entries 0 to {found.size - 1}", f"账本条目为 0 至 {found.size - 1}"))
    tree, entry = FullTree(), b""
    for at, each in enumerate(TileReader(fetch_of(target), found.size).read_entries(0, found.size)):
        tree.append(leaf_hash(each))
        entry = each if at == index else entry
    for line in explain_entry(index, parse(entry), tree, keys_of(found.view)):
        typer.echo(line)
    typer.echo(f"# {CHECKPOINT_PATH}: {target.rstrip('/')}/{CHECKPOINT_PATH}")


def _trust(path: Path | None) -> TrustFile:
    if path is None:
        fail(
            USAGE,
            say(
                "--trust FILE is missing: without a pinned trust file nothing can be verified", "缺少 --trust：没有信任文件无从核验"
            ),
        )
    try:
        return TrustFile.parse(path.read_bytes())
    except (OSError, Malformed) as error:
        fail(USAGE, f"{path}: {error}")


def _verified(target: str, pinned: TrustFile, mirror: Path | None = None) -> LedgerReport:
    if not target.startswith(("http://", "https://")) and not Path(target).is_dir():
        fail(
            USAGE, say(f"{target}: neither a ledger's folder or URL nor an answer file", f"{target}：不是账本目录、网址或答案文件")
        )
    with progress_bar() as progress:
        return verify_ledger(target, pinned, int(time.time()), progress, mirror)
