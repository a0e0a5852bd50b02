"""Several noisy levels of one table made one: the best linear estimate of every cell, which adds up exactly.

A query with totals releases the same additive table more than once: its leaves, and sums over some of its axes, each with
independent noise of its own. Least squares weighs them by their variances (Gauss-Markov: of all linear unbiased estimates the
one of least variance), so a total is never told in two ways and a leaf borrows strength from the totals above it. Nothing is
clamped or rounded before: a clamp of noisy leaves is a bias that sums up. What is released stays beside it, untouched.

Why a closed form. With M_l the sum over the axes that level l leaves out and w_l = 1 / variance, the normal matrix is
sum w_l M_l' M_l, and M_l' M_l is a product over axes of I (kept) or J, all ones (summed). I and J share, on each axis of n labels,
the eigenspaces "mean" (J = n) and "contrast" (J = 0). So over each set S of axes, with contrasts on S and means elsewhere, the
matrix is one number: lambda_S = sum over levels l that keep S of w_l * product of n over the axes l leaves out.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Axes = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Level:
    """A released table over the axes it keeps (by number, ascending), and the variance of the noise in each of its cells."""

    axes: Axes
    values: NDArray[np.int64]
    variance: float


@dataclass(frozen=True, slots=True)
class Consistent:
    """The estimate of all leaves; every sum of it over axes has a known variance."""

    leaves: Floats
    precision: Mapping[Axes, float]
    """lambda_S by the set of axes on which it is a contrast."""

    def at(self, kept: Axes) -> Floats:
        """The table over these axes."""
        gone = tuple(axis for axis in range(self.leaves.ndim) if axis not in kept)
        summed: Floats = self.leaves.sum(axis=gone)
        return summed

    def variance(self, kept: Axes) -> float:
        """Of the noise in each cell of the table over these axes."""
        shape = self.leaves.shape
        summed = math.prod(shape[axis] for axis in range(len(shape)) if axis not in kept)
        return float(summed) * math.fsum(_share(contrast, kept, shape) / self.precision[contrast] for contrast in _subsets(kept))


def consistent(shape: tuple[int, ...], levels: list[Level]) -> Consistent:
    """The least-squares table of this shape. One of the levels must be the leaves themselves.

    Raises: ValueError.
    """
    everything = tuple(range(len(shape)))
    if not any(level.axes == everything for level in levels):
        raise ValueError("consistency: the leaves are not among the levels")
    precision = {
        contrast: sum(_weight(level, contrast, shape) for level in levels if set(contrast) <= set(level.axes))
        for contrast in _subsets(everything)
    }
    pooled = np.zeros(shape)
    for level in levels:
        # A summed axis of length one: M_l' repeats a total under every leaf.
        pooled += level.values.reshape([size if axis in level.axes else 1 for axis, size in enumerate(shape)]) / level.variance
    return Consistent(_solved(pooled, precision, 0, ()), precision)


def _weight(level: Level, contrast: Axes, shape: tuple[int, ...]) -> float:
    return float(math.prod(size for axis, size in enumerate(shape) if axis not in level.axes)) / level.variance


def _solved(part: Floats, precision: Mapping[Axes, float], axis: int, contrast: Axes) -> Floats:
    """Divides each component of `part` by its lambda, splitting one axis after another into its mean and its contrasts."""
    if axis == part.ndim:
        return part / precision[contrast]
    mean = part.mean(axis=axis, keepdims=True)
    of_mean = _solved(mean, precision, axis + 1, contrast)
    if part.shape[axis] == 1:
        return of_mean
    return of_mean + _solved(part - mean, precision, axis + 1, (*contrast, axis))


def _share(contrast: Axes, kept: Axes, shape: tuple[int, ...]) -> float:
    """One diagonal entry of the projection on `contrast`, in the table over `kept`."""
    return math.prod((1.0 - 1 / shape[axis]) if axis in contrast else 1 / shape[axis] for axis in kept)


def _subsets(axes: Axes) -> Iterator[Axes]:
    for length in range(len(axes) + 1):
        yield from combinations(axes, length)
