"""`policy`, `peers`, `pause`, `resume`, `backup`: what IT decides. A running node takes each of them up within a second."""

import time
from pathlib import Path
from typing import Annotated

import typer

from audit_ledger.errors import Unavailable
from audit_ledger.party.home import Home
from audit_ledger.view import LedgerView
from hospital_node.commands import DEFAULT_HOME, HomeOption, JsonOption, LangOption, OwnHome, OwnLang, chosen, failures, say, show
from hospital_node.config import Config
from hospital_node.errors import Usage
from hospital_node.ledger_at_hand import fetch, followed
from hospital_node.policy import PEERS_FILE, POLICY_FILE, default_policy, peers_text, read_peers, read_policy
from hospital_node.records.report_text import Lang
from hospital_node.showing import opened
from protocols.clock import stamp

peers_app = typer.Typer(help="The hospitals whose noise this one relies on. 已接受的医院。", pretty_exceptions_enable=False)


def policy(
    home: HomeOption = DEFAULT_HOME,
    default: Annotated[bool, typer.Option("--default", help="Print a commented default file. 打印带注释的默认文件。")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check and print the policy in force. 查看策略。"""
    with failures(as_json):
        if default:
            typer.echo(default_policy(), nl=False)
            return
        place, config = home.expanduser(), Config.read(home.expanduser())
        stated = read_policy(place).statement(config.origin, config.uri, int(time.time()))
        show(stated.model_dump(mode="json"), as_json, (place / POLICY_FILE).read_text("utf-8"))


@peers_app.callback(invoke_without_command=True, epilog="Example: kapok-node peers --accept-admitted")
def peers(
    context: typer.Context,
    lang: LangOption,
    home: HomeOption = DEFAULT_HOME,
    accept_admitted: Annotated[
        bool,
        typer.Option("--accept-admitted", help="Accept every admitted hospital, without telephone calls. 接受全部已准入的医院。"),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List, accept or drop peers. 查看、接受或移除医院。"""
    context.obj = (home.expanduser(), lang, as_json)
    if accept_admitted:
        with failures(as_json):
            place = home.expanduser()
            known = _admitted(place)
            _write(place, read_peers(place) | set(known), known)
    if context.invoked_subcommand is None:
        _list(*context.obj)


@peers_app.command("list", epilog="Example: kapok-node peers list --json")
def list_peers(context: typer.Context, home: OwnHome = None, lang: OwnLang = None, as_json: JsonOption = False) -> None:
    """Admitted hospitals and whether they are accepted here. 已准入的医院及是否已接受。"""
    _list(*chosen(context, home, lang, as_json))


@peers_app.command("accept", epilog="Example: kapok-node peers accept 9f86d081884c7d65…")
def accept(
    context: typer.Context,
    fingerprint: Annotated[
        str, typer.Argument(help="As the other hospital read it out; 16 digits suffice. 对方报出的指纹，至少 16 位。")
    ],
    home: OwnHome = None,
    own_lang: OwnLang = None,
    own_json: JsonOption = False,
) -> None:
    """Accept one hospital by the fingerprint it read out. 按对方报出的指纹接受一家医院。"""
    place, lang, as_json = chosen(context, home, own_lang, own_json)
    with failures(as_json):
        known = _admitted(place)
        matching = [each for each in known if len(fingerprint) >= 16 and each.startswith(fingerprint.lower())]
        if len(matching) != 1:
            raise Usage(f"{fingerprint[:64]}: no admitted hospital has this fingerprint; see `kapok-node peers list`")
        _write(place, read_peers(place) | {matching[0]}, known)
    _list(place, lang, as_json)


def _admitted(place: Path) -> dict[str, str]:
    """Fingerprint to URI of every other admitted hospital, at the newest ledger that can be had."""
    config, home = Config.read(place), Home(place)
    with opened(place) as journal:
        follower = followed(home, journal)
    try:
        fetch(home, config, follower)
    except Unavailable as error:
        if not follower.size:
            raise
        typer.echo(f"the ledger as followed so far ({follower.size} entries): {error}", err=True)
    return _others(follower.view, config.uri)


def _others(view: LedgerView, me: str) -> dict[str, str]:
    found = {uri: view.authority.active(uri) for uri in view.authority.hospitals() if uri != me}
    return {key.fingerprint: uri for uri, key in found.items() if key is not None}


def _write(place: Path, accepted: frozenset[str] | set[str], known: dict[str, str]) -> None:
    Home(place).write(PEERS_FILE, peers_text((each, known.get(each, "not admitted now")) for each in accepted).encode())


def _list(place: Path, lang: Lang, as_json: bool) -> None:
    with failures(as_json):
        known, accepted = _admitted(place), read_peers(place)
        rows = [
            {"fingerprint": each, "uri": known.get(each), "accepted": each in accepted}
            for each in sorted(known.keys() | accepted, key=lambda each: (known.get(each, ""), each))
        ]
        # Not a table: a fingerprint that is cut cannot be compared.
        marks = {True: say(lang, "✓ accepted", "✓ 已接受"), False: say(lang, "✗ not accepted", "✗ 未接受")}
        lines = [f"{marks[bool(row['accepted'])]}  {row['uri'] or '–'}\n  {row['fingerprint']}" for row in rows]
        show(rows, as_json, "\n".join(lines) or say(lang, "no other hospital is admitted", "没有其他已准入的医院"))


def pause(
    lang: LangOption,
    home: HomeOption = DEFAULT_HOME,
    reason: Annotated[str, typer.Option(help="For your own record. 供本院留存的原因。")] = "by IT",
    as_json: JsonOption = False,
) -> None:
    """Stop answering, at once. 暂停应答。"""
    with failures(as_json):
        Config.read(home.expanduser())
        with opened(home.expanduser()) as journal:
            journal.set_note("paused", f"{reason} {stamp(int(time.time()))}")
        show({"paused": True}, as_json, say(lang, "paused: every question is refused", "已暂停：拒绝所有查询"))


def resume(
    lang: LangOption,
    home: HomeOption = DEFAULT_HOME,
    after_restore: Annotated[
        bool,
        typer.Option(
            "--after-restore",
            help="The journal was restored: take over the ledger's account of us. 日志已从备份恢复：以账本所记为准。",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Answer again. 恢复应答。"""
    with failures(as_json):
        Config.read(home.expanduser())
        with opened(home.expanduser()) as journal:
            journal.set_note("paused", None)
            if after_restore:
                journal.set_note("adopt", stamp(int(time.time())))
        show({"paused": False, "adopts_ledger": after_restore}, as_json, say(lang, "the node answers", "节点恢复应答"))


def backup(
    lang: LangOption,
    file: Annotated[Path, typer.Argument(help="A new file. 新文件。")],
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Copy the journal, without agreement keys. 备份日志。"""
    with failures(as_json):
        Config.read(home.expanduser())
        if file.exists():
            raise Usage(f"{file}: exists already and is not overwritten")
        if not file.resolve().parent.is_dir():
            raise Usage(f"{file.parent}: no such folder")
        with opened(home.expanduser()) as journal:
            journal.backup(file)
        text = say(
            lang, f"wrote {file}; it restores with `resume --after-restore`", f"已写入 {file}；恢复后请运行 resume --after-restore"
        )
        show({"file": str(file), "bytes": file.stat().st_size}, as_json, text)
