"""What a fit says once it is verified: estimates in the columns' own units, with standard errors of sampling and noise together.

Standard errors take the released sums for what they are: a sample of patients, plus noise of a stated size. Two things are not in
them: patients of more rows than `rows_per_patient` are shortened, and noise so large that it bends the estimate itself. The second
is told as a note (`is_drowned`).
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from coordinator.client.fits.tails import normal
from protocols.fits import Floats

NORMAL_95 = 1.959963984540054
NOISE_SHARE = 0.3
"""Above this share of a matrix's weakest direction the noise may bend an estimate, and not only blur it."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """One number; `p_value` is two-sided, of its being zero, where that is a question. What the sums do not determine is NaN."""

    name: str
    value: float
    standard_error: float
    p_value: float | None = None

    @property
    def lower(self) -> float:
        return self.value - NORMAL_95 * self.standard_error

    @property
    def upper(self) -> float:
        return self.value + NORMAL_95 * self.standard_error

    @property
    def is_determined(self) -> bool:
        return math.isfinite(self.value)

    def to_json(self) -> dict[str, Any]:
        """What is not determined is null: JSON has no NaN."""
        told = {**asdict(self), "lower": self.lower, "upper": self.upper}
        return {name: None if isinstance(each, float) and not math.isfinite(each) else each for name, each in told.items()}


@dataclass(frozen=True, slots=True)
class Result:
    """`figures` stand for the whole fit: a test's statistic and p, a share explained. `is_log`: estimates are logs of ratios.

    `converged`: whether the last round still moved an estimate by what matters; None where no rounds lead there.
    """

    estimates: tuple[Estimate, ...]
    figures: dict[str, float] = field(default_factory=dict)
    is_log: bool = False
    is_drowned: bool = False
    model: tuple[float, ...] = ()
    """The trained weights, in the order of the study's model."""
    converged: bool | None = None

    @property
    def undetermined(self) -> list[str]:
        return [each.name for each in self.estimates if not each.is_determined]

    def to_json(self) -> dict[str, Any]:
        return {
            "coefficients": [each.to_json() for each in self.estimates],
            "figures": self.figures,
            "is_drowned": self.is_drowned,
            **({} if self.converged is None else {"converged": self.converged}),
            **({"model": list(self.model)} if self.model else {}),
        }


def tested(name: str, value: float, variance: float) -> Estimate:
    """An estimate whose being zero is a question, by the normal distribution."""
    error = math.sqrt(max(variance, 0.0))
    return Estimate(name, float(value), error, normal(value / error) if error > 0 else None)


def stated(name: str, value: float, variance: float) -> Estimate:
    return Estimate(name, float(value), math.sqrt(max(float(variance), 0.0)))


def by_noise(of: Callable[[Floats], Floats], at: Floats, sd: float) -> Floats:
    """Covariance that independent noise of this standard deviation on every entry gives a function of the sums, to first order."""
    if sd == 0:
        size = len(np.atleast_1d(of(at)))
        return np.zeros((size, size))
    step = sd * 1e-3
    moved = [(np.atleast_1d(of(at + step * each)) - np.atleast_1d(of(at - step * each))) / (2 * step) for each in np.eye(len(at))]
    slopes = np.array(moved)
    covariance: Floats = sd**2 * slopes.T @ slopes
    return covariance


def drowned(matrix: Floats, sd: float) -> bool:
    """Whether noise of this size on every entry may bend what is solved by the matrix."""
    return bool(2 * sd * math.sqrt(len(matrix)) > NOISE_SHARE * max(float(np.linalg.eigvalsh(matrix)[0]), 0.0)) if sd else False
