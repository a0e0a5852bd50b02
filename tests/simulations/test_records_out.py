"""The direct way into the records database ends where the import of the city's FHIR ends, row for row."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from hospital_node.records.fhir import fhir_files
from hospital_node.records.importing import Ingest
from hospital_node.records.schema import open_read_only
from simulations.city.city import City, build_city
from simulations.city.fhir_out import MALFORMED_LINES, write_fhir
from simulations.city.records_out import ages, write_duckdb

# Row numbers are a hospital's own affair, so events are compared through the source ids they refer to.
ROWS = {
    "person": "SELECT source_id, birth_date, sex, district FROM person",
    "visit_occurrence": """SELECT e.source_id, p.source_id, visit_class, visit_date, end_date, e.district, e.sex, age
        FROM visit_occurrence e JOIN person p USING (person_id)""",
    "condition_occurrence": """SELECT e.source_id, p.source_id, v.source_id, condition_date, icd10, source_code, source_system,
        e.district, e.sex, e.age
        FROM condition_occurrence e JOIN person p USING (person_id) JOIN visit_occurrence v USING (visit_id)""",
    "measurement": """SELECT e.source_id, p.source_id, v.source_id, measurement_date, loinc, value, unit, source_code,
        source_system, e.district, e.sex, e.age
        FROM measurement e JOIN person p USING (person_id) JOIN visit_occurrence v USING (visit_id)""",
}


@pytest.fixture(scope="module")
def city() -> City:
    return build_city(5, 2, 1_500)


@pytest.fixture(scope="module")
def direct(city: City, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_duckdb(city, tmp_path_factory.mktemp("direct"))


def _rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    return sorted(connection.execute(query).fetchall(), key=str)


def test_the_rows_equal_those_of_a_real_import_and_only_planted_lines_are_skipped(
    city: City, direct: dict[str, Path], tmp_path: Path
) -> None:
    for name, folder in write_fhir(city, tmp_path / "fhir").items():
        imported = tmp_path / name
        report = Ingest(imported, date(2026, 1, 31)).fhir(fhir_files([folder]))
        assert sum(skipped.count for skipped in report.skipped.values()) == len(MALFORMED_LINES)
        with open_read_only(imported) as theirs, open_read_only(direct[name]) as ours:
            for table, query in ROWS.items():
                expected = _rows(theirs, query)
                assert len(expected) > 100
                assert _rows(ours, query) == expected, table


def test_every_visit_of_the_city_is_at_one_hospital(city: City, direct: dict[str, Path]) -> None:
    visits = 0
    for folder in direct.values():
        with open_read_only(folder) as connection:
            visits += len(connection.execute("SELECT 1 FROM visit_occurrence").fetchall())
    assert visits == len(city.visits) == 3_000


def test_ages_are_completed_years_also_for_the_29th_of_february() -> None:
    birth = np.array(["2000-02-29", "2000-02-29", "1980-06-15", "1980-06-15", "2024-12-31"], dtype="datetime64[D]")
    on = np.array(["2025-02-28", "2025-03-01", "2025-06-14", "2025-06-15", "2025-01-01"], dtype="datetime64[D]")
    assert ages(birth, on).tolist() == [24, 25, 44, 45, 0]
