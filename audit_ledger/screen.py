"""How `kapok-audit` speaks: its language, its help, its verdicts and its exit codes. Decides nothing."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from audit_ledger.answer_report import PRIVATE, AnswerReport
from audit_ledger.bundle_words import problem_in_chinese
from audit_ledger.words import words
from protocols.outside import outside_in_chinese

if TYPE_CHECKING:
    from audit_ledger.monitor import Round
    from audit_ledger.verify import LedgerReport

VERIFIED, EVIDENCE, USAGE, UNCHECKED = 0, 1, 2, 3
PROGRESS_AFTER_S = 2.0
_F = TypeVar("_F", bound=Callable[..., Any])

W = words(sys.argv, os.environ)
say = W.say
out, err = Console(soft_wrap=True, highlight=False), Console(stderr=True, soft_wrap=True, highlight=False)

HomeOption = Annotated[Path, typer.Option("--home", help=say("The auditor's folder.", "审计方目录"), envvar="KAPOK_AUDIT_HOME")]
PassphraseOption = Annotated[
    Path | None,
    typer.Option("--passphrase-file", help=say("Encrypts the keys; lies outside --home.", "口令文件：加密密钥，须在目录之外")),
]
TrustOption = Annotated[Path | None, typer.Option("--trust", help=say("The pinned trust file.", "信任文件"))]
JsonOption = Annotated[bool, typer.Option("--json", help=say("Machine-readable output.", "机器可读输出"))]
ReasonOption = Annotated[str, typer.Option("--reason", help=say("Stands in the ledger.", "写入账本的理由"))]


def command(app: typer.Typer, name: str, example: str) -> Callable[[_F], _F]:
    """Registers a command of whose docstring each paragraph is `English / 中文`, with an example under its help."""

    def register(function: _F) -> _F:
        english, chinese = in_two_languages(function.__doc__ or "")
        epilog = say("Example: ", "示例：") + example
        registered: _F = app.command(name, help=say(english, chinese), epilog=epilog)(function)
        return registered

    return register


def log_to_stderr() -> None:
    """JSON lines on standard error: for the commands that serve, before they do."""
    import structlog

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def in_two_languages(text: str) -> tuple[str, str]:
    """Every paragraph of it, in each language."""
    parted = [" ".join(each.split()).partition(" / ") for each in text.split("\n\n")]
    return "\n\n".join(each[0] for each in parted), "\n\n".join(each[2] for each in parted)


def fail(code: int, message: str) -> NoReturn:
    complain(message)
    raise typer.Exit(code)


def complain(message: str) -> None:
    told = outside_in_chinese(message) if W.is_chinese else message
    err.print(say("kapok-audit: ", "kapok-audit：") + told, style="red", markup=False)


def print_json(data: Any) -> None:
    typer.echo(json.dumps(data, ensure_ascii=False, indent=2))


@contextmanager
def progress_bar() -> Iterator[Callable[[int, int], None]]:
    """A progress bar with the time left, on stderr, once the work has taken two seconds."""
    columns = (TextColumn(say("verified", "已核验")), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar, started = Progress(*columns, console=err, transient=True), time.monotonic()
    task = bar.add_task("", total=None)

    def show(done: int, of: int) -> None:
        if time.monotonic() - started > PROGRESS_AFTER_S and err.is_terminal:
            bar.start()
            bar.update(task, completed=done, total=of)

    try:
        yield show
    finally:
        if bar.live.is_started:  # else it prints an empty line
            bar.stop()


def end_ledger(report: LedgerReport, as_json: bool) -> NoReturn:
    show_ledger(report, as_json)
    raise typer.Exit(VERIFIED if report.is_verified else EVIDENCE)


def show_ledger(report: LedgerReport, as_json: bool) -> None:
    if as_json:
        sentences = [W.finding(each) for each in report.findings]
        print_json({**report.to_json(), "sentences": sentences})
        return
    from audit_ledger.verify import spelled_age

    now = int(time.time())
    ages = ", ".join(f"{name} {spelled_age(now, seen)}" for name, seen in sorted(report.cosigned.items())) or say("nobody", "无")
    out.print(f"{report.origin}  {say('size', '条数')} {report.size}  {say('root', '根')} {report.root}", markup=False)
    out.print(say(f"cosigned by: {ages} ago", f"见证：{ages} 前"), markup=False)
    out.print(say(f"verified up to entry {report.verified_to} of {report.size}", f"已核验至 {report.verified_to} / {report.size}"))
    for each in report.findings:
        out.print(f"✗ {W.finding(each)}  [{each.rule}]", style="red", markup=False)
    if report.broken is not None:
        out.print(f"✗ {W.error(report.broken.code, str(report.broken))}", style="red", markup=False)
    if report.evidence:
        out.print(say("both checkpoints are kept: ", "两份检查点已保存：") + ", ".join(map(str, report.evidence)), markup=False)
    for size in report.unseen:
        out.print(say(f"not compared: a checkpoint of {size} entries, beyond this log", f"未比对：{size} 条的检查点超出本账"))
    if report.vectors is not None:
        made = report.vectors.rederived
        out.print(say(f"releases made again from their vectors: {made}", f"由向量重算的发布：{made}"))
        for gone in report.vectors.gone:
            out.print(say(f"release not re-derived: {gone[:16]}", f"未重算的发布：{gone[:16]}"))
    if report.hashes_only:
        out.print(say("bytes and tiles only: no rule was replayed", "只核了字节与哈希，未核规则"))
    _verdict(report.is_verified)


def show_round(seen: Round, as_json: bool) -> None:
    """One round of the monitor: a line of JSON, or what `show_ledger` shows."""
    if as_json:
        sentences = [W.finding(each) for each in seen.report.findings] if seen.report else []
        typer.echo(json.dumps({**seen.to_json(), "sentences": sentences}, ensure_ascii=False))
        return
    if seen.report is not None:
        show_ledger(seen.report, False)
    if seen.problem is not None:
        complain(W.error(seen.problem.code, str(seen.problem)))


def end_answer(report: AnswerReport, as_json: bool) -> NoReturn:
    told = [W.not_shown(what, detail) for what, detail in report.not_shown]
    if as_json:
        print_json({**report.to_json(), "not_shown": told})
    else:
        out.print(f"{say('query', '问题')} {report.query}  {say('under a tree of', '所在账本条数')} {report.size}")
        if report.mode != PRIVATE:
            out.print(say("EXACT MODE: this answer is NOT private", "精确模式：此答案不具有隐私保护"), style="bold red")
        if report.card is not None:
            show_card(report.card)
        for each in report.problems:
            told_problem = f"{each.place}{say(': ', '：')}{say(each.what, problem_in_chinese(each.what))}"
            out.print(f"✗ {told_problem}", style="red", markup=False)
        for line in told:
            out.print(say("not shown: ", "本文件不能证明：") + line, markup=False)
        _verdict(report.is_verified)
    raise typer.Exit(VERIFIED if report.is_verified else EVIDENCE)


def show_card(card: dict[str, Any]) -> None:
    """A model card, for people."""
    lines = [
        (say("study", "研究程序"), f"{card['study']} {card['version']}  sha256 {card['study_sha256']}"),
        (say("model", "模型"), f"sha256 {card['model_sha256']}"),
        (say("question", "问题"), card["query"]),
        (say("data", "数据"), f"{card['table']} ({card['catalogue']}){say(', ', '，')}{_hospitals(card)}"),
        (say("privacy", "隐私"), f"ε {card['epsilon']}, δ {card['delta']}{say('; price', '；费用')} {card['price']}"),
        (say("rounds", "轮次"), f"{card['rounds']}{say('; ', '；')}{_held_out(card)}"),
    ]
    lines += [(each["name"], f"{each['value']}  [{each['low']}, {each['high']}] 95 %") for each in card["metrics"]]
    for name, told in lines:
        out.print(f"{name}{say(': ', '：')}{told}", markup=False, highlight=False, soft_wrap=True)


def _hospitals(card: dict[str, Any]) -> str:
    there, missing = len(card["answered"]), card["missing"]
    return say(f"{there} hospitals of {there + missing}", f"{there + missing} 家医院中的 {there} 家")


def _held_out(card: dict[str, Any]) -> str:
    if card["held_out"] == "0":
        return say("not tested on held-out patients", "未做留出检验")
    if not card["metrics"]:
        return say("held-out patients are fewer than the noise shows", "留出病人过少，噪声下无法给出指标")
    return say(f"tested on {float(card['held_out']):.0%} of patients, held out", f"留出 {float(card['held_out']):.0%} 病人做检验")


def _verdict(is_verified: bool) -> None:
    if is_verified:
        out.print(say("VERIFIED", "核验通过"), style="bold green")
    else:
        out.print(say("EVIDENCE OF TAMPERING OR A BROKEN RULE", "发现篡改或违规证据"), style="bold red")
