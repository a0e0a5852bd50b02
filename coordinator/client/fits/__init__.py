"""From a release to what a fit says, by its kind; `read_result` is the one way in."""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from coordinator.client.fits import comparisons, curves, regressions, shapes, trainings
from coordinator.client.fits.result import Estimate, Result
from protocols.fits import (
    TRAININGS,
    Anova,
    Cox,
    Fit,
    Floats,
    KaplanMeier,
    KMeans,
    Linear,
    Logistic,
    MannWhitney,
    MetaAnalysis,
    NegativeBinomial,
    Pca,
    Poisson,
    Roc,
    StratifiedCox,
    TTest,
)
from protocols.secagg.ring import Integers

READINGS: dict[type[Fit], Callable[[Any, Floats, float], Result]] = {
    Linear: regressions.linear,
    Logistic: regressions.newton,
    Poisson: regressions.newton,
    NegativeBinomial: regressions.newton,
    Cox: regressions.newton,
    StratifiedCox: regressions.newton,
    TTest: comparisons.means,
    Anova: comparisons.means,
    MannWhitney: comparisons.mann_whitney,
    MetaAnalysis: comparisons.meta_analysis,
    KaplanMeier: curves.kaplan_meier,
    Roc: curves.roc,
    Pca: shapes.pca,
    KMeans: shapes.k_means,
    **dict.fromkeys(TRAININGS, trainings.weights),
}


def read_result(spec: Fit, released: Integers, total_variance: Fraction, hospitals: int = 0) -> Result:
    """`total_variance` is the noise of one released integer: all members' shares together; `hospitals` are those who answered."""
    sd = math.sqrt(total_variance) / spec.scale
    result = READINGS[type(spec)](spec, np.asarray(released, np.float64), sd)
    return comparisons.heterogeneity(result, hospitals) if isinstance(spec, MetaAnalysis) else result


__all__ = ["READINGS", "Estimate", "Result", "read_result"]
