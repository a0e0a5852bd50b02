"""CSV by a mapping: the encodings, headers, dates and codes of Chinese hospital systems, and every way a file can be wrong."""

from datetime import date
from decimal import Decimal

import pytest

from hospital_node.records.csv_mapping import CsvMapping, example_mapping, parse_mapping, read_mapping
from hospital_node.records.errors import InvalidMapping, NoSuchSource, UnreadableSource
from hospital_node.records.importing import NothingLoaded
from hospital_node.records.report import ImportReport, Reason, UnmappedCode
from tests.hospital_node.records.resources import Node

_HEADER = "病人ID,出生日期,年龄,性别,现住址区县,邮编,就诊号,就诊日期,出院日期,就诊类型,主要诊断编码,其他诊断编码,体温,血红蛋白"
_ROW = "P1,1980-05-17,,女,天河区,,V1,2025-03-01,,门诊,J10.100,,38.2,"


def _mapping() -> CsvMapping:
    return parse_mapping(example_mapping(), "example")


def _load(
    node: Node, *rows: str, header: str = _HEADER, encoding: str = "utf-8", mapping: CsvMapping | None = None
) -> ImportReport:
    file = node.root / "visits.csv"
    file.write_bytes("\n".join([header, *rows, ""]).encode(encoding))
    return node.ingest.csv(file, mapping or _mapping())


@pytest.mark.parametrize(
    ("encoding", "found"), [("utf-8", "utf-8"), ("utf-8-sig", "utf-8-sig"), ("gb18030", "gb18030"), ("gbk", "gb18030")]
)
def test_each_encoding_gives_the_same_rows_and_is_named_in_the_report(node: Node, encoding: str, found: str) -> None:
    report = _load(node, _ROW, encoding=encoding)
    assert report.encodings == {"visits.csv": found}
    assert node.rows("FROM person") == [(1, "P1", date(1980, 5, 17), "F", "440106")]
    assert node.rows("FROM visit_occurrence") == [(1, 1, "V1", "AMB", date(2025, 3, 1), None, "440106", "F", 44)]
    assert node.rows("SELECT visit_id, icd10, source_code FROM condition_occurrence") == [(1, "J101", "J10.100")]
    assert node.rows("SELECT visit_id, loinc, value, unit FROM measurement") == [(1, "8310-5", Decimal("38.2"), "Cel")]


def test_full_width_characters_are_folded_in_header_and_cells(node: Node) -> None:
    header = _HEADER.replace("病人ID", "病人ＩＤ ")
    _load(node, "Ｐ１,１９８０-05-17,,女,,,Ｖ１,２０２５/３/１,,急诊,Ｊ１０．１,,３８．２,", header=header)
    assert node.rows("SELECT source_id, birth_date FROM person") == [("P1", date(1980, 5, 17))]
    assert node.rows("SELECT icd10, condition_date FROM condition_occurrence") == [("J101", date(2025, 3, 1))]
    assert node.rows("SELECT value::DOUBLE FROM measurement") == [(38.2,)]


@pytest.mark.parametrize("written", ["2025-03-01", "2025/3/1", "20250301", "2025年3月1日", "2025-03-01 23:59:59"])
def test_each_date_form_of_the_mapping_is_read(node: Node, written: str) -> None:
    _load(node, _ROW.replace("2025-03-01", written))
    assert node.rows("SELECT visit_date FROM visit_occurrence") == [(date(2025, 3, 1),)]


@pytest.mark.parametrize(
    ("written", "sex"),
    [("男", "M"), ("女", "F"), ("1", "M"), ("2", "F"), ("m", "M"), ("F", "F"), ("9", "O"), ("", "U"), ("?", "U")],
)
def test_each_sex_code_is_read(node: Node, written: str, sex: str) -> None:
    _load(node, _ROW.replace("女", written))
    assert node.rows("SELECT sex FROM visit_occurrence") == [(sex,)]


@pytest.mark.parametrize(
    ("written", "age"), [("35", 35), ("35岁", 35), ("3岁6月", 3), ("8月", 0), ("20天", 0), ("", None), ("不详", None)]
)
def test_an_age_stands_in_for_a_birth_date(node: Node, written: str, age: int | None) -> None:
    _load(node, _ROW.replace("1980-05-17,", f",{written}"))
    assert node.rows("SELECT age FROM visit_occurrence UNION SELECT age FROM condition_occurrence") == [(age,)]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (_ROW.replace("2025-03-01", "2026-02-01"), Reason.FUTURE),
        (_ROW.replace("2025-03-01", "1899-01-01"), Reason.TOO_EARLY),
        (_ROW.replace("2025-03-01", "2025-03"), Reason.PARTIAL_DATE),
        (_ROW.replace("2025-03-01", "2025年3月"), Reason.PARTIAL_DATE),
        (_ROW.replace("2025-03-01", "2025"), Reason.PARTIAL_DATE),
        (_ROW.replace("2025-03-01", "昨天"), Reason.BAD_DATE),
        (_ROW.replace("2025-03-01", ""), Reason.NO_DATE),
        (_ROW.replace("2025-03-01", "1980-05-16"), Reason.BEFORE_BIRTH),
        (_ROW.replace("1980-05-17,", ",-3"), Reason.BEFORE_BIRTH),
        (_ROW.replace("P1", ""), Reason.NO_SUBJECT),
        (_ROW.replace("V1", ""), Reason.NO_ID),
        (_ROW + ",x", Reason.COLUMNS),
        ("P1,1980-05-17", Reason.COLUMNS),
        (_ROW.replace("38.2", "高烧"), Reason.BAD_NUMBER),
        (_ROW.replace("38.2", "nan"), Reason.BAD_NUMBER),
    ],
)
def test_a_row_that_breaks_a_rule_is_counted_once_and_named_by_line(node: Node, row: str, reason: Reason) -> None:
    report = _load(node, _ROW.replace("V1", "V0").replace("P1", "P0"), row)
    assert {found: (skip.count, skip.places) for found, skip in report.skipped.items()} == {reason: (1, ("visits.csv:3",))}
    assert node.rows("SELECT source_id FROM measurement") == [("V0:8310-5:2025-03-01",)]


def test_a_line_with_bytes_outside_the_encoding_is_skipped_and_named(node: Node) -> None:
    file = node.root / "visits.csv"
    file.write_bytes(f"{_HEADER}\n{_ROW}\n".encode() + b"P2,\xff\xfe," + b",".join([b""] * 12) + b"\n")
    report = node.ingest.csv(file, _mapping())
    assert report.encodings == {"visits.csv": "utf-8"}
    assert report.skipped[Reason.MALFORMED].places == ("visits.csv:3",)


def test_several_codes_of_a_visit_are_several_diagnoses_and_a_repeated_line_is_one(node: Node) -> None:
    second = _ROW.replace("J10.100,", "A09.900x001;I10.x00,K35†K36*").replace("38.2,", ",")
    report = _load(node, _ROW, second, _ROW)
    assert node.rows("SELECT icd10 FROM condition_occurrence ORDER BY 1") == [("A099",), ("I10",), ("J101",), ("K35",)]
    assert node.rows("SELECT count(*) FROM visit_occurrence") == [(1,)]
    assert (report.skipped[Reason.REPEATED].count, report.skipped[Reason.REPEATED].places) == (1, ("visits.csv:2",))


def test_the_district_of_a_row_is_that_of_its_event(node: Node) -> None:
    _load(node, _ROW, _ROW.replace("V1", "V2").replace("天河区", "440104").replace("2025-03-01", "2025-06-01"))
    assert node.rows("SELECT source_id, district FROM visit_occurrence ORDER BY 1") == [("V1", "440106"), ("V2", "440104")]


def test_the_same_file_twice_replaces_every_row(node: Node) -> None:
    _load(node, _ROW)
    report = _load(node, _ROW)
    assert {(table.loaded, table.replaced, table.total) for table in report.tables.values()} == {(0, 1, 1)}


def test_without_a_visit_column_a_visit_is_a_patient_a_day_and_a_kind(node: Node) -> None:
    mapping = parse_mapping('[patient]\nid = "a"\n[visit]\ndate = "b"\n', "m")
    report = _load(node, "1,2025-03-01", "1,2025-03-01", "1,2025-03-02", header="a,b", mapping=mapping)
    assert report.tables["visit_occurrence"].loaded == 2
    assert report.skipped[Reason.REPEATED].places == ("visits.csv:2",)


def test_a_name_in_the_code_column_is_never_shown(node: Node) -> None:
    report = _load(node, _ROW.replace("J10.100", "王小明"), _ROW.replace("V1", "V2").replace("J10.100", "13800138000"))
    assert report.unmapped == [UnmappedCode("", None, 2)]
    assert "王小明" not in str(report.as_json())


def test_the_example_mapping_is_valid_and_names_every_key() -> None:
    assert _mapping().columns()[:3] == ["病人ID", "出生日期", "年龄"]
    text = example_mapping()
    for section in (CsvMapping.model_fields[name].annotation for name in ("file", "patient", "visit")):
        assert all(f"{key} = " in text for key in section.model_fields)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not toml", "is not TOML"),
        ('[visit]\ndate = "d"\n', "patient: Field required"),
        ('[patient]\nid = "a"\nname = "b"\n[visit]\ndate = "d"\n', "patient.name: Extra inputs are not permitted"),
        ('[patient]\nid = 5\n[visit]\ndate = "d"\n', "patient.id: Input should be a valid string"),
        (
            '[file]\ndates = ["%Y-%m"]\n[patient]\nid = "a"\n[visit]\ndate = "d"\n',
            "file.dates.0: .* a date form needs year, month and day",
        ),
        (
            '[patient]\nid = "a"\n[visit]\ndate = "d"\nkinds = { x = "HOME" }\n',
            "visit.kinds.x: Input should be 'AMB', 'EMER'",
        ),
        (
            '[patient]\nid = "a"\n[visit]\ndate = "d"\n[[measurement]]\ncolumn = "t"\nloinc = "temp"\n',
            "measurement.0.loinc: String should match",
        ),
    ],
)
def test_a_mapping_of_another_form_is_refused_by_key(text: str, message: str) -> None:
    with pytest.raises(InvalidMapping, match=message):
        parse_mapping(text, "m.toml")


def test_files_that_cannot_be_read_are_named(node: Node) -> None:
    with pytest.raises(InvalidMapping, match="No such file or directory; --example-mapping prints one"):
        read_mapping(node.root / "nowhere.toml")
    with pytest.raises(NoSuchSource, match="no such file"):
        node.ingest.csv(node.root / "nowhere.csv", _mapping())
    (node.root / "empty.csv").write_bytes(b"")
    with pytest.raises(UnreadableSource, match="is empty"):
        node.ingest.csv(node.root / "empty.csv", _mapping())
    with pytest.raises(InvalidMapping, match="the header has no column 体温"):
        _load(node, header=_HEADER.replace("体温", "血压"))
    with pytest.raises(NothingLoaded):
        _load(node)


@pytest.mark.parametrize(
    ("district", "postal_code", "found"),
    [
        ("440106", "", "440106"), ("广东省广州市天河区", "", "440106"), ("Tianhe District", "", "440106"),
        ("guangzhou Haizhu", "", "440105"),
        ("增城市", "", "440118"), ("310101", "", "310101"), ("990101", "", None), ("浦东新区", "", None),
        ("天河区五山路1号", "", None),
        ("", "510630", "440106"), ("", "510000", None), ("440104", "510630", "440104"),
    ],
)  # fmt: skip
def test_a_district_comes_from_its_code_its_name_or_the_postal_code_map(
    node: Node, district: str, postal_code: str, found: str | None
) -> None:
    node.ingest = type(node.ingest)(node.records, node.ingest.today, by_postal_code={"510630": "440106"})
    _load(node, _ROW.replace("天河区,", f"{district},{postal_code}"))
    assert node.rows("SELECT district FROM visit_occurrence") == [(found,)]
