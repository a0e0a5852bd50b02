"""What both sides derive from a signed query before anybody counts."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.pricing import reach
from protocols.asked import MAX_PATIENTS, Asked, variance_of, variance_text
from protocols.errors import MalformedBytes
from protocols.fits import read
from protocols.query import QueryError
from protocols.secagg.ring import ring_bits
from tests.hospital_node.studies.specs import training
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


@pytest.mark.parametrize(("longest", "fineness", "is_taken"), [("1000", 2**16, True), ("1000000", 2**20, False)])
def test_a_training_whose_sums_no_ring_holds_is_refused_and_never_wrapped(longest, fineness, is_taken):
    spec = training(longest=longest, fineness=fineness).to_json()
    asking = query(purpose="research", programme=None, rounds=2, spec=spec, variances=("1000000.0000",))
    if is_taken:
        [piece] = Asked.of(asking).pieces
        assert piece.cell_max <= 2**53
        assert ring_bits(reach(512, 512, 128, [piece])) == 64
        return
    with pytest.raises(MalformedBytes, match="room for"):
        Asked.of(asking)


DATED = {"period": {"from": "2026-09-01", "to": "2026-12-01"}}
TRAININGS = {
    "plain": {},
    "dated": DATED,
    "tested": {"version": 3, "held_out": "0.25", "bins": 10, "sharpness": 2000, **DATED},
    "local": {"version": 3, "fit": "dp_fedavg", "local_steps": 7, "held_out": "0", "bins": 10, "sharpness": 1},
}


@pytest.mark.parametrize("fields", TRAININGS.values(), ids=TRAININGS)
def test_the_ring_has_room_for_all_that_all_patients_of_a_hospital_add(fields):
    """Every (patient, block) at its whole reach in one entry: in every local step, and as held out."""
    spec = read({**training(weights=4).to_json(), **fields, "sampled": "0.5"})
    [piece] = Asked.of(query(purpose="research", programme=None, rounds=2, spec=spec.to_json(), variances=("9.0000",))).pieces
    assert spec.reach >= float(spec.longest) * spec.fineness + spec.weights**0.5 / 2, "what rounding adds is in it"
    units = [spec.reach * spec.steps_a_round, *([spec.unit] if spec.is_evaluated else [])]
    assert piece.cell_max >= MAX_PATIENTS * (3 if spec.period else 1) * max(units)
    assert piece.rate == Fraction(1, 2)


def test_integers_so_coarse_that_rounding_fills_half_of_the_reach_are_refused():
    with pytest.raises(ValueError, match="too coarse"):
        training(longest="1", fineness=1, weights=1_000)


@pytest.mark.parametrize("fields", [{"held_out": "0.25"}, {"fit": "dp_fedavg", "local_steps": 4, "held_out": "0"}])
def test_a_tested_or_local_training_reads_back_exactly_and_is_priced_as_what_it_is(fields):
    spec = read({**training().to_json(), "version": 3, "bins": 10, "sharpness": 2, **fields})
    assert read(spec.to_json()) == spec
    [piece] = Asked.of(query(purpose="research", programme=None, rounds=2, spec=spec.to_json(), variances=("9.0000",))).pieces
    is_tested = "local_steps" not in fields
    assert (piece.repeats, piece.once) == ((1, (spec.unit, spec.unit**2)) if is_tested else (4, None))
    assert piece.length == spec.stepping + (20 if is_tested else 0)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"held_out": "0"}, "held_out"),
        ({"held_out": "0.75"}, "held_out"),
        ({"bins": 7}, "bins"),
        ({"sharpness": 0}, "sharpness"),
        ({"outcome": {"column": "stay", "low": "0", "high": "9", "unit": ""}}, "category"),
        ({"fit": "dp_fedavg", "local_steps": 1}, "local_steps"),
        ({"fit": "dp_fedavg", "local_steps": 2, "batch": 30}, "batch"),
        ({"version": 2}, "held_out"),
    ],
)
def test_a_test_or_local_steps_that_cannot_be_are_refused_with_their_place(fields, said):
    with pytest.raises(MalformedBytes, match=said):
        read({**training().to_json(), "version": 3, "held_out": "0.2", "bins": 10, "sharpness": 1, **fields})
