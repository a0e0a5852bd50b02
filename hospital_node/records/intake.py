# ruff: noqa: S608 (what is put into these statements are names of our own tables and reasons, never a value)
"""Rows of one import, staged beside the tables, judged by rules, and merged in one transaction.

Rules
- A time with a zone becomes the calendar date of the hospital's zone; a date stays what it is; an event without a date to the
  day is skipped. So is one before 1900, in the future, or before its patient's birth.
- A birth date known to the year stands as 1 July of it, to the month as the 15th; events of that year
  (month) are not "before birth".
- Among records of one source id in one import the last one counts. It replaces the row already there; a withdrawn one
  (entered in error, refuted, cancelled) takes the row out.
- district, sex and age are written onto the event. A replaced event keeps the district it was first
  recorded with, unless its own record names one.
- An event without a known patient is skipped; an unknown visit leaves the event without one.

References are resolved by joins in the database, once, at the end: files may come in any order.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa

from hospital_node.records.codes import CodeMap
from hospital_node.records.errors import StoreFailed
from hospital_node.records.report import SAMPLES, Reason, TableReport, Tally, UnmappedCode
from hospital_node.records.schema import DDL, TABLES
from hospital_node.records.statements import EVENTS, FITS, IDS, INSERTS, LAYOUTS, STAGING, Kind, Row, resolved

# To plan a statement takes as long as to stage some ten thousand rows.
_ROWS_PER_STATEMENT = 200_000


class Intake:
    """Takes the rows of one import into one database file; nothing shows in the tables before `settle`."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        tally: Tally,
        today: date,
        zone: ZoneInfo,
        repeats: Sequence[Kind] = tuple(Kind),
        residents: str | None = None,
    ) -> None:
        """`repeats`: the tables for which a second record of one source id is worth a line in the report.

        `residents`: the fingerprint of the key under which this import makes tags, if it makes any.
        """
        self._db, self._tally, self._today, self._repeats = connection, tally, today, repeats
        self._residents = residents
        self._waiting: dict[Kind, list[pa.Table]] = {kind: [] for kind in Kind}
        self._is_staged: set[Kind] = set()
        self._run(f"SET TimeZone = '{zone.key}'")
        self._run(DDL)
        self._run("CREATE TEMP TABLE refused (reason VARCHAR, place BIGINT)")

    def add(self, kind: Kind, rows: list[Row]) -> None:
        """Takes rows in the layout of their kind; a row whose values are of the wrong type is counted as malformed."""
        if not rows:
            return
        layout = LAYOUTS[kind]
        try:
            batch = _table(rows, layout)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            batch = _table(self._only_fitting(rows, layout), layout)
        self._waiting[kind].append(batch)
        if sum(one.num_rows for one in self._waiting[kind]) >= _ROWS_PER_STATEMENT:
            self._stage(kind)

    def _stage(self, kind: Kind) -> None:
        self._db.register("batch", pa.concat_tables([LAYOUTS[kind].empty_table(), *self._waiting[kind]]))
        opening = f"INSERT INTO staged_{kind}" if kind in self._is_staged else f"CREATE TEMP TABLE staged_{kind} AS"
        self._run(f"{opening} {STAGING[kind]}", today=self._today)
        self._is_staged.add(kind)
        self._waiting[kind].clear()

    def settle(self, codes: CodeMap) -> tuple[dict[str, TableReport], list[UnmappedCode]]:
        """Merges what was staged, all or nothing; the report of each table, and the codes no map knew."""
        for kind in Kind:
            self._stage(kind)
        self._run("BEGIN")
        tables: dict[str, TableReport] = {Kind.PERSON: self._settle_persons()}
        unmapped = self._give_meaning(codes)
        for kind in EVENTS:
            tables[kind] = self._settle_events(kind)
        self._tally_refused()
        self._run("COMMIT")
        self._run("CHECKPOINT")
        return {table: tables[table] for table in TABLES}, unmapped

    def _settle_persons(self) -> TableReport:
        self._note_refused(f"staged_{Kind.PERSON}")
        self._keep_latest(Kind.PERSON)
        replaced = self._count(
            "UPDATE person SET birth_date = s.date, sex = s.sex, district = s.district "
            "FROM latest s WHERE s.source_id = person.source_id"
        )
        loaded = self._count(
            """INSERT INTO person SELECT $base + row_number() OVER (ORDER BY s.place), s.source_id, s.date, s.sex, s.district
               FROM latest s ANTI JOIN person p ON p.source_id = s.source_id""",
            base=self._last_id("person", "person_id"),
        )
        if self._residents is not None:
            self._settle_tags(self._residents)
        return TableReport(loaded, replaced, 0, self._count("SELECT count(*) FROM person"))

    def _settle_tags(self, key_print: str) -> None:
        """A record without a number keeps the tag its patient has; one of another key's never stays."""
        self._run("DELETE FROM resident WHERE key_print <> $key", key=key_print)
        self._run("DELETE FROM resident_key")
        self._run("INSERT INTO resident_key VALUES ($key)", key=key_print)
        self._run(
            "INSERT OR REPLACE INTO resident SELECT p.person_id, unhex(s.tag), $key FROM latest s "
            "JOIN person p ON p.source_id = s.source_id WHERE s.tag IS NOT NULL",
            key=key_print,
        )

    def _settle_events(self, kind: Kind) -> TableReport:
        self._note_refused(f"staged_{kind}")
        self._keep_latest(kind)
        before = self._count(f"SELECT count(*) FROM {kind}")
        self._run(resolved(kind, is_first=before == 0))
        self._note_refused("resolved")
        withdrawn = self._count(
            f"SELECT count(*) FROM {kind} WHERE source_id IN (SELECT source_id FROM resolved WHERE stop IS NOT NULL)"
        )
        if before:
            self._run(
                f"DELETE FROM {kind} WHERE source_id IN (SELECT source_id FROM resolved WHERE stop IS NOT NULL OR reason IS NULL)"
            )
        base = self._last_id(kind, IDS[kind])
        if kind is Kind.VISIT:
            base = max(base, self._count("SELECT coalesce(max(old_id), 0) FROM resolved"))
        replaced = self._count("SELECT count(*) FROM resolved WHERE reason IS NULL AND is_known")
        written = self._count(
            f"INSERT INTO {kind} {INSERTS[kind]} FROM resolved e WHERE reason IS NULL", **self._named_in(kind, base)
        )
        if kind is Kind.VISIT and withdrawn:
            for table in (Kind.CONDITION, Kind.MEASUREMENT):
                self._run(f"UPDATE {table} SET visit_id = NULL WHERE visit_id NOT IN (SELECT visit_id FROM {Kind.VISIT})")
        return TableReport(written - replaced, replaced, withdrawn, self._count(f"SELECT count(*) FROM {kind}"))

    def _keep_latest(self, kind: Kind) -> None:
        """The last record of each source id in table `latest`; the earlier ones are counted as repeated."""
        self._run(f"""
            CREATE OR REPLACE TEMP TABLE repeated AS SELECT source_id, max(place) AS place FROM staged_{kind}
            WHERE reason IS NULL GROUP BY source_id HAVING min(place) < max(place)""")
        earlier = f"staged_{kind} s SEMI JOIN repeated r ON r.source_id = s.source_id AND s.place < r.place"
        if kind in self._repeats:
            self._run(f"INSERT INTO refused SELECT '{Reason.REPEATED}', place FROM {earlier} WHERE s.reason IS NULL")
        self._run(f"CREATE OR REPLACE TEMP VIEW latest AS SELECT s.* FROM {earlier.replace('SEMI', 'ANTI')} WHERE s.reason IS NULL")

    def _give_meaning(self, codes: CodeMap) -> list[UnmappedCode]:
        found = self._all(
            f"SELECT system, code, count(*) FROM staged_{Kind.CONDITION} WHERE reason IS NULL AND stop IS NULL "
            "GROUP BY ALL ORDER BY 3 DESC, 1, 2"
        )
        meanings = [(system, code, codes.icd10(system, code)) for system, code, _ in found]
        schema = pa.schema([("system", pa.string()), ("code", pa.string()), ("icd10", pa.string())])
        self._db.register("batch", _table(meanings, schema))
        self._run("CREATE OR REPLACE TEMP TABLE meaning AS SELECT * FROM batch")
        return codes.unmapped(
            (system, code, count) for (system, code, count), (_, _, icd10) in zip(found, meanings, strict=True) if icd10 is None
        )

    def _note_refused(self, table: str) -> None:
        self._run(f"INSERT INTO refused SELECT reason, place FROM {table} WHERE reason IS NOT NULL")

    def _tally_refused(self) -> None:
        # A CSV line feeds several tables: refused by each for one reason, it is still one line.
        for reason, count, first in self._all(
            f"SELECT reason, count(DISTINCT place), list_sort(list(DISTINCT place))[:{SAMPLES}] FROM refused GROUP BY reason"
        ):
            self._tally.skip_many(Reason(reason), count, first)

    def _only_fitting(self, rows: list[Row], layout: pa.Schema) -> list[Row]:
        kept = []
        for row in rows:
            if all(
                isinstance(cell, FITS[kind]) and not isinstance(cell, bool) for cell, kind in zip(row, layout.types, strict=True)
            ):
                kept.append(row)
            else:
                self._tally.skip(Reason.MALFORMED, int(row[0] or 0))
        return kept

    def _named_in(self, kind: Kind, base: int) -> dict[str, object]:
        return {"base": base, "today": self._today} if kind is Kind.VISIT else {"base": base}

    def _last_id(self, table: str, column: str) -> int:
        return self._count(f"SELECT coalesce(max({column}), 0) FROM {table}")

    def _count(self, sql: str, **named: object) -> int:
        return int(self._all(sql, **named)[0][0])

    def _run(self, sql: str, **named: object) -> None:
        self._all(sql, **named)

    def _all(self, sql: str, **named: object) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(sql, named or None).fetchall()
        except duckdb.Error as cause:
            # A database message can quote a value of a record: its kind is all that may be told.
            raise StoreFailed(f"records: the database refused a step of the import ({type(cause).__name__})") from None


def _table(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    return pa.Table.from_arrays(
        [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
    )
