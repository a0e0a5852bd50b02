"""What only time shows: a sum that was opened, and whose receipts, release or review never came. Judged at the quorum's own time.

An incident that names the question explains it. A training's members may vanish between its rounds, so that of it the release alone
is due. A review is due for an emergency alone, also for one whose question is forgotten.
"""

from collections.abc import Iterator

from audit_ledger.facts import LedgerFacts, QuestionFacts
from audit_ledger.findings import Finding, Rule
from protocols.contract import CONTRACT

GRACE_S = CONTRACT.window_s
"""After a window has closed: what was on its way is logged by then."""


def overdue(ledger: LedgerFacts, witnessed: int) -> list[Finding]:
    """Openings whose window closed more than `GRACE_S` before `witnessed`, and that nothing followed; reviews that are due."""
    opened = [found for facts in ledger.questions.values() if not facts.incidents for found in _overdue(facts, witnessed)]
    unreviewed = ((ledger.seen_ids.get(bytes.fromhex(id_)), id_) for id_ in ledger.overdue_reviews(witnessed))
    return [*opened, *(Finding(index, Rule.REVIEW_OVERDUE, id_) for index, id_ in unreviewed if index is not None)]


def _overdue(facts: QuestionFacts, witnessed: int) -> Iterator[Finding]:
    for round_, (index, binding, opening) in facts.openings.items():
        if round_ != opening.first_round or binding.not_after + GRACE_S > witnessed:
            continue
        missing = [each.uri for each in binding.members if (each.uri, round_) not in facts.receipts]
        if missing and opening.first_round == opening.last_round:
            yield Finding(index, Rule.RECEIPT_OVERDUE, ", ".join(missing))
        if facts.release is None:
            yield Finding(index, Rule.RELEASE_OVERDUE, facts.id.hex())
