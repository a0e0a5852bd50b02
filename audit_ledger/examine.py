"""What an auditor checks, as commands: verify, monitor. Each needs the pinned trust file."""

import time
from pathlib import Path
from typing import Annotated

import typer

from audit_ledger.bundle import verify_answer
from audit_ledger.errors import Malformed
from audit_ledger.policy import TrustFile
from audit_ledger.screen import (
    USAGE,
    JsonOption,
    TrustOption,
    command,
    end_answer,
    end_ledger,
    fail,
    progress_bar,
    say,
    show_ledger,
)
from audit_ledger.verify import LedgerReport, verify_ledger

app = typer.Typer()


@command(app, "verify", "kapok-audit verify build/demo/ledger --trust build/demo/trust.policy")
def verify(
    target: Annotated[str, typer.Argument(help=say("Ledger folder, URL, or answer file.", "账本目录、网址或答案文件"))],
    trust: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Verify a whole ledger, or one answer offline. / 核验整本账，或离线核验一个答案。"""
    pinned = pinned_trust(trust)
    if Path(target).is_file():
        end_answer(verify_answer(Path(target).read_bytes(), pinned, int(time.time())), as_json)
    end_ledger(verified_ledger(target, pinned), as_json)


@command(app, "monitor", "kapok-audit monitor https://ledger.example --trust trust.policy --mirror M --every 60")
def monitor(
    target: Annotated[str, typer.Argument(help=say("Ledger folder or URL.", "账本目录或网址"))],
    mirror: Annotated[Path, typer.Option("--mirror", help=say("Own copy of what was verified.", "已核验内容的本地副本"))],
    trust: TrustOption = None,
    every: Annotated[int, typer.Option("--every", min=0, help=say("Seconds; 0: once.", "间隔秒数；0 表示一次"))] = 0,
    as_json: JsonOption = False,
) -> None:
    """Verify again and again, reading only what is new; ends at the first evidence. / 反复核验，只读新内容；见证据即止。"""
    pinned = pinned_trust(trust)
    while True:
        report = verified_ledger(target, pinned, mirror)
        if every == 0 or not report.is_verified:
            end_ledger(report, as_json)
        show_ledger(report, as_json)
        time.sleep(every)


def pinned_trust(path: Path | None) -> TrustFile:
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


def verified_ledger(target: str, pinned: TrustFile, mirror: Path | None = None) -> LedgerReport:
    if not target.startswith(("http://", "https://")) and not Path(target).is_dir():
        fail(
            USAGE, say(f"{target}: neither a ledger's folder or URL nor an answer file", f"{target}：不是账本目录、网址或答案文件")
        )
    with progress_bar() as progress:
        return verify_ledger(target, pinned, int(time.time()), progress, mirror)
