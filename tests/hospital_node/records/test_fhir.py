"""What becomes of FHIR resources: the rows they make, and the reason for each that makes none."""

import gzip
import json
from datetime import date
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hospital_node.records.errors import NoSuchSource, UnreadableSource
from hospital_node.records.fhir import fhir_files
from hospital_node.records.importing import Ingest, NothingLoaded
from hospital_node.records.report import Reason
from tests.hospital_node.records.resources import TODAY, Node, condition, encounter, observation, patient


def test_each_of_the_four_types_becomes_a_row_that_points_to_its_patient_and_visit(node: Node) -> None:
    node.load(
        observation(encounter={"reference": "Encounter/e1"}), condition(), encounter(), patient(address=[{"district": "天河区"}])
    )
    assert node.rows("FROM person") == [(1, "p1", date(1980, 5, 17), "F", "440106")]
    assert node.rows("FROM visit_occurrence") == [
        (1, 1, "e1", "AMB", date(2025, 3, 1), date(2025, 3, 1), "440106", "F", 44),
    ]
    icd = "http://hl7.org/fhir/sid/icd-10"
    assert node.rows("FROM condition_occurrence") == [(1, 1, 1, "c1", date(2025, 3, 1), "J101", "J10.1", icd, "440106", "F", 44)]
    assert node.rows("FROM measurement") == [
        (1, 1, 1, "o1", date(2025, 3, 1), "8310-5", Decimal("38.200000"), "Cel", "8310-5", "http://loinc.org", "440106", "F", 44)
    ]


@pytest.mark.parametrize(
    "reference",
    [
        "Patient/p1",
        "urn:uuid:p1",
        "https://emr.example/fhir/Patient/p1",
        "Patient/p1/_history/3",
        "https://emr.example/fhir/Patient/p1/_history/3",
    ],
)
def test_every_spelling_of_a_reference_finds_the_patient(node: Node, reference: str) -> None:
    node.load(patient(), encounter(subject=reference))
    assert node.rows("SELECT person_id FROM visit_occurrence") == [(1,)]


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        ("2025-03-01T15:59:59Z", date(2025, 3, 1)),
        ("2025-03-01T16:00:00Z", date(2025, 3, 2)),
        ("2025-03-01T23:30:00+08:00", date(2025, 3, 1)),
        ("2025-03-01T12:00:00.125-05:00", date(2025, 3, 2)),
        ("2025-03-01T23:30:00", date(2025, 3, 1)),
        ("2025-03-01", date(2025, 3, 1)),
    ],
)
def test_a_moment_becomes_the_calendar_date_of_shanghai(node: Node, moment: str, day: date) -> None:
    node.load(patient(), encounter(period={"start": moment}))
    assert node.rows("SELECT visit_date, end_date FROM visit_occurrence") == [(day, None)]


def test_another_zone_gives_another_date(node: Node) -> None:
    node.ingest = Ingest(node.records, TODAY, ZoneInfo("America/New_York"))
    node.load(patient(), encounter(period={"start": "2025-03-01T03:00:00Z"}))
    assert node.rows("SELECT visit_date FROM visit_occurrence") == [(date(2025, 2, 28),)]


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (encounter(period={"start": "2025"}), Reason.PARTIAL_DATE),
        (encounter(period={"start": "2025-03"}), Reason.PARTIAL_DATE),
        (encounter(period={"start": "the other day"}), Reason.BAD_DATE),
        (encounter(period={"start": "2025-02-30"}), Reason.BAD_DATE),
        (encounter(period={}), Reason.NO_DATE),
        (encounter(period={"start": "2026-02-01"}), Reason.FUTURE),
        (encounter(period={"start": "1899-12-31"}), Reason.TOO_EARLY),
        (encounter(period={"start": "1980-05-16"}), Reason.BEFORE_BIRTH),
        (encounter(subject="Patient/p2"), Reason.UNKNOWN_SUBJECT),
        (encounter(subject=None), Reason.NO_SUBJECT),
        (encounter(None), Reason.NO_ID),
        (encounter(7), Reason.MALFORMED),
        (encounter(status="planned"), Reason.PLANNED),
        (encounter(status="cancelled"), Reason.WITHDRAWN),
        (encounter(period=[]), Reason.MALFORMED),
        (encounter(period="2025-03-01"), Reason.MALFORMED),
        (condition(code={"text": "流感"}), Reason.NO_CODE),
        (condition(verificationStatus={"coding": [{"code": "refuted"}]}), Reason.WITHDRAWN),
        (condition(verificationStatus={"coding": [{"code": "entered-in-error"}]}), Reason.WITHDRAWN),
        (observation(status="entered-in-error"), Reason.WITHDRAWN),
        (observation(valueQuantity={"value": 1e15}), Reason.BAD_NUMBER),
        (observation(valueQuantity={"value": "38.2"}), Reason.MALFORMED),
        (observation(valueQuantity={"value": True}), Reason.MALFORMED),
        (observation(code=None), Reason.MALFORMED),
        ("{not json", Reason.NOT_JSON),
        ('["a list"]', Reason.NOT_FHIR),
        ('{"resourceType": ["Patient"]}', Reason.NOT_FHIR),
        ("7", Reason.NOT_FHIR),
    ],
)
def test_a_record_that_breaks_a_rule_is_named_by_file_and_line_and_its_neighbours_are_loaded(
    node: Node, event: dict[str, Any] | str, reason: Reason
) -> None:
    report = node.load(patient(), event, encounter("good"))
    assert {found: (skip.count, skip.places) for found, skip in report.skipped.items()} == {reason: (1, ("export.ndjson:2",))}
    assert node.rows("SELECT source_id FROM visit_occurrence") == [("good",)]
    assert node.rows("SELECT count(*) FROM condition_occurrence UNION ALL SELECT count(*) FROM measurement") == [(0,), (0,)]


@pytest.mark.parametrize(
    ("birth", "stored", "event_day", "age"),
    [
        ("1980", date(1980, 7, 1), "1980-02-01", 0),
        ("1980-05", date(1980, 5, 15), "1980-05-02", 0),
        ("1980", date(1980, 7, 1), "2025-07-01", 45),
        ("1980-05-17", date(1980, 5, 17), "2025-05-16", 44),
        ("1980-05-17", date(1980, 5, 17), "2025-05-17", 45),
        (None, None, "2025-05-17", None),
    ],
)
def test_age_is_in_complete_years_and_a_birth_date_may_be_partial(
    node: Node, birth: str | None, stored: date | None, event_day: str, age: int | None
) -> None:
    node.load(patient(birthDate=birth), encounter(period={"start": event_day}))
    assert node.rows("SELECT birth_date FROM person") == [(stored,)]
    assert node.rows("SELECT age FROM visit_occurrence") == [(age,)]


def test_a_panel_becomes_a_row_for_each_component(node: Node) -> None:
    components = [
        {"code": {"coding": [{"system": "http://loinc.org", "code": code}]}, "valueQuantity": {"value": value, "unit": "mmHg"}}
        for code, value in (("8480-6", 121), ("8462-4", 79.5))
    ]
    panel = observation(component=components)
    del panel["valueQuantity"]
    node.load(patient(), panel)
    found = node.rows("SELECT source_id, loinc, value, unit FROM measurement ORDER BY value")
    assert found == [("o1", "8462-4", Decimal("79.5"), "mmHg"), ("o1", "8480-6", Decimal(121), "mmHg")]
    node.load(patient(), panel)
    assert node.rows("SELECT count(*), count(DISTINCT measurement_id) FROM measurement") == [(2, 2)]


def test_a_value_with_a_comparator_is_no_value(node: Node) -> None:
    node.load(patient(), observation(valueQuantity={"value": 5, "comparator": "<", "unit": "mg"}))
    assert node.rows("SELECT value, unit FROM measurement") == [(None, "mg")]


def test_icd10_is_read_before_snomed_and_loinc_before_a_local_code(node: Node) -> None:
    snomed, icd10 = (
        {"system": "http://snomed.info/sct", "code": "233604007"},
        {"system": "http://hl7.org/fhir/sid/icd-10", "code": "J15.9"},
    )
    local, loinc = {"system": "urn:local", "code": "T"}, {"system": "http://loinc.org", "code": "8310-5"}
    node.load(
        patient(),
        condition(code={"coding": [snomed, icd10]}),
        condition("c2", code={"coding": [snomed]}),
        observation(code={"coding": [local, loinc]}),
    )
    assert node.rows("SELECT icd10, source_code FROM condition_occurrence ORDER BY source_id") == [
        ("J159", "J15.9"),
        ("J189", "233604007"),
    ]
    assert node.rows("SELECT loinc FROM measurement") == [("8310-5",)]


def test_an_event_of_another_patients_visit_has_no_visit(node: Node) -> None:
    node.load(
        patient(),
        patient("p2"),
        encounter(),
        condition(subject="Patient/p2"),
        condition("c2", encounter={"reference": "Encounter/gone"}),
    )
    assert node.rows("SELECT visit_id FROM condition_occurrence") == [(None,), (None,)]


def test_in_a_bundle_the_full_url_is_what_references_mean(node: Node) -> None:
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {"fullUrl": "urn:uuid:11-22", "resource": patient("hospital-7")},
            {"fullUrl": "urn:uuid:33-44", "resource": {k: v for k, v in encounter(subject="urn:uuid:11-22").items() if k != "id"}},
            {
                "fullUrl": "urn:uuid:55-66",
                "resource": condition(subject="urn:uuid:11-22", encounter={"reference": "urn:uuid:33-44"}),
            },
            {"resource": 5},
            {"fullUrl": "urn:uuid:9", "resource": {"resourceType": "Claim"}},
        ],
    }
    file = node.root / "bundle.json"
    file.write_text(json.dumps(bundle, indent=2))
    report = node.ingest.fhir([file])
    joined = "FROM person p JOIN visit_occurrence v USING (person_id) JOIN condition_occurrence c USING (person_id)"
    assert node.rows(f"SELECT p.source_id, v.source_id, c.visit_id = v.visit_id {joined}") == [("hospital-7", "33-44", True)]
    assert report.skipped[Reason.NOT_FHIR].places == ("bundle.json:4",)
    assert report.not_used == {"Claim": 1}


def test_gzip_a_byte_order_mark_crlf_and_blank_lines_change_nothing(node: Node) -> None:
    text = "\ufeff" + json.dumps(patient()) + "\r\n\r\n" + json.dumps(encounter()) + "\n   \n" + json.dumps(condition())
    file = node.root / "export.ndjson.gz"
    file.write_bytes(gzip.compress(text.encode()))
    report = node.ingest.fhir([file])
    assert [table.loaded for table in report.tables.values()] == [1, 1, 1, 0]
    assert not report.skipped


def test_ndjson_under_a_json_name_is_read_as_ndjson(node: Node) -> None:
    assert node.load(patient(), encounter(), name="export.json").changed == 2


def test_a_file_that_breaks_off_stops_the_import_and_leaves_the_records_in_force(node: Node) -> None:
    node.load(patient())
    whole = gzip.compress("\n".join(json.dumps(encounter(f"e{number}")) for number in range(5000)).encode())
    cut, garbage, half = node.root / "cut.ndjson.gz", node.root / "garbage.ndjson.gz", node.root / "half.json"
    cut.write_bytes(whole[: len(whole) // 2])
    garbage.write_bytes(b"this is not gzip")
    half.write_text('{"resourceType": "Bundle", "entry": [\n{"resource": {"id": "王小明"')
    with pytest.raises(UnreadableSource, match="breaks off before its end"):
        node.ingest.fhir([cut])
    with pytest.raises(UnreadableSource, match="is not gzip"):
        node.ingest.fhir([garbage])
    with pytest.raises(UnreadableSource, match=r"half.json:2: is not JSON") as caught:
        node.ingest.fhir([half])
    assert caught.value.__cause__ is None  # the cause would carry the document
    assert (node.records / "CURRENT").read_text() == "g00000001\n"
    assert sorted(file.name for file in node.records.iterdir()) == ["CURRENT", "LOCK", "g00000001.duckdb"]


def test_paths_that_name_nothing_to_import_are_refused(node: Node) -> None:
    (node.root / "empty").mkdir()
    (node.root / "notes.txt").write_text("x")
    with pytest.raises(NoSuchSource, match="no such file or folder"):
        fhir_files([node.root / "nowhere"])
    with pytest.raises(NoSuchSource, match="no file ends in"):
        fhir_files([node.root / "empty"])
    with pytest.raises(NoSuchSource, match="expected a name ending in"):
        fhir_files([node.root / "notes.txt"])


def test_an_import_that_loads_nothing_changes_nothing_and_says_why(node: Node) -> None:
    with pytest.raises(NothingLoaded, match="no record could be loaded") as caught:
        node.load(encounter(), "junk")
    assert set(caught.value.report.skipped) == {Reason.UNKNOWN_SUBJECT, Reason.NOT_JSON}
    assert not (node.records / "CURRENT").exists()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["coding", "code", "system", "reference", "start", "value", "id"]), inner, max_size=3)
    ),
    max_leaves=6,
)
_FIELDS = [
    "id",
    "subject",
    "encounter",
    "code",
    "period",
    "class",
    "status",
    "onsetDateTime",
    "effectiveDateTime",
    "valueQuantity",
    "component",
]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([encounter, condition, observation, patient]),
            st.dictionaries(st.sampled_from([*_FIELDS, "birthDate", "gender", "address"]), _JSON, max_size=3),
        ),
        max_size=6,
    )
)
def test_no_shape_of_a_resource_stops_an_import(tmp_path_factory: pytest.TempPathFactory, shapes: list[Any]) -> None:
    node = Node(tmp_path_factory.mktemp("any"))
    report = node.load(patient("sure"), *[{**build(), **fields} for build, fields in shapes])
    read = sum(report.read.values())
    assert read == len(shapes) + 1
    assert all(len(skip.places) <= 5 for skip in report.skipped.values())
