"""Trainings to try, of the studies that come with the node."""

from typing import Any

import numpy as np

from hospital_node.fits.rows import Rows
from hospital_node.studies.installed import installed_studies
from protocols.fits import Training

FEATURES = 3
SIZES = {"logistic": FEATURES + 1, "torch-logistic": FEATURES + 1, "mlp": FEATURES * 32 + 32 + 32 * 32 + 32 + 33}


def training(name: str = "logistic", **changes: Any) -> Training:
    """Of a table `cohort` with columns x0, x1, x2 and an outcome."""
    here = installed_studies()[name]
    fields = {
        "study": {"name": name, "version": here.version, "sha256": here.sha256},
        "table": "cohort",
        "catalogue": "cohort-1",
        "outcome": {"column": "dead", "category": "yes"},
        "features": [{"column": f"x{place}", "low": "-1", "high": "1", "unit": ""} for place in range(FEATURES)],
        "weights": SIZES[name],
        "longest": "1",
        "fineness": 2048,
        "step": "0.5",
    }
    return Training.model_validate({**fields, **changes}, strict=False)


def some_rows(blocks: int, seed: int = 1) -> Rows:
    """One to three rows a (patient, block)."""
    draw = np.random.default_rng(seed)
    lengths = draw.integers(1, 4, blocks)
    values = draw.uniform(-1, 1, (int(lengths.sum()), FEATURES + 1))
    values[:, -1] = values[:, -1] > 0
    return Rows(values, values, np.cumsum(lengths) - lengths)
