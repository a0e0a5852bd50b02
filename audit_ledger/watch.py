"""The witness as commands: one that stands alone for any C2SP log, and what an operator settles by hand (`pin`)."""

import asyncio
import sqlite3
import sys
from pathlib import Path
from typing import Annotated

import typer

from audit_ledger.checkpoint import open_checkpoint
from audit_ledger.errors import Malformed, Unavailable
from audit_ledger.fetching import http_fetch
from audit_ledger.note import LogKey, Note
from audit_ledger.party.home import Home
from audit_ledger.screen import EVIDENCE, USAGE, HomeOption, PassphraseOption, command, fail, log_to_stderr, out, say
from audit_ledger.serve import open_witness, serve_witness
from audit_ledger.tiles import CHECKPOINT_PATH
from audit_ledger.witness_store import WitnessStore
from protocols.errors import MalformedBytes
from protocols.identity import Identity, Role

app = typer.Typer()
ListenOption = Annotated[str, typer.Option("--listen", help=say("host:port of this witness (HTTP).", "见证服务地址"))]
LogOption = Annotated[
    list[str] | None, typer.Option("--log", help=say("A log's verifier key; may be repeated.", "账本的验证公钥，可重复"))
]


@command(app, "witness", "kapok-audit witness --home W --name union --listen 0.0.0.0:7447 --log 'gz.kapok.example/2026+…'")
def witness(
    home: HomeOption,
    name: Annotated[str, typer.Option("--name", help=say("Short name, at the first start.", "简称（首次启动时给出）"))] = "",
    listen: ListenOption = "127.0.0.1:7447",
    log: LogOption = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Run a witness alone, for any C2SP logs, until SIGTERM: one of k of n. / 单独运行一个见证方，可为任何 C2SP 账本作证。"""
    log_to_stderr()
    place = Home(home)
    if not place.has("keys/witness.key"):
        _create(place.protect(passphrase_file), name)
    store = open_witness(place)
    for each in log or []:
        store.trust(_log_key(each))

    def ready(address: str) -> None:
        typer.echo(
            say(f"ready: witness http://{address}  key {store.vkey}", f"ready 就绪：见证 http://{address}  公钥 {store.vkey}")
        )
        sys.stdout.flush()

    asyncio.run(serve_witness(store, listen, ready))


def _create(place: Home, name: str) -> None:
    if not name:
        fail(USAGE, say("--name is missing, e.g. --name union", "缺少 --name，例如 --name union"))
    try:
        name = Identity(Role.AUDITOR, Identity.parse(f"kapok://auditor/{name}").name).name
    except MalformedBytes as error:
        fail(USAGE, f"--name: {error}")
    place.create_key("witness")
    place.write("config.toml", f'name = "{name}"\n'.encode())


@command(app, "pin", "kapok-audit pin https://ledger.example/2026 --home A")
def pin(
    home: HomeOption,
    source: Annotated[str, typer.Argument(help=say("A log's folder, URL or checkpoint file.", "账本目录、网址或检查点文件"))],
    log: LogOption = None,
) -> None:
    """Put the witness at a checkpoint that was compared by hand: a restored memory. / 将见证方置于人工核对过的检查点。"""
    store = open_witness(Home(home))
    try:
        for each in log or []:
            store.trust(_log_key(each))
        _pin(store, Note.parse(_checkpoint(source)))
    finally:
        store.close()


def _pin(store: WitnessStore, note: Note) -> None:
    checkpoint = open_checkpoint(note, store.logs())
    origin, size = checkpoint.origin, checkpoint.size
    try:
        store.pin(checkpoint)
    except sqlite3.IntegrityError:
        fail(EVIDENCE, f"{origin}: {_behind(store, origin, size)}")
    root = checkpoint.root.hex()
    out.print(f"{origin}: " + say(f"goes on from size {size}, root {root}", f"从 {size} 条、根 {root} 继续"), markup=False)


def _behind(store: WitnessStore, origin: str, size: int) -> str:
    before = store.latest(origin)
    seen = before.size if before else 0
    return say(
        f"this witness cosigned size {seen}; size {size} is behind it, or forks from it. Keep both checkpoints: if they fork, the"
        " log signed two histories",
        f"本见证方已见证至 {seen} 条；{size} 条落后或与之分叉。请保留两份检查点：分叉即账本签署了两种历史",
    )


def _log_key(text: str) -> LogKey:
    try:
        return LogKey.parse(text)
    except (Malformed, ValueError) as error:
        fail(USAGE, f"--log: {error}")


def _checkpoint(source: str) -> bytes:
    if source.startswith(("http://", "https://")):
        return http_fetch(source)(CHECKPOINT_PATH)
    path = Path(source)
    try:
        return (path / CHECKPOINT_PATH if path.is_dir() else path).read_bytes()
    except OSError as error:
        raise Unavailable(f"{source}: {error.strerror}") from None
