"""The gate: what must hold before a hospital (or the opener) acts on a query. Fails closed, names every broken rule.

1. Proof: the tlog-proof leads from the very bytes of this query to a checkpoint with the log's signature and the quorum's
   cosignatures.
2. Freshness: the witness time of the newest followed checkpoint, and the proof's, is at most ten minutes old; a clock that runs
   behind the witness by more than the tolerance is refused too.
3. No rollback: the proof's checkpoint is not smaller than, and not different from, what was followed before.
4. Bytes: the followed ledger holds this statement as a valid query of an admitted asker (absence cannot be proved by inclusion,
   so the whole tail has been followed up to the proof's checkpoint).
5. Audience: the query names this hospital, this log, and is still valid; it keeps the rules of its mode (`protocols.exact`).
6. Unanswered: no release or earlier answer under another window.
7. Approvals, and their revocations up to the followed checkpoint; for an emergency its asker's right, the day's number and the
   reviews that are due; no hold by the auditor.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from audit_ledger.errors import LedgerError, NoQuorum, RolledBack, StaleCheckpoint, TreeMismatch, Unavailable, UnknownLog
from audit_ledger.follower import Follower
from audit_ledger.policy import Accepted
from audit_ledger.proof import TlogProof
from audit_ledger.tree import leaf_hash
from audit_ledger.view import QuestionFacts
from protocols.clock import stamp, unix
from protocols.contract import CONTRACT
from protocols.errors import ProtocolError
from protocols.exact import statement_refusals
from protocols.refusal import Reason, Refusal
from protocols.statements import Query, Signed, parse


@dataclass(frozen=True, slots=True)
class Passage:
    """What the gate found. `facts` and `not_after` mean something only if `refusals` is empty."""

    refusals: list[Refusal]
    facts: QuestionFacts | None = None
    not_after: int = 0


@dataclass(frozen=True, slots=True)
class Gate:
    """Decides over a follower's verified ledger. `me` is the hospital's URI, or None for the opener, which is in no audience."""

    follower: Follower
    me: str | None

    def pass_query(self, entry: bytes, proof: bytes, now: int) -> Passage:
        """Rules 1 to 7 on an Offer. `not_after` is the proof's checkpoint time plus the window."""
        accepted, refusals = self._proof(entry, proof, now)
        try:
            signed = parse(entry)
        except ProtocolError:
            return Passage([*refusals, Refusal(Reason.MALFORMED, "a query statement", "not one")])
        if not isinstance(signed.statement, Query):
            return Passage([*refusals, Refusal(Reason.MALFORMED, "a query statement", signed.statement.kind)])
        opened_at = accepted.witness_time if accepted and accepted.witness_time is not None else 0
        facts = self.follower.view.questions.get(signed.hex_id)
        refusals += self._statement(signed, signed.statement, now)
        if facts is None and now >= unix(signed.statement.valid_until):
            refusals.append(Refusal(Reason.EXPIRED, signed.statement.valid_until, stamp(now)))
        refusals += self.standing(facts, now)
        return Passage(refusals, facts, opened_at + CONTRACT.window_s)

    def _proof(self, entry: bytes, proof: bytes, now: int) -> tuple[Accepted | None, list[Refusal]]:
        try:
            parsed = TlogProof.parse(proof)
            accepted = parsed.verify(entry, self.follower.trust.policy, now, CONTRACT.freshness_s, CONTRACT.clock_tolerance_s)
        except LedgerError as error:
            return None, [Refusal(reason_of(error), "a proof from these bytes to a fresh cosigned checkpoint", error.code)]
        return accepted, list(self._history(accepted))

    def _history(self, accepted: Accepted) -> Iterator[Refusal]:
        followed, size = self.follower.size, accepted.checkpoint.size
        if size > followed:
            yield Refusal(Reason.INCONSISTENT, "a checkpoint that was followed", f"size {size}, followed {followed}")
        elif self.follower.view.roots.get(size) != accepted.checkpoint.root:
            yield Refusal(Reason.ROLLED_BACK, "a checkpoint of the followed history", f"size {size} with another root")

    def _statement(self, signed: Signed, query: Query, now: int) -> Iterator[Refusal]:
        if query.log != self.follower.view.authority.origin:
            yield Refusal(Reason.WRONG_LOG, self.follower.view.authority.origin, query.log)
        if self.me is not None and self.me not in query.audience:
            yield Refusal(Reason.NOT_IN_AUDIENCE, "this hospital in the audience", "absent", self.me)
        if unix(query.at) > now + CONTRACT.clock_tolerance_s or unix(query.valid_until) > now + CONTRACT.valid_days * 86_400:
            yield Refusal(Reason.VALID_TOO_LONG, f"dated by now, valid for {CONTRACT.valid_days} days at most", query.valid_until)
        yield from statement_refusals(query)
        if query.floor < CONTRACT.floor:
            yield Refusal(Reason.FLOOR_TOO_LOW, str(CONTRACT.floor), str(query.floor))
        facts = self.follower.view.questions.get(signed.hex_id)
        if facts is None:
            yield Refusal(Reason.NOT_LOGGED, "a valid query of an admitted asker in the followed ledger", "none")
        elif leaf_hash(facts.entry) != leaf_hash(signed.entry):
            yield Refusal(Reason.BYTES_DIFFER, "the bytes in the ledger", "another envelope of the statement")

    def standing(self, facts: QuestionFacts | None, now: int) -> list[Refusal]:
        """Rules that are repeated at every attempt and round: approvals, hold, answered, and a fresh ledger."""
        return list(self._standing(facts, now))

    def _standing(self, facts: QuestionFacts | None, now: int) -> Iterator[Refusal]:
        accepted = self.follower.accepted
        seen = accepted.witness_time if accepted else None
        if seen is None or now - seen > CONTRACT.freshness_s:
            yield Refusal(Reason.STALE, f"a cosignature of the last {CONTRACT.freshness_s} s", "an older one")
        elif seen - now > CONTRACT.clock_tolerance_s:
            yield Refusal(
                Reason.CLOCK, f"this clock within {CONTRACT.clock_tolerance_s} s of the witness", f"{seen - now} s behind"
            )
        if self.follower.view.is_held:
            yield Refusal(Reason.ON_HOLD, "no hold", "the auditor holds the opener")
        if facts is None:
            return
        if now >= unix(facts.query.valid_until):
            yield Refusal(Reason.EXPIRED, facts.query.valid_until, stamp(now))
        if self.follower.view.authority.active(facts.query.by) is None:
            yield Refusal(Reason.ASKER_UNKNOWN, "an admitted asker", "none", facts.query.by)
        if facts.release is not None:
            yield Refusal(Reason.ALREADY_ANSWERED, "no end in the ledger", facts.release[1].status)
        yield from self.follower.view.refusals_of_approval(facts, now)


def reason_of(error: LedgerError) -> Reason:
    """The code under which a hospital or the opener refuses what the ledger's checks would not take."""
    match error:
        case RolledBack():
            return Reason.ROLLED_BACK
        case TreeMismatch() | Unavailable():
            return Reason.INCONSISTENT
        case UnknownLog():
            return Reason.LOG_SIGNATURE
        case NoQuorum():
            return Reason.NO_QUORUM
        case StaleCheckpoint():
            return Reason.STALE
        case _:
            return Reason.PROOF_INVALID
