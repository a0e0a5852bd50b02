"""What else the same price would buy, before anything is spent: coarser questions, and fewer cells of each patient.

From the spec and the number of hospitals alone. A coarser question is worth asking as such, since its cells carry one draw of noise
where a sum of the finer cells carries one for each: both half-widths are told, for the same cell at the same cost.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from typing import Any

from coordinator.client.column import reach
from coordinator.client.forecast import ByPrice, Forecast
from privacy.errors import InvalidPrice
from privacy.rdp import share_variance
from protocols.query import Layout, QueryError, QuerySpec
from protocols.query.terms import Average, Quantiles, Residents, Spread

WORTH = 0.8
"""Told only if it leaves at most this share of the interval."""
MOST = 4


@dataclass(frozen=True, slots=True)
class Advice:
    """Another question at the same price. `instead_of` is the half-width that the question as it stands has for such a cell."""

    keys: tuple[str, ...]
    cells_per_patient: int
    cells: int
    half_width: float
    instead_of: float


def advice(spec: QuerySpec, cast: Forecast) -> tuple[Advice, ...]:
    """The finest questions first. None for means, spreads, quantiles and residents, whose interval depends on the counts."""
    if isinstance(spec.measures[0], Average | Spread | Quantiles | Residents):
        return ()
    found = {(each.keys, each.cells_per_patient): each for each in _advised(spec, cast)}
    worth = [each for each in found.values() if each.half_width <= WORTH * each.instead_of]
    return tuple(sorted(worth, key=lambda each: (-each.cells, each.half_width))[:MOST])


def _advised(spec: QuerySpec, cast: Forecast) -> Iterator[Advice]:
    now = cast.layout.segments[0]
    for other in _coarser(spec):
        layout = Layout.of(other)
        if (half := _half_width(layout, cast)) is None:
            continue
        merged = Fraction(cast.layout.grid.size, layout.grid.size)
        summed = math.sqrt(cast.total_variances[0] * merged)
        yield Advice(layout.grid.keys, layout.cells_kept, layout.grid.size, half, reach(summed**2) / now.scale)


def _half_width(layout: Layout, cast: Forecast) -> float | None:
    try:
        variance = ByPrice(cast.price.one).variances(layout.segments, cast.order)[0]
    except InvalidPrice:  # no table is wide enough
        return None
    return reach(cast.n * share_variance(variance, cast.n, cast.colluders)) / layout.segments[0].scale


def _coarser(spec: QuerySpec) -> Iterator[QuerySpec]:
    fields = spec.to_json()
    fields.pop("totals", None)
    for keys in _key_lists(fields["keys"]):
        yield from _valid(fields | {"keys": keys})
    for kept in range(1, Layout.of(spec).cells_kept):
        yield from _valid(fields | {"cells_per_patient": kept})


def _key_lists(keys: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    monthly = [{"key": "month"} if key["key"] == "iso_week" else key for key in keys]
    names = [key["key"] for key in keys]
    if "iso_week" in names and "month" not in names:
        yield monthly
    for length in range(1, len(keys)):
        for some in combinations(range(len(keys)), length):
            yield [keys[n] for n in some]
            if "iso_week" in [names[n] for n in some] and "month" not in names:
                yield [monthly[n] for n in some]


def _valid(fields: dict[str, Any]) -> Iterator[QuerySpec]:
    try:
        yield QuerySpec.from_fields(fields)
    except QueryError:  # without its key a condition may say nothing any more
        return
