"""The facts of a ledger, by replay of every entry in order: what nodes, opener, coordinator and monitor all decide from.

Feed `apply` each entry. A statement that breaks a rule has no effect and yields findings; whoever follows for a gate ignores the
findings, the monitor reports them. So all parties come to one verdict from the same bytes.

Order in a question's life (each rule below cites its code in `findings.Rule`): a programme's approval precedes its queries; a
single query's approval names its id and follows it; then `ready`, `opening`, `receipt`, `release`. One opening per (query, round),
ever. Running totals never fall, continue without a gap from the hospital's last Ready, and stay within the policy in force.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction

from audit_ledger.authority import Authority
from audit_ledger.findings import Finding, Rule
from audit_ledger.tree import CompactRange, leaf_hash
from protocols.asked import VARIANCE_STEPS
from protocols.canonical import unb64
from protocols.clock import unix
from protocols.contract import CONTRACT, colluders
from protocols.errors import BadSignature, MalformedBytes
from protocols.identity import Identity, Role
from protocols.secagg.agreement import require_certified
from protocols.secagg.binding import Binding
from protocols.secagg.member import LoggedReady
from protocols.secagg.sealing import require_sealing_key
from protocols.statements import (
    Approval,
    Close,
    Dataset,
    Hold,
    Incident,
    KeyAdd,
    KeyRevoke,
    Model,
    Opening,
    Policy,
    Programme,
    Query,
    Ready,
    Receipt,
    Refused,
    Release,
    Review,
    Revocation,
    Root,
    Seen,
    Signed,
    Statement,
    parse,
)

ROOTS_KEPT = 65_536
# Reported, but without effect on the statement: it is its author's own loss, and must not undo what others did after it.
ADVISORY = frozenset({Rule.PRICE_DIFFERS})
_ZERO = Decimal(0)
_AUTHORS: dict[type[Statement], tuple[Role, ...]] = {
    Policy: (Role.HOSPITAL,),
    Dataset: (Role.HOSPITAL,),
    Programme: (Role.BUREAU,),
    Query: (Role.BUREAU,),
    Approval: (Role.AUDITOR,),
    Revocation: (Role.AUDITOR,),
    Hold: (Role.AUDITOR,),
    Review: (Role.AUDITOR,),
    Refused: (Role.HOSPITAL, Role.COORDINATOR, Role.AUDITOR),
    Ready: (Role.HOSPITAL,),
    Receipt: (Role.HOSPITAL,),
    Opening: (Role.AUDITOR,),
    Release: (Role.COORDINATOR,),
    Model: (Role.COORDINATOR,),
    Incident: (Role.HOSPITAL, Role.COORDINATOR),
    Close: (Role.COORDINATOR,),
}


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
class LedgerView:
    """See the module's docstring. `size` entries have been applied; `range` has their root."""

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

    def apply(self, entry: bytes) -> list[Finding]:
        """Appends one entry to the view; returns every rule it breaks (then it has no effect but its place in the tree)."""
        index = self.range.size
        try:
            signed = parse(entry)
        except MalformedBytes as error:
            self._grow(entry)
            return [Finding(index, Rule.MALFORMED, str(error))]
        found = self.findings_for(signed)
        self._grow(entry)
        if all(each.rule in ADVISORY for each in found):
            # Only a statement that counts takes its id: a twin with a broken signature must not shut out the real one.
            self.seen_ids[signed.id] = index
            self._accept(index, signed)
        return found

    def _grow(self, entry: bytes) -> None:
        self.range.append(leaf_hash(entry))
        self.roots[self.range.size] = self.range.root()
        if len(self.roots) > ROOTS_KEPT:
            self.roots.popitem(last=False)

    def findings_for(self, signed: Signed) -> list[Finding]:
        """What `apply` would find in this statement as the next entry. Changes nothing."""
        index = self.size
        if found := list(self._common(index, signed)):
            return found
        if isinstance(signed.statement, (Root, KeyAdd, KeyRevoke)):
            return self.authority.findings_for(index, signed)
        return list(self._authorship(index, signed)) or list(self._rules(index, signed))

    def _common(self, index: int, signed: Signed) -> Iterator[Finding]:
        if signed.id in self.seen_ids:
            yield Finding(index, Rule.DUPLICATE, f"the statement of entry {self.seen_ids[signed.id]}")
        if self.is_closed:
            yield Finding(index, Rule.CLOSED, "nothing follows the close entry")
        if index and signed.statement.log != self.authority.origin:
            yield Finding(index, Rule.WRONG_LOG, self.authority.origin)

    def _authorship(self, index: int, signed: Signed) -> Iterator[Finding]:
        roles = _AUTHORS[type(signed.statement)]
        if Identity.parse(signed.statement.by).role not in roles:
            yield Finding(index, Rule.ROLE, f"{signed.statement.kind} is stated by {', '.join(roles)}")
        elif not self.authority.speaks(signed):
            yield Finding(index, Rule.SIGNATURE, "signed by an admitted, unrevoked key of its author")

    def _rules(self, index: int, signed: Signed) -> Iterator[Finding]:
        match signed.statement:
            case Query() as query:
                yield from self._query(index, query)
            case Approval(target=target) | Revocation(target=target):
                known = self.approvals if isinstance(signed.statement, Revocation) else {**self.programmes, **self.questions}
                if target not in known:
                    yield Finding(index, Rule.TARGET_UNKNOWN, "names a logged statement")
            case Ready() as ready:
                yield from self._ready(index, ready)
            case Opening() as opening:
                yield from self._opening(index, opening)
            case Receipt() as receipt:
                yield from self._receipt(index, receipt)
            case Release() as release:
                yield from self._release(index, release)
            case Refused(query=query_id) | Incident(query=query_id) | Model(query=query_id):
                if query_id not in self.questions:
                    yield Finding(index, Rule.TARGET_UNKNOWN, "names a logged query")

    def _query(self, index: int, query: Query) -> Iterator[Finding]:
        if list(query.audience) != sorted(set(query.audience)) or not set(query.audience) <= set(self.authority.hospitals()):
            yield Finding(index, Rule.AUDIENCE, "admitted hospitals, sorted, each once")
        if not 0 < unix(query.valid_until) - unix(query.at) <= CONTRACT.valid_days * 86_400:
            yield Finding(index, Rule.VALIDITY, f"valid for at most {CONTRACT.valid_days} days")
        if query.programme is not None:
            programme = self.programmes.get(query.programme)
            if programme is None or (programme[1].by, programme[1].purpose) != (query.by, query.purpose):
                yield Finding(index, Rule.PURPOSE, "a programme of this asker and purpose")

    def _ready(self, index: int, ready: Ready) -> Iterator[Finding]:
        facts = self.questions.get(ready.query)
        if facts is None or ready.by not in facts.query.audience:
            yield Finding(index, Rule.TARGET_UNKNOWN, "a query that names this hospital in its audience")
            return
        last = facts.readys.get(ready.by)
        if last is not None and ready.first_round <= last.statement.last_round:
            yield Finding(index, Rule.DUPLICATE, "one Ready per hospital and segment")
        if ready.charge.purpose != facts.query.purpose:
            yield Finding(index, Rule.PURPOSE, "charges the purpose of its query")
        if facts.release is not None or ready.first_round in facts.openings:
            yield Finding(index, Rule.SEQUENCE, "a Ready precedes opening and release of its query")
        if (cap := self.price_cap(facts.query)) is not None and Decimal(ready.charge.price) > cap:
            yield Finding(index, Rule.OVERSPENT, f"the programme allows {cap} a query")
        if self.refusals_of_approval(facts, unix(ready.at)):
            yield Finding(index, Rule.APPROVAL_MISSING, "the query's purpose needs an approval in force")
        yield from self._account(index, ready)
        prices = {each.statement.charge.price for each in facts.readys.values()}
        if prices and ready.charge.price not in prices:
            yield Finding(index, Rule.PRICE_DIFFERS, "all hospitals charge one query the same price")
        if self._certified(ready) is None:
            yield Finding(index, Rule.AGREEMENT, "an agreement key certified by the identity key, with possession")
        if not self._is_sealing_key_good(ready):
            yield Finding(index, Rule.SEALING, "a sealing key signed by the auditor's service key")
        if not self.knows(ready.seen):
            yield Finding(index, Rule.FORKED, f"size {ready.seen.size} with another root")

    def _account(self, index: int, ready: Ready) -> Iterator[Finding]:
        account, charge = self.accounts.get(ready.by, Account()), ready.charge
        if ready.sequence != account.sequence + 1:
            yield Finding(index, Rule.SEQUENCE, f"expected {account.sequence + 1}, got {ready.sequence}")
        if not len(charge.blocks) == len(charge.totals) == len(charge.totals_two) or not charge.blocks:
            yield Finding(index, Rule.TOTALS, "a total for each footprint block")
            return
        limit = self._limit(ready)
        for block, total, total_two in zip(charge.blocks, charge.totals, charge.totals_two, strict=True):
            key = (charge.purpose, block)
            if Decimal(total) != account.totals.get(key, _ZERO) + Decimal(charge.price):
                yield Finding(index, Rule.TOTALS, f"{block}: total is not the last total plus the price")
            if Decimal(total_two) != account.totals_two.get(key, _ZERO) + Decimal(charge.price_two):
                yield Finding(index, Rule.TOTALS, f"{block}: doubled total is not the last one plus the doubled price")
            if Decimal(total) > limit:
                yield Finding(index, Rule.OVERSPENT, f"{block}: {total} of {limit}")

    def _limit(self, ready: Ready) -> Decimal:
        policy = self.policies.get(ready.by)
        return Decimal(policy.limits.get(ready.charge.purpose, "0")) if policy else _ZERO

    def _certified(self, ready: Ready) -> bytes | None:
        identity = self.authority.active(ready.by)
        try:
            return require_certified(ready.agreement, ready.log, ready.by, identity.key) if identity else None
        except BadSignature:
            return None

    def _is_sealing_key_good(self, ready: Ready) -> bool:
        root = self.authority.root
        service = self.authority.active(root.auditor, "service") if root else None
        try:
            return service is not None and bool(require_sealing_key(ready.sealing, ready.log, service.key))
        except BadSignature:
            return False

    def knows(self, seen: Seen) -> bool:
        """Whether this ledger had that root at that size (of the last ROOTS_KEPT sizes; older ones are taken from the tiles)."""
        return self.roots.get(seen.size) == bytes.fromhex(seen.root)

    def _opening(self, index: int, opening: Opening) -> Iterator[Finding]:
        facts = self.questions.get(opening.query)
        if facts is None:
            yield Finding(index, Rule.TARGET_UNKNOWN, "names a logged query")
            return
        try:
            binding = Binding.decode(unb64(opening.preimage))
        except MalformedBytes as error:
            yield Finding(index, Rule.BINDING, str(error))
            return
        rounds = range(opening.first_round, opening.last_round + 1)
        if any(each in facts.openings for each in rounds):
            yield Finding(index, Rule.OPENED_TWICE, "one member set per query and round, ever")
        yield from self._bound(index, facts, opening, binding)
        for member in binding.members:
            ready = facts.readys.get(member.uri)
            if ready is None or (ready.id, ready.agreement) != (member.ready, member.agreement):
                yield Finding(index, Rule.MEMBER, f"{member.uri}: its Ready stands in the ledger before the opening")
        if len(binding.counting) < facts.query.floor:
            yield Finding(index, Rule.MEMBER, f"floor {facts.query.floor}, counting {len(binding.counting)}")
        if unix(opening.at) >= binding.not_after:
            yield Finding(index, Rule.WINDOW, "opened after the window closed")
        if self.is_held:
            yield Finding(index, Rule.HELD, "opened while the auditor held the opener")

    def _bound(self, index: int, facts: QuestionFacts, opening: Opening, binding: Binding) -> Iterator[Finding]:
        named = (opening.query, opening.attempt, opening.log, opening.first_round)
        if (binding.query.hex(), binding.attempt, binding.origin, binding.round) != named:
            yield Finding(index, Rule.BINDING, "the preimage is for another query, attempt, round or log")
        covered = {(ready.statement.first_round, ready.statement.last_round) for ready in facts.readys.values()}
        if (opening.first_round, opening.last_round) not in covered:
            yield Finding(index, Rule.BINDING, "rounds that no Ready of this query covers")
        counting = len(binding.counting)
        if (binding.n, binding.c) != (counting, colluders(counting)) or not 1 <= binding.attempt <= CONTRACT.attempts:
            yield Finding(index, Rule.BINDING, "n, c and attempt are not what the counting set and the contract give")
        if binding.variances != tuple(int(Fraction(each) * VARIANCE_STEPS) for each in facts.query.variances):
            yield Finding(index, Rule.BINDING, "other noise than the query asked for")
        if not self.knows(opening.seen):
            yield Finding(index, Rule.FORKED, f"size {opening.seen.size} with another root")

    def _receipt(self, index: int, receipt: Receipt) -> Iterator[Finding]:
        facts = self.questions.get(receipt.query)
        opened = facts.openings.get(receipt.first_round) if facts else None
        if facts is None or opened is None:
            yield Finding(index, Rule.TARGET_UNKNOWN, "a receipt follows the opening of its round")
            return
        binding = opened[1]
        is_plain = receipt.first_round == receipt.last_round
        if binding.member(receipt.by) is None or (is_plain and receipt.binding != binding.value.hex()):
            yield Finding(index, Rule.RECEIPT, "a member's, under the opened binding")
        if (receipt.by, receipt.first_round) in facts.receipts:
            yield Finding(index, Rule.RECEIPT_TWICE, receipt.by)

    def _release(self, index: int, release: Release) -> Iterator[Finding]:
        facts = self.questions.get(release.query)
        if facts is None:
            yield Finding(index, Rule.TARGET_UNKNOWN, "names a logged query")
            return
        if facts.release is not None:
            yield Finding(index, Rule.RELEASE_TWICE, f"ended at entry {facts.release[0]}")
        if release.status != "released":
            return
        opened = facts.openings.get(release.round)
        if opened is None or release.binding != opened[1].value.hex() or release.values is None:
            yield Finding(index, Rule.RELEASE, "released under the opened binding")
            return
        # Inside a training's segment the member set only shrinks: who vanished has no receipt, and is not among `answered`.
        opened_members = [member.uri for member in opened[1].members]
        wanted = list(release.answered) if opened[2].first_round else opened_members
        if not set(wanted) <= set(opened_members) or list(release.answered) != wanted:
            yield Finding(index, Rule.RELEASE, "answered are the opened members, or in a training those of them who stayed")
        for uri in wanted:
            if not any(uri == each for each, _ in facts.receipts):
                yield Finding(index, Rule.RECEIPT_MISSING, uri)

    def _accept(self, index: int, signed: Signed) -> None:
        match signed.statement:
            case Root() | KeyAdd() | KeyRevoke():
                self.authority.accept(index, signed)
            case Query() as query:
                self.questions[signed.hex_id] = QuestionFacts(index, signed.id, query, signed.entry)
            case Programme() as programme:
                self.programmes[signed.hex_id] = (index, programme)
            case Approval() as approval:
                self.approvals[approval.target] = (index, approval)
            case Revocation(target=target):
                del self.approvals[target]
            case Policy() as policy:
                self.policies[policy.by] = policy
            case Dataset() as dataset:
                self.datasets[dataset.by] = dataset
            case Hold(is_held=is_held):
                self.is_held = is_held
            case Close():
                self.is_closed = True
            case _:
                self._accept_in_question(index, signed)

    def _accept_in_question(self, index: int, signed: Signed) -> None:
        match signed.statement:
            case Ready() as ready:
                self._charge(ready)
                identity = self.authority.active(ready.by)
                logged = LoggedReady(signed.id, ready, self._certified(ready) or b"", identity.fingerprint if identity else "")
                self.questions[ready.query].readys[ready.by] = logged
            case Opening() as opening:
                binding = Binding.decode(unb64(opening.preimage))
                for round_ in range(opening.first_round, opening.last_round + 1):
                    self.questions[opening.query].openings[round_] = (index, binding, opening)
            case Receipt() as receipt:
                self.questions[receipt.query].receipts[(receipt.by, receipt.first_round)] = (index, receipt)
            case Release() as release:
                self.questions[release.query].release = (index, release)
            case Refused() as refused:
                self.questions[refused.query].refusals[refused.by] = (index, refused)
            case Incident() as incident:
                self.questions[incident.query].incidents.append((index, incident.by))
            case _:
                pass  # a review or model card changes nothing that a gate decides

    def _charge(self, ready: Ready) -> None:
        account = self.accounts.setdefault(ready.by, Account())
        account.sequence = ready.sequence
        charge = ready.charge
        for block, total, total_two in zip(charge.blocks, charge.totals, charge.totals_two, strict=True):
            account.totals[(charge.purpose, block)] = Decimal(total)
            account.totals_two[(charge.purpose, block)] = Decimal(total_two)

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
