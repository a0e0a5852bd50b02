"""What a Ready must charge, of every kind of question, computed here again from the signed query alone.

Rules
- It charges the question's blocks, all of them, in their order. Months and static tables stand in the question, and no record does.
- Each block pays the price of all that the question releases: every piece of its vector, every round, sampling and held-out
  patients as stated. The doubled price is that of a patient of two hospitals. Both are rounded up as `cost` rounds them.
- No Ready covers a round that the question has not: none was paid for.
- A question that weighs its months is charged block by block, and no other is: each pays by its weight, the headline is that of the
  largest.
- An exact question pays nothing; it has no noise that a price could be of.

A hospital that charges less, or another month, would let that month be asked more often than its limit allows. What no ledger can
show: that the charge stands in the hospital's journal too, and that its program reads the rows of these blocks and of no other.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from audit_ledger.cost import block_prices, price, price_two
from audit_ledger.exact import FREE
from audit_ledger.findings import Rule
from protocols.asked import Asked
from protocols.errors import ProtocolError
from protocols.query import QueryError
from protocols.statements import Charge, ChargeByBlock, Query, Ready

Wrong = tuple[Rule, str]
QUESTIONS_KEPT = 256  # every hospital's Ready of a question is held to the same


@dataclass(frozen=True, slots=True)
class Due:
    """`headline` is (price, doubled price); `by_block` holds those of each block, where the question has weights."""

    rounds: tuple[int, int]
    blocks: tuple[str, ...]
    headline: tuple[str, str]
    by_block: tuple[tuple[str, ...], tuple[str, ...]] | None


@dataclass(frozen=True, slots=True)
class _Logged:
    """A query under its id, by which it is kept: the id covers every byte of it."""

    id: str
    query: Query = field(compare=False)


def wrongs(query: Query, ready: Ready) -> Iterator[Wrong]:
    """What a Ready misstates of what its question demands; nothing of one that is right. `query` is the one that it names."""
    due = _due(_Logged(ready.query, query))
    if due is None:
        yield Rule.PRICE, "its question is none of this version"
        return
    first, last = due.rounds
    if not first <= ready.first_round <= ready.last_round <= last:
        yield Rule.PRICE, f"rounds: expected {first}..{last}, got {ready.first_round}..{ready.last_round}"
    yield from _charged(due, ready.charge)


def _charged(due: Due, charge: Charge | ChargeByBlock) -> Iterator[Wrong]:
    if isinstance(charge, ChargeByBlock) != (due.by_block is not None):
        yield Rule.BLOCK_PRICE, "is charged by block exactly where its question has weights"
        return
    if charge.blocks != due.blocks:
        yield Rule.BLOCKS, f"blocks: expected {', '.join(due.blocks)}, got {', '.join(charge.blocks)}"
        return
    if due.by_block is not None:
        yield from _each_block(due.blocks, due.by_block, charge.block_prices)
    for name, got, expected in zip(("price", "doubled price"), (charge.price, charge.price_two), due.headline, strict=True):
        if got != expected:
            yield Rule.PRICE, f"{name}: expected {expected}, got {got}"


def _each_block(
    blocks: tuple[str, ...], due: tuple[tuple[str, ...], tuple[str, ...]], told: tuple[tuple[str, ...], tuple[str, ...]]
) -> Iterator[Wrong]:
    for name, got, expected in zip(("price", "doubled price"), told, due, strict=True):
        if len(got) != len(blocks):
            yield Rule.BLOCK_PRICE, f"expected a {name} for each block"
            continue
        for block, one, wanted in zip(blocks, got, expected, strict=True):
            if one != wanted:
                yield Rule.BLOCK_PRICE, f"{block}: {name} expected {wanted}, got {one}"


@lru_cache(QUESTIONS_KEPT)
def _due(logged: _Logged) -> Due | None:
    try:
        asked = Asked.of(logged.query)
    except (ProtocolError, QueryError):
        return None
    headline = (FREE, FREE) if asked.is_exact else (price(asked), price_two(asked))
    rounds = (asked.first_round, asked.last_round)
    return Due(rounds, asked.blocks, headline, block_prices(asked) if asked.weights else None)
