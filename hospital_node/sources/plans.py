"""Questions answered from the hospital's own database; what `counting.InstalledPlans` is for imported records.

Rules
- Before a Ready the database is looked at (`checks`), at most every 30 s; what is wrong refuses the question, named by its code.
- After a Ready its rows are read once, in one statement for each table and stretch of months, into memory; every attempt answers
  from that one reading, since a count runs once per question and process. A restarted process refuses what it had a Ready for
  (`holds`): the database may have moved on.
- A server that fails or is cut off after the Ready is a count that failed: zeros and noise, and a pause.
- Tables without a mapping and trainings (which would read once a round) are refused by the probe.
- Residents are counted where the mapping says in which column of `patients` their numbers stand (`residents`).
"""

import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import ClassVar
from zoneinfo import ZoneInfo

import pyarrow as pa

from hospital_node.plan import execute
from hospital_node.plan.columns import RELATIONS
from hospital_node.plan.compile import compile_plan
from hospital_node.plans import TablePlan
from hospital_node.records.codes import CodeMap
from hospital_node.records.residents import Residents
from hospital_node.sources import residents
from hospital_node.sources.checks import faults
from hospital_node.sources.cleaning import clean, empty
from hospital_node.sources.errors import SourceError
from hospital_node.sources.mapping import MappedTable, Source, read_password
from hospital_node.sources.servers import Server, open_server
from hospital_node.sources.statements import Reading, statement, whole
from protocols.asked import Asked
from protocols.fits import Fit
from protocols.query import QuerySpec, Table
from protocols.query.domains import months_between
from protocols.refusal import Reason, Refusal
from protocols.secagg.ring import Integers

LOOKED_AT_S = 30
CHECK_TIMEOUT_S = 2


@dataclass(slots=True)
class DatabasePlans:
    """The installed plans over `source.toml`'s database, in the hospital's zone."""

    home: Path
    source: Source
    zone: ZoneInfo
    codes: CodeMap
    clock: Callable[[], float] = time.monotonic
    _plan: TablePlan = field(init=False)
    _name: str = field(default_factory=lambda: f"live-{secrets.token_hex(8)}")
    _sound_until: float = 0.0
    _lock: Lock = field(default_factory=Lock)
    keeps_months: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self._plan = TablePlan(self._residents)

    def _residents(self) -> Residents | None:
        return Residents.of(self.home)

    def generation(self) -> str:
        """This process's name. Raises the first SourceError that keeps the database from being asked."""
        with self._lock:
            if self.clock() >= self._sound_until:
                for fault in self.faults():
                    raise fault
                self._sound_until = self.clock() + LOOKED_AT_S
        return self._name

    def faults(self) -> list[SourceError]:
        """Everything that is wrong, for people."""
        try:
            with closing(self._open(CHECK_TIMEOUT_S)) as server:
                return list(faults(self.source, server, datetime.now(self.zone).replace(tzinfo=None)))
        except SourceError as error:
            return [error]

    def close(self) -> None:
        """Each question has a connection of its own."""

    def holds(self, generation: str) -> bool:
        return generation == self._name

    def refusals(self, asked: Asked, generation: str) -> list[Refusal]:
        if asked.is_of_residents and self._residents() is None:
            return [Refusal(Reason.NO_RESIDENT_KEY, "the residents' key of the city", "none")]
        if asked.is_of_residents and not residents.can_tell(self.source.patients):
            return [Refusal(Reason.NO_RESIDENT_TAGS, "a database whose mapping names patients.resident", "none")]
        if isinstance(asked.spec, Fit):
            return [Refusal(Reason.TABLE_NOT_REGISTERED, "a node of imported records", "a live database", asked.table)]
        return []

    def require_input(self, asked: Asked, round_input: bytes) -> None:
        self._plan.require_input(asked, round_input)

    def probe(self, asked: Asked) -> None:
        with empty(*(reading for reading, _ in self._readings(asked))) as records:
            execute(_table_query(asked), records, bytes(32), is_bounded=not asked.is_exact)

    def prepare(self, asked: Asked, generation: str) -> None:
        """A database is asked no training."""

    def prepare_table(self, spec: QuerySpec, generation: str, bounding_key: bytes) -> bool:
        """A live database changes: nothing of one question serves the next."""
        return False

    def remember_tables(self, shapes: Sequence[QuerySpec], generation: str, bounding_key: bytes) -> None:
        """Nothing is kept."""

    def is_prepared(self, asked: Asked, generation: str, bounding_key: bytes) -> bool:
        return False

    def count(self, asked: Asked, generation: str, bounding_key: bytes, round_input: bytes, number: int) -> Integers:
        readings, engine = self._readings(asked), self.source.database.engine
        with closing(self._open()) as server:
            found = [(reading, mapped, server.rows(statement(engine, mapped, reading))) for reading, mapped in readings]
            numbers = self._numbers(server) if asked.is_of_residents else None
        today = datetime.now(self.zone).date()
        with empty(*(reading for reading, _ in readings)) as records:
            for reading, mapped, rows in found:
                clean(records, rows, reading, mapped, self.codes, today, bounding_key)
            if numbers is not None:
                residents.tag(records, numbers, _table_query(asked).table, self._key(), bounding_key)
            return self._plan.run(asked, records, bounding_key, round_input, number)

    def _numbers(self, server: Server) -> pa.Table:
        return server.rows(statement(self.source.database.engine, self.source.tables[Table.PATIENTS], residents.NUMBERS))

    def _key(self) -> Residents:
        found = self._residents()
        if found is None:
            raise LookupError("the residents' key is gone")
        return found

    def rehearsed_s(self, table: Table) -> float:
        """Seconds to read the last year of a table as a question would, for residents where it can; the rows are dropped unseen."""
        today, started = datetime.now(self.zone).date(), time.monotonic()
        reading = whole(table, (today - timedelta(days=365), today + timedelta(days=1)))
        with closing(self._open()) as server:
            server.rows(statement(self.source.database.engine, self.source.tables[table], reading))
            if residents.can_tell(self.source.patients):
                self._numbers(server)
        return time.monotonic() - started

    def _readings(self, asked: Asked) -> list[tuple[Reading, MappedTable]]:
        """One for each stretch of months of each table that the plan reads."""
        readings = readings_of(_table_query(asked))
        if not all(reading.table in self.source.tables for reading in readings):
            raise LookupError("a table is not mapped")
        return [(reading, self.source.tables[reading.table]) for reading in readings]

    def _open(self, timeout_s: int | None = None) -> Server:
        return open_server(self.source.database, read_password(self.home, self.source.database), self.zone, timeout_s)


def _table_query(asked: Asked) -> QuerySpec:
    if not isinstance(asked.spec, QuerySpec):
        raise TypeError("a database answers table queries alone")
    return asked.spec


def readings_of(spec: QuerySpec) -> list[Reading]:
    """What a question reads of each table: its columns, and each stretch of months that pays."""
    plan = compile_plan(spec)
    named: dict[Table, set[str]] = defaultdict(set)
    months: dict[Table, set[str]] = defaultdict(set)
    for read, each in zip(spec.reads, (plan, *plan.windows), strict=True):
        relation = RELATIONS[read.table]
        named[read.table] |= {name for name in relation.columns if relation.column(name) in each.sql}
        months[read.table] |= set(months_between(*read.days)) if read.days else set()
    return [
        Reading(table, tuple(name for name in RELATIONS[table].columns if name in names), days)
        for table, names in named.items()
        for days in stretches(months[table])
    ]


def stretches(months: set[str]) -> list[tuple[date, date] | None]:
    """The days of months that follow one another, end excluded: all of them pay. None, once, where there are no months."""
    if not months:
        return [None]
    found: list[tuple[date, date]] = []
    for month in sorted(months):
        start = date.fromisoformat(f"{month}-01")
        end = (start + timedelta(days=31)).replace(day=1)
        found = [*found[:-1], (found[-1][0], end)] if found and found[-1][1] == start else [*found, (start, end)]
    return list(found)
