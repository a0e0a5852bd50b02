"""`kapok-coordinator`: the operator's program.

Exit codes: 0 done, 1 refused, 2 usage, 3 could not (a port, a file, the auditor away). A command imports what does its work, so
that help and the short ones need not load a city's whole machinery.
"""

import json
import logging
import os
import secrets
import shutil
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, ParamSpec, TypeVar

import typer
from rich.console import Console

from audit_ledger.errors import LedgerError
from audit_ledger.party.help import in_one_language
from audit_ledger.party.home import Home, HomeError
from audit_ledger.party.home_words import in_chinese
from audit_ledger.party.output import steady_output
from audit_ledger.words import words
from coordinator.error_words import error_in_chinese
from coordinator.errors import CoordinatorError
from coordinator.register import Register
from protocols.errors import ProtocolError
from protocols.identity import Identity
from protocols.statements import Query, parse

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="The coordinator of a city. / 城市协调方。", pretty_exceptions_enable=False
)
console = Console(stderr=True)
WORDS = words(sys.argv, os.environ)
SAY = WORDS.say
P = ParamSpec("P")
T = TypeVar("T")
HomeOption = Annotated[
    Path, typer.Option("--home", help="The coordinator's folder. / 协调方目录。", envvar="KAPOK_COORDINATOR_HOME")
]
JsonOption = Annotated[bool, typer.Option("--json", help="For machines. / 供程序使用")]


def explained(command: Callable[P, T]) -> Callable[P, T]:
    """Turns our errors into one line and an exit code; no traceback reaches a user."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except (CoordinatorError, HomeError, LedgerError, ProtocolError, OSError) as error:
            code = getattr(error, "code", "system")
            text = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
            if WORDS.is_chinese:
                text = in_chinese(text) if isinstance(error, HomeError) else error_in_chinese(text)
            console.print(f"✗ {text}  [{code}]", style="red", markup=False, highlight=False, soft_wrap=True)
            raise typer.Exit(3) from None

    return run


@app.command(epilog="Example: kapok-coordinator init --home C --origin gz.kapok.example/2026 --auditor-card A/auditor.json")
@explained
def init(
    home: HomeOption,
    origin: Annotated[str, typer.Option(help="The log's name, e.g. gz.kapok.example/2026 / 账本名")] = "",
    auditor_card: Annotated[Path | None, typer.Option(help="The auditor's public card / 审计方名片")] = None,
    founding: Annotated[
        Path | None, typer.Option(help="The founding file that the auditor countersigned / 审计方会签的创始文件")
    ] = None,
    name: Annotated[str, typer.Option(help="The coordinator's name / 协调方简称")] = "city",
    link_listen: Annotated[
        str, typer.Option(help="host:port for hospitals, bureau and auditor / 供医院、疾控与审计方连接的 host:port")
    ] = "127.0.0.1:7443",
    enrol_listen: Annotated[str, typer.Option(help="host:port for enrolment / 登记用 host:port")] = "127.0.0.1:7444",
    opener: Annotated[str, typer.Option(help="host:port of the auditor's opener / 审计方开启服务的 host:port")] = "127.0.0.1:7445",
    witness: Annotated[str, typer.Option(help="URL of the auditor's witness / 审计方见证服务的网址")] = "http://127.0.0.1:7446",
    http_listen: Annotated[
        str, typer.Option(help="host:port where the log is read and written over HTTP / 以 HTTP 提供账本的 host:port")
    ] = "",
    passphrase_file: Annotated[
        Path | None,
        typer.Option(help="Encrypt the keys under the passphrase in this file, outside --home / 口令文件，须在目录之外"),
    ] = None,
) -> None:
    """Makes keys, CA and the draft of entry 0; called again with --founding, accepts the countersigned one. / 初始化。"""

    from coordinator.closing import accept_next
    from coordinator.founding import accept_founding, draft_root

    place = Home(home)
    if founding is not None:
        is_next = place.has("next/founding/draft.json") or place.has("next/trust.policy")
        (accept_next if is_next else accept_founding)(place, founding)
        trust = home / "trust.policy"
        _done(SAY(f"founded; give {trust} to everybody", f"已创立；请将 {trust} 交给各方"))
        return
    if auditor_card is None or not origin:
        raise typer.BadParameter(
            SAY("--origin and --auditor-card are needed, or --founding", "需要 --origin 与 --auditor-card，或 --founding")
        )
    uri = str(Identity.parse(f"kapok://coordinator/{name}"))
    config = draft_root(
        place.protect(passphrase_file), uri, origin, auditor_card, (link_listen, enrol_listen, opener, witness, http_listen)
    )
    draft = home / "founding" / "draft.json"
    _done(
        SAY(
            f"{config.uri}: draft of entry 0 in {draft}; let the auditor countersign it",
            f"{config.uri}：首条草稿 {draft}，请审计方会签",
        )
    )


@app.command(epilog="Example: kapok-coordinator enroll hospital h01 --home C --out h01.json")
@explained
def enroll(
    role: Annotated[str, typer.Argument(help="hospital, bureau or auditor / 角色：hospital、bureau 或 auditor")],
    name: Annotated[str, typer.Argument(help="lower-case name, e.g. yuexiu-1 / 小写简称")],
    home: HomeOption,
    out: Annotated[Path, typer.Option(help="Where to write the invitation / 邀请文件的位置")],
) -> None:
    """Writes a one-time invitation for one party; hand it over in person or by a safe channel. / 发出一次性邀请。"""
    from audit_ledger.party.enrol import Invitation, token_hash
    from coordinator.config import Config
    from coordinator.transport_ca import CertificateAuthority

    place = Home(home)
    config, uri = Config.read(place), str(Identity.parse(f"kapok://{role}/{name}"))
    token = secrets.token_urlsafe(32)
    register = Register(home / "register.sqlite")
    register.invite(token_hash(token), uri)
    register.close()
    invitation = Invitation(
        uri=uri,
        origin=config.origin,
        coordinator=config.uri,
        link_address=config.link_listen,
        enrol_address=config.enrol_listen,
        ca_pem=CertificateAuthority.load(place).pem().decode(),
        token=token,
    )
    out.write_text(invitation.model_dump_json(indent=2))
    out.chmod(0o600)
    _done(SAY(f"invitation for {uri} in {out}", f"{uri} 的邀请文件：{out}"))


@app.command(epilog="Example: kapok-coordinator witnesses --home C --add 'union VKEY https://w.union.example' --quorum 2")
@explained
def witnesses(
    home: HomeOption,
    add: Annotated[list[str] | None, typer.Option(help="One more witness: 'NAME VKEY URL' / 新增见证方：'名称 公钥 网址'")] = None,
    quorum: Annotated[int, typer.Option(help="How many must cosign / 至少几个见证方签名")] = 0,
    json_: JsonOption = False,
) -> None:
    """Lists the witnesses and the quorum, or adds witnesses; everybody then pins the new trust file. / 见证方与门限。"""
    from coordinator.witnesses import add_witnesses

    place = Home(home)
    if add or quorum:
        path = add_witnesses(place, add or [], quorum)
        _done(SAY(f"restart, and give {path} to everybody; they compare it", f"请重启，并将 {path} 交给各方核对并启用"))
        return
    policy = place.trust().policy
    rows = [{"name": each.name, "vkey": each.key.vkey.encode(), "url": each.url or ""} for each in policy.witnesses]
    groups = {each.name: f"{each.threshold} / {len(each.members)}" for each in policy.groups}
    if json_:
        print(json.dumps({"witnesses": rows, "quorum": policy.quorum, "groups": groups}))
        return
    for row in rows:
        print(f"{row['name']}  {row['url']}\n  {row['vkey']}")
    print(SAY("quorum", "门限") + f": {groups.get(policy.quorum, policy.quorum)}")


@app.command(epilog="Example: kapok-coordinator protect --passphrase-file /etc/kapok-passphrase --home C")
@explained
def protect(
    home: HomeOption,
    passphrase_file: Annotated[Path, typer.Option(help="Lies outside --home, mode 600 / 口令文件，须在目录之外，权限 600")],
) -> None:
    """Encrypts the keys of a home that has plain ones; after a crash run it again. / 加密已有目录中的明文密钥。"""
    from audit_ledger.protecting import encrypt_keys

    made = encrypt_keys(Home(home), passphrase_file)
    _done(SAY(f"{len(made)} keys encrypted", f"已加密 {len(made)} 把密钥"))


@app.command(epilog="Example: kapok-coordinator rotate --home C")
@explained
def rotate(home: HomeOption) -> None:
    """Replaces the identity key of a stopped coordinator; the old one signs for it. / 更换协调方身份密钥（须先停止）。"""
    from coordinator.config import Config
    from coordinator.founding import hand_over
    from coordinator.serve import open_log

    place = Home(home)
    config = Config.read(place)
    made = hand_over(place, config, open_log(place, config))
    _done(SAY(f"the identity key is now {made}; start the coordinator again", f"身份密钥现为 {made}；请重新启动协调方"))


@app.command(epilog="Example: kapok-coordinator close --home C --next-origin gz.kapok.example/2027")
@explained
def close(
    home: HomeOption,
    next_origin: Annotated[str, typer.Option(help="The next log's name / 下一期账本名")],
    json_: JsonOption = False,
) -> None:
    """Ends the log of a stopped coordinator and drafts the next one; the auditor's witness must run. / 结账并起草下一期。"""
    from coordinator.closing import close_log

    closed = close_log(Home(home), next_origin)
    if json_:
        print(json.dumps({"origin": closed.origin, "size": closed.size, "next_vkey": closed.next_vkey, "draft": str(closed.draft)}))
        return
    _done(
        SAY(
            f"{closed.origin} ends with {closed.size} entries; the auditor countersigns {closed.draft} by `found --after`",
            f"{closed.origin} 已结账，共 {closed.size} 条；请审计方以 found --after 会签 {closed.draft}",
        )
    )


@app.command(epilog="Example: kapok-coordinator run --home C")
@explained
def run(home: HomeOption, quiet: Annotated[bool, typer.Option(help="Warnings only / 只记录警告")] = False) -> None:
    """Runs the coordinator until it is told to stop (SIGTERM, Ctrl-C). / 运行协调方。"""
    import asyncio

    from coordinator.serve import serve

    configure_logs(quiet)
    asyncio.run(serve(Home(home), lambda address: print(f"ready {address}", flush=True)))


@app.command(epilog="Example: kapok-coordinator nodes --home C --json")
@explained
def nodes(home: HomeOption, json_: JsonOption = False) -> None:
    """Hospitals as the ledger knows them. / 已接入的医院。"""
    from audit_ledger.before import begun, fetched
    from audit_ledger.tiles import folder_fetch

    place = Home(home)
    view = begun(place).view
    for entry in fetched(folder_fetch(home / "ledger"))[0]:
        view.apply(entry)
    rows = [(uri, key.fingerprint if (key := view.authority.active(uri)) else "") for uri in view.authority.hospitals()]
    if json_:
        print(json.dumps([{"uri": uri, "fingerprint": fingerprint} for uri, fingerprint in rows]))
        return
    for uri, fingerprint in rows:
        print(f"{uri}\n  {fingerprint or SAY('no key in force', '没有有效密钥')}")  # not a table: a fingerprint is compared whole
    if not rows:
        print(SAY("no hospital is admitted yet", "尚无已准入的医院"))


@app.command(epilog="Example: kapok-coordinator status --home C")
@explained
def status(home: HomeOption, json_: JsonOption = False) -> None:
    """Where the log stands and what waits. / 状态。"""
    from coordinator.config import Config

    place = Home(home)
    config = Config.read(place)
    register = Register(home / "register.sqlite")
    facts = {
        "uri": config.uri,
        "origin": config.origin,
        "checkpoint": (home / "ledger" / "checkpoint").read_text().splitlines()[1] if place.has("ledger/checkpoint") else "0",
        "questions_open": len(register.unfinished()),
        "key_requests": len(register.key_requests()),
    }
    register.close()
    print(json.dumps(facts) if json_ else "\n".join(f"{SAY(*_STATUS_WORDS[name])}: {value}" for name, value in facts.items()))


_STATUS_WORDS = {
    "uri": ("coordinator", "协调方"),
    "origin": ("log", "账本"),
    "checkpoint": ("entries under the last checkpoint", "最近检查点的条数"),
    "questions_open": ("open questions", "未结束的问题"),
    "key_requests": ("keys that wait for the auditor", "等待审计方准入的密钥"),
}


@app.command(epilog="Example: kapok-coordinator vectors --home C --out vectors")
@explained
def vectors(
    home: HomeOption,
    out: Annotated[Path, typer.Option(help="For kapok-audit verify --vectors / 输出目录")],
    query: Annotated[str, typer.Option(help="One query's id / 只导出一个问题")] = "",
) -> None:
    """Hands out the masked vectors of the last 35 days, which say nothing without the auditor's sums. / 导出掩码向量。"""
    from audit_ledger.vectors import masked_name
    from audit_ledger.vectors import place as place_of

    register, written = Register(home / "register.sqlite"), 0
    for asked, round_, attempt, uri, masked in register.all_contributions(bytes.fromhex(query) if query else None):
        if _is_of_residents(register, asked):
            continue  # beside the auditor's seeds they would show buckets without noise; they go when the question has ended
        folder = place_of(out, asked.hex(), round_, attempt)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / masked_name(uri)).write_bytes(masked)
        written += 1
    register.close()
    _done(f"{out}: {written}")


def _is_of_residents(register: Register, query: bytes) -> bool:
    from protocols.union import asks_for_residents

    row = register.question(query)
    statement = parse(row.entry).statement if row else None
    return isinstance(statement, Query) and asks_for_residents(statement.spec)


@app.command(epilog="Example: kapok-coordinator backup --home C --out /backup/kapok")
@explained
def backup(home: HomeOption, out: Annotated[Path, typer.Option(help="A new folder / 新目录")]) -> None:
    """Copies log, register, keys and CA while the coordinator is stopped. / 备份。"""
    from coordinator.config import Config
    from coordinator.serve import open_log

    store = open_log(Home(home), Config.read(Home(home)))  # holds the lock, and verifies what is copied
    try:
        shutil.copytree(home, out)
    finally:
        store.close()
    _done(str(out))


def configure_logs(is_quiet: bool) -> None:
    """JSON lines on standard error, events with plain keys only."""
    import structlog

    level = logging.WARNING if is_quiet else logging.INFO
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _done(text: str) -> None:
    console.print(f"✓ {text}", markup=False, highlight=False, soft_wrap=True)


def main() -> None:
    with steady_output():
        in_one_language(typer.main.get_command(app), WORDS.is_chinese)(prog_name="kapok-coordinator")


if __name__ == "__main__":
    main()
