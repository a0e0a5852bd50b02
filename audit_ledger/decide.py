"""The auditor's decisions, as commands: admit, approve, reject, revoke, hold, review."""

import time
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from audit_ledger import exact_words
from audit_ledger.desk import Desk, KeyRequest, open_desk
from audit_ledger.party.home import Home
from audit_ledger.screen import USAGE, HomeOption, JsonOption, ReasonOption, W, command, err, fail, out, print_json, say
from audit_ledger.waiting import Waiting, find, lines, waiting
from protocols.clock import stamp, unix
from protocols.contract import CONTRACT
from protocols.errors import MalformedBytes
from protocols.query.words import Language
from protocols.statements import Approval, parse

app = typer.Typer()
LANGUAGE = Language.ZH if W.is_chinese else Language.EN
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
    target: Annotated[
        str, typer.Argument(metavar="ID", help=say("A query's, table's or programme's id.", "问题、数据表或方案编号"))
    ] = "",
    programme: Annotated[str, typer.Option("--programme", help=say("A programme's id.", "方案编号"))] = "",
    until: Annotated[str, typer.Option("--until", help=say("Last day, YYYY-MM-DD (default: 30 days).", "截止日，默认 30 天"))] = "",
    countersign: Annotated[
        Path | None, typer.Option("--countersign", help=say("Another approver's file: sign it too.", "另一位批准人的文件：加签"))
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--out", help=say("Do not log it: a file for the next approver.", "不入账，写成文件交下一位批准人")),
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help=say("I know that this answer will not be private.", "我知道此答案不具有隐私保护"))
    ] = False,
) -> None:
    """Approve one query, one table, or a programme and the queries under it. / 批准一个问题、一张数据表或一个方案。"""
    with open_desk(Home(home)) as desk:
        if countersign is None:
            envelope = desk.approval(_id(target or programme), _last(until))
        else:
            envelope = desk.countersign(countersign.read_bytes())
        entry = envelope.encode()
        _require_approvers(desk, entry, output is not None, exact)
        if output is None:
            _logged(desk.append(entry))
            return
        output.write_bytes(entry)
        out.print(say(f"signed; give {output} to the next approver", f"已签名；请将 {output} 交给下一位批准人"))


def _require_approvers(desk: Desk, entry: bytes, is_for_another: bool, knows_exact: bool) -> None:
    """Shows what the signature is for; stops at an exact question that is not named as one, and for want of approvers."""
    signed, view = parse(entry), desk.view()
    approval = signed.statement
    found = find(view, approval.target, LANGUAGE, desk.now) if isinstance(approval, Approval) else None
    if found is None:
        fail(USAGE, say("no query or programme of this id is logged", "账本中没有此编号的问题或方案"))
    if found.kind == "query" and not view.is_open(found.id):
        fail(USAGE, say("this question has ended; it is asked anew", "该问题已结束；须重新提问"))
    _show_item(found, to_stderr=True)
    if found.is_exact and not knows_exact:
        fail(USAGE, say("an exact question is approved with --exact alone", "精确模式的问题须加 --exact 才能批准"))
    signers = view.authority.approvers(signed)
    if not is_for_another and signers < found.approvers:
        wanted = found.approvers
        fail(
            USAGE,
            say(
                f"{wanted} approvers have to sign, this has {signers}: write it with --out, and let another --countersign it",
                f"需要 {wanted} 位批准人，现有 {signers} 位：请用 --out 写成文件，由另一位用 --countersign 加签",
            ),
        )


@command(app, "reject", "kapok-audit reject 3f2a… --home A --reason 'purpose unclear'")
def reject(
    home: HomeOption,
    target: Annotated[
        str, typer.Argument(metavar="ID", help=say("A query's, programme's or key request's id.", "问题、方案或密钥申请的编号"))
    ],
    reason: ReasonOption,
) -> None:
    """Refuse a query, a programme or a key request by a signed statement. / 以签名声明拒绝问题、方案或密钥申请。"""
    with open_desk(Home(home)) as desk:
        _logged(desk.reject(_id(target), reason))


@command(app, "rule", "kapok-audit rule --research 2 --outbreak-a-day 2 --review-hours 48 --home A")
def rule(
    home: HomeOption,
    surveillance: Annotated[int, typer.Option(min=1, help=say("Approvers of a programme.", "监测方案的批准人数"))] = 1,
    research: Annotated[int, typer.Option(min=1, help=say("Approvers of a research query.", "研究问题的批准人数"))] = 1,
    outbreak_a_day: Annotated[
        int, typer.Option(min=0, help=say("Emergency queries in 24 hours.", "24 小时内应急提问数"))
    ] = CONTRACT.outbreak_a_day,
    review_hours: Annotated[
        int, typer.Option(min=1, help=say("Hours until an emergency is reviewed.", "应急提问的复核时限（小时）"))
    ] = CONTRACT.review_hours,
) -> None:
    """State the city's rule for approvals; the root key signs it. / 规定批准规则；由根密钥签署。"""
    with open_desk(Home(home)) as desk:
        _logged(desk.state_rule({"surveillance": surveillance, "research": research}, outbreak_a_day, review_hours))


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


@command(app, "end", "kapok-audit end kapok://hospital/h01 --home A --reason 'licence withdrawn'")
def end(
    home: HomeOption,
    party: Annotated[str, typer.Argument(metavar="URI", help=say("A hospital or bureau.", "医院或主管部门"))],
    reason: ReasonOption,
) -> None:
    """End a hospital's or bureau's admission; a new admission lets it back in. / 终止准入；重新准入即恢复。"""
    if not party.startswith(("kapok://hospital/", "kapok://bureau/")):
        fail(
            USAGE, say("expected kapok://hospital/NAME or kapok://bureau/NAME", "应为 kapok://hospital/名称 或 kapok://bureau/名称")
        )
    with open_desk(Home(home)) as desk:
        _logged(desk.revoke(party, reason))


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
def review(
    home: HomeOption,
    target: Annotated[str, typer.Argument(metavar="ID", help=say("An emergency to close.", "要复核的应急提问编号"))] = "",
    verdict: Annotated[
        str,
        typer.Option("--verdict", help=say("in_order or not_in_order: signs the review.", "in_order 或 not_in_order：签署复核")),
    ] = "",
    note: Annotated[str, typer.Option("--note", help=say("Stands in the ledger.", "写入账本的说明"))] = "",
    as_json: JsonOption = False,
) -> None:
    """List what waits for a decision, or sign the review of an emergency. / 列出待办事项，或签署应急复核。"""
    if target:
        _review(home, target, verdict, note)
        return
    with open_desk(Home(home)) as desk:
        requests, items = desk.requests(), waiting(desk.view(), desk.now, LANGUAGE)
    if as_json:
        print_json({"keys": [each.to_json() for each in requests], "statements": [each.to_json() for each in items]})
        return
    if not requests and not items:
        out.print(say("nothing waits for a decision", "没有待办事项"))
    for request in requests:
        _show_key(request)
    for each in items:
        _show_item(each)


def _review(home: Path, target: str, verdict: str, note: str) -> None:
    if verdict not in ("in_order", "not_in_order") or not note:
        fail(USAGE, say("--verdict in_order|not_in_order and --note are needed", "需要 --verdict in_order|not_in_order 与 --note"))
    with open_desk(Home(home)) as desk:
        _logged(desk.review(_id(target), verdict == "in_order", note))


def _show_key(request: KeyRequest) -> None:
    """Not a table: an id has to be copied whole, also from a narrow terminal."""
    shown = request.to_json()
    out.print(f"{say('key', '密钥')}  {request.signed.hex_id}", style="bold", markup=False)
    out.print(f"  {request.add.subject}  {request.add.at}  {shown['legal_name']}  {shown['licence']}", markup=False)
    out.print(f"  {say('fingerprint', '指纹')} {request.fingerprint}", markup=False)
    if request.add.outbreak:
        out.print(f"  {say('asks to break the glass in an outbreak', '申请疫情应急权限')}", markup=False)


def _show_item(each: Waiting, to_stderr: bool = False) -> None:
    screen = err if to_stderr else out
    kinds = {
        "query": say("query", "问题"),
        "programme": say("programme", "方案"),
        "review": say("review", "复核"),
        "registration": say("table", "数据表"),
    }
    purpose = say(*PURPOSES.get(each.purpose, (each.purpose, each.purpose)))
    screen.print(f"{kinds[each.kind]}  {each.id}", style="bold", markup=False)
    screen.print(f"  {purpose}  {each.by}  {each.at}", markup=False)
    if each.is_exact:
        screen.print(f"  {exact_words.warning(say)}", style="bold red", markup=False)
    for line in lines(each, say):
        screen.print(f"  {line}", markup=False)


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
