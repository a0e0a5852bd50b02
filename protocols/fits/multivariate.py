"""Principal components from one round of second moments, and k-means by rounds at public centres."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from protocols.contract import CONTRACT
from protocols.fits.shape import Fit, Floats, Moments
from protocols.fits.terms import Numeric, Variable

Columns = Annotated[tuple[Numeric, ...], Field(min_length=2, max_length=40)]
_PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71,
           73, 79, 83, 89, 97, 101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167, 173)  # fmt: skip


class Pca(Moments):
    """Of the columns alone."""

    fit: Literal["pca"] = "pca"
    columns: Columns

    @property
    def variables(self) -> tuple[Variable, ...]:
        return self.columns


class KMeans(Fit):
    """Per cluster: rows and the sum of their columns; last, squared distances over four times the number of columns."""

    fewest_rounds = 2
    most_rounds = CONTRACT.segment_rounds

    fit: Literal["k_means"] = "k_means"
    columns: Columns
    clusters: Annotated[int, Field(ge=2, le=20)]

    @property
    def variables(self) -> tuple[Variable, ...]:
        return self.columns

    @property
    def inputs(self) -> int:
        return self.clusters * len(self.columns)

    @property
    def width(self) -> int:
        return self.clusters * (1 + len(self.columns)) + 1

    @property
    def row_squared(self) -> int:
        return 2 + len(self.columns)

    def start(self) -> Floats:
        """Public centres, spread evenly (Halton's sequence), the same for everybody."""
        return self.limited(
            np.array([2 * _radical(n, prime) - 1 for n in range(1, self.clusters + 1) for prime in _PRIMES[: len(self.columns)]])
        )


def _radical(number: int, prime: int) -> float:
    """The digits of the number in this prime, mirrored behind the point."""
    value, unit = 0.0, 1.0
    while number:
        unit /= prime
        number, digit = divmod(number, prime)
        value += digit * unit
    return value
