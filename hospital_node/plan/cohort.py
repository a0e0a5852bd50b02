"""Which rows of a plan count, by the row itself and by the patient's other rows.

Rules
- A window is a search by halves among the sorted (patient, day) pairs of its own rows: a row is inside if its patient has a day
  between the two ends. The event that a survival curve waits for is the first such day. Nothing but one patient's rows decides
  about that patient's row.
- A missing value meets no condition, so that its NOT holds.
- A row that no measure counts is dropped before cells are chosen: it would take a place among the patient's k cells for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import duckdb
import numpy as np
from numpy.typing import NDArray

from hospital_node.plan.bounding import Booleans
from hospital_node.plan.compile import DAY_ZERO, CompiledPlan, plain_leaves
from hospital_node.plan.packing import Int64s
from hospital_node.plan.picking import end_name, ends
from hospital_node.plan.reading import Columns, columns_of
from protocols.query import QuerySpec
from protocols.query.terms import AllOf, AnyOf, Cohort, Has, Is, Not, Period, Survival

NEVER = np.iinfo(np.int64).min


def filters_of(spec: QuerySpec) -> tuple[Cohort, ...]:
    """The filters of the measures, each once; a row's marks have one bit for each, in this order."""
    return tuple(dict.fromkeys(measure.filter for measure in spec.measures if measure.filter is not None))


@dataclass(frozen=True, slots=True)
class Counted:
    """The rows that count, and for which filters; `marks` is None where no measure has one, or all the same."""

    columns: Columns
    marks: NDArray[np.uint8] | None


def counted(spec: QuerySpec, plan: CompiledPlan, columns: Columns, connection: duckdb.DuckDBPyConnection) -> Counted:
    waited = tuple(measure for measure in spec.measures if isinstance(measure, Survival))
    if not (spec.cohorts or waited):
        return Counted(columns, None)
    firsts = _firsts(spec, plan, columns, connection)
    known: dict[Is | Has, Booleans] = {
        leaf: np.asarray(columns[f"holds_{n}"], dtype=np.bool_) for n, leaf in enumerate(plain_leaves(spec))
    }
    known |= {window: first != NEVER for window, first in firsts.items()}
    columns = {**columns, **{end_name(each): _ends_of(spec, each, columns, firsts[each.event]) for each in waited}}
    is_in = np.ones(len(columns["person"]), dtype=np.bool_) if spec.cohort is None else _holds(spec.cohort, known)
    marks, filters = np.zeros(len(is_in), dtype=np.uint8), filters_of(spec)
    for n, each in enumerate(filters):
        marks |= _holds(each, known).astype(np.uint8) << np.uint8(n)
    is_every_measure_filtered = all(measure.filter is not None for measure in spec.measures)
    if is_every_measure_filtered:
        is_in = is_in & (marks != 0)
    kept = {name: column[is_in] for name, column in columns.items()}
    return Counted(kept, None if len(filters) <= is_every_measure_filtered else marks[is_in])


def _firsts(spec: QuerySpec, plan: CompiledPlan, columns: Columns, connection: duckdb.DuckDBPyConnection) -> dict[Has, Int64s]:
    """For each window, each row's first day inside it on which its patient has what the window looks for, or NEVER."""
    if not spec.windows:
        return {}
    ids, person = np.unique(np.asarray(columns["person"], dtype=np.int64), return_inverse=True)
    firsts: dict[Has, Int64s] = {}
    for window, statement in zip(spec.windows, plan.windows, strict=True):
        found = columns_of(connection, statement)
        firsts[window] = _first(_ends(spec.period, window, columns), ids, person, found)
    return firsts


def _ends_of(spec: QuerySpec, measure: Survival, columns: Columns, first: Int64s) -> Int64s:
    if spec.period is None:
        raise AssertionError("a follow-up without a period was accepted")
    day, start = np.asarray(columns["day"], dtype=np.int64), _number(spec.period.start)
    event = np.where(first == NEVER, 0, first - start - day)
    return ends(measure, day, _number(measure.until) - start, event)


def _holds(cohort: Cohort, known: Mapping[Is | Has, Booleans]) -> Booleans:
    if isinstance(cohort, Not):
        return ~_holds(cohort.of, known)
    if isinstance(cohort, AllOf | AnyOf):
        parts = [_holds(part, known) for part in cohort.of]
        joined: Booleans = np.logical_and.reduce(parts) if isinstance(cohort, AllOf) else np.logical_or.reduce(parts)
        return joined
    return known[cohort]


def _ends(period: Period | None, window: Has, columns: Columns) -> tuple[Int64s, Int64s]:
    """First and last day of each row's window, counted from 1970-01-01."""
    if window.period is not None:
        ends = _number(window.period.start), _number(window.period.end) - 1
        whole = np.zeros(len(columns["person"]), dtype=np.int64)
        return whole + ends[0], whole + ends[1]
    if window.days is None or period is None:
        raise AssertionError("a window without a place in time was accepted")
    day = np.asarray(columns["day"], dtype=np.int64) + _number(period.start)
    return day + window.days[0], day + window.days[1]


def _number(day: date) -> int:
    return (day - DAY_ZERO).days


def _first(window: tuple[Int64s, Int64s], ids: Int64s, person: Int64s, found: Columns) -> Int64s:
    """Each row's patient's first found day between the row's ends, `person` being its place among the sorted `ids`."""
    if not len(ids) or not len(found["person"]):
        return np.full(len(person), NEVER, dtype=np.int64)
    others, day = np.asarray(found["person"], dtype=np.int64), np.asarray(found["day"], dtype=np.int64)
    place = np.minimum(np.searchsorted(ids, others), len(ids) - 1)
    is_known = ids[place] == others
    origin = int(min(day.min(), window[0].min()))
    # Far enough apart that the days of one patient never reach those of the next, whatever end a window has.
    stride = int(max(day.max(), window[1].max())) - origin + 2
    pairs = np.append(np.sort(place[is_known] * stride + (day[is_known] - origin)), np.iinfo(np.int64).max)
    low, high = (person * stride + (end - origin) for end in window)
    first = pairs[np.searchsorted(pairs, low, "left")]
    return np.where(first <= high, first - person * stride + origin, NEVER)
