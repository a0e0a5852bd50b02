"""A hospital's tables as they are found, with what each row has to become; and the same rows for every server."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from hospital_node.records.codes import CodeMap
from hospital_node.sources.mapping import Source
from hospital_node.sources.plans import DatabasePlans
from protocols.asked import Asked
from protocols.query import QuerySpec, Table, footprint
from protocols.statements import Query
from tests.hospital_node.plan.records import Records, Row
from tests.support.databases import PASSWORD

KEY = b"the key of one period of a node!"
ZONE = ZoneInfo("Asia/Shanghai")
VISIT = "patient_no, visit_no, visit_time, kind, sex, district, birth_date"
DIAGNOSIS = "patient_no, diagnosis_no, diagnosed_on, icd, sex, district, age"
MEASUREMENT = "patient_no, result_no, measured_at, item, result, sex, district, age"


@dataclass(frozen=True)
class Found:
    """One row of a server's table, and the record it is (None: none)."""

    raw: tuple[Any, ...]
    person: str | None = None
    day: str = ""
    columns: dict[str, Any] | None = None


def visit(raw: tuple[Any, ...], *clean: Any) -> Found:
    if not clean:
        return Found(raw)
    person, day, *rest = clean
    return Found(raw, person, day, dict(zip(("visit_class", "sex", "district", "age"), rest, strict=True)))


# The moments are UTC; the hospital is eight hours ahead.
VISITS = [
    visit(("P1", "v1", "2026-01-05 02:00:00", "门诊", "男", "天河区", "1990-03-01"), "P1", "2026-01-05", "AMB", "M", "440106", 35),
    visit(("P1", "v1", "2026-01-05 02:00:00", "门诊", "男", "天河区", "1990-03-01")),  # the same visit again
    visit(("P1", "v2", "2026-01-05 02:00:00", "门诊", "男", "天河区", "1990-03-01"), "P1", "2026-01-05", "AMB", "M", "440106", 35),
    visit(
        ("Ｐ１", "v3", "2026-01-13 01:00:00", "急诊", "１", "广州市海珠区", "1990-03-01"),
        "P1",
        "2026-01-13",
        "EMER",
        "M",
        "440105",
        35,
    ),
    visit(("p1", "v4", "2026-01-13 01:00:00", "住院", "F", "440103", "2020-02-29"), "p1", "2026-01-13", "IMP", "F", "440103", 5),
    visit(
        ("P1 ", "v5", "2026-01-20 01:00:00", "其他", "?", "Panyu District", "1990-03-01"),
        "P1",
        "2026-01-20",
        "OTHER",
        "U",
        "440113",
        35,
    ),
    visit(("P2", "v6", "2026-01-31 16:30:00", "门诊", "女", "越秀", "2000-02-29"), "P2", "2026-02-01", "AMB", "F", "440104", 25),
    visit(("P2", "v7", "2026-01-31 15:30:00", None, None, None, None), "P2", "2026-01-31", "OTHER", "U", None, None),
    visit(("P3", "v8", "2037-11-20 02:00:00", "门诊", "男", "天河区", "1990-03-01")),  # in the future
    visit(("P4", "v9", "2026-01-06 02:00:00", "门诊", "男", "天河区", "2026-01-07")),  # before its patient's birth
    visit(("", "v10", "2026-01-06 02:00:00", "门诊", "男", "天河区", "1990-03-01")),
    visit((None, "v11", "2026-01-06 02:00:00", "门诊", "男", "天河区", "1990-03-01")),
    *(
        visit(
            (f"Q{n}", f"w{n}-{week}", f"2026-01-{5 + 7 * week:02d} 02:00:00", "门诊", "女", place, "1980-01-01"),
            f"Q{n}",
            f"2026-01-{5 + 7 * week:02d}",
            "AMB",
            "F",
            code,
            46,
        )
        for n in range(6)
        for week in range(4)
        for place, code in [(("天河区", "440106"), ("越秀区", "440104"))[(n + week) % 2]]
    ),
]


def diagnosis(patient: str, number: int, day: str, code: str, age: str | None, icd10: str | None, years: int | None = 40) -> Found:
    raw = (patient, f"d{number}", day, code, "女", "天河区", age)
    if years is not None and years < 0:
        return Found(raw)
    return Found(raw, patient, day, {"icd10": icd10, "sex": "F", "district": "440106", "age": years})


DIAGNOSES = [
    diagnosis("P1", 1, "2026-01-05", "J10.1", "40", "J101"),
    diagnosis("P2", 2, "2026-01-05", "J101", "４０岁", "J101"),
    diagnosis("P3", 3, "2026-01-06", "j10.100x002", "40岁3月", "J101"),
    diagnosis("P4", 4, "2026-01-06", "Ｊ１０．１", "40", "J101"),
    diagnosis("P5", 5, "2026-01-07", "A17.0†", "8月", "A170", 0),
    diagnosis("P5", 6, "2026-01-07", "A17.0+G01*", "8月", "A170", 0),
    diagnosis("P6", 7, "2026-01-07", "cold", None, None, None),
    diagnosis("P7", 8, "2026-01-08", "J10.1", "-3", "J101", -3),
    diagnosis("P8", 9, "2026-01-31", "J10.1", "70", "J101", 70),
    diagnosis("P8", 10, "2026-02-01", "J10.1", "70", "J101", 70),
]


def measurement(patient: str, number: int, moment: str, item: str, result: str | None, day: str, value: str | None) -> Found:
    loinc = {"体温": "8310-5", "血红蛋白": "718-7"}.get(item)
    columns = {"loinc": loinc, "value": None if value is None else Decimal(value), "sex": "M", "district": "440106", "age": 50}
    return Found((patient, f"m{number}", moment, item, result, "男", "天河区", "50"), patient, day, columns)


MEASUREMENTS = [
    measurement("P1", 1, "2026-01-05 02:00:00", "体温", "37.5", "2026-01-05", "37.5"),
    measurement("P1", 2, "2026-01-05 03:00:00", "体温", "38.5", "2026-01-05", "38.5"),
    measurement("P2", 3, "2026-01-05 03:00:00", "体温", "３９．２", "2026-01-05", "39.2"),
    measurement("P3", 4, "2026-01-05 03:00:00", "体温", "high", "2026-01-05", None),
    measurement("P3", 5, "2026-01-05 03:00:00", "血红蛋白", "-140.25", "2026-01-05", "-140.25"),
    measurement("P4", 6, "2026-01-05 03:00:00", "blood group", "0", "2026-01-05", "0"),
    measurement("P5", 7, "2026-01-05 03:00:00", "体温", "1e99", "2026-01-05", None),
]
PATIENTS = [
    Found(("P1", "1990-03-01", "男", "天河区"), "P1", "", {"birth_date": date(1990, 3, 1), "sex": "M", "district": "440106"}),
    Found(("P2", "2000-02-29", "女", "越秀"), "P2", "", {"birth_date": date(2000, 2, 29), "sex": "F", "district": "440104"}),
    Found(("P3", None, None, None), "P3", "", {"birth_date": None, "sex": "U", "district": None}),
]
ALL = {
    Table.VISITS: ("visit", VISITS),
    Table.DIAGNOSES: ("diagnosis", DIAGNOSES),
    Table.MEASUREMENTS: ("lab result", MEASUREMENTS),
    Table.PATIENTS: ("patient", PATIENTS),
}


def number(person: str) -> int:
    """The patient's number, from the rule."""
    secret = sha256(b"kapok patient number v1\0" + KEY).hexdigest()
    return int(sha256((secret + person).encode()).hexdigest()[:16], 16) - 2**63


def expected(table: Table, rows: list[Found]) -> Records:
    """What the plan has to find."""
    return Records(
        table,
        tuple(
            Row(number(row.person), date.fromisoformat(row.day) if row.day else None, row.columns or {}, table)
            for row in rows
            if row.person is not None
        ),
    )


def everything(spec: QuerySpec) -> Records:
    """What a plan has to find in all tables that it reads."""
    tables = dict.fromkeys(read.table for read in spec.reads)
    return Records(spec.table, tuple(row for table in tables for row in expected(table, ALL[table][1]).rows))


def inserts(rows: list[Found]) -> str:
    return ", ".join(f"({', '.join(_literal(cell) for cell in row.raw)})" for row in rows)


def _literal(cell: Any) -> str:
    return "NULL" if cell is None else "'" + str(cell).replace("'", "''") + "'"


def fields(engine: str, port: int) -> dict[str, Any]:
    """The mapping file's content."""
    event = {"person": "patient_no", "sex": "sex", "district": "district"}
    return {
        "database": {
            "engine": engine,
            "host": "127.0.0.1",
            "port": port,
            "name": "postgres" if engine == "postgresql" else "his",
            "user": "kapok_reader",
            "password_file": "database.password",
            "timeout_s": 10,
        },
        "visits": {
            **event,
            "relation": ["his", "visit"],
            "id": "visit_no",
            "date": "visit_time",
            "kind": "kind",
            "kinds": {"门诊": "AMB", "急诊": "EMER", "住院": "IMP"},
            "birth_date": "birth_date",
        },
        "diagnoses": {
            **event,
            "relation": ["his", "diagnosis"],
            "id": "diagnosis_no",
            "date": "diagnosed_on",
            "code": "icd",
            "age": "age",
        },
        "measurements": {
            **event,
            "relation": ["his", "lab result"],
            "id": "result_no",
            "date": "measured_at",
            "code": "item",
            "codes": {"体温": "8310-5", "血红蛋白": "718-7"},
            "value": "result",
            "age": "age",
        },
        "patients": {**event, "relation": ["his", "patient"], "birth_date": "birth_date"},
    }


def plans(home: Path, mapping: dict[str, Any]) -> DatabasePlans:
    password = home / "database.password"
    password.write_text(PASSWORD + "\n")
    password.chmod(0o600)
    return DatabasePlans(home, Source.model_validate(mapping), ZONE, CodeMap.read())


def asked(spec: QuerySpec) -> Asked:
    return Asked(Query.model_construct(spec=spec.to_json()), spec, str(spec.table), footprint(spec), ())


def count(found: DatabasePlans, spec: QuerySpec) -> list[int]:
    """As a node does it: look, try on empty tables, count."""
    question, generation = asked(spec), found.generation()
    found.probe(question)
    return list(map(int, found.count(question, generation, KEY, b"", 1)))
