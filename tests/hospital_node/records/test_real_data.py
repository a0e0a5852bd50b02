"""The published Synthea patients: every resource is loaded or accounted for."""

import csv
import gzip
import json
from importlib.resources import files

import pytest

from hospital_node.records.fhir import fhir_files
from hospital_node.records.profile import profile
from hospital_node.records.report import Reason
from tests.hospital_node.records.resources import SHARED, Node

FHIR = SHARED / "fhir_r4"
pytestmark = pytest.mark.skipif(not FHIR.is_dir(), reason="the example data (fhir_r4) is not beside this repository")


def test_bulk_data_of_300_patients_is_loaded_but_for_one_visit_before_its_patients_birth(node: Node) -> None:
    report = node.ingest.fhir(fhir_files([FHIR / "ndjson"]))
    assert report.read == {"Patient": 300, "Encounter": 8480, "Condition": 2211, "Observation": 43164}
    assert report.not_used["Procedure"] == 7078
    assert {reason: (skip.count, skip.places) for reason, skip in report.skipped.items()} == {
        Reason.BEFORE_BIRTH: (2, ("Condition.ndjson.gz:1992", "Encounter.ndjson.gz:7544"))
    }
    with gzip.open(FHIR / "ndjson" / "Observation.ndjson.gz") as lines:
        observations = [json.loads(line) for line in lines]
    expected = sum(len(one["component"]) if "component" in one else 1 for one in observations)
    assert {table: found.total for table, found in report.tables.items()} == {
        "person": 300,
        "visit_occurrence": 8479,
        "condition_occurrence": 2210,
        "measurement": expected,
    }
    assert node.rows("SELECT count(*) FROM condition_occurrence WHERE visit_id IS NULL OR age IS NULL") == [(0,)]
    assert [(found.code, found.count) for found in report.unmapped] == [("703151001", 19)]
    share = profile(node.records).unmapped_share
    assert share is not None
    assert abs(share - 19 / 2210) < 1e-9


def test_every_value_is_the_one_of_its_observation_to_six_places(node: Node) -> None:
    node.ingest.fhir(fhir_files([FHIR / "ndjson"]))
    with gzip.open(FHIR / "ndjson" / "Observation.ndjson.gz") as lines:
        read = [json.loads(line) for line in lines]
    parts = [(one["id"], part) for one in read for part in one.get("component", [one])]
    expected = sorted((name, part["valueQuantity"]["value"]) for name, part in parts if "valueQuantity" in part)
    found = sorted(node.rows("SELECT source_id, value::DOUBLE FROM measurement WHERE value IS NOT NULL"))
    assert [name for name, _ in found] == [name for name, _ in expected]
    assert max(abs(stored - published) for (_, stored), (_, published) in zip(found, expected, strict=True)) <= 5.1e-7


def test_bundles_add_their_patients_and_a_second_import_adds_nothing(node: Node) -> None:
    first = node.ingest.fhir(fhir_files([FHIR / "bundles"]))
    assert first.read == {"Patient": 8, "Encounter": 68, "Condition": 26, "Observation": 412}
    assert not first.skipped
    assert node.rows("SELECT count(*) FROM condition_occurrence WHERE visit_id IS NULL") == [(0,)]
    again = node.ingest.fhir(fhir_files([FHIR / "bundles"]))
    assert [table.loaded for table in again.tables.values()] == [0, 0, 0, 0]
    assert [table.total for table in again.tables.values()] == [table.total for table in first.tables.values()]


def test_the_code_map_holds_exactly_the_condition_codes_of_the_data() -> None:
    found: set[str] = set()
    with gzip.open(FHIR / "ndjson" / "Condition.ndjson.gz") as lines:
        found |= {coding["code"] for line in lines for coding in json.loads(line)["code"]["coding"]}
    for file in (FHIR / "bundles").glob("*.json"):
        resources = [entry["resource"] for entry in json.loads(file.read_bytes())["entry"]]
        found |= {coding["code"] for one in resources if one["resourceType"] == "Condition" for coding in one["code"]["coding"]}
    mapped = csv.DictReader(files("hospital_node.records").joinpath("snomed_icd10.csv").open(encoding="utf-8"))
    assert {row["code"] for row in mapped} == found
