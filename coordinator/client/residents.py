"""Residents, as an answer tells them: the released integers are filled buckets, and what a person wants is how many stand behind.

Rules
- Each cell's interval is that of `privacy.union.distinct`: it covers the noise of both sides and the chance of the throw.
- A cell whose buckets are all but full says nothing, neither do sums over it.
- Residents of several cells add up to cases, not to residents: a sum over cells counts a resident once in each.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from coordinator.client.column import Column, Floats, judged_column
from coordinator.client.forecast import Forecast
from coordinator.client.texts import Say
from coordinator.client.wording import number
from privacy.union import distinct, relative_sd
from protocols.query.terms import Residents

Z = 1.96
LOADS = (Fraction(1, 16), Fraction(1, 4), Fraction(1), Fraction(3))
"""Residents a bucket for which a preview tells the error."""


def resident_column(name: str, filled: NDArray[np.int64], variance: Fraction, buckets: int, kept: tuple[int, ...]) -> Column:
    """`filled` has one axis a key; those not in `kept` are summed."""
    told = np.array([_ends(int(each), buckets, variance) for each in filled.reshape(-1)]).reshape(*filled.shape, 3)
    gone = tuple(axis for axis in range(filled.ndim) if axis not in kept)
    values = told[..., 0].sum(axis=gone).reshape(-1)
    below, above = (np.sqrt((told[..., n] ** 2).sum(axis=gone)).reshape(-1) for n in (1, 2))
    sd: Floats = (below + above) / (2 * Z)
    return judged_column(name, np.round(values), np.floor(values - below), np.ceil(values + above), values, sd)


def _ends(filled: int, buckets: int, variance: Fraction) -> tuple[float, float, float]:
    """The estimate, and how far its interval goes below and above it."""
    found = distinct(filled, buckets, variance)
    if found is None or found.high is None:
        return math.nan, math.nan, math.nan
    return found.value, found.value - found.low, found.high - found.value


@dataclass(frozen=True, slots=True)
class Error:
    """With so many residents in a cell, the half-width of its interval."""

    residents: int
    half_width: int


def errors(cast: Forecast) -> list[Error]:
    """What the answer's error will be; it depends on what nobody knows yet. Empty for another question."""
    measure = cast.layout.segments[0].measure
    if not isinstance(measure, Residents):
        return []
    sizes = [int(load * measure.buckets) for load in LOADS]
    return [Error(n, math.ceil(Z * n * relative_sd(n, measure.buckets, cast.total_variances[0]))) for n in sizes]


def error_table(cast: Forecast, say: Say) -> list[Table]:
    found = errors(cast)
    table = Table(say("preview.residents"), say("preview.half_width"), title=say("preview.residents_title"), title_justify="left")
    for each in found:
        table.add_row(number(each.residents), f"± {number(each.half_width)} ({100 * each.half_width / each.residents:.1f} %)")
    return [table] if found else []


def errors_json(cast: Forecast) -> dict[str, Any]:
    found = errors(cast)
    return {"residents": [{"residents": each.residents, "half_width": each.half_width} for each in found]} if found else {}
