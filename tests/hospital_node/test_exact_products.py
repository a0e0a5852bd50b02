"""A row of a product has the same bits whoever else is there; a product of floats would not."""

import numpy as np
import pytest

from hospital_node.exact_products import ROOM, carried, largest_of, power, rowwise

SHAPES = [(1, 1, 1), (7, 3, 2), (64, 8, 32), (33, 60, 160), (5, 1000, 3), (200, 32, 1)]


def _draw(seed: int, *shape: int) -> np.ndarray:
    source = np.random.default_rng(seed)
    return source.normal(size=shape) * 10.0 ** source.integers(-6, 6, (shape[0], 1))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_row_of_the_product_is_the_sum_of_whole_numbers_that_no_library_has_added_up(shape: tuple[int, int, int]) -> None:
    rows, columns = _draw(1, *shape[:2]), _draw(2, shape[2], shape[1])
    bits = (ROOM - (shape[1] - 1).bit_length()) // 2
    left, exponent = carried(rows, largest_of(rows), bits)
    right, of_column = carried(columns, largest_of(columns), bits)
    exact = np.array([[sum(int(a) * int(b) for a, b in zip(x, y, strict=True)) for y in right] for x in left])
    assert np.abs(exact).max() <= 2**ROOM
    assert np.array_equal(rowwise(rows, columns), exact * power(exponent - bits)[:, None] * power(of_column - bits))


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_the_product_to_about_single_precision(shape: tuple[int, int, int]) -> None:
    rows, columns = _draw(3, *shape[:2]), _draw(4, shape[2], shape[1])
    scale = largest_of(rows)[:, None] * largest_of(columns) * shape[1]
    assert (np.abs(rowwise(rows, columns) - rows @ columns.T) / scale).max() < 2.0**-18


def test_a_row_has_the_same_bits_in_thousands_of_batches() -> None:
    """Sizes, orders, neighbours and layouts in memory; the plain product differs in some of them, or this would show nothing."""
    source = np.random.default_rng(5)
    rows, columns = _draw(6, 300, 60), _draw(7, 17, 60)
    alone = np.concatenate([rowwise(row[None, :], columns) for row in rows])
    plain = np.concatenate([row[None, :] @ columns.T for row in rows])
    has_differed = False
    for _ in range(2_000):
        who = source.permutation(300)[: source.integers(1, 301)]
        batch = np.asfortranarray(rows[who]) if source.random() < 0.3 else rows[who]
        assert np.array_equal(rowwise(batch, columns), alone[who])
        has_differed = has_differed or not np.array_equal(batch @ columns.T, plain[who])
    assert has_differed


def test_neither_the_smallest_nor_the_largest_nor_no_number_disturbs_another_row() -> None:
    rows, columns = _draw(8, 6, 4), _draw(9, 3, 4)
    alone = rowwise(rows[:1], columns)
    rows[1:] = [[5e-324] * 4, [1e290, -1e290, 1.0, 0.0], [0.0] * 4, [np.inf, 0, 0, 0], [np.nan, 1, 1, 1]]
    with np.errstate(all="ignore"):
        found = rowwise(rows, columns)
    assert np.array_equal(found[:1], alone)
    assert not found[[1, 3]].any(), "too small to be reckoned with"
    assert np.isfinite(found[2]).all()
