"""Has the months ready that were asked before: after a start, after an import, and where a count was broken off.

Rules
- What to prepare and since when it counts as prepared is said by `asked_before`, from public facts. Here it is only done, in one
  thread, in memory: a kill leaves nothing, a full disk matters to nothing, and the next start begins again.
- A month that was asked is left to the count of its question for the length of a slot, and looked after then.
- What fails is logged by its kind and tried again at the next change. A question that then does not find its months counts them
  itself, and if its slot is too short for that the node stops, as it does for every count that does not fit.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from threading import Event, Lock
from typing import NamedTuple

import duckdb

from audit_ledger.view import LedgerView
from hospital_node.asked_before import AskedBefore, Shape
from hospital_node.config import Config
from hospital_node.counting import Plans
from hospital_node.journal import StoredReady
from hospital_node.logs import log
from hospital_node.plan.prepared import next_month
from hospital_node.records.errors import RecordsError
from protocols.asked import Asked
from protocols.clock import unix
from protocols.query import QuerySpec
from protocols.query.terms import Period

DECISIONS_KEPT = 256
Key = Callable[[str], bytes]
"""The bounding key of a year."""


class Work(NamedTuple):
    """Over the records of a generation: the questions that are remembered, and those whose months are to be had ready."""

    generation: str
    remembered: tuple[QuerySpec, ...]
    wanted: tuple[QuerySpec, ...]


@dataclass(slots=True)
class Preparing:
    """Whether questions find their months ready. By the thread that follows the ledger; a question that is decided, by any."""

    config: Config
    view: Callable[[], LedgerView]
    plans: Plans
    key: Key
    before: AskedBefore
    _opened_at: dict[str, int] = field(default_factory=dict)
    _in_force: str | None = None
    _decided: OrderedDict[str, bool] = field(default_factory=OrderedDict)
    _wanted: Work | None = None
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="preparing"))
    _is_closed: Event = field(default_factory=Event)
    _lock: Lock = field(default_factory=Lock)

    def look(self, now: int) -> None:
        """Notices new records and new questions, and begins what they need. Every second."""
        if not self._is_on or (generation := self._generation(now)) is None:
            return
        asked_until = now - self.config.slot_of_tables_ms / 1000
        with self._lock:
            self.before.read(self.view().questions)
            shapes = list(reversed(self.before.shapes.values()))
            stretches = (each for shape in shapes for each in _stretches(shape, asked_until))
            wanted = Work(generation, tuple(each.spec for each in shapes), tuple(stretches))
            if wanted != self._wanted:
                self._wanted = wanted
                if wanted.remembered:
                    self._pool.submit(self._prepare, wanted, self.before.year)

    @property
    def _is_on(self) -> bool:
        return self.config.prepared_slot_ms is not None and self.plans.keeps_months

    def _generation(self, now: int) -> str | None:
        try:
            generation = self.plans.generation()
        except (RecordsError, duckdb.Error):
            return None  # the next Offer is refused for it, and says why
        if generation != self._in_force:
            self._in_force = generation  # also one that was in force before: its months may be gone
            self._opened_at[generation] = now
        return generation

    def _prepare(self, work: Work, year: str) -> None:
        with _logged():
            key = self.key(year)
            self.plans.remember_tables(work.remembered, work.generation, key)
            for done, spec in enumerate(work.wanted):
                if self._is_closed.is_set() or work != self._wanted:
                    return  # what came since includes it
                with _logged():
                    if self.plans.prepare_table(spec, work.generation, key):
                        log.info("months prepared", entries=done + 1, size=len(work.wanted))

    def is_ready(self, asked: Asked, ready: StoredReady) -> bool:
        """Decided once a question, so that all that asks for its slot is told the same."""
        if not self._is_on:
            return False
        with self._lock:
            if ready.query not in self._decided:
                self._decided[ready.query] = self._decide(asked, ready)
                while len(self._decided) > DECISIONS_KEPT:
                    self._decided.popitem(last=False)
            return self._decided[ready.query]

    def _decide(self, asked: Asked, ready: StoredReady) -> bool:
        self.before.read(self.view().questions)
        opened_at, logged = self._opened_at.get(ready.generation), self.view().questions[ready.query].readys.get(self.config.uri)
        if opened_at is None or logged is None:
            return False
        ready_at = unix(logged.statement.at)
        return self.before.has_ready(asked, ready.month[:4], ready_at, opened_at, self.config.slot_of_tables_ms)

    def close(self) -> None:
        self._is_closed.set()
        self._pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _logged() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 (its text may quote a record)
        log.error("months not prepared", code="node.not_prepared", error=type(error).__name__)


def _stretches(shape: Shape, asked_until: float) -> Iterator[QuerySpec]:
    """The shape's question over each run of months that were asked by then."""
    months = sorted(each for each, asked_at in shape.months.items() if asked_at <= asked_until)
    runs: list[tuple[date, date]] = []
    for each in months:
        runs = [*runs[:-1], (runs[-1][0], next_month(each))] if runs and runs[-1][1] == each else [*runs, (each, next_month(each))]
    for start, end in runs:
        yield shape.spec.model_copy(update={"period": Period.model_validate({"from": start, "to": end}), "weights": None})
