"""What a (patient, block, cell) is where its rows say several things: the category of most of them, or the end of the first.

Rules
- A category: the one that most rows of the cell have, the first of the public list where even; missing where no row has one.
- An end of follow-up: that of the patient's first row of the cell. A row's end is the first later day, within the grid and before
  the follow-up ends, on which the patient has the event; else the last day of follow-up, where the patient is censored.
- An end is packed behind the row's day, so that the smallest number of a cell is its first row's.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hospital_node.plan.packing import Int64s
from protocols.query.terms import MAX_EDGES, Survival

CATEGORY = "category_"
END = "end_"
_END_BITS = (2 * MAX_EDGES + 1).bit_length()
Numbers = NDArray[np.integer]


def end_name(measure: Survival) -> str:
    """The column that holds a measure's ends, whatever its filter."""
    return END + measure.model_dump_json(exclude={"filter"})


def ends(measure: Survival, day: Int64s, until: int, event: Int64s) -> Int64s:
    """Each row's day and end, packed. `day` and `until` count from the period's start, `event` from the row (0: there is none)."""
    edges = np.array(measure.edges, dtype=np.int64)
    followed = np.minimum(until - 1 - day, edges[-1])
    has_event = (event > 0) & (event <= followed)
    last = np.where(followed == edges[-1], len(edges), np.searchsorted(edges, followed, "left"))
    place = np.where(has_event, np.searchsorted(edges, event, "left"), len(edges) + last)
    packed: Int64s = (day << _END_BITS) | place
    return packed


def place_of_end(packed: Int64s) -> Int64s:
    return packed & ((1 << _END_BITS) - 1)


def picked(more: Mapping[str, Numbers], starts: Int64s) -> dict[str, Int64s]:
    """One number for each run of rows."""
    return {name: _most(rows, starts) if name.startswith(CATEGORY) else _least(rows, starts) for name, rows in more.items()}


def _least(rows: Numbers, starts: Int64s) -> Int64s:
    return np.minimum.reduceat(rows, starts).astype(np.int64) if len(starts) else np.zeros(0, dtype=np.int64)


def _most(rows: Numbers, starts: Int64s) -> Int64s:
    """The category of most rows, -1 where none has one."""
    best, most = np.full(len(starts), -1, dtype=np.int64), np.zeros(len(starts), dtype=np.int64)
    for category in range(int(rows.max(initial=-1)) + 1):
        have = np.add.reduceat((rows == category).astype(np.int64), starts)
        best, most = np.where(have > most, category, best), np.maximum(have, most)
    return best
