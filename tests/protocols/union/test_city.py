"""A resident of three hospitals counts once: hospitals, masks, seeds and zero test together, whatever the overlap."""

import os
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from protocols.secagg.masks import seed_stream_sum
from protocols.union import BucketKey
from protocols.union.buckets import RING
from tests.protocols.union.numbers import number
from tests.protocols.union.parties import Union

SMALL = Fraction(1, 4)


def _expected(union: Union) -> list[int]:
    """Filled buckets of each cell by a second way: sets of buckets of the persons themselves."""
    key = BucketKey.of(union.key, union.u)
    cells: list[set[int]] = [set() for _ in range(union.cells)]
    for mine in union.hospitals:
        for cell, resident in mine:
            cells[cell].add(int(key.buckets_of(union.key.tag(resident), union.buckets)[0]))
    return [len(buckets) for buckets in cells]


def test_a_resident_of_three_hospitals_counts_once() -> None:
    shared = [(0, number(person)) for person in range(5)]
    own = [[(0, number(100 * hospital + k)) for k in range(4)] for hospital in range(1, 4)]
    union = Union([[*shared, *mine] for mine in own], buckets=512, variance=SMALL)
    values = np.array(union.values()) - union.all_noise()
    assert values.tolist() == _expected(union)
    # 17 residents and 27 patients; of the 136 pairs five or more share a bucket of 512 in fewer than one of 10^5 runs.
    assert 13 <= values[0] <= 17


def test_a_spelling_does_not_make_two_of_one() -> None:
    resident = number(77)
    union = Union([[(0, resident)], [(0, f" {resident[:6]}-{resident[6:]}")], []], variance=SMALL)
    assert (np.array(union.values()) - union.all_noise()).tolist() == [1]


_patients = some.lists(some.tuples(some.integers(0, 1), some.integers(0, 9).map(number)), max_size=8)


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(some.lists(_patients, min_size=2, max_size=3))
def test_any_overlap_comes_out_as_the_or_of_the_hospitals(hospitals: list[list[tuple[int, str]]]) -> None:
    union = Union(hospitals, cells=2, buckets=16, variance=Fraction(1, 16))
    assert (np.array(union.values()) - union.all_noise()).tolist() == _expected(union)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(some.lists(_patients, min_size=2, max_size=4), some.integers(0, 9))
def test_one_resident_of_the_whole_city_moves_each_cell_by_at_most_one(hospitals: list[list[tuple[int, str]]], person: int) -> None:
    """The neighbours of the promise: all of one resident's records at all hospitals. Before noise, on hospitals' own vectors."""
    without = [[each for each in mine if each[1] != number(person)] for mine in hospitals]
    union = Union(hospitals, cells=2, buckets=16, variance=Fraction(1, 16))
    neighbour = Union(without, cells=2, buckets=16, variance=Fraction(1, 16), key=union.key, u=union.u)
    for cell in range(2):
        moved = _filled(union, cell) - _filled(neighbour, cell)
        assert moved in {0, 1}


def _filled(union: Union, cell: int) -> int:
    total = sum(union.vector(hospital) for hospital in range(len(union.hospitals)))
    width = union.shape.width
    return int(np.count_nonzero(np.asarray(total)[cell * width : cell * width + union.buckets] % 2**32))


def test_a_city_told_two_bindings_gets_garbage() -> None:
    union = Union([[(0, number(1))], [], []], variance=SMALL)
    wrong = seed_stream_sum(union.seeds, union.shape.dimension, RING, os.urandom(32))
    left = np.count_nonzero(union.masked_sum() - wrong)
    assert left > union.shape.dimension - 3  # false alarm: three of some hundred words are zero, below 2^-70


@pytest.mark.parametrize("hospitals", [2, 5])
def test_released_numbers_hold_the_noise_of_all_hospitals_and_the_auditor(hospitals: int) -> None:
    union = Union([[] for _ in range(hospitals)], cells=3, buckets=2, variance=SMALL)
    assert union.values() == union.all_noise().tolist()
