"""How well a public model's chances do on rows that it may not have seen: ROC, AUC and calibration by bins of the chance.

The weights are public, in the columns' own units, intercept first: those of another fit, of a paper, of a score in use.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from protocols.fits.regression import Features
from protocols.fits.shape import Fit, require_features
from protocols.fits.terms import Category, Number, Variable


class Roc(Fit):
    """Rows without the outcome by bin, rows with it by bin, and the sum of the chances by bin."""

    fit: Literal["roc"] = "roc"
    outcome: Category
    features: Features
    weights: Annotated[tuple[Number, ...], Field(min_length=2, max_length=41)]
    bins: Annotated[int, Field(ge=2, le=1000)]

    def require_sound(self) -> None:
        require_features(self.features, self.outcome)
        if len(self.weights) != len(self.features) + 1:
            raise ValueError("weights are an intercept and one a feature")

    @property
    def variables(self) -> tuple[Variable, ...]:
        return (*self.features, self.outcome)

    @property
    def width(self) -> int:
        return 3 * self.bins

    @property
    def row_squared(self) -> int:
        return 2
