"""The commands as people and machines call them: output, exit codes, both languages, and no record's value in either stream."""

import json
import random
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from hospital_node.records import commands
from hospital_node.records.commands import import_app
from hospital_node.records.csv_mapping import example_mapping
from hospital_node.records.errors import RecordsError
from hospital_node.records.report import Reason
from hospital_node.records.report_text import _FAILURES, REASONS, TABLE_NAMES
from hospital_node.records.schema import TABLES, open_read_only
from tests.hospital_node.records.resources import condition, encounter, observation, patient, write_ndjson

# Planted wherever a record holds a value; none may come out again.
PLANTED = ["王小明", "440106198005171234", "13800138000", "MRN-77-SECRET", "1980-05-17", "五山路381号", "zz-source-id"]


def _run(*arguments: object) -> Result:
    app = typer.Typer()
    app.add_typer(import_app, name="import")
    result = CliRunner().invoke(app, ["import", *map(str, arguments)], env={"LANG": "C", "COLUMNS": "200"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def test_an_import_reports_and_exits_0(tmp_path: Path) -> None:
    file = write_ndjson(tmp_path / "x.ndjson", [patient(), encounter(), "junk"])
    result = _run("fhir", file, "--home", tmp_path)
    assert result.exit_code == 0
    assert "Generation g00000001 in force" in result.output
    assert "x.ndjson:3" in result.output
    with open_read_only(tmp_path / "records") as records:
        assert records.execute("SELECT count(*) FROM visit_occurrence").fetchall() == [(1,)]


def test_json_is_the_whole_of_standard_output(tmp_path: Path) -> None:
    file = write_ndjson(tmp_path / "x.ndjson", [patient(), encounter(), "junk"])
    report = json.loads(_run("fhir", file, "--home", tmp_path, "--json").stdout)
    assert report["tables"]["person"] == {"loaded": 1, "replaced": 0, "removed": 0, "total": 1}
    assert report["skipped"] == {"record.not_json": {"count": 1, "places": ["x.ndjson:3"]}}


def test_the_report_is_in_chinese_when_asked_or_when_lang_says_so(tmp_path: Path) -> None:
    file = write_ndjson(tmp_path / "x.ndjson", [patient(), "junk"])
    assert "已启用第 g00000001 代数据" in _run("fhir", file, "--home", tmp_path, "--lang", "zh").output
    result = CliRunner().invoke(import_app, ["fhir", str(file), "--home", str(tmp_path)], env={"LANG": "zh_CN.UTF-8"})
    assert "不是 JSON" in result.output


def test_csv_goes_by_its_mapping_and_the_example_is_a_start(tmp_path: Path) -> None:
    shown = _run("csv", "--example-mapping")
    assert (shown.exit_code, shown.stdout) == (0, example_mapping())
    (tmp_path / "m.toml").write_text('[patient]\nid = "病人"\n[visit]\ndate = "日期"\n', encoding="utf-8")
    (tmp_path / "v.csv").write_bytes("病人,日期\n1,2025-03-01\n".encode("gb18030"))
    result = _run("csv", tmp_path / "v.csv", "--mapping", tmp_path / "m.toml", "--home", tmp_path)
    assert result.exit_code == 0
    assert "v.csv: read as gb18030" in result.output


def test_what_is_wrong_with_a_call_is_said_in_one_line_with_exit_code_2_or_3(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.json").write_text("hello")
    (tmp_path / "bad.ndjson.gz").write_text("hello")
    (tmp_path / "none.ndjson").write_text("hello\n")
    (tmp_path / "bad.toml").write_text("hello")
    (tmp_path / "ok.ndjson").write_text(json.dumps(patient()))
    (tmp_path / "v.csv").write_text("a,b\n1,2\n")
    for arguments, status, said in [
        (["fhir", tmp_path / "nowhere"], 2, "records.missing"),
        (["fhir", tmp_path / "empty"], 2, "records.missing"),
        (["fhir", tmp_path / "bad.toml"], 2, "records.missing"),
        (["fhir", tmp_path / "bad.json"], 3, "records.source"),
        (["fhir", tmp_path / "bad.ndjson.gz"], 3, "records.source"),
        (["fhir", tmp_path / "none.ndjson"], 3, "records.nothing"),
        (["fhir", tmp_path / "ok.ndjson", "--code-map", tmp_path / "v.csv"], 2, "records.mapping"),
        (["fhir", tmp_path / "ok.ndjson", "--postal-codes", tmp_path / "v.csv"], 2, "records.mapping"),
        (["csv", tmp_path / "v.csv", "--mapping", tmp_path / "bad.toml"], 2, "records.mapping"),
        (["csv", tmp_path / "v.csv", "--mapping", tmp_path / "nowhere.toml"], 2, "records.mapping"),
    ]:
        result = _run(*arguments, "--home", tmp_path)
        assert (result.exit_code, result.stderr.count("\n")) == (status, 1)
        assert f"[{said}]" in result.stderr
        machine = _run(*arguments, "--home", tmp_path, "--json")
        assert json.loads(machine.stdout)["error"] == said
    assert _run("fhir").exit_code == 2
    assert _run("csv", tmp_path / "v.csv").exit_code == 2
    misspelt = _run("fhir", tmp_path / "ok.ndjson", "--home", tmp_path, "--zone", "Asia/Shanghia")
    assert (misspelt.exit_code, "Asia/Shanghai" in misspelt.stderr) == (2, True)
    assert not (tmp_path / "records" / "CURRENT").exists()


def test_no_value_of_a_record_comes_out_of_an_import(tmp_path: Path) -> None:
    name, number, phone, mrn, birth, street, source = PLANTED
    given = patient(
        source,
        name=[{"text": name}],
        identifier=[{"value": mrn}],
        telecom=[{"value": phone}],
        birthDate=birth,
        address=[{"text": street, "district": street}],
    )
    event = {"subject": f"Patient/{source}"}
    resources: list[dict[str, object] | str] = [
        given,
        encounter(number, **event),
        encounter(phone, **event, period={"start": name}),
        encounter(mrn, subject=f"Patient/{name}"),
        condition(name, **event, code={"coding": [{"system": "http://snomed.info/sct", "code": number}]}),
        condition(phone, **event, code={"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": name}]}),
        condition(mrn, **event, code={"coding": [{"system": name, "code": phone}]}),
        observation(mrn, **event, valueQuantity={"value": name}),
        observation(name, **event, code=street),
        '{"resourceType": "' + name + '"}',
        '{"name": "' + name + '", "id": ' + number + "zz",
        json.dumps(given)[:-40],
        {**given, "birthDate": 19800517},
    ]  # fmt: skip
    file = write_ndjson(tmp_path / "x.ndjson", resources)
    for language in ("zh", "en"):
        for extra in ([], ["--json"]):
            result = _run("fhir", file, "--home", tmp_path, "--lang", language, *extra)
            assert result.exit_code == 0
            assert [secret for secret in PLANTED if secret in result.output] == []


def test_no_random_damage_to_an_export_brings_out_a_value_or_a_traceback(tmp_path: Path) -> None:
    rng = random.Random(7)
    name, number, *_ = PLANTED
    whole = "\n".join(
        json.dumps(one, ensure_ascii=False)
        for one in (
            patient(number, name=[{"text": name}]),
            encounter(name, f"Patient/{number}"),
            observation(name, f"Patient/{number}"),
        )
    )
    for turn in range(20):
        data = bytearray(whole.encode())
        for _ in range(rng.randrange(1, 30)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        file = tmp_path / f"x{turn}.{rng.choice(['json', 'ndjson'])}"
        file.write_bytes(data)
        result = _run("fhir", file, "--home", tmp_path / str(turn))
        assert result.exit_code in (0, 3)
        assert name not in result.output
        assert number not in result.output


def test_a_fault_of_the_program_is_named_by_its_type_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_: object) -> None:
        raise ValueError(PLANTED[0])

    monkeypatch.setattr(commands, "_ingest", fault)
    result = _run("fhir", write_ndjson(tmp_path / "x.ndjson", [patient()]), "--home", tmp_path)
    assert (result.exit_code, PLANTED[0] in result.output, "ValueError [records.internal]" in result.stderr) == (3, False, True)


def test_help_shows_an_example_for_each_command() -> None:
    for command in ("fhir", "csv"):
        assert f"kapok-node import {command}" in _run(command, "--help").output.replace("\n", " ")


def test_every_reason_table_and_error_code_has_its_words_in_both_languages() -> None:
    assert set(REASONS) == set(Reason)
    assert set(TABLE_NAMES) == set(TABLES)
    codes, classes = set(), [RecordsError]
    while classes:
        classes += (one := classes.pop()).__subclasses__()
        codes.add(one.code)
    assert codes - {"records.error"} <= set(_FAILURES)
