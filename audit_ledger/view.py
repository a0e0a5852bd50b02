"""The facts of a ledger, by replay of every entry in order: what nodes, opener, coordinator and monitor all decide from.

Feed `apply` each entry. A statement that breaks a rule has no effect and yields findings; whoever follows for a gate ignores the
findings, the monitor reports them. So all parties come to one verdict from the same bytes.

Order in a question's life (each rule below cites its code in `findings.Rule`): a programme's approval precedes its queries; a
single query's approval names its id and follows it; then `ready`, `opening`, `receipt`, `release`. One opening per (query, round),
ever. Running totals never fall, continue without a gap from the hospital's last Ready, and stay within the policy in force.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from audit_ledger import exact
from audit_ledger.authority import role_of
from audit_ledger.facts import Account, LedgerFacts, QuestionFacts, query_of
from audit_ledger.findings import Finding, Rule
from audit_ledger.model_card import card_findings
from audit_ledger.periods import close_findings
from audit_ledger.rules_opening import bound, opening_findings, receipt_findings, release_findings
from audit_ledger.rules_ready import certified, ready_findings, registration_findings
from audit_ledger.rules_time import time_findings
from audit_ledger.tree import leaf_hash
from protocols.clock import unix
from protocols.contract import CONTRACT
from protocols.errors import MalformedBytes
from protocols.exact import is_exact
from protocols.identity import Role
from protocols.secagg.member import LoggedReady
from protocols.statements import (
    Approval,
    ApprovalRule,
    Close,
    Dataset,
    Hold,
    Incident,
    KeyAdd,
    KeyRevoke,
    Model,
    ModelCard,
    Opening,
    Policy,
    Programme,
    Query,
    Ready,
    Receipt,
    Refused,
    Registration,
    Release,
    Review,
    Revocation,
    Root,
    Signed,
    Statement,
    parse,
)

__all__ = ["Account", "LedgerView", "QuestionFacts", "is_effective"]
# Reported, but without effect on the statement: it is its author's own loss, and must not undo what others did after it.
ADVISORY = frozenset({Rule.BACKDATED, Rule.POSTDATED, Rule.RECEIPT_LATE})

_AUTHORS: dict[type[Statement], tuple[Role, ...]] = {
    Policy: (Role.HOSPITAL,),
    Dataset: (Role.HOSPITAL,),
    Registration: (Role.HOSPITAL,),
    Programme: (Role.BUREAU,),
    Query: (Role.BUREAU,),
    Approval: (Role.AUDITOR,),
    ApprovalRule: (Role.AUDITOR,),
    Revocation: (Role.AUDITOR,),
    Hold: (Role.AUDITOR,),
    Review: (Role.AUDITOR,),
    Refused: (Role.HOSPITAL, Role.COORDINATOR, Role.AUDITOR),
    Ready: (Role.HOSPITAL,),
    Receipt: (Role.HOSPITAL,),
    Opening: (Role.AUDITOR,),
    Release: (Role.COORDINATOR,),
    Model: (Role.COORDINATOR,),
    ModelCard: (Role.COORDINATOR,),
    Incident: (Role.HOSPITAL, Role.COORDINATOR),
    Close: (Role.COORDINATOR,),
}


_AFTER_THE_END: dict[type[Statement], Rule] = {
    Ready: Rule.SEQUENCE,
    Opening: Rule.OPENED_TWICE,
    Receipt: Rule.RECEIPT_TWICE,
    Release: Rule.RELEASE_TWICE,
}


@dataclass(slots=True)
class LedgerView(LedgerFacts):
    """See the module's docstring."""

    def apply(self, entry: bytes) -> list[Finding]:
        """Appends one entry to the view; returns every rule it breaks (then it has no effect but its place in the tree)."""
        try:
            read: Signed | MalformedBytes = parse(entry)
        except MalformedBytes as error:
            read = error
        return self.enter(leaf_hash(entry), read)

    def enter(self, leaf: bytes, signed: Signed | MalformedBytes) -> list[Finding]:
        """`apply` for an entry that was hashed and read before."""
        index = self.size
        if isinstance(signed, MalformedBytes):
            self.roots.append(leaf)
            return [Finding(index, Rule.MALFORMED, str(signed))]
        found = self.findings_for(signed)
        self.admit(signed, found, leaf)
        return found

    def admit(self, signed: Signed, found: Sequence[Finding], leaf: bytes | None = None) -> None:
        """The second half of `apply`, for who has asked `findings_for` of this very statement as the next entry."""
        index = self.size
        self.roots.append(leaf or leaf_hash(signed.entry))
        if is_effective(found):
            # Only a statement that counts takes its id: a twin with a broken signature must not shut out the real one.
            self.seen_ids.add(signed.id, index)
            self._accept(index, signed)

    def findings_for(self, signed: Signed) -> list[Finding]:
        """What `apply` would find in this statement as the next entry. Changes nothing."""
        index = self.size
        if found := list(self._common(index, signed)):
            return found
        if isinstance(signed.statement, (Root, KeyAdd, KeyRevoke)):
            return self.authority.findings_for(index, signed)
        return list(self._authorship(index, signed)) or [
            *self._rules(index, signed),
            *self._registration(index, signed.statement),
            *time_findings(self, index, signed.statement),
        ]

    def _common(self, index: int, signed: Signed) -> Iterator[Finding]:
        if signed.id in self.seen_ids:
            yield Finding(index, Rule.DUPLICATE, f"the statement of entry {self.seen_ids[signed.id]}")
        if self.is_closed:
            yield Finding(index, Rule.CLOSED, "nothing follows the close entry")
        if index and signed.statement.log != self.authority.origin:
            yield Finding(index, Rule.WRONG_LOG, self.authority.origin)

    def _authorship(self, index: int, signed: Signed) -> Iterator[Finding]:
        roles = _AUTHORS[type(signed.statement)]
        if role_of(signed.statement.by) not in roles:
            yield Finding(index, Rule.ROLE, f"{signed.statement.kind} is stated by {', '.join(roles)}")
        elif not self.authority.speaks(signed):
            yield Finding(index, Rule.SIGNATURE, "signed by an admitted, unrevoked key of its author")

    def _rules(self, index: int, signed: Signed) -> Iterator[Finding]:
        query_id = query_of(signed.statement)
        if query_id is not None and (ended := self.ended.get(bytes.fromhex(query_id))) is not None:
            if (rule := _AFTER_THE_END.get(type(signed.statement))) is not None:
                yield Finding(index, rule, f"ended at entry {ended}")
            return
        match signed.statement:
            case Query() as query:
                yield from self._query(index, query)
            case Approval() | Revocation() | Review():
                yield from self._target(index, signed)
            case Close() as close:
                yield from close_findings(self, index, close)
            case Ready() as ready:
                yield from ready_findings(self, index, ready)
            case Opening() as opening:
                yield from opening_findings(self, index, opening)
            case Receipt() as receipt:
                yield from receipt_findings(self, index, receipt)
            case Release() as release:
                yield from release_findings(self, index, release)
            case Refused() | Incident() | Model() | ModelCard() as said:
                yield from self._said(index, said)

    def _said(self, index: int, said: Refused | Incident | Model | ModelCard) -> Iterator[Finding]:
        if said.query not in self.questions:
            yield Finding(index, Rule.TARGET_UNKNOWN, "names a logged query")
        elif isinstance(said, Model):
            yield from exact.model_findings(index, self.questions[said.query], said)
        elif isinstance(said, ModelCard):
            yield from card_findings(index, self.questions[said.query], said)

    def _registration(self, index: int, statement: Statement) -> Iterator[Finding]:
        if isinstance(statement, Registration):
            yield from registration_findings(self, index, statement)

    def _target(self, index: int, signed: Signed) -> Iterator[Finding]:
        match signed.statement:
            case Revocation(target=target):
                is_known = target in self.approvals
            case Review(target=target, verdict=verdict):
                # What is turned down need not be logged: a key request never was.
                is_known = verdict == "not_in_order" or bytes.fromhex(target) in self.seen_ids
            case Approval(target=target):
                # Nothing is left to approve of a question that has ended: so who forgot it comes to the same verdict.
                is_known = target in self.programmes or target in self.registrations or self.is_open(target)
                if is_known:
                    yield from self._approvers(index, signed, target)
        if not is_known:
            yield Finding(index, Rule.TARGET_UNKNOWN, "names a logged statement")

    def _approvers(self, index: int, signed: Signed, target: str) -> Iterator[Finding]:
        programme, question = self.programmes.get(target), self.questions.get(target)
        wanted = self.approvers(programme[1].purpose if programme else question.query.purpose if question else "research")
        if (signers := self.authority.approvers(signed)) < wanted:
            yield Finding(index, Rule.APPROVERS, f"expected {wanted}, got {signers}")

    def _query(self, index: int, query: Query) -> Iterator[Finding]:
        asker = self.authority.active(query.by)
        if asker is not None and asker.may_break_glass != (query.purpose == "outbreak"):
            yield Finding(index, Rule.BREAK_GLASS, "outbreak is asked by a key for emergencies, and nothing else is")
        if list(query.audience) != sorted(set(query.audience)) or not set(query.audience) <= set(self.authority.hospitals()):
            yield Finding(index, Rule.AUDIENCE, "admitted hospitals, sorted, each once")
        if not 0 < unix(query.valid_until) - unix(query.at) <= CONTRACT.valid_days * 86_400:
            yield Finding(index, Rule.VALIDITY, f"valid for at most {CONTRACT.valid_days} days")
        yield from exact.query_findings(index, query)
        if query.programme is not None:
            programme = self.programmes.get(query.programme)
            if programme is None or (programme[1].by, programme[1].purpose) != (query.by, query.purpose):
                yield Finding(index, Rule.PURPOSE, "a programme of this asker and purpose")

    def _accept(self, index: int, signed: Signed) -> None:
        match signed.statement:
            case Root() | KeyAdd() | KeyRevoke():
                self.authority.accept(index, signed)
            case Query() as query:
                self.questions[signed.hex_id] = QuestionFacts(index, signed.id, query, signed.entry)
            case Programme() as programme:
                self.programmes[signed.hex_id] = (index, programme)
            case Policy() as policy:
                self.policies[policy.by] = policy
            case Dataset() as dataset:
                self.datasets[dataset.by] = dataset
            case Registration() as registration:
                self.registrations[signed.hex_id] = (index, registration)
            case Close() as close:
                self.close = close
            case Approval() | Revocation() | ApprovalRule() | Review() | Hold():
                self._accept_decision(index, signed.statement)
            case _:
                self._accept_in_question(index, signed)

    def _accept_decision(self, index: int, decision: Statement) -> None:
        match decision:
            case Approval(target=target) as approval:
                self.approvals[target] = (index, approval)
            case Revocation(target=target):
                del self.approvals[target]
            case ApprovalRule() as rule:
                self.rule = rule
                self.rules.append(index)
            case Review(target=target) as review:
                asked = self.questions.get(target)
                is_early = asked is not None and asked.query.purpose == "outbreak" and target not in self.emergencies
                if not is_early:
                    self.reviews[target] = (index, review)
            case Hold(is_held=is_held):
                self.is_held = is_held

    def _accept_in_question(self, index: int, signed: Signed) -> None:
        if query_of(signed.statement) not in self.questions:
            return  # of a question that is forgotten: what still counts of it changes nothing
        match signed.statement:
            case Ready() as ready:
                self._charge(ready)
                identity = self.authority.active(ready.by)
                logged = LoggedReady(signed.id, ready, certified(self, ready) or b"", identity.fingerprint if identity else "")
                self.questions[ready.query].readys[ready.by] = logged
            case Opening() as opening:
                binding = bound(opening.preimage)[0]
                if self.questions[opening.query].query.purpose == "outbreak":
                    self.emergencies.setdefault(opening.query, unix(opening.at))
                if is_exact(self.questions[opening.query].query.spec):
                    self.exact.append(exact.opened(index, opening.query, self.questions[opening.query], opening.at))
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
            case ModelCard() as card:
                self.questions[card.query].card = (index, card)
            case _:
                pass  # a fit's model changes nothing that a gate decides

    def _charge(self, ready: Ready) -> None:
        account = self.accounts.setdefault(ready.by, Account())
        account.sequence = ready.sequence
        charge = ready.charge
        for block, total, total_two in zip(charge.blocks, charge.totals, charge.totals_two, strict=True):
            account.totals[(charge.purpose, block)] = Decimal(total)
            account.totals_two[(charge.purpose, block)] = Decimal(total_two)


def is_effective(found: Sequence[Finding]) -> bool:
    """Whether a statement with these findings counts."""
    return all(each.rule in ADVISORY for each in found)
