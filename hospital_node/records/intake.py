"""Rows of one import, staged beside the tables, judged by rules, and merged in one transaction.

Rules
- A time with a zone becomes the calendar date of the hospital's zone; a date stays what it is; an event without a date to the
  day is skipped. So is one before 1900, in the future, or before its patient's birth.
- A birth date known to the year stands as 1 July of it, to the month as the 15th; events of that year (month) are not "before birth".
- Among records of one source id in one import the last one counts. It replaces the row already there; a withdrawn one
  (entered in error, refuted, cancelled) takes the row out.
- district, sex and age are written onto the event. A replaced event keeps the district it was first recorded with.
- An event without a known patient is skipped; an unknown visit leaves the event without one.

References are resolved by joins in the database, once, at the end: files may come in any order.
"""

from collections.abc import Sequence
from datetime import date
from enum import StrEnum
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa

from hospital_node.records.codes import CodeMap
from hospital_node.records.errors import StoreFailed
from hospital_node.records.report import Reason, TableReport, Tally, UnmappedCode
from hospital_node.records.schema import DDL, TABLES

Cell = str | int | float | None
Row = tuple[Cell, ...]


class Kind(StrEnum):
    """What a staged row becomes; the value is its table."""

    PERSON = "person"
    VISIT = "visit_occurrence"
    CONDITION = "condition_occurrence"
    MEASUREMENT = "measurement"


_NUMBER, _WHOLE, _TEXT = pa.float64(), pa.int64(), pa.string()
_EVENT = [("place", _WHOLE), ("source_id", _TEXT), ("subject", _TEXT), ("encounter", _TEXT), ("day", _TEXT), ("years", _WHOLE), ("stop", _TEXT)]
LAYOUTS: dict[Kind, pa.Schema] = {
    Kind.PERSON: pa.schema([("place", _WHOLE), ("source_id", _TEXT), ("day", _TEXT), ("sex", _TEXT), ("district", _TEXT)]),
    Kind.VISIT: pa.schema([*_EVENT, ("visit_class", _TEXT), ("until", _TEXT)]),
    Kind.CONDITION: pa.schema([*_EVENT, ("system", _TEXT), ("code", _TEXT)]),
    Kind.MEASUREMENT: pa.schema([*_EVENT, ("system", _TEXT), ("code", _TEXT), ("value", _NUMBER), ("unit", _TEXT)]),
}
_FITS = {_NUMBER: (float, int, type(None)), _WHOLE: (int, type(None)), _TEXT: (str, type(None))}
_EVENTS = (Kind.VISIT, Kind.CONDITION, Kind.MEASUREMENT)

# One reading of a date for every column: shorter than a day is not a date, longer is a moment in the session's zone.
_AS_DAY = "CASE WHEN length({0}) = 10 THEN try_cast({0} AS DATE) WHEN length({0}) > 10 THEN try_cast({0} AS TIMESTAMPTZ)::DATE END"
_AS_BIRTH = (
    "CASE length({0}) WHEN 4 THEN try_cast({0} || '-07-01' AS DATE) WHEN 7 THEN try_cast({0} || '-15' AS DATE) "
    f"ELSE {_AS_DAY} END"
)
# `Type/id`, an absolute URL and `…/_history/n` name the id by their last (or third last) part, a URN by its end.
_AS_ID = (
    "CASE WHEN {0} LIKE 'urn:uuid:%' THEN substr({0}, 10) WHEN contains({0}, '/') "
    "THEN regexp_extract({0}, '/([^/]+)(/_history/[^/]*)?$', 1) ELSE {0} END"
)
_OUT_OF_TIME = f"WHEN date IS NULL THEN '{Reason.BAD_DATE}' WHEN date < DATE '1900-01-01' THEN '{Reason.TOO_EARLY}' WHEN date > $today THEN '{Reason.FUTURE}'"
_NO_ID = f"WHEN source_id IS NULL OR source_id = '' THEN '{Reason.NO_ID}'"
_EVENT_REASON = f"""{_NO_ID} WHEN stop IS NOT NULL THEN NULL
    WHEN subject IS NULL THEN '{Reason.NO_SUBJECT}'
    WHEN day IS NULL THEN '{Reason.NO_DATE}' WHEN length(day) IN (4, 7) THEN '{Reason.PARTIAL_DATE}' {_OUT_OF_TIME}
    WHEN years < 0 THEN '{Reason.BEFORE_BIRTH}'"""
_NO_CODE = f"WHEN code IS NULL OR code = '' THEN '{Reason.NO_CODE}'"

_JUDGED = f"place, source_id, {_AS_ID.format('subject')} AS subject, {_AS_ID.format('encounter')} AS encounter, date, years, stop"
_STAGING: dict[Kind, str] = {
    Kind.PERSON: f"""
        SELECT place, source_id, date, sex, district,
               CASE {_NO_ID} WHEN day IS NULL THEN NULL {_OUT_OF_TIME} END AS reason
        FROM (SELECT *, {_AS_BIRTH.format("day")} AS date FROM batch)""",
    Kind.VISIT: f"""
        SELECT {_JUDGED}, visit_class, {_AS_DAY.format("until")} AS until, CASE {_EVENT_REASON} END AS reason
        FROM (SELECT *, {_AS_DAY.format("day")} AS date FROM batch)""",
    Kind.CONDITION: f"""
        SELECT {_JUDGED}, system, code, CASE {_EVENT_REASON} {_NO_CODE} END AS reason
        FROM (SELECT *, {_AS_DAY.format("day")} AS date FROM batch)""",
    Kind.MEASUREMENT: f"""
        SELECT {_JUDGED}, system, code, exact AS value, unit, CASE {_EVENT_REASON} {_NO_CODE}
               WHEN exact IS NULL AND value IS NOT NULL THEN '{Reason.BAD_NUMBER}' END AS reason
        FROM (SELECT *, {_AS_DAY.format("day")} AS date, try_cast(value AS DECIMAL(18,6)) AS exact FROM batch)""",
}

_BEFORE_BIRTH = """s.date < p.birth_date AND NOT (year(s.date) = year(p.birth_date) AND (
    (month(p.birth_date) = 7 AND day(p.birth_date) = 1) OR (month(s.date) = month(p.birth_date) AND day(p.birth_date) = 15)))"""
_OWN_COLUMNS = {Kind.VISIT: "s.visit_class, s.until", Kind.CONDITION: "s.system, s.code", Kind.MEASUREMENT: "s.system, s.code, s.value, s.unit"}
_COPIED = "district, sex, age"
_INSERTS = {
    Kind.VISIT: f"""
        SELECT coalesce(old_id, $base + row_number() OVER ()), person_id, source_id, visit_class, date,
               CASE WHEN until BETWEEN date AND $today THEN until END, {_COPIED}""",
    Kind.CONDITION: f"""
        SELECT $base + row_number() OVER (), person_id, visit_id, source_id, date,
               (SELECT icd10 FROM meaning m WHERE m.system IS NOT DISTINCT FROM e.system AND m.code = e.code),
               code, system, {_COPIED}""",
    Kind.MEASUREMENT: f"""
        SELECT $base + row_number() OVER (), person_id, visit_id, source_id, date,
               CASE WHEN system = 'http://loinc.org' THEN code END, value, unit, code, system, {_COPIED}""",
}
_IDS = {Kind.VISIT: "visit_id", Kind.CONDITION: "condition_id", Kind.MEASUREMENT: "measurement_id"}


class Intake:
    """Takes the rows of one import into one database file; nothing shows in the tables before `settle`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, tally: Tally, today: date, zone: ZoneInfo, repeats: Sequence[Kind] = tuple(Kind)) -> None:
        """`repeats`: the tables for which a second record of one source id is worth a line in the report."""
        self._db, self._tally, self._today, self._repeats = connection, tally, today, repeats
        self._run(f"SET TimeZone = '{zone.key}'")
        if not self._all("SELECT 1 FROM duckdb_tables() WHERE table_name = 'person'"):
            self._run(DDL)
        for kind, layout in LAYOUTS.items():
            self._db.register("batch", layout.empty_table())
            self._run(f"CREATE TEMP TABLE staged_{kind} AS {_STAGING[kind]}", today=today)

    def add(self, kind: Kind, rows: list[Row]) -> None:
        """Stages rows in the layout of their kind; a row whose values are of the wrong type is counted as malformed."""
        if not rows:
            return
        layout = LAYOUTS[kind]
        try:
            batch = _table(rows, layout)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            batch = _table(self._only_fitting(rows, layout), layout)
        self._db.register("batch", batch)
        self._run(f"INSERT INTO staged_{kind} {_STAGING[kind]}", today=self._today)

    def settle(self, codes: CodeMap) -> tuple[dict[str, TableReport], list[UnmappedCode]]:
        """Merges what was staged, all or nothing; the report of each table, and the codes no map knew."""
        self._run("BEGIN")
        tables: dict[str, TableReport] = {Kind.PERSON: self._settle_persons()}
        unmapped = self._give_meaning(codes)
        for kind in _EVENTS:
            tables[kind] = self._settle_events(kind)
        self._run("COMMIT")
        self._run("CHECKPOINT")
        return {table: tables[table] for table in TABLES}, unmapped

    def _settle_persons(self) -> TableReport:
        self._tally_reasons(f"staged_{Kind.PERSON}")
        self._keep_latest(Kind.PERSON)
        replaced = self._count("UPDATE person SET birth_date = s.date, sex = s.sex, district = s.district FROM latest s WHERE s.source_id = person.source_id")
        loaded = self._count(
            """INSERT INTO person SELECT $base + row_number() OVER (ORDER BY s.place), s.source_id, s.date, s.sex, s.district
               FROM latest s ANTI JOIN person p ON p.source_id = s.source_id""",
            base=self._last_id("person", "person_id"),
        )
        return TableReport(loaded, replaced, 0, self._count("SELECT count(*) FROM person"))

    def _settle_events(self, kind: Kind) -> TableReport:
        self._tally_reasons(f"staged_{kind}")
        self._keep_latest(kind)
        self._resolve(kind)
        self._tally_reasons("resolved")
        before = self._count(f"SELECT count(*) FROM {kind}")
        withdrawn = self._count(f"SELECT count(*) FROM {kind} WHERE source_id IN (SELECT source_id FROM resolved WHERE stop IS NOT NULL)")
        if before:
            self._run(f"DELETE FROM {kind} WHERE source_id IN (SELECT source_id FROM resolved WHERE stop IS NOT NULL OR reason IS NULL)")
        base = self._last_id(kind, _IDS[kind])
        if kind is Kind.VISIT:
            base = max(base, self._count("SELECT coalesce(max(old_id), 0) FROM resolved"))
        replaced = self._count("SELECT count(*) FROM resolved WHERE reason IS NULL AND is_known")
        written = self._count(f"INSERT INTO {kind} {_INSERTS[kind]} FROM resolved e WHERE reason IS NULL", **self._named_in(kind, base))
        if kind is Kind.VISIT and withdrawn:
            for table in (Kind.CONDITION, Kind.MEASUREMENT):
                self._run(f"UPDATE {table} SET visit_id = NULL WHERE visit_id NOT IN (SELECT visit_id FROM {Kind.VISIT})")
        return TableReport(written - replaced, replaced, withdrawn, self._count(f"SELECT count(*) FROM {kind}"))

    def _resolve(self, kind: Kind) -> None:
        visit = "v.visit_id" if kind is not Kind.VISIT else "NULL"
        visits = f"LEFT JOIN {Kind.VISIT} v ON v.source_id = s.encounter AND v.person_id = p.person_id" if kind is not Kind.VISIT else ""
        self._run(f"""
            CREATE OR REPLACE TEMP TABLE resolved AS
            SELECT s.place, s.source_id, s.date, s.stop, {_OWN_COLUMNS[kind]}, p.person_id, {visit} AS visit_id,
                   old.id AS old_id, old.source_id IS NOT NULL AS is_known, coalesce(old.district, p.district) AS district, p.sex,
                   coalesce(greatest(date_sub('year', p.birth_date, s.date), 0), s.years)::SMALLINT AS age,
                   CASE WHEN s.stop IS NOT NULL THEN s.stop WHEN p.person_id IS NULL THEN '{Reason.UNKNOWN_SUBJECT}'
                        WHEN {_BEFORE_BIRTH} THEN '{Reason.BEFORE_BIRTH}' END AS reason
            FROM latest s LEFT JOIN person p ON p.source_id = s.subject {visits}
            LEFT JOIN (SELECT source_id, min({_IDS[kind]}) AS id, any_value(district) AS district FROM {kind}
                       WHERE source_id IN (SELECT source_id FROM latest) GROUP BY source_id) old ON old.source_id = s.source_id""")

    def _keep_latest(self, kind: Kind) -> None:
        """The last record of each source id in table `latest`; the earlier ones are counted as repeated."""
        self._run(f"""
            CREATE OR REPLACE TEMP TABLE repeated AS SELECT source_id, max(place) AS place FROM staged_{kind}
            WHERE reason IS NULL GROUP BY source_id HAVING min(place) < max(place)""")
        earlier = f"staged_{kind} s SEMI JOIN repeated r ON r.source_id = s.source_id AND s.place < r.place"
        if kind in self._repeats:
            self._tally_places(f"SELECT '{Reason.REPEATED}' AS reason, place FROM {earlier} WHERE s.reason IS NULL")
        self._run(f"CREATE OR REPLACE TEMP VIEW latest AS SELECT s.* FROM {earlier.replace('SEMI', 'ANTI')} WHERE s.reason IS NULL")

    def _give_meaning(self, codes: CodeMap) -> list[UnmappedCode]:
        found = self._all(f"SELECT system, code, count(*) FROM staged_{Kind.CONDITION} WHERE reason IS NULL AND stop IS NULL GROUP BY ALL ORDER BY 3 DESC, 1, 2")
        meanings = [(system, code, codes.icd10(system, code)) for system, code, _ in found]
        schema = pa.schema([("system", _TEXT), ("code", _TEXT), ("icd10", _TEXT)])
        self._db.register("batch", _table(meanings, schema))
        self._run("CREATE OR REPLACE TEMP TABLE meaning AS SELECT * FROM batch")
        return codes.unmapped((system, code, count) for (system, code, count), (_, _, icd10) in zip(found, meanings, strict=True) if icd10 is None)

    def _tally_reasons(self, table: str) -> None:
        self._tally_places(f"SELECT reason, place FROM {table} WHERE reason IS NOT NULL")

    def _tally_places(self, places: str) -> None:
        for reason, count, first in self._all(f"SELECT reason, count(DISTINCT place), min(DISTINCT place, 5) FROM ({places}) GROUP BY reason"):
            self._tally.skip_many(Reason(reason), count, first)

    def _only_fitting(self, rows: list[Row], layout: pa.Schema) -> list[Row]:
        kept = []
        for row in rows:
            if all(isinstance(cell, _FITS[kind]) and not isinstance(cell, bool) for cell, kind in zip(row, layout.types, strict=True)):
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

    def _all(self, sql: str, **named: object) -> list[tuple[object, ...]]:
        try:
            return self._db.execute(sql, named or None).fetchall()
        except duckdb.Error as cause:
            # A database message can quote a value of a record: its kind is all that may be told.
            raise StoreFailed(f"records: the database refused a step of the import ({type(cause).__name__})") from None


def _table(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    return pa.Table.from_arrays([pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema=schema)
