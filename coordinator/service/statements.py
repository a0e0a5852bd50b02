"""Statements from outside: they enter the ledger if the ledger's own rules find nothing against them.

Who sends a statement does not matter, who signed it does. Kinds that belong to a question's life come only through the rounds, but
for a Ready that came too late for its round: it is a charge, and the hospital's next Ready continues it.
"""

from audit_ledger.errors import LedgerError
from coordinator.ledger import CityLedger
from protocols.errors import ProtocolError
from protocols.refusal import Reason
from protocols.statements import (
    Approval,
    Dataset,
    Hold,
    Incident,
    KeyAdd,
    KeyRevoke,
    Policy,
    Programme,
    Ready,
    Review,
    Revocation,
)
from protocols.v1 import link_pb2

OPEN_KINDS = (Approval, Dataset, Hold, Incident, KeyAdd, KeyRevoke, Policy, Programme, Ready, Review, Revocation)


async def append_statement(ledger: CityLedger, envelope: bytes) -> link_pb2.Appended:
    """Its index and tlog-proof under a cosigned checkpoint, or the rules it breaks."""
    try:
        signed, findings = ledger.findings(envelope)
    except ProtocolError as error:
        return link_pb2.Appended(refusals=[link_pb2.Reason(code=str(Reason.MALFORMED), expected="a statement", got=str(error))])
    if not isinstance(signed.statement, OPEN_KINDS):
        got = signed.statement.kind
        return link_pb2.Appended(
            refusals=[link_pb2.Reason(code=str(Reason.MALFORMED), expected="a statement for the desk", got=got)]
        )
    index = ledger.view.seen_ids.get(signed.id)
    if index is None and findings:
        return link_pb2.Appended(refusals=[link_pb2.Reason(code=str(each.rule), expected=each.detail) for each in findings])
    try:
        (index,) = await ledger.append([envelope])
        await ledger.cosigned()
    except LedgerError as error:
        return link_pb2.Appended(refusals=[link_pb2.Reason(code=error.code, expected="an open log")])
    return link_pb2.Appended(index=index, proof=ledger.proof(index))
