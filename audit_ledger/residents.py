"""Which hospitals may count residents together: whose policy, as stated, permits it for the table, all under one residents' key.

Two keys would put one resident into two buckets of a cell, who then counts twice. A key's fingerprint stands in the permission, so
that entries alone tell: a Ready without one has no effect, coordinator, hospitals and opener refuse a set of more than one.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from audit_ledger.facts import LedgerFacts, QuestionFacts
from audit_ledger.findings import Finding, Rule
from protocols.asked import Asked
from protocols.refusal import Reason, Refusal
from protocols.secagg.binding import Binding
from protocols.statements import Query, Ready
from protocols.union.buckets import RING
from protocols.union.question import asks_for_residents, permitted


def stated(ledger: LedgerFacts, uri: str, query: Query) -> str | None:
    """The permission that the hospital's policy states for the query's table."""
    policy = ledger.policies.get(uri)
    return permitted(policy.tables, str(query.spec.get("table", ""))) if policy else None


def ready_findings(ledger: LedgerFacts, index: int, facts: QuestionFacts, ready: Ready) -> Iterator[Finding]:
    if asks_for_residents(facts.query.spec) and stated(ledger, ready.by, facts.query) is None:
        yield Finding(index, Rule.RESIDENTS, f"{ready.by} states no count of residents over the table")


def key_refusals(ledger: LedgerFacts, facts: QuestionFacts, binding: Binding) -> Iterator[Refusal]:
    """Of a member set: whoever does not state what most of the others do."""
    if asks_for_residents(facts.query.spec):
        uris = [member.uri for member in binding.members]
        for uri in sorted(set(uris) - set(of_one_key(ledger, facts.query, uris))):
            yield Refusal(Reason.RESIDENT_KEYS_DIFFER, "the residents' key of the other members", "another, or none stated", uri)


def is_shaped(asked: Asked, binding: Binding) -> bool:
    """Whether the bound vector holds every cell's buckets, and of every member the same even number of noise slots behind them."""
    slots = binding.dimension - asked.exact_length
    return binding.ring == RING and slots >= 0 and slots % (asked.dimension * 2 * len(binding.members)) == 0


def of_one_key(ledger: LedgerFacts, query: Query, uris: Iterable[str]) -> list[str]:
    """Those that state the key which most of them state; of equally many, the first."""
    of_each = {uri: key for uri in sorted(uris) if (key := stated(ledger, uri, query)) is not None}
    most = Counter(of_each.values()).most_common(1)
    return [uri for uri, key in of_each.items() if key == most[0][0]]
