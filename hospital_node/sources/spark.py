"""Spark, for a hospital group that outgrew one server: `host` is the master, a relation a table of its catalogue or a file
(`["parquet", "/srv/visits.parquet"]`)."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TookTooLong
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from hospital_node.sources.errors import SlowSource
from hospital_node.sources.mapping import Database
from hospital_node.sources.servers import Holds, Server, driver, translated
from hospital_node.sources.statements import Statement

_HOLDS = {"date": Holds.DATE, "timestamp": Holds.MOMENT, "timestamp_ntz": Holds.MOMENT}
_ON_ONE_MACHINE = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.sql.shuffle.partitions": "2",
}
_LEAST_S = 120
"""The first statement of a session starts workers: shorter limits would cut it off."""


def open_session(database: Database, password: str, zone: ZoneInfo, timeout_s: int) -> Server:
    sql = driver("pyspark.sql", "spark")
    with translated(lambda _: False, is_opening=True):
        building = sql.SparkSession.builder.master(database.host).appName("kapok-node")
        for name, value in _ON_ONE_MACHINE.items() if database.host.startswith("local") else ():
            building = building.config(name, value)
        session = building.config("spark.sql.session.timeZone", zone.key).getOrCreate()
        session.conf.set("spark.sql.session.timeZone", zone.key)
        return _Session(session, zone, max(timeout_s, _LEAST_S))


class _Session:
    def __init__(self, session: Any, zone: ZoneInfo, timeout_s: int) -> None:
        self._session, self._zone, self._timeout_s = session, zone, timeout_s
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="spark")

    def rows(self, statement: Statement) -> pa.Table:
        given = {f"day{place}": day for place, day in enumerate(statement.days, 1)}
        running = self._pool.submit(lambda: self._session.sql(statement.sql, args=given).toArrow())
        with translated(lambda _: False):
            try:
                return running.result(self._timeout_s)
            except TookTooLong:
                self._session.sparkContext.cancelAllJobs()
                raise SlowSource("Spark was cut off at its time") from None

    def columns(self, relation: Sequence[str]) -> dict[str, Holds]:
        name = ".".join(f"`{part}`" for part in relation)
        with translated(lambda _: False):
            return {column: _HOLDS.get(kind, Holds.OTHER) for column, kind in self._session.table(name).dtypes}

    def rights(self) -> list[str]:
        """Spark has no logins of its own: who may write is for the store below it."""
        return []

    def now(self) -> datetime:
        with translated(lambda _: False):
            found = self._session.sql("SELECT date_format(current_timestamp(), \"yyyy-MM-dd'T'HH:mm:ss\")").collect()
        return datetime.fromisoformat(found[0][0])

    def close(self) -> None:
        """The Spark session is one a process and stays: to start it takes seconds."""
        self._pool.shutdown(wait=False)
