"""The auditor's own arithmetic of what a query costs a patient, from the signed query alone.

Written a second time on purpose: what an auditor is shown before it signs does not come from the code that charges. A test holds
both to the same digits. Skellam noise at Rényi order a (Agarwal, Kairouz, Liu 2021, Corollary 3.6), converted to (ε, δ) by
Canonne, Kamath, Steinke 2020, Proposition 12.
"""

import math
from collections.abc import Iterable
from dataclasses import replace
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from functools import lru_cache

from protocols.asked import Asked, Piece
from protocols.contract import CONTRACT

CHARGE_GRID = 10**9
SAMPLED_GRID = 10**15
BEYOND_PRICE = 1000
"""Above it no sampling is counted: nobody could pay either."""
_DIGITS = Context(prec=60)
ORDERS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)


def price(asked: Asked, order: int = CONTRACT.order) -> str:
    """What every footprint block pays, as a charge spells it: nine decimals, rounded up. With weights, that of the largest."""
    return _spelled(_divergence(asked.pieces, asked.query.rounds, order))


def price_two(asked: Asked, order: int = CONTRACT.order) -> str:
    """What every footprint block pays for a patient of two hospitals, each with all that one has of a patient."""
    return _spelled(_divergence(map(_of_two, asked.pieces), asked.query.rounds, order))


def block_prices(asked: Asked, order: int = CONTRACT.order) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What each block of a question with weights pays, for a patient of one hospital and of two: by how far its weight moves it."""
    largest = max(asked.weights)
    one, two = (tuple(_of_weight(asked, copies * weight, largest, order) for weight in asked.weights) for copies in (1, 2))
    return one, two


def by_block(asked: Asked) -> dict[str, str]:
    """What each footprint block pays."""
    prices = block_prices(asked)[0] if asked.weights else (price(asked),) * len(asked.blocks)
    return dict(zip(asked.blocks, prices, strict=True))


def _of_weight(asked: Asked, weight: int, largest: int, order: int) -> str:
    # Pieces are stated at the largest weight, of which both sensitivities are whole multiples.
    moved = (
        replace(each, l1=each.l1 * weight // largest, l2_squared=each.l2_squared * weight**2 // largest**2) for each in asked.pieces
    )
    return _spelled(sum((_skellam(order, each) for each in moved), Fraction(0)))


def _spelled(divergence: Fraction) -> str:
    steps = max(1, math.ceil(divergence * CHARGE_GRID))
    return f"{steps // CHARGE_GRID}.{steps % CHARGE_GRID:09d}"


def epsilon(asked: Asked, delta: Fraction = CONTRACT.delta) -> float:
    """ε at this δ for a patient of one hospital, in one block: the best of several orders."""
    spent = ((order, float(_divergence(asked.pieces, asked.query.rounds, order))) for order in ORDERS)
    return min(rdp + math.log1p(-1 / order) - (math.log(delta) + math.log(order)) / (order - 1) for order, rdp in spent)


def _divergence(pieces: Iterable[Piece], rounds: int, order: int) -> Fraction:
    return sum((max(rounds * each.repeats * _sampled(order, each), _once(order, each)) for each in pieces), Fraction(0))


def _of_two(piece: Piece) -> Piece:
    """Twice as far, so that squares are four times; sampled by each hospital for itself; held out by both in one round."""
    once = (2 * piece.once[0], 4 * piece.once[1]) if piece.once else None
    rate = 1 - (1 - piece.rate) ** 2
    return replace(piece, l1=2 * piece.l1, l2_squared=4 * piece.l2_squared, rate=rate, once=once)


def _once(order: int, piece: Piece) -> Fraction:
    """Of patients who are in one round only, and then in no other."""
    return _skellam(order, replace(piece, l1=piece.once[0], l2_squared=piece.once[1])) if piece.once else Fraction(0)


@lru_cache(1024)
def _sampled(order: int, piece: Piece) -> Fraction:
    """Zhu and Wang 2019, Theorem 5, where a training samples; to fifteen decimals, upwards, as it is charged."""
    whole, rate = _skellam(order, piece), piece.rate
    if rate == 1 or whole > BEYOND_PRICE:
        return whole
    with localcontext(_DIGITS):
        taking, leaving = _decimal(rate), _decimal(1 - rate)
        moment = leaving ** (order - 1) * (order * taking - taking + 1)
        for taken in range(2, order + 1):
            weight = math.comb(order, taken) * (1 if taken == 2 else 3) * leaving ** (order - taken) * taking**taken
            moment += weight * _growth(taken, piece)
        steps = math.ceil(moment.ln() / (order - 1) * SAMPLED_GRID)
    return min(whole, Fraction(steps, SAMPLED_GRID))


@lru_cache(4096)
def _growth(taken: int, piece: Piece) -> Decimal:
    """The moment without sampling, which the orders above it have in common."""
    with localcontext(_DIGITS):
        return _decimal((taken - 1) * _skellam(taken, piece)).exp()


def _decimal(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / Decimal(value.denominator)


def _skellam(order: int, piece: Piece) -> Fraction:
    l1, l2, variance = min(piece.l1, piece.l2_squared), piece.l2_squared, piece.variance
    near = Fraction((2 * order - 1) * l2 + 6 * l1) / (4 * variance**2)
    return order * l2 / (2 * variance) + min(near, Fraction(3 * l1) / (2 * variance))
