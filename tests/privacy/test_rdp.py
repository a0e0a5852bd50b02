"""Prices against divergences computed from the distributions themselves."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.errors import InvalidPrice, InvalidSensitivity, InvalidVariance
from privacy.rdp import GRID, gaussian_rdp, on_grid_up, share_variance, skellam_rdp, skellam_variance_for
from privacy.subsampling import sampled_skellam_rdp
from tests.privacy.ideal import skellam_divergence, skellam_log_pmf

VARIANCES = [Fraction(1, 16), Fraction(1, 4), Fraction(1), Fraction(3), Fraction(10), Fraction(100), Fraction(10**4)]
charges = st.integers(1, 3 * 10**9).map(lambda steps: Fraction(steps, 10**9))
variances = st.integers(1, 10**6).map(lambda steps: steps * GRID)


@pytest.mark.parametrize("order", [2, 3, 4, 8, 16, 64, 256])
@pytest.mark.parametrize("variance", VARIANCES, ids=str)
def test_the_skellam_price_is_never_below_the_divergence(order, variance):
    for shift in (1, 2, 3, 5, 8, 13, 21, 55):
        if order * shift > 2000:
            continue
        true = skellam_divergence(order, shift, float(variance))
        assert true * (1 - 1e-9) <= float(skellam_rdp(order, shift, shift**2, variance))


def test_the_skellam_price_at_order_8_is_close_to_the_divergence():
    """A bound of infinity would pass the test above; the excess shrinks as the variance grows."""
    for variance, excess in ((10, 0.25), (100, 0.03), (10**4, 0.0003)):
        price = float(skellam_rdp(8, 1, 1, Fraction(variance)))
        assert price < (1 + excess) * skellam_divergence(8, 1, variance)


def test_the_skellam_price_is_not_met_by_a_smaller_variance():
    """Half the variance has a divergence above the price: the oracle can tell."""
    assert skellam_divergence(8, 1, 50.0) > float(skellam_rdp(8, 1, 1, Fraction(100)))


def test_skellam_price_is_the_published_formula_by_hand():
    # a = 8, L1 = 2, L2^2 = 4, v = 10: 16/10 + min((60 + 12) / 400, 6/20)
    assert skellam_rdp(8, 2, 4, Fraction(10)) == Fraction(16, 10) + Fraction(72, 400)
    # v = 1/2: 32 + min(72, 6)
    assert skellam_rdp(8, 2, 4, Fraction(1, 2)) == 38


def test_an_l1_looser_than_integers_allow_costs_no_more():
    """Clipping in L2 states L1 as L2 times the square root of the dimension; whole numbers have |d| <= d*d."""
    assert skellam_rdp(8, 1000, 4, Fraction(10)) == skellam_rdp(8, 4, 4, Fraction(10))


@pytest.mark.parametrize("order", [2, 8, 32])
@pytest.mark.parametrize("sigma_squared", [0.25, 1.0, 20.0, 400.0])
def test_the_gaussian_price_is_never_below_the_divergence(order, sigma_squared):
    for shift in (1, 2, 7):
        reach = order * shift + int(60 * sigma_squared**0.5)
        x = np.arange(-reach, reach + 1)
        log_p = -(x**2) / (2 * sigma_squared)
        moved = -((x - shift) ** 2) / (2 * sigma_squared)
        total = np.logaddexp.reduce(log_p)
        divergence = (np.logaddexp.reduce(order * moved + (1 - order) * log_p) - total) / (order - 1)
        assert divergence <= float(gaussian_rdp(order, shift**2, Fraction(sigma_squared))) * (1 + 1e-9)


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 64), charges, st.integers(1, 10**4), st.integers(1, 10**6))
def test_the_variance_found_is_on_the_grid_enough_and_the_smallest(order, charge, l1, l2_squared):
    variance = skellam_variance_for(order, charge + Fraction(1, 10), l1, l2_squared)
    assert (variance / GRID).denominator == 1
    assert skellam_rdp(order, l1, l2_squared, variance) <= charge + Fraction(1, 10)
    assert variance == GRID or skellam_rdp(order, l1, l2_squared, variance - GRID) > charge + Fraction(1, 10)


@given(variances, st.integers(1, 40), st.data())
def test_the_shares_of_the_honest_reach_the_variance_asked(variance, n, data):
    colluders = data.draw(st.integers(0, n - 1))
    share = share_variance(variance, n, colluders)
    assert (n - colluders) * share >= variance
    assert (n - colluders) * (share - GRID) < variance
    assert (share / GRID).denominator == 1


@given(st.fractions(min_value=0, max_value=1000))
def test_on_grid_up_is_the_next_point_of_the_grid(variance):
    assert 0 <= on_grid_up(variance) - variance < GRID


@given(st.integers(2, 32), st.integers(1, 50), st.integers(1, 500), variances)
def test_more_noise_costs_less_and_more_sensitivity_costs_more(order, l1, l2_squared, variance):
    price = skellam_rdp(order, l1, l2_squared, variance)
    assert skellam_rdp(order, l1, l2_squared, variance + GRID) < price
    assert skellam_rdp(order, l1, l2_squared + 1, variance) > price
    assert skellam_rdp(order, l1 + 1, l2_squared, variance) >= price
    assert skellam_rdp(order + 1, l1, l2_squared, variance) > price


@pytest.mark.parametrize("order", [1, 0, -8])
def test_an_order_below_2_has_no_price(order):
    with pytest.raises(InvalidPrice, match="renyi order: expected an integer of at least 2"):
        skellam_rdp(order, 1, 1, Fraction(1))


def test_negative_sensitivity_or_variance_has_no_price():
    with pytest.raises(InvalidSensitivity, match="expected l1 and l2_squared of at least 0, got -1 and 1"):
        skellam_rdp(8, -1, 1, Fraction(1))
    with pytest.raises(InvalidVariance, match="noise variance: expected above 0, got 0"):
        gaussian_rdp(8, 1, Fraction(0))


def test_a_charge_that_no_variance_meets_is_refused():
    with pytest.raises(InvalidPrice, match="charge: expected above 0, got 0"):
        skellam_variance_for(8, Fraction(0), 1, 1)
    with pytest.raises(InvalidPrice, match="no variance up to 268435456 is enough at l2_squared 1"):
        skellam_variance_for(8, Fraction(1, 10**12), 1, 1)


@pytest.mark.parametrize(("n", "colluders"), [(4, 4), (0, 0), (4, -1)])
def test_shares_without_an_honest_hospital_are_refused(n, colluders):
    with pytest.raises(InvalidVariance, match="noise shares: expected 0 <= colluders < hospitals"):
        share_variance(Fraction(1), n, colluders)


def sampled_divergence(order: int, rate: float, shift: int, variance: float) -> float:
    """The larger of both directions between noise and noise that is moved with this chance."""
    reach = 40 + 12 * order * shift + int(42 * variance**0.5)
    log_pmf, x = skellam_log_pmf(variance, reach + shift), np.arange(-reach, reach + 1)
    still = log_pmf[abs(x)]
    mixed = np.logaddexp(np.log1p(-rate) + still, np.log(rate) + log_pmf[abs(x - shift)])
    both = (order * mixed + (1 - order) * still, order * still + (1 - order) * mixed)
    return max(float(np.logaddexp.reduce(terms)) for terms in both) / (order - 1)


@pytest.mark.parametrize("order", [2, 3, 8])
@pytest.mark.parametrize("variance", [Fraction(1, 16), Fraction(1), Fraction(25), Fraction(1000)], ids=str)
def test_the_sampled_price_is_never_below_the_divergence(order, variance):
    for rate in (0.001, 0.0102, 0.1, 0.5, 0.9):
        for shift in (1, 4, 10):
            price = float(sampled_skellam_rdp(order, Fraction(rate), shift, shift**2, variance))
            assert sampled_divergence(order, rate, shift, float(variance)) * (1 - 1e-6) - 1e-12 <= price


def test_sampling_is_cheaper_than_not_and_a_rate_of_one_is_not_sampling():
    whole = skellam_rdp(8, 100, 100**2, Fraction(100**2))
    assert sampled_skellam_rdp(8, Fraction(1, 100), 100, 100**2, Fraction(100**2)) < whole / 500
    assert sampled_skellam_rdp(8, Fraction(1), 100, 100**2, Fraction(100**2)) == whole


def test_the_sampled_price_is_within_a_half_of_the_sampled_gaussians_of_dp_accounting():
    """DP-SGD's own case, noise multiplier 1.2 at rate 0.0102; the rest is the factor 3 that is proven for the Gaussian only."""
    import dp_accounting
    from dp_accounting import rdp

    accountant = rdp.RdpAccountant([8])
    accountant.compose(dp_accounting.PoissonSampledDpEvent(0.0102, dp_accounting.GaussianDpEvent(1.2)))
    gaussian = accountant._rdp[0]
    ours = float(sampled_skellam_rdp(8, Fraction(102, 10**4), 10**4, 10**8, Fraction(144, 100) * 10**8))
    assert gaussian < ours < 1.5 * gaussian


@pytest.mark.parametrize("rate", [Fraction(0), Fraction(-1, 2), Fraction(3, 2)])
def test_a_sampling_rate_that_is_no_chance_is_refused(rate):
    with pytest.raises(InvalidPrice, match="sampling rate: expected above 0 and at most 1"):
        sampled_skellam_rdp(8, rate, 1, 1, Fraction(1))
