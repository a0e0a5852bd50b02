"""One patient's rows of one block of a registered table, for every kind of fit, on the way that answers really take.

The same way as `test_neighbours`: register, Offer, Ready, count, noise, masks, and both taken off again. A plan that does not clip
is caught on it.
"""

import tomllib
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from audit_ledger.findings import Rule
from hospital_node.fits.rows import Rows, rows_of
from hospital_node.fits.sums import CONTRIBUTIONS, hospital_sums
from hospital_node.plans import FitPlan, Plan
from hospital_node.policy import default_policy
from hospital_node.records.schema import DDL
from hospital_node.tables.declared import declare
from hospital_node.tables.registering import DIRECTORY, create_table
from hospital_node.tables.schema import TableSchema
from protocols import statements as st
from protocols.asked import Asked
from protocols.clock import stamp
from protocols.fits import KINDS, Fit, MetaAnalysis, read
from protocols.secagg.ring import Integers
from tests.hospital_node.support.laid_bare import SensitivityExceededError, Shown, check
from tests.hospital_node.support.nodes import Nodes
from tests.support.city import AUDITOR, ORIGIN, City

SCHEMA = """
catalogue = "cohort-1"
title = "a cohort"
patient = "pid"
column = [
    {name = "age", type = "number", low = "0", high = "100", unit = "years"},
    {name = "visits", type = "number", low = "0", high = "9"},
    {name = "years", type = "number", low = "0.5", high = "10"},
    {name = "months", type = "number", low = "0", high = "60"},
    {name = "dead", type = "category", categories = ["yes", "no"]},
    {name = "arm", type = "category", categories = ["a", "b", "c"]},
]
"""
DATED = SCHEMA.replace('patient = "pid"', 'patient = "pid"\ndate = "day"').replace("cohort-1", "dated-1")
AGE = {"column": "age", "low": "0", "high": "100", "unit": "years"}
VISITS = {"column": "visits", "low": "0", "high": "9", "unit": ""}
YEARS = {"column": "years", "low": "0.5", "high": "10", "unit": ""}
MONTHS = {"column": "months", "low": "0", "high": "60", "unit": ""}
DEAD = {"column": "dead", "category": "yes"}
ARMS = {"column": "arm", "categories": ["a", "b", "c"]}
TWO_ARMS = {"column": "arm", "categories": ["a", "b"]}
ARM_A = {"column": "arm", "category": "a"}
EDGES = ["6", "12", "24", "48"]
OF: dict[str, dict[str, Any]] = {
    "linear": {"outcome": VISITS, "features": [AGE, ARM_A]},
    "logistic": {"outcome": DEAD, "features": [AGE, ARM_A]},
    "poisson": {"outcome": VISITS, "features": [AGE], "offset": YEARS, "row_clip": None},
    "negative_binomial": {"outcome": VISITS, "features": [AGE], "offset": None, "dispersion": "0.5", "row_clip": "4"},
    "t_test": {"outcome": AGE, "groups": TWO_ARMS},
    "anova": {"outcome": AGE, "groups": ARMS},
    "mann_whitney": {"outcome": AGE, "groups": TWO_ARMS, "bins": 20},
    "kaplan_meier": {"time": MONTHS, "event": DEAD, "edges": EDGES, "groups": TWO_ARMS},
    "cox": {"time": MONTHS, "event": DEAD, "edges": EDGES, "features": [AGE], "row_clip": None},
    "roc": {"outcome": DEAD, "features": [AGE, ARM_A], "weights": ["-2", "0.04", "0.5"], "bins": 10},
    "pca": {"columns": [AGE, VISITS, MONTHS]},
    "meta_analysis": {"outcome": AGE, "groups": TWO_ARMS, "within_sd": "15"},
    "k_means": {"columns": [AGE, MONTHS], "clusters": 3},
}
DAYS = {"from": "2026-10-01", "to": "2026-12-01"}


def fit(kind: str, *, is_dated: bool = False, **changes: Any) -> dict[str, Any]:
    table, catalogue, period = ("dated", "dated-1", DAYS) if is_dated else ("cohort", "cohort-1", None)
    head = {"version": 2, "fit": kind, "table": table, "catalogue": catalogue, "period": period, "rows_per_patient": 1}
    return {**head, **OF[kind], **changes}


SHAPES = {
    **{kind: fit(kind) for kind in KINDS},
    "dated": fit("logistic", is_dated=True),
    "two rows": fit("anova", rows_per_patient=2),
}

Row = tuple[int, date, float | None, float, float, float, str, str]
_row = some.tuples(
    some.integers(0, 2),
    some.sampled_from([date(2026, 10, 3), date(2026, 11, 4)]),
    some.one_of(some.none(), some.floats(-50, 150)),
    some.integers(0, 12).map(float),
    some.floats(0, 20),
    some.one_of(some.floats(0, 90), some.sampled_from([0.0, 6.0, 48.0, 60.0])),
    some.sampled_from(["yes", "no"]),
    some.sampled_from(["a", "b", "c"]),
)
_rows = some.lists(_row, min_size=4, max_size=30)


TABLES = {"cohort": SCHEMA, "dated": DATED}


def _writer(*names: str) -> Callable[[Path, Sequence[Row]], None]:
    def write(folder: Path, rows: Sequence[Row]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with duckdb.connect(folder / "g00000001.duckdb") as database:
            database.execute(DDL)
            database.execute(DIRECTORY)
            for name in names:
                schema = TableSchema.model_validate(tomllib.loads(TABLES[name]))
                create_table(database, name, schema)
                database.execute("INSERT INTO registered VALUES (?, ?)", [name, schema.model_dump_json()])
                stated = [f"({row[0]}, {_sql(row[1] if schema.date else None)}, {', '.join(map(_sql, row[2:]))})" for row in rows]
                if stated:
                    database.execute(f"INSERT INTO registered_{name} VALUES {', '.join(stated)}")
        (folder / "CURRENT").write_text("g00000001\n")

    return write


def _sql(value: object) -> str:
    return "NULL" if value is None else str(value) if isinstance(value, float) else f"'{value}'"


def _furnish(home: Path) -> None:
    (home / "records" / "g00000001.duckdb").unlink()
    _writer(*TABLES)(home / "records", [])
    for name, text in TABLES.items():
        declare(home, name, text.encode())
    (home / "policy.toml").write_text(default_policy().replace("\ntables = [", '\ntables = ["cohort", "dated", '))


def approve_table(city: City, uri: str, name: str, text: str) -> str:
    """The hospital states the table, the auditor approves it; returns the statement's id."""
    stated = TableSchema.model_validate(tomllib.loads(text)).statement(ORIGIN, uri, city.now, name)
    entry = city.sign(stated, city.hospitals[uri].identity)
    city.log_entry(entry)
    id_ = st.parse(entry).hex_id
    approval = st.Approval(**city.head(AUDITOR), target=id_, until=stamp(city.now + 86_400 * 300))
    city.log_entry(city.sign(approval, city.approval))
    return id_


class Questions:
    """One question of each kind in one city, asked when a test first needs it."""

    def __init__(self, path: Path) -> None:
        self.world, self._path = Nodes(path / "city", 4, _furnish), path
        self.world.city.programme = self.world.city.approved_programme(tables=("cohort", "dated"))
        self._asked: dict[str, Shown] = {}
        for uri in self.world.nodes:
            approve_table(self.world.city, uri, "cohort", SCHEMA)

    def __call__(self, shape: str) -> Shown:
        if shape not in self._asked:
            spec = read(SHAPES[shape])
            variance = min(400 * spec.l2_squared, 2**28)
            fields = {"spec": SHAPES[shape], "rounds": spec.fewest_rounds, "variances": (f"{variance}.0000",)}
            asking = self.world.ask(entry_fields=fields)
            asking.all_ready()
            shown = self._asked[shape] = Shown(asking, self._path / shape, _writer(spec.table))
            shown.input = spec.encode(_numbers(spec))
        return self._asked[shape]


def _numbers(spec: Fit) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """Not the start: rows should differ in what they add."""
    return spec.limited(spec.start() + 0.4 * np.cos(np.arange(spec.inputs)))


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Questions]:
    questions = Questions(tmp_path_factory.mktemp("tables"))
    yield questions
    questions.world.close()


def _without(shape: str, rows: list[Row], person: int, month: int) -> list[Row]:
    return [row for row in rows if row[0] != person or (shape == "dated" and row[1].month != month)]


FEW = settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.mark.parametrize("shape", SHAPES)
@FEW
@given(rows=_rows, person=some.integers(0, 2), month=some.sampled_from([10, 11]))
def test_one_patient_s_one_block_moves_the_contribution_by_no_more_than_is_charged(
    shown: Questions, shape: str, rows: list[Row], person: int, month: int
) -> None:
    question = shown(shape)
    check(question.asked, question.vector(rows), question.vector(_without(shape, rows, person, month)))


OTHERS: list[Row] = [(n, date(2026, 10, 3), 10.0, 1.0, 5.0, 3.0, "yes", "b") for n in range(1, 40)]
BUSY: list[Row] = [(0, date(2026, 10, 3), 90.0, 9.0, 0.5, 60.0, "no", "a")] * 60 + OTHERS


class Unclipped(FitPlan):
    """Sums every row as it is."""

    def run(
        self, asked: Asked, records: duckdb.DuckDBPyConnection, bounding_key: bytes, round_input: bytes, number: int
    ) -> Integers:
        spec = asked.spec
        assert isinstance(spec, Fit)
        rows = rows_of(spec, records)
        if isinstance(spec, MetaAnalysis):
            return hospital_sums(spec, Rows(rows.scaled, rows.own, np.arange(len(rows.own))))  # each row a patient
        made = CONTRIBUTIONS[type(spec)](spec, rows, spec.decode(round_input))
        return np.asarray(np.rint(made.sum(axis=0) * spec.scale), np.int64)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_plan_that_forgets_to_clip_is_caught_on_the_same_way(shown: Questions, shape: str) -> None:
    question = shown(shape)
    broken: dict[type, Plan] = dict.fromkeys(KINDS.values(), Unclipped())
    with pytest.raises(SensitivityExceededError):
        check(question.asked, question.vector(BUSY, broken), question.vector(_without(shape, BUSY, 0, 10), broken))
    kept = question.vector(BUSY)
    check(question.asked, kept, question.vector(_without(shape, BUSY, 0, 10)))
    assert kept.any()


EXTREME: list[Row] = [
    BUSY[0],
    BUSY[-1],
    (2, date(2026, 10, 4), 0.0, 0.0, 10.0, 0.0, "no", "a"),
    (3, date(2026, 11, 4), 100.0, 0.0, 10.0, 60.0, "yes", "b"),
    (4, date(2026, 11, 4), 100.0, 9.0, 0.5, 60.0, "yes", "a"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_no_single_row_is_shortened_but_by_a_stated_clip(tmp_path: Path, kind: str) -> None:
    """A bound on one row's length that were too small would bias every answer in silence."""
    spec = read(SHAPES[kind])
    if getattr(spec, "row_clip", None) is not None or kind in {"cox", "meta_analysis"}:  # a hazard has no bound of its own
        return
    _writer("cohort")(tmp_path, EXTREME)
    with duckdb.connect(tmp_path / "g00000001.duckdb") as records:
        held = rows_of(spec, records)
    for numbers in (
        _numbers(spec),
        spec.start(),
        spec.limited(np.ones(spec.inputs)),
        spec.limited(-np.ones(spec.inputs)),
    ):
        longest = np.linalg.norm(CONTRIBUTIONS[type(spec)](spec, held, numbers), axis=1).max()
        assert longest <= spec.clip * (1 + 1e-12)
    assert len(held.own) == len(EXTREME)


def test_a_table_that_is_not_what_is_asked_is_refused_with_every_difference(shown: Questions) -> None:
    """Another unit, a missing column, a category beyond the list, another catalogue, dates where there are none; all at once."""
    node = shown.world.first()
    features = [
        {**AGE, "unit": "months"},
        {"column": "weight", "low": "0", "high": "9", "unit": ""},
        {"column": "arm", "category": "z"},
    ]
    asking = shown.world.ask(
        entry_fields={
            "spec": {**fit("linear"), "catalogue": "cohort-2", "period": DAYS, "features": features},
            "variances": ("9000000.0000",),
        }
    )
    found = [each for each in asking.offer(node).refusals if each.reason.startswith("table.")]
    assert [(str(each.reason), each.subject, each.expected, each.got) for each in found] == [
        ("table.differs", "catalogue", "cohort-1", "cohort-2"),
        ("table.differs", "period", "no period, since rows have no dates", "the other"),
        ("table.differs", "age", "years", "months"),
        ("table.differs", "weight", "a column of the table", "none"),
        ("table.differs", "arm", "a, b, c", "z"),
    ]
    unknown = shown.world.ask(entry_fields={"spec": {**fit("linear"), "table": "other"}, "variances": ("9000000.0000",)})
    assert "table.not_registered" in [str(each.reason) for each in unknown.offer(node).refusals]


def test_a_block_of_its_own_is_charged_only_once_the_auditor_has_approved_the_table(shown: Questions, tmp_path: Path) -> None:
    """A hospital that renamed its table would have a fresh budget for the same patients."""
    world = Nodes(tmp_path, 4, _furnish)
    world.city.programme = world.city.approved_programme(tables=("cohort", "dated"))
    asked: dict[str, Any] = {"spec": fit("t_test"), "variances": ("90000000.0000",)}
    node = world.first()
    refused = world.ask(entry_fields=asked).offer(node).refusals
    assert [(str(each.reason), each.got, each.subject) for each in refused] == [
        ("authority.not_approved", "none", "static:cohort-1")
    ]
    approved = approve_table(world.city, node.uri, "cohort", SCHEMA)
    reply = world.ask(entry_fields=asked).offer(node)
    assert reply.is_ready
    assert world.city.view().findings_for(st.parse(reply.envelope)) == []
    world.city.revoke_approval(approved)
    found = world.city.view().findings_for(st.parse(reply.envelope))
    assert {each.rule for each in found} == {Rule.REGISTRATION}, "whoever replays the ledger sees a charge without it"
    world.close()


@pytest.mark.parametrize(
    ("table", "changes", "days"),
    [("cohort", {"catalogue": "cohort-2"}, 300), ("copy", {"catalogue": "cohort-1"}, 4000)],
)
def test_a_new_name_or_a_new_block_within_a_year_has_no_effect(
    tmp_path: Path, table: str, changes: dict[str, Any], days: int
) -> None:
    city = City(tmp_path, 4)
    hospital = next(iter(city.hospitals.values()))
    schema = TableSchema.model_validate(tomllib.loads(SCHEMA))
    city.log_entry(city.sign(schema.statement(ORIGIN, hospital.uri, city.now, "cohort"), hospital.identity))
    changed = schema.model_copy(update=changes).statement(ORIGIN, hospital.uri, city.now, table)
    later = changed.model_copy(update={"at": stamp(city.now + 86_400 * days)})
    found = city.view().findings_for(st.parse(city.sign(later, hospital.identity)))
    assert Rule.REGISTRATION in {each.rule for each in found}
    after = changed.model_copy(update={"at": stamp(city.now + 86_400 * 366), "table": "cohort"})
    assert Rule.REGISTRATION not in {each.rule for each in city.view().findings_for(st.parse(city.sign(after, hospital.identity)))}
    city.close()
