"""The series of an answer over weeks or months, with its interval: one panel for the city, one for each label of a second key.

A question that has a percentage is drawn as that, and a survival curve over its days (`chart_curve`).

The city's line is the sum of its cells and carries the interval of that sum (variances add), which is narrower than the sum of
the panels' intervals. Further keys are summed too. Chinese labels need a font with Chinese characters; without one the chart
is labelled in English, and the caller is told.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from audit_ledger.party import drawing
from audit_ledger.party.drawing import CITY_COLOUR, LINE_COLOUR
from coordinator.client.chart_curve import figure_of_curves
from coordinator.client.checked import Verified
from coordinator.client.column import Column, Numbers
from coordinator.client.ends import survivals
from coordinator.client.errors import BadUsage
from coordinator.client.export import CHART_FORMATS, require_format
from coordinator.client.table import AnswerTable
from coordinator.client.texts import ENGLISH, Say
from protocols.query import Axis, Language, QuerySpec
from protocols.query.terms import Survival

MOST_PANELS = 11


def require_drawable(spec: QuerySpec) -> None:
    """Raises BadUsage for what has no chart; call it before asking, so that a typing error costs no budget."""
    if not any(isinstance(measure, Survival) for measure in spec.measures):
        _time_of(spec.grid().axes)


def _time_of(answer_axes: tuple[Axis, ...]) -> Axis:
    time = next((axis for axis in answer_axes if axis.key in {"iso_week", "month"}), None)
    if time is None:
        raise BadUsage("error.no_series")
    return time


def draw(answer: Verified, path: Path, say: Say) -> bool:
    """Writes the chart; whether it has labels in the reader's language. Raises BadUsage."""
    return save(lambda words: figure_of(answer, words), path, say)


def save(make: Callable[[Say], Figure], path: Path, say: Say) -> bool:
    """Writes a figure in the reader's language, or in English where no font can write it; whether it could. Raises BadUsage."""
    require_format(path, CHART_FORMATS)
    try:
        return drawing.save(lambda is_chinese: make(say if is_chinese else ENGLISH), path, say.lang is Language.ZH)
    except OSError as error:
        raise BadUsage("error.file", path=path, why=error.strerror or type(error).__name__) from None


def figure_of(answer: Verified, say: Say) -> Figure:
    if survivals(answer.cells):
        return figure_of_curves(answer, say)
    cells, time = answer.cells, _time_of(answer.cells.axes)
    panels = _panel_axis(cells, time)
    labels = panels.labels if panels else ()
    columns = 1 if not labels else 3
    rows = 1 + -(-len(labels) // columns)
    figure = Figure(figsize=(11, 3.4 + 2.1 * (rows - 1)), layout="constrained")
    grid = figure.add_gridspec(rows, columns, height_ratios=[1.6] + [1.0] * (rows - 1))
    name = say.code("measure", _shown(cells).name)
    figure.suptitle(say("chart.title", measure=name, by=say(f"column.{time.key}")))
    city = figure.add_subplot(grid[0, :])
    whole = say("chart.city_share" if cells.shares else "chart.city")
    _series(city, time, _shown(cells.collapsed((time.key,))), whole, CITY_COLOUR)
    if panels:
        _panels(figure, grid, cells.collapsed((time.key, panels.key)), time, panels, say)
    if answer.is_exact:
        figure.supxlabel(say("exact.chart"), fontsize=9, color="#c00000", fontweight="bold")
    else:
        figure.supxlabel(say("chart.note"), fontsize=8, color="0.35")
    return figure


def _shown(cells: AnswerTable) -> Column:
    """The percentage of a question that has one, else its first measure."""
    return cells.shares[0].columns(cells.kept)[0] if cells.shares else cells.columns[0]


def _panel_axis(cells: AnswerTable, time: Axis) -> Axis | None:
    others = [axis for axis in cells.axes if axis is not time and len(axis.labels) <= MOST_PANELS]
    return next((axis for axis in others if axis.key == "district"), others[0] if others else None)


def _panels(figure: Figure, grid: object, cells: AnswerTable, time: Axis, panels: Axis, say: Say) -> None:
    column, keys, shared = _shown(cells), cells.key_columns()[panels.key], None
    for n, label in enumerate(panels.labels):
        chosen = [cell for cell, key in enumerate(keys) if key == label]
        axes = figure.add_subplot(grid[1 + n // 3, n % 3], sharey=shared)  # type: ignore[index]
        shared = shared or axes
        _series(axes, time, _picked(column, chosen), say.label(panels.key, label), LINE_COLOUR)


def _picked(column: Column, chosen: list[int]) -> Column:
    return column.rows(np.array(chosen, dtype=np.int64))


def _series(axes: Axes, time: Axis, column: Column, title: str, colour: str) -> None:
    band(axes, time.labels, column.values, column.lower, column.upper, title, colour)


def band(axes: Axes, labels: Sequence[str], values: Numbers, lower: Numbers, upper: Numbers, title: str, colour: str) -> None:
    """A line over weeks or months, with its interval as a band."""
    places = range(len(labels))
    axes.fill_between(places, lower, upper, color=colour, alpha=0.22, linewidth=0)
    axes.plot(places, values, color=colour, linewidth=1.4, marker="o" if len(labels) <= 26 else "", markersize=2.5)
    axes.axhline(0, color="0.6", linewidth=0.6)
    step = max(1, -(-len(labels) // 6))
    axes.set_xticks(list(places)[::step], [label.replace("-", "\n", 1) for label in labels[::step]], fontsize=7)
    axes.tick_params(axis="y", labelsize=7)
    axes.set_title(title, fontsize=9, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
