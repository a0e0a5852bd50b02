"""The comparison with other libraries: sides are processes that take turns, and a peer that cannot run is said to be missing."""

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from hospital_node.records.generations import file_in_force
from simulations.bench import hospital
from simulations.bench.peers import count, environments
from simulations.bench.peers.sides import Side, Turn, in_turns, started
from simulations.city import build_city, write_duckdb


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (found,) = write_duckdb(build_city(7, 1, 2_000), tmp_path_factory.mktemp("city")).values()
    return found


def test_our_side_and_plain_duckdb_answer_in_processes_of_their_own(records: Path) -> None:
    with started("ours", records) as ours, started("plain", records) as plain:
        found = in_turns({"ours": ours.turn, "plain": plain.turn}, turns=1)
    [[mine], [theirs]] = found["ours"], found["plain"]
    assert mine.cells == 2 * 52 * 11
    assert 0 < theirs.cells <= mine.cells
    assert mine.processor_s > 0
    assert 20 < mine.peak_mb < 2_000


def test_a_side_that_ends_is_named() -> None:
    command = [sys.executable, "-c", ""]
    ended = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with ended, pytest.raises(RuntimeError, match="opendp_polars ended with exit code 0"):
        Side(ended, "opendp_polars")


def test_a_peer_that_cannot_be_installed_is_a_row_that_says_so(
    records: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(environments, "PLACE", tmp_path)
    monkeypatch.setattr(environments.sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(environments.CannotInstall, match="no environment for opendp"):
        environments.python_of("opendp")
    turns = [Turn(0.1, 0.1, 100.0, 1144)]
    why = "not run: no environment for opendp"
    rows = list(count._rows({"ours": turns, "plain": turns, "SmartNoise SQL": turns}, {"OpenDP on Polars": why}, "how"))
    [absent] = [row for row in rows if row.name.startswith("OpenDP")]
    assert (absent.ours, absent.ok, absent.how) == (None, None, why)
    assert [row.ok for row in rows if row.name.startswith("SmartNoise")] == [False]


def test_a_peer_that_answers_another_table_is_not_measured() -> None:
    ours, other = [Turn(0.1, 0.1, 100.0, 1144)], [Turn(9.0, 9.0, 100.0, 572)]
    with pytest.raises(AssertionError, match="answered 572 cells, ours are 1144"):
        list(count._rows({"ours": ours, "plain": ours, "OpenDP on Polars": other}, {"SmartNoise SQL": "not run"}, "how"))


def test_copies_of_a_hospital_have_other_patients_and_stand_in_the_order_of_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(hospital, "DRAWN", 500)
    once, thrice = (hospital.hospital_of(visits, tmp_path / str(visits)) for visits in (500, 1_500))
    found = []
    for records in (once, thrice):
        with duckdb.connect(file_in_force(records), read_only=True) as connection:
            sql = "SELECT count(*), count(DISTINCT person_id), count(DISTINCT visit_id) FROM visit_occurrence"
            found.append(connection.execute(sql).fetchone())
            dates = [day for (day,) in connection.execute("SELECT visit_date FROM visit_occurrence").fetchall()]
            assert dates == sorted(dates)
    assert found[1] == tuple(3 * each for each in found[0])
    with pytest.raises(ValueError, match="whole millions"):
        hospital.hospital_of(700, tmp_path)
