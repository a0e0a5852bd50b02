"""Every fact of the ledger: `parse` turns entry bytes into an envelope with its typed statement.

The kinds are frozen in version 1; test vectors are in `protocols/vectors/statements.json`.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

from protocols.dsse import Envelope
from protocols.errors import MalformedBytes
from protocols.statements.authority import (
    Approval,
    ApprovalRule,
    Close,
    Dataset,
    DeclaredColumn,
    Hold,
    Incident,
    KeyAdd,
    KeyRevoke,
    Licence,
    Policy,
    PreviousLog,
    Programme,
    Registration,
    Review,
    Revocation,
    Root,
    Table,
)
from protocols.statements.base import Statement
from protocols.statements.question import (
    NO_SUM,
    Agreement,
    Charge,
    ChargeByBlock,
    Metric,
    Model,
    ModelCard,
    Opening,
    Query,
    Ready,
    Reasoned,
    Receipt,
    Refused,
    Release,
    Sealing,
    Seen,
)

KINDS: tuple[type[Statement], ...] = (
    Root, KeyAdd, KeyRevoke, Policy, Dataset, Programme, ApprovalRule, Query, Approval, Revocation, Hold, Refused, Ready, Receipt,
    Opening, Release, Model, Review, Incident, Close, Registration,
    ModelCard,
)  # fmt: skip
PARSED_KEPT = 128  # an entry passes admission, ledger and release within moments; what does not parse is not kept
_BY_TYPE = {kind.payload_type(): kind for kind in KINDS}


@dataclass(frozen=True, slots=True)
class Signed:
    """A parsed entry: its bytes, its envelope, its statement, and its id (SHA-256 of the PAE)."""

    entry: bytes
    envelope: Envelope
    statement: Statement
    id: bytes

    @property
    def hex_id(self) -> str:
        return self.id.hex()


def kind_of(payload_type: str) -> type[Statement] | None:
    return _BY_TYPE.get(payload_type)


@lru_cache(PARSED_KEPT)
def parse(entry: bytes) -> Signed:
    """The statement in these entry bytes. Raises MalformedBytes; verifies no signature (who may sign depends on the ledger)."""
    return parse_once(entry)


def parse_once(entry: bytes) -> Signed:
    """`parse` for who reads a whole log and meets no entry again."""
    envelope = Envelope.decode(entry)
    kind = _BY_TYPE.get(envelope.payload_type)
    if kind is None:
        raise MalformedBytes("unknown kind of statement")
    statement = kind.from_payload(envelope.payload)
    return Signed(entry, envelope, statement, hashlib.sha256(envelope.pae()).digest())


__all__ = [
    "KINDS", "NO_SUM", "Agreement", "Approval", "ApprovalRule", "Charge", "ChargeByBlock", "Close", "Dataset", "DeclaredColumn",
    "Hold", "Incident", "KeyAdd", "KeyRevoke", "Licence", "Metric", "Model", "ModelCard", "Opening", "Policy", "PreviousLog",
    "Programme", "Query", "Ready", "Reasoned", "Receipt", "Refused", "Registration", "Release", "Review", "Revocation",
    "Root", "Sealing", "Seen", "Signed", "Statement", "Table", "kind_of", "parse", "parse_once",
]  # fmt: skip
