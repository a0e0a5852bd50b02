"""What one (patient, block) can do to a training sum, whatever its gradient is; and who takes part is not to be guessed."""

import math
import os
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.extra import numpy as arrays

from hospital_node.errors import GradientError
from hospital_node.fits.bounded import Bound, as_integers, chosen, summed

WIDTHS = some.integers(1, 40)
_float = some.floats(allow_nan=True, allow_infinity=True, width=64)
_rows = some.tuples(some.integers(1, 12), WIDTHS).flatmap(lambda shape: arrays.arrays(np.float64, shape, elements=_float))


def _bound(width: int, clip: float = 1.5, scale: int = 100) -> Bound:
    return Bound(width, clip, scale)


def _reach_squared(bound: Bound) -> int:
    """As a training states it (`protocols.fits.training`)."""
    return (math.ceil(bound.clip * bound.scale) + (math.isqrt(bound.width - 1) + 2) // 2) ** 2


@given(rows=_rows, left_out=some.integers(0, 11))
@settings(deadline=None, max_examples=400)
def test_one_patients_block_moves_the_sum_by_no_more_than_its_reach(rows: np.ndarray, left_out: int) -> None:
    bound = _bound(rows.shape[1])
    without = np.delete(rows, left_out % len(rows), axis=0)
    moved = [int(each) for each in summed(rows, bound) - summed(without, bound)]
    assert sum(each**2 for each in moved) <= _reach_squared(bound)


@given(rows=_rows)
@settings(deadline=None, max_examples=200)
def test_a_rows_integers_do_not_depend_on_who_else_is_there(rows: np.ndarray) -> None:
    bound = _bound(rows.shape[1])
    alone = [as_integers(row[None, :], bound)[0] for row in rows]
    assert np.array_equal(as_integers(rows, bound), alone)
    assert np.array_equal(as_integers(np.asfortranarray(rows), bound), alone)


def test_a_gradient_within_the_clip_keeps_its_value_to_half_a_unit() -> None:
    bound = Bound(3, 2.0, 1000)
    row = np.array([[0.5, -1.0, 0.25]])
    assert np.abs(as_integers(row, bound)[0] / bound.scale - row[0]).max() <= 0.51 / bound.scale
    longer = as_integers(row * 1e6, bound)[0] / bound.scale
    assert np.linalg.norm(longer) == pytest.approx(2.0, rel=2e-3)
    assert longer / np.linalg.norm(longer) == pytest.approx(row[0] / np.linalg.norm(row), abs=2e-3)


def test_what_is_not_finite_counts_as_zero_and_stops_nobody_else() -> None:
    rows = np.array([[1.0, 1.0], [np.nan, 1.0], [np.inf, 0.0], [1.0, -np.inf]])
    assert np.array_equal(summed(rows, _bound(2)), summed(rows[:1], _bound(2)))


@pytest.mark.parametrize(
    "gradients",
    [np.zeros(3), np.zeros((2, 4)), np.zeros((2, 3), np.int64), np.zeros((2, 3), np.float16), np.zeros((2, 3), complex)],
)
def test_gradients_of_another_shape_or_type_are_an_error_that_shows_no_number(gradients: np.ndarray) -> None:
    with pytest.raises(GradientError, match="expected"):
        as_integers(gradients, _bound(3))


def test_everybody_or_nobody_is_chosen_at_the_ends() -> None:
    assert chosen(5, Fraction(1), os.urandom).all()
    assert not chosen(1000, Fraction(1, 2**64), os.urandom).any()


@pytest.mark.statistical
def test_each_takes_part_with_the_stated_chance_and_for_itself() -> None:
    """False alarm below 1e-6: five standard deviations, twice."""
    rate, count, rounds = Fraction(3, 100), 20_000, 20
    masks = np.array([chosen(count, rate, os.urandom) for _ in range(rounds)])
    sd = math.sqrt(count * rounds * rate * (1 - rate))
    assert abs(masks.sum() - count * rounds * rate) < 5 * sd
    together = int((masks[:, ::2] & masks[:, 1::2]).sum())
    assert abs(together - count * rounds / 2 * rate**2) < 5 * math.sqrt(count * rounds / 2 * rate**2)


def test_the_batch_is_drawn_from_the_given_randomness_anew_each_time() -> None:
    asked = []

    def random(size: int) -> bytes:
        asked.append(size)
        return os.urandom(size)

    first, second = chosen(256, Fraction(1, 2), random), chosen(256, Fraction(1, 2), random)
    assert asked == [2048, 2048]
    assert not np.array_equal(first, second)
