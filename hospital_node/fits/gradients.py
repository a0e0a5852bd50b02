"""One round of a training on one hospital's rows: who takes part, their gradients, clipped, whole, summed.

Promise: adding or removing one patient's rows of one block moves the returned vector by at most `reach` in L2 (and, where who took
part is counted, by `counted` in the last entry), whatever the rows hold and whatever the study gives; and that patient is in the
round with the stated chance, which nobody but this process knows. The study is asked about those who take part and nobody else.
"""

import os
from collections.abc import Callable, Iterator

import duckdb
import numpy as np

from hospital_node.fits.bounded import Bound, Floats, Mask, chosen, summed
from hospital_node.fits.rows import Rows, rows_of
from protocols.fits import Training
from protocols.secagg.ring import Integers

Gradients = Callable[[Floats, Rows], Iterator[Floats]]
"""From weights and rows to a row a (patient, block), some at a time."""


def training_sums(
    spec: Training,
    records: duckdb.DuckDBPyConnection,
    weights: Floats,
    gradients: Gradients,
    random: Callable[[int], bytes] = os.urandom,
) -> Integers:
    """The exact vector of one round at these weights.

    Raises GradientError or StudyFailed for a study that does not keep its form.
    """
    return sums_of_rows(spec, rows_of(spec, records), weights, gradients, random)


def sums_of_rows(
    spec: Training, rows: Rows, weights: Floats, gradients: Gradients, random: Callable[[int], bytes] = os.urandom
) -> Integers:
    """`training_sums` of rows that are at hand."""
    taking = picked(rows, chosen(len(rows.starts), spec.rate, random))
    bound, total = Bound(spec.weights, spec.clip, spec.scale), np.zeros(spec.width, np.int64)
    if len(taking.starts):
        for part in gradients(weights, taking):
            total[: spec.weights] += summed(part, bound)
    if spec.batch is None:
        total[-1] = spec.counted * len(taking.starts)
    return total


def picked(rows: Rows, mask: Mask) -> Rows:
    """The rows of the (patient, block)s that take part."""
    lengths = np.diff(np.append(rows.starts, len(rows.scaled)))
    inside = np.repeat(mask, lengths)
    starts = np.cumsum(lengths[mask]) - lengths[mask]
    return Rows(rows.scaled[inside], rows.own[inside], starts.astype(np.int64))
