"""`kapok-node incident`: the hospital says itself why it was absent from a question (decision 0005).

Nobody else's word accounts for an absence, and unaccounted ones hold questions over the same blocks. The statement waits in the
journal until the running node has seen it in the ledger; asked twice it is made once.
"""

import time
from enum import StrEnum
from typing import Annotated

import typer

from audit_ledger.errors import Unavailable
from audit_ledger.facts import QuestionFacts
from audit_ledger.party.home import Home
from audit_ledger.view import LedgerView
from hospital_node.commands import DEFAULT_HOME, HomeOption, JsonOption, LangOption, failures, say, show
from hospital_node.config import Config
from hospital_node.errors import Usage
from hospital_node.journal import Journal
from hospital_node.ledger_at_hand import fetch, followed
from hospital_node.showing import opened
from protocols.clock import stamp
from protocols.statements import Incident, parse

SHORTEST = 8


class Absence(StrEnum):
    """Why a hospital was away; a public fact, so a few words that name no record and no person."""

    NETWORK = "network"
    POWER = "power"
    MACHINE = "machine"
    MAINTENANCE = "maintenance"
    OTHER = "other"


def incident(
    lang: LangOption,
    query: Annotated[
        str,
        typer.Argument(help=f"Its id; {SHORTEST} digits suffice. 查询编号，至少 {SHORTEST} 位。", show_default=False),
    ],
    reason: Annotated[Absence, typer.Option(help="What kept the node away; public. 缺席原因，将公开。")] = Absence.OTHER,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Say in the ledger why this hospital was absent from a question. 说明本院缺席的原因。"""
    with failures(as_json):
        place = Home(home.expanduser())
        config = Config.read(place.path)
        with opened(place.path) as journal:
            facts = _question(_view(place, config, journal), query.lower())
            is_new = state_absence(place, config, journal, facts, reason)
        text = say(lang, *(_QUEUED if is_new else _STATED))
        show({"query": facts.id.hex(), "code": f"absent.{reason}", "is_new": is_new}, as_json, f"{facts.id.hex()}\n{text}")


_QUEUED = ("it goes into the ledger as soon as the node runs", "节点运行后即写入账本")
_STATED = ("it was stated before; nothing is added", "此前已说明，未重复")


def state_absence(place: Home, config: Config, journal: Journal, facts: QuestionFacts, reason: Absence) -> bool:
    """Queues the statement, durably, unless it stands in the ledger or waits already. Raises Usage if there is nothing to say."""
    query = facts.id.hex()
    if config.uri not in facts.query.audience:
        raise Usage(f"{query}: this hospital was not asked; nothing is to be explained")
    if any(config.uri in {each.uri for each in binding.members} for _, binding, _ in facts.openings.values()):
        raise Usage(f"{query}: this hospital took part; its absence needs no reason")
    if any(by == config.uri for _, by in facts.incidents) or any(_is_of(each, query) for each in journal.outbox().values()):
        return False
    stated = Incident(log=config.origin, at=stamp(int(time.time())), by=config.uri, query=query, code=f"absent.{reason}")
    signed = stated.envelope().signed([place.key("identity")])
    journal.queue(signed.statement_id(), signed.encode())
    return True


def _is_of(envelope: bytes, query: str) -> bool:
    statement = parse(envelope).statement
    return isinstance(statement, Incident) and statement.query == query


def _view(place: Home, config: Config, journal: Journal) -> LedgerView:
    """At the newest ledger that can be had: a hospital that was away has not followed what it missed."""
    follower = followed(place, journal)
    try:
        fetch(place, config, follower)
    except Unavailable as error:
        typer.echo(f"the ledger as followed so far ({follower.size} entries): {error}", err=True)
    return follower.view


def _question(view: LedgerView, query: str) -> QuestionFacts:
    found = [facts for name, facts in view.questions.items() if len(query) >= SHORTEST and name.startswith(query)]
    if len(found) != 1:
        raise Usage(f"{query[:64]}: {len(found)} questions in the ledger begin so; give {SHORTEST} digits or more of one")
    return found[0]
