"""A whole mechanism on neighbours: what is priced is what is lost, and a mechanism known to be broken is caught.

Two canaries besides the sound mechanism: half the noise, and a sensitivity that forgot how many cells a patient enters (the
square root of k). The analytic check computes the divergence of the released vector itself. The empirical one plays the
attacker: 400,000 releases on each of two neighbours, and a lower confidence bound for epsilon at delta (Clopper-Pearson, one
minus 1e-6 on each side). Bits are seeded, so a run repeats; on other seeds the sound mechanism alarms with less than 2e-6.
"""

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from privacy.conversion import epsilon_at
from privacy.rdp import share_variance, skellam_rdp, skellam_variance_for
from privacy.sampler import draw
from privacy.tables import skellam_table
from tests.privacy.ideal import SeededBits, skellam_divergence
from tests.privacy.rules import block_local

ORDER, DELTA, CHARGE = 8, Fraction(1, 10**6), Fraction(14569, 10**4)
K = 16
PRICED = block_local(K, 0, 1)
SOUND = skellam_variance_for(ORDER, CHARGE, PRICED.l1, PRICED.l2_squared)
FORGOTTEN = skellam_variance_for(ORDER, CHARGE, 1, 1)
N, COLLUDERS = 6, 1


def vector_divergence(variance: Fraction) -> float:
    """Of the noisy histogram with and without a patient of K cells: coordinates are independent, so divergences add."""
    return K * skellam_divergence(ORDER, 1, float(variance))


def test_the_divergence_of_the_released_vector_is_within_its_charge():
    assert vector_divergence(SOUND) <= CHARGE
    assert vector_divergence(SOUND) > CHARGE * Fraction(9, 10)  # and the noise is not wasted


@pytest.mark.parametrize("broken", [SOUND / 2, FORGOTTEN], ids=["half the noise", "sensitivity without sqrt(k)"])
def test_a_broken_mechanism_loses_more_than_its_charge(broken):
    assert vector_divergence(broken) > CHARGE


def test_the_honest_shares_alone_are_within_the_charge_and_one_colluder_more_is_not():
    share = share_variance(SOUND, N, COLLUDERS)
    assert vector_divergence((N - COLLUDERS) * share) <= CHARGE
    assert vector_divergence((N - COLLUDERS - 1) * share) > CHARGE


def releases(variance: Fraction, present: int, seed: int, count: int = 400_000) -> np.ndarray:
    """The attacker's view: the K cells that the patient would enter, summed, under shares of the noise from N hospitals."""
    share = skellam_table(share_variance(variance, N, 0))
    noise = sum(draw(share, count * K, SeededBits(seed + hospital)) for hospital in range(N))
    return noise.reshape(count, K).sum(axis=1) + present * K


def epsilon_lower_bound(variance: Fraction) -> float:
    without, present = releases(variance, 0, seed=100), releases(variance, 1, seed=200)
    best = 0.0
    for quantile in (0.99, 0.999, 0.9998):  # fixed before looking
        threshold = np.quantile(without, quantile)
        false_alarms, hits = int((without > threshold).sum()), int((present > threshold).sum())
        highest = stats.beta.ppf(1 - 1e-6, false_alarms + 1, without.size - false_alarms)
        lowest = stats.beta.ppf(1e-6, hits, present.size - hits + 1)
        best = max(best, math.log((lowest - float(DELTA)) / highest))
    return best


@pytest.mark.statistical
def test_an_attacker_of_the_sound_mechanism_stays_below_its_epsilon():
    assert 1 < epsilon_lower_bound(SOUND) < float(epsilon_at(CHARGE, ORDER, DELTA))


@pytest.mark.statistical
@pytest.mark.parametrize("broken", [SOUND / 5, FORGOTTEN], ids=["a fifth of the noise", "sensitivity without sqrt(k)"])
def test_an_attacker_of_a_broken_mechanism_passes_its_epsilon(broken):
    assert epsilon_lower_bound(broken) > float(epsilon_at(CHARGE, ORDER, DELTA))


def test_the_price_of_a_release_covers_the_exact_delta_at_its_epsilon():
    """The hockey-stick divergence of one cell clamped to 10, from the table, against the (epsilon, delta) that is stated."""
    step = 10
    variance = skellam_variance_for(ORDER, CHARGE, step, step**2)
    epsilon = float(epsilon_at(skellam_rdp(ORDER, step, step**2, variance), ORDER, DELTA))

    def lost(table_variance: Fraction) -> float:
        table = skellam_table(table_variance)
        cumulative = [float(table.cumulative(k)) for k in range(-table.tail_bound - 1, 1)]
        lower = np.diff(cumulative)
        pmf = np.concatenate([lower, lower[-2::-1]])
        moved = np.concatenate([np.zeros(step), pmf])
        still = np.concatenate([pmf, np.zeros(step)])
        return float(np.maximum(moved - math.exp(epsilon) * still, 0).sum())

    assert lost(variance) <= float(DELTA)
    assert lost(variance / 2) > float(DELTA)
