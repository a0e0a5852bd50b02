"""A legitimate no: every broken rule at once, each as a code with what was expected and what was there.

A refusal depends on the query, the ledger, the policy and the clock, never on a record; so it may cross the wire and enter the
ledger. The words for people are made at the edge, from the code, in the reader's language.
"""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """The codes. A new rule gets a new code; a code never changes its meaning."""

    # what was asked
    MALFORMED = "query.malformed"
    WRONG_LOG = "query.wrong_log"
    NOT_IN_AUDIENCE = "query.not_in_audience"
    EXPIRED = "query.expired"
    VALID_TOO_LONG = "query.valid_too_long"
    PURPOSE_NOT_PERMITTED = "policy.purpose"
    TABLE_NOT_PERMITTED = "policy.table"
    FLOOR_TOO_LOW = "policy.floor"
    TOO_MANY_CELLS = "policy.cells"
    NOISE_MALFORMED = "query.noise"
    EXACT_STATEMENT = "query.exact"
    EXACT_NOT_PERMITTED = "policy.exact"
    EXACT_CAP = "policy.exact_cap"
    RESIDENTS_NOT_PERMITTED = "policy.residents"
    UNPRICEABLE = "query.unpriceable"
    BUDGET_EXHAUSTED = "budget.exhausted"
    PLAN_FAILED = "plan.probe_failed"
    TABLE_NOT_REGISTERED = "table.not_registered"
    TABLE_DIFFERS = "table.differs"
    NO_RESIDENT_KEY = "residents.no_key"
    NO_RESIDENT_TAGS = "residents.no_tags"
    RESIDENT_KEYS_DIFFER = "residents.keys_differ"
    STUDY_NOT_INSTALLED = "study.not_installed"
    STUDY_NOT_PINNED = "study.not_pinned"
    STUDY_DIFFERS = "study.differs"
    # the ledger and the gate
    PROOF_INVALID = "gate.proof"
    LOG_SIGNATURE = "gate.log_signature"
    NO_QUORUM = "gate.quorum"
    STALE = "gate.stale"
    ROLLED_BACK = "gate.rolled_back"
    INCONSISTENT = "gate.inconsistent"
    BYTES_DIFFER = "gate.bytes"
    NOT_LOGGED = "gate.not_logged"
    ALREADY_ANSWERED = "gate.answered"
    ASKER_UNKNOWN = "authority.asker"
    NOT_ADMITTED = "authority.not_admitted"
    NOT_APPROVED = "authority.not_approved"
    PROGRAMME_UNKNOWN = "authority.programme"
    ON_HOLD = "authority.hold"
    BREAK_GLASS = "authority.break_glass"
    OUTBREAK_CAP = "authority.outbreak_cap"
    REVIEW_OVERDUE = "authority.review_overdue"
    # the round
    WINDOW_CLOSED = "round.window_closed"
    ATTEMPTS_EXHAUSTED = "round.attempts"
    ATTEMPT_REPLAYED = "round.attempt"
    BINDING_MALFORMED = "round.binding"
    BINDING_DIFFERS = "round.binding_differs"
    MEMBER_NOT_READY = "round.member_not_ready"
    MEMBER_SIGNATURE = "round.member_signature"
    MEMBER_KEY = "round.member_key"
    MEMBER_TWICE = "round.member_twice"
    NOT_A_PEER = "round.not_a_peer"
    NOT_A_MEMBER = "round.not_a_member"
    TOO_FEW_MEMBERS = "round.too_few"
    READY_NOT_LOGGED = "round.ready_not_logged"
    RECEIPT_INVALID = "round.receipt"
    OPENED_BEFORE = "round.opened_before"
    SET_DIFFERS = "round.set_differs"
    NOT_THE_FIXED_SET = "round.fixed_set"
    EXACT_AGAIN = "round.exact_again"
    SEED_INVALID = "round.seed"
    SEALING_KEY = "round.sealing_key"
    NO_ZERO_TEST = "round.no_zero_test"
    ZERO_TEST_INVALID = "round.zero_test"
    # the node's own state
    PAUSED = "node.paused"
    DISK_FULL = "node.disk"
    BEHIND_LEDGER = "node.behind_ledger"
    CLOCK = "node.clock"
    NO_RECORDS = "node.no_records"
    UNSTORED = "node.unstored"
    BUSY = "node.busy"
    INTERNAL = "node.internal"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One broken rule. `subject` names the party or block it is about, where there is one."""

    reason: Reason
    expected: str = ""
    got: str = ""
    subject: str = ""

    def to_json(self) -> dict[str, str]:
        return {"code": str(self.reason), "expected": self.expected, "got": self.got, "subject": self.subject}
