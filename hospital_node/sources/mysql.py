"""MySQL and MariaDB through PyMySQL; rows become Arrow here, batch by batch."""

import re
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from hospital_node.sources.errors import WrongZone
from hospital_node.sources.mapping import Database
from hospital_node.sources.servers import Holds, Server, driver, translated
from hospital_node.sources.statements import Statement

_HOLDS = {"date": Holds.DATE, "datetime": Holds.MOMENT, "timestamp": Holds.MOMENT}
_CUT_OFF = {1969, 3024, 2013}  # MariaDB's and MySQL's statement limits; a connection lost while waiting
_UNKNOWN_ZONE, _UNKNOWN_VARIABLE = 1298, 1193
_READING = {"USAGE", "SELECT", "SHOW VIEW", "SHOW DATABASES"}
_ROWS = 50_000


def open_session(database: Database, password: str, zone: ZoneInfo, timeout_s: int) -> Server:
    pymysql = driver("pymysql", "mysql")
    with translated(_was_slow, is_opening=True):
        connection = pymysql.connect(
            host=database.host,
            port=database.port or 3306,
            user=database.user,
            password=password,
            database=database.name or None,
            charset="utf8mb4",
            connect_timeout=timeout_s,
            read_timeout=timeout_s + 5,  # behind the server's own limit: for a server that is gone
            autocommit=True,
        )
    session = _Session(connection)
    session.limit(timeout_s)
    session.stand_in(zone)
    return session


def _number(error: Exception) -> object:
    return error.args[0] if error.args else None


def _was_slow(error: Exception) -> bool:
    return _number(error) in _CUT_OFF


class _Session:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def limit(self, timeout_s: int) -> None:
        """MariaDB counts seconds, MySQL milliseconds, each under a name of its own."""
        try:
            self._set("SET SESSION max_statement_time = %s", timeout_s)
        except Exception as error:
            if _number(error) != _UNKNOWN_VARIABLE:
                raise
            self._set("SET SESSION max_execution_time = %s", timeout_s * 1000)
        self._set("SET SESSION TRANSACTION READ ONLY")

    def stand_in(self, zone: ZoneInfo) -> None:
        """The zone by its name or, where the server has no zone tables, by an offset that never changed in 30 years."""
        try:
            self._set("SET SESSION time_zone = %s", zone.key)
        except Exception as error:
            if _number(error) != _UNKNOWN_ZONE:
                raise
            self._set("SET SESSION time_zone = %s", _fixed_offset(zone))

    def _set(self, sql: str, *given: object) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(sql, given)

    def rows(self, statement: Statement) -> pa.Table:
        cursors = driver("pymysql.cursors", "mysql")
        with translated(_was_slow), self._connection.cursor(cursors.SSCursor) as cursor:
            cursor.execute(statement.sql, statement.days)
            names, batches = [column[0] for column in cursor.description], []
            while found := cursor.fetchmany(_ROWS):
                columns = (
                    pa.array(_plain(name, values), _kind(name))
                    for name, values in zip(names, zip(*found, strict=True), strict=True)
                )
                batches.append(pa.table(list(columns), names=names))
            return pa.concat_tables(batches) if batches else pa.table({name: pa.array([], _kind(name)) for name in names})

    def columns(self, relation: Sequence[str]) -> dict[str, Holds]:
        sql = (
            "SELECT column_name, data_type FROM information_schema.columns "
            "WHERE table_name = %s AND table_schema = coalesce(%s, database())"
        )
        found = self._all(sql, (relation[-1], relation[0] if len(relation) == 2 else None))
        return {str(name): _HOLDS.get(str(kind).lower(), Holds.OTHER) for name, kind in found}

    def rights(self) -> list[str]:
        found: set[str] = set()
        for (grant,) in self._all("SHOW GRANTS", ()):
            listed = re.match(r"GRANT (.*?) ON ", str(grant))
            rights = re.sub(r"\(.*?\)", "", listed[1]) if listed else "a role"
            found |= {right.strip().upper() for right in rights.split(",")} - _READING
            found |= {"GRANT OPTION"} if "WITH GRANT OPTION" in str(grant) else set()
        return sorted(found)

    def now(self) -> datetime:
        ((found,),) = self._all("SELECT DATE_FORMAT(NOW(), '%%Y-%%m-%%dT%%H:%%i:%%s')", ())
        return datetime.fromisoformat(str(found))

    def _all(self, sql: str, given: tuple[object, ...]) -> list[tuple[Any, ...]]:
        with translated(_was_slow), self._connection.cursor() as cursor:
            cursor.execute(sql, given)
            return list(cursor.fetchall())

    def close(self) -> None:
        self._connection.close()


def _kind(name: str) -> pa.DataType:
    return pa.int64() if name == "n" else pa.date32() if name in {"date", "birth_date"} else pa.string()


def _plain(name: str, values: Sequence[object]) -> list[object]:
    if _kind(name) == pa.date32():
        return [value if isinstance(value, date) else None for value in values]  # 0000-00-00 comes as text, and is no date
    return [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in values]


def _fixed_offset(zone: ZoneInfo) -> str:
    this_year = datetime.now(zone).year
    offsets = {
        datetime(year, month, 15, tzinfo=zone).strftime("%z") for year in range(this_year - 30, this_year + 1) for month in (1, 7)
    }
    if len(offsets) != 1:
        raise WrongZone(f"the server knows no zone named {zone.key} and its offset changes; load the server's zone tables")
    (offset,) = offsets
    return f"{offset[:3]}:{offset[3:5]}"
