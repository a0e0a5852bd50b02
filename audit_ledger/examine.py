"""What an auditor checks, as commands: verify, monitor. Each needs the pinned trust file."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from audit_ledger.before import homes
from audit_ledger.bundle import verify_answer
from audit_ledger.errors import Malformed
from audit_ledger.fetching import is_url
from audit_ledger.mirror import Mirror
from audit_ledger.monitor import Watch
from audit_ledger.opener_store import OpenerStore
from audit_ledger.party.home import Home
from audit_ledger.policy import TrustFile
from audit_ledger.screen import (
    EVIDENCE,
    USAGE,
    HomeOption,
    JsonOption,
    TrustOption,
    command,
    end_answer,
    end_ledger,
    fail,
    out,
    progress_bar,
    say,
    show_round,
)
from audit_ledger.vectors import SUM, Vectors, place
from audit_ledger.verify import Audit, LedgerReport, verified_past, verify_ledger

app = typer.Typer()


MirrorOption = Annotated[
    Path | None, typer.Option("--mirror", help=say("Own copy and state: only what is new is read.", "本地副本与状态：只读新内容"))
]
CheckpointOption = Annotated[
    list[Path] | None,
    typer.Option("--checkpoint", help=say("Another checkpoint that was seen: must fit.", "另见的检查点文件：须与本账一致")),
]
AfterOption = Annotated[
    list[str] | None,
    typer.Option("--after", help=say("The closed log before it; --trust is of the first.", "之前已结账的账本（--trust 为首期的）")),
]
ProcessesOption = Annotated[int, typer.Option("--processes", min=1, help=say("Processes that read and verify.", "核验进程数"))]


@command(app, "verify", "kapok-audit verify build/demo/ledger --trust build/demo/trust.policy")
def verify(
    target: Annotated[str, typer.Argument(help=say("Ledger folder, URL, or answer file.", "账本目录、网址或答案文件"))],
    trust: TrustOption = None,
    mirror: MirrorOption = None,
    checkpoint: CheckpointOption = None,
    evidence: Annotated[
        Path, typer.Option("--evidence", help=say("Where two notes of a fork are kept.", "分叉证据的保存目录"))
    ] = Path("evidence"),
    hashes_only: Annotated[
        bool, typer.Option("--hashes-only", help=say("Bytes and tiles, no rule.", "只核字节与哈希，不核规则"))
    ] = False,
    vectors: Annotated[
        Path | None, typer.Option("--vectors", help=say("Make each release again from these.", "由此目录的向量重算发布"))
    ] = None,
    after: AfterOption = None,
    processes: ProcessesOption = 2,
    as_json: JsonOption = False,
) -> None:
    """Verify a whole ledger, or one answer offline. / 核验整本账，或离线核验一个答案。

    A later period's log is verified with those before it: --after for each, oldest first, and the trust file of the first.
    / 后续各期账本须连同之前各期一并核验：每期一个 --after，由旧到新；--trust 为首期的信任文件。
    """
    pinned = pinned_trust(trust)
    if Path(target).is_file():
        end_answer(verify_answer(Path(target).read_bytes(), pinned, int(time.time()), vectors), as_json)
    begin = Audit(processes=processes, vectors=Vectors(vectors) if vectors else None)
    pinned, audit = begun_after(target, pinned, after, as_json, begin)
    audit = replace(audit, mirror=Mirror(mirror) if mirror else None, checkpoints=_notes(checkpoint), evidence=evidence)
    audit = replace(audit, hashes_only=hashes_only)
    end_ledger(verified_ledger(target, pinned, audit), as_json)


@command(app, "monitor", "kapok-audit monitor https://ledger.example --trust trust.policy --mirror M --every 60")
def monitor(
    target: Annotated[str, typer.Argument(help=say("Ledger folder or URL.", "账本目录或网址"))],
    mirror: Annotated[Path, typer.Option("--mirror", help=say("Own copy of what was verified.", "已核验内容的本地副本"))],
    trust: TrustOption = None,
    every: Annotated[int, typer.Option("--every", min=0, help=say("Seconds; 0: once.", "间隔秒数；0 表示一次"))] = 0,
    stale_after: Annotated[
        int, typer.Option("--stale-after", min=1, help=say("Seconds without a cosignature.", "见证超过此秒数即告警"))
    ] = 86_400,
    checkpoint: CheckpointOption = None,
    after: AfterOption = None,
    processes: ProcessesOption = 2,
    as_json: JsonOption = False,
) -> None:
    """Verify again and again, reading only what is new; ends at the first evidence. / 反复核验，只读新内容；见证据即止。

    With --json one line a round: {"at", "alert", ...}; `alert` is null, or a code.
    / 加 --json 每轮一行：{"at", "alert", ...}；`alert` 为 null 或代码。
    """
    pinned, audit = begun_after(target, pinned_trust(trust), after, as_json, Audit(processes=processes))
    watch = Watch(target, pinned, replace(audit, mirror=Mirror(mirror), checkpoints=_notes(checkpoint)), stale_after)
    while True:
        with progress_bar() as progress:
            seen = watch.once(int(time.time()), progress)
        show_round(seen, as_json)
        if every == 0 or seen.exit_code == EVIDENCE:
            raise typer.Exit(seen.exit_code)
        time.sleep(every)


@command(app, "vectors", "kapok-audit vectors --home A --out vectors")
def vectors_out(
    home: HomeOption,
    output: Annotated[Path, typer.Option("--out", help=say("For verify --vectors.", "供 verify --vectors 使用的目录"))],
) -> None:
    """Write the sums this opener handed out in the last 35 days. / 导出近 35 天开启的和。

    Those under a log that has ended meanwhile too. / 含其间已结账的账本。
    """
    written = 0
    for path in (each.path / "opener.sqlite" for each in homes(Home(home))):
        if not path.exists():
            continue
        store = OpenerStore(path)
        for query, round_, attempt, total in store.sums():
            folder = place(output, query.hex(), round_, attempt)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / SUM).write_bytes(total)
            written += 1
        store.close()
    out.print(say(f"{written} sums in {output}", f"{output}：{written} 个和"))


def _notes(paths: list[Path] | None) -> tuple[bytes, ...]:
    return tuple(each.read_bytes() for each in paths or ())


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
        why = error.strerror if isinstance(error, OSError) else error
        fail(USAGE, f"{path}: {why}")


def begun_after(
    target: str, pinned: TrustFile, after: list[str] | None, as_json: bool, begin: Audit | None = None
) -> tuple[TrustFile, Audit]:
    """The trust in the log and how to begin with it; ends the program where a log before it is not verified."""
    begin = begin or Audit()
    if not after:
        return pinned, begin
    with progress_bar() as progress:
        found = verified_past(after, target, pinned, int(time.time()), progress, begin)
    if isinstance(found, LedgerReport):
        end_ledger(found, as_json)
    trust, begun = found
    return trust, replace(begin, begun=begun)


def verified_ledger(target: str, pinned: TrustFile, audit: Audit) -> LedgerReport:
    if not is_url(target) and not Path(target).is_dir():
        fail(
            USAGE, say(f"{target}: neither a ledger's folder or URL nor an answer file", f"{target}：不是账本目录、网址或答案文件")
        )
    with progress_bar() as progress:
        return verify_ledger(target, pinned, int(time.time()), progress, audit)
