"""Why hospitals are not in an answer: each one's own codes, told to the asker beside the answer and kept with it in the register.

A hospital refuses a question by a signed statement that stands in the ledger: it is read there, also after a restart. It refuses a
member set over the link alone: that is kept in the register from then on. One that has not accepted the others' keys cannot be of a
set with them: the ledger has its list. Of one that only stayed away there is nothing to tell.
"""

from collections.abc import Iterator

from audit_ledger.facts import QuestionFacts
from audit_ledger.view import LedgerView
from coordinator.gathering import reason_of
from coordinator.question import Question
from protocols.refusal import Reason, Refusal
from protocols.secagg.binding import Binding


def why_absent(view: LedgerView, question: Question) -> list[Refusal]:
    """By hospital, of a released question; `question.refusals` is what the register holds of it from before."""
    facts = view.questions[question.id.hex()]
    if facts.release is None:
        return []
    release, told = facts.release[1], list[Refusal]()
    for uri in release.refused:
        told += [Refusal(reason_of(each.code), each.expected, each.got, uri) for each in facts.refusals[uri][1].reasons]
    said = [each for each in (*question.why_balked(), *question.refusals) if each.subject in release.left_out]
    silent = set(release.left_out) - {each.subject for each in said}
    opened = facts.openings[question.admitted.asked.first_round][1]
    return list(dict.fromkeys([*told, *sorted([*said, *_not_accepting(view, facts, opened, silent)], key=_by_hospital)]))


def _not_accepting(view: LedgerView, facts: QuestionFacts, opened: Binding, uris: set[str]) -> Iterator[Refusal]:
    """Of these, who has not accepted all the hospitals that were counted, by the lists and keys that are in force now."""
    ready = {each: facts.readys[each].identity for each in opened.counting}
    now = {each: key.fingerprint for each in ready if (key := view.authority.active(each)) is not None}
    for uri in (uris & set(view.policies)) - {each.uri for each in opened.members}:
        wanted = {identity for each, identity in ready.items() if now.get(each) == identity}
        if lacking := wanted - set(view.policies[uri].peers):
            yield Refusal(Reason.NOT_A_PEER, "all that were counted on its own peer list", f"{len(lacking)} missing", uri)


def _by_hospital(refusal: Refusal) -> str:
    return refusal.subject
