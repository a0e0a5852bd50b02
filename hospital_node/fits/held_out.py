"""Patients whom a training never learns from, and what they say of a model in its last round.

Promise: who is held out depends on the patient, the table and this hospital's key, and on nobody else. A held-out (patient, block)
moves the counted sums by at most `unit` in L2, whatever her rows hold and whatever the study says; somebody who is not held out
moves them by nothing.
"""

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from hashlib import sha256

import numpy as np
import numpy.typing as npt

from hospital_node.errors import GradientError
from hospital_node.fits.bounded import Floats, Mask
from hospital_node.fits.rows import Rows
from hospital_node.plan.bounding import BoundingKey
from protocols.fits import Evaluated
from protocols.secagg.ring import Integers

Chances = Callable[[Floats, Rows], Iterator[npt.NDArray[np.floating]]]
"""From weights and rows to the model's chance a row, some (patient, block)s at a time, in order."""


def held_out(spec: Evaluated, persons: Integers, key: bytes) -> Mask:
    """Which patients, of each (patient, block)'s own."""
    tag = int.from_bytes(sha256(f"held out {spec.table} {spec.catalogue}".encode()).digest()[:8], "little")
    rank = BoundingKey(key).rank(persons, np.full(len(persons), tag, np.uint64))
    mask: Mask = rank < np.uint64(math.floor(Fraction(spec.held_out) * 2**64))
    return mask


def held_out_sums(spec: Evaluated, rows: Rows, weights: Floats, chances: Chances) -> Integers:
    """Held-out (patient, block)s by outcome and bin, `unit` each. Raises GradientError, StudyFailed."""
    total = np.zeros(2 * spec.bins, np.int64)
    if not len(rows.starts):
        return total
    found = _one_a_row(np.concatenate(list(chances(weights, rows))), len(rows.scaled))
    lengths = np.diff(np.append(rows.starts, len(rows.scaled)))
    # Split among her rows and rounded down: together never more than the unit, and less by no more than a row's one.
    share = np.repeat(spec.unit // lengths, lengths)
    is_told = np.isfinite(found)
    bins = np.minimum((np.clip(np.where(is_told, found, 0.0), 0.0, 1.0) * spec.bins).astype(np.int64), spec.bins - 1)
    place = np.where(rows.scaled[:, -1] > 0, spec.bins, 0) + bins
    np.add.at(total, place[is_told], share[is_told])
    return total


def _one_a_row(found: npt.NDArray[np.floating], rows: int) -> Floats:
    if found.shape != (rows,) or found.dtype not in (np.float32, np.float64):
        raise GradientError(f"chances: expected {rows} numbers of 4 or 8 bytes, got another shape or type")
    return np.asarray(found, np.float64)
