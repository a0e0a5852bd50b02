"""Oracle through python-oracledb's thin client. Its SQL is generated and parsed in the tests; it has not met a server (README)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from hospital_node.sources.mapping import Database
from hospital_node.sources.servers import Holds, Server, driver, translated
from hospital_node.sources.statements import Statement

_CUT_OFF = {"DPY-4024", "DPI-1067"}  # the driver's limit on one round trip
_READING = {"CREATE SESSION", "SELECT ANY DICTIONARY"}


def open_session(database: Database, password: str, zone: ZoneInfo, timeout_s: int) -> Server:
    oracledb = driver("oracledb", "oracle")
    with translated(_was_slow, is_opening=True):
        connection = oracledb.connect(
            user=database.user,
            password=password,
            dsn=f"{database.host}:{database.port or 1521}/{database.name}",
            tcp_connect_timeout=timeout_s,
        )
        connection.call_timeout = timeout_s * 1000
        session = _Session(connection)
        session.begin(zone)
        return session


def _was_slow(error: Exception) -> bool:
    return getattr(error.args[0] if error.args else None, "full_code", None) in _CUT_OFF


class _Session:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def begin(self, zone: ZoneInfo) -> None:
        with self._connection.cursor() as cursor:
            # No statement of ALTER SESSION takes a parameter; the zone's name comes from the list of known zones.
            cursor.execute(f"ALTER SESSION SET TIME_ZONE = '{zone.key}'")
            cursor.execute("SET TRANSACTION READ ONLY")

    def rows(self, statement: Statement) -> pa.Table:
        given = {f"day{place}": day for place, day in enumerate(statement.days, 1)}
        with translated(_was_slow):
            found = pa.table(self._connection.fetch_df_all(statement.sql, given))
        # Oracle's DATE is a moment and its COUNT a decimal.
        kinds = {"date": pa.date32(), "birth_date": pa.date32(), "n": pa.int64()}
        columns = [
            column.cast(kinds.get(name, pa.string())) for name, column in zip(found.column_names, found.columns, strict=True)
        ]
        return pa.table(columns, names=found.column_names)

    def columns(self, relation: Sequence[str]) -> dict[str, Holds]:
        sql = "SELECT column_name, data_type FROM all_tab_columns WHERE table_name = :name AND owner = coalesce(:owner, user)"
        found = self._all(sql, {"name": relation[-1], "owner": relation[0] if len(relation) == 2 else None})
        return {str(name): _holds(str(kind)) for name, kind in found}

    def rights(self) -> list[str]:
        on_tables = "SELECT privilege FROM user_tab_privs WHERE privilege NOT IN ('SELECT', 'READ')"
        found = self._all(f"SELECT privilege FROM session_privs UNION {on_tables}", {})  # noqa: S608 (two constants)
        return sorted({str(right) for (right,) in found} - _READING)

    def now(self) -> datetime:
        ((found,),) = self._all("SELECT TO_CHAR(CURRENT_TIMESTAMP, 'YYYY-MM-DD\"T\"HH24:MI:SS') FROM dual", {})
        return datetime.fromisoformat(str(found))

    def _all(self, sql: str, given: dict[str, object]) -> list[tuple[Any, ...]]:
        with translated(_was_slow), self._connection.cursor() as cursor:
            return list(cursor.execute(sql, given))

    def close(self) -> None:
        self._connection.close()


def _holds(kind: str) -> Holds:
    # A moment with a zone of its own would be cut to the day of that zone, so it counts as no date.
    is_date = kind == "DATE" or (kind.startswith("TIMESTAMP") and "ZONE" not in kind)
    return Holds.MOMENT if is_date else Holds.OTHER
