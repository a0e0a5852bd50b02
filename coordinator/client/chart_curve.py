"""A survival curve as steps over days, one for each group, with the band that sampling and noise leave."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from coordinator.client.checked import Verified
from coordinator.client.ends import curves, survivals
from coordinator.client.texts import Say

MOST_GROUPS = 6
_COLOURS = ("#1f4e79", "#b5442e", "#3d7a3d", "#8a5a9e", "#a07000", "#4a4a4a")


def figure_of_curves(answer: Verified, say: Say) -> Figure:
    """Of the first curve that was asked; the first groups, where there are many."""
    measured = survivals(answer.cells)[0]
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    keys = answer.cells.key_columns()
    told = curves(answer.cells, measured)[:MOST_GROUPS]
    edges = [0, *(int(each.name) for each in told[0])]
    for n, estimates in enumerate(told):
        name = say("list.comma").join(say.label(key, labels[n]) for key, labels in keys.items()) or say("table_one.all")
        if not estimates[0].is_determined:
            axes.plot([], [], color=_COLOURS[n], label=say("list.colon").join((name, say("answer.untold"))))
            continue
        ends = [(1.0, 1.0, 1.0), *((one.value, max(one.lower, 0.0), min(one.upper, 1.0)) for one in estimates)]
        _steps(axes, edges, np.array(ends), name, _COLOURS[n])
    axes.set_ylim(0, 1.02)
    axes.set_xlabel(say("chart.days"))
    axes.set_ylabel(say("chart.survival"))
    axes.legend(frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(say("survival.title"), fontsize=11)
    return figure


def _steps(axes: Axes, edges: list[int], ends: np.ndarray[tuple[int, int], np.dtype[np.float64]], name: str, colour: str) -> None:
    value, low, high = ends.T
    axes.fill_between(edges, low, high, step="post", color=colour, alpha=0.18, linewidth=0)
    axes.step(edges, value, where="post", color=colour, linewidth=1.6, label=name)
    axes.vlines(edges[1:], low[1:], high[1:], color=colour, linewidth=0.8)
    axes.plot(edges[1:], value[1:], color=colour, linestyle="", marker="o", markersize=3)
