"""A series drawn: the city by month and to date, each with its 95 % noise band, and one panel for each label of a key."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from audit_ledger.party.drawing import CITY_COLOUR, LINE_COLOUR
from coordinator.client.chart import MOST_PANELS, band, save
from coordinator.client.errors import BadUsage
from coordinator.client.series import Answers, series_of
from coordinator.client.series_lines import MONTH, TO_DATE, Span, spans, summed
from coordinator.client.series_view import scale_of
from coordinator.client.table import column_names
from coordinator.client.texts import Say
from coordinator.client.year import moved
from privacy.series import Series
from protocols.query import Axis, QuerySpec

_COLUMNS = 3


def draw_series(spec: QuerySpec, answers: Answers, path: Path, say: Say) -> bool:
    """Writes the chart of the first measure; whether it has labels in the reader's language. Raises BadUsage."""
    found = series_of(answers, 0)
    if found is None:
        raise BadUsage("error.series_empty")
    return save(lambda words: figure_of_series(spec, found, words), path, say)


def figure_of_series(spec: QuerySpec, found: Series, say: Say) -> Figure:
    panels, over = _panel_axis(spec), spans(found)
    labels = panels.labels if panels else ()
    rows = 2 + -(-len(labels) // _COLUMNS)
    figure = Figure(figsize=(11, 6 + 2.1 * (rows - 2)), layout="constrained")
    grid = figure.add_gridspec(rows, _COLUMNS, height_ratios=[1.4, 1.4] + [1.0] * (rows - 2))
    figure.suptitle(say("chart.title", measure=say.code("measure", column_names(spec.measures)[0]), by=say("column.month")))
    everywhere = np.ones(spec.grid().size, dtype=np.bool_)
    for row, (kind, title) in enumerate(((MONTH, "chart.city"), (TO_DATE, "chart.to_date"))):
        axes = figure.add_subplot(grid[row, :])
        _drawn(axes, spec, found, [each for each in over if each.name == kind], everywhere, say(title), CITY_COLOUR)
    shared: Axes | None = None
    months = [each for each in over if each.name == MONTH]
    for n, label in enumerate(labels):
        axes = figure.add_subplot(grid[2 + n // _COLUMNS, n % _COLUMNS], sharey=shared)
        shared = shared or axes
        _drawn(axes, spec, found, months, _cells_of(spec, panels, label), say.label(str(panels and panels.key), label), LINE_COLOUR)
    figure.supxlabel(say("chart.note"), fontsize=8, color="0.35")
    return figure


def _panel_axis(spec: QuerySpec) -> Axis | None:
    axes = [axis for axis in spec.grid().axes if len(axis.labels) <= MOST_PANELS]
    return next((axis for axis in axes if axis.key == "district"), axes[0] if axes else None)


def _cells_of(spec: QuerySpec, axis: Axis | None, label: str) -> NDArray[np.bool_]:
    grid = spec.grid()
    if axis is None:
        raise AssertionError("a panel without a key was drawn")
    place = grid.keys.index(axis.key)
    return np.array([grid.labels_of(cell)[place] == label for cell in range(grid.size)])


def _drawn(axes: Axes, spec: QuerySpec, found: Series, over: list[Span], cells: NDArray[np.bool_], title: str, colour: str) -> None:
    line = summed(found, over, cells, scale_of(spec))
    band(axes, [_month(spec, each) for each in over], line.values, line.lower, line.upper, title, colour)


def _month(spec: QuerySpec, span: Span) -> str:
    """The last month of it."""
    if spec.period is None:
        raise AssertionError("a series without a period was accepted")
    return str(moved(spec.period.start, "month", span.stop - 1))[:7]
