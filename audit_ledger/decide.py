"""The auditor's decisions, as commands: admit, approve, reject, revoke, hold, review."""

import time
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from audit_ledger.desk import KeyRequest, Waiting, open_desk, waiting
from audit_ledger.party.home import Home
from audit_ledger.screen import USAGE, HomeOption, JsonOption, ReasonOption, command, err, fail, out, print_json, say
from protocols.clock import stamp, unix
from protocols.errors import MalformedBytes

app = typer.Typer()
PURPOSES = {"surveillance": ("surveillance", "监测"), "research": ("research", "研究"), "outbreak": ("outbreak", "疫情应急")}


@command(app, "admit", "kapok-audit admit --pending --home A")
def admit(
    home: HomeOption,
    request: Annotated[Path | None, typer.Argument(help=say("A key request file.", "密钥申请文件"))] = None,
    pending: Annotated[bool, typer.Option("--pending", help=say("All that wait at the coordinator.", "协调方处全部待办"))] = False,
    fingerprint: Annotated[
        str, typer.Option("--fingerprint", help=say("As the hospital reads it out.", "医院电话报出的指纹"))
    ] = "",
    yes: Annotated[
        bool, typer.Option("--yes", help=say("Do not ask (fingerprints compared elsewhere).", "不再询问（指纹已另行核对）"))
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Countersign the keys of hospitals and bureaux. / 会签医院与主管部门的密钥。"""
    if (request is None) == (not pending):
        fail(USAGE, say("name a request file, or --pending", "请给出申请文件，或使用 --pending"))
    with open_desk(Home(home)) as desk:
        found = desk.requests() if request is None else [KeyRequest.parse(request.read_bytes())]
        admitted = [{**each.to_json(), "entry": desk.admit(each)} for each in found if _is_agreed(each, fingerprint, yes)]
    if as_json:
        print_json(admitted)
    else:
        out.print(say(f"admitted {len(admitted)} of {len(found)}", f"准入 {len(admitted)} / {len(found)}"))


def _is_agreed(request: KeyRequest, fingerprint: str, yes: bool) -> bool:
    shown = request.to_json()
    err.print(f"{shown['subject']}  {shown['legal_name']}  {shown['licence']}\n  {request.fingerprint}", markup=False)
    if fingerprint:
        return request.fingerprint == "".join(fingerprint.lower().split())
    if yes:
        return True
    said = typer.prompt(
        say("first 16 characters as the hospital reads them out (empty: no)", "医院报出的前 16 位（空：不准入）"),
        default="",
        show_default=False,
        err=True,
    )
    return is_read_out(said, request.fingerprint)


def is_read_out(said: str, fingerprint: str) -> bool:
    """Whether what was typed is at least the first 16 characters; spaces between groups count for nothing."""
    digits = "".join(said.lower().split())
    return len(digits) >= 16 and fingerprint.startswith(digits)


@command(app, "approve", "kapok-audit approve 3f2a… --home A --until 2026-12-31")
def approve(
    home: HomeOption,
    target: Annotated[str, typer.Argument(metavar="ID", help=say("A query's id.", "问题编号"))] = "",
    programme: Annotated[str, typer.Option("--programme", help=say("A programme's id.", "方案编号"))] = "",
    until: Annotated[str, typer.Option("--until", help=say("Last day, YYYY-MM-DD (default: 30 days).", "截止日，默认 30 天"))] = "",
) -> None:
    """Approve one query, or a programme and the queries under it. / 批准一个问题或一个方案。"""
    id_, last = _id(target or programme), _last(until)
    with open_desk(Home(home)) as desk:
        _logged(desk.approve(id_, last))


@command(app, "reject", "kapok-audit reject 3f2a… --home A --reason 'purpose unclear'")
def reject(home: HomeOption, target: Annotated[str, typer.Argument(metavar="ID")], reason: ReasonOption) -> None:
    """Refuse a query by a signed statement. / 以签名声明拒绝一个问题。"""
    with open_desk(Home(home)) as desk:
        _logged(desk.reject(_id(target), reason))


@command(app, "revoke", "kapok-audit revoke 3f2a… --home A --reason 'programme ended'")
def revoke(
    home: HomeOption,
    target: Annotated[
        str,
        typer.Argument(metavar="ID", help=say("Approved id, or a party's URI (its key).", "已批准编号，或参与方 URI（撤其密钥）")),
    ],
    reason: ReasonOption,
) -> None:
    """Take an approval back, or a party's key. / 撤回批准，或撤销某方密钥。"""
    with open_desk(Home(home)) as desk:
        _logged(desk.revoke(target if target.startswith("kapok://") else _id(target), reason))


@command(app, "hold", "kapok-audit hold --on --home A --reason 'inspection'")
def hold(
    home: HomeOption,
    reason: ReasonOption,
    on: Annotated[bool, typer.Option("--on/--off", help=say("Nothing opens / go on.", "暂停开启 / 恢复"))] = True,
) -> None:
    """Stop the opener for the whole city, or let it go on. / 全市暂停或恢复开启。"""
    with open_desk(Home(home)) as desk:
        _logged(desk.hold(on, reason))


@command(app, "review", "kapok-audit review --home A")
def review(home: HomeOption, as_json: JsonOption = False) -> None:
    """List what waits for a decision. / 列出待办事项。"""
    with open_desk(Home(home)) as desk:
        requests, items = desk.requests(), waiting(desk.view(), desk.now)
    if as_json:
        print_json({"keys": [each.to_json() for each in requests], "statements": [_waiting(each) for each in items]})
        return
    if not requests and not items:
        out.print(say("nothing waits for a decision", "没有待办事项"))
    for request in requests:
        _show(say("key", "密钥"), request.fingerprint, request.add.subject, request.add.at, str(request.to_json()["legal_name"]))
    for each in items:
        kind = {"query": say("query", "问题"), "programme": say("programme", "方案")}[each.kind]
        purpose = PURPOSES.get(each.purpose, (each.purpose, each.purpose))
        _show(kind, each.id, each.by, each.at, f"{say(*purpose)}: {each.title}")


def _show(kind: str, id_: str, by: str, at: str, what: str) -> None:
    """Not a table: an id has to be copied whole, also from a narrow terminal."""
    out.print(f"{kind}  {id_}", style="bold", markup=False)
    out.print(f"  {by}  {at}\n  {what}", markup=False)


def _waiting(each: Waiting) -> dict[str, str]:
    return {name: getattr(each, name) for name in ("kind", "id", "by", "at", "purpose", "title")}


def _last(until: str) -> str:
    """The end of a day, or a time as statements write it; 30 days from now where nothing is said."""
    if not until:
        return stamp(int(time.time()) + 30 * 86_400)
    try:
        return stamp(unix(until)) if "T" in until else f"{date.fromisoformat(until).isoformat()}T23:59:59Z"
    except (ValueError, MalformedBytes):
        wanted = "2026-12-31 or 2026-12-31T00:00:00Z"
        fail(USAGE, say(f"--until: expected {wanted}", f"--until 应写成 {wanted.replace(' or ', ' 或 ')}"))


def _logged(index: int) -> None:
    out.print(say(f"logged as entry {index}", f"已入账，第 {index} 条"))


def _id(text: str) -> str:
    if len(text) != 64 or set(text) - set("0123456789abcdef"):
        fail(
            USAGE,
            say(
                "an id has 64 hexadecimal digits; `kapok-audit review` lists them",
                "编号为 64 位十六进制数；见 `kapok-audit review`",
            ),
        )
    return text
