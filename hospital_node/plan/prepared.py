"""Months kept for the next question: what one of the same shape for other months, or for these again, need not read anew.

Promise: `execute_prepared` gives the integers of `execute`, to the last one (tests/hospital_node/plan/test_prepared.py).

Rules
- A month is kept as what it adds to an answer (`months`), and as its rows in order. Which cells of its patients count depends on
  one patient's rows of one block and on the node's key of the period alone (`bounding`), so that they are the same whatever months
  a question asks beside them. A month that the period of a question cuts has other rows: its cells are chosen anew among those.
- Read is the whole month, for all of which a question pays that cuts it; months that follow one another in one pass.
- Kept under the question's shape, which is all of it but the period and its months' weights, and under the key of the period: the
  next key chooses anew. A `Prepared` belongs to one generation of the records and goes with it.
- Only for questions bounded per block, of tables with dates. A bound over the whole query knows no months, and whatever looks at
  rows of other days has no other. Measures that choose one of a patient's rows (categories, survival) ask `execute`.
- In memory alone. How many bytes a month takes depends on records, so that of the shapes that a node has to have ready (`remember`)
  no month goes because of them: the public rules that name these shapes bound them (`asked_before`). All others share what those
  leave of `most_bytes`; the month asked longest ago goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from hashlib import sha256
from itertools import groupby, pairwise
from threading import Lock

import duckdb
import numpy as np

from hospital_node.plan.execute import DAY, execute, rows_with_days, tallies_of
from hospital_node.plan.months import Month, answer, narrowed, places_in
from hospital_node.plan.packing import Int64s, Packing, Rows
from protocols.query import Grid, Layout, QuerySpec
from protocols.query.cohort import QUERY_BOUND
from protocols.query.terms import Categories, Period, Survival

MOST_BYTES = 512 << 20


def is_preparable(spec: QuerySpec) -> bool:
    """Whether its months can be kept, by the question alone."""
    has_months = spec.period is not None and spec.bound != QUERY_BOUND
    return has_months and not any(isinstance(each, Categories | Survival) for each in spec.measures)


def execute_prepared(spec: QuerySpec, connection: duckdb.DuckDBPyConnection, bounding_key: bytes, prepared: Prepared) -> Int64s:
    """The exact vector of a bounded query. `prepared` has to be of the records that `connection` reads."""
    if not is_preparable(spec):
        return execute(spec, connection, bounding_key)
    kept = prepared.months(spec, connection, bounding_key)
    parts = list(parts_of(spec))
    whole = [each == month_of(each) for each in parts]
    months = [month.all if is_whole else month.part(spec, part, bounding_key)
              for month, part, is_whole in zip(kept, parts, whole, strict=True)]  # fmt: skip
    return answer(Layout.of(spec), months, whole, spec.weights)


@dataclass(frozen=True, slots=True)
class KeptMonth:
    """A month of a shape: what all of it adds, and its rows, in order, for questions that ask of a part of it."""

    period: Period
    packing: Packing
    rows: Rows
    all: Month

    @classmethod
    def of(cls, spec: QuerySpec, packing: Packing, rows: Rows, bounding_key: bytes) -> KeptMonth:
        """`spec` asks of this month, and the rows' cells are those of its grid."""
        return cls(_of(spec), packing, rows, _month(spec, packing, rows, bounding_key))

    def part(self, spec: QuerySpec, part: Period, bounding_key: bytes) -> Month:
        """What some days of the month add to a question of this shape."""
        asked, first = _asked_of(spec, part), (part.start - self.period.start).days
        days = self.rows.more[DAY]
        chosen = self.rows.at(np.flatnonzero((days >= first) & (days < first + (part.end - part.start).days)))
        numbers = _numbers_in(asked.grid(), _asked_of(spec, self.period).grid())
        return _month(asked, self.packing, _renumbered(chosen, self.packing, numbers), bounding_key)

    @property
    def nbytes(self) -> int:
        rows = self.rows
        columns = [rows.keys, rows.micro, rows.marks, self.packing.ids, *rows.more.values()]
        return self.all.nbytes + sum(each.nbytes for each in columns if each is not None)


class Prepared:
    """The months of one generation of the records."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes, self._bytes, self._lock = most_bytes, 0, Lock()
        self._kept: OrderedDict[tuple[bytes, date], KeptMonth] = OrderedDict()
        self._remembered: frozenset[bytes] = frozenset()

    def remember(self, shapes: Iterable[QuerySpec], bounding_key: bytes) -> None:
        """The shapes whose months stay, however many bytes they take, until others are named."""
        with self._lock:
            self._remembered = frozenset(_print_of(each, bounding_key) for each in shapes)
            self._make_room()

    @property
    def size(self) -> int:
        """How many months are kept."""
        return len(self._kept)

    def has(self, spec: QuerySpec, bounding_key: bytes) -> bool:
        """Whether all months that the period of the question touches are there."""
        return is_preparable(spec) and None not in self._found(_print_of(spec, bounding_key), list(map(month_of, parts_of(spec))))

    def months(self, spec: QuerySpec, connection: duckdb.DuckDBPyConnection, bounding_key: bytes) -> list[KeptMonth]:
        """All months that the period of the question touches, in their order; those that are not there are read."""
        shape, months = _print_of(spec, bounding_key), [month_of(each) for each in parts_of(spec)]
        found = self._found(shape, months)
        for is_there, stretch in groupby(range(len(months)), lambda at: found[at] is not None):
            if not is_there:
                places = list(stretch)
                missing = months[places[0] : places[-1] + 1]
                for at, month in zip(places, _read(spec, missing, connection, bounding_key), strict=True):
                    found[at] = month
                    self._keep(shape, month)
        return [month for month in found if month is not None]

    def _found(self, shape: bytes, months: Sequence[Period]) -> list[KeptMonth | None]:
        with self._lock:
            found = [self._kept.get((shape, each.start)) for each in months]
            for each, month in zip(months, found, strict=True):
                if month is not None:
                    self._kept.move_to_end((shape, each.start))
        return found

    def _keep(self, shape: bytes, month: KeptMonth) -> None:
        name = (shape, month.period.start)
        with self._lock:
            if name in self._kept:
                return  # another thread was as fast
            self._kept[name] = month
            self._bytes += month.nbytes
            self._make_room()

    def _make_room(self) -> None:
        others = [each for each in self._kept if each[0] not in self._remembered]
        for each in others:
            if self._bytes <= self._most_bytes:
                return
            self._bytes -= self._kept.pop(each).nbytes


def parts_of(spec: QuerySpec) -> Iterator[Period]:
    """What the period of a question leaves of each month."""
    if spec.period is None:
        raise AssertionError("a question without a period has no months")
    start = spec.period.start
    while start < spec.period.end:
        end = min(next_month(start), spec.period.end)
        yield _period(start, end)
        start = end


def month_of(part: Period) -> Period:
    """The whole month that a part of one lies in."""
    return _period(part.start.replace(day=1), next_month(part.start))


def of_month(spec: QuerySpec, first: date) -> QuerySpec:
    """The question of one month alone."""
    return _asked_of(spec, _period(first, next_month(first)))


def next_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=31)).replace(day=1)


def _print_of(spec: QuerySpec, bounding_key: bytes) -> bytes:
    """All that the kept months depend on, beside the records and which months they are."""
    shape = spec.model_dump_json(exclude={"period", "weights"}).encode()
    return sha256(b"kapok prepared v2\0" + sha256(bounding_key).digest() + shape).digest()


def _read(
    spec: QuerySpec, months: Sequence[Period], connection: duckdb.DuckDBPyConnection, bounding_key: bytes
) -> Iterator[KeptMonth]:
    """Whole months that follow one another, in one pass over their rows."""
    together = _asked_of(spec, _period(months[0].start, months[-1].end))
    packed, leaves, parts = rows_with_days(together, connection), together.grid(), [list[Rows]() for _ in months]
    for piece in packed.pieces():
        for of_month, rows in zip(parts, _by_month(piece, packed.packing, len(months)), strict=True):
            of_month.append(rows)
    for month, pieces in zip(months, parts, strict=True):
        asked = _asked_of(spec, month)
        rows = _renumbered(Rows.joined(pieces), packed.packing, _numbers_in(asked.grid(), leaves))
        days = rows.more[DAY] - (month.start - months[0].start).days
        yield KeptMonth.of(asked, packed.packing, Rows(rows.keys, rows.micro, rows.marks, {DAY: narrowed(days)}), bounding_key)


def _by_month(piece: Rows, packing: Packing, months: int) -> Iterator[Rows]:
    """The rows of each month, in the order in which they stand."""
    month = packing.block(piece.keys)
    in_order = piece.at(np.argsort(month.astype(np.min_scalar_type(months)), kind="stable"))
    for start, end in pairwise([0, *np.cumsum(np.bincount(month, minlength=months)).tolist()]):
        yield in_order.at(slice(start, end))


def _numbers_in(part: Grid, leaves: Grid) -> Int64s:
    """The cell of a grid of fewer days that each cell is; those that are none of it are never looked up."""
    numbers = np.zeros(leaves.size, dtype=np.int64)
    numbers[places_in(leaves, part)] = np.arange(part.size)
    return numbers


def _renumbered(rows: Rows, packing: Packing, numbers: Int64s) -> Rows:
    cell = packing.cell(rows.keys)
    return Rows(rows.keys - cell + numbers[cell], rows.micro, rows.marks, rows.more)


def _month(spec: QuerySpec, packing: Packing, rows: Rows, bounding_key: bytes) -> Month:
    [tallies] = tallies_of(spec, packing, [Rows(rows.keys, rows.micro, rows.marks)], bounding_key)
    return Month.of(spec, tallies)


def _asked_of(spec: QuerySpec, period: Period) -> QuerySpec:
    return spec.model_copy(update={"period": period, "weights": None})


def _of(spec: QuerySpec) -> Period:
    if spec.period is None:
        raise AssertionError("a month without its days")
    return spec.period


def _period(start: date, end: date) -> Period:
    return Period.model_validate({"from": start, "to": end})
