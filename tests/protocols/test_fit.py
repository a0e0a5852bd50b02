"""The spec of a fit has one encoding and refuses with the place; weights have one encoding and bounds; what a fit costs."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from privacy.filter import charge_on_grid
from privacy.pricing import price
from protocols.asked import MAX_PATIENTS, Asked
from protocols.contract import CONTRACT
from protocols.errors import MalformedBytes
from protocols.fit import MAX_WEIGHT, SCALE, WEIGHT_UNITS, Feature, FitSpec, decode_weights, encode_weights, unpacked
from tests.protocols.examples import query

FIT: dict[str, Any] = {
    "version": 1,
    "fit": "logistic",
    "table": "visits",
    "outcome": "IMP",
    "features": ["age", "male"],
    "period": {"from": "2026-01-15", "to": "2026-03-02"},
}
SPEC = FitSpec.from_json(FIT)


def test_a_fit_is_written_as_it_was_read() -> None:
    assert SPEC.to_json() == FIT
    assert FitSpec.from_json(SPEC.to_json()) == SPEC
    assert SPEC.columns == (Feature.INTERCEPT, Feature.AGE, Feature.MALE)
    assert SPEC.blocks == ("2026-01", "2026-02", "2026-03")


_period = {"period": {"from": "2026-03-01", "to": "2026-02-01"}}
_long = {"period": {"from": "1990-01-01", "to": "2199-01-01"}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": 2}, "version: "),
        ({"fit": "linear"}, "fit: "),
        ({"table": "diagnoses"}, "table: "),
        ({"outcome": "AMBULANT"}, "outcome: "),
        ({"features": ["age", "income"]}, "features.1: "),
        ({"features": []}, "features: "),
        ({"features": ["age", "male", "winter", "weekend", "age"]}, "features: "),
        ({"features": ["age", "age"]}, "named once"),
        ({"features": ["intercept"]}, "the intercept is always there"),
        ({"period": None}, "period.from: "),
        ({"period": {"from": "2026-02-30", "to": "2026-03-01"}}, "period.from: "),
        ({"period": {"from": "2026-01-01", "to": "2026-03-01", "zone": "+8"}}, "period.zone: "),
        (_period, "not empty"),
        (_long, "not empty|at most"),
        ({"clip": 100}, "clip: "),
        ({"version": "1"}, "version"),
        ({"period": {"from": "2026-01-15T00:00:00", "to": "2026-03-02"}}, "canonical"),
    ],
)
def test_a_wrong_fit_is_refused_with_its_place(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(MalformedBytes, match=f"fit: .*({said})") as refused:
        FitSpec.from_json({**FIT, **changes})
    assert "income" not in str(refused.value), "what was written is not repeated"


@pytest.mark.parametrize("missing", ["outcome", "features", "period"])
def test_a_fit_without_a_part_names_it(missing: str) -> None:
    with pytest.raises(MalformedBytes, match=f"fit: {missing}"):
        FitSpec.from_json({name: value for name, value in FIT.items() if name != missing})


@pytest.mark.parametrize("left_out", ["version", "fit", "table"])
def test_a_fit_that_leaves_a_default_out_has_another_encoding_and_is_refused(left_out: str) -> None:
    with pytest.raises(MalformedBytes, match="canonical"):
        FitSpec.from_json({name: value for name, value in FIT.items() if name != left_out})


# -- what a question derives from it


def _asked(**changes: Any) -> Asked:
    return Asked.of(query(**{"spec": FIT, "rounds": 6, "variances": (f"{64 * SCALE**2}.0000",), "purpose": "research", **changes}))


def test_a_fit_gives_one_piece_and_counts_its_rounds_from_one() -> None:
    asked = _asked()
    (piece,) = asked.pieces
    assert (asked.table, asked.is_training, asked.scale, asked.first_round, asked.last_round) == ("visits", True, SCALE, 1, 6)
    assert asked.dimension == piece.length == SPEC.width == 3 + 6
    assert asked.released_length == SPEC.width + 3
    assert asked.blocks == SPEC.blocks
    assert (piece.l2_squared, piece.variance) == (SPEC.l2_squared, Fraction(64 * SCALE**2))
    assert piece.l2_squared == 3 * SCALE**2
    assert piece.cell_max == MAX_PATIENTS * 3 * math.ceil(math.sqrt(3) * SCALE)


@pytest.mark.parametrize("features", [["age"], ["age", "male"], ["age", "male", "winter", "weekend"]])
def test_the_stated_l1_is_the_largest_that_the_stated_l2_allows(features: list[str]) -> None:
    spec = FitSpec.from_json({**FIT, "features": features})
    assert spec.l1**2 >= spec.width * spec.l2_squared
    assert (spec.l1 - 1) ** 2 < spec.width * spec.l2_squared


@pytest.mark.parametrize("rounds", [0, 1, 51])
def test_a_fit_has_two_rounds_and_not_more_than_a_segment(rounds: int) -> None:
    with pytest.raises(MalformedBytes, match=f"a logistic fit has 2 to 50 rounds, got {rounds}"):
        _asked(rounds=rounds)


@pytest.mark.parametrize("variances", [(), ("16.0000", "16.0000")])
def test_a_fit_has_one_variance(variances: tuple[str, ...]) -> None:
    with pytest.raises(MalformedBytes, match=f"one noise variance, got {len(variances)}"):
        _asked(variances=variances)


@pytest.mark.parametrize("rounds", [2, 6, 50])
def test_a_fit_is_charged_for_each_of_its_rounds(rounds: int) -> None:
    pieces = _asked().pieces
    one = price(CONTRACT.order, pieces)
    all_rounds = price(CONTRACT.order, pieces, rounds)
    step = charge_on_grid(Fraction(1, 10**12))  # rounded up once for all rounds, not once a round
    assert rounds * one.one - rounds * step <= all_rounds.one <= rounds * one.one
    assert rounds * one.two - rounds * step <= all_rounds.two <= rounds * one.two
    assert all_rounds.one > (rounds - 1) * one.one
    assert 3.9 * all_rounds.one < all_rounds.two < 4.2 * all_rounds.one, "a patient of two hospitals moves twice as far"


# -- weights

_units = some.lists(some.integers(-MAX_WEIGHT * WEIGHT_UNITS, MAX_WEIGHT * WEIGHT_UNITS), min_size=3, max_size=3)


@given(_units)
def test_weights_on_the_grid_come_back_as_they_were(units: list[int]) -> None:
    weights = np.array(units) / WEIGHT_UNITS
    raw = encode_weights(weights)
    assert raw == np.array(units, "<i8").tobytes()
    assert decode_weights(raw, SPEC).tolist() == weights.tolist()


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf"), 64.1, -64.1, 1e300])
def test_weights_that_are_no_numbers_or_too_large_are_never_sent(wrong: float) -> None:
    with pytest.raises(MalformedBytes, match="at most 64"):
        encode_weights(np.array([0.0, wrong, 0.0]))


@pytest.mark.parametrize("units", [MAX_WEIGHT * WEIGHT_UNITS + 1, -MAX_WEIGHT * WEIGHT_UNITS - 1, 2**63 - 1, -(2**63)])
def test_weights_beyond_the_bound_are_not_read(units: int) -> None:
    with pytest.raises(MalformedBytes, match="at most 64"):
        decode_weights(np.array([0, units, 0], "<i8").tobytes(), SPEC)


@pytest.mark.parametrize("size", [0, 8, 23, 25, 32])
def test_weights_of_another_length_are_not_read(size: int) -> None:
    with pytest.raises(MalformedBytes, match=f"expected 24 bytes, got {size}"):
        decode_weights(bytes(size), SPEC)


def test_a_released_round_is_a_gradient_and_a_symmetric_hessian() -> None:
    gradient, hessian = unpacked(SPEC, SCALE * np.arange(1, 10))
    assert gradient.tolist() == [1, 2, 3]
    assert hessian.tolist() == [[4, 5, 6], [5, 7, 8], [6, 8, 9]]
