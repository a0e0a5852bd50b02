"""Time to an event on a public grid: Kaplan-Meier with log-rank in one round, Cox by Newton rounds.

The grid's edges cut time into intervals (0, e1], (e1, e2], ...; who outlives the last edge is censored there. Risk sets are sums
over the whole city: a patient moves the histogram of ends by one entry, and no hospital's risk set is ever shown. Cox's model is
fitted with one baseline hazard an interval (piecewise exponential), which is Cox's on that grid and a sum over patients.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from protocols.fits.comparison import Groups
from protocols.fits.regression import Features, Newton
from protocols.fits.shape import Fit, Floats, require_features, symmetric, triangle
from protocols.fits.terms import Category, Number, Numeric, Variable

Edges = Annotated[tuple[Number, ...], Field(min_length=1, max_length=200)]
START = -2.0
"""The first round's log hazard an interval: from above Newton's steps on a mean are short, from far below they are not."""


class KaplanMeier(Fit):
    """Per group: events by interval, then those censored by interval, the last of them those who outlive the grid."""

    is_rounded = False

    fit: Literal["kaplan_meier"] = "kaplan_meier"
    time: Numeric
    event: Category
    edges: Edges
    groups: Groups | None = None

    def require_sound(self) -> None:
        require_grid(self.time, self.edges)
        if self.groups is not None and self.groups.column in {self.time.column, self.event.column}:
            raise ValueError("the groups are neither time nor event")

    @property
    def names(self) -> tuple[str, ...]:
        return self.groups.categories if self.groups else ("all",)

    @property
    def variables(self) -> tuple[Variable, ...]:
        return (self.time, self.event, *(self.groups.variables if self.groups else ()))

    @property
    def width(self) -> int:
        return len(self.names) * (2 * len(self.edges) + 1)

    @property
    def row_squared(self) -> int:
        return 1

    @property
    def scale(self) -> int:
        return 1


class Cox(Newton):
    """Log hazard ratios. The numbers of a round are log hazards an interval, then the weights of the features."""

    has_intercept: ClassVar[bool] = False

    fit: Literal["cox"] = "cox"
    time: Numeric
    event: Category
    edges: Edges
    features: Features
    row_clip: Number | None = None

    def require_sound(self) -> None:
        require_grid(self.time, self.edges)
        require_features(self.features, self.event)
        require_features(self.features, self.time)
        if self.row_clip is not None and float(self.row_clip) <= 0:
            raise ValueError("a clip is above 0")

    @property
    def variables(self) -> tuple[Variable, ...]:
        return (*self.features, self.time, self.event)

    @property
    def columns(self) -> tuple[str, ...]:
        return (*(f"interval {n}" for n in range(1, len(self.edges) + 1)), *(each.label for each in self.features))

    @property
    def width(self) -> int:
        """Gradient; the Hessian's diagonal of the intervals, its block between intervals and features, and that of the features."""
        grid, size = len(self.edges), len(self.features)
        return grid + size + grid + grid * size + triangle(size)

    @property
    def row_squared(self) -> int:
        """Of a row whose cumulative hazard is at most 1; who has outlived more of it is shortened to this."""
        size = len(self.features)
        whole = 2 + 2 * size + triangle(size)
        return whole if self.row_clip is None else math.ceil(float(self.row_clip) ** 2)

    def start(self) -> Floats:
        numbers = np.zeros(self.inputs)
        numbers[: len(self.edges)] = START
        return self.limited(numbers)

    def unpacked(self, vector: Floats) -> tuple[Floats, Floats]:
        grid, size = len(self.edges), len(self.features)
        gradient, between, features = np.split(vector / self.scale, [grid + size, 2 * grid + size + grid * size])
        crossed = between[grid:].reshape(grid, size)
        hessian = np.block([[np.diag(between[:grid]), crossed], [crossed.T, symmetric(size, features)]])
        return gradient, hessian


class StratifiedCox(Newton):
    """Log hazard ratios by Cox's partial likelihood, each hospital's patients at risk among themselves alone. Exact mode alone:
    whoever is added moves every risk set that they were in. Ties after Efron (1977) or Breslow (1974)."""

    has_intercept: ClassVar[bool] = False
    is_exact_only: ClassVar[bool] = True

    fit: Literal["cox_stratified"] = "cox_stratified"
    time: Numeric
    event: Category
    features: Features
    ties: Literal["efron", "breslow"] = "efron"

    def require_sound(self) -> None:
        require_features(self.features, self.event)
        require_features(self.features, self.time)
        if float(self.time.low) != 0:
            raise ValueError("time begins at 0")

    @property
    def variables(self) -> tuple[Variable, ...]:
        return (*self.features, self.time, self.event)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(each.label for each in self.features)

    @property
    def row_squared(self) -> int:
        """Of nothing: no row is clipped, and no price follows from it."""
        return 1


def require_grid(time: Numeric, edges: tuple[str, ...]) -> None:
    """Raises ValueError for edges that do not rise from above 0 to the time's public bound at most."""
    points = [float(each) for each in edges]
    if float(time.low) != 0:
        raise ValueError("time begins at 0")
    if points != sorted(set(points)) or points[0] <= 0 or points[-1] > float(time.high):
        raise ValueError("edges rise, from above 0 to the time's bound at most")
