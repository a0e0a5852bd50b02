"""The auditor's keys over time, as commands: replace one, take on another approver."""

import json
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from audit_ledger.desk import BadRequest, open_desk
from audit_ledger.init import witness_key
from audit_ledger.party.enrol import Invitation, enrol
from audit_ledger.party.home import Home
from audit_ledger.protecting import encrypt_keys
from audit_ledger.screen import USAGE, HomeOption, command, fail, out, say
from audit_ledger.serve import open_witness
from audit_ledger.succession import hand_over_auditors, successor, take_over
from protocols.canonical import b64
from protocols.clock import stamp
from protocols.errors import MalformedBytes
from protocols.identity import Identity, Role, fingerprint
from protocols.statements import KeyAdd, parse

app = typer.Typer()


class Key(StrEnum):
    APPROVAL = "approval"
    SERVICE = "service"
    WITNESS = "witness"


@command(app, "protect", "kapok-audit protect --passphrase-file /etc/kapok-passphrase --home A")
def protect(
    home: HomeOption,
    passphrase_file: Annotated[
        Path, typer.Option("--passphrase-file", help=say("Lies outside --home, mode 600.", "须在目录之外，权限 600"))
    ],
) -> None:
    """Encrypt the keys of a home that has plain ones. / 加密已有目录中的明文密钥。

    After a crash run it again: it goes on with the rest. / 中断后再次执行即可继续。
    """
    made = encrypt_keys(Home(home), passphrase_file)
    out.print(say(f"{len(made)} keys encrypted", f"已加密 {len(made)} 把密钥"), markup=False)


@command(app, "rotate", "kapok-audit rotate approval --home A")
def rotate(home: HomeOption, key: Annotated[Key, typer.Argument(help=say("Which key.", "哪一把密钥"))]) -> None:
    """Replace a key (root at hand); `serve` reads the new one at its next start. / 更换密钥（需根密钥在场，重启后生效）。"""
    place = Home(home)
    if key is Key.WITNESS:
        _rotate_witness(place)
        return
    with open_desk(place) as desk:
        made = hand_over_auditors(desk, str(key))
    out.print(say(f"the {key} key is now {made}", f"{key} 密钥现为 {made}"), markup=False)


def _rotate_witness(place: Home) -> None:
    """No ledger names a witness key: the trust file does, which everybody pins anew. The memory goes on under the new key."""
    name, made = str(place.config().get("name", "")), successor(place, "witness")
    memory = open_witness(place)  # under the key that cosigned it; without its notes it belongs to either
    for each in {log.origin for log in memory.logs()}:
        if (latest := memory.latest(each)) is not None:
            memory.pin(latest)
    memory.close()
    take_over(place, "witness")
    vkey = witness_key(name, made).encode()
    out.print(
        say(
            "restart `serve`; the operator runs `kapok-coordinator witnesses --add 'NAME VKEY URL'` with its old name and this key;"
            " everybody pins the new trust file:",
            "请重启 serve；运营方以原名称执行 `kapok-coordinator witnesses --add '名称 公钥 网址'`，各方启用新的信任文件：",
        )
    )
    out.print(vkey, markup=False)


@command(app, "approver", "kapok-audit approver --home B --invite invitation.json")
def approver(
    home: HomeOption,
    request: Annotated[Path | None, typer.Argument(help=say("Another approver's request.", "另一位批准人的申请"))] = None,
    invite: Annotated[Path | None, typer.Option("--invite", help=say("Make an approver's folder.", "建立批准人目录"))] = None,
) -> None:
    """Make another approver's folder and request; with the request: sign it by the root. / 建立批准人；或以根密钥签署其申请。"""
    if (request is None) == (invite is None):
        fail(USAGE, say("name a request file, or --invite FILE", "请给出申请文件，或 --invite 邀请文件"))
    if invite is not None:
        _request(Home(home), Invitation.read(invite))
    elif request is not None:
        _admit(Home(home), request.read_bytes())


def _request(place: Home, invitation: Invitation) -> None:
    if Identity.parse(invitation.uri).role is not Role.AUDITOR:
        fail(USAGE, say(f"the invitation is for {invitation.uri}, not an auditor", f"邀请属于 {invitation.uri}，不是审计方"))
    if place.has("tls/cert.pem"):
        fail(
            USAGE,
            say(
                f"{place.path}: enrolled already; an approver has a folder of its own",
                f"{place.path}：已登记；批准人应有自己的目录",
            ),
        )
    made = place.key("approval") if place.has("keys/approval.key") else place.create_key("approval")
    enrol(place, invitation, b"")
    link = {"uri": invitation.uri, "name": Identity.parse(invitation.uri).name, "coordinator": invitation.coordinator}
    link |= {"link_address": invitation.link_address, "origin": invitation.origin}
    place.write("config.toml", "".join(f"{key} = {json.dumps(value)}\n" for key, value in link.items()).encode())
    uri = invitation.uri
    head = {"log": invitation.origin, "at": stamp(int(time.time())), "by": uri, "action": "add", "subject": uri}
    add = KeyAdd.model_validate({**head, "use": "approval", "key": b64(made.public), "licence": None, "outbreak": False})
    path = place.write("approver.json", add.envelope().signed([made]).encode())
    out.print(
        say(f"give {path} to the keeper of the root, and read out:", f"将 {path} 交给根密钥保管人，并口头核对："), markup=False
    )
    out.print(f"  {fingerprint(made.public)}", markup=False)


def _admit(place: Home, envelope: bytes) -> None:
    try:
        signed = parse(envelope.strip())
    except MalformedBytes as error:
        raise BadRequest(f"approver's request: {error}") from None
    add = signed.statement
    if not isinstance(add, KeyAdd) or add.use != "approval":
        raise BadRequest("approver's request: expected an approval key")
    with open_desk(place) as desk:
        index = desk.append(signed.envelope.signed([place.key("root")]).encode())
    out.print(say(f"logged as entry {index}", f"已入账，第 {index} 条"))
