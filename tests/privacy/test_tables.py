"""Tables against mpmath's own functions at twice their precision, and against scipy."""

import time
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from privacy import tables
from privacy.errors import InvalidVariance
from privacy.tables import MAX_VARIANCE, NoiseTable, discrete_gaussian_table, skellam_table
from tests.privacy.ideal import gaussian_weights, skellam_weights

VARIANCES = [Fraction(1, 16), Fraction(1), Fraction(5, 3), Fraction(100), Fraction(6405, 16)]
BUILDERS = [(skellam_table, skellam_weights), (discrete_gaussian_table, gaussian_weights)]
grid_variances = st.integers(1, 16 * 2000).map(lambda steps: Fraction(steps, 16))


def boundaries(table: NoiseTable) -> list[int]:
    return [table.boundary(index) for index in range(table.high.size)]


def masses(table: NoiseTable) -> list[int]:
    """In units of 2**-128."""
    edges = [0, *boundaries(table), 1 << 128]
    return [after - before for before, after in pairwise(edges)]


@pytest.mark.parametrize("variance", VARIANCES, ids=str)
@pytest.mark.parametrize(("build", "ideal"), BUILDERS)
def test_total_variation_from_the_ideal_is_within_the_stated_distance(build, ideal, variance):
    table = build(variance)
    mp, weights = ideal(variance, table.tail_bound)
    mirrored = weights[:0:-1] + weights
    differences = [abs(mp.mpf(mass) / 2**128 - weight) for mass, weight in zip(masses(table), mirrored, strict=True)]
    beyond = 1 - mp.fsum(mirrored)
    apart = (mp.fsum(differences) + beyond) / 2
    assert apart <= mp.mpf(table.distance.numerator) / table.distance.denominator
    assert table.distance < Fraction(1, 2**112)


@pytest.mark.parametrize("variance", VARIANCES, ids=str)
@pytest.mark.parametrize(("build", "ideal"), BUILDERS)
def test_every_boundary_is_the_ideal_one_to_the_last_bits_and_the_cut(build, ideal, variance):
    table = build(variance)
    mp, weights = ideal(variance, table.tail_bound)
    kept = mp.fsum(weights[:0:-1] + weights)
    upto = mp.mpf(0)
    for index, weight in enumerate(weights[:0:-1]):  # the upper half is a mirror, tested below
        upto += weight
        assert 0 <= table.boundary(index) - upto / kept * 2**128 < 1


@pytest.mark.parametrize("variance", VARIANCES, ids=str)
@pytest.mark.parametrize(("build", "ideal"), BUILDERS)
def test_fixed_point_weights_are_far_better_than_the_distance_assumes(build, ideal, variance, monkeypatch):
    kept = {}
    monkeypatch.setattr(tables, "_table", lambda v, weights: kept.setdefault("weights", weights))
    build.__wrapped__(variance)
    cut = tables._cut(kept["weights"])
    mp, weights = ideal(variance, cut)
    for ours, ideal_weight in zip(kept["weights"], weights, strict=False):
        assert abs(mp.mpf(ours) / kept["weights"][0] - ideal_weight / weights[0]) < mp.mpf(2) ** -250


@settings(max_examples=40, deadline=None)
@given(grid_variances, st.sampled_from([skellam_table, discrete_gaussian_table]))
def test_tables_are_symmetric_rise_strictly_enough_and_peak_at_zero(variance, build):
    table = build(variance)
    edges = boundaries(table)
    assert all(edge + mirror == 1 << 128 for edge, mirror in zip(edges, reversed(edges), strict=True))
    assert edges == sorted(edges)
    heaviest = masses(table)
    assert max(heaviest) == heaviest[table.tail_bound]


@settings(max_examples=40, deadline=None)
@given(grid_variances)
def test_the_table_has_the_variance_it_names(variance):
    table = skellam_table(variance)
    second = sum(value**2 * mass for value, mass in enumerate(masses(table), -table.tail_bound))
    assert abs(Fraction(second, 1 << 128) - variance) < Fraction(1, 2**90)


def test_a_discrete_gaussian_varies_no_more_than_its_parameter():
    for sigma_squared in VARIANCES:
        table = discrete_gaussian_table(sigma_squared)
        second = sum(value**2 * mass for value, mass in enumerate(masses(table), -table.tail_bound))
        assert Fraction(second, 1 << 128) <= sigma_squared + Fraction(1, 2**90)


@pytest.mark.parametrize(("n", "share"), [(4, Fraction(3, 16)), (6, Fraction(25)), (9, Fraction(7, 16))])
def test_the_sum_of_n_shares_is_the_table_of_n_times_the_variance(n, share):
    def pmf(table: NoiseTable) -> np.ndarray:
        return np.array([mass / 2**128 for mass in masses(table)])

    one, total = skellam_table(share), skellam_table(n * share)
    summed = np.array([1.0])
    for _ in range(n):
        summed = np.convolve(summed, pmf(one))
    spare = n * one.tail_bound - total.tail_bound
    assert np.abs(summed[spare : summed.size - spare] - pmf(total)).max() < 1e-15


def test_the_sum_of_discrete_gaussians_is_not_a_discrete_gaussian():
    """The reason for Skellam shares: at small shares the difference is large (Kairouz, Liu, Steinke 2021)."""
    share = np.array([mass / 2**128 for mass in masses(discrete_gaussian_table(Fraction(1, 16)))])
    total = discrete_gaussian_table(Fraction(4, 16))
    summed = np.array([1.0])
    for _ in range(4):
        summed = np.convolve(summed, share)
    middle = summed.size // 2
    assert abs(summed[middle] - masses(total)[total.tail_bound] / 2**128) > 0.05


@pytest.mark.parametrize("variance", [0.0625, 3.0, 400.0, 1e6])
def test_skellam_agrees_with_scipy(variance):
    table = skellam_table(Fraction(variance))
    values = np.arange(-int(4 * variance**0.5), int(4 * variance**0.5) + 1)
    ours = [float(table.cumulative(int(value))) for value in values]
    assert np.allclose(ours, stats.skellam.cdf(values, variance / 2, variance / 2), atol=1e-7)


def test_cumulative_is_zero_below_the_tail_and_one_from_its_end():
    table = skellam_table(Fraction(100))
    assert table.cumulative(-table.tail_bound - 1) == 0
    assert table.cumulative(table.tail_bound) == 1
    assert 0 < table.cumulative(-table.tail_bound) < Fraction(1, 2**100)


@pytest.mark.parametrize("variance", [Fraction(0), Fraction(-1), MAX_VARIANCE + Fraction(1, 16)])
@pytest.mark.parametrize("build", [skellam_table, discrete_gaussian_table])
def test_a_variance_without_a_table_is_refused(build, variance):
    with pytest.raises(InvalidVariance, match=r"noise variance: expected above 0 and at most 4294967296, got"):
        build(variance)


@pytest.mark.parametrize(("variance", "bar_s"), [(Fraction(100), 0.02), (Fraction(10**6), 1.5)])
@pytest.mark.parametrize("build", [skellam_table, discrete_gaussian_table])
def test_a_table_is_built_fast_enough_to_be_built_on_demand(build, variance, bar_s):
    def processor_s() -> float:
        before = time.process_time()
        build.__wrapped__(variance)
        return time.process_time() - before

    assert min(processor_s() for _ in range(3)) < bar_s


def test_tables_cannot_be_written_to():
    table = skellam_table(Fraction(1))
    for array in (table.high, table.low, table.guide):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
