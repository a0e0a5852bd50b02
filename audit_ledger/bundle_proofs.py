"""What of an answer file is proved and signed: places under checkpoints, keys that were admitted, and whose word counts where.

Problems are collected, not raised: one pass tells them all. What the statements have to say stands in `bundle`.
"""

from collections.abc import Sequence
from typing import TypeVar

from audit_ledger.answer_report import AnswerReport, Problem
from audit_ledger.authority import AdmittedKey, Authority
from audit_ledger.bundle_before import Placed, end_before, read_before
from audit_ledger.errors import LedgerError
from audit_ledger.periods import carry_keys
from audit_ledger.policy import TrustFile
from audit_ledger.proof import TlogProof
from protocols.answer import Answer, Proven
from protocols.errors import ProtocolError
from protocols.identity import Identity, Role
from protocols.statements import Statement, parse

_S = TypeVar("_S", bound=Statement)


class ProvenAnswer:
    """A bundle under a trust file, with what was found wrong so far (`report`) and the roots that its proofs lead to."""

    def __init__(self, answer: Answer, trust: TrustFile, now: int) -> None:
        self.answer, self.trust, self.now = answer, trust, now
        self.report = AnswerReport()
        self.roots: dict[int, bytes] = {}
        self.authority = Authority(trust.entry0)

    def _demand(self, holds: bool, place: str, what: str) -> bool:
        if not holds:
            self.report.problems.append(Problem(place, what))
        return holds

    def _placed(self, name: str, proven: Sequence[Proven]) -> list[Placed]:
        found = [self._place(f"{name}[{at}]", each) for at, each in enumerate(proven)]
        return sorted((each for each in found if each is not None), key=lambda each: each.index)

    def _place(self, place: str, proven: Proven) -> Placed | None:
        try:
            entry = proven.entry.encode()
            proof = TlogProof.parse(proven.proof.encode())
            tree = proof.verify(entry, self.trust.policy, self.now, None).checkpoint
            signed = parse(entry)
        except (LedgerError, ProtocolError, UnicodeEncodeError) as error:
            self._demand(False, place, str(error))
            return None
        self._demand(self.roots.setdefault(tree.size, tree.root) == tree.root, place, f"two roots at size {tree.size}")
        self._demand(proof.extra is None, place, "the proof holds an extra line, which nothing authenticates")
        return Placed(proof.index, signed, place, self.authority)

    def _one(self, name: str, proven: Proven, kind: type[_S]) -> tuple[Placed, _S] | None:
        placed = self._place(name, proven)
        if placed is None:
            return None
        statement = placed.signed.statement
        if not isinstance(statement, kind):
            self._demand(False, name, f"expected a {kind.kind} statement, got {statement.kind}")
            return None
        return placed, statement

    def _before(self) -> list[Placed]:
        """Carries the keys of the log before into this one; the programme and approvals that stand there."""
        if self.answer.before is None:
            return []
        older, approvals = read_before(self.answer.before, end_before(self.answer.keys, self.trust.entry0), self._demand)
        carry_keys(older, self.authority)
        return approvals

    def _spoken(self, placed: Placed, role: Role, use: str = "identity") -> None:
        """Signed by a key of its author that the bundle shows admitted before it; for this log."""
        statement = placed.signed.statement
        counts = self._counting(placed, statement.by, use)
        self._demand(Identity.parse(statement.by).role is role, placed.place, f"stated by {statement.by}, expected a {role}")
        self._demand(
            any(placed.signed.envelope.is_signed_by(k.key) for k in counts),
            placed.place,
            f"not signed by an admitted key of {statement.by}",
        )
        origin = placed.authority.origin
        self._demand(statement.log == origin, placed.place, f"is for another log than {origin}")

    def _counting(self, placed: Placed, subject: str, use: str) -> list[AdmittedKey]:
        """The keys of `subject` that the bundle shows in force at this place."""
        keys = [k for k in placed.authority.keys.values() if (k.subject, k.use) == (subject, use) and k.since < placed.index]
        return [k for k in keys if k.until is None or k.until > placed.index]

    def _approvers(self, placed: Placed) -> int:
        keys = self._counting(placed, placed.signed.statement.by, "approval")
        return sum(placed.signed.envelope.is_signed_by(each.key) for each in keys)
