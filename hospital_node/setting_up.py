"""`kapok-node init`, `enroll`, `rotate`, `protect`: a folder with keys and commented files, a certificate, the fingerprint."""

import time
from pathlib import Path
from typing import Annotated

import typer

from audit_ledger.party.enrol import Invitation, enrol, key_request
from audit_ledger.party.home import Home
from audit_ledger.policy import TrustFile
from hospital_node.commands import DEFAULT_HOME, HomeOption, JsonOption, LangOption, failures, say, show
from hospital_node.config import CONFIG_FILE, Config
from hospital_node.dataset import DATASET_FILE, DEFAULT_DATASET
from hospital_node.errors import Usage
from hospital_node.policy import POLICY_FILE, default_policy
from protocols.clock import stamp
from protocols.identity import Identity, Role, fingerprint
from protocols.statements import Licence

INVITATION_FILE = "invitation.json"
TRUST_FILE = "trust.policy"


def init(
    lang: LangOption,
    invite: Annotated[Path, typer.Option(help="The operator's invitation (kapok-coordinator enroll). 邀请文件。")],
    legal_name: Annotated[str, typer.Option(help="The hospital's legal name. 医疗机构名称。")],
    licence: Annotated[str, typer.Option(help="The number of its licence. 医疗机构执业许可证号。")],
    home: HomeOption = DEFAULT_HOME,
    trust: Annotated[Path | None, typer.Option(help="The trust file, compared with the auditor's. 信任文件。")] = None,
    slot_ms: Annotated[
        int,
        typer.Option(
            help="Milliseconds from member set to departure; longer than any count. 从成员确定到发出的毫秒数，须长于任何统计。",
            min=1,
        ),
    ] = 1000,
    grid_ms: Annotated[
        int, typer.Option(help="Milliseconds between departures: 25 in a demo, 250 in production. 发出时刻的间隔毫秒数。", min=1)
    ] = 250,
    passphrase_file: Annotated[
        Path | None,
        typer.Option(help="Encrypt the keys under the passphrase in this file, outside --home. 口令文件，须在节点目录之外。"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make the folder: identity key, config, policy, dataset. Nothing is sent. 建立节点目录。"""
    with failures(as_json):
        home, invitation = home.expanduser(), Invitation.read(invite)
        if (home / CONFIG_FILE).exists():
            raise Usage(f"{home / CONFIG_FILE}: exists already; change the file, or choose another --home")
        if Identity.parse(invitation.uri).role is not Role.HOSPITAL:
            raise Usage(f"{invite}: invites {invitation.uri}, which is no hospital")
        made = _make(Home(home).protect(passphrase_file), invitation, legal_name, licence, (slot_ms, grid_ms), trust)
        text = say(
            lang,
            f"{invitation.uri}: made {home}\nfingerprint {made}\nNext: kapok-node enroll",
            f"{invitation.uri}：已建立 {home}\n指纹 {made}\n下一步：kapok-node enroll",
        )
        show({"uri": invitation.uri, "home": str(home), "fingerprint": made}, as_json, text)


def _make(home: Home, invitation: Invitation, legal_name: str, licence: str, ms: tuple[int, int], trust: Path | None) -> str:
    config = Config(
        uri=invitation.uri,
        origin=invitation.origin,
        coordinator=invitation.coordinator,
        link_address=invitation.link_address,
        slot_ms=ms[0],
        grid_ms=ms[1],
        legal_name=legal_name,
        licence=licence,
    )
    identity = home.key("identity") if home.has("keys/identity.key") else home.create_key("identity")
    if trust is not None:
        raw = trust.read_bytes()
        TrustFile.parse(raw)
        home.write(TRUST_FILE, raw)
    home.write(POLICY_FILE, default_policy().encode())
    home.write(DATASET_FILE, DEFAULT_DATASET.encode())
    home.write(INVITATION_FILE, invitation.model_dump_json().encode()).chmod(0o600)  # it holds the one-time token
    home.write(CONFIG_FILE, config.text().encode())  # last: a folder with a config is complete
    return fingerprint(identity.public)


def enroll(lang: LangOption, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Fetch the certificate with the one-time token, and leave the key request for the auditor. 登记节点。"""
    with failures(as_json):
        place = Home(home.expanduser())
        config = Config.read(place.path)
        if place.has("tls/cert.pem") and not place.has(INVITATION_FILE):
            raise Usage(f"{config.uri}: enrolled already; its fingerprint is in `kapok-node status`")
        invitation = Invitation.read(place.path / INVITATION_FILE)
        licence = Licence(legal_name=config.legal_name, number=config.licence)
        request = key_request(place, config.origin, config.uri, stamp(int(time.time())), licence)
        enrol(place, invitation, request)
        (place.path / INVITATION_FILE).unlink()  # the token is used up
        made = fingerprint(place.key("identity").public)
        text = say(
            lang,
            f"{config.uri} is enrolled. Read this fingerprint out to the auditor:\n{made}",
            f"{config.uri} 已登记。请向审计方口头核对指纹：\n{made}",
        )
        show({"uri": config.uri, "fingerprint": made}, as_json, text)


def protect(
    lang: LangOption,
    passphrase_file: Annotated[Path, typer.Option(help="Lies outside --home, mode 600. 口令文件，须在节点目录之外，权限 600。")],
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Encrypt the keys of a folder that has plain ones; after a crash run it again. 加密已有目录中的明文密钥。"""
    from audit_ledger.protecting import encrypt_keys

    with failures(as_json):
        made = encrypt_keys(Home(home.expanduser()), passphrase_file)
        text = say(lang, f"{len(made)} keys encrypted", f"已加密 {len(made)} 把密钥")
        show({"encrypted": [str(each) for each in made]}, as_json, text)


def rotate(
    lang: LangOption,
    invite: Annotated[
        Path | None,
        typer.Option(help="A hospital that left comes back: a new key, admitted anew. 离开后重新加入：新密钥须重新准入。"),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Replace the identity key; the old one signs for the new. Stop the node first. 更换身份密钥（先停止节点）。"""
    from audit_ledger.desk import open_desk
    from audit_ledger.succession import renew_identity

    with failures(as_json):
        place = Home(home.expanduser())
        config = Config.read(place.path)
        with open_desk(place) as desk:
            made = renew_identity(desk, config.uri, invite)

        def whom(*, en: bool) -> str:
            others = "the other hospitals (kapok-node peers accept)" if en else "其他医院（kapok-node peers accept）"
            return others if invite is None else f"the auditor, then to {others}" if en else f"审计方，再告知{others}"

        text = say(
            lang,
            f"{config.uri}: start the node again, and read this out to {whom(en=True)}:\n{made}",
            f"{config.uri}：请重启节点，并将新指纹告知{whom(en=False)}：\n{made}",
        )
        show({"uri": config.uri, "fingerprint": made}, as_json, text)
