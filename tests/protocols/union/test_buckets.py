"""What a hospital puts in: the same bucket for the same resident everywhere, never a zero where somebody is, noise of its own."""

import os

import numpy as np
import pytest

from protocols.union import BucketKey, ResidentKey, Shape, filled, place_of
from tests.protocols.union.numbers import number

KEY = ResidentKey(bytes(32))
SHAPE = Shape(cells=2, buckets=8, hospitals=3, tail=4)
NOBODY = np.array([], dtype=np.int64)


def test_a_resident_has_one_bucket_in_a_question_and_another_in_the_next() -> None:
    tags = b"".join(KEY.tag(number(person)) for person in range(200))
    first, again, other = (BucketKey.of(KEY, question).buckets_of(tags, 4096).tolist() for question in (b"a", b"a", b"b"))
    assert first == again
    # Two independent throws agree at one of 4,096; thirty of 200 would be 2^-150.
    assert sum(one == two for one, two in zip(first, other, strict=True)) < 30


@pytest.mark.statistical
def test_residents_are_thrown_evenly() -> None:
    # Chi-square over 64 buckets with 63 degrees of freedom; above 140 in 10^-7 of runs. The key is fresh in each.
    tags = b"".join(KEY.tag(number(person)) for person in range(6400))
    counts = np.bincount(BucketKey(os.urandom(32)).buckets_of(tags, 64), minlength=64)
    assert ((counts - 100) ** 2 / 100).sum() < 140


def test_a_bucket_is_filled_where_somebody_is_and_empty_where_nobody_is() -> None:
    places = place_of(SHAPE, np.array([0, 1, 1]), np.array([3, 0, 0]))
    vector = filled(SHAPE, places, 1, np.array([0, 0]), os.urandom).reshape(2, -1)
    assert np.flatnonzero(vector[0, :8]).tolist() == [3]
    assert np.flatnonzero(vector[1, :8]).tolist() == [0]
    assert vector.max() < 2**32
    assert vector.min() >= 0


@pytest.mark.parametrize("drawn", [-4, -1, 0, 3, 4])
def test_a_hospital_fills_its_own_slots_with_its_offset_and_its_noise(drawn: int) -> None:
    slots = filled(SHAPE, NOBODY, 2, np.array([drawn, 0]), os.urandom).reshape(2, -1)[0, 8:].reshape(3, -1)
    assert np.count_nonzero(slots, axis=1).tolist() == [0, 0, 4 + drawn]


def test_noise_beyond_the_tail_is_our_own_fault() -> None:
    with pytest.raises(ValueError, match="none beyond the tail"):
        filled(SHAPE, NOBODY, 0, np.array([5, 0]), os.urandom)
    with pytest.raises(ValueError, match="one draw a cell"):
        filled(SHAPE, NOBODY, 0, np.array([0]), os.urandom)


def test_a_filled_bucket_is_never_zero_even_if_the_bits_are() -> None:
    given = iter([bytes(12), bytes(4) + b"\1\0\0\0" * 2, b"\7\0\0\0"])
    vector = filled(Shape(1, 4, 1, 1), np.array([0, 1]), 0, np.array([0]), lambda size: next(given))
    assert vector.tolist() == [7, 1, 0, 0, 1, 0]


def test_buckets_are_a_power_of_two() -> None:
    with pytest.raises(ValueError, match="power of two, got 12"):
        Shape(1, 12, 4, 1)
