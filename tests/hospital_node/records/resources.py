"""Small FHIR resources to build exports from, and one call that imports them and opens what came of it."""

import json
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import duckdb

from hospital_node.records.importing import Ingest
from hospital_node.records.report import ImportReport
from hospital_node.records.schema import open_read_only

TODAY = date(2026, 1, 31)
SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"


def patient(name: Any = "p1", /, **fields: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": name, "gender": "female", "birthDate": "1980-05-17", **fields}


def encounter(name: Any = "e1", /, subject: Any = "Patient/p1", **fields: Any) -> dict[str, Any]:
    period = {"start": "2025-03-01T09:00:00+08:00", "end": "2025-03-01T10:00:00+08:00"}
    event = {"resourceType": "Encounter", "id": name, "status": "finished", "class": {"code": "AMB"}}
    return {**event, "subject": {"reference": subject}, "period": period, **fields}


def condition(name: Any = "c1", /, subject: Any = "Patient/p1", **fields: Any) -> dict[str, Any]:
    coding = {"system": "http://hl7.org/fhir/sid/icd-10", "code": "J10.1"}
    event = {"resourceType": "Condition", "id": name, "code": {"coding": [coding]}, "subject": {"reference": subject}}
    return {**event, "encounter": {"reference": "Encounter/e1"}, "onsetDateTime": "2025-03-01", **fields}


def observation(name: Any = "o1", /, subject: Any = "Patient/p1", **fields: Any) -> dict[str, Any]:
    coding = {"system": "http://loinc.org", "code": "8310-5"}
    event = {
        "resourceType": "Observation",
        "id": name,
        "status": "final",
        "code": {"coding": [coding]},
        "subject": {"reference": subject},
    }
    return {**event, "effectiveDateTime": "2025-03-01", "valueQuantity": {"value": 38.2, "code": "Cel"}, **fields}


def write_ndjson(path: Path, resources: Iterable[dict[str, Any] | str]) -> Path:
    lines = [one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in resources]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


class Node:
    """One node's records folder and the files beside it."""

    def __init__(self, root: Path) -> None:
        self.root, self.records = root, root / "records"
        self.ingest = Ingest(self.records, TODAY)

    def load(self, *resources: dict[str, Any] | str, name: str = "export.ndjson") -> ImportReport:
        return self.ingest.fhir([write_ndjson(self.root / name, resources)])

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with open_read_only(self.records) as opened:
            return opened.execute(sql).fetchall()

    def open(self) -> duckdb.DuckDBPyConnection:
        return open_read_only(self.records)
