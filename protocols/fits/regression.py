"""Regressions: linear from one round of second moments, the others by Newton rounds at public weights.

A row's contribution to a Newton round is its gradient and the upper triangle of its Hessian (expected information), so that
`released` is both. The mean of a count is exp(weights . features + log offset), cut at the outcome's public bound.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from protocols.contract import CONTRACT
from protocols.fits.shape import Fit, Floats, Moments, require_features, symmetric, triangle
from protocols.fits.terms import INTERCEPT, Category, Number, Numeric, Variable

Features = Annotated[tuple[Variable, ...], Field(min_length=1, max_length=40)]


class Linear(Moments):
    """Least squares, from the moments of features and, last, the outcome."""

    fit: Literal["linear"] = "linear"
    outcome: Numeric
    features: Features

    def require_sound(self) -> None:
        require_features(self.features, self.outcome)

    @property
    def variables(self) -> tuple[Variable, ...]:
        return (*self.features, self.outcome)

    @property
    def columns(self) -> tuple[str, ...]:
        return (INTERCEPT, *(each.label for each in self.features))


class Newton(Fit):
    """What the regressions of several rounds share."""

    fewest_rounds = 2
    most_rounds = CONTRACT.segment_rounds
    has_intercept: ClassVar[bool] = True

    features: Features

    @property
    def columns(self) -> tuple[str, ...]:
        return (INTERCEPT, *(each.label for each in self.features))

    @property
    def inputs(self) -> int:
        return len(self.columns)

    @property
    def width(self) -> int:
        return self.inputs + triangle(self.inputs)

    def unpacked(self, vector: Floats) -> tuple[Floats, Floats]:
        """Gradient and Hessian of a round in the features' units."""
        return vector[: self.inputs] / self.scale, symmetric(self.inputs, vector[self.inputs :] / self.scale)


class Logistic(Newton):
    """The log-odds that the row has the outcome's category."""

    fit: Literal["logistic"] = "logistic"
    outcome: Category

    def require_sound(self) -> None:
        require_features(self.features, self.outcome)

    @property
    def variables(self) -> tuple[Variable, ...]:
        return (*self.features, self.outcome)

    @property
    def row_squared(self) -> int:
        """The largest r^2 p + (r (1 - r))^2 p (p + 1) / 2 over residuals r, rounded up."""
        size, steps = self.inputs, 64
        reached = (r * r * steps**2 * size + (r * (steps - r)) ** 2 * triangle(size) for r in range(steps + 1))
        return -(-max(reached) // steps**4)


class Count(Newton):
    """A number of events, with an exposure where there is an offset."""

    outcome: Numeric
    offset: Numeric | None = None
    row_clip: Number | None = None

    def require_sound(self) -> None:
        require_features(self.features, self.outcome)
        if self.row_clip is not None and float(self.row_clip) <= 0:
            raise ValueError("a clip is above 0")
        if float(self.outcome.low) != 0:
            raise ValueError("a count begins at 0")
        if self.offset is not None and float(self.offset.low) <= 0:
            raise ValueError("an offset is an exposure above 0")

    @property
    def variables(self) -> tuple[Variable, ...]:
        return (*self.features, self.outcome, *((self.offset,) if self.offset else ()))

    @property
    def largest(self) -> float:
        return float(self.outcome.high)

    @property
    def row_squared(self) -> int:
        """Residual and mean are at most the outcome's bound; a `row_clip` below it shortens the rows that come near."""
        whole = math.ceil(self.largest**2) * self.width
        return whole if self.row_clip is None else min(whole, math.ceil(float(self.row_clip) ** 2))


class Poisson(Count):
    """The log of a count's mean."""

    fit: Literal["poisson"] = "poisson"


class NegativeBinomial(Count):
    """The log of a count's mean, whose variance is mean + dispersion * mean^2 at a public dispersion."""

    fit: Literal["negative_binomial"] = "negative_binomial"
    dispersion: Number

    def require_sound(self) -> None:
        super().require_sound()
        if float(self.dispersion) <= 0:
            raise ValueError("a dispersion is above 0; without one the fit is a poisson")
