"""Holds member sets from which a hospital's totals could be reached by subtracting two legal openings.

A set that differs from an earlier one over the same blocks (same purpose, a shared block) by one or two hospitals is held, unless
each hospital in the difference is accounted for: it refused that query by signature for a reason of its own, it was admitted or
revoked in between, or it logged an incident about that query itself (decision 0005). Other absences are let pass three times per
hospital and month. The auditor lifts a hold by approving this very query after its Readys.

Everything is read from the ledger, so that a restored opener comes to the same verdict. The monitor does not repeat it. An earlier
set of the same members, which is what most are, costs less than a microsecond.

Source: spec of the masks, protocol step 6 and "What it takes".
"""

from collections.abc import Iterator
from dataclasses import dataclass

from audit_ledger.view import LedgerView, QuestionFacts
from protocols.clock import stamp
from protocols.refusal import Reason, Refusal

ABSENCES_A_MONTH = 3
NEAR = 2
# Refusals that a bad Offer cannot provoke: the hospital finds them in its own policy, account and machine.
OWN_REASONS = ("policy.", "budget.", "node.paused", "node.disk", "node.no_records")


@dataclass(frozen=True, slots=True)
class OpenedSet:
    """One opened (or about to be opened) member set, with what its question's later entries say of absences."""

    index: int
    month: str
    facts: QuestionFacts
    members: frozenset[str]

    def excuses(self, uri: str) -> bool:
        """A hospital's own word only: nobody else can explain its absence away, and no provoked refusal counts."""
        refused = self.facts.refusals.get(uri)
        own = refused is not None and any(each.code.startswith(OWN_REASONS) for each in refused[1].reasons)
        return own or any(by == uri for _, by in self.facts.incidents)


def differing_refusals(view: LedgerView, facts: QuestionFacts, members: frozenset[str], now: int) -> list[Refusal]:
    """A refusal for each hospital whose absence, here or in an earlier set, is neither accounted for nor let pass."""
    if _is_lifted(view, facts):
        return []
    if not any(_is_near(members, each) for earlier in view.questions.values() for _, _, each in earlier.opened_sets):
        return []
    new = OpenedSet(view.size, stamp(now)[:7], facts, members)
    sets = [each for each in _opened(view) if not facts.charged.isdisjoint(each.facts.charged)]
    near = [each for each in sets if _is_near(members, each.members)]
    found = {uri: earlier for earlier in near for uri in _unexplained(view, earlier, new, [*sets, new])}
    return [
        Refusal(Reason.SET_DIFFERS, f"the members of entry {earlier.index}, or a reason in the ledger", "absent without one", uri)
        for uri, earlier in sorted(found.items())
    ]


def _is_near(first: frozenset[str], second: frozenset[str]) -> bool:
    """Whether two sets differ by so few hospitals that their difference tells of them."""
    return first != second and len(first ^ second) <= NEAR


def _is_lifted(view: LedgerView, facts: QuestionFacts) -> bool:
    approval = view.approvals.get(facts.id.hex())
    return approval is not None and all(approval[0] > view.seen_ids[ready.id] for ready in facts.readys.values())


def _opened(view: LedgerView) -> Iterator[OpenedSet]:
    for facts in view.questions.values():
        for index, month, members in facts.opened_sets:
            yield OpenedSet(index, month, facts, members)


def _unexplained(view: LedgerView, earlier: OpenedSet, new: OpenedSet, sets: list[OpenedSet]) -> Iterator[str]:
    for uri in earlier.members ^ new.members:
        absent = new if uri in earlier.members else earlier
        if absent.excuses(uri) or _changed_between(view, uri, earlier.index):
            continue
        absences = [s for s in sets if s.month == absent.month and _is_absent(view, s, uri)]
        if len(absences) > ABSENCES_A_MONTH:
            yield uri


def _is_absent(view: LedgerView, one: OpenedSet, uri: str) -> bool:
    return uri not in one.members and not one.excuses(uri) and _was_admitted(view, uri, one.index)


def _was_admitted(view: LedgerView, uri: str, index: int) -> bool:
    keys = view.authority.identities(uri)
    return any(key.since <= index and (key.until is None or key.until > index) for key in keys)


def _changed_between(view: LedgerView, uri: str, index: int) -> bool:
    keys = view.authority.identities(uri)
    return any(key.since > index or (key.until is not None and key.until > index) for key in keys)
