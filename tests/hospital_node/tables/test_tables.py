"""A research table comes in whole or not at all; what is wrong with it is named by its place and never by its value."""

import json
from pathlib import Path

import pytest

from hospital_node.config import Config
from hospital_node.dataset import read_dataset
from hospital_node.doctor import _tables
from hospital_node.policy import default_policy, read_policy
from hospital_node.records.generations import generation_in_force
from hospital_node.records.schema import open_read_only
from hospital_node.tables.registering import registered_tables
from tests.hospital_node.support.nodes import some_visits, write_records
from tests.hospital_node.test_commands import kapok_node

SCHEMA = """
catalogue = "heart-2026"
title = "heart disease"
patient = "pid"

[[column]]
name = "age"
type = "number"
low = "20"
high = "80"
unit = "years"
missing = ["?"]

[[column]]
name = "disease"
type = "category"
source = "num"
categories = ["yes", "no"]
"""
GOOD = "pid,age,num\nA1,40,yes\nA1,41,no\nB2,?,no\nC3,95,yes\n"


def _add(home: Path, text: str | bytes, schema: str = SCHEMA, name: str = "heart") -> tuple[int, str]:
    home.mkdir(exist_ok=True)
    (home / "heart.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    (home / "heart.toml").write_text(schema)
    done = kapok_node("tables", "add", name, home / "heart.csv", "--schema", home / "heart.toml", "--home", home, "--json")
    return done.exit_code, done.stdout + done.stderr


def test_a_table_is_registered_with_what_it_needs_to_be_asked(tmp_path: Path) -> None:
    status, said = _add(tmp_path, GOOD)
    assert status == 0, said
    told = json.loads(said)
    assert (told["rows"], told["missing"], told["outside"]) == (4, {"age": 1, "disease": 0}, {"age": 1})
    listed = json.loads(kapok_node("tables", "--home", tmp_path, "--json").stdout)["registered"]["heart"]
    assert (listed["catalogue"], listed["declared"], listed["column"][0]["unit"]) == ("heart-2026", True, "years")
    with open_read_only(tmp_path / "records") as records:
        assert records.sql("SELECT person_id, c0, c1 FROM registered_heart ORDER BY 1, 2").fetchall() == [
            (0, 40, "yes"), (0, 41, "no"), (1, None, "no"), (2, 95, "yes")]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("pid,num\nA1,yes\n", "no column age"),
        ("pid,age,num\nA1,nan,yes\n", "line 2, age"),
        ("pid,age,num\nA1,40,yes\nA1,inf,yes\n", "line 3, age"),
        ("pid,age,num\nA1,1e999,yes\n", "line 2, age"),
        ("pid,age,num\nA1,4 0,yes\n", "line 2, age"),
        ("pid,age,num\nA1,40,secret\n", "line 2, num"),
        ("pid,age,num\n,40,yes\n", "line 2, pid"),
        ("pid,age,num\nA1,40\n", "row 2: expected 3 cells, got 2"),
        ("pid,age,age,num\nA1,40,41,yes\n", "more than one column age"),
        (b"pid,age,num\nA1,\xff\xff\xff,yes\n", "neither UTF-8 nor GB18030"),
        ("", "no column"),
    ],
)
def test_a_wrong_file_is_named_by_its_place_and_changes_nothing(tmp_path: Path, text: str | bytes, place: str) -> None:
    write_records(tmp_path / "records", some_visits(1))
    status, said = _add(tmp_path, text)
    assert status == 3
    assert place in said
    assert "secret" not in said
    assert "Traceback" not in said
    assert generation_in_force(tmp_path / "records") == "g00000001"
    assert registered_tables(tmp_path / "records") == {}


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        (SCHEMA.replace('low = "20"', 'low = "80"'), "low is below high"),
        (SCHEMA.replace('low = "20"', "low = 20"), "column.0.number.low"),
        (SCHEMA.replace('catalogue = "heart-2026"', 'catalogue = "Heart 2026"'), "catalogue"),
        (SCHEMA.replace('name = "disease"', 'name = "age"'), "each name once"),
        (SCHEMA.replace('categories = ["yes", "no"]', 'categories = ["yes"]'), "categories"),
        ("catalogue =", "not TOML"),
    ],
)
def test_a_wrong_schema_is_named_by_its_place(tmp_path: Path, schema: str, place: str) -> None:
    status, said = _add(tmp_path, GOOD, schema)
    assert status == 2
    assert place in said


@pytest.mark.parametrize("name", ["visits", "Heart", "1heart", "heart; drop", "h" * 64, "heart-1"])
def test_a_name_that_is_not_a_table_s_is_refused(tmp_path: Path, name: str) -> None:
    assert _add(tmp_path, GOOD, name=name)[0] == 2


def test_two_tables_do_not_share_a_catalogue_id(tmp_path: Path) -> None:
    assert _add(tmp_path, GOOD)[0] == 0
    status, said = _add(tmp_path, GOOD, name="other")
    assert status == 2
    assert "is that of heart" in said


def test_a_table_stays_through_an_import_and_is_replaced_by_another(tmp_path: Path) -> None:
    _add(tmp_path, GOOD)
    assert _add(tmp_path, GOOD + "D4,50,no\n")[0] == 0
    with open_read_only(tmp_path / "records") as records:
        assert records.sql("SELECT count(*) FROM registered_heart").fetchall() == [(5,)]


def test_a_policy_may_permit_a_registered_table_and_then_keeps_it(tmp_path: Path) -> None:
    _add(tmp_path, GOOD)
    (tmp_path / "policy.toml").write_text(default_policy().replace('tables = ["visits"', 'tables = ["heart", "visits"'))
    assert "heart" in read_policy(tmp_path).tables
    removed = kapok_node("tables", "remove", "heart", "--home", tmp_path)
    assert removed.exit_code == 2
    (tmp_path / "policy.toml").write_text(default_policy())
    assert kapok_node("tables", "remove", "heart", "--home", tmp_path).exit_code == 0
    assert registered_tables(tmp_path / "records") == {}
    assert kapok_node("tables", "remove", "heart", "--home", tmp_path).exit_code == 2
    assert read_dataset(tmp_path) is None


def test_the_example_schema_is_one(tmp_path: Path) -> None:
    example = kapok_node("tables", "add", "--example-schema").stdout
    (tmp_path / "h.csv").write_text("patient_id,age,sex\n1,50,male\n")
    (tmp_path / "h.toml").write_text(example)
    done = kapok_node("tables", "add", "heart", tmp_path / "h.csv", "--schema", tmp_path / "h.toml", "--home", tmp_path)
    assert done.exit_code == 0, done.output


def test_doctor_finds_a_table_that_is_not_as_declared(tmp_path: Path) -> None:
    config = Config(
        uri="kapok://hospital/h01",
        origin="log/1",
        coordinator="kapok://coordinator/gz",
        link_address="127.0.0.1:1",
        legal_name="legal",
        licence="1",
    )
    assert _tables(tmp_path, config)[0] is True
    _add(tmp_path, GOOD)
    stated = tmp_path / "tables" / "heart.toml"
    stated.write_text(stated.read_text().replace('high = "80"', 'high = "90"'))
    assert _tables(tmp_path, config)[:2] == (False, "heart: not as declared; run `kapok-node tables add` again")
