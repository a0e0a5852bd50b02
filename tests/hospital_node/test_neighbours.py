"""One patient's one block, for every shape of a question, on the way that answers really take.

Import, `accept`, count, noise, masks: then masks and noise are taken off the contribution again, with keys that only a test has and
noise that comes from a recorded source. What is left of two neighbouring hospitals differs by no more than is charged. The same
check, given plans broken on purpose, must turn red.
"""

import secrets
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from hospital_node.fits.logistic import _rows, _stacked
from hospital_node.plan import execute, resident_buckets
from hospital_node.plans import LogisticPlan, Plan, TablePlan
from hospital_node.records.schema import DDL, open_read_only
from protocols.asked import Asked
from protocols.fit import SCALE, FitSpec, decode_weights
from protocols.query import Layout, QuerySpec
from protocols.secagg.ring import Integers
from protocols.union import BucketKey, asks_for_residents
from tests.hospital_node.support.laid_bare import WITH_KEY, SensitivityExceededError, Shown, check
from tests.hospital_node.support.nodes import Nodes
from tests.hospital_node.support.shapes import KINDS, SHAPES
from tests.protocols.union import numbers
from tests.support import residents

# -- records

Visit = tuple[int, date, str, str, int, str]
"""Patient, day, district, sex, age, class."""
_DISTRICTS = ("440103", "440104", "440105", "440106", "440111")
_visit = some.tuples(
    some.integers(0, 1),
    some.dates(date(2026, 9, 28), date(2026, 12, 2)),
    some.sampled_from(_DISTRICTS),
    some.sampled_from("FMU"),
    some.integers(0, 120),
    some.sampled_from(["AMB", "EMER", "IMP"]),
)
_visits = some.lists(_visit, min_size=8, max_size=40)


def _write(folder: Path, rows: Sequence[Visit]) -> None:
    folder.mkdir(parents=True)
    with duckdb.connect(folder / "g00000001.duckdb") as database:
        database.execute(DDL)
        for person in sorted({row[0] for row in rows}):
            database.execute("INSERT INTO person VALUES (?, ?, DATE '1980-01-01', 'F', '440103')", [person, f"p{person}"])
        for number, (person, day, district, sex, age, kind) in enumerate(rows):
            values = [number, person, f"v{number}", kind, day, day, district, sex, age]
            database.execute("INSERT INTO visit_occurrence VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
    (folder / "CURRENT").write_text("g00000001\n")
    residents.tag(folder, {person: person for person in {row[0] for row in rows}})


def _without(rows: Sequence[Visit], person: int, month: int) -> list[Visit]:
    return [row for row in rows if not (row[0] == person and row[1].month == month)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    made = Nodes(tmp_path_factory.mktemp("neighbours"), 4, residents.furnish)
    residents.permit(made.city)
    for node in made.nodes.values():
        residents.tag(node.home / "records", {})
    yield made
    made.close()


@pytest.fixture(scope="module")
def shown(world: Nodes, tmp_path_factory: pytest.TempPathFactory) -> "Questions":
    return Questions(world, tmp_path_factory.mktemp("records"))


class Questions:
    """One question of each shape in one city, asked when a test first needs it."""

    def __init__(self, world: Nodes, path: Path) -> None:
        self._world, self._path = world, path
        self._asked: dict[str, Shown] = {}

    def __call__(self, shape: str) -> Shown:
        if shape not in self._asked:
            asking = self._world.ask(entry_fields=_entry(SHAPES[shape]))
            asking.all_ready()
            self._asked[shape] = Shown(asking, self._path / shape, _write)
        return self._asked[shape]


def _entry(spec: dict[str, Any]) -> dict[str, Any]:
    """Loud noise, so that no budget of the city ends before the shapes do."""
    if "fit" in spec:
        return {"spec": spec, "rounds": 2, "variances": (f"{SCALE**2 * 400}.0000",)}
    pieces = len(Layout.of(QuerySpec.from_json(spec)).segments)
    return {"spec": spec, "variances": ("4096.0000" if asks_for_residents(spec) else "90000000.0000",) * pieces}


FEW = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.mark.parametrize("shape", SHAPES)
@FEW
@given(rows=_visits, person=some.integers(0, 1), month=some.sampled_from([9, 10, 11, 12]))
def test_one_patient_s_one_block_moves_the_contribution_by_no_more_than_is_charged(
    shown: Questions, shape: str, rows: list[Visit], person: int, month: int
) -> None:
    question = shown(shape)
    check(question.asked, question.vector(rows), question.vector(_without(rows, person, month)), f"2026-{month:02}")


BUSY: list[Visit] = [
    (0, date(2026, 10, 1 + day), _DISTRICTS[day % 5], "FM"[day % 2], 90, "IMP") for day in range(28) for _ in range(3)
]
SPREAD_OUT: list[Visit] = [(*row[:4], 10 + 2 * day, row[5]) for day, row in enumerate(BUSY[::3])]
"""So that no bin holds all of it."""


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_laid_bare_is_the_plan_s_own_vector(shown: Questions, shape: str) -> None:
    """If masks and noise were taken off wrongly, differences could be small for no good reason."""
    question, node = shown(shape), shown(shape).asking.world.first()
    vector = question.vector(BUSY)
    ready = node.answering.journal.ready(question.asking.id.hex(), question.asked.first_round)
    assert ready is not None
    key = node.answering.journal.bounding_key(ready.month[:4], b"")
    with open_read_only(question.path / f"records-{question.made}") as records:
        assert (
            vector.tolist()
            == WITH_KEY[type(question.asked.spec)]
            .run(question.asked, records, key, question.input, question.asked.first_round)
            .tolist()
        )
    assert vector.any()


# -- the check can fail


class Unbounded(TablePlan):
    """Forgets that a patient counts in a few cells only."""

    def run(
        self, asked: Asked, records: duckdb.DuckDBPyConnection, bounding_key: bytes, round_input: bytes, number: int
    ) -> Integers:
        assert isinstance(asked.spec, QuerySpec)
        return execute(QuerySpec.from_json({**asked.spec.to_json(), "cells_per_patient": 50}), records, bounding_key)


class Turned(TablePlan):
    """Weighs each month as another one."""

    def run(
        self, asked: Asked, records: duckdb.DuckDBPyConnection, bounding_key: bytes, round_input: bytes, number: int
    ) -> Integers:
        assert isinstance(asked.spec, QuerySpec)
        turned = {**asked.spec.to_json(), "weights": list(reversed(asked.weights))}
        return execute(QuerySpec.from_json(turned), records, bounding_key)


class UnboundedResidents(TablePlan):
    """The same where residents are counted."""

    def run(
        self, asked: Asked, records: duckdb.DuckDBPyConnection, bounding_key: bytes, round_input: bytes, number: int
    ) -> Integers:
        assert isinstance(asked.spec, QuerySpec)
        spec = QuerySpec.from_json({**asked.spec.to_json(), "cells_per_patient": 50})
        question = BucketKey.of(residents.KEY.key, b"")
        return resident_buckets(spec, records, bounding_key, residents.KEY.fingerprint, question)


class Unclipped(LogisticPlan):
    """Sums every visit's gradient and Hessian as they are."""

    def run(
        self, asked: Asked, records: duckdb.DuckDBPyConnection, bounding_key: bytes, round_input: bytes, number: int
    ) -> Integers:
        assert isinstance(asked.spec, FitSpec)
        _, features, outcome = _rows(asked.spec, records)
        if not len(features):
            return np.zeros(asked.dimension, np.int64)
        stacked = _stacked(features, outcome, decode_weights(round_input, asked.spec))
        return np.asarray(np.trunc(stacked.sum(axis=0) * SCALE), np.int64)


@pytest.mark.parametrize("shape", ["rows", "persons", "sum", "mean", "three keys", "three measures", "fit", *KINDS])
def test_a_plan_that_forgets_a_bound_is_caught_on_the_same_way(shown: Questions, shape: str) -> None:
    question = shown(shape)
    broken: dict[type, Plan] = {QuerySpec: Unbounded(), FitSpec: Unclipped()}
    rows = SPREAD_OUT if shape == "histogram" else BUSY
    with pytest.raises(SensitivityExceededError):
        check(question.asked, question.vector(rows, broken), question.vector(_without(rows, 0, 10), broken))
    check(question.asked, question.vector(rows), question.vector(_without(rows, 0, 10)))


def test_a_plan_that_forgets_the_bound_of_residents_is_caught_on_the_same_way(shown: Questions) -> None:
    question, broken = shown("residents"), {QuerySpec: UnboundedResidents()}
    with pytest.raises(SensitivityExceededError):
        check(question.asked, question.vector(BUSY, broken), question.vector(_without(BUSY, 0, 10), broken))


@pytest.mark.parametrize(("shape", "month"), [("weighted", 10), ("weighted, one number", 11)])
def test_a_plan_that_weighs_a_month_as_another_is_caught_on_the_same_way(shown: Questions, shape: str, month: int) -> None:
    """It moves no more than the largest weight, and yet more than its own block has paid for."""
    question, broken = shown(shape), {QuerySpec: Turned()}
    rows = [(person, day.replace(month=month), *rest) for person, day, *rest in BUSY]
    before, after = (question.vector(each, broken) for each in (rows, _without(rows, 0, month)))  # type: ignore[arg-type]
    with pytest.raises(SensitivityExceededError):
        check(question.asked, before, after, f"2026-{month}")
    check(question.asked, before, after, "2026-11" if month == 10 else "2026-10")
    check(question.asked, question.vector(rows), question.vector(_without(rows, 0, month)), f"2026-{month}")  # type: ignore[arg-type]


def _as_one(folder: Path, rows: Sequence[Visit]) -> None:
    """Every patient number of the hospital belongs to one resident."""
    _write(folder, rows)
    with duckdb.connect(folder / "g00000001.duckdb") as database:
        tag = residents.KEY.key.tag(numbers.number(0))
        database.execute("UPDATE resident SET tag = ?", [tag])


@FEW
@given(rows=_visits)
def test_all_records_of_one_resident_touch_one_bucket_of_each_cell(shown: Questions, rows: list[Visit]) -> None:
    """Whatever hospitals and blocks they stand in: the bucket is the resident's, here of two patient numbers and four months."""
    question = shown("residents")
    one = Shown(question.asking, question.path / f"as-one-{secrets.token_hex(4)}", _as_one)
    touched = one.vector(rows).reshape(question.asked.dimension, question.asked.buckets)
    assert touched.sum(axis=1).max() <= 1
    assert len(set(np.nonzero(touched)[1].tolist())) <= 1
