"""Matrix products whose every bit is known: of whole numbers, small enough that no order of adding them up rounds anything.

A product of floats is added up in an order that its library chooses by the number of rows, and rounds on the way: what one
patient's row gives would depend on who else is there. Integers below 2^53, their products and sums are exact in float64, whatever
the order, the threads, the instructions or the machine. So a row is carried to whole numbers of its own power of two, by
operations that IEEE 754 rounds one element at a time; the product of rows so carried is a function of each row alone.

This holds for every kernel that multiplies elements and adds the products, which all of NumPy's libraries do in float64. `SPARE`
bits are left over for one that adds elements up first (Strassen).
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Exponents = npt.NDArray[np.int64]
SPARE = 3
ROOM = 53 - SPARE
"""Bits of the largest sum."""
_SMALLEST = -900
"""Below 2 to this power a row counts as zeros: its power of two would be none of float64's."""


def carried(values: Floats, largest: Floats, bits: int) -> tuple[Floats, Exponents]:
    """Whole numbers of at most 2**bits, and each row's exponent: a row is about numbers * 2**(exponent - bits).

    `largest` is each row's largest absolute value, and finite.
    """
    exponents = exponents_of(largest)
    return np.rint(values * power(bits - exponents)[:, None]), exponents


def exponents_of(largest: Floats) -> Exponents:
    """The least power of two above each, not below the smallest that is reckoned with."""
    return np.maximum(np.frexp(largest)[1], _SMALLEST).astype(np.int64)


def power(exponents: Exponents) -> Floats:
    """2 to these, without rounding."""
    return np.ldexp(1.0, exponents)


def largest_of(values: Floats, at_least: float = 0.0) -> Floats:
    """A row's largest absolute value; not finite where one of its values is not."""
    found: Floats = np.maximum(np.maximum(values.max(axis=1), -values.min(axis=1)), at_least)
    return found


def rowwise(rows: Floats, columns: Floats) -> Floats:
    """`rows @ columns.T` to about single precision, each row of it a function of that row and of `columns`, to the last bit."""
    bits = (ROOM - (rows.shape[1] - 1).bit_length()) // 2
    left, exponent = carried(rows, largest_of(rows), bits)
    right, column_exponent = carried(columns, largest_of(columns), bits)
    found: Floats = left @ np.ascontiguousarray(right.T)
    found *= power(exponent - bits)[:, None]
    found *= power(column_exponent - bits)
    found += 0.0  # of sums that are nothing one library gives -0.0 where another gives 0.0
    return found
