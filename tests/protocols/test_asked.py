"""What both sides derive from a signed query before anybody counts."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.asked import MAX_PATIENTS, Asked, variance_of, variance_text
from protocols.errors import MalformedBytes
from protocols.query import QueryError
from tests.protocols.examples import SPEC, query


def test_a_table_query_gives_its_shape():
    asked = Asked.of(query())
    assert (asked.table, asked.blocks, asked.dimension, asked.variances) == ("visits", ("2026-11",), 4, (1600,))
    (piece,) = asked.pieces
    assert (piece.length, piece.l1, piece.l2_squared, piece.variance) == (4, 4, 4, Fraction(100))
    assert piece.cell_max == MAX_PATIENTS


def test_each_measure_has_its_own_piece_and_variance():
    asked = Asked.of(query(spec={**SPEC, "measures": [{"kind": "count", "hi": 3}, {"kind": "count_distinct_person"}]},
                           variances=("100.0000", "0.0625")))  # fmt: skip
    assert [piece.variance for piece in asked.pieces] == [Fraction(100), Fraction(1, 16)]
    assert asked.variances == (1600, 1)
    assert [piece.cell_max for piece in asked.pieces] == [3 * MAX_PATIENTS, MAX_PATIENTS]
    assert asked.dimension == 8


@pytest.mark.parametrize("count", [0, 2, 3])
def test_there_is_one_variance_for_each_segment(count):
    with pytest.raises(MalformedBytes, match=f"expected 1 variances, one a segment, got {count}"):
        Asked.of(query(variances=("100.0000",) * count))


@pytest.mark.parametrize("text", ["0.0000", "0.0001", "0.0313", "1.0626"])
def test_a_variance_that_is_zero_or_off_the_grid_is_refused(text):
    with pytest.raises(MalformedBytes, match="positive and a multiple of 1/16"):
        Asked.of(query(variances=(text,)))


@pytest.mark.parametrize("rounds", [0, 2, 50])
def test_a_table_query_has_one_round(rounds):
    with pytest.raises(MalformedBytes, match=f"a table query has 1 round, got {rounds}"):
        Asked.of(query(rounds=rounds))


def test_a_spec_that_is_none_is_refused():
    with pytest.raises(QueryError):
        Asked.of(query(spec={"table": "visits"}))


@given(st.integers(1, 16 * 10**18 - 1))  # eighteen digits before the point, as a statement holds them
def test_every_variance_on_the_grid_has_one_text(steps):
    variance = Fraction(steps, 16)
    assert variance_of(variance_text(variance)) == variance


def test_a_variance_off_the_grid_has_no_text():
    with pytest.raises(ValueError, match="not on the grid of 1/16"):
        variance_text(Fraction(1, 3))
