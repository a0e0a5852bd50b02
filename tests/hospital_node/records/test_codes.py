"""Codes of every edition meet in one form; the SNOMED map covers what the example data holds; nothing but codes is shown."""

import csv
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hospital_node.records.codes import ICD10, LOINC, SNOMED, CodeMap, is_snomed_concept, normalise_icd10, printable
from hospital_node.records.errors import InvalidMapping
from hospital_node.records.report import UnmappedCode


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("J10.1", "J101"), ("j10.100", "J101"), ("J101", "J101"), ("Ｊ１０．１", "J101"), (" J10.1 ", "J101"),
        ("A09.900x001", "A099"), ("A09.900X001", "A099"), ("I10.x00", "I10"), ("I10.x00x002", "I10"), ("I10", "I10"),
        ("A17.0†", "A170"), ("G01*", "G01"), ("A17.0+G01*", "A170"), ("A17.0† G01*", "A170"), ("B95.0＊", "B950"),
        ("S52.501A", "S525"), ("Z3A.01", "Z3A0"), ("U07.1", "U071"),
        ("M8140/3", None), ("J1", None), ("", None), ("流感", None), ("440106198005171234", None), ("10.1", None), ("JJ0.1", None),
    ],
)  # fmt: skip
def test_icd10_of_every_edition_comes_to_the_same_four_characters(written: str, means: str | None) -> None:
    assert normalise_icd10(written) == means


@given(st.text(max_size=30))
def test_whatever_is_written_the_outcome_is_a_code_or_nothing_and_stable(text: str) -> None:
    code = normalise_icd10(text)
    assert code is None or (3 <= len(code) <= 4 and normalise_icd10(code) == code)


def test_every_snomed_code_of_the_map_is_a_valid_concept_and_every_target_a_valid_icd10() -> None:
    rows = list(csv.DictReader(files("hospital_node.records").joinpath("snomed_icd10.csv").open(encoding="utf-8")))
    assert len({row["code"] for row in rows}) == len(rows) == 113
    assert all(row["system"] == SNOMED and is_snomed_concept(row["code"]) for row in rows)
    assert [row["code"] for row in rows if not row["icd10"]] == ["703151001"]
    assert all(normalise_icd10(row["icd10"]) == row["icd10"].replace(".", "") for row in rows if row["icd10"])


def test_a_hospitals_own_file_extends_and_overrules_the_map(tmp_path: Path) -> None:
    own = tmp_path / "own.csv"
    lines = ["\ufeffsystem,code,icd10,name", "urn:his,流感,J11.1,", "http://snomed.info/sct,233604007,J15.9,Pneumonia"]
    own.write_text("\n".join(lines), encoding="utf-8")
    codes = CodeMap.read([own])
    assert codes.icd10("urn:his", "流感") == "J111"
    assert codes.icd10(SNOMED, "233604007") == "J159"
    assert codes.icd10(SNOMED, "38341003") == "I10"
    assert codes.icd10(ICD10 + "-cm", "S52.501A") == "S525"
    assert codes.icd10(None, "J10.1") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("code,icd10\n", "own.csv:1: expected the header system,code,icd10,name"),
        ("system,code,icd10,name\na,b,J10.1\n", "own.csv:2: expected 4 columns, got 3"),
        ("system,code,icd10,name\na,b,flu,c\n", "own.csv:2: the third column is no ICD-10 code"),
    ],
)
def test_a_code_map_of_another_form_is_refused_by_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "own.csv").write_text(text)
    with pytest.raises(InvalidMapping, match=message):
        CodeMap.read([tmp_path / "own.csv"])
    with pytest.raises(InvalidMapping, match="cannot be read"):
        CodeMap.read([tmp_path / "nowhere.csv"])


@pytest.mark.parametrize(
    ("system", "code", "shown"),
    [
        (SNOMED, "233604007", True), (SNOMED, "124171000119105", True), (SNOMED, "233604008", False),
        (SNOMED, "13800138000", False), (SNOMED, "440106198005171234", False), (SNOMED, "王小明", False),
        (ICD10, "J10.1", True), (ICD10, "A09.900x001", True),
        (ICD10, "13800138000", False), (ICD10, "王小明", False), (None, "J10.1", False), ("urn:his", "flu", False),
    ],
)  # fmt: skip
def test_only_what_has_the_form_of_a_code_is_shown(system: str | None, code: str, shown: bool) -> None:
    assert printable(system, code) is shown
    assert CodeMap.unmapped([(system, code, 3)]) == [UnmappedCode(system or "", code, 3) if shown else UnmappedCode("", None, 3)]


def test_loinc_and_other_systems_have_no_icd10() -> None:
    assert CodeMap.read().icd10(LOINC, "8310-5") is None
