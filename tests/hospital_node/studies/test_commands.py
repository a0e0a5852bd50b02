"""`kapok-node studies` as IT uses it: listed by hash, accepted as installed, dropped again; and the file that it writes."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from hospital_node.approved import approved_text, read_approved
from hospital_node.errors import InvalidConfig
from hospital_node.main import app
from hospital_node.studies.installed import STUDIES_FILE, installed_studies, read_pins, study_refusals
from protocols.refusal import Reason
from tests.hospital_node.studies.specs import training


def kapok_node(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments], env={"LANG": "en_US.UTF-8", "COLUMNS": "200"})


def listed(result: Result) -> dict[str, dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return {each["name"]: each for each in json.loads(result.output)}


def test_nothing_is_accepted_before_it_was_accepted(tmp_path: Path) -> None:
    found = listed(kapok_node("studies", "--home", tmp_path, "--json"))
    assert {"logistic", "torch-logistic", "mlp"} <= set(found)
    assert not any(each["accepted"] for each in found.values())
    assert found["logistic"]["sha256"] == installed_studies()["logistic"].sha256


@pytest.mark.parametrize("by", ["name", "hash"])
def test_what_was_accepted_runs_until_it_is_dropped(tmp_path: Path, by: str) -> None:
    here, spec = installed_studies(), training()
    named = "logistic" if by == "name" else here["logistic"].sha256
    assert listed(kapok_node("studies", "accept", named, "--home", tmp_path, "--json"))["logistic"]["accepted"]
    kapok_node("studies", "accept", "mlp", "--home", tmp_path)
    assert study_refusals(spec, here, read_pins(tmp_path)) == []
    after = listed(kapok_node("studies", "drop", named, "--home", tmp_path, "--json"))
    assert (after["logistic"]["accepted"], after["mlp"]["accepted"]) == (False, True), "the other one stays"
    assert [each.reason for each in study_refusals(spec, here, read_pins(tmp_path))] == [Reason.STUDY_NOT_PINNED]


def test_a_hash_that_is_no_longer_installed_can_still_be_dropped(tmp_path: Path) -> None:
    (tmp_path / STUDIES_FILE).write_text(approved_text("Studies.", [("a" * 64, "of before the update")]))
    kapok_node("studies", "drop", "a" * 64, "--home", tmp_path)
    assert read_pins(tmp_path) == frozenset()


@pytest.mark.parametrize("verb", ["accept", "drop"])
def test_a_study_that_is_not_there_is_told_with_those_that_are_and_changes_nothing(tmp_path: Path, verb: str) -> None:
    kapok_node("studies", "accept", "logistic", "--home", tmp_path)
    before = (tmp_path / STUDIES_FILE).read_bytes()
    result = kapok_node("studies", verb, "nobody", "--home", tmp_path)
    assert result.exit_code == 2
    assert "logistic" in result.output
    assert "Traceback" not in result.output
    assert (tmp_path / STUDIES_FILE).read_bytes() == before


@pytest.mark.parametrize(
    "text", [b"logistic\n", b"# head\n" + b"A" * 64 + b"\n", b"0" * 63, b"0" * 65, b"0" * 64 + b" x", b"\xff\xfe"]
)
def test_a_file_that_approves_something_else_is_refused_with_its_place(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "approved.txt").write_bytes(text)
    with pytest.raises(InvalidConfig, match=r"line [12]: expected a hash|UTF-8"):
        read_approved(tmp_path / "approved.txt", "a hash")


def test_the_file_reads_back_what_was_written_and_trusts_no_name(tmp_path: Path) -> None:
    pairs = [("b" * 64, "one # two"), ("a" * 64, "three")]
    (tmp_path / "approved.txt").write_text(approved_text("Approved.", pairs))
    assert read_approved(tmp_path / "approved.txt", "a hash") == {"a" * 64, "b" * 64}
    assert read_approved(tmp_path / "none.txt", "a hash") == frozenset()
