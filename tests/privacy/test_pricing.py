"""The price of a whole release, and the room its sum needs in the ring."""

import math
from dataclasses import dataclass
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.filter import CHARGE_GRID, charge_on_grid
from privacy.pricing import price, prices, reach
from privacy.rdp import share_variance, skellam_rdp
from privacy.subsampling import rate_of, sampled_skellam_rdp
from privacy.tables import skellam_table


@dataclass(frozen=True)
class Stretch:
    l1: int
    l2_squared: int
    variance: Fraction
    cell_max: int
    rate: Fraction = Fraction(1)
    repeats: int = 1
    once: tuple[int, int] | None = None


COUNT = Stretch(4, 4, Fraction(1601), 5_000_000)
STAY = Stretch(120, 3600, Fraction(10**6), 150_000_000)


def test_a_piece_costs_its_price_on_the_grid_and_a_second_hospital_four_times_the_squares():
    priced = price(8, [COUNT])
    assert priced.one == charge_on_grid(skellam_rdp(8, 4, 4, COUNT.variance))
    assert priced.two == charge_on_grid(skellam_rdp(8, 8, 16, COUNT.variance))


@given(st.lists(st.sampled_from([COUNT, STAY]), min_size=1, max_size=6), st.integers(2, 64))
def test_pieces_add_up_and_are_rounded_up_once(pieces, order):
    apart = sum(skellam_rdp(order, piece.l1, piece.l2_squared, piece.variance) for piece in pieces)
    assert apart <= price(order, pieces).one < apart + CHARGE_GRID
    assert price(order, pieces).two > 3 * price(order, pieces).one


def test_no_sum_of_honest_members_passes_the_reach():
    members, n, colluders = 7, 6, 1
    tail = skellam_table(share_variance(STAY.variance, n, colluders)).tail_bound
    assert reach(members, n, colluders, [COUNT, STAY]) == members * (STAY.cell_max + tail)


def test_a_round_that_samples_secretly_costs_less_and_a_second_hospital_is_sampled_once_more():
    sampled = Stretch(1000, 10**6, Fraction(9 * 10**6), 10**9, Fraction(3, 100))
    everybody = Stretch(1000, 10**6, Fraction(9 * 10**6), 10**9)
    assert price(8, [sampled], 50).one == charge_on_grid(50 * sampled_skellam_rdp(8, sampled.rate, 1000, 10**6, sampled.variance))
    assert price(8, [sampled], 50).one < price(8, [everybody], 50).one / 100
    either = 1 - Fraction(97, 100) ** 2
    assert price(8, [sampled]).two == charge_on_grid(sampled_skellam_rdp(8, either, 2000, 4 * 10**6, sampled.variance))


@pytest.mark.parametrize("rate", [Fraction(1, 50), Fraction(1, 4)])
def test_a_patient_of_two_hospitals_who_is_sampled_in_each_loses_no_more_than_is_charged(rate):
    """The divergence itself, both ways: she is in neither, in one or in both, each by a coin of its own."""
    order, shift, variance = 4, 2, Fraction(30)
    table = skellam_table(variance)
    law = [float(table.cumulative(x) - table.cumulative(x - 1)) for x in range(-60, 61)]
    apart = {0: (1 - rate) ** 2, shift: 2 * rate * (1 - rate), 2 * shift: rate**2}
    mixed = [sum(float(p) * (law[x - s] if 0 <= x - s < len(law) else 0.0) for s, p in apart.items()) for x in range(len(law))]
    inside = range(8, len(law) - 8)
    there = math.log(math.fsum(law[x] * (mixed[x] / law[x]) ** order for x in inside)) / (order - 1)
    back = math.log(math.fsum(mixed[x] * (law[x] / mixed[x]) ** order for x in inside)) / (order - 1)
    charged = sampled_skellam_rdp(order, rate_of(2, rate), 2 * shift, 4 * shift**2, variance)
    assert max(there, back) <= charged


def test_local_steps_are_so_many_releases_and_a_patient_of_one_round_pays_for_that_one():
    step = Stretch(5000, 10**6, Fraction(9 * 10**6), 10**9)
    local = Stretch(5000, 10**6, Fraction(9 * 10**6), 10**9, repeats=5)
    assert price(8, [local], 10).one == price(8, [step], 50).one
    # Ten times the square, once: what everybody else pays in ten rounds, to the last digit where L1 grows no faster.
    sharp = Stretch(5000, 10**6, Fraction(9 * 10**6), 10**9, once=(3162, 3162**2))
    assert price(8, [sharp], 10) == price(8, [step], 10)
    sharper = Stretch(5000, 10**6, Fraction(9 * 10**6), 10**9, once=(10_000, 10**8))
    assert price(8, [sharper], 10).one == charge_on_grid(skellam_rdp(8, 10_000, 10**8, step.variance))
    assert price(8, [sharper], 10).two == charge_on_grid(skellam_rdp(8, 20_000, 4 * 10**8, step.variance))


def test_who_is_held_out_is_not_sampled_and_pays_so():
    sampled = Stretch(5000, 10**6, Fraction(9 * 10**6), 10**9, Fraction(1, 100), once=(1000, 10**6))
    assert price(8, [sampled], 2).one == charge_on_grid(skellam_rdp(8, 1000, 10**6, sampled.variance))


@given(st.lists(st.integers(1, 1024), min_size=1, max_size=12), st.integers(1, 9), st.integers(1, 9), st.integers(2, 64))
def test_a_block_pays_the_published_price_of_how_far_its_weight_moves_the_sum(weights, l1, clamp, order):
    """Each by itself, rounded up; the largest pays the price of the whole release, a smaller weight never more than a larger."""
    top, variance = max(weights), Fraction(40_000)
    piece = Stretch(top * l1 * clamp, top**2 * l1 * clamp**2, variance, 10**6)
    paid = prices(order, [piece, piece], weights)
    for weight, each in zip(weights, paid, strict=True):
        for copies, charged in ((1, each.one), (2, each.two)):
            moved = copies * weight
            assert charged == charge_on_grid(2 * skellam_rdp(order, moved * l1 * clamp, moved**2 * l1 * clamp**2, variance))
    assert max(paid, key=lambda each: each.one) == price(order, [piece, piece])
    by_weight = [each.one for _, each in sorted(zip(weights, paid, strict=True), key=lambda pair: pair[0])]
    assert by_weight == sorted(by_weight)
