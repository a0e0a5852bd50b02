"""How long this node's own counts take, so that IT can choose the slot in which its answers leave.

The seconds depend on records and stay here, for the eyes of IT: what leaves is only the choice, which holds for every question.
"""

import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import duckdb

from hospital_node.plan.prepared import Prepared, execute_prepared
from hospital_node.records.profile import profile
from hospital_node.records.schema import open_read_only
from protocols.query import QuerySpec

TIMES = 3
SLACK = 3
"""How many of the slowest count the slot holds: a count waits for its turn, and the machine has other work on some days."""
SHORTEST_MS = 100


@dataclass(frozen=True, slots=True)
class Calibrated:
    """Seconds of the slowest count: of months that nobody asked before, and of the same months asked again."""

    first_s: float
    prepared_s: float


def calibrated(records: Path) -> Calibrated:
    """Some whole-year counts over every table with dates, each first and again. Raises NoRecords where nothing was imported."""
    specs = list(_year_by_week_and_district(records))
    with open_read_only(records) as connection:
        connection.execute("SET threads = 1")  # a node's cores have other questions and other programs to serve
        found = [_seconds(spec, connection) for spec in specs for _ in range(TIMES)]
    return Calibrated(max((first for first, _ in found), default=0.0), max((again for _, again in found), default=0.0))


def _seconds(spec: QuerySpec, connection: duckdb.DuckDBPyConnection) -> tuple[float, float]:
    """A first time and a second. The year begins and ends inside a month, as the year of a report does."""
    key, prepared = os.urandom(32), Prepared()
    moments = [time.monotonic()]
    for _ in range(2):
        execute_prepared(spec, connection, key, prepared)
        moments.append(time.monotonic())
    return moments[1] - moments[0], moments[2] - moments[1]


def _year_by_week_and_district(records: Path) -> Iterator[QuerySpec]:
    names = {"visit_occurrence": "visits", "condition_occurrence": "diagnoses", "measurement": "measurements"}
    for table in profile(records).tables:
        if table.name in names and table.last is not None:
            period = {"from": (table.last - timedelta(days=365)).isoformat(), "to": (table.last + timedelta(days=1)).isoformat()}
            asked = {"measures": [{"kind": "count_distinct_person"}], "keys": [{"key": "iso_week"}, {"key": "district"}]}
            yield QuerySpec.from_fields({"table": names[table.name], **asked, "period": period})


def slot_ms_for(slowest_s: float, grid_ms: int) -> int:
    """The shortest slot, in whole steps of the grid, that holds such a count with room to spare."""
    wanted_ms = max(SHORTEST_MS, SLACK * math.ceil(round(slowest_s * 1000, 3)))
    return -(-wanted_ms // grid_ms) * grid_ms
