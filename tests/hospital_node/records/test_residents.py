"""Tags of residents at import: the same at every hospital, the number nowhere, and one key at a time."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from audit_ledger.party.home import Home
from hospital_node.records.csv_mapping import example_mapping, parse_mapping
from hospital_node.records.errors import InvalidMapping
from hospital_node.records.report import ImportReport, Reason
from hospital_node.records.residents import KEY_FILE, Residents
from protocols.union import ResidentKey
from tests.hospital_node.records.resources import Node, encounter, patient, write_ndjson
from tests.protocols.union.numbers import number

SYSTEM = "urn:example:resident"
NUMBER, OTHER = "11010519491231002X", number(2)
KEY = Residents(ResidentKey(os.urandom(32)))
TAGS = "SELECT person_id, hex(tag) FROM resident ORDER BY person_id"


def _known_by(number: object, system: str = SYSTEM, **fields: str) -> dict[str, object]:
    return {"identifier": [{"system": "urn:other", "value": "77"}, {"system": system, "value": number, **fields}]}


def _load(
    node: Node, *resources: dict[str, object], residents: Residents | None = KEY, system: str | None = SYSTEM
) -> ImportReport:
    file = write_ndjson(node.root / "export.ndjson", resources)
    return replace(node.ingest, residents=residents).fhir([file], system)


def _tag(number: str, residents: Residents = KEY) -> str:
    return residents.key.tag(number).hex().upper()


def test_a_resident_has_the_same_tag_at_two_hospitals(tmp_path: Path) -> None:
    for name, spelling in (("a", NUMBER), ("b", " 110105-19491231-002x")):
        (tmp_path / name).mkdir()
        node = Node(tmp_path / name)
        _load(node, patient(f"of-{name}", **_known_by(spelling)))
        assert node.rows(TAGS) == [(1, _tag(NUMBER))]


def test_csv_and_fhir_give_the_same_tag(node: Node) -> None:
    text = example_mapping().replace("# resident_number", "resident_number")
    mapping = parse_mapping(text, "example")
    header = ",".join(mapping.columns())
    cells = {"病人ID": "P1", "出生日期": "1949-12-31", "身份证号": NUMBER, "就诊号": "V1", "就诊日期": "2025-03-01"}
    file = node.root / "visits.csv"
    file.write_text(f"{header}\n{','.join(cells.get(column, '') for column in mapping.columns())}\n")
    replace(node.ingest, residents=KEY).csv(file, mapping)
    assert node.rows(TAGS) == [(1, _tag(NUMBER))]


def test_the_number_is_in_no_file_of_the_records(node: Node) -> None:
    _load(node, patient(**_known_by(NUMBER)), encounter())
    assert node.rows("SELECT count(*) FROM resident") == [(1,)]
    for path in node.records.rglob("*"):
        assert path.is_dir() or NUMBER[:14].encode() not in path.read_bytes()


@pytest.mark.parametrize("wrong", ["110105194912310021", "护照G12345678", NUMBER[:-1]])
def test_a_wrong_number_is_named_by_its_place_and_its_patient_loaded(node: Node, wrong: str) -> None:
    report = _load(node, patient("p1", **_known_by(wrong)), patient("p2", **_known_by(OTHER)))
    assert report.tables["person"].total == 2
    assert report.skipped[Reason.BAD_RESIDENT].places == ("export.ndjson:1",)
    assert node.rows(TAGS) == [(2, _tag(OTHER))]
    assert wrong not in str(report.as_json())


@pytest.mark.parametrize(
    "identifiers", [{}, _known_by(NUMBER, "urn:another"), _known_by(NUMBER, use="old"), _known_by(None), _known_by("")]
)
def test_a_patient_without_a_number_of_the_system_has_no_tag(node: Node, identifiers: dict[str, object]) -> None:
    report = _load(node, patient(**identifiers))
    assert node.rows(TAGS) == []
    assert not report.skipped


def test_an_identifier_that_is_no_text_is_malformed_like_any_other(node: Node) -> None:
    report = _load(node, patient("p1", **_known_by(11010519491231002)), patient("p2"))
    assert report.skipped[Reason.MALFORMED].count == 1


def test_a_later_record_without_a_number_keeps_the_tag_and_one_with_another_replaces_it(node: Node) -> None:
    _load(node, patient(**_known_by(NUMBER)))
    _load(node, patient(gender="male"))
    assert node.rows(TAGS) == [(1, _tag(NUMBER))]
    _load(node, patient(**_known_by(OTHER)))
    assert node.rows(TAGS) == [(1, _tag(OTHER))]


def test_another_key_leaves_no_tag_of_the_old_one(node: Node) -> None:
    _load(node, patient("p1", **_known_by(NUMBER)), patient("p2", **_known_by(OTHER)))
    new = Residents(ResidentKey(os.urandom(32)))
    _load(node, patient("p1", **_known_by(NUMBER)), residents=new)
    assert node.rows(TAGS) == [(1, _tag(NUMBER, new))]
    assert node.rows("SELECT DISTINCT key_print FROM resident") == [(new.fingerprint,)]


def test_an_import_that_is_not_asked_for_numbers_reads_none_and_touches_no_tag(node: Node) -> None:
    _load(node, patient(**_known_by(NUMBER)))
    _load(node, patient(**_known_by(OTHER)), system=None)
    assert node.rows(TAGS) == [(1, _tag(NUMBER))]


def test_numbers_without_a_key_refuse_the_import_before_it_starts(node: Node) -> None:
    with pytest.raises(InvalidMapping, match="--resident-system: this node has no residents' key"):
        _load(node, patient(**_known_by(NUMBER)), residents=None)
    mapping = parse_mapping(example_mapping().replace("# resident_number", "resident_number"), "example")
    with pytest.raises(InvalidMapping, match="resident_number: this node has no residents' key"):
        node.ingest.csv(node.root / "visits.csv", mapping)
    assert not (node.records / "CURRENT").exists()


def test_the_key_is_read_from_the_home_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    assert Residents.of(tmp_path) is None
    Home(tmp_path).write_secret(KEY_FILE, KEY.key.secret)
    assert Residents.of(tmp_path) == KEY
    (tmp_path / KEY_FILE).write_bytes(b"short\n")
    with pytest.raises(InvalidMapping, match=r"residents\.key"):
        Residents.of(tmp_path)
