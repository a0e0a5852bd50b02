"""The desk: bureau, auditor and hospital IT bring statements and fetch facts. Everything it tells is public within the city."""

import json
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio

from audit_ledger.party.channel import peer_of
from audit_ledger.view import LedgerView
from coordinator.ledger import CityLedger
from coordinator.members import Members, follow_frames
from coordinator.question import reason_message
from coordinator.register import QuestionRow, Register
from coordinator.rounds import Rounds
from coordinator.service.statements import append_statement
from protocols.statements import KeyAdd, Review, Statement, parse
from protocols.v1 import link_pb2, link_pb2_grpc

Context = grpc.aio.ServicerContext


class Desk(link_pb2_grpc.DeskServicer):
    """Serves every admitted party; each method says whom it answers."""

    def __init__(self, ledger: CityLedger, members: Members, rounds: Rounds, register: Register) -> None:
        self._ledger, self._members, self._rounds, self._register = ledger, members, rounds, register

    async def Append(self, request: link_pb2.Statement, context: "Context[Any, Any]") -> link_pb2.Appended:  # noqa: N802
        """Anyone with a certificate: the signatures decide."""
        peer_of(context)
        appended = await append_statement(self._ledger, request.envelope)
        if not appended.refusals:
            self._drop_decided(parse(request.envelope).statement)
        return appended

    def _drop_decided(self, statement: Statement) -> None:
        """A key request waits no more once it was admitted, or turned down by the auditor's review of it."""
        if isinstance(statement, KeyAdd):
            self._register.drop_key_request(statement.subject)
        elif isinstance(statement, Review) and statement.verdict == "not_in_order":
            for each in map(parse, self._register.key_requests()):
                if each.hex_id == statement.target and isinstance(each.statement, KeyAdd):
                    self._register.drop_key_request(each.statement.subject)

    async def Ask(self, request: link_pb2.Statement, context: "Context[Any, Any]") -> AsyncIterator[link_pb2.Progress]:  # noqa: N802
        """The asker of the query itself; other callers are refused by admission."""
        asked = await self._rounds.ask(request.envelope, str(peer_of(context)))
        if isinstance(asked, list):
            yield link_pb2.Progress(state="refused", refusals=[reason_message(each) for each in asked], is_last=True)
            return
        async for progress in asked.follow():
            yield progress

    async def Watch(self, request: link_pb2.QueryId, context: "Context[Any, Any]") -> AsyncIterator[link_pb2.Progress]:  # noqa: N802
        """Anyone: an answer is public within the city once it is released."""
        peer_of(context)
        question = self._rounds.find(request.query)
        if question is not None:
            async for progress in question.follow():
                yield progress
            return
        row = self._register.question(request.query)
        if row is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "query.unknown")
        else:
            yield _ended(row)

    async def Cancel(self, request: link_pb2.QueryId, context: "Context[Any, Any]") -> link_pb2.Progress:  # noqa: N802
        """Only the asker. A question that is open already ends as it ends."""
        caller, question = peer_of(context), self._rounds.find(request.query)
        if question is None or question.query.by != str(caller):
            await context.abort(grpc.StatusCode.NOT_FOUND, "query.unknown")
        await self._rounds.cancel(request.query)
        assert question is not None
        return question.progress()

    async def Catalog(self, request: link_pb2.CatalogRequest, context: "Context[Any, Any]") -> link_pb2.CatalogReply:  # noqa: N802
        """Hospitals, tables, programmes and accounts, as the ledger states them."""
        peer_of(context)
        return link_pb2.CatalogReply(catalog=json.dumps(catalog(self._ledger, self._members)).encode())

    async def Entries(self, request: link_pb2.EntriesRequest, context: "Context[Any, Any]") -> AsyncIterator[link_pb2.Follow]:  # noqa: N802
        """The ledger from an index on, with the newest cosigned checkpoint."""
        peer_of(context)
        await self._ledger.refreshed()
        for frame in follow_frames(self._ledger, min(request.start, self._ledger.note_size)):
            yield frame

    async def Requests(self, request: link_pb2.RequestsRequest, context: "Context[Any, Any]") -> link_pb2.RequestsReply:  # noqa: N802
        """Key requests that wait for the auditor's second signature."""
        peer_of(context)
        return link_pb2.RequestsReply(envelopes=self._register.key_requests())


def _ended(row: QuestionRow) -> link_pb2.Progress:
    return link_pb2.Progress(
        query=row.query,
        state=row.state,
        refusals=[reason_message(each) for each in row.refusals],
        answer=row.answer or b"",
        is_last=True,
        breakdown=row.breakdown or "",
    )


def _registered(view: LedgerView, uri: str) -> list[dict[str, Any]]:
    """Research tables with columns and bounds, each as last stated. `approved` is None where months pay."""
    found = {}
    for id_, (_, each) in view.registrations.items():
        if each.by == uri:
            is_approved = None if each.is_dated else id_ in view.approvals
            found[each.table] = {**each.model_dump(mode="json", exclude={"log", "at", "by"}), "id": id_, "approved": is_approved}
    return list(found.values())


def catalog(ledger: CityLedger, members: Members) -> dict[str, Any]:
    """Public facts: what the ledger says of hospitals and programmes, and who is connected now."""
    view = ledger.view
    hospitals = []
    for uri in view.authority.hospitals():
        dataset, policy, key = view.datasets.get(uri), view.policies.get(uri), view.authority.active(uri)
        hospitals.append(
            {
                "uri": uri,
                "admitted": True,
                "fingerprint": key.fingerprint if key else "",
                "legal_name": key.licence.legal_name if key and key.licence else "",
                "connected": members.get(uri) is not None,
                "tables": [table.model_dump() for table in dataset.tables] if dataset else [],
                "registered": _registered(view, uri),
                "freshness": dataset.freshness if dataset else "",
                "policy": policy.model_dump(mode="json", exclude={"log", "by"}) if policy else {},
            }
        )
    programmes = [
        {**programme.model_dump(mode="json", exclude={"log", "at"}), "id": id_, "approved": id_ in view.approvals}
        for id_, (_, programme) in view.programmes.items()
    ]
    spent: dict[str, dict[str, dict[str, str]]] = {}
    for uri, account in view.accounts.items():
        for (purpose, block), total in account.totals.items():
            spent.setdefault(uri, {}).setdefault(purpose, {})[block] = str(total)
    return {
        "origin": view.authority.origin,
        "size": ledger.note_size,
        "checkpoint": ledger.note.decode(),
        "hospitals": hospitals,
        "programmes": programmes,
        "spent": spent,
        "audience": [each["uri"] for each in hospitals],
    }
