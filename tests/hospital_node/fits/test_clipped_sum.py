"""What one (patient, block) can do to a sum that is taken from factors, whatever a study gives."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from hospital_node.errors import GradientError
from hospital_node.factors import Factors, Layer, written_out
from hospital_node.fits import clipped_sum as ghost
from hospital_node.fits.bounded import Bound, summed
from hospital_node.fits.clipped_sum import ClippedSum, room
from protocols.secagg.ring import Integers

SHAPES = some.lists(some.tuples(some.integers(1, 6), some.integers(1, 4), some.booleans()), min_size=1, max_size=3)
WILD = [0.0, -0.0, 1.0, -1.0, 0.3, 5e-324, 1e-200, -1e-30, 1e30, -1e200, 1.7e308, math.inf, -math.inf, math.nan]


@some.composite
def _rounds(draw: some.DrawFn) -> Factors:
    """A few patients of one to three rows: numbers of every kind, or of ordinary ones with some of the others among them."""
    shapes, lengths = draw(SHAPES), draw(some.lists(some.sampled_from([1, 1, 1, 2, 3]), min_size=1, max_size=8))
    source = np.random.default_rng(draw(some.integers(0, 2**32)))
    wild = draw(some.sampled_from([0.0, 0.02, 0.5]))

    def numbers(columns: int) -> np.ndarray:
        found = source.normal(size=(sum(lengths), columns)) * 10.0 ** source.integers(-3, 4, (sum(lengths), 1))
        return np.where(source.random(found.shape) < wild, source.choice(WILD, found.shape), found)

    layers = [Layer(numbers(inputs), numbers(outputs), has_bias) for inputs, outputs, has_bias in shapes]
    return Factors(layers, np.cumsum([0, *lengths]))


def _bound(part: Factors, scale: int = 2048, clip: float = 1.5) -> Bound:
    return Bound(sum(each.width for each in part.layers), clip, scale)


def _reach_squared(bound: Bound) -> int:
    """As a training states it (`protocols.fits.training`)."""
    return (math.ceil(bound.clip * bound.scale) + (math.isqrt(bound.width - 1) + 2) // 2) ** 2


def _whole(bound: Bound, *parts: Factors) -> Integers:
    total = ClippedSum(bound)
    with np.errstate(all="ignore"):
        for part in parts:
            total.add(part)
    return total.whole()


def _of(part: Factors, places: list[int]) -> Factors:
    """These (patient, block)s, in this order."""
    spans = [range(int(part.ends[place]), int(part.ends[place + 1])) for place in places]
    rows = np.array([row for span in spans for row in span], np.int64)
    layers = [Layer(each.inputs[rows], each.signals[rows], each.has_bias) for each in part.layers]
    return Factors(layers, np.cumsum([0, *map(len, spans)]))


def _moves_too_far(part: Factors, bound: Bound, left_out: int) -> bool:
    many = len(part.ends) - 1
    kept = [place for place in range(many) if place != left_out % many]
    moved = [int(each) for each in _whole(bound, part) - _whole(bound, _of(part, kept))]
    return sum(each**2 for each in moved) > _reach_squared(bound)


@pytest.mark.parametrize("scale", [1, 8, 64, 2048, 2**24])
@given(part=_rounds(), left_out=some.integers(0, 7))
@settings(deadline=None, max_examples=300)
def test_one_patients_block_moves_the_sum_by_no_more_than_its_reach(scale: int, part: Factors, left_out: int) -> None:
    assert not _moves_too_far(part, _bound(part, scale), left_out)


@pytest.mark.parametrize("scale", [2, 2048])
@given(part=_rounds(), order=some.randoms(use_true_random=False), cuts=some.lists(some.integers(0, 8), max_size=3))
@settings(deadline=None, max_examples=300)
def test_neither_order_nor_division_into_parts_changes_a_bit(scale: int, part: Factors, order: object, cuts: list[int]) -> None:
    bound, places = _bound(part, scale), list(range(len(part.ends) - 1))
    order.shuffle(places)  # type: ignore[attr-defined]
    bounds = sorted({0, len(places), *(cut for cut in cuts if cut < len(places))})
    divided = [_of(part, places[first:last]) for first, last in pairwise(bounds)]
    assert np.array_equal(_whole(bound, part), _whole(bound, *divided))


@pytest.mark.parametrize(("of_rows", "scale"), [(ghost._exact, 4096), (ghost._row_by_row, 128)])
def test_what_a_patient_adds_is_the_same_in_thousands_of_rounds(of_rows: Callable[..., Integers], scale: int) -> None:
    draw = np.random.default_rng(1)
    sizes = ((31, 16), (16, 1))
    layers = [Layer(draw.normal(size=(200, of)), draw.normal(size=(200, to)), True) for of, to in sizes]
    bound = Bound(31 * 16 + 16 + 17, 1.0, scale)
    alone = np.array([of_rows([each.rows(slice(n, n + 1)) for each in layers], bound) for n in range(200)])
    for _ in range(2_000):
        who = draw.permutation(200)[: draw.integers(1, 201)]
        chosen = [Layer(each.inputs[who], each.signals[who], True) for each in layers]
        assert np.array_equal(of_rows(chosen, bound), alone[who].sum(axis=0))


def test_the_sum_is_that_of_clipped_gradients_to_less_than_a_unit() -> None:
    draw = np.random.default_rng(2)
    inputs, signals = draw.normal(size=(300, 12)), draw.normal(size=(300, 8)) * 10.0 ** draw.integers(-3, 2, (300, 1))
    part = Factors([Layer(inputs, signals, True)], np.arange(301))
    bound = _bound(part)
    gradients = np.array([written_out(part.layers, n, n + 1) for n in range(300)])
    length = np.linalg.norm(gradients, axis=1, keepdims=True)
    assert 50 < (length > bound.clip).sum() < 250, "some are clipped"
    expected = (gradients * np.minimum(bound.scale, room(bound) / length)).sum(axis=0)
    assert np.abs(_whole(bound, part) - expected).max() < 1.0
    assert room(bound) > 0.99 * bound.clip * bound.scale


def test_integers_too_coarse_for_rounding_a_sum_are_rounded_row_by_row() -> None:
    draw = np.random.default_rng(3)
    part = Factors([Layer(draw.normal(size=(20, 40)), draw.normal(size=(20, 30)), False)], np.arange(21))
    bound = Bound(1200, 1.0, 40)
    assert room(bound) == 0.0
    as_before = summed(np.array([written_out(part.layers, n, n + 1) for n in range(20)]), bound)
    assert np.abs(_whole(bound, part) - as_before).max() <= 1, "but for what lay in the middle of two integers"
    assert np.abs(as_before).max() > 10


def test_several_rows_of_a_patient_are_one_gradient_and_clipped_as_one() -> None:
    """Two rows that are each within the clip, and together twice as long."""
    part = Factors([Layer(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[0.9], [0.9]]), False)], np.array([0, 2]))
    bound = Bound(2, 1.0, 1000)
    assert _whole(bound, part).tolist() == pytest.approx([1000, 0], abs=1)
    assert _whole(bound, Factors(part.layers, np.array([0, 1, 2]))).tolist() == pytest.approx([1800, 0], abs=1)


def test_what_is_not_finite_counts_as_zero_and_stops_nobody_else() -> None:
    inputs, signals = np.ones((4, 2)), np.ones((4, 1))
    inputs[1, 0], signals[2, 0] = np.nan, -np.inf
    found = Factors([Layer(inputs, signals, True)], np.arange(5))
    kept = Factors([Layer(np.ones((2, 2)), np.ones((2, 1)), True)], np.arange(3))
    assert np.array_equal(_whole(_bound(found), found), _whole(_bound(kept), kept))


@pytest.mark.parametrize(
    "layers",
    [
        [Layer(np.ones((3, 2)), np.ones((3, 2)), False)],
        [Layer(np.ones((3, 2)), np.ones((3, 1)), True)],
        [Layer(np.ones((4, 2)), np.ones((4, 1)), False)],
        [Layer(np.ones((3, 2)), np.ones((4, 1)), False)],
    ],
)
def test_factors_of_another_model_or_number_of_rows_are_an_error(layers: list[Layer]) -> None:
    with pytest.raises(GradientError, match="expected factors of 2 weights over 3 rows"):
        ClippedSum(Bound(2, 1.0, 64)).add(Factors(layers, np.arange(4)))


def test_more_rows_than_an_integer_holds_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ghost, "MOST_ROWS", 3)
    total = ClippedSum(Bound(2, 1.0, 64))
    total.add(Factors([Layer(np.ones((3, 2)), np.ones((3, 1)), False)], np.arange(4)))
    with pytest.raises(GradientError, match="at most 3 rows"):
        total.add(Factors([Layer(np.ones((1, 2)), np.ones((1, 1)), False)], np.arange(2)))


BREAKS = {
    "no clip": lambda bound: 2.0**20,
    "the rounding of the sum is not taken off": lambda bound: bound.clip * bound.scale + math.sqrt(bound.width),
}


@pytest.mark.parametrize("fault", BREAKS)
def test_a_sum_without_its_rule_is_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, signals = np.full((1, 40), 1.0), np.full((1, 25), 1.0)
    part = Factors([Layer(inputs, signals, False)], np.arange(2))
    bound = Bound(1000, 1.0, 600)
    assert not _moves_too_far(part, bound, 0)
    monkeypatch.setattr(ghost, "room", BREAKS[fault])
    assert _moves_too_far(part, bound, 0)


def test_the_largest_rows_that_are_rounded_add_up_exactly() -> None:
    """In single precision, where an odd sum above 2^24 would not stand."""
    many, bound = ghost.COARSE_ROWS_AT_ONCE, Bound(1, 1.0, int(ghost.COARSE_LONGEST))
    layer = Layer(np.full((many, 1), 1.0), np.append(np.full(many - 1, 5.0), 2 * 2.0**-20)[:, None], False)
    alone = [int(ghost._row_by_row([layer.rows(slice(n, n + 1))], bound)[0]) for n in range(many)]
    assert alone[-1] == 2
    assert alone[0] > 2**19
    assert ghost._row_by_row([layer], bound).tolist() == [sum(alone)]


@pytest.mark.parametrize(("scale", "is_written_out"), [(int(ghost.COARSE_LONGEST), False), (int(ghost.COARSE_LONGEST) + 1, True)])
def test_rows_too_long_to_add_up_in_single_precision_are_written_out(
    monkeypatch: pytest.MonkeyPatch, scale: int, is_written_out: bool
) -> None:
    part = Factors([Layer(np.ones((1, 1)), np.ones((1, 1)), False)], np.array([0, 1]))
    monkeypatch.setattr(ghost, "room", lambda bound: 0.0)  # as of a model that is far too wide for this test
    way = []
    monkeypatch.setattr(ghost, "summed", lambda gradients, bound: (way.append("written out"), summed(gradients, bound))[1])
    _whole(Bound(1, 1.0, scale), part)
    assert bool(way) == is_written_out


def test_a_sum_of_rounded_rows_without_its_clip_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    part = Factors([Layer(np.full((1, 40), 1.0), np.full((1, 25), 1.0), False)], np.arange(2))
    bound = Bound(1000, 1.0, 20)
    assert room(bound) == 0.0
    assert not _moves_too_far(part, bound, 0)
    monkeypatch.setattr(ghost, "SAFE", 4.0)
    assert _moves_too_far(part, bound, 0)


def test_a_layer_of_nothing_does_not_hide_the_length_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signals of 1e300 at inputs of zero are no gradient; beside their power of two the other layer's square would be nothing."""
    nothing = Layer(np.zeros((1, 2)), np.full((1, 2), 1e300), False)
    part = Factors([nothing, Layer(np.ones((1, 2)), np.full((1, 2), 1e110), False)], np.arange(2))
    assert not _moves_too_far(part, _bound(part), 0)
    rounded = ghost._rounded

    def careless(layer: Layer) -> object:
        found = rounded(layer)
        of_signals = ghost.exponents_of(ghost.largest_of(layer.signals))
        return ghost._Rounded(found.inputs, found.signals, of_signals, found.squared)

    monkeypatch.setattr(ghost, "_rounded", careless)
    assert _moves_too_far(part, _bound(part), 0)
