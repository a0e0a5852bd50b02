"""One line of a benchmark's result: our figure, the peer's in the same run, their ratio, and the bar it has to pass."""

import operator
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

_OPERATORS: Final[dict[str, Callable[[float, float], bool]]] = {"<=": operator.le, ">=": operator.ge}


@dataclass(frozen=True, slots=True)
class Row:
    """`bar` is a direction and a number ("<= 2.0"): of the ratio where there is one, else of `ours`; "" is no bar.

    `ours` is None where nothing could be measured; `how` then says why, and there is no verdict.
    """

    name: str
    unit: str
    ours: float | None
    reference: float | None
    ratio: float | None
    bar: str
    ok: bool | None
    how: str

    @classmethod
    def measured(
        cls,
        name: str,
        unit: str,
        ours: float,
        how: str,
        *,
        bar: str = "",
        reference: float | None = None,
        ratio: float | None = None,
    ) -> "Row":
        """`ratio` is the median of the turns' ratios; where it is not given, that of the two figures."""
        if ratio is None and reference:
            ratio = ours / reference
        judged = ours if ratio is None else ratio
        return cls(name, unit, ours, reference, ratio, bar, passes(judged, bar) if bar else None, how)

    @classmethod
    def not_measured(cls, name: str, unit: str, bar: str, why: str) -> "Row":
        return cls(name, unit, None, None, None, bar, None, why)

    @classmethod
    def of_json(cls, raw: Mapping[str, Any]) -> "Row":
        return cls(**raw)

    def to_json(self) -> dict[str, Any]:
        return {name: round(value, 6) if isinstance(value, float) else value for name, value in asdict(self).items()}


def passes(figure: float, bar: str) -> bool:
    """Whether the figure keeps the bar. Raises ValueError for a bar without a direction."""
    direction, _, limit = bar.partition(" ")
    if direction not in _OPERATORS:
        raise ValueError(f"bar: expected '<= number' or '>= number', got {bar!r}")
    return _OPERATORS[direction](figure, float(limit))


def load() -> str:
    """What else the machine was doing, for the row's `how`."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
