"""`kapok init`, `rotate` and `trust`: the bureau's key, its successor, the next period's log. What each does stands elsewhere."""

import time
from pathlib import Path
from typing import Annotated

import typer

from audit_ledger.before import entry0_in, take_next
from audit_ledger.desk import desk_at
from audit_ledger.party.enrol import Invitation
from audit_ledger.party.home import Home
from audit_ledger.succession import renew_identity
from coordinator.client.arguments import trust_bytes
from coordinator.client.enrolling import enrolled
from coordinator.client.errors import BadUsage
from coordinator.client.options import DEFAULT_HOME, AsJson, HomeFolder, LangName, session_of
from coordinator.client.settings import Settings
from protocols.identity import Identity, fingerprint
from protocols.statements import Licence

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command("init", help="help.init")
def init(
    ctx: typer.Context,
    invite: Annotated[Path, typer.Option("--invite", help="opt.invite")],
    legal_name: Annotated[str, typer.Option("--legal-name", help="opt.legal")],
    licence: Annotated[str, typer.Option("--licence", help="opt.licence")],
    home: HomeFolder = DEFAULT_HOME,
    name: Annotated[str | None, typer.Option("--name", help="opt.name")] = None,
    outbreak: Annotated[bool, typer.Option("--outbreak", help="opt.outbreak")] = False,
    trust: Annotated[Path | None, typer.Option("--trust", help="opt.trust")] = None,
    passphrase_file: Annotated[Path | None, typer.Option("--passphrase-file", help="opt.passphrase")] = None,
    lang: LangName = None,
    as_json: AsJson = False,
) -> None:
    session, place, invitation = session_of(ctx, lang), Home(home), Invitation.read(invite)
    invited = Identity.parse(invitation.uri)
    if name not in {None, invited.name}:
        raise BadUsage("error.name_differs", invited=invited, name=name)
    trusted = trust_bytes(trust) if trust else None
    enrolled(place.protect(passphrase_file), invitation, Licence(legal_name=legal_name, number=licence), outbreak=outbreak)
    if trusted:
        place.write("trust.policy", trusted)
    print_ = fingerprint(place.key("identity").public)
    if as_json:
        return session.show_json({"uri": invitation.uri, "fingerprint": print_, "trust": place.has("trust.policy")})
    session.show(session.say("init.done", uri=invitation.uri))
    session.show(f"  {print_}")
    session.show(session.say("init.next"))
    if not place.has("trust.policy"):
        session.note("init.no_trust", path=place.path / "trust.policy")
    return None


@app.command("rotate", help="help.rotate")
def rotate(
    ctx: typer.Context,
    home: HomeFolder = DEFAULT_HOME,
    invite: Annotated[Path | None, typer.Option("--invite", help="opt.invite_anew")] = None,
    lang: LangName = None,
    as_json: AsJson = False,
) -> None:
    session, place = session_of(ctx, lang), Home(home)
    settings = Settings.read(place)
    with desk_at(place, settings.coordinator_address, settings.coordinator_uri) as desk:
        made = renew_identity(desk, settings.uri, invite)
    if as_json:
        return session.show_json({"uri": settings.uri, "fingerprint": made})
    done = "rotate.asked" if invite else "rotate.done"
    return session.show(session.say(done, uri=settings.uri, fingerprint=made))


@app.command("trust", help="help.next_log")
def next_log(
    ctx: typer.Context,
    founding: Annotated[Path, typer.Argument(help="opt.founding")],
    after: Annotated[str, typer.Option("--after", help="opt.after")],
    home: HomeFolder = DEFAULT_HOME,
    lang: LangName = None,
    as_json: AsJson = False,
) -> None:
    session, place = session_of(ctx, lang), Home(home)
    taken = take_next(place, entry0_in(founding), after, int(time.time()))
    origin, entry0 = taken.policy.logs[0].key.origin, taken.entry0.hex()
    if as_json:
        return session.show_json({"origin": origin, "entry0": entry0})
    return session.show(session.say("next_log.done", origin=origin, entry0=entry0))
