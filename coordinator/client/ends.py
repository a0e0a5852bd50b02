"""What a survival curve says beyond its noise: intervals with sampling in them (Greenwood's and the noise's), the log-rank test.

Groups are the cells of the question. A patient counts once in the city's records of one hospital; one of two hospitals is two.
"""

import math
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from coordinator.client.checked import Verified
from coordinator.client.fits.curves import curve, rank_test
from coordinator.client.fits.result import Estimate
from coordinator.client.table import AnswerTable, Measured
from coordinator.client.texts import Say
from protocols.query.terms import Survival


def curves(cells: AnswerTable, measured: Measured) -> list[list[Estimate]]:
    """For each cell, survival to each edge; the standard error counts sampling and noise."""
    names = [str(edge) for edge in _of(measured).edges]
    rows, sd = _entries(cells, measured)
    return [curve(names, row, sd) for row in rows]


def ranked(cells: AnswerTable, measured: Measured) -> dict[str, float] | None:
    """The log-rank test between the cells of which anything is told; None where they are not two."""
    rows, sd = _entries(cells, measured)
    return rank_test(rows, len(_of(measured).edges), sd)


def _of(measured: Measured) -> Survival:
    if not isinstance(measured.measure, Survival):
        raise TypeError("not a survival curve")
    return measured.measure


def _entries(cells: AnswerTable, measured: Measured) -> tuple[np.ndarray[Any, np.dtype[np.float64]], float]:
    stretch = measured.parts[0].over(cells.kept)
    return stretch.values.reshape(-1, 2 * len(_of(measured).edges) + 1).astype(np.float64), math.sqrt(stretch.variance)


def survivals(cells: AnswerTable) -> list[Measured]:
    return [each for each in cells.measured if isinstance(each.measure, Survival)]


def survival_parts(given: Verified, say: Say) -> list[Table | Text]:
    parts: list[Table | Text] = []
    for each in survivals(given.cells):
        table = Table(title=say("survival.title"), title_justify="left")
        for axis in given.cells.axes:
            table.add_column(say(f"column.{axis.key}"))
        for edge in _of(each).edges:
            table.add_column(say("survival.day", day=edge), justify="right")
        keys = given.cells.key_columns()
        for n, estimates in enumerate(curves(given.cells, each)):
            labels = [say.label(key, labels[n]) for key, labels in keys.items()]
            table.add_row(*labels, *(_told(one, say) for one in estimates))
        parts.append(table)
        if found := ranked(given.cells, each):
            told = {"statistic": f"{found['chi_square']:.2f}", "df": int(found["df"]), "p": f"{found['p']:.3g}"}
            parts.append(Text(say("survival.log_rank", **told)))
    return parts


def _told(one: Estimate, say: Say) -> str:
    if not one.is_determined:
        return say("answer.untold")
    return f"{one.value:.3f}\n[{max(one.lower, 0):.3f}, {min(one.upper, 1):.3f}]"


def survival_json(given: Verified) -> list[dict[str, Any]]:
    return [
        {
            "measure": each.name,
            "curves": [[one.to_json() for one in row] for row in curves(given.cells, each)],
            "log_rank": ranked(given.cells, each),
        }
        for each in survivals(given.cells)
    ]
