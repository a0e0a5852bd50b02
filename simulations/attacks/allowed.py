"""What an attacker who tosses up between two equally likely secrets may at best reach, by promise and by the noise itself."""

import math
from fractions import Fraction

from privacy.conversion import epsilon_at
from privacy.tables import skellam_table
from protocols.contract import CONTRACT


def epsilon_of(price: Fraction) -> float:
    """At the contract's order and delta, as the hospitals' account reads it."""
    return float(epsilon_at(price, CONTRACT.order, CONTRACT.delta)) if price else 0.0


def allowed(epsilon: float) -> float:
    """The largest share of right guesses that (epsilon, delta) leaves for a fair coin: (e^eps + delta) / (e^eps + 1).

    Adding TPR <= e^eps FPR + delta and 1 - FPR <= e^eps (1 - TPR) + delta bounds TPR - FPR by (e^eps - 1 + 2 delta) / (e^eps + 1).
    """
    return (math.exp(epsilon) + float(CONTRACT.delta)) / (math.exp(epsilon) + 1)


def best_by_noise(variance: Fraction, moved: int = 1) -> float:
    """The same against Skellam noise of this variance and a secret that moves the sum by `moved`, guessed present above half of it.

    Exactly, ties included: with S the noise, who is away is guessed right where S <= m/2 and who is there where S + m > m/2, which
    is (1 + P(-m/2 < S <= m/2)) / 2; at m = 1 it is (1 + P(S = 0)) / 2. Skellam noise adds up: `variance` is the sum over the
    answers that are added or subtracted, each with the shares of all its hospitals: n/(n - c) times what was asked for.
    """
    table = skellam_table(variance)
    return (1 + float(table.cumulative(moved // 2) - table.cumulative(-moved // 2))) / 2


def half_width(share: float, trials: int) -> float:
    """95 % of a share of independent trials."""
    return 1.96 * math.sqrt(max(share * (1 - share), 1 / trials) / trials)
