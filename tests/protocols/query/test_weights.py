"""Weights of months: which questions may have them, what they make a patient move, and that no other question is spelled anew."""

from __future__ import annotations

from typing import Any

import pytest

from protocols import statements as st
from protocols.asked import Asked
from protocols.errors import MalformedBytes
from protocols.exact import as_exact
from protocols.query import Layout, QueryError, QuerySpec, parse_toml
from protocols.query.chinese import in_chinese
from protocols.query.weights import MAX_WEIGHT
from tests.protocols.examples import WEIGHTED, weighted_query


def asked(**changes: Any) -> QuerySpec:
    return QuerySpec.from_fields(WEIGHTED | changes)


def test_weights_are_absent_from_the_encoding_of_a_question_without_them() -> None:
    plain = asked(weights=None)
    assert "weights" not in plain.to_json()
    assert asked().to_json() == plain.to_json() | {"weights": [7, 24, 64]}
    assert QuerySpec.from_json(asked().to_json()) == asked()


def test_a_block_moves_the_vector_by_its_own_weight() -> None:
    [plain], [weighted] = Layout.of(asked(weights=None)).segments, Layout.of(asked()).segments
    assert (plain.l1, plain.l2_squared) == (2, 4)
    assert [weighted.of_weight(each) for each in (7, 24, 64)] == [(14, 196), (48, 2304), (128, 16384)]
    assert (weighted.l1, weighted.l2_squared) == (128, 16384), "stated is the largest"
    assert weighted.over_all(3) == (190, 190**2), "of a patient of all three months"


def test_the_pieces_of_a_question_are_of_its_largest_weight_and_its_entries_have_room() -> None:
    [piece] = Asked.of(weighted_query()).pieces
    assert (piece.l1, piece.whole) == (128, (190, 190**2))
    assert piece.cell_max == 3 * 64 * 2 * 5_000_000
    dear = {"kind": "sum", "column": "age", "lo": "0", "hi": "150", "scale": 10_000}
    too_large = weighted_query().model_copy(update={"spec": asked(measures=[dear], weights=[1, 1, 1000]).to_json()})
    with pytest.raises(MalformedBytes, match="smaller weights or clamps"):
        Asked.of(too_large)


def test_exact_mode_has_no_weights() -> None:
    exact = weighted_query().model_copy(update={"spec": as_exact(WEIGHTED), "variances": ("0.0000",)})
    with pytest.raises(MalformedBytes, match="weights"):
        Asked.of(exact)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"weights": [1, 2]}, "2 weights for 3 months"),
        ({"weights": [1, 0, 3]}, f"a weight is from 1 to {MAX_WEIGHT}"),
        ({"weights": [1, 2, -3]}, f"a weight is from 1 to {MAX_WEIGHT}"),
        ({"weights": [1, 2, MAX_WEIGHT + 1]}, f"a weight is from 1 to {MAX_WEIGHT}"),
        ({"period": {"from": "2026-09-02", "to": "2026-12-01"}}, "weights are of whole months"),
        ({"period": {"from": "2026-09-01", "to": "2026-11-30"}}, "weights are of whole months"),
        ({"keys": [{"key": "month"}]}, "weights add months up"),
        ({"keys": [{"key": "iso_week"}]}, "weights add months up"),
        ({"totals": [[]]}, "weights are for counts and sums, bounded per block, without totals"),
        ({"bound": "query"}, "weights are for counts and sums, bounded per block, without totals"),
        (
            {"measures": [{"kind": "count_distinct_person"}]},
            "weights are for counts and sums, bounded per block, without totals",
        ),
        (
            {"measures": [{"kind": "avg", "column": "age", "lo": "0", "hi": "9"}]},
            "weights are for counts and sums, bounded per block, without totals",
        ),
        ({"table": "patients", "period": None, "keys": []}, "only for a period of months"),
    ],
)
def test_a_question_that_has_no_weights_is_named_with_a_form_that_has(change: dict[str, Any], rule: str) -> None:
    with pytest.raises(QueryError) as caught:
        asked(**change)
    found = [each for each in caught.value.problems if each.rule == rule]
    assert len(found) == 1
    assert in_chinese(rule) != rule
    assert not found[0].nearest or in_chinese(found[0].nearest) != found[0].nearest


def test_a_file_may_hold_weights() -> None:
    text = 'table = "visits"\nmeasures = ["count"]\nperiod = { from = 2026-10-01, to = 2026-12-01 }\nweights = [3, 5]'
    assert parse_toml(text).weights == (3, 5)


def test_a_ready_of_either_charge_is_read_back_as_it_was() -> None:
    by_block = st.ChargeByBlock(
        purpose="research", price="0.200000000", price_two="0.800000000", blocks=("2026-10", "2026-11"),
        totals=("0.100000000", "0.200000000"), totals_two=("0.400000000", "0.800000000"),
        prices=("0.100000000", "0.200000000"), prices_two=("0.400000000", "0.800000000"),
    )  # fmt: skip
    assert by_block.lines()[0] == ("2026-10", "0.100000000", "0.400000000", "0.100000000", "0.400000000")
    assert by_block.is_whole
    assert not by_block.model_copy(update={"prices": ("0.100000000",)}).is_whole
    alike = st.Charge(**by_block.model_dump(exclude={"prices", "prices_two"}))
    assert [line.price for line in alike.lines()] == ["0.200000000"] * 2
