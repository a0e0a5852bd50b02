# ruff: noqa: S608 (what is put into these statements are names of our own tables and reasons, never a value)
"""The statements of an import: how a staged row is read and judged, and how it becomes a row of its table.

Staged rows come as Arrow batches in the layout of their kind; each statement reads the batch named `batch`. `intake` says
in which order they run; its rules are written there.
"""

from enum import StrEnum

import pyarrow as pa

from hospital_node.records.report import Reason

Cell = str | int | float | None
Row = tuple[Cell, ...]


class Kind(StrEnum):
    """What a staged row becomes; the value is its table."""

    PERSON = "person"
    VISIT = "visit_occurrence"
    CONDITION = "condition_occurrence"
    MEASUREMENT = "measurement"


_NUMBER, _WHOLE, _TEXT = pa.float64(), pa.int64(), pa.string()
_EVENT = [
    ("place", _WHOLE),
    ("source_id", _TEXT),
    ("subject", _TEXT),
    ("encounter", _TEXT),
    ("day", _TEXT),
    ("years", _WHOLE),
    ("stop", _TEXT),
    ("district", _TEXT),
]
LAYOUTS: dict[Kind, pa.Schema] = {
    Kind.PERSON: pa.schema(
        [("place", _WHOLE), ("source_id", _TEXT), ("day", _TEXT), ("sex", _TEXT), ("district", _TEXT), ("tag", _TEXT)]
    ),
    Kind.VISIT: pa.schema([*_EVENT, ("visit_class", _TEXT), ("until", _TEXT)]),
    Kind.CONDITION: pa.schema([*_EVENT, ("system", _TEXT), ("code", _TEXT)]),
    Kind.MEASUREMENT: pa.schema([*_EVENT, ("system", _TEXT), ("code", _TEXT), ("value", _NUMBER), ("unit", _TEXT)]),
}
FITS = {_NUMBER: (float, int, type(None)), _WHOLE: (int, type(None)), _TEXT: (str, type(None))}
EVENTS = (Kind.VISIT, Kind.CONDITION, Kind.MEASUREMENT)

# One reading of a date for every column: shorter than a day is not a date, longer is a moment in the session's zone.
_AS_DAY = "CASE WHEN length({0}) = 10 THEN try_cast({0} AS DATE) WHEN length({0}) > 10 THEN try_cast({0} AS TIMESTAMPTZ)::DATE END"
_AS_BIRTH = (
    "CASE length({0}) WHEN 4 THEN try_cast({0} || '-07-01' AS DATE) WHEN 7 THEN try_cast({0} || '-15' AS DATE) "
    f"ELSE {_AS_DAY} END"
)
# `Type/id`, an absolute URL and `…/_history/n` name the id by their last (or third last) part, a URN by its end. The pattern is
# dear and left to the two rare forms.
_AS_ID = (
    "CASE WHEN starts_with({0}, 'urn:uuid:') THEN substr({0}, 10) WHEN contains({0}, '//') OR contains({0}, '/_history/') "
    "THEN regexp_extract({0}, '([^/]+)(/_history/[^/]*)?$', 1) ELSE substr({0}, strpos({0}, '/') + 1) END"
)
_OUT_OF_TIME = (
    f"WHEN date IS NULL THEN '{Reason.BAD_DATE}' "
    f"WHEN date < DATE '1900-01-01' THEN '{Reason.TOO_EARLY}' WHEN date > $today THEN '{Reason.FUTURE}'"
)
_NO_ID = f"WHEN source_id IS NULL OR source_id = '' THEN '{Reason.NO_ID}'"
_EVENT_REASON = f"""{_NO_ID} WHEN stop IS NOT NULL THEN NULL
    WHEN subject IS NULL THEN '{Reason.NO_SUBJECT}'
    WHEN day IS NULL THEN '{Reason.NO_DATE}' WHEN length(day) IN (4, 7) THEN '{Reason.PARTIAL_DATE}' {_OUT_OF_TIME}
    WHEN years < 0 THEN '{Reason.BEFORE_BIRTH}'"""
_NO_CODE = f"WHEN code IS NULL OR code = '' THEN '{Reason.NO_CODE}'"

_JUDGED = (
    f"place, source_id, {_AS_ID.format('subject')} AS subject, "
    f"{_AS_ID.format('encounter')} AS encounter, date, years, stop, district"
)
STAGING: dict[Kind, str] = {
    Kind.PERSON: f"""
        SELECT place, source_id, date, sex, district, tag,
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
OWN_COLUMNS = {
    Kind.VISIT: "s.visit_class, s.until",
    Kind.CONDITION: "s.system, s.code",
    Kind.MEASUREMENT: "s.system, s.code, s.value, s.unit",
}
_COPIED = "district, sex, age"
INSERTS = {
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
IDS = {Kind.VISIT: "visit_id", Kind.CONDITION: "condition_id", Kind.MEASUREMENT: "measurement_id"}


def resolved(kind: Kind, is_first: bool) -> str:
    """The latest record of each source id beside its patient, its visit and the row it replaces (none in an empty table)."""
    visit, visits = "NULL", ""
    if kind is not Kind.VISIT:
        visit, visits = "v.visit_id", f"LEFT JOIN {Kind.VISIT} v ON v.source_id = s.encounter AND v.person_id = p.person_id"
    known = "NULL::BIGINT AS old_id, FALSE AS is_known, coalesce(s.district, p.district) AS district"
    earlier = ""
    if not is_first:
        known = "old.id AS old_id, old.id IS NOT NULL AS is_known, coalesce(s.district, old.district, p.district) AS district"
        earlier = f"""LEFT JOIN (SELECT source_id, min({IDS[kind]}) AS id, any_value(district) AS district FROM {kind}
            WHERE source_id IN (SELECT source_id FROM latest) GROUP BY source_id) old ON old.source_id = s.source_id"""
    return f"""
        CREATE OR REPLACE TEMP TABLE resolved AS
        SELECT s.place, s.source_id, s.date, s.stop, {OWN_COLUMNS[kind]}, p.person_id, {visit} AS visit_id, {known}, p.sex,
               (CASE WHEN p.birth_date IS NULL THEN s.years
                     ELSE greatest(date_sub('year', p.birth_date, s.date), 0) END)::SMALLINT AS age,
               CASE WHEN s.stop IS NOT NULL THEN s.stop WHEN p.person_id IS NULL THEN '{Reason.UNKNOWN_SUBJECT}'
                    WHEN {_BEFORE_BIRTH} THEN '{Reason.BEFORE_BIRTH}' END AS reason
        FROM latest s LEFT JOIN person p ON p.source_id = s.subject {visits} {earlier}"""
