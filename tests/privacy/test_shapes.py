"""Variances and quantiles from noisy sums: exact without noise, and covering what the exact sums give under it."""

import math

import numpy as np
import pytest
from scipy.stats import skellam

from privacy.quantile import quantile
from privacy.spread import LEAST_COUNT, SHEPPARD, NoisySum, spread

Z, TRIALS = 1.959963984540054, 2_000
# A coverage of 95 % measured over 2,000 trials has a standard error of 0.487 points; 4.5 of them, on one side: false alarm 3e-6.
LEAST = 0.95 - 4.5 * math.sqrt(0.95 * 0.05 / TRIALS)


def _noise(random: np.random.Generator, variance: float, size: int) -> np.ndarray:
    return np.asarray(skellam.rvs(variance / 2, variance / 2, size=size, random_state=random), dtype=np.float64)


def test_without_noise_a_spread_is_the_variance_less_sheppards_twelfth() -> None:
    steps = np.array([-3, -1, 0, 2, 2, 5])
    found = spread([NoisySum(steps.sum(), 1e-12), NoisySum((steps**2).sum(), 1e-12), NoisySum(6, 1e-12)], Z)
    assert found is not None
    assert found.value == pytest.approx(steps.var() - SHEPPARD)
    assert found.high - found.low < 1e-4


def test_a_spread_over_too_few_is_not_told() -> None:
    assert spread([NoisySum(3, 100), NoisySum(900, 100), NoisySum(LEAST_COUNT * 10, 100)], Z) is None
    assert spread([NoisySum(3, 100), NoisySum(900, 100), NoisySum(LEAST_COUNT * 10 + 1, 100)], Z) is not None


@pytest.mark.statistical
@pytest.mark.parametrize(("count", "mean", "sd"), [(200, 0, 5), (300, -9, 2), (2_000, 4, 6), (100_000, 0, 1.5)])
def test_a_spreads_interval_covers_what_the_exact_sums_give(count: int, mean: float, sd: float) -> None:
    random = np.random.default_rng(5)
    exact = (count * mean, count * (sd**2 + mean**2), count)
    variances = ((16 * 12) ** 2, (256 * 12) ** 2, 12**2)
    noisy = np.array([value + _noise(random, variance, TRIALS) for value, variance in zip(exact, variances, strict=True)])
    truth = sd**2 - SHEPPARD
    hits = told = 0
    for trial in noisy.T:
        found = spread([NoisySum(float(v), w) for v, w in zip(trial, variances, strict=True)], Z)
        told += found is not None
        hits += found is not None and found.low <= truth <= found.high
    assert told > TRIALS / 2
    assert hits / told > LEAST


def test_without_noise_a_quantile_lies_on_the_line_inside_its_bin() -> None:
    found = quantile([10, 30, 40, 20], 1e-9, 0.5, Z)
    assert found is not None
    assert found.value == pytest.approx(2.25)
    assert found.low == pytest.approx(2.25, abs=0.26)
    assert quantile([10, 30, 40, 20], 1e-9, 0.05, Z).value == pytest.approx(0.5)  # type: ignore[union-attr]


def test_a_quantile_of_nothing_but_noise_is_not_told() -> None:
    assert quantile([5, -3, 4, -6], 100, 0.5, Z) is None
    assert quantile([0, 0, 0], 1, 0.5, Z) is None


@pytest.mark.statistical
def test_of_many_groups_that_nobody_is_in_hardly_one_has_a_median() -> None:
    # One in 31,574 is told: of 20,000 more than 8 in 10^8 runs; of a rule at 95 % there would be 500.
    random, groups, bins = np.random.default_rng(5), 20_000, 24
    noise = _noise(random, 144, groups * bins).reshape(groups, bins)
    assert sum(quantile(each, 144, 0.5, Z) is not None for each in noise) <= 8


@pytest.mark.statistical
@pytest.mark.parametrize(("total", "p", "sd"), [(600, 0.5, 12), (5_000, 0.9, 25), (3_000, 0.25, 4), (40_000, 0.5, 60)])
def test_a_quantiles_interval_covers_that_of_the_exact_histogram(total: int, p: float, sd: float) -> None:
    random, bins = np.random.default_rng(3), 24
    exact = np.round(total * np.diff(1 / (1 + np.exp(-(np.arange(bins + 1) - 9) / 2))))
    truth = quantile(exact, 1e-9, p, Z)
    noise = _noise(random, sd**2, TRIALS * bins).reshape(TRIALS, bins)
    found = [quantile(exact + each, sd**2, p, Z) for each in noise]
    told = [each for each in found if each is not None]
    assert truth is not None
    assert len(told) > 0.9 * TRIALS
    assert sum(each.low <= truth.value <= each.high for each in told) / len(told) > LEAST
    assert all(each.low <= each.value <= each.high for each in told)
