"""What an honest hospital charges for a question, by the prices that a node charges. A test that lies about it changes a field."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from privacy.filter import encode_charge
from privacy.pricing import NOTHING, Price, price, prices
from protocols import statements as st
from protocols.asked import Asked
from protocols.contract import CONTRACT
from protocols.query import QuerySpec

Totals = Mapping[tuple[str, str], Decimal]
"""Per (purpose, block)."""
LEAST = Decimal("0.000000001")


def visits_of(blocks: Sequence[str]) -> dict[str, Any]:
    """A question's spec: visits of these months by age band, one a patient and month."""
    year, month = divmod(12 * int(blocks[-1][:4]) + int(blocks[-1][5:]), 12)
    return QuerySpec.from_fields(
        {
            "table": "visits",
            "measures": [{"kind": "count", "hi": 1}],
            "keys": [{"key": "age_band", "bands": "surveillance"}],
            "period": {"from": f"{blocks[0]}-01", "to": f"{year}-{month + 1:02d}-01"},
            "cells_per_patient": 1,
        }
    ).to_json()


def fit_of(blocks: Sequence[str]) -> dict[str, Any]:
    """A training's spec: which of these months' visits were admissions, by age."""
    period = visits_of(blocks)["period"]
    return {"version": 1, "fit": "logistic", "table": "visits", "outcome": "IMP", "features": ["age"], "period": period}


def headline(asked: Asked) -> Price:
    """What each block pays; of a question with weights that of the largest."""
    return NOTHING if asked.is_exact else price(CONTRACT.order, asked.pieces, asked.query.rounds)


def of_each_block(asked: Asked) -> tuple[Price, ...]:
    """What each block pays, in their order."""
    return prices(CONTRACT.order, asked.pieces, asked.weights) if asked.weights else (headline(asked),) * len(asked.blocks)


def honest(asked: Asked, spent: Totals | None = None, spent_two: Totals | None = None) -> st.Charge | st.ChargeByBlock:
    """As a node states it whose account stood so; of one that has spent nothing yet, if none is given."""
    purpose, whole, due = asked.query.purpose, headline(asked), of_each_block(asked)
    ones, twos = tuple(encode_charge(each.one) for each in due), tuple(encode_charge(each.two) for each in due)
    told: dict[str, Any] = {
        "purpose": purpose,
        "price": encode_charge(whole.one),
        "price_two": encode_charge(whole.two),
        "blocks": asked.blocks,
        "totals": _added(purpose, asked.blocks, ones, spent or {}),
        "totals_two": _added(purpose, asked.blocks, twos, spent_two or {}),
    }
    return st.ChargeByBlock(**told, prices=ones, prices_two=twos) if asked.weights else st.Charge(**told)


def _added(purpose: str, blocks: Sequence[str], prices: Sequence[str], spent: Totals) -> tuple[str, ...]:
    before = (spent.get((purpose, block), Decimal(0)) for block in blocks)
    return tuple(f"{total + Decimal(each):.9f}" for total, each in zip(before, prices, strict=True))


def at(charge: st.Charge, price: str, price_two: str | None = None) -> st.Charge:
    """The same charge at another price, with totals that follow from it: the price is all that is wrong with it."""
    told = {"price": price, "price_two": price_two or charge.price_two}
    for name, totals in (("price", "totals"), ("price_two", "totals_two")):
        more = Decimal(told[name]) - Decimal(getattr(charge, name))
        told[totals] = tuple(f"{Decimal(each) + more:.9f}" for each in getattr(charge, totals))  # type: ignore[assignment]
    return charge.model_copy(update=told)


def less(text: str) -> str:
    """By the least step of a charge."""
    return f"{Decimal(text) - LEAST:.9f}"


def more(text: str) -> str:
    """By the least step of a charge."""
    return f"{Decimal(text) + LEAST:.9f}"
