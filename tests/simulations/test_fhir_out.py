"""The city's FHIR: valid R4 in the fields used, every identifier marked, broken lines counted, nothing linking two hospitals."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import orjson
import pytest

from simulations.city.city import City, build_city
from simulations.city.fhir_out import MALFORMED_LINES, write_fhir
from simulations.city.residents import DISTRICTS
from tests.simulations.cities import KINDS, resources

# http://hl7.org/fhir/R4/datatypes.html: the forms of id and instant-like dateTime.
R4_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")


@pytest.fixture(scope="module")
def city() -> City:
    return build_city(11, 3, 700)


@pytest.fixture(scope="module")
def folders(city: City, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_fhir(city, tmp_path_factory.mktemp("fhir"))


def test_writing_twice_gives_the_same_bytes(city: City, folders: dict[str, Path], tmp_path: Path) -> None:
    again = write_fhir(build_city(11, 3, 700), tmp_path)
    for name, folder in folders.items():
        assert all((folder / f"{kind}.ndjson").read_bytes() == (again[name] / f"{kind}.ndjson").read_bytes() for kind in KINDS)


def test_resource_counts_add_up_to_the_city(city: City, folders: dict[str, Path]) -> None:
    written = {kind: sum(len(resources(folder, kind)) for folder in folders.values()) for kind in KINDS}
    patients = len(np.unique(city.visits.resident)) + len(city.patients_of_two())
    assert written == {
        "Patient": patients,
        "Encounter": len(city.visits),
        "Condition": len(city.diagnoses.visit),
        "Observation": len(city.measurements.visit),
    }


def test_each_file_holds_exactly_one_line_that_is_no_resource(folders: dict[str, Path]) -> None:
    for folder in folders.values():
        for kind in MALFORMED_LINES:
            lines = (folder / f"{kind}.ndjson").read_bytes().splitlines()
            assert len(lines) == len(resources(folder, kind)) + 1


def test_every_resource_is_of_its_file_and_has_a_valid_unique_id(folders: dict[str, Path]) -> None:
    for folder in folders.values():
        for kind in KINDS:
            found = resources(folder, kind)
            assert {resource["resourceType"] for resource in found} == {kind}
            assert len({resource["id"] for resource in found}) == len(found)
            assert all(R4_ID.fullmatch(resource["id"]) for resource in found)


def test_every_reference_points_to_a_resource_of_the_same_hospital(folders: dict[str, Path]) -> None:
    for folder in folders.values():
        patients = {f"Patient/{each['id']}" for each in resources(folder, "Patient")}
        encounters = {f"Encounter/{each['id']}": each["subject"] for each in resources(folder, "Encounter")}
        assert {subject["reference"] for subject in encounters.values()} == patients
        for kind in ("Condition", "Observation"):
            assert all(encounters[each["encounter"]["reference"]] == each["subject"] for each in resources(folder, kind))


def test_patients_carry_gender_birth_date_and_district_as_r4_spells_them(folders: dict[str, Path]) -> None:
    names = {district.name for district in DISTRICTS} | {district.adcode for district in DISTRICTS}
    seen = set()
    for folder in folders.values():
        for patient in resources(folder, "Patient"):
            assert patient["gender"] in {"female", "male", "unknown"}
            assert date.fromisoformat(patient["birthDate"]) < date(2025, 1, 1)
            seen.add(patient["address"][0].get("district"))
    assert seen - {None} == names
    assert None in seen


def test_encounters_have_a_class_and_a_period_in_guangzhou_time(folders: dict[str, Path]) -> None:
    for encounter in (each for folder in folders.values() for each in resources(folder, "Encounter")):
        start, end = (datetime.fromisoformat(encounter["period"][edge]) for edge in ("start", "end"))
        assert encounter["class"]["code"] in {"AMB", "EMER", "IMP"}
        assert encounter["status"] == "finished"
        assert start.utcoffset() == timedelta(hours=8)
        assert start < end


def test_conditions_are_icd10_in_the_spellings_hospitals_use(folders: dict[str, Path]) -> None:
    codings = [each["code"]["coding"][0] for folder in folders.values() for each in resources(folder, "Condition")]
    codes = {coding["code"] for coding in codings}
    assert {coding["system"] for coding in codings} == {"http://hl7.org/fhir/sid/icd-10"}
    assert {"A09.900x001", "J10.1", "J10.100", "I10", "E11.900"} <= codes
    assert {code[:3] for code in codes} >= {"J06", "J10", "J11", "A90", "A97", "A09", "J18", "I10", "E11"}


def test_temperatures_are_body_temperature_in_degrees_celsius(folders: dict[str, Path]) -> None:
    found = [each for folder in folders.values() for each in resources(folder, "Observation")]
    temperatures = [each["valueQuantity"] for each in found if each["code"]["coding"][0]["code"] == "8310-5"]
    assert {(value["system"], value["code"]) for value in temperatures} == {("http://unitsofmeasure.org", "Cel")}
    assert all(33 < value["value"] < 43 for value in temperatures)
    assert {each["status"] for each in found} == {"final"}


def test_every_patient_identifier_contains_a_planted_marker(city: City, folders: dict[str, Path]) -> None:
    planted = city.planted
    for patient in (each for folder in folders.values() for each in resources(folder, "Patient")):
        assert planted.identifier in patient["id"]
        assert planted.name in patient["name"][0]["text"]
        assert planted.record_number in patient["identifier"][0]["value"]
        assert planted.telephone in patient["telecom"][0]["value"]


def test_a_malformed_line_carries_a_marker_too(city: City, folders: dict[str, Path]) -> None:
    for folder in folders.values():
        for kind, line in MALFORMED_LINES.items():
            assert line % city.planted.identifier.encode() in (folder / f"{kind}.ndjson").read_bytes()


def test_no_text_of_a_patient_says_who_is_seen_at_two_hospitals(city: City, folders: dict[str, Path]) -> None:
    """Record numbers are a hospital's own, so none is the same at two hospitals."""
    numbers = [each["identifier"][0]["value"] for folder in folders.values() for each in resources(folder, "Patient")]
    assert len(city.patients_of_two()) > 0
    assert len(set(numbers)) == len(numbers)


def test_lines_are_json_of_one_resource_each(folders: dict[str, Path]) -> None:
    for folder in folders.values():
        lines = (folder / "Encounter.ndjson").read_bytes().splitlines()
        assert orjson.loads(lines[0])["resourceType"] == "Encounter"
        assert b"could not be exported" in lines[3]
