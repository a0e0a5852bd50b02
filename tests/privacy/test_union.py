"""From filled buckets back to residents: unbiased, with intervals that cover as often as they say, and errors as announced."""

import math
from fractions import Fraction

import numpy as np
import pytest

from privacy.errors import InvalidVariance
from privacy.rdp import share_variance
from privacy.sampler import draw
from privacy.tables import skellam_table
from privacy.union import distinct, relative_sd, total_variance

RUNS = 1500


def _filled(residents: int, buckets: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Occupied buckets in many throws."""
    random = np.random.default_rng()
    throws = (random.integers(0, buckets, residents) for _ in range(RUNS))
    return np.array([np.count_nonzero(np.bincount(each, minlength=buckets)) for each in throws], dtype=np.int64)


@pytest.mark.statistical
@pytest.mark.parametrize(("residents", "buckets"), [(0, 256), (40, 256), (900, 1024), (3000, 1024)])
def test_estimates_are_right_on_average_and_intervals_cover_as_they_say(residents: int, buckets: int) -> None:
    variance = total_variance(Fraction(16), 6, 6, 1)
    found = [distinct(int(each), buckets, variance) for each in _filled(residents, buckets) + draw(skellam_table(variance), RUNS)]
    kept = [each for each in found if each is not None]
    assert len(kept) >= RUNS * 0.99
    covered = np.mean([each.low <= residents and (each.high is None or residents <= each.high) for each in kept])
    # Five standard errors of a binomial at 95 %, an alarm in 3.5 million runs; normal ends cover up to 98 % where noise is small.
    assert 0.95 - 5 * math.sqrt(0.95 * 0.05 / RUNS) - 0.005 < covered < 0.985
    if residents < 2 * buckets:
        values = np.array([each.value for each in kept])
        sd = values.std()
        # The estimate bends: a bias of about var * slope / (2 m), allowed for by a tenth of a deviation.
        assert abs(values.mean() - residents) < 5 * sd / math.sqrt(RUNS) + sd / 10
        if residents:
            # A deviation over n runs is off by 1/sqrt(2n) of itself, 2 %; five of them and the bend.
            assert sd / residents == pytest.approx(relative_sd(residents, buckets, variance), rel=0.16)


def test_nobody_is_nobody_without_noise_to_say_otherwise() -> None:
    found = distinct(0, 4096, Fraction(1, 16))
    assert found is not None
    assert found.value == 0
    assert found.low < 0 < (found.high or 0)


def test_full_buckets_say_nothing() -> None:
    assert distinct(64, 64, Fraction(4)) is None
    assert distinct(80, 64, Fraction(4)) is None
    nearly = distinct(63, 64, Fraction(4))
    assert nearly is not None
    assert nearly.high is None


def test_a_released_number_holds_the_noise_of_both_sides() -> None:
    assert total_variance(Fraction(16), 6, 6, 1) == 16 + 6 * share_variance(Fraction(16), 6, 1)


def test_an_interval_needs_noise() -> None:
    with pytest.raises(InvalidVariance, match="expected above 0, got 0"):
        distinct(3, 64, Fraction(0))


@pytest.mark.parametrize(
    ("residents", "buckets", "percent"),
    [(1_000, 4096, 2.0), (10_000, 16_384, 0.65), (10_000, 65_536, 0.33), (100_000, 65_536, 0.37)],
)
def test_the_errors_that_the_page_states_are_the_formula_s(residents: int, buckets: int, percent: float) -> None:
    """`DISTINCT.md`, table of errors: twelve hospitals, c = 3, epsilon about 1 (variance 64) for the question."""
    variance = total_variance(Fraction(64), 12, 12, 3)
    assert 100 * relative_sd(residents, buckets, variance) == pytest.approx(percent, rel=0.05)
