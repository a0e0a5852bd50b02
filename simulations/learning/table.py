"""An invented research table at any number of hospitals: uneven in size, and each with patients of its own kind.

The outcome follows from the columns by public weights, an interaction and chance; a hospital's patients lie around a centre of its
own. The seed is for the table alone.
"""

import numpy as np

from hospital_node.fits.bounded import Floats
from hospital_node.fits.rows import Rows
from protocols.fits import Category, Numeric

FEATURES = tuple(Numeric(column=f"x{place}", low="-1", high="1") for place in range(8))
OUTCOME = Category(column="ill", category="yes")
TYPICAL, SMALLEST = 40, 10
"""Patients at a middling hospital, and at the smallest."""
TESTED = 2_000
_WEIGHTS = np.array([2.5, -2.0, 1.5, -1.0, 0.75, 0.5, 0.0, 0.0])


def hospital(number: int, seed: int) -> Rows:
    """One row a patient; the same rows whenever the same hospital is asked for."""
    draw = np.random.default_rng((seed, number))
    patients = max(SMALLEST, int(TYPICAL * draw.lognormal(0.0, 0.7)))
    centre = draw.normal(0.0, 0.25, len(FEATURES))
    values = _patients(draw, patients, centre)
    return Rows(values, values, np.arange(patients, dtype=np.int64))


def unseen(seed: int) -> Floats:
    """Patients of the same population whom no training has seen."""
    draw = np.random.default_rng((seed, 2**32 - 1))
    return _patients(draw, TESTED, np.zeros(len(FEATURES)))


def _patients(draw: np.random.Generator, many: int, centre: Floats) -> Floats:
    columns = np.clip(draw.normal(centre, 0.5, (many, len(FEATURES))), -1.0, 1.0)
    score = 2.0 * (columns @ _WEIGHTS + 1.5 * columns[:, 0] * columns[:, 1] - 0.4)
    return np.column_stack([columns, draw.uniform(size=many) < 1.0 / (1.0 + np.exp(-score))])
