"""`kapok-node doctor` proposes the slot from this node's own counts, and says everything in the reader's language."""

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from audit_ledger.party.enrol import Invitation
from hospital_node.calibrating import Calibrated, calibrated, slot_ms_for
from hospital_node.config import Config
from hospital_node.records.errors import NoRecords
from tests.hospital_node.support.nodes import write_records
from tests.hospital_node.test_commands import kapok_node
from tests.support.city import COORDINATOR, ORIGIN

HAN = re.compile("[一-鿿]")


@pytest.mark.parametrize(
    ("slowest_s", "grid_ms", "slot_ms"),
    [
        (0.0, 25, 100),
        (0.010, 25, 100),
        (0.034, 25, 125),
        (0.0331, 25, 125),
        (0.1, 25, 300),
        (0.1, 250, 500),
        (0.0, 250, 250),
        (2.0, 250, 6000),
    ],
)
def test_the_slot_holds_three_of_the_slowest_count_in_whole_steps_of_the_grid(slowest_s: float, grid_ms: int, slot_ms: int) -> None:
    assert slot_ms_for(slowest_s, grid_ms) == slot_ms


def test_every_table_with_dates_is_timed_and_none_without(tmp_path: Path) -> None:
    with pytest.raises(NoRecords):
        calibrated(tmp_path)
    write_records(tmp_path, [], "g00000001")
    assert calibrated(tmp_path) == Calibrated(0.0, 0.0)
    write_records(tmp_path, [(1, date(2026, 10, 1), "440103")], "g00000002")
    found = calibrated(tmp_path)
    assert found.first_s > 0.0
    assert found.prepared_s > 0.0


@pytest.fixture
def home(tmp_path: Path) -> Path:
    invitation = Invitation(
        uri="kapok://hospital/h01", origin=ORIGIN, coordinator=COORDINATOR, link_address="127.0.0.1:1", enrol_address="127.0.0.1:1",
        ca_pem="pem", token="once",
    )  # fmt: skip
    (tmp_path / "invite.json").write_text(invitation.model_dump_json())
    given = ("--invite", tmp_path / "invite.json", "--legal-name", "First", "--licence", "1", "--grid-ms", "25")
    assert kapok_node("init", "--home", tmp_path / "H", *given).exit_code == 0
    write_records(tmp_path / "H" / "records", [(1, date(2026, 10, 1), "440103")])
    return tmp_path / "H"


def _slot(home: Path, **changes: Any) -> dict[str, Any]:
    (home / "config.toml").write_text(Config.read(home).model_copy(update=changes).text())
    (row,) = [each for each in json.loads(kapok_node("doctor", "--home", home, "--json").stdout) if each["name"] == "slot"]
    found: dict[str, Any] = row
    return found


def test_a_slot_that_is_too_short_is_found_with_the_value_to_write(home: Path) -> None:
    short = _slot(home, slot_ms=10)
    assert short["is_well"] is False
    proposed = int(re.search(r"set slot_ms = (\d+) in config\.toml", short["detail"])[1])  # type: ignore[index]
    assert proposed >= 100
    assert _slot(home, slot_ms=600_000)["is_well"] is True


def test_a_large_table_s_slot_is_proposed_as_the_file_states_it(home: Path) -> None:
    row = _slot(home, slot_ms=10, size_class=24)  # the slot in force is 160 ms, sixteen times what the file says
    assert "the slot is 160 ms" in row["detail"]
    proposed = re.search(r"set slot_ms = (\d+)", row["detail"])
    assert row["is_well"] is (proposed is None)
    assert proposed is None or int(proposed[1]) > 10


def test_the_slot_of_months_asked_before_is_proposed_and_found_too_short(home: Path) -> None:
    assert "prepared_slot_ms = " in _slot(home, slot_ms=600_000)["detail"]
    short = _slot(home, slot_ms=600_000, prepared_slot_ms=1)
    assert short["is_well"] is False
    proposed = int(re.search(r"set prepared_slot_ms = (\d+) in config\.toml", short["detail"])[1])  # type: ignore[index]
    assert 100 <= proposed < 600_000
    assert _slot(home, slot_ms=600_000, prepared_slot_ms=300_000)["is_well"] is True


def test_doctor_speaks_chinese_in_every_line(home: Path) -> None:
    rows = json.loads(kapok_node("doctor", "--home", home, "--json", "--lang", "zh").stdout)
    said = {row["name"]: row["detail"] for row in rows}
    # What is wrong with a file is said by whoever reads it, in English with the file's name.
    assert {name for name, detail in said.items() if not HAN.search(detail)} <= {"trust", "ledger, clock"}
    english = json.loads(kapok_node("doctor", "--home", home, "--json", "--lang", "en").stdout)
    assert not any(HAN.search(row["detail"]) for row in english)
