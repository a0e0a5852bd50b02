"""The price of a whole release: what each block pays, what a patient of two hospitals pays, and how wide the ring must be.

A release is a list of pieces, each with its own sensitivities and its own noise. Rényi prices add over independent noise, so the
price is the sum over the pieces, rounded up to the grid of charges. Every party computes it from the signed query.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from privacy.filter import charge_on_grid
from privacy.rdp import share_variance, skellam_rdp
from privacy.subsampling import rate_of, sampled_skellam_rdp
from privacy.tables import skellam_table


class Noised(Protocol):
    """A piece of a release, as `protocols.asked.Piece` states it."""

    @property
    def l1(self) -> int: ...
    @property
    def l2_squared(self) -> int: ...
    @property
    def variance(self) -> Fraction: ...
    @property
    def cell_max(self) -> int: ...
    @property
    def rate(self) -> Fraction:
        """The chance with which a (patient, block) takes part; 1 where nobody is sampled."""
        ...

    @property
    def repeats(self) -> int:
        """How many times a round releases it with noise of its own."""
        ...

    @property
    def once(self) -> tuple[int, int] | None:
        """(L1, L2 squared) of those patients who are in one round only, and in no other, without sampling."""
        ...


@dataclass(frozen=True, slots=True)
class Price:
    """For a patient of one hospital, and (sensitivities doubled) of two."""

    one: Fraction
    two: Fraction


NOTHING = Price(Fraction(0), Fraction(0))
"""What exact mode charges. Without noise no price bounds what an answer tells; it is chosen by name and never computed."""


def price(order: int, pieces: Iterable[Noised], rounds: int = 1) -> Price:
    """Of all `rounds`, each of which releases these pieces with fresh noise."""
    pieces = tuple(pieces)
    one, two = (sum((_of(order, piece, copies, rounds) for piece in pieces), Fraction(0)) for copies in (1, 2))
    return Price(charge_on_grid(one), charge_on_grid(two))


def prices(order: int, pieces: Iterable[Noised], weights: Sequence[int]) -> tuple[Price, ...]:
    """Of each block of a question of one round that weighs its blocks. `pieces` are as a block of the largest weight moves them.

    A patient of block b moves every sum by at most w_b times what an unweighted question is moved by, so that L1 is w_b times the
    unit's and L2^2 w_b^2 times; the noise is one and the same, and the price is Skellam's at these two. It falls with the weight:
    both of its branches are sums of L1 and L2^2 with coefficients that are not negative. So no block pays more than `price`.
    """
    pieces, largest = tuple(pieces), max(weights)
    of_weight = {
        weight: Price(*(charge_on_grid(_weighed(order, pieces, copies * Fraction(weight, largest))) for copies in (1, 2)))
        for weight in set(weights)
    }
    return tuple(of_weight[weight] for weight in weights)


def _weighed(order: int, pieces: Iterable[Noised], times: Fraction) -> Fraction:
    """Of one release whose pieces a patient moves so many times as far; whole numbers, since pieces hold the largest weight."""
    moved = ((math.ceil(times * each.l1), math.ceil(times**2 * each.l2_squared), each.variance) for each in pieces)
    return sum((skellam_rdp(order, *each) for each in moved), Fraction(0))


def _of(order: int, piece: Noised, copies: int, rounds: int) -> Fraction:
    """What the patients of every round pay, or those of one round where that is more: nobody is both."""
    moved = (copies * piece.l1, copies**2 * piece.l2_squared)
    always = rounds * piece.repeats * sampled_skellam_rdp(order, rate_of(copies, piece.rate), *moved, piece.variance)
    if piece.once is None:
        return always
    return max(always, skellam_rdp(order, copies * piece.once[0], copies**2 * piece.once[1], piece.variance))


def reach(members: int, n: int, colluders: int, pieces: Iterable[Noised]) -> int:
    """The largest absolute entry that honest members' sum can have, noise tails included. A variance of zero has no tail."""
    return max(members * (piece.cell_max + _tail(piece.variance, n, colluders)) for piece in pieces)


def _tail(variance: Fraction, n: int, colluders: int) -> int:
    return skellam_table(share_variance(variance, n, colluders)).tail_bound if variance else 0
