"""Where the exact vector of a question comes from: installed plans over one pinned generation of the records.

Nothing here knows noise, masks or the link.

A count may start as soon as the Ready is on the disk; its result stays in memory and nothing of it leaves before the member set.
"""

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import ClassVar, Protocol

import duckdb

from hospital_node.plan.prepared import Prepared, execute_prepared
from hospital_node.plans import Plan, PreparedTablePlan, TablePlan
from hospital_node.plans import installed as installed_for
from hospital_node.records.errors import RecordsError
from hospital_node.records.generations import file_in_force
from hospital_node.records.schema import open_read_only
from hospital_node.studies.plan import TrainingPlan
from hospital_node.tables.registering import registered_in
from hospital_node.trace import Trace
from protocols.asked import Asked
from protocols.fits import Fit, Training
from protocols.fits.matching import table_differences
from protocols.query import QuerySpec
from protocols.refusal import Refusal
from protocols.secagg.ring import Integers

KEPT_OPEN = 3
THREADS = 2


class Plans(Protocol):
    """What the node can answer from its records."""

    keeps_months: ClassVar[bool]
    """Whether records stay as they are from one question to the next, so that months can be had ready."""

    def generation(self) -> str:
        """The generation in force, held open from here on. Raises a RecordsError where there is none."""
        ...

    def holds(self, generation: str) -> bool:
        """Whether this generation can still be counted."""
        ...

    def refusals(self, asked: Asked, generation: str) -> list[Refusal]:
        """What the question asks of the tables that this node has not, by what is declared of them in public."""
        ...

    def require_input(self, asked: Asked, round_input: bytes) -> None:
        """Raises MalformedBytes for an input that the question cannot have."""
        ...

    def probe(self, asked: Asked) -> None:
        """Runs the plan without a record; whatever it raises is about the question."""
        ...

    def prepare(self, asked: Asked, generation: str) -> None:
        """What a training's rounds have in common, read ahead of the first."""
        ...

    def prepare_table(self, spec: QuerySpec, generation: str, bounding_key: bytes) -> bool:
        """Has the months of a question's period ready for others; False where they were, or cannot be kept here."""
        ...

    def is_prepared(self, asked: Asked, generation: str, bounding_key: bytes) -> bool:
        """Whether a count will find all of its months ready."""
        ...

    def remember_tables(self, shapes: Sequence[QuerySpec], generation: str, bounding_key: bytes) -> None:
        """Of these questions, whatever their periods, months that are ready stay so."""
        ...

    def count(self, asked: Asked, generation: str, bounding_key: bytes, round_input: bytes, number: int) -> Integers:
        """The exact vector of the round of this number, 0 where there is one only."""
        ...

    def close(self) -> None:
        """Lets the records go; a count that still runs keeps them until it ends."""
        ...


class InstalledPlans:
    """The installed plans over the records folder. Connections are read-only and closed to the outside; one a generation.

    What questions prepared belongs to one generation. The newest has it, and the one before for the questions that stand on it.
    """

    keeps_months: ClassVar[bool] = True

    def __init__(self, folder: Path, installed: Mapping[type, Plan] | None = None) -> None:
        self._folder, self._lock = folder, Lock()
        self._installed = installed_for(folder.parent) if installed is None else installed
        self._open: OrderedDict[str, duckdb.DuckDBPyConnection] = OrderedDict()
        self._prepared: dict[str, Prepared] = {}

    def generation(self) -> str:
        with self._lock:
            while True:
                name = _file_in_force(self._folder)
                if name in self._open:
                    self._has_months(name)
                    return name
                self._forget_namesakes(name)
                opened = open_read_only(self._folder)
                if _file_in_force(self._folder) == name:  # else an import came between: read again
                    self._keep(name, opened)
                    return name
                opened.close()

    def _forget_namesakes(self, name: str) -> None:
        """DuckDB opens a file once a process: while one of the same path is open, the path leads to that one."""
        for other in [each for each in self._open if each.split("-")[0] == name.split("-")[0]]:
            self._open.pop(other).close()

    def _keep(self, name: str, opened: duckdb.DuckDBPyConnection) -> None:
        self._open[name] = opened
        self._has_months(name)
        while len(self._open) > KEPT_OPEN:
            self._open.popitem(last=False)  # a count that still runs on it holds a cursor of its own

    def _has_months(self, name: str) -> None:
        """The generation in force, also one that an older pointer names again, and the one that was in force before it."""
        *_, (last, _) = [("", None), *self._prepared.items()]
        if last != name:
            mine = self._prepared.pop(name, None) or Prepared()
            self._prepared = {**dict(list(self._prepared.items())[-1:]), name: mine}

    def holds(self, generation: str) -> bool:
        if generation in self._open:
            return True
        try:
            return self.generation() == generation
        except RecordsError:
            return False

    def refusals(self, asked: Asked, generation: str) -> list[Refusal]:
        plan = self._plan(asked)
        with self._lock:
            cursor = self._open[generation].cursor()
        with cursor:
            if not isinstance(asked.spec, Fit):
                return plan.refusals(asked, cursor) if isinstance(plan, TablePlan) else []
            found = table_differences(asked.spec, registered_in(cursor).get(asked.table))
        return (
            [*found, *plan.refusals(asked.spec)] if isinstance(plan, TrainingPlan) and isinstance(asked.spec, Training) else found
        )

    def require_input(self, asked: Asked, round_input: bytes) -> None:
        self._plan(asked).require_input(asked, round_input)

    def probe(self, asked: Asked) -> None:
        self._plan(asked).probe(asked)

    def prepare(self, asked: Asked, generation: str) -> None:
        plan = self._plan(asked)
        if isinstance(plan, TrainingPlan):
            with self._lock:
                cursor = self._open[generation].cursor()
            with cursor:
                plan.prepare(asked, cursor)

    def prepare_table(self, spec: QuerySpec, generation: str, bounding_key: bytes) -> bool:
        with self._lock:
            prepared = self._prepared.get(generation)
            if prepared is None or generation not in self._open or not isinstance(self._installed[QuerySpec], PreparedTablePlan):
                return False
            if prepared.has(spec, bounding_key):
                return False  # without an answer: each new question has all remembered ones looked after
            cursor = self._open[generation].cursor()
        with cursor:
            before = prepared.size
            execute_prepared(spec, cursor, bounding_key, prepared)
        return prepared.size != before

    def is_prepared(self, asked: Asked, generation: str, bounding_key: bytes) -> bool:
        prepared, spec = self._prepared.get(generation), asked.spec
        if prepared is None or not isinstance(spec, QuerySpec) or asked.is_exact or asked.is_of_residents:
            return False
        return prepared.has(spec, bounding_key)

    def remember_tables(self, shapes: Sequence[QuerySpec], generation: str, bounding_key: bytes) -> None:
        with self._lock:
            prepared = self._prepared.get(generation)
        if prepared is not None:
            prepared.remember(shapes, bounding_key)

    def count(self, asked: Asked, generation: str, bounding_key: bytes, round_input: bytes, number: int) -> Integers:
        with self._lock:
            cursor, prepared = self._open[generation].cursor(), self._prepared.get(generation)
        with cursor:
            plan = self._plan(asked)
            if isinstance(plan, PreparedTablePlan) and prepared is not None:
                return plan.run_prepared(asked, cursor, bounding_key, prepared)
            return plan.run(asked, cursor, bounding_key, round_input, number)

    def close(self) -> None:
        with self._lock:
            self._open.clear()  # closed by the last who holds it: DuckDB closes no file under a running count, it raises

    def _plan(self, asked: Asked) -> Plan:
        return self._installed[type(asked.spec)]


def _file_in_force(folder: Path) -> str:
    """The generation and which file it is: where the folder was emptied or an older copy put back, numbers come a second time."""
    while True:
        path = file_in_force(folder)
        with suppress(FileNotFoundError):  # two imports may pass in between; then there is a newer one
            known = path.stat()
            return f"{path.stem}-{known.st_ino:x}-{known.st_mtime_ns:x}"


class Counts:
    """Counts that run in threads, one for each round and input; results live in memory until they are dropped.

    Counts of months that are ready have threads of their own: they leave in a short slot, and must not wait behind long ones.
    Never one for two rounds, also where their input is the same: a training that samples chooses anew in each.
    """

    def __init__(self, plans: Plans, trace: Trace) -> None:
        self._plans, self._trace = plans, trace
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="counting")
        self._short = ThreadPoolExecutor(THREADS, thread_name_prefix="counting-prepared")
        self._running: dict[tuple[str, int, bytes], Future[Integers]] = {}
        self._lock = Lock()

    def start(
        self, query: str, asked: Asked, generation: str, bounding_key: bytes, round_input: bytes = b"", number: int = 0
    ) -> "Future[Integers]":
        """The running or finished count of this question's round and input, started if there is none; those of older rounds go."""
        key = (query, number, round_input)
        with self._lock:
            if key not in self._running:
                for older in [each for each in self._running if each[0] == query and each[1] < number]:
                    self._running.pop(older).cancel()
                pool = self._short if self._plans.is_prepared(asked, generation, bounding_key) else self._pool
                self._running[key] = pool.submit(self._count, key, asked, generation, bounding_key, time.perf_counter())
            return self._running[key]

    def prepare(self, asked: Asked, generation: str) -> None:
        """Begins what a training's rounds have in common. Whatever fails, the first of them meets again."""
        self._pool.submit(self._plans.prepare, asked, generation)

    def _count(self, key: tuple[str, int, bytes], asked: Asked, generation: str, bounding_key: bytes, wanted: float) -> Integers:
        try:
            with self._trace.step(key[0], "counting"):
                return self._plans.count(asked, generation, bounding_key, key[2], key[1])
        finally:
            self._trace.since(wanted, key[0], "counted")

    def drop(self, query: str) -> None:
        with self._lock:
            gone = [self._running.pop(key) for key in list(self._running) if key[0] == query]
        for running in gone:
            running.cancel()

    def keep(self, queries: set[str]) -> None:
        """Drops all others."""
        for query in {key[0] for key in list(self._running)} - queries:
            self.drop(query)

    def close(self) -> None:
        for pool in (self._pool, self._short):
            pool.shutdown(wait=False, cancel_futures=True)
        self._plans.close()
