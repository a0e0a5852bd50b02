"""One round of a training on one hospital's rows: who takes part, their gradients, clipped, whole, summed.

Promise: adding or removing one patient's rows of one block moves the returned vector by at most `reach` in L2 (and, where who took
part is counted, by `counted` in its entry), whatever the rows hold and whatever the study gives; and that patient is in the
round with the stated chance, which nobody but this process knows. The study is asked about those who take part and nobody else.
A patient who is held out moves nothing but the last round, by `unit` (`held_out`). Local steps carry noise of their own.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import duckdb
import numpy as np

from hospital_node.errors import StudyFailed
from hospital_node.factors import Part
from hospital_node.fits.bounded import Bound, Floats, Mask, chosen
from hospital_node.fits.clipped_sum import ClippedSum
from hospital_node.fits.held_out import Chances, held_out, held_out_sums
from hospital_node.fits.local_steps import local_sums
from hospital_node.fits.rows import Rows, rows_of
from protocols.fits import Evaluated, Training
from protocols.secagg.ring import Integers

Gradients = Callable[[Floats, Rows], Iterator[Part]]
"""From weights and rows to a gradient a (patient, block), written out or in factors, some at a time."""
Random = Callable[[int], bytes]


def no_chances(weights: Floats, rows: Rows) -> Iterator[Floats]:
    raise StudyFailed("study: gives no chances")


@dataclass(frozen=True, slots=True)
class Asking:
    """A study, as it is asked."""

    gradients: Gradients
    chances: Chances = no_chances


@dataclass(frozen=True, slots=True)
class Round:
    """What a round is asked at. `key` says who is held out; `variance` is the whole noise of a local step."""

    weights: Floats
    key: bytes = bytes(32)
    variance: Fraction = Fraction(0)
    is_test: bool = False


def training_sums(
    spec: Training, records: duckdb.DuckDBPyConnection, at: Round, asking: Asking, random: Random = os.urandom
) -> Integers:
    """The exact vector of one round (of local steps the noisy one).

    Raises GradientError or StudyFailed for a study that does not keep its form.
    """
    return sums_of_rows(spec, rows_of(spec, records), at, asking, random)


def sums_of_rows(spec: Training, rows: Rows, at: Round, asking: Asking, random: Random = os.urandom) -> Integers:
    """`training_sums` of rows that are at hand."""
    total = np.zeros(spec.width, np.int64)
    if isinstance(spec, Evaluated) and spec.is_evaluated:
        kept_back = held_out(spec, rows.persons, at.key)
        if at.is_test:
            total[spec.stepping :] = held_out_sums(spec, picked(rows, kept_back), at.weights, asking.chances)
            return total
        rows = picked(rows, ~kept_back)

    def step(weights: Floats) -> Integers:
        return step_sums(spec, rows, weights, asking.gradients, random)

    is_local = spec.steps_a_round > 1
    total[: spec.stepping] = local_sums(spec, at.weights, at.variance, step, random) if is_local else step(at.weights)
    return total


def step_sums(spec: Training, rows: Rows, weights: Floats, gradients: Gradients, random: Random) -> Integers:
    """One step's summed gradient, and who took part where that is counted."""
    taking = picked(rows, chosen(len(rows.starts), spec.rate, random))
    total, clipped = np.zeros(spec.stepping, np.int64), ClippedSum(Bound(spec.weights, spec.clip, spec.scale))
    if len(taking.starts):
        for part in gradients(weights, taking):
            clipped.add(part)
    total[: spec.weights] = clipped.whole()
    if spec.batch is None:
        total[-1] = spec.counted * len(taking.starts)
    return total


def picked(rows: Rows, mask: Mask) -> Rows:
    """The rows of the (patient, block)s that take part."""
    lengths = np.diff(np.append(rows.starts, len(rows.scaled)))
    inside = np.repeat(mask, lengths)
    starts = np.cumsum(lengths[mask]) - lengths[mask]
    return Rows(rows.scaled[inside], rows.own[inside], starts.astype(np.int64))
