"""The numbers every party computes with. One table; the node prints it, the auditor replays it, nobody restates it."""

from dataclasses import dataclass
from fractions import Fraction

PROTOCOL_VERSION = 1
PURPOSES = ("surveillance", "research", "outbreak")


LARGEST_ENTRY = 2**53
"""Exact mode: the most that one hospital's sums may reach, in absolute value. A larger one is withheld: no ring ever wraps."""


@dataclass(frozen=True, slots=True)
class Contract:
    """Defaults of a city. `order` and `budget` are the Rényi order and what one block may spend at it in a year of questions."""

    epsilon: Fraction = Fraction(3)
    delta: Fraction = Fraction(1, 10**6)
    order: int = 8
    budget: Fraction = Fraction(14569, 10000)
    shares: tuple[tuple[str, Fraction], ...] = (
        ("surveillance", Fraction(6, 10)),
        ("research", Fraction(3, 10)),
        ("outbreak", Fraction(1, 10)),
    )
    cells_per_patient: int = 4
    floor: int = 4
    exact_floor: int = 5
    exact_a_month: int = 4
    attempts: int = 3
    window_s: int = 600
    valid_days: int = 30
    freshness_s: int = 600
    clock_tolerance_s: int = 60
    max_cells: int = 1_000_000
    segment_rounds: int = 50
    keep_days: int = 35
    outbreak_a_day: int = 4
    review_hours: int = 72

    def limit(self, purpose: str) -> Fraction:
        return self.budget * dict(self.shares)[purpose]


CONTRACT = Contract()


def colluders(counting: int) -> int:
    """How many hospitals' noise an attacker is assumed to know, of `counting` : max(1, ⌊n/4⌋)."""
    return max(1, counting // 4)
