"""The log's HTTP door: what `POST /add` may bring is what the desk takes over gRPC, by the ledger's own rules.

The answer is given once the statement is durable; a cosignature follows by itself, and the reader finds it at `/checkpoint`.
"""

from http import HTTPStatus

from audit_ledger.errors import Busy, LedgerError
from audit_ledger.log_http import Add, Refused, refused
from coordinator.ledger import CityLedger
from coordinator.service.statements import OPEN_KINDS
from protocols.errors import MalformedBytes
from protocols.refusal import Reason
from protocols.statements import parse


def add_to(ledger: CityLedger) -> Add:
    """The door's other side."""

    async def add(entry: bytes) -> int | Refused:
        try:
            signed = parse(entry)
        except MalformedBytes as error:
            return refused(HTTPStatus.BAD_REQUEST, str(Reason.MALFORMED), "a statement", str(error))
        if not isinstance(signed.statement, OPEN_KINDS):
            return refused(HTTPStatus.BAD_REQUEST, str(Reason.MALFORMED), "a statement for the desk", signed.statement.kind)
        try:
            index, findings = await ledger.append_valid(signed)
        except LedgerError as error:
            expected = "a log with room in its queue" if isinstance(error, Busy) else "an open log"
            return refused(HTTPStatus.SERVICE_UNAVAILABLE, error.code, expected)
        if index is None:
            broken = tuple({"code": str(each.rule), "expected": each.detail, "got": ""} for each in findings)
            return Refused(HTTPStatus.UNPROCESSABLE_ENTITY, broken)
        ledger.want_cosigned()
        return index

    return add
