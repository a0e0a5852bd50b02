"""What is wrong with a database before it is asked about a patient: one list for `source`, `doctor` and every Ready.

No check reads a record: names, types, rights, clock, and the very statements of the questions over a range without a day.
"""

from collections.abc import Iterator
from datetime import date, datetime, timedelta

from hospital_node.sources.errors import MissingColumns, NotReadOnly, SlowSource, SourceError, WrongZone
from hospital_node.sources.mapping import MappedTable, Source
from hospital_node.sources.servers import Holds, Server
from hospital_node.sources.statements import statement, whole
from protocols.query import Table

_NO_DAY = (date(2000, 1, 1), date(2000, 1, 1))
_CLOCK_TOLERANCE = timedelta(minutes=5)


def faults(source: Source, server: Server, now: datetime) -> Iterator[SourceError]:
    """Everything that would keep questions from being answered. `now` is the hospital's wall clock, without a zone."""
    rights = server.rights()
    if rights:
        yield NotReadOnly(f"the login may do more than read: {', '.join(rights)}; give it SELECT on the mapped relations alone")
    apart = abs(server.now() - now)
    if apart > _CLOCK_TOLERANCE:
        minutes = round(apart.total_seconds() / 60)
        yield WrongZone(f"the session's clock is {minutes} minutes from the hospital's: its zone or its clock is wrong")
    for table, mapped in source.tables.items():
        missing = list(_missing(table, mapped, server.columns(mapped.relation)))
        yield from missing
        if not missing:
            yield from _refused(source, table, mapped, server)


def _missing(table: Table, mapped: MappedTable, present: dict[str, Holds]) -> Iterator[SourceError]:
    relation = ".".join(mapped.relation)
    if not present:
        yield MissingColumns(f"{table}: the login sees no table or view {relation}")
        return
    if absent := [column for column in mapped.named if column not in present]:
        yield MissingColumns(f"{table}: {relation} has no column {', '.join(absent)}")
    if texts := [column for column in mapped.dates if present.get(column) is Holds.OTHER]:
        # Text may hold moments of several zones, and each server would read it in its own way.
        yield MissingColumns(
            f"{table}: {relation}: {', '.join(texts)} is no date; map a DATE or TIMESTAMP column, or a view with one"
        )


def _refused(source: Source, table: Table, mapped: MappedTable, server: Server) -> Iterator[SourceError]:
    reading = whole(table, _NO_DAY)
    if reading.days is None:
        return  # a table without dates has no range without a row
    try:
        server.rows(statement(source.database.engine, mapped, reading))
    except SlowSource as error:
        yield SlowSource(f"{table}: {error}")
    except SourceError as error:
        yield type(error)(f"{table}: {error}")
