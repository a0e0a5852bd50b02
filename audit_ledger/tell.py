"""What an auditor hands on, as commands: a period's report, and the steps by which others confirm an entry or an answer."""

import json
import time
from dataclasses import replace
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.table import Table

from audit_ledger.audit_event import as_ndjson, audit_events
from audit_ledger.bundle import NotAnAnswer
from audit_ledger.checkpoint import Checkpoint
from audit_ledger.errors import Unavailable
from audit_ledger.examine import AfterOption, begun_after, pinned_trust, verified_ledger
from audit_ledger.explain import Keys, explain_answer, explain_entry
from audit_ledger.fetching import fetch_of
from audit_ledger.findings import Finding, Rule
from audit_ledger.model_card import card_json
from audit_ledger.note import Note
from audit_ledger.policy import TrustFile
from audit_ledger.report import as_csv, period_report
from audit_ledger.report_page import ENDED, PURPOSES, page
from audit_ledger.screen import (
    EVIDENCE,
    USAGE,
    JsonOption,
    TrustOption,
    W,
    command,
    end_ledger,
    fail,
    out,
    print_json,
    say,
    show_card,
)
from audit_ledger.tiles import CHECKPOINT_PATH, TileReader
from audit_ledger.tree import FullTree, inclusion_proof, leaf_hash
from audit_ledger.verify import Audit
from audit_ledger.view import LedgerView
from protocols.answer import Answer
from protocols.identity import fingerprint

app = typer.Typer()


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"
    HTML = "html"
    CSV = "csv"
    FHIR = "fhir"


@command(app, "report", "kapok-audit report build/demo/ledger --trust trust.policy --since 2026-11-01 --format html --out r.html")
def report(
    target: Annotated[str, typer.Argument(help=say("Ledger folder or URL.", "账本目录或网址"))],
    trust: TrustOption = None,
    since: Annotated[str, typer.Option("--since", help="YYYY-MM-DD")] = "",
    until: Annotated[str, typer.Option("--until", help="YYYY-MM-DD")] = "9999",
    form: Annotated[
        Format, typer.Option("--format", help=say("fhir: AuditEvents as NDJSON.", "fhir：AuditEvent，每行一条"))
    ] = Format.TEXT,
    output: Annotated[Path | None, typer.Option("--out", help=say("Write to a file.", "写入文件"))] = None,
    after: AfterOption = None,
    as_json: JsonOption = False,
) -> None:
    """A period's report: queries, spending, refusals, reviews, coverage; of a verified ledger. / 时段报告（先核验）。

    Where the ledger holds what breaks a rule, the report says so first, and the exit code is 1. / 有违规则首先列出，退出码 1。
    """
    _require_day("--since", since)
    _require_day("--until", until)
    pinned, audit = begun_after(target, pinned_trust(trust), after, as_json)
    found = verified_ledger(target, pinned, replace(audit, keeps=True))
    if found.broken is not None or found.view is None:
        end_ledger(found, as_json)
    data = period_report(found.view, since, until, int(time.time()), found.findings)
    text = _written(found.view, data, Format.JSON if as_json else form)
    if output is not None and text is not None:
        output.write_text(text, "utf-8")
        out.print(say(f"written to {output}", f"已写入 {output}"), markup=False)
    elif text is not None:
        typer.echo(text, nl=False)
    elif output is not None:
        fail(USAGE, say("--out needs --format html, json, csv or fhir", "--out 需要 --format html、json、csv 或 fhir"))
    else:
        _show(data)
    if found.findings:
        broken = len(found.findings)
        fail(EVIDENCE, say(f"{broken} broken rules in this ledger: see `verify`", f"账本中有 {broken} 处违规：见 `verify`"))


def _written(view: LedgerView, data: dict[str, Any], form: Format) -> str | None:
    match form:
        case Format.HTML:
            return page(data, W)
        case Format.CSV:
            return as_csv(data)
        case Format.FHIR:
            return as_ndjson(audit_events(view, data["since"], data["until"]))
        case Format.JSON:
            return json.dumps(data, ensure_ascii=False, indent=2) + "\n"
        case Format.TEXT:
            return None


def _require_day(option: str, text: str) -> None:
    try:
        _ = text in {"", "9999"} or date.fromisoformat(text[:10])
    except ValueError:
        fail(USAGE, say(f"{option}: expected YYYY-MM-DD", f"{option} 应写成 YYYY-MM-DD"))


def _counted(numbers: dict[str, int], names: dict[str, tuple[str, str]]) -> str:
    told = [f"{say(*names.get(name, (name, name)))} {number}" for name, number in numbers.items()]
    return say(", ", "、").join(told) or say("none", "无")


def _show(data: dict[str, Any]) -> None:
    out.print(say(f"{data['origin']}: {data['size']} entries", f"{data['origin']}：共 {data['size']} 条"))
    for each in data["findings"]:
        found = W.finding(Finding(each["entry"], Rule(each["rule"]), each["detail"]))
        out.print(f"✗ {found}  [{each['rule']}]", style="red", markup=False)
    asked, ended = _counted(data["queries_by_purpose"], PURPOSES), _counted(data["ended"], ENDED)
    out.print(say(f"queries: {asked}; of them {ended}", f"问题：{asked}；其中{ended}"), markup=False)
    table = Table(say("hospital", "医院"), say("block", "时段"), say("spent", "已消耗"), say("budget", "预算"), "ε")
    for uri, blocks in data["epsilon"].items():
        for block, each in blocks.items():
            table.add_row(uri, block, each["spent"], each["budget"], each["epsilon"])
    out.print(table)
    for each in data["refusals"]:
        out.print(say("refused", "拒绝") + f" {each['query'][:16]} {each['by']} {', '.join(each['codes'])}")
    for each in data["reviews"]:
        if each["is_overdue"]:
            out.print(say("review overdue", "复核逾期") + f" {each['query']} {each['due']}", style="red", markup=False)
    for each in data["incidents"]:
        out.print(say("incident", "事件") + f" {each['query'][:16]} {each['by']}")


@command(app, "models", "kapok-audit models build/demo/ledger --trust trust.policy")
def models(
    target: Annotated[str, typer.Argument(help=say("Ledger folder or URL.", "账本目录或网址"))],
    trust: TrustOption = None,
    after: AfterOption = None,
    as_json: JsonOption = False,
) -> None:
    """The model cards of a verified ledger: study, data, privacy, metrics on held-out patients. / 账本中的模型卡（先核验）。"""
    pinned, audit = begun_after(target, pinned_trust(trust), after, as_json)
    found = verified_ledger(target, pinned, replace(audit, keeps=True))
    if not found.is_verified or found.view is None:
        end_ledger(found, as_json)
    cards = [{"index": facts.card[0], **card_json(facts.card[1])} for facts in found.view.questions.values() if facts.card]
    if as_json:
        print_json(cards)
        return
    for card in sorted(cards, key=lambda each: each["index"]):
        out.print(say(f"entry {card['index']}", f"第 {card['index']} 条"), style="bold")
        show_card(card)
    if not cards:
        out.print(say("no model card", "没有模型卡"))


@command(app, "explain", "kapok-audit explain 12 build/demo/ledger --trust trust.policy > steps.sh; sh steps.sh")
def explain(
    what: Annotated[
        str, typer.Argument(metavar="INDEX|ANSWER", help=say("An entry's index, or an answer file.", "条目序号或答案文件"))
    ],
    target: Annotated[str, typer.Argument(metavar="[LEDGER]", help=say("The entry's ledger.", "条目所在账本"))] = "",
    trust: TrustOption = None,
    after: AfterOption = None,
) -> None:
    """Print the shell steps by which openssl and sha256sum confirm an entry or an answer. / 打印 openssl 与 sha256sum 复核步骤。"""
    pinned = pinned_trust(trust)
    if what.isdecimal() and target:
        _explain_entry(int(what), target, *begun_after(target, pinned, after, False))
        return
    if target or not Path(what).is_file():
        fail(
            USAGE,
            say("expected INDEX and LEDGER, or an answer file", "应给出条目序号与账本，或一个答案文件"),
        )
    try:
        answer = Answer.model_validate_json(Path(what).read_bytes())
    except ValidationError:
        raise NotAnAnswer(f"{what}: not an answer of this version") from None
    for line in explain_answer(answer, pinned):
        typer.echo(line)


def _explain_entry(index: int, target: str, pinned: TrustFile, audit: Audit) -> None:
    found = verified_ledger(target, pinned, replace(audit, keeps=True))
    if found.broken is not None or found.view is None:
        end_ledger(found, False)
    if not index < found.size:
        fail(USAGE, say(f"the ledger has entries 0 to {found.size - 1}", f"账本条目为 0 至 {found.size - 1}"))
    note = fetch_of(target)(CHECKPOINT_PATH)
    if Checkpoint.parse(Note.parse(note).text).size != found.size:
        raise Unavailable(f"{target}: grew meanwhile; run it again")
    tree, entry = FullTree(), b""
    for at, each in enumerate(TileReader(fetch_of(target), found.size).read_entries(0, found.size)):
        tree.append(leaf_hash(each))
        entry = each if at == index else entry
    path = inclusion_proof(index, found.size, tree.read)
    for line in explain_entry(index, entry, path, note, pinned, _keys(found.view)):
        typer.echo(line)


def _keys(view: LedgerView) -> Keys:
    """Every key the ledger ever named."""
    return Keys({fingerprint(each.key): (each.key, f"entry {each.since}") for each in view.authority.keys.values()})
