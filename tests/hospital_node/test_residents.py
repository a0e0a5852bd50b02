"""`kapok-node residents` and what `doctor` says of it: one key for all hospitals, handed over as a file, never overwritten."""

import json
import stat
from pathlib import Path

import duckdb
import pytest
from click.testing import Result
from typer.testing import CliRunner

from hospital_node.config import Config
from hospital_node.doctor import _residents
from hospital_node.main import app
from hospital_node.policy import default_policy
from hospital_node.records.residents import KEY_FILE, Residents
from hospital_node.sources.mapping import SOURCE_FILE, example_source
from tests.hospital_node.records.resources import patient, write_ndjson
from tests.hospital_node.support.nodes import write_records
from tests.protocols.union.numbers import number

SYSTEM = "urn:example:resident"
CONFIG = Config(
    uri="kapok://hospital/h01",
    origin="o",
    coordinator="kapok://coordinator/gz",
    link_address="127.0.0.1:1",
    slot_ms=200,
    grid_ms=25,
    legal_name="n",
    licence="1",
)


def kapok_node(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments], env={"LANG": "en_US.UTF-8", "COLUMNS": "200"})


def _print_of(home: Path) -> str:
    found: str = json.loads(kapok_node("residents", "show", "--home", home, "--json").stdout)["fingerprint"]
    return found


def test_two_hospitals_come_to_one_key_by_a_file(tmp_path: Path) -> None:
    stick, first, second = tmp_path / "residents.key", tmp_path / "h01", tmp_path / "h02"
    made = kapok_node("residents", "make", "--out", stick, "--home", first)
    assert made.exit_code == 0, made.output
    assert kapok_node("residents", "take", stick, "--home", second).exit_code == 0
    assert _print_of(first) == _print_of(second)
    assert _print_of(first) in made.stdout
    for file in (stick, first / KEY_FILE, second / KEY_FILE):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = kapok_node("residents", "take", stick, "--home", second)
    assert (again.exit_code, _print_of(first) in again.stdout) == (0, True), "what holds already is told, and is no error"
    secret = Residents.of(first)
    assert secret is not None
    assert secret.key.secret.hex() not in made.output


def test_a_key_that_is_there_is_never_overwritten(tmp_path: Path) -> None:
    assert kapok_node("residents", "make", "--out", tmp_path / "a", "--home", tmp_path / "h").exit_code == 0
    before = _print_of(tmp_path / "h")
    assert kapok_node("residents", "make", "--out", tmp_path / "a", "--home", tmp_path / "other").exit_code == 2
    again = kapok_node("residents", "make", "--out", tmp_path / "b", "--home", tmp_path / "h")
    assert (again.exit_code, "not overwritten" in again.output) == (2, True)
    assert _print_of(tmp_path / "h") == before
    assert not (tmp_path / "other" / KEY_FILE).exists()


@pytest.mark.parametrize("content", [b"", b"kapok-residents-key AAAA\n", b"\xff\xfe", b"something else\n"])
def test_a_file_that_is_no_key_is_a_usage_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    found = kapok_node("residents", "take", tmp_path / "key", "--home", tmp_path / "h")
    assert (found.exit_code, "is no residents' key" in found.output) == (2, True)
    assert kapok_node("residents", "take", tmp_path / "nowhere", "--home", tmp_path / "h").exit_code == 2
    assert kapok_node("residents", "show", "--home", tmp_path / "h").exit_code == 2


def _records_of_an_older_program(folder: Path) -> None:
    write_records(folder, [])
    with duckdb.connect(folder / "g00000001.duckdb") as database:
        database.execute("DROP TABLE resident")


def test_doctor_says_what_is_missing_to_count_residents(tmp_path: Path) -> None:
    home = tmp_path / "h01"
    home.mkdir()
    assert _residents(home, CONFIG)[0] is None
    assert "no key" in _residents(home, CONFIG)[1]
    kapok_node("residents", "make", "--out", tmp_path / "first", "--home", home)
    _records_of_an_older_program(home / "records")
    assert _residents(home, CONFIG)[:2] == (None, f"0.0% of patients have a tag under key {_print_of(home)[:16]}")
    known = {"identifier": [{"system": SYSTEM, "value": number(1)}]}
    file = write_ndjson(tmp_path / "x.ndjson", [patient("p1", **known), patient("p2")])
    assert kapok_node("import", "fhir", file, "--home", home).exit_code == 0
    assert _residents(home, CONFIG)[:2] == (None, f"0.0% of patients have a tag under key {_print_of(home)[:16]}")
    assert kapok_node("import", "fhir", file, "--home", home, "--resident-system", SYSTEM).exit_code == 0
    assert _residents(home, CONFIG)[:2] == (True, f"50.0% of patients have a tag under key {_print_of(home)[:16]}")
    (home / KEY_FILE).unlink()
    kapok_node("residents", "make", "--out", tmp_path / "second", "--home", home)
    assert _residents(home, CONFIG)[:2] == (False, "tags of another key: import resident numbers again")


def test_doctor_finds_a_permission_that_nothing_stands_behind(tmp_path: Path) -> None:
    home = tmp_path / "h01"
    write_records(home / "records", [])
    (home / "policy.toml").write_text(default_policy().replace("resident_tables = []", 'resident_tables = ["visits"]'))
    assert _residents(home, CONFIG)[0] is False
    kapok_node("residents", "make", "--out", tmp_path / "key", "--home", home)
    assert _residents(home, CONFIG)[:2] == (False, "permitted, but not imported with resident numbers")


def test_doctor_says_where_a_database_has_the_numbers(tmp_path: Path) -> None:
    home = tmp_path / "h01"
    kapok_node("residents", "make", "--out", tmp_path / "key", "--home", home)
    (home / "policy.toml").write_text(default_policy().replace("resident_tables = []", 'resident_tables = ["visits"]'))
    (home / SOURCE_FILE).write_text(example_source())
    assert _residents(home, CONFIG)[:2] == (True, f"numbers are read from his.patient.id_card_no, under key {_print_of(home)[:16]}")
    (home / SOURCE_FILE).write_text("\n".join(line for line in example_source().splitlines() if not line.startswith("resident")))
    assert _residents(home, CONFIG)[:2] == (False, "source.toml names no patients.resident: where their numbers stand")


def test_an_import_that_needs_the_key_says_so(tmp_path: Path) -> None:
    file = write_ndjson(tmp_path / "x.ndjson", [patient()])
    found = kapok_node("import", "fhir", file, "--home", tmp_path / "h01", "--resident-system", SYSTEM)
    assert found.exit_code == 2
    assert "no residents' key" in found.output
    assert "kapok-node residents" in found.output
