"""Shares of a histogram and survival curves: what they say without noise, and what their intervals cover with it."""

import math
from fractions import Fraction

import numpy as np
import pytest

from privacy.intervals import half_width
from privacy.share import share
from privacy.survival import survival


def z_of(sd: int) -> float:
    return half_width(Fraction(sd**2)) / sd


def test_a_share_is_the_entry_over_the_whole_and_its_interval_inverts_the_test():
    found = share([30.0, 50.0, 120.0], 0, 16.0, 2.0)
    assert found is not None
    assert found.value == pytest.approx(0.15)
    for end, part in ((found.low, 29.5), (found.high, 30.5)):
        assert (part - end * 200) ** 2 == pytest.approx(4 * 16 * (1 - 2 * end + 3 * end**2))


def test_a_share_of_what_may_be_nothing_is_not_told():
    assert share([3.0, 2.0, -1.0], 0, 16.0, 2.0) is None
    assert share([-90.0, -50.0], 0, 1.0, 2.0) is None


@pytest.mark.statistical
@pytest.mark.parametrize("sd", [3, 12, 20])
@pytest.mark.parametrize("counts", [(40, 200, 300), (5, 90), (400, 30, 30, 200)])
def test_the_interval_of_a_share_covers_95_percent(sd, counts):
    """10,000 draws: below 94.1 % has probability < 2e-5 at a true 95 %. At a wide noise a small whole is not told at all."""
    random = np.random.default_rng(sd)
    truth, found = counts[0] / sum(counts), []
    for noise in np.rint(random.normal(0, sd, (10_000, len(counts)))):
        told = share((np.array(counts) + noise).tolist(), 0, float(sd**2), z_of(sd))
        found += [] if told is None else [told.low <= truth <= told.high]
    assert len(found) > 3_000
    assert np.mean(found) >= 0.941


def test_a_curve_without_noise_is_kaplan_meier_by_hand():
    # 100 patients: 10 events and 5 lost to the first edge, 17 and 8 to the second, 60 outlive it.
    first, second = survival([10, 17, 5, 8, 60], 0.0, 2.0)
    assert first.value == pytest.approx(90 / 100)
    assert second.value == pytest.approx(90 / 100 * (85 - 17) / 85)
    assert (second.low, second.high) == pytest.approx((second.value, second.value))


def test_a_curve_ends_where_those_left_are_lost_in_noise():
    told = survival([100, 100, 100, 10, 10, 10, 20], 25.0, 2.0)
    assert [each is None for each in told] == [False, False, True]


@pytest.mark.statistical
@pytest.mark.parametrize("sd", [4, 12])
def test_the_interval_of_a_curve_is_as_wide_as_its_error_and_covers_95_percent(sd):
    """6,000 draws: outside 95 +- 1 % has probability < 4e-4 at a true 95 %; the error predicted is the one measured to 4 %."""
    random, exact = np.random.default_rng(3), np.array([200, 300, 150, 40, 30, 60, 1200])
    truth = [each.value for each in survival(exact, 0.0, 1.0)]
    draws = [survival(exact + noise, float(sd**2), 1.96) for noise in random.normal(0, sd, (6_000, 7))]
    for edge, true in enumerate(truth):
        told = [each[edge] for each in draws]
        assert None not in told
        assert 0.94 <= np.mean([each.low <= true <= each.high for each in told]) <= 0.96
        predicted = np.mean([(each.high - each.low) / 2 / 1.96 for each in told])
        assert predicted == pytest.approx(math.sqrt(np.mean([(each.value - true) ** 2 for each in told])), rel=0.04)
