"""`kapok-audit`: the auditor's program. It reads arguments and prints; what it decides stands in the other modules.

Exit codes: 0 verified (or done), 1 evidence of tampering or a broken rule, 2 usage, 3 could not check (or not done).
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audit_ledger.errors import LedgerError
from audit_ledger.party.chinese import speak
from audit_ledger.party.home import Home, HomeError
from audit_ledger.party.on_demand import Place, on_demand
from audit_ledger.party.output import steady_output
from audit_ledger.screen import (
    UNCHECKED,
    USAGE,
    VERIFIED,
    HomeOption,
    PassphraseOption,
    W,
    command,
    complain,
    fail,
    in_two_languages,
    log_to_stderr,
    out,
    print_json,
    say,
)
from protocols.errors import ProtocolError

if TYPE_CHECKING:
    from audit_ledger.init import Founding

_WHERE = {
    "decide": ("admit", "approve", "reject", "rule", "revoke", "end", "hold", "review"),
    "examine": ("verify", "monitor", "vectors"),
    "tell": ("report", "models", "explain"),
    "watch": ("witness", "pin"),
    "renew": ("protect", "rotate", "approver"),
}
COMMANDS = tuple(Place(name, f"audit_ledger.{module}:app.") for module, names in _WHERE.items() for name in names)

app = typer.Typer(
    name="kapok-audit",
    cls=on_demand(*COMMANDS, worded=lambda text: say(*in_two_languages(text))),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help=say("The auditor's program: witness, opener, monitor.", "审计方程序：见证、开启、核验。"),
)


@app.callback()
def _root(lang: Annotated[str, typer.Option("--lang", help="zh | en")] = "") -> None:
    """`--lang` is read before the commands are built, anywhere on the line; here it is only listed."""


@command(app, "init", "kapok-audit init --home A --name gz --shares 3 --threshold 2")
def init(
    home: HomeOption,
    name: Annotated[str, typer.Option("--name", help=say("Short name, a-z 0-9 -.", "简称：小写字母、数字、短横"))] = "",
    shares: Annotated[int, typer.Option(help=say("Shares of the root key.", "根密钥份数"))] = 3,
    threshold: Annotated[int, typer.Option(help=say("Shares that restore it.", "恢复所需份数"))] = 2,
    restore: Annotated[
        list[Path] | None, typer.Option("--restore", help=say("Share files: restore the root key.", "用份额文件恢复根密钥"))
    ] = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Make the keys, the shares of the root key, and the card for the coordinator. / 生成密钥、根密钥份额与名片。"""
    from audit_ledger.init import Share, combine, create_auditor

    if restore:
        root = combine([Share.parse(each.read_text()) for each in restore])
        Home(home).protect(passphrase_file).write_secret("keys/root.key", root.seed())
        out.print(say("the root key is restored", "根密钥已恢复"))
        return
    if not name:
        fail(USAGE, say("--name is missing, e.g. --name gz", "缺少 --name，例如 --name gz"))
    for path in create_auditor(Home(home).protect(passphrase_file), name, shares, threshold):
        out.print(say(f"give to one keeper, then delete here: {path}", f"交给一位保管人后从本机删除：{path}"))
    out.print(say(f"card for the coordinator: {home / 'auditor.json'}", f"交给协调方的名片：{home / 'auditor.json'}"))


@command(app, "found", "kapok-audit found draft.json --home A --out founding.json")
def found_log(
    draft: Annotated[Path, typer.Argument(help=say("The coordinator's draft of entry 0.", "协调方起草的首条"))],
    home: HomeOption,
    output: Annotated[Path, typer.Option("--out", help=say("Where the founding file goes.", "输出文件"))],
    after: Annotated[
        str,
        typer.Option("--after", help=say("The closed log it follows: folder or URL.", "所承接的已结账账本：目录或网址")),
    ] = "",
) -> None:
    """Countersign the coordinator's entry 0 and add the auditor's keys. / 会签首条并加入审计方密钥。

    With --after it is the next period's: the closed log is verified, its keys carry over, and `serve` moves on at its next start.
    / 加 --after 即下一期账本：先核验已结账的账本，密钥沿用，`serve` 下次启动时转入新账。
    """
    from audit_ledger.init import found

    founding = _found_after(Home(home), draft, after) if after else found(Home(home), draft.read_bytes())
    output.write_bytes(founding.encode())
    if after:
        out.print(say("restart `serve`: it moves on to the next log", "请重启 serve：即转入下一期账本"))
    out.print(say("auditor root key      ", "审计方根密钥 ") + founding.auditor_fingerprint)
    out.print(say("coordinator key       ", "协调方密钥   ") + founding.coordinator_fingerprint)
    out.print(say(f"compare both by telephone, then hand over {output}", f"电话核对两个指纹后，交付 {output}"))


def _found_after(home: Home, draft: Path, after: str) -> "Founding":
    from audit_ledger.before import begun, follow_to_its_close, make_ready
    from audit_ledger.init import found_next

    old, now = begun(home), int(time.time())
    closed = follow_to_its_close(old, after, now)
    founding, trust = found_next(home, draft.read_bytes(), old, now)
    make_ready(home, trust, closed)
    return founding


@command(app, "enroll", "kapok-audit enroll --home A --invite invitation.json")
def enroll(
    home: HomeOption, invite: Annotated[Path, typer.Option("--invite", help=say("From the operator.", "运营方给的邀请文件"))]
) -> None:
    """Fetch this auditor's transport certificate with a one-time invitation. / 用一次性邀请领取证书。"""
    from audit_ledger.party.enrol import Invitation, enrol

    place, invitation = Home(home), Invitation.read(invite)
    config = place.config()
    if invitation.uri != config.get("uri"):
        fail(
            USAGE,
            say(
                f"the invitation is for {invitation.uri}, this is {config.get('uri')}",
                f"邀请属于 {invitation.uri}，本机是 {config.get('uri')}",
            ),
        )
    enrol(place, invitation, b"")
    link = {"coordinator": invitation.coordinator, "link_address": invitation.link_address, "origin": invitation.origin}
    place.write("config.toml", "".join(f"{key} = {json.dumps(str(value))}\n" for key, value in {**config, **link}.items()).encode())
    out.print(say("enrolled", "已登记"))


@command(app, "serve", "kapok-audit serve --home A --listen 0.0.0.0:7445 --witness-listen 0.0.0.0:7446")
def serve(
    home: HomeOption,
    listen: Annotated[str, typer.Option("--listen", help=say("Opener (gRPC, mutual TLS).", "开启服务地址"))] = "127.0.0.1:7445",
    witness_listen: Annotated[
        str, typer.Option("--witness-listen", help=say("Witness (HTTP).", "见证服务地址"))
    ] = "127.0.0.1:7446",
) -> None:
    """Run the witness and the opener until SIGTERM. / 运行见证与开启服务。"""
    import asyncio

    from audit_ledger.serve import serve as serve_forever

    def ready(opener: str, witness: str) -> None:
        typer.echo(say(f"ready: opener {opener}, witness http://{witness}", f"ready 就绪：开启 {opener}，见证 http://{witness}"))
        sys.stdout.flush()

    log_to_stderr()
    asyncio.run(serve_forever(Home(home), listen, witness_listen, ready))


def run(arguments: Sequence[str]) -> int:
    """The exit code for these arguments; no traceback for anything that a person or a peer may do wrong."""
    speak(W.is_chinese)
    try:
        app(_without_language(arguments))
    except SystemExit as ended:
        return int(ended.code or 0)
    except (LedgerError, ProtocolError) as error:
        return _told(W.error(error.code, str(error)), error.code, _code(error), arguments)
    except _of_the_outside() as error:
        text = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else type(error).__name__
        return _told(text, "system", UNCHECKED, arguments)
    except Exception as error:  # noqa: BLE001 - a fault of this program is no evidence against anybody
        return _told(_fault(error), "internal", UNCHECKED, arguments)
    return VERIFIED


def _fault(error: Exception) -> str:
    """Where it is, for whoever mends it; what it held could be anything."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f"{Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}" if place else "?"
    told = f"{type(error).__name__}, {where}"
    return say(f"a fault of this program, nothing was verified: {told}", f"程序自身故障，未作任何核验：{told}")


def _of_the_outside() -> tuple[type[Exception], ...]:
    from pydantic import ValidationError

    return OSError, UnicodeDecodeError, ValidationError


def _told(message: str, code: str, status: int, arguments: Sequence[str]) -> int:
    if "--json" in arguments:
        print_json({"error": {"code": code, "exit_code": status, "message": message}})
    complain(message)
    return status


def _code(error: LedgerError | ProtocolError) -> int:
    from audit_ledger.bundle import NotAnAnswer
    from audit_ledger.desk import BadRequest
    from audit_ledger.init import BadDraft, BadShares
    from audit_ledger.verify import exit_code

    if isinstance(error, HomeError | BadDraft | BadShares | BadRequest):
        return USAGE
    if isinstance(error, NotAnAnswer):
        return UNCHECKED  # a broken download is no evidence of tampering
    return exit_code(error) if isinstance(error, LedgerError) else UNCHECKED


def _without_language(arguments: Sequence[str]) -> list[str]:
    kept = [each for each in arguments if not each.startswith("--lang=")]
    if "--lang" in kept:
        at = kept.index("--lang")
        del kept[at : at + 2]
    return kept


def main() -> None:
    with steady_output():
        sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
