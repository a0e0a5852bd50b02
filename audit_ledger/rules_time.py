"""What the dates inside statements must keep among each other: a signer's claim may not lie before what it rests on.

Clocks of honest parties are each within the contract's tolerance of the witness, so two of them differ by twice that at most. A
date is a claim, and no gate relies on it alone: these findings are reported, and take no effect from the statement.
"""

from collections.abc import Iterator

from audit_ledger.facts import LedgerFacts, QuestionFacts, query_of
from audit_ledger.findings import Finding, Rule
from protocols.clock import stamp, unix
from protocols.contract import CONTRACT
from protocols.statements import Approval, Opening, Ready, Receipt, Release, Review, Statement

TOLERANCE_S = 2 * CONTRACT.clock_tolerance_s


def time_findings(ledger: LedgerFacts, index: int, statement: Statement) -> Iterator[Finding]:
    for what, earlier in _rests_on(ledger, statement):
        if earlier and statement.at < earlier and unix(statement.at) < unix(earlier) - TOLERANCE_S:
            yield Finding(index, Rule.BACKDATED, f"{statement.at}, {what} of {earlier}")
    if isinstance(statement, Receipt):
        yield from _late(ledger.questions.get(statement.query), index, statement)


def _rests_on(ledger: LedgerFacts, statement: Statement) -> Iterator[tuple[str, str]]:
    """What must have been there, by name and date."""
    if isinstance(statement, Review) and (opened := ledger.emergencies.get(statement.target)) is not None:
        yield "the emergency", stamp(opened)
    facts = ledger.questions.get(statement.target if isinstance(statement, Approval) else query_of(statement) or "")
    if facts is None:
        return
    match statement:
        case Approval() | Ready():
            yield "the query", facts.query.at
        case Opening():
            yield "the Ready", max((each.statement.at for each in facts.readys.values()), default="")
        case Receipt(by=uri) if uri in facts.readys:
            yield "the Ready", facts.readys[uri].statement.at
        case Release(round=round_) if round_ in facts.openings:
            yield "the opening", facts.openings[round_][2].at


def _late(facts: QuestionFacts | None, index: int, receipt: Receipt) -> Iterator[Finding]:
    opened = facts.openings.get(receipt.first_round) if facts else None
    if opened is not None and unix(receipt.at) > opened[1].not_after + CONTRACT.clock_tolerance_s:
        yield Finding(index, Rule.RECEIPT_LATE, receipt.at)
