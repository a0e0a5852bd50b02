"""What a replay knows at a size: the questions and all that followed them, the accounts, the approvals in force.

No rule and no parsing: `view` fills this, the rules (`rules_question`, `rules_ready`, `rules_opening`) and every gate read it.
"""

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from decimal import Decimal

from audit_ledger.authority import Authority
from audit_ledger.tree import CompactRange
from protocols.clock import unix
from protocols.secagg.binding import Binding
from protocols.secagg.member import LoggedReady
from protocols.statements import Approval, Dataset, Opening, Policy, Programme, Query, Receipt, Refused, Release, Seen

ROOTS_KEPT = 65_536


@dataclass(slots=True)
class QuestionFacts:
    """One query and all that followed it, by index."""

    index: int
    id: bytes
    query: Query
    entry: bytes
    readys: dict[str, LoggedReady] = field(default_factory=dict)
    openings: dict[int, tuple[int, Binding, Opening]] = field(default_factory=dict)
    receipts: dict[tuple[str, int], tuple[int, Receipt]] = field(default_factory=dict)
    refusals: dict[str, tuple[int, Refused]] = field(default_factory=dict)
    release: tuple[int, Release] | None = None
    incidents: list[tuple[int, str]] = field(default_factory=list)


@dataclass(slots=True)
class Account:
    """A hospital's ledger account: its last sequence and its totals per (purpose, block), single and doubled."""

    sequence: int = 0
    totals: dict[tuple[str, str], Decimal] = field(default_factory=dict)
    totals_two: dict[tuple[str, str], Decimal] = field(default_factory=dict)


@dataclass(slots=True)
class LedgerFacts:
    """`size` entries have been applied; `range` has their root."""

    entry0: bytes
    authority: Authority = field(init=False)
    range: CompactRange = field(default_factory=CompactRange)
    roots: OrderedDict[int, bytes] = field(default_factory=OrderedDict)
    seen_ids: dict[bytes, int] = field(default_factory=dict)
    questions: dict[str, QuestionFacts] = field(default_factory=dict)
    programmes: dict[str, tuple[int, Programme]] = field(default_factory=dict)
    approvals: dict[str, tuple[int, Approval]] = field(default_factory=dict)
    policies: dict[str, Policy] = field(default_factory=dict)
    datasets: dict[str, Dataset] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    is_held: bool = False
    is_closed: bool = False

    def __post_init__(self) -> None:
        self.authority = Authority(self.entry0)

    @property
    def size(self) -> int:
        return self.range.size

    def knows(self, seen: Seen) -> bool:
        """Whether this ledger had that root at that size (of the last ROOTS_KEPT sizes; older ones are taken from the tiles)."""
        return self.roots.get(seen.size) == bytes.fromhex(seen.root)

    def refusals_of_approval(self, facts: QuestionFacts, now: int) -> list[str]:
        """Why the query's purpose is not approved at the replayed size; empty if it is.

        `surveillance`: an approved programme of the asker that covers the table. `research` and `outbreak`: the auditor's
        approval of this very query, after it.
        """
        query = facts.query
        target = query.programme if query.purpose == "surveillance" else facts.id.hex()
        approval = self.approvals.get(target) if target else None
        if approval is None:
            return ["no approval in force"]
        if unix(approval[1].until) <= now:
            return ["the approval has ended"]
        if query.purpose == "surveillance" and target is not None:
            programme = self.programmes[target][1]
            if unix(programme.until) <= now:
                return ["the programme has ended"]
            if query.spec.get("table") not in programme.tables or approval[0] > facts.index:
                return ["the programme covers other tables, or was approved after the query"]
        return []

    def price_cap(self, query: Query) -> Decimal | None:
        """What the query's programme allows one query to charge; None where there is no programme."""
        found = self.programmes.get(query.programme) if query.programme else None
        return Decimal(found[1].max_price) if found else None

    def standing_readys(self, facts: QuestionFacts) -> dict[str, LoggedReady]:
        """The query's Readys as they count now: a hospital whose identity key was revoked or replaced since has none."""
        active = {uri: self.authority.active(uri) for uri in facts.readys}
        return {
            uri: logged if (key := active[uri]) is not None and key.fingerprint == logged.identity else replace(logged, identity="")
            for uri, logged in facts.readys.items()
        }
