"""PostgreSQL through ADBC: answers come as Arrow, without a Python object per value."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

import pyarrow as pa

from hospital_node.sources.mapping import Database
from hospital_node.sources.servers import Holds, Server, driver, translated
from hospital_node.sources.statements import Statement

_HOLDS = {"date": Holds.DATE, "timestamp without time zone": Holds.MOMENT, "timestamp with time zone": Holds.MOMENT}
_CANCELLED = "57014"
_RIGHTS = """
    SELECT 'superuser' WHERE (SELECT rolsuper OR rolcreaterole OR rolcreatedb FROM pg_roles WHERE rolname = current_user)
    UNION SELECT DISTINCT p.privilege || ' on a table' FROM pg_class c
        JOIN pg_namespace s ON s.oid = c.relnamespace, unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS p(privilege)
        WHERE c.relkind IN ('r', 'p', 'v', 'f') AND s.nspname NOT IN ('pg_catalog', 'information_schema')
        AND s.nspname !~ '^pg_' AND has_table_privilege(c.oid, p.privilege)
    UNION SELECT 'CREATE in a schema' FROM pg_namespace WHERE nspname !~ '^pg_' AND has_schema_privilege(oid, 'CREATE')"""


def open_session(database: Database, password: str, zone: ZoneInfo, timeout_s: int) -> Server:
    adbc = driver("adbc_driver_postgresql.dbapi", "postgres")
    settings = {"TimeZone": zone.key, "statement_timeout": f"{timeout_s}s", "default_transaction_read_only": "on"}
    options = urlencode(
        {"connect_timeout": timeout_s, "options": " ".join(f"-c {name}={value}" for name, value in settings.items())},
        quote_via=quote,
    )
    login = f"{quote(database.user, safe='')}:{quote(password, safe='')}"
    where = f"{database.host}:{database.port or 5432}/{quote(database.name, safe='')}"
    with translated(_was_slow, is_opening=True):
        return _Session(adbc.connect(f"postgresql://{login}@{where}?{options}", autocommit=True))


def _was_slow(error: Exception) -> bool:
    return getattr(error, "sqlstate", None) == _CANCELLED


class _Session:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def rows(self, statement: Statement) -> pa.Table:
        with translated(_was_slow), self._connection.cursor() as cursor:
            cursor.execute(statement.sql, statement.days or None)
            return cursor.fetch_arrow_table()

    def columns(self, relation: Sequence[str]) -> dict[str, Holds]:
        sql = (
            "SELECT column_name, data_type FROM information_schema.columns "
            "WHERE table_name = $1 AND table_schema = coalesce($2, current_schema())"
        )
        found = self._all(sql, (relation[-1], relation[0] if len(relation) == 2 else None))
        return {str(name): _HOLDS.get(str(kind), Holds.OTHER) for name, kind in found}

    def rights(self) -> list[str]:
        return sorted(str(right) for (right,) in self._all(_RIGHTS, ()))

    def now(self) -> datetime:
        ((found,),) = self._all("SELECT to_char(clock_timestamp(), 'YYYY-MM-DD\"T\"HH24:MI:SS')", ())
        return datetime.fromisoformat(found)

    def _all(self, sql: str, given: tuple[object, ...]) -> list[tuple[Any, ...]]:
        with translated(_was_slow), self._connection.cursor() as cursor:
            cursor.execute(sql, given or None)
            found: list[tuple[Any, ...]] = cursor.fetchall()
            return found

    def close(self) -> None:
        self._connection.close()
