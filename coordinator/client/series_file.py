"""A series as a file: CSV that Excel opens in Chinese, Parquet, or the JSON of `--json`.

Columns: `span` (month, three_months, to_date), `from` and `to` (the day after the last), one per key with its `_name` as in an
answer's file, then `<measure>_value`, `_lower`, `_upper`, `_half_width`. A row without keys is the sum of all cells, whose interval
is narrower than the sum of theirs. Nothing is rounded or clamped.
"""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from coordinator.client.export import write_file
from coordinator.client.series import Answers, series_of
from coordinator.client.series_lines import Line, Span, by_cell, spans, summed
from coordinator.client.series_view import scale_of
from coordinator.client.table import column_names
from coordinator.client.texts import NAMED, Say
from coordinator.client.year import moved
from privacy.series import Series
from protocols.query import QuerySpec

if TYPE_CHECKING:
    import pyarrow


def write_series(spec: QuerySpec, answers: Answers, as_json: dict[str, Any], path: Path, say: Say) -> None:
    """Raises BadUsage for a name whose ending says no format, or a place that cannot be written."""
    write_file(path, lambda: as_json, lambda: series_table(spec, answers, say))


def series_table(spec: QuerySpec, answers: Answers, say: Say) -> "pyarrow.Table":
    import pyarrow as pa

    found = {name: series for n, name in enumerate(column_names(spec.measures)) if (series := series_of(answers, n)) is not None}
    over = spans(next(iter(found.values()))) if found else []
    rows = [row for span in over for row in _rows(spec, span)]
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in ("span", "from", "to")}
    for key in spec.grid().keys:
        columns[key] = pa.array([row[key] for row in rows], pa.string())
        if key in NAMED:
            names = [None if row[key] is None else say.label(key, row[key]) for row in rows]
            columns[f"{key}_name"] = pa.array(names, pa.string())
    for n, (name, series) in enumerate(found.items()):
        told = _numbers(series, over, scale_of(spec, n), has_total=bool(spec.keys))
        for part, numbers in told.items():
            columns[f"{name}_{part}"] = numbers
    return pa.table(columns)


def _rows(spec: QuerySpec, span: Span) -> list[dict[str, Any]]:
    """The labels of each cell of one span, and of their sum."""
    grid, first = spec.grid(), _first(spec)
    start, end = (moved(first, "month", month) for month in (span.start, span.stop))
    about = {"span": span.name, "from": start, "to": end}
    cells = [about | dict(zip(grid.keys, grid.labels_of(cell), strict=True)) for cell in range(grid.size)]
    return [*cells, about | dict.fromkeys(grid.keys)] if spec.keys else cells


def _first(spec: QuerySpec) -> date:
    if spec.period is None:
        raise AssertionError("a series without a period was accepted")
    return spec.period.start


def _numbers(found: Series, over: Sequence[Span], scale: int, *, has_total: bool) -> dict[str, Any]:
    lines: list[Line] = []
    for span in over:
        lines.append(by_cell(found, span, scale))
        if has_total:
            lines.append(summed(found, [span], np.ones(found.values.shape[1], dtype=np.bool_), scale))
    parts = {"value": "values", "lower": "lower", "upper": "upper", "half_width": "half_widths"}
    return {name: np.concatenate([getattr(line, field) for line in lines]) if lines else [] for name, field in parts.items()}
