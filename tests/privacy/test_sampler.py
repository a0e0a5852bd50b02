"""Every sampler against the exact distribution, and the comparison on 128 bits against plain integers.

False alarms: the bits of the statistical tests come from a seeded stream, so a run repeats exactly. The two-sided bars are set
as if they did not: each of the 12 chi-square tests alarms with probability 2e-6, each moment bar lies at 5 standard errors.
"""

import os
from bisect import bisect_right
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy import sampler
from privacy.sampler import draw
from privacy.tables import NoiseTable, discrete_gaussian_table, skellam_table
from tests.privacy.ideal import SeededBits, chi_square_p, pmf

VARIANCES = [Fraction(1, 16), Fraction(1), Fraction(5, 3), Fraction(100), Fraction(6405, 16), Fraction(10**6)]
BUILDERS = [skellam_table, discrete_gaussian_table]
TAIL = 1e-6


class GivenBits:
    """Hands out exactly these bytes, as often as asked for this many."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = list(answers)

    def __call__(self, size: int, /) -> bytes:
        answer = self._answers.pop(0)
        assert len(answer) == size
        return answer


def one_draw(table: NoiseTable, number: int) -> int:
    """What the sampler makes of this 128-bit number."""
    top, rest = number >> 112, (number & ((1 << 112) - 1))
    high_rest, low = (rest >> 64) << 16, rest & (2**64 - 1)  # the 16 lowest of the 64 fresh bits are not used
    fresh = high_rest.to_bytes(8, "little") + low.to_bytes(8, "little")
    return int(draw(table, 1, GivenBits(top.to_bytes(2, "little"), fresh))[0])


def plain(table: NoiseTable, number: int) -> int:
    edges = [table.boundary(index) for index in range(table.high.size)]
    return bisect_right(edges, number) - table.tail_bound


@pytest.mark.statistical
@pytest.mark.parametrize("variance", VARIANCES, ids=str)
@pytest.mark.parametrize("build", BUILDERS)
def test_draws_follow_the_exact_distribution_neither_too_far_nor_too_well(build, variance):
    table = build(variance)
    p = chi_square_p(draw(table, 4_000_000, SeededBits(7)), pmf(table))
    assert TAIL < p < 1 - TAIL


@pytest.mark.statistical
@pytest.mark.parametrize("variance", [Fraction(1), Fraction(100), Fraction(10**6)], ids=str)
def test_moments_and_tails_of_the_draws_are_those_of_the_distribution(variance):
    count = 4_000_000
    values = draw(skellam_table(variance), count, SeededBits(11)).astype(float)
    v, fourth = float(variance), float(3 * variance**2 + variance)  # Skellam: fourth central moment 3 v^2 + v
    assert abs(values.mean()) < 5 * (v / count) ** 0.5
    assert abs((values**2).mean() - v) < 5 * ((fourth - v**2) / count) ** 0.5
    for sign in (1, -1):
        beyond = float(skellam_table(variance).cumulative(-int(3 * v**0.5) - 1))
        seen = (sign * values > int(3 * v**0.5)).mean()
        assert abs(seen - beyond) < 5 * (beyond / count) ** 0.5


@pytest.mark.statistical
def test_the_chi_square_catches_noise_that_is_a_hundredth_too_small_and_noise_that_is_too_regular():
    """The test above must be able to fail, on both sides."""
    ideal = pmf(skellam_table(Fraction(100)))
    reach = (ideal.size - 1) // 2
    narrow = draw(skellam_table(Fraction(99)), 4_000_000, SeededBits(3))
    regular = np.repeat(np.arange(-reach, reach + 1), np.round(ideal * 4_000_000).astype(int))
    assert abs(narrow).max() <= reach
    assert chi_square_p(narrow, ideal) < TAIL
    assert chi_square_p(regular, ideal) > 1 - TAIL


@pytest.mark.statistical
def test_operating_system_bits_give_the_same_distribution():
    """Not seeded: alarms falsely once in 500,000 runs."""
    table = skellam_table(Fraction(100))
    assert TAIL < chi_square_p(draw(table, 2_000_000), pmf(table)) < 1 - TAIL


@pytest.mark.statistical
def test_draws_follow_opendps_exact_discrete_gaussian():
    """Oracle: OpenDP's rational sampler, 40,000 of its draws by chi-square against our table; false alarm 2e-6, not seeded."""
    dp = pytest.importorskip("opendp.prelude")
    dp.enable_features("contrib")
    space = dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T="f64")
    measurement = dp.m.make_gaussian(*space, scale=4.5)
    theirs = np.array(measurement([0] * 40_000))
    assert TAIL < chi_square_p(theirs, pmf(discrete_gaussian_table(Fraction(81, 4)))) < 1 - TAIL


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([Fraction(1, 16), Fraction(1), Fraction(100), Fraction(6405, 16)]),
    st.sampled_from(BUILDERS),
    st.integers(0, 2**128 - 1),
)
def test_any_128_bit_number_becomes_the_value_of_its_interval(variance, build, number):
    table = build(variance)
    if table.guide[number >> 112] != table.unsettled:
        assert int(table.guide[number >> 112]) == plain(table, number)
    else:
        assert one_draw(table, number) == plain(table, number)


@pytest.mark.parametrize("build", BUILDERS)
def test_numbers_at_and_just_below_every_boundary_fall_on_its_two_sides(build):
    """The tie-break: these differ from the boundary in the lowest of 128 bits."""
    table = build(Fraction(100))
    for index in range(table.high.size):
        edge = table.boundary(index)
        assert one_draw(table, edge) == plain(table, edge)
        assert one_draw(table, edge - 1) == plain(table, edge - 1) < plain(table, edge)


def test_the_extreme_numbers_give_the_extreme_values():
    table = skellam_table(Fraction(100))
    assert one_draw(table, 0) == -table.tail_bound
    assert one_draw(table, 2**128 - 1) == table.tail_bound


@pytest.mark.parametrize("build", BUILDERS)
@pytest.mark.parametrize("variance", VARIANCES, ids=str)
def test_the_guide_settles_only_what_one_interval_holds(build, variance):
    table = build(variance)
    edges = [table.boundary(index) for index in range(table.high.size)]
    for top in [*range(0, 65536, 97), 1, 65534, 65535]:
        first, last = bisect_right(edges, top << 112), bisect_right(edges, ((top + 1) << 112) - 1)
        if table.guide[top] != table.unsettled:
            assert first == last == table.guide[top] + table.tail_bound


@pytest.mark.parametrize("count", [0, 1, sampler.CHUNK - 1, sampler.CHUNK, 2 * sampler.CHUNK + 3])
def test_any_count_is_drawn_in_full(count):
    values = draw(skellam_table(Fraction(10**6)), count, SeededBits(5))
    assert values.shape == (count,)
    assert values.dtype == np.int64
    assert count < 1000 or len(set(values[-1000:].tolist())) > 500


def test_draws_across_a_chunk_border_are_independent():
    values = draw(skellam_table(Fraction(10**6)), 2 * sampler.CHUNK, SeededBits(5))
    assert not np.array_equal(values[: sampler.CHUNK], values[sampler.CHUNK :])


def test_forked_processes_do_not_repeat_each_other():
    table = skellam_table(Fraction(10**6))
    draw(table, 1000)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, draw(table, 1000).tobytes())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = np.frombuffer(os.read(reader, 8000), dtype=np.int64)
    os.close(reader)
    os.close(writer)
    assert (theirs == draw(table, 1000)).mean() < 0.05


def test_nothing_in_the_package_can_be_seeded():
    for source in Path(sampler.__file__).parent.glob("*.py"):
        text = source.read_text()
        assert "np.random" not in text
        assert "import random" not in text
