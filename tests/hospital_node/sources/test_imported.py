"""The very rows of the servers' tests, imported as files into DuckDB: what is wrong with them is read alike, and counted alike."""

from __future__ import annotations

import csv
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from hospital_node.plan import execute
from hospital_node.records.csv_mapping import parse_mapping
from hospital_node.records.importing import Ingest
from hospital_node.records.schema import open_read_only
from protocols.query import QuerySpec, Table
from tests.hospital_node.plan import oracle
from tests.hospital_node.sources.hospital import ALL, DIAGNOSIS, KEY, VISIT, ZONE, Found, everything
from tests.hospital_node.sources.test_servers import QUESTIONS

TODAY = date(2026, 11, 1)
PATIENT = '[patient]\nid = "patient_no"\nsex = "sex"\ndistrict = "district"\n'
FILES = {
    Table.VISITS: (
        VISIT,
        (
            f'{PATIENT}birth_date = "birth_date"\n[visit]\nid = "visit_no"\ndate = "visit_time"\nkind = "kind"\n'
            'kinds = { "门诊" = "AMB", "急诊" = "EMER", "住院" = "IMP" }\n'
        ),
    ),
    Table.DIAGNOSES: (
        DIAGNOSIS,
        (
            f'{PATIENT}age = "age"\n[visit]\ndate = "diagnosed_on"\n[diagnosis]\ncolumns = ["icd"]\nid = "diagnosis_no"\n'
            'system = "http://hl7.org/fhir/sid/icd-10"\n'
        ),
    ),
}


def cell(name: str, value: Any) -> str:
    """As an export writes it: moments in the hospital's zone, nothing for NULL."""
    if value is None or name != "visit_time":
        return value or ""
    return f"{datetime.fromisoformat(value).replace(tzinfo=UTC).astimezone(ZONE):%Y-%m-%d %H:%M:%S}"


def imported(folder: Path, table: Table, rows: list[Found]) -> Path:
    names, mapping = FILES[table][0].split(", "), '[file]\ndates = ["%Y-%m-%d %H:%M:%S", "%Y-%m-%d"]\n' + FILES[table][1]
    file = folder / f"{table}.csv"
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(names)
        writer.writerows([cell(name, value) for name, value in zip(names, row.raw, strict=True)] for row in rows)
    Ingest(folder / "records", TODAY).csv(file, parse_mapping(mapping, "mapping"))
    return folder / "records"


WEIGHTED = ["visits, each month by its weight", "influenza, each month by its weight"]


@pytest.mark.parametrize("name", ["weekly", "half a month", "emergencies", "influenza", "by code", *WEIGHTED])
def test_an_import_of_the_same_rows_answers_as_the_reference_does(tmp_path: Path, name: str) -> None:
    # A patient's number is another one than over a server, and with it the choice of cells: so no cell is left out here.
    spec = QuerySpec.from_fields({**QUESTIONS[name], "cells_per_patient": 1000})
    with open_read_only(imported(tmp_path, spec.table, ALL[spec.table][1])) as records:
        vector = execute(spec, records, KEY).tolist()
    assert any(vector)
    assert vector == oracle.answer(spec, everything(spec), KEY)
