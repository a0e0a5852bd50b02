"""Relocation moves patients whole, changes nothing but the address, loses and invents no resource."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import orjson
import pytest

from simulations.city.hospitals import open_hospitals
from simulations.city.relocate import Atlas, Relocation, UnreadableSource, relocate
from simulations.city.residents import DISTRICTS
from tests.simulations.cities import KINDS, Resource, resources

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "fhir_r4"
NOBODYS = (b'{"resourceType":"Observation","id":"whose"}', b'{"resourceType":"Patient"}')


def _patient(number: int) -> Resource:
    return {"resourceType": "Patient", "id": f"p{number}", "address": [{"city": "Boston"}], "gender": "female"}


def _clinical(number: int) -> list[Resource]:
    subject, encounter = {"reference": f"urn:uuid:p{number}"}, {"reference": f"Encounter/e{number}"}
    return [
        {"resourceType": "Encounter", "id": f"e{number}", "subject": subject},
        {"resourceType": "Condition", "id": f"c{number}", "subject": subject, "encounter": encounter},
        {"resourceType": "Observation", "id": f"o{number}", "subject": subject, "valueQuantity": {"value": 166.53722722083646}},
        {"resourceType": "Claim", "id": f"x{number}"},
    ]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """400 patients: half as NDJSON (Patients zipped), half as one Bundle, and five lines of nobody."""
    folder = tmp_path / "source"
    (folder / "deep").mkdir(parents=True)
    with gzip.open(folder / "Patient.ndjson.gz", "wb") as file:
        file.writelines(orjson.dumps(_patient(number)) + b"\n" for number in range(200))
    clinical = [orjson.dumps(each) for number in range(200) for each in _clinical(number)]
    (folder / "deep" / "clinical.ndjson").write_bytes(
        b"\n".join([*clinical, b"{broken", b"[]", b"", b'{"id":"no type"}', *NOBODYS])
    )
    entries = [{"resource": each} for number in range(200, 400) for each in [_patient(number), *_clinical(number)]]
    (folder / "bundle.json").write_bytes(orjson.dumps({"resourceType": "Bundle", "entry": entries}))
    (folder / "MANIFEST.json").write_bytes(b'{"resourceType":"Manifest"}')
    return folder


def test_counts_add_up_and_unplaced_lines_are_counted(source: Path, tmp_path: Path) -> None:
    moved = relocate(source, tmp_path / "moved", 5)
    assert moved.written == {"Patient": 400 + moved.patients_of_two, "Encounter": 400, "Condition": 400, "Observation": 400}
    assert moved.unplaced == 5
    assert moved.patients_of_two > 0
    assert _found(moved) == Counter(moved.written)


def test_all_of_a_patient_is_where_the_patient_is(source: Path, tmp_path: Path) -> None:
    moved = relocate(source, tmp_path / "moved", 5)
    for folder in moved.folders.values():
        patients = {patient["id"] for patient in resources(folder, "Patient")}
        encounters = {encounter["id"] for encounter in resources(folder, "Encounter")}
        for kind in ("Encounter", "Condition", "Observation"):
            assert all(each["subject"]["reference"].split(":")[-1] in patients for each in resources(folder, kind))
        assert all(each["encounter"]["reference"].split("/")[-1] in encounters for each in resources(folder, "Condition"))


def test_nothing_but_the_address_changes(source: Path, tmp_path: Path) -> None:
    moved = relocate(source, tmp_path / "moved", 5)
    before = {each["id"]: each for number in range(400) for each in [_patient(number), *_clinical(number)]}
    for folder in moved.folders.values():
        for each in (each for kind in KINDS for each in resources(folder, kind)):
            old = before[each["id"]]
            assert {key: value for key, value in each.items() if key != "address"} == {
                key: value for key, value in old.items() if key != "address"
            }
            assert ("address" in each) == (each["resourceType"] == "Patient")


def test_a_patient_has_the_same_district_at_both_hospitals(source: Path, tmp_path: Path) -> None:
    moved = relocate(source, tmp_path / "moved", 5)
    districts: dict[str, set[str]] = {}
    for folder in moved.folders.values():
        for patient in resources(folder, "Patient"):
            districts.setdefault(patient["id"], set()).add(patient["address"][0]["district"])
    assert all(len(seen) == 1 for seen in districts.values())
    assert set().union(*districts.values()) <= {district.adcode for district in DISTRICTS}


@pytest.mark.statistical
def test_relocated_districts_follow_the_census_and_the_stated_share_has_two_hospitals() -> None:
    """Fixed ids, 10,000 of them: each share within five standard errors, false-alarm rate under 1e-5 over 12 shares."""
    atlas, count = Atlas(open_hospitals(6)), 10_000
    seen = Counter(atlas.district(f"id-{number}").adcode for number in range(count))
    city = sum(district.population for district in DISTRICTS)
    for district in DISTRICTS:
        share = district.population / city
        assert abs(seen[district.adcode] - share * count) < 5 * (share * (1 - share) * count) ** 0.5
    two = sum(len(atlas.hospitals_of(f"id-{number}")) == 2 for number in range(count))
    assert abs(two - 0.08 * count) < 5 * (0.08 * 0.92 * count) ** 0.5


def test_two_hospitals_are_two_different_ones() -> None:
    atlas = Atlas(open_hospitals(3), two_hospital_share=1.0)
    assert all(len(set(atlas.hospitals_of(f"id-{number}"))) == 2 for number in range(500))


def test_one_hospital_takes_everybody() -> None:
    atlas = Atlas(open_hospitals(1), two_hospital_share=1.0)
    assert {atlas.hospitals_of(f"id-{number}") for number in range(50)} == {(0,)}


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published Synthea patients are not beside the checkout")
def test_the_published_patients_arrive_complete(tmp_path: Path) -> None:
    moved = relocate(PUBLISHED, tmp_path, 6)
    assert moved.written["Patient"] - moved.patients_of_two == 300 + 8
    # Six of the eight Bundle patients are among the 300 of the NDJSON.
    assert len({patient["id"] for folder in moved.folders.values() for patient in resources(folder, "Patient")}) == 302
    assert moved.written["Encounter"] == 8_480 + 68
    assert moved.written["Condition"] == 2_211 + 26
    assert moved.written["Observation"] == 43_164 + 412
    assert moved.unplaced == 0
    assert all(resources(folder, "Patient") for folder in moved.folders.values())


def test_a_folder_without_a_patient_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableSource, match="no FHIR Patient in any"):
        relocate(tmp_path / "nowhere", tmp_path / "moved")


def test_a_file_that_breaks_off_is_refused_by_name(source: Path, tmp_path: Path) -> None:
    whole = (source / "Patient.ndjson.gz").read_bytes()
    (source / "Patient.ndjson.gz").write_bytes(whole[:-20])
    with pytest.raises(UnreadableSource, match=r"Patient.ndjson.gz: is not gzip, or breaks off"):
        relocate(source, tmp_path / "moved")


def test_a_bundle_that_is_not_json_is_refused_by_name(source: Path, tmp_path: Path) -> None:
    (source / "bundle.json").write_bytes(b'{"resourceType":"Bundle"')
    with pytest.raises(UnreadableSource, match=r"bundle.json: is not JSON"):
        relocate(source, tmp_path / "moved")


def _found(moved: Relocation) -> Counter[str]:
    return Counter({kind: sum(len(resources(folder, kind)) for folder in moved.folders.values()) for kind in KINDS})
