"""What waits for the auditor's decision, with all that it decides from: the query in words, its price, whom it asks, which rule.

Programmes, tables without dates and research queries wait for an approval, emergencies that were opened for a review. Everything
is read from the followed ledger and the signed query; the price is the auditor's own arithmetic (`cost`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from audit_ledger import cost, exact_words
from audit_ledger.residents import stated
from audit_ledger.view import LedgerView, QuestionFacts
from protocols.asked import Asked
from protocols.clock import stamp, unix
from protocols.contract import CONTRACT
from protocols.errors import ProtocolError
from protocols.exact import EXACT
from protocols.fits.words import fit_in_words
from protocols.identity import Identity, Role
from protocols.query import QueryError, QuerySpec
from protocols.query.words import Language, in_words
from protocols.statements import DeclaredColumn, Programme, Registration

Say = Callable[[str, str], str]


@dataclass(frozen=True, slots=True)
class Waiting:
    """One item: what it is, and what a person needs to know before signing. `approvers` sign an approval of it."""

    kind: str  # programme, registration, query or review
    id: str
    by: str
    at: str
    purpose: str
    title: str
    approvers: int = 1
    due: str = ""
    is_overdue: bool = False
    words: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def is_exact(self) -> bool:
        return self.details.get("mode") == EXACT

    def to_json(self) -> dict[str, Any]:
        names = ("kind", "id", "by", "at", "purpose", "title", "approvers", "due", "is_overdue", "words")
        return {**{name: getattr(self, name) for name in names}, **self.details}


def waiting(view: LedgerView, now: int, language: Language = Language.EN) -> list[Waiting]:
    """Due reviews first, by when they are due; then programmes and queries that have not ended, oldest first."""
    due = [_emergency(view, id_, now, language) for id_ in view.emergencies if id_ not in view.reviews]
    programmes = [
        (index, _programme(view, id_, programme))
        for id_, (index, programme) in view.programmes.items()
        if id_ not in view.approvals and id_ not in view.reviews and unix(programme.until) > now
    ]
    tables = [
        (index, _registration(view, id_, each))
        for id_, (index, each) in view.registrations.items()
        if id_ not in view.reviews and view.refusals_of_block(each.by, each.block or "", now)
    ]
    queries = [(facts.index, of_query(view, facts, language, now)) for facts in view.questions.values() if _waits(view, facts, now)]
    asked = [each for _, each in sorted([*programmes, *tables, *queries], key=lambda pair: pair[0])]
    return [*sorted(due, key=lambda each: each.due), *asked]


def find(view: LedgerView, id_: str, language: Language, now: int) -> Waiting | None:
    """The programme or query of this id, decided or not."""
    if id_ in view.programmes:
        return _programme(view, id_, view.programmes[id_][1])
    if id_ in view.registrations:
        return _registration(view, id_, view.registrations[id_][1])
    return of_query(view, view.questions[id_], language, now) if id_ in view.questions else None


def _waits(view: LedgerView, facts: QuestionFacts, now: int) -> bool:
    has_ended = facts.release is not None or facts.query.valid_until <= stamp(now)
    refused = any(Identity.parse(uri).role is Role.AUDITOR for uri in facts.refusals)
    return not has_ended and not refused and facts.query.purpose == "research" and bool(view.refusals_of_approval(facts, now))


def _programme(view: LedgerView, id_: str, programme: Programme) -> Waiting:
    details = {"tables": list(programme.tables), "max_price": programme.max_price, "until": programme.until}
    head = (id_, programme.by, programme.at, programme.purpose, programme.title)
    return Waiting("programme", *head, approvers=view.approvers(programme.purpose), details=details)


def _registration(view: LedgerView, id_: str, table: Registration) -> Waiting:
    details = {"table": table.table, "block": table.block or "", "columns": [_declared(each) for each in table.columns]}
    head = (id_, table.by, table.at, "research", table.title)
    return Waiting("registration", *head, approvers=view.approvers("research"), details=details)


def _declared(column: DeclaredColumn) -> str:
    if column.type == "category":
        return f"{column.name}: {', '.join(column.categories)}"
    return f"{column.name}: {column.low} – {column.high} {column.unit}".rstrip()


def of_query(view: LedgerView, facts: QuestionFacts, language: Language, now: int) -> Waiting:
    query = facts.query
    title, approvers = str(query.spec.get("table", "")), view.approvers(query.purpose)
    head = (facts.id.hex(), query.by, query.at, query.purpose, title)
    try:
        asked = Asked.of(query)
    except (ProtocolError, QueryError):
        # Admission lets none in; a lying coordinator's would be refused by every hospital.
        return Waiting("query", *head, approvers=approvers, details={"audience": list(query.audience)})
    details = exact_words.details(view, asked, now) if asked.is_exact else _details(view, asked)
    return Waiting("query", *head, approvers=approvers, words=_words(asked, language), details=details)


def _emergency(view: LedgerView, id_: str, now: int, language: Language) -> Waiting:
    asked, due = of_query(view, view.questions[id_], language, now), view.review_due(id_)
    head = (asked.id, asked.by, asked.at, asked.purpose, asked.title)
    return Waiting(
        "review",
        *head,
        asked.approvers,
        stamp(due),
        due <= now,
        asked.words,
        {**asked.details, "opened": stamp(view.emergencies[id_])},
    )


def _words(asked: Asked, language: Language) -> str:
    if isinstance(asked.spec, QuerySpec):
        return in_words(asked.spec, language, is_exact=asked.is_exact)
    return fit_in_words(asked.spec, asked.query.rounds, language)


def _details(view: LedgerView, asked: Asked) -> dict[str, Any]:
    query, due = asked.query, cost.by_block(asked)
    willing = [uri for uri in query.audience if is_willing(view, uri, asked, due)]
    return {
        "audience": list(query.audience),
        "floor": query.floor,
        "valid_until": query.valid_until,
        "blocks": list(asked.blocks),
        "cells": asked.dimension,
        "rounds": query.rounds,
        "price": cost.price(asked),
        **({"block_prices": due} if asked.weights else {}),
        "epsilon": f"{cost.epsilon(asked):.6g}",
        "delta": f"{float(CONTRACT.delta):.0e}",
        "noise_sd": [f"{float(piece.variance) ** 0.5:.4g}" for piece in asked.pieces],
        "willing": willing,
        "unwilling": sorted(set(query.audience) - set(willing)),
    }


def is_willing(view: LedgerView, uri: str, asked: Asked, due: Mapping[str, str]) -> bool:
    """Whether the hospital's stated policy allows purpose and table, and its account in the ledger the price of every block."""
    policy, account, purpose = view.policies.get(uri), view.accounts.get(uri), asked.query.purpose
    if policy is None or purpose not in policy.purposes or not asked.tables <= set(policy.tables):
        return False
    if asked.is_of_residents and stated(view, uri, asked.query) is None:
        return False
    spent, limit = account.totals if account else {}, Decimal(policy.limits.get(purpose, "0"))
    return all(spent.get((purpose, block), Decimal(0)) + Decimal(price) <= limit for block, price in due.items())


def lines(each: Waiting, say: Say) -> list[str]:
    """The item for a terminal or a page, one fact a line. Everything stands there that `approve` would sign for."""
    told = [*each.words.split("\n")] if each.words else [each.title]
    more = each.details
    if each.kind == "programme":
        told.append(say("tables: ", "数据表：") + ", ".join(more["tables"]))
        told.append(
            say(f"at most {more['max_price']} a query, until {more['until']}", f"每次最多 {more['max_price']}，至 {more['until']}")
        )
    if each.kind == "registration":
        told += [
            say(f"table {more['table']}; block {more['block']}", f"数据表 {more['table']}；区块 {more['block']}"),
            *more["columns"],
        ]
    if each.is_exact:
        told += exact_words.lines(more, say)
    elif "price" in more:
        told += _cost(more, say)
    elif "audience" in more:
        told.append(say("its spec is none of this version: reject it", "查询内容不符合本版本：应予拒绝"))
    return [*told, _need(each, say)]


def _cost(more: dict[str, Any], say: Say) -> list[str]:
    noise, unwilling = ", ".join(more["noise_sd"]), ", ".join(more["unwilling"])
    asked, willing, blocks = len(more["audience"]), len(more["willing"]), len(more["blocks"])
    price, epsilon = more["price"], f"ε = {more['epsilon']}, δ = {more['delta']}"
    each = ", ".join(f"{block} {due}" for block, due in more.get("block_prices", {}).items())
    return [
        say(
            f"cost: {f'by weight, {each}' if each else f'{price} on each of {blocks} blocks'}; a patient: {epsilon}",
            f"代价：{f'按权重，{each}' if each else f'{blocks} 个区块各付 {price}'}；每位患者 {epsilon}",
        ),
        say(f"noise: standard deviation {noise}; {more['cells']} cells", f"噪声：标准差 {noise}；{more['cells']} 个单元格"),
        say(f"asks {asked} hospitals, at least {more['floor']}: ", f"询问 {asked} 家医院，至少 {more['floor']} 家：")
        + ", ".join(more["audience"]),
        say(f"policy and budget of {willing} of {asked} allow it", f"{willing} / {asked} 家的政策与预算允许")
        + (say(f"; not of {unwilling}", f"；不允许：{unwilling}") if unwilling else ""),
    ]


def _need(each: Waiting, say: Say) -> str:
    if each.kind == "review":
        late = say("OVERDUE, no further emergency is answered: ", "已逾期，不再答复应急提问：") if each.is_overdue else ""
        return late + say(f"answered at once; review due {each.due}", f"已先行答复；复核截止 {each.due}")
    many = "the signature of an approver" if each.approvers == 1 else f"the signatures of {each.approvers} approvers"
    signers = say(many, f"{each.approvers} 位批准人签名")
    if each.kind == "programme":
        return say(
            f"needs: a standing approval, {signers}; it then covers every query under it",
            f"需要：方案的长期批准，{signers}；此后覆盖其下每个问题",
        )
    if each.kind == "registration":
        return say(
            f"needs: an approval, {signers}; the block's budget is new, and lasts until it ends",
            f"需要：批准，{signers}；该区块使用新的预算，直至批准到期",
        )
    return say(f"needs: an approval of this very query, {signers}", f"需要：对该问题的单独批准，{signers}")
