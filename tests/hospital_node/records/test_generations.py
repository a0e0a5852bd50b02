"""An import adds to the records in force, replaces what has the same id, and either takes effect whole or not at all."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from hospital_node.records.errors import ImportRunning, NoRecords, StoreFailed
from hospital_node.records.generations import file_in_force, generation_in_force, next_generation
from hospital_node.records.report import Reason, TableReport
from hospital_node.records.schema import TABLES, empty_copy, open_read_only
from tests.hospital_node.records.resources import Node, condition, encounter, observation, patient

_ALL = (patient(), encounter(), condition(), observation())


def test_an_import_keeps_the_records_already_there(node: Node) -> None:
    node.load(*_ALL)
    report = node.load(patient("p2"), encounter("e2", "Patient/p2"), encounter("e3"))
    assert report.generation == "g00000002"
    assert report.tables["person"] == TableReport(loaded=1, replaced=0, removed=0, total=2)
    assert node.rows("SELECT person_id, source_id FROM visit_occurrence ORDER BY 2") == [(1, "e1"), (2, "e2"), (1, "e3")]
    assert node.rows("SELECT count(DISTINCT visit_id), min(visit_id) FILTER (source_id = 'e1') FROM visit_occurrence") == [(3, 1)]


def test_the_same_import_twice_replaces_every_row_and_adds_none(node: Node) -> None:
    node.load(*_ALL)
    tables = {table: node.rows(f"SELECT * FROM {table}") for table in ("person", "visit_occurrence")}
    report = node.load(*_ALL)
    assert set(report.tables.values()) == {TableReport(loaded=0, replaced=1, removed=0, total=1)}
    assert {table: node.rows(f"SELECT * FROM {table}") for table in tables} == tables
    assert node.rows("SELECT c.visit_id = v.visit_id FROM condition_occurrence c, visit_occurrence v") == [(True,)]


def test_a_corrected_record_replaces_the_old_one(node: Node) -> None:
    node.load(*_ALL)
    node.load(observation(valueQuantity={"value": 36.6}), encounter() | {"class": {"code": "IMP"}}, patient(gender="male"))
    assert node.rows("SELECT value::DOUBLE FROM measurement") == [(36.6,)]
    assert node.rows("SELECT visit_id, visit_class FROM visit_occurrence") == [(1, "IMP")]
    assert node.rows("SELECT sex FROM person") == [("M",)]


def test_within_one_import_the_last_record_of_an_id_counts(node: Node) -> None:
    report = node.load(
        patient(), observation(valueQuantity={"value": 1}), observation(valueQuantity={"value": 2}), patient(gender="male")
    )
    assert report.skipped[Reason.REPEATED].places == ("export.ndjson:1", "export.ndjson:2")
    assert node.rows("SELECT value::INT, sex FROM measurement") == [(2, "M")]


def test_a_withdrawn_record_takes_its_row_out_and_leaves_no_pointer_to_it(node: Node) -> None:
    node.load(*_ALL)
    report = node.load(encounter(status="entered-in-error"), observation(status="entered-in-error"))
    assert report.tables["visit_occurrence"] == TableReport(loaded=0, replaced=0, removed=1, total=0)
    assert node.rows("SELECT count(*) FROM measurement") == [(0,)]
    assert node.rows("SELECT visit_id FROM condition_occurrence") == [(None,)]


def test_a_patient_who_moves_does_not_rewrite_the_past(node: Node) -> None:
    node.load(patient(address=[{"district": "440104"}]), encounter())
    node.load(patient(address=[{"district": "440104", "use": "old"}, {"district": "天河"}]), encounter(), encounter("e2"))
    assert node.rows("SELECT district FROM person") == [("440106",)]
    assert node.rows("SELECT source_id, district FROM visit_occurrence ORDER BY 1") == [("e1", "440104"), ("e2", "440106")]


def test_the_last_two_generations_stay_and_a_reader_keeps_the_one_it_opened(node: Node) -> None:
    node.load(patient())
    with node.open() as reader:
        for number in range(2, 5):
            node.load(patient(f"p{number}"))
        assert reader.execute("SELECT count(*) FROM person").fetchall() == [(1,)]
    assert node.rows("SELECT count(*) FROM person") == [(4,)]
    assert sorted(file.name for file in node.records.glob("*.duckdb")) == ["g00000003.duckdb", "g00000004.duckdb"]


def test_records_are_for_the_owner_alone(node: Node) -> None:
    node.load(patient())
    assert node.records.stat().st_mode & 0o077 == 0
    assert file_in_force(node.records).stat().st_mode & 0o177 == 0


def test_a_reader_can_neither_write_nor_reach_a_file(node: Node) -> None:
    node.load(patient())
    (node.root / "other.csv").write_text("a\n1\n")
    with node.open() as reader:
        with pytest.raises(duckdb.InvalidInputException, match="read-only"):
            reader.execute("DELETE FROM person")
        with pytest.raises(duckdb.PermissionException, match="disabled"):
            reader.execute(f"FROM read_csv('{node.root / 'other.csv'}')")


def test_the_empty_copy_has_the_same_columns_and_no_row(node: Node) -> None:
    node.load(*_ALL)
    with empty_copy() as copy:
        for table in TABLES:
            assert copy.execute(f"DESCRIBE {table}").fetchall() == node.rows(f"DESCRIBE {table}")
            assert copy.execute(f"SELECT count(*) FROM {table}").fetchall() == [(0,)]


def test_a_folder_without_records_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoRecords, match="no records yet"):
        open_read_only(tmp_path)
    (tmp_path / "CURRENT").write_text("g00000009\n")
    with pytest.raises(NoRecords, match="names g00000009, which is not there"):
        open_read_only(tmp_path)
    (tmp_path / "CURRENT").write_text("../../etc/passwd\n")
    with pytest.raises(StoreFailed, match="expected a generation"):
        open_read_only(tmp_path)


def test_a_second_import_at_the_same_time_is_refused(node: Node) -> None:
    node.load(patient())
    with next_generation(node.records), pytest.raises(ImportRunning, match="another import is at work"):
        node.load(patient("p2"))
    assert node.load(patient("p2")).generation == "g00000003"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "records").write_text("a file where the folder should be")
    with pytest.raises(StoreFailed, match="records: "):
        Node(tmp_path).load(patient())


def test_an_error_while_building_leaves_the_old_generation_and_no_rubbish(node: Node) -> None:
    node.load(patient())

    def fail_while_building() -> None:
        with next_generation(node.records) as building:
            assert building.stat().st_size > 0
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_while_building()
    assert generation_in_force(node.records) == "g00000001"
    assert list(node.records.glob("*building*")) == []


_IMPORT = """
import sys
from datetime import date
from pathlib import Path
from hospital_node.records.importing import Ingest
from hospital_node.records.fhir import fhir_files
def told(size):
    print("reading", flush=True)
Ingest(Path(sys.argv[1]), date(2026, 1, 31), progress=told).fhir(fhir_files([Path(sys.argv[2])]))
print("done", flush=True)
"""


@pytest.mark.parametrize("kill_after", [1, 3, None])
def test_kill_9_during_an_import_leaves_the_old_generation_in_force(node: Node, kill_after: int | None) -> None:
    """Killed while it reads (after some batches), or while it settles (right after the last batch)."""
    node.load(*_ALL)
    lines = [json.dumps(encounter(f"new{number}")) for number in range(60_000)]
    (node.root / "big.ndjson").write_text("\n".join(lines))
    root = Path(__file__).resolve().parents[3]
    with subprocess.Popen(
        [sys.executable, "-c", _IMPORT, node.records, node.root / "big.ndjson"], stdout=subprocess.PIPE, cwd=root, text=True
    ) as process:
        assert process.stdout is not None
        for said in range(7):
            assert process.stdout.readline() == "reading\n"
            if said == kill_after:
                break
        os.kill(process.pid, signal.SIGKILL)
        assert "done" not in process.stdout.read()
    assert process.returncode == -signal.SIGKILL
    assert generation_in_force(node.records) == "g00000001"
    assert node.rows("SELECT source_id FROM visit_occurrence") == [("e1",)]
    report = node.load(patient("p2"))
    assert report.generation == "g00000002"
    assert list(node.records.glob("*building*")) == []
