"""The city straight into records databases, as an import of its FHIR would leave them, in seconds for a million visits.

For benchmarks and large simulations: whole columns go from numpy to DuckDB. That the rows equal those of the real import
is a test, not a hope. One hospital of 1,000,000 visits is `write_duckdb(build_city(seed, 1, 1_000_000), folder)`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa

from hospital_node.records.codes import ICD10, LOINC, normalise_icd10
from hospital_node.records.generations import next_generation
from hospital_node.records.schema import DDL
from simulations.city.city import City
from simulations.city.residents import DISTRICTS, SEXES, Days, Ints
from simulations.city.seasons import CODES
from simulations.city.visits import DAY_MINUTES, KINDS, VISIT_CLASSES

_FILL: Final = {
    "person": """SELECT person_id, $marker || '-p' || person_id - 1, birth_date, sex, district FROM people
        ORDER BY person_id""",
    "visit_occurrence": """SELECT visit_id, person_id, $marker || '-e' || visit_id - 1, visit_class, visit_date, end_date,
        district, sex, age FROM seen ORDER BY visit_id""",
    "condition_occurrence": """SELECT event_id, person_id, visit_id, $marker || '-c' || event_id - 1, visit_date, icd10,
        source_code, $icd10, district, sex, age
        FROM diagnoses JOIN codes USING (code) JOIN seen USING (visit_id) ORDER BY event_id""",
    "measurement": """SELECT event_id, person_id, visit_id, $marker || '-o' || event_id - 1, visit_date, loinc,
        tenths::DECIMAL(18,6) / 10, unit, loinc, $loinc, district, sex, age
        FROM measured JOIN kinds USING (kind) JOIN seen USING (visit_id) ORDER BY event_id""",
}


def write_duckdb(city: City, folder: Path) -> dict[str, Path]:
    """Writes `folder`/<hospital>/records for every hospital; gives each hospital's records folder by its name."""
    folders = {hospital.name: folder / hospital.name / "records" for hospital in city.hospitals}
    for index, records in enumerate(folders.values()):
        with next_generation(records) as building, duckdb.connect(building) as connection:
            connection.execute(DDL)
            _fill(connection, city, index)
    return folders


def _fill(connection: duckdb.DuckDBPyConnection, city: City, hospital: int) -> None:
    rows = np.flatnonzero(city.hospital == hospital)
    patients = city.patients_of(hospital)
    sources = {
        "people": _people(city, patients),
        "seen": _seen(city, rows, patients),
        "diagnoses": _events(city, hospital, city.diagnoses.visit, code=city.diagnoses.code),
        "measured": _events(city, hospital, city.measurements.visit, kind=city.measurements.kind, tenths=city.measurements.tenths),
        "codes": pa.table(
            {
                "code": np.arange(len(CODES)),
                "icd10": [normalise_icd10(code.code) for code in CODES],
                "source_code": [code.code for code in CODES],
            }
        ),
        "kinds": pa.table(
            {
                "kind": np.arange(len(KINDS)),
                "loinc": [kind.loinc for kind in KINDS],
                "unit": [kind.unit for kind in KINDS],
            }
        ),
    }
    for name, table in sources.items():
        connection.register(name, table)
    for table_name, select in _FILL.items():
        fixed = {"marker": city.planted.identifier, "icd10": ICD10, "loinc": LOINC}
        named = {name: value for name, value in fixed.items() if f"${name}" in select}
        connection.execute(f"INSERT INTO {table_name} {select}", named)


def _people(city: City, patients: Ints) -> pa.Table:
    return pa.table(
        {
            "person_id": np.arange(1, len(patients) + 1),
            "birth_date": city.residents.birth[patients],
            **_place_and_sex(city, patients),
        }
    )


def _seen(city: City, rows: Ints, patients: Ints) -> pa.Table:
    visits, resident = city.visits, city.visits.resident[rows]
    dates = city.new_year + visits.day[rows].astype("timedelta64[D]")
    end = visits.day + (visits.minute + visits.stay_minutes) // DAY_MINUTES
    return pa.table(
        {
            "visit_id": rows + 1,
            "person_id": np.searchsorted(patients, resident) + 1,
            "visit_class": _words(VISIT_CLASSES, visits.visit_class[rows]),
            "visit_date": dates,
            "end_date": city.new_year + end[rows].astype("timedelta64[D]"),
            **_place_and_sex(city, resident),
            "age": ages(city.residents.birth[resident], dates),
        }
    )


def _events(city: City, hospital: int, visit: Ints, **columns: Ints) -> pa.Table:
    here = np.flatnonzero(city.hospital[visit] == hospital)
    chosen = {name: column[here] for name, column in columns.items()}
    return pa.table({"event_id": here + 1, "visit_id": visit[here] + 1, **chosen})


def _place_and_sex(city: City, residents: Ints) -> dict[str, pa.Array]:
    is_unknown = ~city.residents.is_district_stated[residents]
    adcodes = tuple(district.adcode for district in DISTRICTS)
    return {
        "district": _words(adcodes, city.residents.district[residents], is_unknown),
        "sex": _words(SEXES, city.residents.sex[residents]),
    }


def _words(words: tuple[str, ...], index: Ints, mask: np.ndarray[tuple[int], np.dtype[np.bool_]] | None = None) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(index, mask=mask), list(words)).cast(pa.string())


def ages(birth: Days, on: Days) -> Ints:
    """Completed years of each person on each day, by the calendar."""
    born, day = _year_month_day(birth), _year_month_day(on)
    is_before_birthday = (day[1] < born[1]) | ((day[1] == born[1]) & (day[2] < born[2]))
    return np.asarray(day[0] - born[0] - is_before_birthday, dtype=np.int64)


def _year_month_day(days: Days) -> tuple[Ints, Ints, Ints]:
    months = days.astype("datetime64[M]")
    month_number = months.astype(np.int64)
    return month_number // 12, month_number % 12, (days - months.astype("datetime64[D]")).astype(np.int64)
