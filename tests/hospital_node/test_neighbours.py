"""One patient's one block, for every shape of a question, on the way that answers really take.

Import, `accept`, count, noise, masks: then masks and noise are taken off the contribution again, with keys that only a test has and
noise that comes from a recorded source. What is left of two neighbouring hospitals differs by no more than is charged. The same
check, given plans broken on purpose, must turn red.
"""

import os
import random
import secrets
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from hospital_node.counting import InstalledPlans
from hospital_node.fits.logistic import _rows, _stacked
from hospital_node.plan import execute, resident_buckets
from hospital_node.plans import INSTALLED, LogisticPlan, Plan, TablePlan
from hospital_node.records.schema import DDL, open_read_only
from privacy.rdp import share_variance
from privacy.sampler import draw
from privacy.tables import skellam_table
from privacy.union import hospital_tail
from protocols import statements as st
from protocols.asked import Asked
from protocols.fit import SCALE, FitSpec, decode_weights, encode_weights
from protocols.query import Layout, QuerySpec
from protocols.secagg.agreement import AgreementKey
from protocols.secagg.binding import Binding
from protocols.secagg.masks import mask
from protocols.secagg.ring import Integers, from_ring
from protocols.secagg.sealing import query_context, round_seed, segment_context, union_context
from protocols.union import BucketKey, asks_for_residents
from tests.hospital_node.support.nodes import PERIOD, Asking, Node, Nodes
from tests.protocols.union import numbers
from tests.support import residents

AGE_SUM = {"kind": "sum", "column": "age", "lo": "0", "hi": "90", "scale": 1}
AGE_MEAN = {"kind": "avg", "column": "age", "lo": "0", "hi": "80", "scale": 10}
AGE_SPREAD = {"kind": "stddev", "column": "age", "lo": "0", "hi": "80", "steps": 8}
AGE_QUARTILES = {"kind": "quantiles", "column": "age", "lo": "0", "hi": "100", "points": ["0.25", "0.5", "0.75"], "bins": 10}
AGE_BINS = {"key": "bin", "column": "age", "edges": ["0", "18", "65", "151"]}
WOMEN = {"kind": "is", "where": [{"column": "sex", "values": ["F"]}]}
ADMITTED_BEFORE = {"kind": "has", "table": "visits", "where": [{"column": "visit_class", "values": ["IMP"]}], "days": [-30, -1]}
SEEN_LATER = {"kind": "has", "table": "visits", "where": [], "days": [1, 14]}
AGE_LINES = {"kind": "summary", "column": "age", "lo": "0", "hi": "100", "steps": 6, "bins": 10}
SEX_LINES, CLASS_LINES = {"kind": "categories", "column": "sex"}, {"kind": "categories", "column": "visit_class"}
TO_ADMISSION = {
    "kind": "survival",
    "event": {"kind": "has", "table": "visits", "where": [{"column": "visit_class", "values": ["IMP"]}], "days": [1, 40]},
    "edges": [3, 14, 40],
    "until": "2026-12-12",
}
KEYS = [{"key": "district"}, {"key": "iso_week"}, {"key": "sex"}]


def _table(*measures: dict[str, Any], keys: Sequence[dict[str, Any]] = KEYS[:1], cells: int = 3, **more: object) -> dict[str, Any]:
    fields = {"table": "visits", "measures": list(measures), "keys": list(keys), "period": PERIOD, "cells_per_patient": cells}
    fields |= more
    return QuerySpec.from_fields(fields).to_json()


FIT = {
    "version": 1,
    "fit": "logistic",
    "table": "visits",
    "outcome": "IMP",
    "features": ["age", "male", "weekend"],
    "period": PERIOD,
}
SHAPES: dict[str, dict[str, Any]] = {
    "rows": _table({"kind": "count", "hi": 2}),
    "persons": _table({"kind": "count_distinct_person"}),
    "sum": _table(AGE_SUM),
    "mean": _table(AGE_MEAN),
    "three keys": _table({"kind": "count", "hi": 1}, keys=KEYS, cells=4),
    "three measures": _table({"kind": "count", "hi": 3}, {"kind": "count_distinct_person"}, AGE_SUM, keys=KEYS[:2]),
    "spread": _table(AGE_SPREAD),
    "quantiles": _table(AGE_QUARTILES),
    "histogram": _table({"kind": "count_distinct_person"}, keys=[AGE_BINS, *KEYS[:1]]),
    "totals": _table(
        {"kind": "count", "hi": 3}, {"kind": "count_distinct_person"}, AGE_QUARTILES, keys=KEYS[:2], totals=[["iso_week"], []]
    ),
    "filters": _table(
        {"kind": "count", "hi": 2}, {"kind": "count", "hi": 2, "filter": WOMEN}, {**AGE_SUM, "filter": WOMEN}, keys=KEYS[:2]
    ),
    "first ever": _table(
        {"kind": "count_distinct_person"},
        {"kind": "count", "hi": 3},
        keys=KEYS[:2],
        cohort={"kind": "not", "of": ADMITTED_BEFORE},
        totals=[["iso_week"], []],
    ),
    "window in a filter": _table(
        AGE_MEAN, {"kind": "count", "hi": 2, "filter": {"kind": "any", "of": [WOMEN, SEEN_LATER]}}, keys=KEYS[:2]
    ),
    "whole query": _table({"kind": "count", "hi": 3}, AGE_SPREAD, AGE_QUARTILES, keys=KEYS[:2], bound="query"),
    "table one": _table(AGE_LINES, SEX_LINES, {**CLASS_LINES, "filter": WOMEN}, keys=KEYS[:2], cells=2),
    "table one by block": _table(AGE_LINES, CLASS_LINES, keys=KEYS[:2], cells=2, bound="block", totals=[["iso_week"], []]),
    "table one of one group": _table({"kind": "count_distinct_person"}, AGE_LINES, SEX_LINES, keys=(), cells=1),
    "survival": _table(TO_ADMISSION, {**TO_ADMISSION, "filter": WOMEN}, keys=KEYS[:2], cells=2, totals=[[]]),
    "residents": _table({"kind": "count_distinct_resident", "buckets": 1024}),
    "residents, whole query": _table({"kind": "count_distinct_resident", "buckets": 1024}, bound="query"),
    "residents, one number": _table({"kind": "count_distinct_resident", "buckets": 1024, "filter": WOMEN}, keys=()),
    "one number": _table({"kind": "count", "hi": 2}, keys=(), cells=1),
    "fit": FIT,
}
WITH_KEY: dict[type, Plan] = {**INSTALLED, QuerySpec: TablePlan(lambda: residents.KEY)}
KINDS = (
    "spread",
    "quantiles",
    "histogram",
    "totals",
    "filters",
    "window in a filter",
    "whole query",
    "table one",
    "table one by block",
    "survival",
)
WEIGHTS = encode_weights(np.array([-1.5, 2.0, 0.25, -0.5]))


class SensitivityExceededError(AssertionError):
    """Two neighbouring contributions are further apart than is charged."""


def check(asked: Asked, before: Integers, after: Integers) -> None:
    start = 0
    for number, piece in enumerate(asked.pieces):
        moved = [abs(int(each)) for each in (before - after)[start : start + piece.length * asked.buckets]]
        start += piece.length * asked.buckets
        if sum(moved) > piece.l1 or sum(each**2 for each in moved) > piece.l2_squared:
            raise SensitivityExceededError(
                f"piece {number}: {sum(moved)} of {piece.l1}, {sum(e**2 for e in moved)} of {piece.l2_squared}"
            )


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


# -- one contribution, laid bare


class Recorded:
    """Bytes that come again; only a test can pass such a source in."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def __call__(self, size: int) -> bytes:
        return self._random.randbytes(size)


class Shown:
    """A question at one node, whose exact vector a test can see over any records."""

    def __init__(self, asking: Asking, path: Path, write: Callable[[Path, Sequence[Any]], None] | None = None) -> None:
        self.asking, self.path, self.write = asking, path, write or _write
        query = st.parse(asking.entry).statement
        assert isinstance(query, st.Query)
        self.asked = Asked.of(query)
        self.input = WEIGHTS if isinstance(self.asked.spec, FitSpec) else b""
        self.round, self.made = self.asked.first_round, 0

    def vector(self, rows: Sequence[Any], installed: dict[type, Plan] | None = None) -> Integers:
        node, query = self.asking.world.first(), self.asking.id.hex()
        self.made += 1
        folder = self.path / f"records-{self.made}"
        self.write(folder, rows)
        contributing = node.answering.contributing
        contributing.plans = node.answering.counts._plans = InstalledPlans(folder, installed or WITH_KEY)
        contributing.plans.generation()
        node.answering.contributing.forget(query)  # the journal is turned back, which only a test can do
        node.answering.journal._write(lambda database: database.execute("DELETE FROM accepted"))
        contributing._segments.clear()
        return self._contributed(node)

    def _contributed(self, node: Node) -> Integers:
        binding = self.asking.binding(round=self.round, round_input=self.input)
        contributing = node.answering.contributing
        attempt = contributing.accept(binding.encode(), self.input)
        assert not isinstance(attempt, list), attempt
        contributing.random = Recorded(self.made)
        stored = contributing.contribute(attempt, 30.0)
        contributing.random = os.urandom
        assert node.answering.journal.note("paused") is None, "the count failed"
        masked = np.frombuffer(stored.masked, f"<u{binding.ring // 8}") - self._masks(node, binding, stored.sealed)
        if self.asked.is_of_residents:
            return self._buckets(masked, binding)
        return from_ring(masked, binding.ring) - self._noise(binding)

    def _buckets(self, filled: np.ndarray[Any, Any], binding: Binding) -> Integers:
        """Which are filled; behind them every cell has as many filled slots of this hospital's as its noise says."""
        [piece] = self.asked.pieces
        tail, members = hospital_tail(piece.variance, binding.n, binding.c), len(binding.members)
        cells = (filled != 0).astype(np.int64).reshape(piece.length, self.asked.buckets + members * 2 * tail)
        assert (cells[:, self.asked.buckets :].sum(axis=1) - tail).tolist() == self._noise(binding).tolist()
        return cells[:, : self.asked.buckets].reshape(-1)

    def _masks(self, node: Node, binding: Binding, sealed: bytes) -> np.ndarray[Any, Any]:
        ready = st.parse(self.asking.readys[node.uri])
        assert isinstance(ready.statement, st.Ready)
        sealing = self.asking.world.opener.keys.find(ready.statement.sealing.month)
        agreement_month = ready.statement.agreement.month
        own_seed = node.answering.journal.agreement_seed(agreement_month)
        assert sealing is not None
        assert own_seed is not None
        if self.asked.is_training:
            rounds = (self.asked.first_round, self.asked.last_round)
            root = sealing.open(sealed, segment_context(binding.origin, self.asking.id, *rounds, ready.id, node.uri))
            seed = round_seed(root, binding.round, binding.attempt, binding.value)
        else:
            context = union_context if self.asked.is_of_residents else query_context
            seed = sealing.open(sealed, context(binding.value, node.uri))
        own = AgreementKey(own_seed, agreement_month)
        pairs = [own.pair(node.uri, each.uri, each.agreement) for each in binding.members if each.uri != node.uri]
        return mask(np.zeros(binding.dimension, np.int64), binding.ring, binding.value, seed, pairs)

    def _noise(self, binding: Binding) -> Integers:
        source = Recorded(self.made)
        if not self.asked.is_training:
            source(32)  # the seed of the masks is drawn first
        tables = [(skellam_table(share_variance(each.variance, binding.n, binding.c)), each.length) for each in self.asked.pieces]
        return np.concatenate([draw(table, length, source) for table, length in tables])


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
            self._asked[shape] = Shown(asking, self._path / shape)
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
    check(question.asked, question.vector(rows), question.vector(_without(rows, person, month)))


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
