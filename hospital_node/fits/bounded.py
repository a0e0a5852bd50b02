"""Gradients become integers of bounded reach, and who takes part is a secret of this hospital: the two halves of DP-SGD's promise.

Promise: adding or removing one (patient, block) moves a sum of `as_integers` rows by at most `clip * scale + sqrt(width) / 2` in
L2, in integers, whatever its gradient is. A row is clipped to `clip`, multiplied by `scale` and rounded to the nearest integers
before anything is summed: no rounding depends on anybody else's rows.

A gradient that is not finite counts as zero: what one patient's rows do to a model must not stop, or show in, the others' sum. A
gradient of another shape or type is the study's fault, not a record's, and is an error.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from hospital_node.errors import GradientError
from protocols.secagg.ring import Integers

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
# Just below 1: the rounding errors of norm, quotient and product can then never lengthen a clipped row.
SAFE = 1 - 2.0**-30
AT_ONCE = 1 << 15
"""Numbers that are clipped together: they stay in the processor's cache from one step to the next."""


@dataclass(frozen=True, slots=True)
class Bound:
    """How long one (patient, block)'s gradient may be, and how many integers go to one unit of it."""

    width: int
    clip: float
    scale: int


def as_integers(gradients: npt.NDArray[np.floating], bound: Bound) -> Integers:
    """One row a (patient, block), each clipped and rounded by itself. Raises GradientError for another shape or type."""
    if gradients.ndim != 2 or gradients.shape[1] != bound.width:
        raise GradientError(f"gradients: expected rows of {bound.width} numbers, got shape {gradients.shape}")
    if gradients.dtype not in (np.float32, np.float64):
        raise GradientError(f"gradients: expected float32 or float64, got {gradients.dtype}")
    # Rows lie in a row in memory: the order of a sum along one does not depend on how many there are.
    rows: Floats = np.ascontiguousarray(gradients, np.float64)
    largest = np.abs(rows).max(axis=1, keepdims=True, initial=0.0)
    is_finite = np.isfinite(largest)
    rows = np.where(is_finite, rows, 0.0)
    largest = np.where(is_finite & (largest > 0), largest, 1.0)
    unit = rows / largest
    length = np.sqrt(np.sum(unit * unit, axis=1, keepdims=True))
    shrunk = np.minimum(largest, bound.clip / np.maximum(length, 1e-300))
    whole: Integers = np.rint(unit * shrunk * (bound.scale * SAFE)).astype(np.int64)
    return whole


def scores(features: Floats, weights: Floats) -> Floats:
    """One number a row: its features times the weights.

    No matrix product: the last bits of one depend on how many rows there are, and so on who else was treated here.
    """
    found: Floats = np.sum(np.ascontiguousarray(features) * weights, axis=1)
    return found


def summed(gradients: npt.NDArray[np.floating], bound: Bound) -> Integers:
    """The exact sum that noise is added to."""
    total: Integers = np.zeros(bound.width, np.int64)
    at_once = max(1, AT_ONCE // max(1, bound.width))
    for start in range(0, max(1, len(gradients)), at_once):
        total += as_integers(gradients[start : start + at_once], bound).sum(axis=0, dtype=np.int64)
    return total


def chosen(count: int, rate: Fraction, random: Callable[[int], bytes]) -> Mask:
    """Who takes part in this round: each of `count` by itself, with a chance of at most `rate` and at least rate - 2^-64.

    `random` is the operating system's: who can predict it knows the batch, and a known batch amplifies nothing.
    """
    if rate == 1:
        return np.ones(count, np.bool_)
    drawn = np.frombuffer(random(8 * count), "<u8")
    mask: Mask = drawn < np.uint64(math.floor(rate * 2**64))
    return mask
