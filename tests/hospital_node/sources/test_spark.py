"""Spark on this machine, over Parquet files: the same questions, the same integers."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hospital_node.sources.plans import DatabasePlans
from protocols.query import QuerySpec, Table
from tests.hospital_node.plan import oracle
from tests.hospital_node.sources.hospital import ALL, DIAGNOSIS, KEY, MEASUREMENT, VISIT, count, everything, fields, plans
from tests.hospital_node.sources.test_servers import QUESTIONS
from tests.support.databases import missing

pytestmark = pytest.mark.xdist_group("spark")
COLUMNS = {"visit": VISIT, "diagnosis": DIAGNOSIS, "lab result": MEASUREMENT, "patient": "patient_no, birth_date, sex, district"}
DATES = {"birth_date", "diagnosed_on"}


def column(name: str, cells: list[Any]) -> pa.Array:
    if name in DATES:
        return pa.array([None if cell is None else date.fromisoformat(cell) for cell in cells], pa.date32())
    if name in {"visit_time", "measured_at"}:
        return pa.array([datetime.fromisoformat(cell).replace(tzinfo=UTC) for cell in cells], pa.timestamp("us", "UTC"))
    return pa.array(cells, pa.string())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pyspark = pytest.importorskip("pyspark")
    if not any(Path(place, "java").exists() for place in os.environ["PATH"].split(":")):
        missing("a Java runtime")
    made: Path = tmp_path_factory.mktemp(f"spark-{pyspark.__version__}")
    for name, rows in ALL.values():
        names = COLUMNS[name].split(", ")
        cells = zip(*(row.raw for row in rows), strict=True)
        pq.write_table(
            pa.table([column(*one) for one in zip(names, map(list, cells), strict=True)], names=names), made / f"{name}.parquet"
        )
    return made


@pytest.fixture
def live(folder: Path, tmp_path: Path) -> DatabasePlans:
    mapping = fields("spark", 1) | {"database": {"engine": "spark", "host": "local[1]"}}
    for table in Table:
        mapping[str(table)] |= {"relation": ["parquet", f"{folder}/{ALL[table][0]}.parquet"]}
    return plans(tmp_path, mapping)


def test_spark_answers_as_the_reference_does_and_names_a_missing_column(live: DatabasePlans) -> None:
    for name in ("weekly", "influenza", "patients", "visits, each month by its weight"):
        spec = QuerySpec.from_fields(QUESTIONS[name])
        assert count(live, spec) == oracle.answer(spec, everything(spec), KEY), name
    mapping = live.source.model_dump(exclude_none=True)
    mapping["visits"]["sex"] = "gender"
    broken = DatabasePlans(live.home, type(live.source).model_validate(mapping), live.zone, live.codes)
    assert [(fault.code, "gender" in str(fault)) for fault in broken.faults()] == [("source.columns", True)]
