"""The four tables every question is answered from, and the only ways to open them.

Rules
- OMOP-style: `person`, `visit_occurrence`, `condition_occurrence`, `measurement`. The source's own code stands beside its
  code system; `icd10` and `loinc` are what queries read.
- district, sex and age are copied onto each event as recorded then (spec/privacy.md, choice 1), so that a patient who
  moves does not rewrite the past.
- `resident` holds, for patients whose resident number an import was told to read, its keyed hash (`residents`); `resident_key`
  says under which key imports were told to, whether or not a number was there: a refusal depends on it, and on no record.
- Dates are calendar dates of the hospital's zone. Source ids are unique within a table, but for the components of one
  Observation, which share its id and are replaced together.
"""

from pathlib import Path

import duckdb

from hospital_node.records.generations import file_in_force

_EVENT = "district VARCHAR, sex VARCHAR NOT NULL, age SMALLINT"

# Ids are random, so that packing them buys little, and no query reads them: to try took a tenth of an import.
_SOURCE_ID = "source_id VARCHAR NOT NULL USING COMPRESSION uncompressed"

DDL = f"""
CREATE TABLE IF NOT EXISTS person (
    person_id BIGINT PRIMARY KEY, {_SOURCE_ID}, birth_date DATE, sex VARCHAR NOT NULL, district VARCHAR);
CREATE TABLE IF NOT EXISTS resident (person_id BIGINT PRIMARY KEY, tag BLOB NOT NULL, key_print VARCHAR NOT NULL);
CREATE TABLE IF NOT EXISTS resident_key (key_print VARCHAR NOT NULL);
CREATE TABLE IF NOT EXISTS visit_occurrence (
    visit_id BIGINT NOT NULL, person_id BIGINT NOT NULL, {_SOURCE_ID}, visit_class VARCHAR NOT NULL,
    visit_date DATE NOT NULL, end_date DATE, {_EVENT});
CREATE TABLE IF NOT EXISTS condition_occurrence (
    condition_id BIGINT NOT NULL, person_id BIGINT NOT NULL, visit_id BIGINT, {_SOURCE_ID},
    condition_date DATE NOT NULL, icd10 VARCHAR, source_code VARCHAR, source_system VARCHAR, {_EVENT});
CREATE TABLE IF NOT EXISTS measurement (
    measurement_id BIGINT NOT NULL, person_id BIGINT NOT NULL, visit_id BIGINT, {_SOURCE_ID},
    measurement_date DATE NOT NULL, loinc VARCHAR, value DECIMAL(18,6), unit VARCHAR,
    source_code VARCHAR, source_system VARCHAR, {_EVENT});
"""

TABLES = ("person", "visit_occurrence", "condition_occurrence", "measurement")

# A reader takes no path, no extension and no setting from anyone: what it was opened with is what it stays.
_CLOSED: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": False,
    "autoinstall_known_extensions": False,
    "allow_community_extensions": False,
}


def open_read_only(folder: Path) -> duckdb.DuckDBPyConnection:
    """The generation in force, for reading. The connection keeps its generation however many imports follow.

    Raises:
        NoRecords: nothing was imported into this folder yet.
    """
    while True:
        path = file_in_force(folder)
        try:
            return duckdb.connect(path, read_only=True, config=_CLOSED)
        except duckdb.IOException:
            # Two imports may pass between reading the pointer and opening the file it names; then there is a newer one.
            if file_in_force(folder) == path:
                raise


def empty_copy() -> duckdb.DuckDBPyConnection:
    """The same tables without a row, in memory: to see whether a plan runs without touching a record."""
    connection = duckdb.connect(":memory:", config=_CLOSED)
    connection.execute(DDL)
    return connection
