"""How long a training's rows and one of its steps take here, so that IT can choose the slots in which its rounds leave.

Each accepted study is tried over each registered table as a question may ask it at most: every column is a feature, and every
patient takes part. Nothing is charged, summed with others or kept; the seconds depend on records and stay here.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from hospital_node.errors import NodeError, StudyFailed
from hospital_node.fits.gradients import Asking, Round, sums_of_rows
from hospital_node.fits.rows import Rows, rows_of
from hospital_node.records.schema import open_read_only
from hospital_node.studies.installed import Installed, installed_studies, read_pins
from hospital_node.studies.size import size_of
from hospital_node.studies.worker import Worker
from hospital_node.tables.registering import registered_in
from hospital_node.tables.schema import CategoryColumn, TableSchema
from protocols.fits import Training

TIMES = 3
MOST_FEATURES = 100
FINENESS = 2**10


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """The slowest of what was tried: until the rows are at hand, and one step over them. `tried` counts, `failed` names studies."""

    reading_s: float
    step_s: float
    tried: int
    failed: tuple[str, ...]


def rehearsed(home: Path) -> Rehearsed:
    """Raises NoRecords where nothing was imported."""
    pins, readings, steps, failed = read_pins(home), [0.0], [0.0], []
    studies = [each for each in installed_studies().values() if each.sha256 in pins]
    with open_read_only(home / "records") as records:
        for name, schema in registered_in(records).items():
            for study in studies:
                try:
                    reading_s, step_s = _tried(study, name, schema, records)
                except NodeError:
                    failed.append(study.name)
                else:
                    readings.append(reading_s)
                    steps.append(step_s)
    return Rehearsed(max(readings), max(steps), len(steps) - 1, tuple(sorted(set(failed))))


def _tried(study: Installed, name: str, schema: TableSchema, records: duckdb.DuckDBPyConnection) -> tuple[float, float]:
    spec = whole_table(study, name, schema)
    started = time.monotonic()
    rows = rows_of(spec, records)
    reading_s = time.monotonic() - started
    worker = Worker.start(study, spec)
    try:
        return reading_s, max(_steps(spec, rows, worker))
    finally:
        worker.stop()


def _steps(spec: Training, rows: Rows, worker: Worker) -> Iterator[float]:
    asking = Asking(lambda weights, taking: worker.gradients(weights, taking, spec.weights))
    for _ in range(TIMES):
        started = time.monotonic()
        sums_of_rows(spec, rows, Round(spec.start()), asking)
        yield time.monotonic() - started


def whole_table(study: Installed, name: str, schema: TableSchema) -> Training:
    """A training of this study on every column: the outcome is the first category, or the last number where there is none.

    Raises StudyFailed for a table of one column, or a study that cannot be built over the others.
    """
    outcome = next((each for each in schema.column if isinstance(each, CategoryColumn)), schema.column[-1])
    features = [each for each in schema.column if each is not outcome][:MOST_FEATURES]
    if not features:
        raise StudyFailed("study: a table of one column has no feature")
    weights, now = size_of(study.target, len(features)), datetime.now(UTC).date()
    year = {"from": (now - timedelta(days=365)).isoformat(), "to": (now + timedelta(days=1)).isoformat()}
    fields = {
        "study": {"name": study.name, "version": study.version, "sha256": study.sha256},
        "table": name, "catalogue": schema.catalogue, "period": year if schema.is_dated else None,
        "outcome": _variable(outcome), "features": [_variable(each) for each in features],
        "weights": weights, "longest": "1", "fineness": max(FINENESS, math.isqrt(weights) + 2), "step": "1",
    }  # fmt: skip
    return Training.model_validate(fields, strict=False)


def _variable(column: object) -> dict[str, str]:
    if isinstance(column, CategoryColumn):
        return {"column": column.name, "category": column.categories[0]}
    return {
        name: str(getattr(column, key)) for name, key in (("column", "name"), ("low", "low"), ("high", "high"), ("unit", "unit"))
    }
