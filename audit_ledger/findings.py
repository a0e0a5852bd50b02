"""What a replay finds: one broken rule at one index, as a code with the facts for one sentence.

The same rules run at the node, the opener, the coordinator and the monitor. A statement that breaks one has no effect on the view;
only the monitor reports it. The sentence for people is made from the code at the edge (`audit_ledger.words`).
"""

from dataclasses import dataclass
from enum import StrEnum


class Rule(StrEnum):
    """Rules a ledger must keep, each checked from entries alone."""

    MALFORMED = "entry.malformed"
    ROOT = "authority.root"
    SIGNATURE = "authority.signature"
    ROLE = "authority.role"
    POSSESSION = "authority.possession"
    LICENCE = "authority.licence"
    KEY_REUSED = "authority.key_reused"
    KEY_UNKNOWN = "authority.key_unknown"
    WRONG_LOG = "entry.wrong_log"
    DUPLICATE = "entry.duplicate"
    CLOSED = "entry.after_close"
    TARGET_UNKNOWN = "entry.target_unknown"
    AUDIENCE = "query.audience"
    PURPOSE = "query.purpose"
    VALIDITY = "query.validity"
    APPROVAL_MISSING = "query.not_approved"
    APPROVERS = "approval.approvers"
    REGISTRATION = "registration.block"
    BREAK_GLASS = "query.break_glass"
    OUTBREAK = "opening.outbreak"
    EXACT = "query.exact"
    RESIDENTS = "query.residents"
    MODEL = "model.misstated"
    SEQUENCE = "ready.sequence"
    TOTALS = "ready.totals"
    OVERSPENT = "ready.overspent"
    PRICE = "ready.price"
    BLOCKS = "ready.blocks"
    BLOCK_PRICE = "ready.block_price"
    AGREEMENT = "ready.agreement"
    SEALING = "ready.sealing"
    FORKED = "ready.unknown_root"
    BINDING = "opening.binding"
    MEMBER = "opening.member"
    OPENED_TWICE = "opening.twice"
    WINDOW = "opening.window"
    HELD = "opening.held"
    RECEIPT = "receipt.binding"
    RECEIPT_TWICE = "receipt.twice"
    RELEASE = "release.binding"
    RELEASE_TWICE = "release.twice"
    RECEIPT_MISSING = "release.receipt_missing"
    VECTOR_DIFFERS = "receipt.vector"
    SUM_DIFFERS = "opening.sum"
    NOT_THE_SUM = "release.not_the_sum"
    RECEIPT_LATE = "receipt.late"
    RECEIPT_OVERDUE = "receipt.overdue"
    RELEASE_OVERDUE = "release.overdue"
    REVIEW_OVERDUE = "review.overdue"
    BACKDATED = "entry.backdated"
    POSTDATED = "entry.postdated"


@dataclass(frozen=True, slots=True)
class Finding:
    """`index` broke `rule`; `detail` holds expected and got, never anything about a record."""

    index: int
    rule: Rule
    detail: str = ""
