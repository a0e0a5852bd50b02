"""Statements in a question's life: query, ready, receipt, opening, release, refusal, model, model card.

Order in the log: the query (with its programme's approval before it, or its own after it), then the Readys, the opening, the
receipts, the release. The query's id is the SHA-256 of its PAE and names it everywhere.
"""

import hashlib
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import Discriminator, Tag

from protocols.statements.base import (
    FORM,
    Block,
    CatalogueId,
    Decimal4,
    Decimal6,
    Decimal9,
    Digest,
    IdentityUri,
    Key,
    Label,
    Month,
    Natural,
    Purpose,
    Round,
    SignatureText,
    Statement,
    Strict,
    Time,
)

NO_SUM = "0" * 64
"""What a training's opening states: it stands before the rounds whose sums there would be."""


class Query(Statement):
    """A question: who asks what of whom, how noisy the answer may be, and until when it may be answered.

    `spec` is the canonical JSON of a table query or a fit; `variances` are the total noise variances per measure (grid of 1/16).
    `rounds` is 1 for a table query; a training states all its rounds.
    """

    kind: ClassVar[str] = "query"

    nonce: Digest
    purpose: Purpose
    programme: Digest | None
    audience: tuple[IdentityUri, ...]
    floor: Natural
    valid_until: Time
    rounds: Round
    spec: dict[str, Any]
    variances: tuple[Decimal4, ...]


class Agreement(Strict):
    """A month's agreement key in Edwards form, signed by the identity key and by itself (possession).

    The X25519 key of the pair masks is its birational image, so that possession is proved by a plain signature.
    """

    month: Month
    key: Key
    identity_signature: SignatureText
    possession_signature: SignatureText


class Sealing(Strict):
    """The auditor's X25519 sealing key of the month, signed by the auditor's service key."""

    month: Month
    key: Key
    signature: SignatureText


class Line(NamedTuple):
    """What one block pays, and its running totals after it; `_two` is for a patient who is in two hospitals."""

    block: str
    price: str
    price_two: str
    total: str
    total_two: str


class _Charged(Strict):
    """What a Ready spends on each footprint block, and the running totals after it, for the asked purpose.

    `price` is for a patient of this hospital, `price_two` for one who is in two; totals never fall.
    """

    purpose: Purpose
    price: Decimal9
    price_two: Decimal9
    blocks: tuple[Block, ...]
    totals: tuple[Decimal9, ...]
    totals_two: tuple[Decimal9, ...]

    @property
    def block_prices(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What each block pays, for a patient of one hospital and of two."""
        return (self.price,) * len(self.blocks), (self.price_two,) * len(self.blocks)

    @property
    def is_whole(self) -> bool:
        """Whether every block has its prices and totals, and there is a block."""
        columns = (*self.block_prices, self.totals, self.totals_two)
        return bool(self.blocks) and all(len(each) == len(self.blocks) for each in columns)

    def lines(self) -> tuple[Line, ...]:
        """One for each block. Raises ValueError where the charge is not whole."""
        columns = zip(self.blocks, *self.block_prices, self.totals, self.totals_two, strict=True)
        return tuple(Line(*each) for each in columns)


class Charge(_Charged):
    """Every footprint block pays the same."""


class ChargeByBlock(_Charged):
    """Of a question that weighs its blocks: each pays by its weight. `price` is that of the largest weight."""

    prices: tuple[Decimal9, ...]
    prices_two: tuple[Decimal9, ...]

    @property
    def block_prices(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return self.prices, self.prices_two


_ALIKE, _BY_BLOCK = FORM + "alike", FORM + "by block"


def _form_of_charge(given: Any) -> str:
    return _BY_BLOCK if isinstance(given, ChargeByBlock) or (isinstance(given, dict) and "prices" in given) else _ALIKE


class Seen(Strict):
    """A checkpoint that the signer verified: free gossip, since a fork shows inside the log itself."""

    size: Natural
    root: Digest


class Ready(Statement):
    """A hospital has charged its budget durably and will contribute to rounds `first_round` to `last_round` of `query`."""

    kind: ClassVar[str] = "ready"

    query: Digest
    first_round: Round
    last_round: Round
    sequence: Natural
    not_after: Time
    agreement: Agreement
    sealing: Sealing
    charge: Annotated[Annotated[Charge, Tag(_ALIKE)] | Annotated[ChargeByBlock, Tag(_BY_BLOCK)], Discriminator(_form_of_charge)]
    seen: Seen


class Reasoned(Strict):
    """One refusal as it stands in the ledger."""

    code: str
    expected: str
    got: str
    subject: str


class Refused(Statement):
    """A party says no to a query, with all its reasons."""

    kind: ClassVar[str] = "refusal"

    query: Digest
    reasons: tuple[Reasoned, ...]


class Receipt(Statement):
    """What one member contributed: under which binding, and the hashes of the masked vector and of the sealed seed.

    For a training `masked` and `sealed` are the heads of the hash chains over the segment's rounds.
    """

    kind: ClassVar[str] = "receipt"

    query: Digest
    first_round: Round
    last_round: Round
    attempt: Natural
    binding: Digest
    sealed: Digest
    masked: Digest


class Opening(Statement):
    """The auditor opens one member set for (query, round): the full preimage of the binding, and the hash of the seed-stream sum.

    A training logs one at its segment's start; `stream_sum` is then all zeros, since the later rounds' sums do not exist yet.
    """

    kind: ClassVar[str] = "opening"

    query: Digest
    first_round: Round
    last_round: Round
    attempt: Natural
    preimage: str
    stream_sum: Digest
    seen: Seen

    def commits_to(self, total: bytes) -> bool:
        """Whether this may be the sum as it crossed the wire: of a training any may be."""
        return self.stream_sum in (NO_SUM, hashlib.sha256(total).hexdigest())


class Release(Statement):
    """How a query ended. `values` is the SHA-256 of the released integers as big-endian 8-byte two's complement."""

    kind: ClassVar[str] = "release"

    query: Digest
    round: Round
    attempt: Natural
    status: Literal["released", "failed", "expired", "cancelled"]
    binding: Digest | None
    values: Digest | None
    answered: tuple[IdentityUri, ...]
    refused: tuple[IdentityUri, ...]
    away: tuple[IdentityUri, ...]
    left_out: tuple[IdentityUri, ...]


class Metric(Strict):
    """One figure on held-out patients with its 95 % interval."""

    name: Label
    value: Decimal6
    low: Decimal6
    high: Decimal6


class ModelCard(Statement):
    """What a training released: of which study, over which table and whom, in how many rounds, at which price, and how it does.

    `held_out` is the share of patients kept back for the test, "0" where there was none; then there are no metrics, nor where the
    noise was larger than what it hid. `epsilon` at `delta` is that of a patient of one hospital.
    """

    kind: ClassVar[str] = "model-card"

    query: Digest
    rounds: Round
    model_sha256: Digest
    study: Label
    version: Label
    study_sha256: Digest
    table: Label
    catalogue: CatalogueId
    answered: tuple[IdentityUri, ...]
    missing: Natural
    price: Decimal9
    epsilon: Label
    delta: Label
    held_out: Label
    metrics: tuple[Metric, ...]


class Model(Statement):
    """A model card: what was fitted, on which rounds, at which price, and the model's hash."""

    kind: ClassVar[str] = "model"

    query: Digest
    rounds: Round
    model_sha256: Digest
    epsilon: Label
    delta: Label
