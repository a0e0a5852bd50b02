"""`kapok-node residents`: the key by which the city's hospitals know a resident again. Made by one, taken by the others.

It goes from hand to hand as a file, never over the coordinator: who has it and the tags of a hospital knows whose they are.
"""

import secrets
from pathlib import Path
from typing import Annotated

import typer

from audit_ledger.party.home import Home
from hospital_node.commands import DEFAULT_HOME, HomeOption, JsonOption, LangOption, failures, say, show
from hospital_node.errors import Usage
from hospital_node.records.report_text import Lang
from hospital_node.records.residents import KEY_BYTES, KEY_FILE, Residents
from protocols.canonical import b64, unb64
from protocols.errors import MalformedBytes

residents_app = typer.Typer(
    help="The hospitals' common key for resident numbers. 各医院共用的居民标识密钥。",
    epilog="Example: kapok-node residents show",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
PREFIX = "kapok-residents-key "


@residents_app.command("make", epilog="Example: kapok-node residents make --out /media/stick/residents.key")
def make(
    lang: LangOption,
    out: Annotated[Path, typer.Option(help="Where the copy for the other hospitals goes. 供其他医院使用的副本。")],
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Make the key, at one hospital of the city. 在一家医院生成密钥。"""
    with failures(as_json):
        place = Home(home.expanduser())
        if out.exists():
            raise Usage(f"{out}: exists already and is not overwritten")
        if place.has(KEY_FILE):
            raise Usage(f"{place.path / KEY_FILE}: exists already and is not overwritten")
        secret = secrets.token_bytes(KEY_BYTES)
        out.touch(mode=0o600, exist_ok=False)
        try:
            out.write_text(PREFIX + b64(secret) + "\n")
            place.write_secret(KEY_FILE, secret)  # last: a key whose copy was never out would help nobody
        except BaseException:
            out.unlink()
            raise
        _show(place, lang, as_json, (f"copied to {out}: hand it over, and destroy it", f"副本在 {out}：当面交接后销毁"))


@residents_app.command("take", epilog="Example: kapok-node residents take /media/stick/residents.key")
def take(
    lang: LangOption,
    file: Annotated[Path, typer.Argument(help="As another hospital made it. 另一家医院生成的文件。")],
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Take over the key that another hospital made. 接收另一家医院生成的密钥。"""
    with failures(as_json):
        place = Home(home.expanduser())
        secret = _read(file)
        if not place.has(KEY_FILE) or place.secret(KEY_FILE, KEY_BYTES) != secret:
            place.write_secret(KEY_FILE, secret)  # refuses to replace another
        _show(place, lang, as_json, ("compare the fingerprint by telephone", "请电话核对指纹"))


@residents_app.command("show", epilog="Example: kapok-node residents show --json")
def fingerprint(lang: LangOption, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """The key's fingerprint; every hospital must read out the same. 密钥指纹，各医院须一致。"""
    with failures(as_json):
        place = Home(home.expanduser())
        if not place.has(KEY_FILE):
            raise Usage(f"{place.path / KEY_FILE}: not there; run `kapok-node residents make` or `take`")
        _show(place, lang, as_json, ("", ""))


def _read(file: Path) -> bytes:
    try:
        text = file.read_text("ascii")
        if not text.startswith(PREFIX):
            raise Usage(f"{file}: is no residents' key")
        return unb64(text.removeprefix(PREFIX).strip(), KEY_BYTES)
    except FileNotFoundError:
        raise Usage(f"{file}: no such file") from None
    except (OSError, UnicodeDecodeError, MalformedBytes):
        raise Usage(f"{file}: is no residents' key") from None


def _show(place: Home, lang: Lang, as_json: bool, then: tuple[str, str]) -> None:
    residents = Residents.of(place.path)
    if residents is None:
        raise AssertionError("a key was written and is not there")
    told = f"{residents.fingerprint}\n{say(lang, *then)}".rstrip()
    show({"fingerprint": residents.fingerprint}, as_json, told)
