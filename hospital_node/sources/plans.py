"""Questions answered from the hospital's own database; what `counting.InstalledPlans` is for imported records.

Rules
- Before a Ready the database is looked at (`checks`), at most every 30 s; what is wrong refuses the question, named by its code.
- After a Ready its rows are read once, in one statement, into memory; every attempt answers from that one reading, since a
  count runs once per question and process. A restarted process refuses what it had a Ready for (`holds`): the database may
  have moved on.
- A server that fails or is cut off after the Ready is a count that failed: zeros and noise, and a pause.
- Tables without a mapping and trainings (which would read once a round) are refused by the probe.
"""

import secrets
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from threading import Lock
from zoneinfo import ZoneInfo

from hospital_node.plan.columns import RELATIONS
from hospital_node.plan.compile import compile_plan
from hospital_node.plans import TablePlan
from hospital_node.records.codes import CodeMap
from hospital_node.sources.checks import faults
from hospital_node.sources.cleaning import cleaned, empty
from hospital_node.sources.errors import SourceError
from hospital_node.sources.mapping import MappedTable, Source, read_password
from hospital_node.sources.servers import Server, open_server
from hospital_node.sources.statements import Reading, statement, whole
from protocols.asked import Asked
from protocols.fits import Fit
from protocols.query import QuerySpec, Table
from protocols.query.footprint import PATIENTS_BLOCK
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
    _plan: TablePlan = field(default_factory=TablePlan)
    _name: str = field(default_factory=lambda: f"live-{secrets.token_hex(8)}")
    _sound_until: float = 0.0
    _lock: Lock = field(default_factory=Lock)

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

    def holds(self, generation: str) -> bool:
        return generation == self._name

    def refusals(self, asked: Asked, generation: str) -> list[Refusal]:
        if isinstance(asked.spec, Fit):
            return [Refusal(Reason.TABLE_NOT_REGISTERED, "a node of imported records", "a live database", asked.table)]
        return []

    def require_input(self, asked: Asked, round_input: bytes) -> None:
        self._plan.require_input(asked, round_input)

    def probe(self, asked: Asked) -> None:
        reading, _ = self._reading(asked)
        with empty(reading) as records:
            self._plan.run(asked, records, bytes(32), b"")

    def count(self, asked: Asked, generation: str, bounding_key: bytes, round_input: bytes) -> Integers:
        reading, mapped = self._reading(asked)
        with closing(self._open()) as server:
            found = server.rows(statement(self.source.database.engine, mapped, reading))
        today = datetime.now(self.zone).date()
        with cleaned(found, reading, mapped, self.codes, today, bounding_key) as records:
            return self._plan.run(asked, records, bounding_key, round_input)

    def rehearsed_s(self, table: Table) -> float:
        """Seconds that the last year of a table takes to be read, as a question would; the rows are dropped unseen."""
        today, started = datetime.now(self.zone).date(), time.monotonic()
        reading = whole(table, (today - timedelta(days=365), today + timedelta(days=1)))
        with closing(self._open()) as server:
            server.rows(statement(self.source.database.engine, self.source.tables[table], reading))
        return time.monotonic() - started

    def _reading(self, asked: Asked) -> tuple[Reading, MappedTable]:
        spec = asked.spec
        if not isinstance(spec, QuerySpec):
            raise TypeError("a database answers table queries alone")
        mapped = self.source.tables.get(spec.table)
        if mapped is None:
            raise LookupError("the table is not mapped")
        relation, sql = RELATIONS[spec.table], compile_plan(spec).sql
        return Reading(
            spec.table, tuple(name for name in relation.columns if relation.column(name) in sql), days_of(asked.blocks)
        ), mapped

    def _open(self, timeout_s: int | None = None) -> Server:
        return open_server(self.source.database, read_password(self.home, self.source.database), self.zone, timeout_s)


def days_of(blocks: tuple[str, ...]) -> tuple[date, date] | None:
    """The days of the months that pay, end excluded; None for the static block."""
    if blocks == (PATIENTS_BLOCK,):
        return None
    year, month = map(int, blocks[-1].split("-"))
    return date.fromisoformat(f"{blocks[0]}-01"), date(year + month // 12, month % 12 + 1, 1)
