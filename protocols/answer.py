"""The answer bundle: one JSON file that stands alone, checked offline with the trust file and nothing else.

It holds the question's entries with their tlog-proofs, the released integers, what is known about their noise, who answered, and
the keys and approvals that make the signatures count. What it cannot show is an absence: that no key or approval was revoked is
checked against the ledger itself.
"""

from typing import Literal

from protocols.statements.base import Decimal4, Decimal9, IdentityUri, Strict


class Proven(Strict):
    """An entry (its envelope as text) and the tlog-proof that it stands in a cosigned tree."""

    entry: str
    proof: str


class Spending(Strict):
    """What the answer cost whom: (epsilon, delta) for `who`, spelled as in `privacy`'s statements."""

    who: str
    epsilon: str
    delta: str


class Coverage(Strict):
    """Hospitals by what they did. Named, without their counts."""

    answered: tuple[IdentityUri, ...]
    refused: tuple[IdentityUri, ...]
    away: tuple[IdentityUri, ...]
    left_out: tuple[IdentityUri, ...]
    incomplete: tuple[IdentityUri, ...]


class Before(Strict):
    """What the answer relies on of the log before its own: entries with their proofs under that log's final checkpoint.

    Entry 0 of the next log states the final checkpoint, so that nothing more has to be pinned.
    """

    keys: tuple[Proven, ...]
    approvals: tuple[Proven, ...]
    before: "Before | None" = None


class Answer(Strict):
    """See the module's docstring. `values` are the noisy sums, row-major per measure; `half_widths` are 95 % noise intervals.

    `card` is a training's model card.
    """

    version: Literal[1] = 1
    query: Proven
    keys: tuple[Proven, ...]
    approvals: tuple[Proven, ...]
    readys: tuple[Proven, ...]
    opening: Proven
    receipts: tuple[Proven, ...]
    release: Proven
    values: tuple[int, ...]
    total_variances: tuple[Decimal4, ...]
    half_widths: tuple[int, ...]
    price: Decimal9
    spending: tuple[Spending, ...]
    coverage: Coverage
    before: Before | None = None
    card: Proven | None = None
