"""Why hospitals are not in an answer: each one's own codes, told to the asker beside the answer and kept with it in the register.

A hospital refuses a question by a signed statement that stands in the ledger: it is read there, also after a restart. It refuses a
member set over the link alone: a restart before the release forgets why, and the hospital is then left out without a reason. Of one
that only stayed away there is nothing to tell.
"""

from audit_ledger.facts import QuestionFacts
from coordinator.gathering import reason_of
from coordinator.question import Question
from protocols.refusal import Refusal


def why_absent(facts: QuestionFacts, question: Question) -> list[Refusal]:
    """By hospital. `facts` are those of the released question; `question.refusals` what the register holds of it from before."""
    if facts.release is None:
        return []
    release, told = facts.release[1], list[Refusal]()
    for uri in release.refused:
        told += [Refusal(reason_of(each.code), each.expected, each.got, uri) for each in facts.refusals[uri][1].reasons]
    of_members = [*question.why_balked(), *question.refusals]
    return list(
        dict.fromkeys([*told, *sorted((each for each in of_members if each.subject in release.left_out), key=_by_hospital)])
    )


def _by_hospital(refusal: Refusal) -> str:
    return refusal.subject
