"""The two rules of bounding against every pair of neighbours that small bounds allow."""

from itertools import combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.errors import InvalidSensitivity
from privacy.sensitivity import Sensitivity
from tests.privacy.rules import block_local, stack, whole_query

RANGES = [(0, 1), (-1, 1), (0, 2), (-2, 0), (-1, 2)]
DOMAIN = 3


def contributions(cells: int, lo: int, hi: int) -> list[tuple[int, ...]]:
    """Every vector over the domain that a patient of at most `cells` cells, each clamped, can put in."""
    vectors = set()
    for kept in combinations(range(DOMAIN), cells):
        for values in product(range(lo, hi + 1), repeat=cells):
            vector = [0] * DOMAIN
            for cell, value in zip(kept, values, strict=True):
                vector[cell] = value
            vectors.add(tuple(vector))
    return sorted(vectors)


def change(before: tuple[int, ...], after: tuple[int, ...]) -> tuple[int, int]:
    differences = [b - a for a, b in zip(before, after, strict=True)]
    return sum(map(abs, differences)), sum(d * d for d in differences)


@pytest.mark.parametrize("cells", [1, 2, 3])
@pytest.mark.parametrize(("lo", "hi"), RANGES)
def test_block_local_is_reached_and_never_passed_by_removing_a_block(cells, lo, hi):
    nothing = (0,) * DOMAIN
    changes = [change(vector, nothing) for vector in contributions(cells, lo, hi)]
    bound = block_local(cells, lo, hi)
    assert max(l1 for l1, _ in changes) == bound.l1
    assert max(l2 for _, l2 in changes) == bound.l2_squared


@pytest.mark.parametrize("cells", [1, 2, 3])
@pytest.mark.parametrize(("lo", "hi"), RANGES)
def test_whole_query_is_never_passed_by_any_change_of_a_patients_cells(cells, lo, hi):
    possible = contributions(cells, lo, hi)
    bound = whole_query(cells, lo, hi)
    changes = [change(before, after) for before in possible for after in possible]
    assert max(l1 for l1, _ in changes) <= bound.l1
    assert max(l2 for _, l2 in changes) <= bound.l2_squared


def test_whole_query_is_reached_where_the_domain_lets_every_cell_move():
    possible = contributions(1, 0, 2)
    changes = [change(before, after) for before in possible for after in possible]
    bound = whole_query(1, 0, 2)
    assert (max(l1 for l1, _ in changes), max(l2 for _, l2 in changes)) == (bound.l1, bound.l2_squared) == (4, 8)


@pytest.mark.parametrize(("lo", "hi"), RANGES)
def test_two_hospitals_move_the_same_cells_twice_at_most(lo, hi):
    possible = contributions(2, lo, hi)
    twice = block_local(2, lo, hi).times(2)
    for one, other in product(possible, possible):
        l1, l2_squared = change((0,) * DOMAIN, tuple(a + b for a, b in zip(one, other, strict=True)))
        assert l1 <= twice.l1
        assert l2_squared <= twice.l2_squared


def test_a_count_of_four_cells_and_a_stay_of_thirty_days_by_hand():
    assert block_local(4, 0, 1) == Sensitivity(4, 4)
    assert block_local(4, 0, 30) == Sensitivity(120, 3600)
    assert whole_query(4, 0, 1) == Sensitivity(8, 8)
    assert whole_query(4, -1, 1) == Sensitivity(8, 16)


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), max_size=6))
def test_stacked_aggregates_add_up(parts):
    stacked = stack(*(Sensitivity(*part) for part in parts))
    assert stacked == Sensitivity(sum(l1 for l1, _ in parts), sum(l2 for _, l2 in parts))


def test_a_negative_bound_is_refused():
    with pytest.raises(InvalidSensitivity, match="sensitivity: expected at least 0, got l1 -1"):
        Sensitivity(-1, 1)
