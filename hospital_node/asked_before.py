"""Which months of which questions a node has ready: a function of what stands in the ledger, of its start and of its imports.

Whether a contribution leaves in the shorter slot (`slots`) hangs on this and on nothing else: no record, no time that a count took
and no byte of memory decides it.

Rules
- A shape is a question without its period and its months' weights. Readys of this node for shapes whose months can be kept are gone
  through as the ledger has them; a month counts as asked from the first such Ready on.
- The shapes asked last are remembered, so many that they fit into memory whatever the records say: by the size class that IT
  declares, by how many lists of patients each needs, and by how long the answers of its months are. What is forgotten is asked for
  the first time when it comes again.
- Another year has another bounding key: all shapes of the year before are forgotten.
- A question finds its months ready when all that it touches were asked so long before its own Ready, and this process has held its
  records for so long, that every remembered shape has had a slot of its own since, and one more.
"""

import math
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import date
from hashlib import sha256
from itertools import islice

from audit_ledger.view import QuestionFacts
from hospital_node.plan.prepared import is_preparable, month_of, of_month, parts_of
from protocols.asked import Asked
from protocols.clock import month, unix
from protocols.contract import CONTRACT
from protocols.errors import ProtocolError
from protocols.query import Layout, QueryError, QuerySpec

MOST_SHAPES, LARGEST_FOR_ALL = 16, 20
"""Shapes remembered by a node of this size class or below; half of them for every class above."""
MOST_NUMBERS = 1 << 25
"""Of all months of the remembered shapes, in their answers: 256 MB."""
LOOKED_AT = 256
"""Questions of the ledger, the latest, among which a node looks for its own."""


@dataclass(slots=True)
class Shape:
    """A question of some period, and its months with the moment from which each counts as asked."""

    spec: QuerySpec
    lists: int
    months: dict[date, int] = field(default_factory=dict)
    numbers: int = 0
    """In the answers of its months."""


@dataclass(slots=True)
class AskedBefore:
    """The shapes that this hospital has given Readys for. `read` is called in the order of the ledger, again and again."""

    me: str
    size_class: int
    year: str = ""
    shapes: OrderedDict[str, Shape] = field(default_factory=OrderedDict)
    _read: dict[str, None] = field(default_factory=dict)

    def read(self, questions: dict[str, QuestionFacts]) -> None:
        """Takes in the Readys that have come since."""
        recent = islice(reversed(questions.items()), LOOKED_AT)
        new = [(id_, facts) for id_, facts in recent if id_ not in self._read and self.me in facts.readys]
        for id_, facts in sorted(new, key=lambda each: unix(each[1].readys[self.me].statement.at)):
            self._read[id_] = None
            self._take(facts)
        while len(self._read) > 2 * LOOKED_AT:
            self._read.pop(next(iter(self._read)))

    def _take(self, facts: QuestionFacts) -> None:
        ready = facts.readys[self.me].statement
        year = month(unix(ready.not_after) - CONTRACT.window_s)[:4]
        if year != self.year:
            self.year, self.shapes = year, OrderedDict()
        try:
            asked = Asked.of(facts.query)
        except (ProtocolError, QueryError):
            return
        if (spec := _preparable(asked)) is None:
            return
        shape = self.shapes.setdefault(_name(spec), Shape(spec, _lists(spec)))
        self.shapes.move_to_end(_name(spec))
        for each in _months(spec):
            if each not in shape.months:
                shape.months[each] = unix(ready.at)
                shape.numbers += _numbers(spec, each)
        while not self._has_room():
            self.shapes.popitem(last=False)

    def _has_room(self) -> bool:
        most = MOST_SHAPES >> max(0, self.size_class - LARGEST_FOR_ALL)
        shapes = self.shapes.values()
        return sum(each.lists for each in shapes) <= most and sum(each.numbers for each in shapes) <= MOST_NUMBERS

    def settle_s(self, slot_ms: int) -> int:
        """How long after a month was asked, or the records were opened, every remembered shape has certainly been counted."""
        return self.settle_s_of(len(self.shapes), slot_ms)

    @staticmethod
    def settle_s_of(shapes: int, slot_ms: int) -> int:
        return math.ceil((shapes + 1) * slot_ms / 1000) + SPARE_S

    def has_ready(self, asked: Asked, year: str, ready_at: int, opened_at: int, slot_ms: int) -> bool:
        """Whether a question whose Ready is of this moment finds all of its months ready. `slot_ms` holds any count."""
        spec = _preparable(asked)
        shape = self.shapes.get(_name(spec)) if spec is not None and year == self.year else None
        if spec is None or shape is None:
            return False
        asked_at = [shape.months.get(each) for each in _months(spec)]
        since = [opened_at, *(each for each in asked_at if each is not None)]
        return None not in asked_at and ready_at >= max(since) + self.settle_s(slot_ms)


SPARE_S = 3
"""For whole seconds, and for the second that passes until a node looks at what it has to prepare."""


def _preparable(asked: Asked) -> QuerySpec | None:
    spec = asked.spec
    is_kept = isinstance(spec, QuerySpec) and is_preparable(spec) and not asked.is_exact and not asked.is_of_residents
    return spec if is_kept and isinstance(spec, QuerySpec) else None


def _name(spec: QuerySpec) -> str:
    return sha256(spec.model_dump_json(exclude={"period", "weights"}).encode()).hexdigest()


def _lists(spec: QuerySpec) -> int:
    """How many lists of patients are kept of it, and at least one."""
    return max(1, sum(segment.is_union for segment in Layout.of(spec).segments))


def _numbers(spec: QuerySpec, first: date) -> int:
    return Layout.of(of_month(spec, first)).dimension


def _months(spec: QuerySpec) -> list[date]:
    return [month_of(each).start for each in parts_of(spec)]
