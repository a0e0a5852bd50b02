"""Pieces of a table: the same numbers in whatever order the rows come, and no patient cut in two."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hospital_node.plan import execute, packing
from hospital_node.plan.packing import PackedRows, above, cell_bits, runs
from protocols.query import QuerySpec, Table
from tests.hospital_node.plan import oracle
from tests.hospital_node.plan.records import Hospital, Records, Row

KEY = b"the key of one period of a node!"
MEASURES = [
    {"kind": "count"},
    {"kind": "count_distinct_person"},
    {"kind": "avg", "column": "value", "lo": "0", "hi": "9", "scale": 10},
]


def rows_of(people: list[int]) -> tuple[Row, ...]:
    """Many rows of few patients over three months and districts, some in none."""
    districts = ("440103", "440106", "440118", "000000")
    return tuple(
        Row(person, date(2026, 1 + n % 3, 1 + n * 5 % 28), {"district": districts[n % 4], "value": n % 7})
        for n, person in enumerate(people)
    )


@pytest.mark.parametrize("size", [1, 7, 64])
def test_pieces_answer_as_the_reference_does_in_order_and_out_of_order(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "ROWS_IN_A_PIECE", size)
    monkeypatch.setattr(packing, "_ROWS_DEALT_AT_ONCE", 3 * size)
    spec = QuerySpec.from_fields(
        {
            "table": "measurements",
            "measures": MEASURES,
            "keys": [{"key": "iso_week"}, {"key": "district"}],
            "period": {"from": "2026-01-01", "to": "2026-04-01"},
            "cells_per_patient": 2,
        }
    )
    people = [5] * 40 + [6] * 3 + [9] * 60 + list(range(10, 60))
    in_order = Records(Table.MEASUREMENTS, rows_of(people))
    shuffled = np.random.default_rng(size).permutation(len(people))
    mixed = Records(Table.MEASUREMENTS, tuple(in_order.rows[n] for n in shuffled))
    expected = oracle.answer(spec, in_order, KEY)
    assert list(execute(spec, Hospital().hold(in_order), KEY)) == expected
    assert list(execute(spec, Hospital().hold(mixed), KEY)) == expected


def test_a_piece_holds_whole_patients_in_order_and_nobody_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "ROWS_IN_A_PIECE", 10)
    people = np.sort(np.random.default_rng(4).integers(-3, 9, 200))
    rows = PackedRows.of(people, np.arange(200) % 5, None, blocks=1, cells=4)
    pieces = [piece.keys.copy() for piece in rows.pieces()]
    seen = [set(rows.packing.person_id(keys).tolist()) for keys in pieces]
    assert len(pieces) > 5
    assert sum(map(len, seen)) == len(set().union(*seen))
    assert all((np.diff(keys) >= 0).all() for keys in pieces)
    assert sum(map(len, pieces)) == 160  # the rows of "cell" 4 lie in no cell


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.one_of(st.integers(0, 40), st.integers(0, 2**20), st.just(2**40)), min_size=1, max_size=200),
    st.integers(1, 20),
    st.integers(1, 60),
    st.booleans(),
)
def test_rows_are_dealt_into_whole_patients_in_order_and_lose_nothing(
    people: list[int], most: int, at_once: int, plain: bool
) -> None:
    """Also where one patient has most of the rows, and where one number is far from all others."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(packing, "ROWS_IN_A_PIECE", most)
        patched.setattr(packing, "_ROWS_DEALT_AT_ONCE", at_once)
        person, place, value = np.array(people), np.arange(len(people)) % 3, np.arange(len(people))
        more = {} if plain else {"category_sex": value.astype(np.int8)}
        marks = None if plain else (value % 4).astype(np.uint8)
        rows = PackedRows.of(person, place, None if plain else value, blocks=1, cells=3, marks=marks, more=more)
        pieces = list(rows.pieces())
    keys = np.concatenate([piece.keys for piece in pieces])
    assert keys.dtype == np.int64
    assert keys.tolist() == sorted(((person - min(people)) << 2 | place).tolist())
    owners = [set(rows.packing.person_id(piece.keys).tolist()) for piece in pieces]
    assert sum(map(len, owners)) == len(set(people))
    assert all(len(piece.keys) <= 2 * most or len(owner) == 1 for piece, owner in zip(pieces, owners, strict=True))
    for piece in () if plain else pieces:
        assert piece.micro is not None
        assert piece.marks is not None
        assert rows.packing.person_id(piece.keys).tolist() == person[piece.micro].tolist()
        assert (piece.marks == piece.micro % 4).all()
        assert (piece.more["category_sex"] == piece.micro.astype(np.int8)).all()


def test_the_highest_of_257_hands_does_not_go_round_to_the_lowest(monkeypatch: pytest.MonkeyPatch) -> None:
    """The span fits into 256 hands, and yet the last number begins another, since the first one stands inside its own."""
    monkeypatch.setattr(packing, "ROWS_IN_A_PIECE", 1)
    person, place = np.repeat([0, 2**18], 100), np.repeat([2, 1], 100)
    pieces = [piece.keys.tolist() for piece in PackedRows.of(person, place, None, blocks=1, cells=3).pieces()]
    assert pieces == [[2] * 100, [2**20 + 1] * 100]


def test_the_ends_of_64_bits_are_told_apart_and_come_back() -> None:
    ends = np.array([2**63 - 1, -(2**63), 0, -1])
    place = np.full(4, 239 << cell_bits(1_000_000) | 999_999)
    rows = PackedRows.of(ends, place, None, blocks=240, cells=1_000_000)
    piece, *more = rows.pieces()
    assert not more
    assert rows.packing.person_id(piece.keys).tolist() == sorted(ends.tolist())
    assert set(rows.packing.cell(piece.keys).tolist()) == {999_999}


def test_runs_and_their_excess() -> None:
    numbers = np.array([1, 1, 2, 4, 4, 4, 9, 9])
    assert runs(numbers).tolist() == [0, 2, 3, 6]
    assert above(numbers, 1).tolist() == [0, 1, 3, 4, 5, 6, 7]
    assert above(numbers, 2).tolist() == [3, 4, 5]
    assert above(numbers, 3).tolist() == above(np.array([], dtype=np.int64), 1).tolist() == []
    assert runs(np.array([], dtype=np.int64)).tolist() == []


@pytest.mark.parametrize("largest", [3, 2**40, 2**62])
def test_numbers_are_put_in_order_with_and_without_room_for_their_places(largest: int) -> None:
    numbers = np.array([largest, 0, 2, largest, 1], dtype=np.int64)
    assert numbers[packing._order(numbers)].tolist() == sorted(numbers.tolist())
    assert sorted(packing._order(numbers).tolist()) == [0, 1, 2, 3, 4]
    assert packing._order(numbers[:0]).tolist() == []
