"""What an exact question must keep in a ledger, each rule from entries alone: the same for opener, followers and monitor.

- The statement keeps the rules of `protocols.exact`: research, floor of five, no noise.
- A Ready comes from a hospital whose stated policy answers the table in exact mode. What it charges is in `due`: nothing.
- The set that opens is the whole audience, in K as in U.
- Differencing. No noise hides what two exact answers differ by. So a second exact question over a table and a block opens only
  under an approval that stands behind the first one's opening in the ledger: the auditor has seen what it will be compared with
  (`review` shows it). Where the audiences differ by fewer hospitals than the floor, the difference is those hospitals' own totals:
  only an approval behind the question's own Readys opens it.
- A hospital takes part in at most four exact openings a month and table; nothing lifts that.

What the ledger cannot show: how many patients two cohorts differ by, or that the records changed between two equal questions. An
exact answer is as telling as its cells are small; that is the auditor's and the hospitals' to judge before they agree.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from audit_ledger.facts import ExactOpened, LedgerFacts, QuestionFacts
from audit_ledger.findings import Finding, Rule
from protocols.clock import stamp, unix
from protocols.contract import CONTRACT
from protocols.exact import NOT_PRIVATE, is_exact, permission, statement_refusals
from protocols.refusal import Reason, Refusal
from protocols.secagg.binding import Binding
from protocols.secagg.member import fixed_set_refusals
from protocols.statements import Model, Opening, Query, Ready, Release

FREE = "0.000000000"


def _finding(index: int, no: Refusal) -> Finding:
    detail = f"{no.reason}: expected {no.expected}, got {no.got}"
    return Finding(index, Rule.EXACT, f"{detail} ({no.subject})" if no.subject else detail)


def query_findings(index: int, query: Query) -> Iterator[Finding]:
    for no in statement_refusals(query):
        yield _finding(index, no)


def ready_findings(ledger: LedgerFacts, index: int, facts: QuestionFacts, ready: Ready) -> Iterator[Finding]:
    if is_exact(facts.query.spec) and not permits(ledger, ready.by, table_of(facts.query)):
        yield Finding(index, Rule.EXACT, f"{ready.by} states no exact mode for the table")


def opening_findings(
    ledger: LedgerFacts, index: int, facts: QuestionFacts, opening: Opening, binding: Binding
) -> Iterator[Finding]:
    if not is_exact(facts.query.spec):
        return
    for no in [*fixed_set_refusals(binding, facts.query.audience), *differing_refusals(ledger, facts, unix(opening.at))]:
        yield _finding(index, no)


def release_findings(index: int, facts: QuestionFacts, release: Release) -> Iterator[Finding]:
    """Of a training too, whose set may shrink only where it is private."""
    if is_exact(facts.query.spec) and release.status == "released" and release.answered != facts.query.audience:
        yield Finding(index, Rule.EXACT, "released without the whole audience")


def model_findings(index: int, facts: QuestionFacts, model: Model) -> Iterator[Finding]:
    if (NOT_PRIVATE in (model.epsilon, model.delta)) != is_exact(facts.query.spec):
        yield Finding(index, Rule.EXACT, "a model card states an epsilon exactly where its question was private")


def table_of(query: Query) -> str:
    return str(query.spec.get("table", ""))


def permits(ledger: LedgerFacts, uri: str, table: str) -> bool:
    """Whether the hospital's policy, as stated, answers this table in exact mode."""
    policy = ledger.policies.get(uri)
    return policy is not None and permission(table) in policy.tables


def blocks_of(facts: QuestionFacts) -> frozenset[str]:
    return frozenset(block for ready in facts.readys.values() for block in ready.statement.charge.blocks)


def opened(index: int, id_: str, facts: QuestionFacts, at: str) -> ExactOpened:
    """What is kept of an exact opening for good: later exact questions are measured against it."""
    return ExactOpened(index, id_, at[:7], table_of(facts.query), blocks_of(facts), frozenset(facts.query.audience))


def earlier_exact(ledger: LedgerFacts, id_: str, table: str, blocks: frozenset[str]) -> list[ExactOpened]:
    """Exact openings of other questions over this table and one of these blocks, oldest first."""
    return [each for each in ledger.exact if each.query != id_ and each.table == table and not blocks.isdisjoint(each.blocks)]


def differing_refusals(ledger: LedgerFacts, facts: QuestionFacts, now: int) -> list[Refusal]:
    """Why this exact question may not open beside the earlier ones."""
    return [*_unseen(ledger, facts), *_near(ledger, facts), *_cap(ledger, facts, stamp(now)[:7])]


def _unseen(ledger: LedgerFacts, facts: QuestionFacts) -> Iterator[Refusal]:
    approved = _approved_at(ledger, facts)
    for each in earlier_exact(ledger, facts.id.hex(), table_of(facts.query), blocks_of(facts)):
        if approved <= each.index:
            yield Refusal(Reason.EXACT_AGAIN, f"an approval behind entry {each.index}", f"one at entry {approved}", each.query)


def _near(ledger: LedgerFacts, facts: QuestionFacts) -> Iterator[Refusal]:
    if _approved_at(ledger, facts) > max((ledger.seen_ids[each.id] for each in facts.readys.values()), default=-1):
        return
    audience = frozenset(facts.query.audience)
    for each in earlier_exact(ledger, facts.id.hex(), table_of(facts.query), blocks_of(facts)):
        difference = audience ^ each.audience
        for uri in sorted(difference) if len(difference) < CONTRACT.exact_floor else ():
            wanted = f"the audience of entry {each.index}, or an approval behind the Readys"
            yield Refusal(Reason.SET_DIFFERS, wanted, "another", uri)


def _cap(ledger: LedgerFacts, facts: QuestionFacts, month: str) -> Iterator[Refusal]:
    cap = CONTRACT.exact_a_month
    for uri in facts.query.audience:
        if len(of_month(ledger, facts, uri, month)) >= cap:
            yield Refusal(Reason.EXACT_CAP, f"{cap} exact answers over the table in {month}", "no more", uri)


def of_month(ledger: LedgerFacts, facts: QuestionFacts, uri: str, month: str) -> list[ExactOpened]:
    """The hospital's exact openings over this question's table, but for the question's own."""
    mine = [each for each in ledger.exact if uri in each.audience and each.query != facts.id.hex()]
    return [each for each in mine if each.month == month and each.table == table_of(facts.query)]


def _approved_at(ledger: LedgerFacts, facts: QuestionFacts) -> int:
    approval = ledger.approvals.get(facts.id.hex())
    return approval[0] if approval else -1


@dataclass(frozen=True, slots=True)
class Bound:
    """A set that the opener is bound to and whose opening is still on its way into the ledger."""

    query: str
    facts: QuestionFacts


def on_its_way(facts: QuestionFacts, bound: list[Bound]) -> Iterator[Refusal]:
    """Of two exact questions over the same records one waits until the other's opening stands in the ledger."""
    for each in bound:
        same = is_exact(each.facts.query.spec) and table_of(each.facts.query) == table_of(facts.query)
        if same and each.query != facts.id.hex() and not blocks_of(facts).isdisjoint(blocks_of(each.facts)):
            yield Refusal(Reason.EXACT_AGAIN, "an approval behind the other's opening", "its opening is not logged yet", each.query)
