"""`kapok-node doctor` tries the accepted studies over the registered tables, and proposes the slot of a training's steps."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from hospital_node.errors import StudyFailed
from hospital_node.studies.installed import Installed, installed_studies
from hospital_node.studies.rehearsing import rehearsed, whole_table
from hospital_node.studies.size import size_of
from hospital_node.tables.schema import TableSchema
from tests.hospital_node.studies.specs import SIZES
from tests.hospital_node.test_calibrating import home, kapok_node

__all__ = ["home"]  # the fixture
SCHEMA = """
catalogue = "wards-1"
title = "wards"
column = [
    {name = "marker", type = "number", low = "-1", high = "1"},
    {name = "ill", type = "category", categories = ["yes", "no"]},
    {name = "age", type = "number", low = "0", high = "100", unit = "years"},
]
"""
LOGISTIC = installed_studies()["logistic"]


@pytest.fixture
def furnished(home: Path, tmp_path: Path) -> Path:
    table, schema = tmp_path / "wards.csv", tmp_path / "wards.toml"
    table.write_text("marker,ill,age\n" + "".join(f"0.{n},{'yes' if n % 2 else 'no'},{n}\n" for n in range(1, 40)))
    schema.write_text(SCHEMA)
    assert kapok_node("tables", "add", "wards", table, "--schema", schema, "--home", home).exit_code == 0
    assert kapok_node("studies", "accept", "logistic", "--home", home).exit_code == 0
    return home


def finding(home: Path, **settings: int) -> dict[str, Any]:
    config = home / "config.toml"
    kept = [line for line in config.read_text().splitlines() if line.partition(" ")[0] not in settings]
    config.write_text("\n".join([*kept, *(f"{name} = {value}" for name, value in settings.items()), ""]))
    found = {row["name"]: row for row in json.loads(kapok_node("doctor", "--home", home, "--json").stdout)}
    row: dict[str, Any] = found["training slot"]
    return row


def test_a_training_of_every_column_is_stated_as_a_researcher_would_state_it(furnished: Path) -> None:
    schema = TableSchema.model_validate(tomllib.loads(SCHEMA))
    spec = whole_table(LOGISTIC, "wards", schema)
    assert ([each.label for each in spec.variables], spec.weights, spec.rate) == (["marker", "age", "ill=yes"], 3, 1)
    dated = whole_table(LOGISTIC, "wards", schema.model_copy(update={"date": "day"}))
    assert spec.period is None
    assert len(dated.blocks) == 13, "the months of the last year"
    numbers = schema.model_copy(update={"column": [schema.column[0], schema.column[2]]})
    assert [each.label for each in whole_table(LOGISTIC, "wards", numbers).variables] == ["marker", "age"]
    with pytest.raises(StudyFailed, match="no feature"):
        whole_table(LOGISTIC, "wards", schema.model_copy(update={"column": [schema.column[1]]}))


def test_a_study_tells_its_size_and_one_that_cannot_be_built_is_named() -> None:
    assert size_of(LOGISTIC.target, 3) == SIZES["logistic"]
    with pytest.raises(StudyFailed, match="cannot be built"):
        size_of("hospital_node.studies.study:Nobody", 3)


def test_rows_and_steps_are_timed_once_a_study_and_table(furnished: Path) -> None:
    found = rehearsed(furnished)
    assert (found.tried, found.failed) == (1, ())
    assert found.reading_s > 0.0
    assert found.step_s > 0.0


def test_without_a_study_or_a_table_there_is_nothing_to_time(home: Path, furnished: Path) -> None:
    kapok_node("studies", "drop", "logistic", "--home", home)
    assert rehearsed(home).tried == 0
    row = finding(home)
    assert (row["is_well"], "no study" in row["detail"]) == (True, True)


def test_doctor_finds_fault_with_a_slot_that_holds_no_step_and_says_which_would_do(furnished: Path) -> None:
    row = finding(furnished, slot_ms=600_000, training_slot_ms=1)
    assert row["is_well"] is False
    proposed = re.search(r"set training_slot_ms = (\d+)", row["detail"])
    assert proposed is not None
    assert int(proposed[1]) >= 100
    assert finding(furnished, slot_ms=600_000, training_slot_ms=600_000)["is_well"] is True
    large = finding(furnished, slot_ms=600_000, training_slot_ms=1, size_class=22)
    assert "the slot of a step is 4 ms" in large["detail"]


def test_doctor_finds_fault_with_a_first_round_s_slot_that_does_not_hold_the_rows(furnished: Path) -> None:
    row = finding(furnished, slot_ms=1, training_slot_ms=600_000)
    assert row["is_well"] is False
    assert re.search(r"set slot_ms = \d+", row["detail"])


def test_a_study_that_does_not_run_is_named(furnished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Installed("broken", "1", LOGISTIC.sha256, "hospital_node.studies.study:Nobody")
    monkeypatch.setattr("hospital_node.studies.rehearsing.installed_studies", lambda: {"broken": broken})
    row = finding(furnished)
    assert (row["is_well"], "broken" in row["detail"]) == (False, True)
