"""A charge by block: which questions have one, and what it must say, from the signed query alone.

Rules
- A question that weighs its months is charged block by block, and no other is: `Charge` names one price for all blocks.
- Its blocks are the question's, in their order. What each pays, for a patient of one hospital and of two, is computed here again
  (`cost.block_prices`), and the headline price is that of the largest weight.

A hospital that charges one block too little would let that month be asked more often than its limit allows.
"""

from collections.abc import Iterator
from functools import lru_cache

from audit_ledger.cost import block_prices, price
from protocols.asked import Asked
from protocols.errors import ProtocolError
from protocols.fit import is_fit
from protocols.query import QueryError
from protocols.statements import Charge, ChargeByBlock, Query

Due = tuple[tuple[str, ...], tuple[tuple[str, ...], tuple[str, ...]], str]
"""Blocks, what each pays for one hospital and for two, and the headline price."""
QUESTIONS_KEPT = 256  # every hospital's Ready of a question is held to the same


def is_weighted(query: Query) -> bool:
    """As the signed statement says; what a fit calls weights are a model's."""
    return "weights" in query.spec and not is_fit(query.spec)


def wrongs(query: Query, charge: Charge | ChargeByBlock) -> Iterator[str]:
    """What a charge misstates of what its question's weights demand; nothing of one that is right."""
    is_by_block = isinstance(charge, ChargeByBlock)
    if is_by_block != is_weighted(query):
        yield "is charged by block exactly where its question has weights"
        return
    if not isinstance(charge, ChargeByBlock):
        return
    due = _due(query.model_dump_json().encode())
    if due is None:
        yield "its question is none of this version"
        return
    blocks, of_blocks, headline = due
    if charge.blocks != blocks:
        yield f"blocks: expected {', '.join(blocks)}, got {', '.join(charge.blocks)}"
        return
    for name, told, owed in zip(("price", "doubled price"), charge.block_prices, of_blocks, strict=True):
        if len(told) != len(blocks):
            yield f"expected a {name} for each block"
            return
        for block, each, expected in zip(blocks, told, owed, strict=True):
            if each != expected:
                yield f"{block}: {name} expected {expected}, got {each}"
    if charge.price != headline or charge.price_two != max(of_blocks[1], key=_steps):
        yield f"headline price: expected {headline}, got {charge.price}"


def _steps(text: str) -> int:
    return int(text.replace(".", ""))


@lru_cache(QUESTIONS_KEPT)
def _due(query: bytes) -> Due | None:
    try:
        asked = Asked.of(Query.model_validate_json(query))
    except (ProtocolError, QueryError):
        return None
    return asked.blocks, block_prices(asked), price(asked)
