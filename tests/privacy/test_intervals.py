"""Intervals against the exact distribution; statements against the prices they are made of."""

import math
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from privacy.conversion import epsilon_at, exp_up
from privacy.errors import InvalidLevel, InvalidPrice
from privacy.intervals import (
    WIDE,
    Case,
    Interval,
    Release,
    ReleasedPiece,
    _critical,
    half_width,
    interval,
    ratio_interval,
    statements,
)
from privacy.rdp import skellam_rdp, skellam_variance_for
from privacy.sampler import draw
from privacy.sensitivity import Sensitivity
from privacy.tables import MAX_VARIANCE, skellam_table
from tests.privacy.ideal import SeededBits, pmf
from tests.privacy.rules import block_local, stack, whole_query

LEVELS = [Fraction(1, 2), Fraction(9, 10), Fraction(95, 100), Fraction(99, 100)]
FOUR_CELLS = block_local(4, 0, 1)
VARIANCE = skellam_variance_for(8, Fraction(1, 100), FOUR_CELLS.l1, FOUR_CELLS.l2_squared)
PIECE = ReleasedPiece(FOUR_CELLS, VARIANCE, draws=3 * 1144, distance=skellam_table(VARIANCE / 5).distance)
PATIENTS = [case for case in Case if case is not Case.ONE_RESIDENT]
RELEASE = Release(order=8, pieces=(PIECE,), n=6, colluders=1, members=7, blocks=3)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 16 * 3000).map(lambda steps: Fraction(steps, 16)), st.sampled_from(LEVELS))
def test_half_width_is_the_smallest_that_covers_by_scipys_skellam(variance, level):
    h, v = half_width(variance, level), float(variance) / 2
    assert 1 - 2 * stats.skellam.cdf(-h - 1, v, v) >= float(level) - 1e-7
    assert h == 0 or 1 - 2 * stats.skellam.cdf(-h, v, v) < float(level) + 1e-7


def test_half_width_by_hand():
    # variance 1/16: P(0) = e^(-1/16) I_0(1/16) = 0.9403, and all of -1, 0, 1 weigh 0.9990
    assert half_width(Fraction(1, 16), Fraction(94, 100)) == 0
    assert half_width(Fraction(1, 16), Fraction(95, 100)) == 1
    assert half_width(Fraction(10**6)) in (1959, 1960)


@pytest.mark.parametrize("level", LEVELS)
def test_above_the_widest_tables_the_width_is_the_normal_one_and_never_too_small(level):
    """Against a table of the same width: the smallest width that covers, or one more."""
    variance = Fraction(WIDE + 1)
    table, h = skellam_table(variance), half_width(variance, level)
    assert 1 - 2 * table.cumulative(-h - 1) >= level
    assert 1 - 2 * table.cumulative(-h + 1) < level, "two less are too few"


def test_noise_wider_than_any_table_has_an_interval_too():
    # Five hospitals' shares of a fit's widest noise add up to more than one table holds: an answer was paid for and not given.
    assert MAX_VARIANCE < 5_033_164_800
    assert half_width(Fraction(5_033_164_800)) == math.floor(1.959963984540054 * math.sqrt(5_033_164_800)) + 1
    with pytest.raises(InvalidLevel, match=r"above 0 and at most 1 - 2\^-40"):
        half_width(Fraction(WIDE + 1), Fraction(1))


@pytest.mark.statistical
def test_intervals_of_summed_shares_cover_as_often_as_they_say():
    """Seeded; the bar is 5 standard errors on both sides of the exact coverage."""
    share, n, count = Fraction(81, 4), 6, 400_000
    noise = sum(draw(skellam_table(share), count, SeededBits(seed)) for seed in range(n))
    reach = half_width(n * share)
    exact = float(1 - 2 * skellam_table(n * share).cumulative(-reach - 1))
    assert 0.95 <= exact < 0.96
    assert abs((abs(noise) <= reach).mean() - exact) < 5 * math.sqrt(exact * (1 - exact) / count)


def test_an_interval_is_symmetric_and_may_be_negative():
    assert interval(10, Fraction(100)) == Interval(-10, 30)


@pytest.mark.parametrize("level", [Fraction(0), Fraction(1), 1 - Fraction(1, 2**119)])
def test_a_level_that_no_table_can_tell_is_refused(level):
    with pytest.raises(InvalidLevel, match="level: expected above 0 and below 1"):
        half_width(Fraction(100), level)


def coverage(total: int, vt: Fraction, count: int, vc: Fraction, level: Fraction, reach: int) -> float:
    """The exact chance that the interval holds total / count, over all pairs of noise; no interval counts as holding it."""
    x, y = (draw_range(v, reach) for v in (vt, vc))
    covered = 0.0
    for noise, weight in y:
        for other, other_weight in x:
            held = ratio_interval(total + other, vt, count + noise, vc, level)
            if held is None or held.low <= total / count <= held.high:
                covered += weight * other_weight
    return covered


def draw_range(variance: Fraction, reach: int) -> list[tuple[int, float]]:
    weights = pmf(skellam_table(variance))
    middle = weights.size // 2
    return [(k, weights[middle + k]) for k in range(-min(reach, middle), min(reach, middle) + 1)]


@pytest.mark.parametrize(("total", "count"), [(30, 10), (0, 25), (-40, 40), (400, 40)])
@pytest.mark.parametrize("variance", [Fraction(1, 4), Fraction(4)])
def test_a_ratio_interval_covers_at_least_its_level(total, count, variance):
    for level in (Fraction(1, 2), Fraction(95, 100)):
        assert coverage(total, variance, count, Fraction(1), level, 15) >= float(level)


@pytest.mark.parametrize("level", LEVELS)
def test_the_rule_behind_the_ratio_interval_covers_at_every_mean_tried(level):
    """P(|X - m Y| <= z sd + (1 + m) / 2), summed exactly over both noises."""
    for vt, vc in product([Fraction(1, 4), Fraction(1), Fraction(20), Fraction(400)], repeat=2):
        z = _critical(level, vt, vc)
        below = np.concatenate([[0.0], np.cumsum(pmf(skellam_table(vt)))])
        weights, cut = pmf(skellam_table(vc)), skellam_table(vt).tail_bound
        y = np.arange(weights.size) - weights.size // 2
        for m in (0, 0.1, 0.25, 0.37, 1, 1.5, 2, 3, 10, 100.5):
            reach = z * math.sqrt(vt + m * m * vc) + (1 + m) / 2
            first, last = np.ceil(m * y - reach), np.floor(m * y + reach)
            upto = below[np.clip(last + cut + 1, 0, below.size - 1).astype(int)]
            before = below[np.clip(first + cut, 0, below.size - 1).astype(int)]
            assert (weights * (upto - before)).sum() >= float(level) - 1e-12


def test_a_ratio_interval_is_close_to_the_delta_method_where_the_count_is_large():
    held = ratio_interval(50_000, Fraction(10**4), 10_000, Fraction(100))
    expected = 1.96 * math.sqrt(10**4 + 25 * 100) / 10_000
    assert held.low < 5 < held.high
    assert (held.high - held.low) / 2 == pytest.approx(expected, rel=0.05)


@given(st.integers(-(10**6), 10**6), st.integers(30, 10**5))
def test_a_ratio_interval_of_the_opposite_total_is_its_mirror_image(total, count):
    held, mirrored = (ratio_interval(signed, Fraction(400), count, Fraction(100)) for signed in (total, -total))
    assert held.low == pytest.approx(-mirrored.high)
    assert held.high == pytest.approx(-mirrored.low)


def test_a_ratio_interval_is_wider_than_fiellers_by_half_a_step_of_both():
    """With noise of variance 1/16, which is 0 in 94 of 100 draws, half a step of total 30 and count 10 is nearly all of it."""
    held = ratio_interval(30, Fraction(1, 16), 10, Fraction(1, 16), Fraction(1, 2))
    assert (held.low, held.high) == pytest.approx((29.5 / 10.5, 30.5 / 9.5))


@pytest.mark.parametrize("count", [-50, 0, 19])
def test_a_mean_over_a_count_that_may_be_zero_has_no_interval(count):
    assert ratio_interval(5, Fraction(100), count, Fraction(100)) is None


def by_case(release: Release, delta: Fraction = Fraction(1, 10**6)) -> dict[Case, Fraction]:
    return {stated.case: stated.epsilon for stated in statements(release, [delta])}


def test_every_case_is_stated_at_both_deltas():
    stated = [(statement.case, statement.delta) for statement in statements(RELEASE)]
    assert stated == [(case, delta) for delta in (Fraction(1, 10**6), Fraction(1, 10**8)) for case in PATIENTS]


def test_a_count_of_residents_states_what_one_at_all_hospitals_pays_and_nothing_else_does():
    one = replace(RELEASE, pieces=(replace(PIECE, sensitivity=block_local(1, 0, 1), resident=block_local(1, 0, 1)),), blocks=12)
    assert by_case(one)[Case.ONE_RESIDENT] == by_case(one)[Case.ONE_HOSPITAL] < by_case(one)[Case.TWO_HOSPITALS]
    assert Case.ONE_RESIDENT not in by_case(replace(one, pieces=(*one.pieces, PIECE)))


def test_statements_are_the_prices_at_their_own_sensitivity_and_noise():
    """At order 8 alone each epsilon can only be larger; with the noise of one hospital, and at sensitivities times 2 and 3."""
    lone, stated = VARIANCE / 5, by_case(RELEASE)
    changes = {
        Case.ONE_HOSPITAL: (4, 4, VARIANCE),
        Case.TWO_HOSPITALS: (8, 16, VARIANCE),
        Case.ALL_BLOCKS: (12, 36, VARIANCE),
        Case.ALL_OTHERS_COLLUDE: (4, 4, lone),
    }
    for case, (l1, l2_squared, variance) in changes.items():
        best = min(epsilon_at(skellam_rdp(a, l1, l2_squared, variance), a, Fraction(1, 10**6)) for a in range(2, 257))
        assert best <= stated[case] < Fraction(103, 100) * best
        assert stated[case] <= epsilon_at(skellam_rdp(8, l1, l2_squared, variance), 8, Fraction(1, 10**6))


def test_a_patient_of_more_is_harmed_more():
    stated = by_case(RELEASE)
    assert all(stated[Case.ONE_HOSPITAL] < stated[case] for case in set(PATIENTS) - {Case.ONE_HOSPITAL})
    ladder = [by_case(replace(RELEASE, blocks=blocks))[Case.ALL_BLOCKS] for blocks in (1, 2, 3, 12)]
    assert ladder[0] == stated[Case.ONE_HOSPITAL]
    assert all(fewer < more for fewer, more in pairwise(ladder))


def with_piece(**changed: object) -> Release:
    return replace(RELEASE, pieces=(replace(PIECE, **changed),))


def test_a_whole_query_plan_may_state_its_patient_of_all_blocks():
    plan = replace(with_piece(sensitivity=whole_query(4, 0, 1), whole_patient=FOUR_CELLS), blocks=12)
    stated = by_case(plan)
    assert stated[Case.ALL_BLOCKS] < stated[Case.ONE_HOSPITAL]


def test_two_pieces_cost_what_both_cost_together():
    """Twice the same piece is the same change twice: as dear as one of doubled squared sensitivity."""
    twice = replace(RELEASE, pieces=(PIECE, PIECE))
    stacked = with_piece(sensitivity=stack(FOUR_CELLS, FOUR_CELLS), draws=2 * PIECE.draws)
    assert statements(twice) == statements(stacked)


def test_more_assumed_colluders_leave_each_hospital_better_hidden():
    assert by_case(replace(RELEASE, colluders=4))[Case.ALL_OTHERS_COLLUDE] < by_case(RELEASE)[Case.ALL_OTHERS_COLLUDE]


def test_the_samplers_distance_is_stated_beside_delta():
    stated = statements(RELEASE)[0]
    assert stated.sampler_delta == 7 * 3 * 1144 * PIECE.distance * (1 + exp_up(stated.epsilon))
    assert 0 < stated.sampler_delta < Fraction(1, 10**28)


@pytest.mark.parametrize("broken", [{"blocks": 0}, {"pieces": ()}, {"members": 5}])
def test_a_release_without_blocks_pieces_or_members_is_refused(broken):
    with pytest.raises(InvalidPrice, match="release: expected a piece, a block, and no fewer members"):
        statements(replace(RELEASE, **broken))


def test_sensitivity_of_nothing_costs_nothing_but_the_conversion():
    assert by_case(with_piece(sensitivity=Sensitivity(0, 0)))[Case.TWO_HOSPITALS] <= Fraction(3, 100)
