"""What a replay knows at a size: the questions and all that followed them, the accounts, the approvals in force.

No rule and no parsing: `view` fills this, the rules (`rules_ready`, `rules_opening`, `rules_time`) and every gate read it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal

from audit_ledger.authority import Authority
from audit_ledger.history import Digests, Roots
from audit_ledger.tree import CompactRange
from protocols.clock import unix
from protocols.contract import CONTRACT
from protocols.query import tables_named
from protocols.query.footprint import PATIENTS_BLOCK
from protocols.refusal import Reason, Refusal
from protocols.secagg.binding import Binding
from protocols.secagg.member import LoggedReady
from protocols.statements import (
    Approval,
    ApprovalRule,
    Close,
    Dataset,
    ModelCard,
    Opening,
    Policy,
    Programme,
    Query,
    Receipt,
    Refused,
    Registration,
    Release,
    Review,
    Seen,
    Statement,
)

DAY_S = 86_400


def query_of(statement: Statement) -> str | None:
    """The question that a statement names, if its kind names one."""
    found: str | None = vars(statement).get("query")  # a model asked for a field that it lacks takes long to say no
    return found


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
    card: tuple[int, ModelCard] | None = None
    incidents: list[tuple[int, str]] = field(default_factory=list)
    _tables: frozenset[str] | None = field(default=None, repr=False, compare=False)
    _charged: tuple[list[bytes], frozenset[tuple[str, str]]] = field(default=([], frozenset()), repr=False, compare=False)
    _sets: tuple[int, list[tuple[int, str, frozenset[str]]]] = field(default=(0, []), repr=False, compare=False)

    @property
    def tables(self) -> frozenset[str]:
        """Every table that the query names; every Ready is held against it, so it is looked up once."""
        if self._tables is None:
            self._tables = tables_named(self.query.spec)
        return self._tables

    @property
    def charged(self) -> frozenset[tuple[str, str]]:
        """Purpose and block of everything that its Readys charge; every later question is held against it, as against its sets."""
        readys = [ready.id for ready in self.readys.values()]
        if self._charged[0] != readys:
            charges = [ready.statement.charge for ready in self.readys.values()]
            self._charged = (readys, frozenset((charge.purpose, block) for charge in charges for block in charge.blocks))
        return self._charged[1]

    @property
    def opened_sets(self) -> list[tuple[int, str, frozenset[str]]]:
        """Index, month and members of each opening; every later question is held against them, so they are looked up once."""
        if self._sets[0] != len(self.openings):
            opened = {each[0]: each for each in self.openings.values()}.values()
            found = [(index, opening.at[:7], frozenset(each.uri for each in binding.members)) for index, binding, opening in opened]
            self._sets = (len(self.openings), found)
        return self._sets[1]


@dataclass(slots=True)
class Account:
    """A hospital's ledger account: its last sequence and its totals per (purpose, block), single and doubled."""

    sequence: int = 0
    totals: dict[tuple[str, str], Decimal] = field(default_factory=dict)
    totals_two: dict[tuple[str, str], Decimal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExactOpened:
    """An exact answer that was opened: over which table and blocks, of whom, and when. Kept for good, over logs too."""

    index: int
    query: str
    month: str
    table: str
    blocks: frozenset[str]
    audience: frozenset[str]


@dataclass(slots=True)
class LedgerFacts:
    """`size` entries have been applied; `roots` has their tree.

    `emergencies`: when each outbreak query was first opened; `reviews`: the auditor's last look at a statement, of an emergency
    only one after its opening; `rules`: where the auditor's root stated an approval rule, the last of them in force.
    """

    entry0: bytes
    authority: Authority = field(init=False)
    roots: Roots = field(default_factory=Roots)
    seen_ids: Digests = field(default_factory=Digests)
    questions: dict[str, QuestionFacts] = field(default_factory=dict)
    ended: Digests = field(default_factory=Digests)
    """Questions that `forget` was told to keep no more of than that they ended, and where."""
    programmes: dict[str, tuple[int, Programme]] = field(default_factory=dict)
    approvals: dict[str, tuple[int, Approval]] = field(default_factory=dict)
    policies: dict[str, Policy] = field(default_factory=dict)
    datasets: dict[str, Dataset] = field(default_factory=dict)
    registrations: dict[str, tuple[int, Registration]] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    rule: ApprovalRule | None = None
    rules: list[int] = field(default_factory=list)
    emergencies: dict[str, int] = field(default_factory=dict)
    reviews: dict[str, tuple[int, Review]] = field(default_factory=dict)
    exact: list[ExactOpened] = field(default_factory=list)
    is_held: bool = False
    close: Close | None = None

    @property
    def is_closed(self) -> bool:
        return self.close is not None

    def __post_init__(self) -> None:
        self.authority = Authority(self.entry0)

    @property
    def size(self) -> int:
        return self.roots.size

    @property
    def range(self) -> CompactRange:
        """The tree head, to append to and to compare."""
        return self.roots.range()

    def knows(self, seen: Seen) -> bool:
        """Whether this ledger had that root at that size (of the last ROOTS_KEPT sizes)."""
        return self.roots.get(seen.size) == bytes.fromhex(seen.root)

    def approvers(self, purpose: str) -> int:
        """How many approvers sign an approval of this purpose."""
        return self.rule.approvers.get(purpose, 1) if self.rule else 1

    def refusals_of_approval(self, facts: QuestionFacts, now: int) -> list[Refusal]:
        """Why the query's purpose is not approved at the replayed size; empty if it is.

        `surveillance`: an approved programme of the asker that covers the table. `research`: the auditor's approval of this very
        query, after it. `outbreak`: nobody is waited for, see `refusals_of_emergency`.
        """
        query = facts.query
        if query.purpose == "outbreak":
            return list(self.refusals_of_emergency(facts.id.hex(), query.by, now))
        return [Refusal(Reason.NOT_APPROVED, f"an approval for {query.purpose}", why) for why in self._unapproved(facts, now)]

    def _unapproved(self, facts: QuestionFacts, now: int) -> Iterator[str]:
        query = facts.query
        target = query.programme if query.purpose == "surveillance" else facts.id.hex()
        approval = self.approvals.get(target) if target else None
        if approval is None:
            yield "no approval in force"
        elif unix(approval[1].until) <= now:
            yield "the approval has ended"
        elif query.purpose == "surveillance" and target is not None:
            programme = self.programmes[target][1]
            if unix(programme.until) <= now:
                yield "the programme has ended"
            elif not facts.tables <= set(programme.tables) or approval[0] > facts.index:
                yield "the programme covers other tables, or was approved after the query"

    def registration(self, uri: str, table: str) -> Registration | None:
        """What the hospital states of its table, as last stated."""
        stated = [each for _, each in self.registrations.values() if (each.by, each.table) == (uri, table)]
        return stated[-1] if stated else None

    def refusals_of_block(self, uri: str, block: str, now: int) -> list[Refusal]:
        """Why this hospital may not charge a static block of a registered table; empty if it may, and for every other block."""
        if block == PATIENTS_BLOCK or not block.startswith("static:"):
            return []
        ids = [id_ for id_, (_, each) in self.registrations.items() if each.by == uri and each.block == block]
        approved = [self.approvals[id_][1] for id_ in ids if id_ in self.approvals]
        if any(unix(each.until) > now for each in approved):
            return []
        why = "none" if not ids else "the approval has ended" if approved else "not approved yet"
        return [Refusal(Reason.NOT_APPROVED, "a registration of the table that the auditor approved", why, block)]

    def refusals_of_emergency(self, id_: str, asker: str, now: int) -> Iterator[Refusal]:
        """Why the glass may not be broken for this query: another asker, the day's number, a review that is overdue."""
        active = self.authority.active(asker)
        if active is None or not active.may_break_glass:
            yield Refusal(Reason.BREAK_GLASS, "an asker who may break the glass", "another", asker)
        opened = self.emergencies_of_the_day(now) - {id_}
        if len(opened) >= self.outbreak_cap:
            yield Refusal(Reason.OUTBREAK_CAP, f"{self.outbreak_cap} outbreak queries in 24 hours", str(len(opened)))
        for overdue in self.overdue_reviews(now):
            if overdue != id_:
                yield Refusal(Reason.REVIEW_OVERDUE, "a review by the auditor within its time", "none", overdue)

    @property
    def outbreak_cap(self) -> int:
        """How many emergencies may open in 24 hours."""
        return self.rule.outbreak_a_day if self.rule else CONTRACT.outbreak_a_day

    def emergencies_of_the_day(self, now: int) -> set[str]:
        """Outbreak queries that were opened in the last 24 hours."""
        return {id_ for id_, at in self.emergencies.items() if at > now - DAY_S}

    def review_due(self, id_: str) -> int:
        """When the review of this emergency is due."""
        return self.emergencies[id_] + 3600 * (self.rule.review_hours if self.rule else CONTRACT.review_hours)

    def overdue_reviews(self, now: int) -> list[str]:
        """Emergencies whose review is due and not there, oldest first."""
        waiting = (each for each in self.emergencies if each not in self.reviews)
        return sorted((each for each in waiting if self.review_due(each) <= now), key=self.emergencies.__getitem__)

    def is_open(self, id_: str) -> bool:
        """Whether this question is logged and has not ended."""
        return id_ in self.questions and self.questions[id_].release is None

    def forget(self, id_: str) -> bool:
        """Keeps of an answered question only that it ended: for who replays a long log and answers nothing itself.

        Only where nothing more can follow that would count: every opened member gave its receipt. The verdicts stay the same.
        """
        facts = self.questions.get(id_)
        if facts is None or facts.release is None or facts.release[1].status != "released":
            return False
        wanted = {(each.uri, opening.first_round) for _, binding, opening in facts.openings.values() for each in binding.members}
        covered = {each for ready in facts.readys.values() for each in (ready.statement.first_round, ready.statement.last_round)}
        if not wanted <= set(facts.receipts) or not covered <= set(facts.openings):
            return False
        self.ended.add(facts.id, facts.release[0])
        del self.questions[id_]
        return True

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
