"""The closed form against plain weighted least squares with matrices, and against what a clamp does to sums."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.consistency import Level, consistent


def _matrix(shape: tuple[int, ...], axes: tuple[int, ...]) -> np.ndarray:
    """Row per cell of the level, column per leaf."""
    cells = list(product(*(range(shape[axis]) for axis in axes)))
    leaves = list(product(*map(range, shape)))
    return np.array([[float(tuple(leaf[axis] for axis in axes) == cell) for leaf in leaves] for cell in cells])


@st.composite
def tables(draw: st.DrawFn) -> tuple[tuple[int, ...], list[Level]]:
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    everything = tuple(range(len(shape)))
    some = draw(st.lists(st.sets(st.sampled_from(everything)).map(lambda axes: tuple(sorted(axes))), max_size=3))
    levels = []
    for axes in [everything, *some]:
        size = tuple(shape[axis] for axis in axes)
        values = draw(st.lists(st.integers(-50, 50), min_size=int(np.prod(size)), max_size=int(np.prod(size))))
        levels.append(Level(axes, np.array(values, dtype=np.int64).reshape(size), float(draw(st.integers(1, 400)))))
    return shape, levels


@settings(max_examples=150, deadline=None)
@given(tables())
def test_the_closed_form_is_weighted_least_squares(given_: tuple[tuple[int, ...], list[Level]]) -> None:
    shape, levels = given_
    design = np.vstack([_matrix(shape, level.axes) for level in levels])
    observed = np.concatenate([level.values.reshape(-1) for level in levels])
    weight = np.concatenate([np.full(level.values.size, 1 / level.variance) for level in levels])
    normal = design.T @ (weight[:, None] * design)
    covariance = np.linalg.inv(normal)
    found = consistent(shape, levels)
    assert found.leaves.reshape(-1) == pytest.approx(covariance @ (design.T @ (weight * observed)), abs=1e-8)
    for axes in {level.axes for level in levels} | {()}:
        summed = _matrix(shape, axes)
        assert found.variance(axes) == pytest.approx((summed @ covariance @ summed.T)[0, 0], rel=1e-9)
        assert found.at(axes).reshape(-1) == pytest.approx(summed @ found.leaves.reshape(-1), abs=1e-8)


def test_a_level_that_agrees_changes_nothing_and_leaves_alone_are_kept() -> None:
    leaves = np.arange(12).reshape(3, 4)
    alone = consistent((3, 4), [Level((0, 1), leaves, 9.0)])
    assert alone.leaves == pytest.approx(leaves)
    assert alone.variance((0,)) == pytest.approx(36.0)
    both = consistent((3, 4), [Level((0, 1), leaves, 9.0), Level((0,), leaves.sum(axis=1), 9.0)])
    assert both.leaves == pytest.approx(leaves)
    assert both.variance((0,)) == pytest.approx(1 / (1 / 36 + 1 / 9))
    assert both.variance((0, 1)) < 9.0


def test_totals_without_their_leaves_are_refused() -> None:
    with pytest.raises(ValueError, match="the leaves are not among the levels"):
        consistent((3, 4), [Level((0,), np.zeros(3, dtype=np.int64), 1.0)])


@pytest.mark.statistical
def test_sums_are_unbiased_and_a_clamp_of_leaves_would_not_be() -> None:
    # 400 sparse cells of truth 1 under sd 12. Over 200 trials the mean total has sd sqrt(v / 200); 5 of them: false alarm 6e-7.
    random, shape, truth, trials = np.random.default_rng(11), (20, 20), 1, 200
    totals, clamped = [], []
    for _ in range(trials):
        leaves = truth + random.normal(0, 12, shape).round().astype(np.int64)
        city = np.array(round(400 + random.normal(0, 12)))
        found = consistent(shape, [Level((0, 1), leaves, 144.0), Level((), city, 144.0)])
        totals.append(float(found.at(())))
        clamped.append(float(np.maximum(leaves, 0).sum()))
    variance = found.variance(())
    assert abs(np.mean(totals) - 400) < 5 * np.sqrt(variance / trials)
    assert np.std(totals) == pytest.approx(np.sqrt(variance), rel=0.3)  # sd of an sd over 200: 5 %; six of them
    assert np.mean(clamped) > 4 * 400
