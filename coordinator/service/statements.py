"""Statements from outside: they enter the ledger if the ledger's own rules find nothing against them.

Who sends a statement does not matter, who signed it does. Kinds that belong to a question's life come only through the rounds, but
for a Ready that came too late for its round: it is a charge, and the hospital's next Ready continues it.
"""

from audit_ledger.errors import LedgerError
from coordinator.errors import CoordinatorError
from coordinator.ledger import CityLedger
from protocols.errors import ProtocolError
from protocols.refusal import Reason
from protocols.statements import (
    Approval,
    ApprovalRule,
    Dataset,
    Hold,
    Incident,
    KeyAdd,
    KeyRevoke,
    Policy,
    Programme,
    Ready,
    Refused,
    Registration,
    Review,
    Revocation,
    Statement,
    parse,
)
from protocols.v1 import link_pb2

Kinds = tuple[type[Statement], ...]
OPEN_KINDS: Kinds = (
    Approval, ApprovalRule, Dataset, Hold, Incident, KeyAdd, KeyRevoke, Policy, Programme, Refused, Registration, Review,
    Revocation,
)  # fmt: skip

# A hospital re-sends Readys that it promised and does not find in the ledger: they stand in its account.
HOSPITAL_KINDS: Kinds = (*OPEN_KINDS, Ready)


async def append_statement(ledger: CityLedger, envelope: bytes, kinds: Kinds = OPEN_KINDS) -> link_pb2.Appended:
    """Its index and tlog-proof under a cosigned checkpoint, or the rules it breaks."""
    try:
        signed = parse(envelope)
    except ProtocolError as error:
        return link_pb2.Appended(refusals=[link_pb2.Reason(code=str(Reason.MALFORMED), expected="a statement", got=str(error))])
    if not isinstance(signed.statement, kinds):
        reason = link_pb2.Reason(code=str(Reason.MALFORMED), expected="a statement for the desk", got=signed.statement.kind)
        return link_pb2.Appended(refusals=[reason])
    try:
        index, findings = await ledger.append_valid(signed)
        if index is None:
            return link_pb2.Appended(refusals=[link_pb2.Reason(code=str(each.rule), expected=each.detail) for each in findings])
        await ledger.cosigned()
        return link_pb2.Appended(index=index, proof=ledger.proof(index))
    except (LedgerError, CoordinatorError) as error:
        return link_pb2.Appended(refusals=[link_pb2.Reason(code=error.code, expected="an open log and its auditor")])
