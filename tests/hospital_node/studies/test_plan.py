"""A training's rows are read once a question, and its study's process is started once for all of its segments."""

from collections.abc import Iterator

import duckdb
import numpy as np
import pytest

from hospital_node.fits import rows as reading
from hospital_node.studies import plan as planning
from hospital_node.studies.plan import TrainingPlan
from hospital_node.tables.matching import empty_table
from protocols.asked import Asked
from protocols.fits import Fit, Training
from protocols.statements import Query
from tests.hospital_node.studies.specs import training


def asked(spec: Training, nonce: str = "ab") -> Asked:
    query = Query(
        log="city.example/1", at="2026-11-30T00:00:00Z", by="kapok://bureau/cdc", nonce=nonce * 32, purpose="research",
        programme=None, audience=tuple(f"kapok://hospital/h{number:02}" for number in range(4)), floor=4,
        valid_until="2026-12-06T00:00:00Z", rounds=4, spec=spec.to_json(), variances=("4000000.0000",),
    )  # fmt: skip
    return Asked.of(query)


@pytest.fixture
def plan() -> Iterator[TrainingPlan]:
    made = TrainingPlan()
    yield made
    made.close()


@pytest.fixture
def records() -> Iterator[duckdb.DuckDBPyConnection]:
    with empty_table(training()) as made:
        made.execute("INSERT INTO registered_cohort SELECT range, DATE '2026-01-01', 0.5, -0.25, 1.0, 'yes' FROM range(3)")
        yield made


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Fit]:
    """The reads of the table so far."""
    found: list[Fit] = []

    def reads(spec: Fit, records: duckdb.DuckDBPyConnection) -> reading.Rows:
        found.append(spec)
        return reading.rows_of(spec, records)

    monkeypatch.setattr(planning, "rows_of", reads)
    return found


def test_rounds_of_one_question_read_its_table_once_and_another_question_reads_it_anew(
    plan: TrainingPlan, records: duckdb.DuckDBPyConnection, read: list[Fit]
) -> None:
    first, second, weights = asked(training()), asked(training(), "cd"), np.zeros(4)
    sums = [plan.run(first, records, b"", training().encode(weights + number), number + 1) for number in range(3)]
    assert len(read) == 1
    assert not np.array_equal(sums[0], sums[1]), "each round at its own weights"
    records.execute("DELETE FROM registered_cohort")
    assert plan.run(second, records, b"", training().encode(weights), 1)[-1] == 0, "the records of another generation"
    assert len(read) == 2


def test_segments_of_one_training_share_a_process_and_another_model_has_its_own(
    plan: TrainingPlan, records: duckdb.DuckDBPyConnection
) -> None:
    start = training()
    for number, spec in enumerate([start, training(after="ab" * 32), training(after="cd" * 32)]):
        plan.probe(asked(spec, f"{number:02}"))
        plan.run(asked(spec, f"{number:02}"), records, b"", start.encode(np.zeros(4)), 1)
    [worker] = plan._running.values()
    other = training(longest="2")
    plan.probe(asked(other))
    assert len({each.process.pid for each in plan._running.values()}) == 2
    assert worker.is_alive


def test_a_segment_whose_study_runs_is_not_probed_again_and_one_whose_study_died_is(
    plan: TrainingPlan, read: list[Fit], records: duckdb.DuckDBPyConnection
) -> None:
    plan.probe(asked(training()))
    plan.probe(asked(training(after="ab" * 32), "cd"))
    assert len(read) == 1
    [worker] = plan._running.values()
    worker.stop()
    plan.probe(asked(training(after="cd" * 32), "ef"))
    assert len(read) == 2
    assert next(iter(plan._running.values())).is_alive


def test_rows_are_read_ahead_of_the_first_round_which_reads_none(
    plan: TrainingPlan, records: duckdb.DuckDBPyConnection, read: list[Fit]
) -> None:
    question, weights = asked(training()), training().encode(np.zeros(4))
    plan.prepare(question, records)
    assert len(read) == 1
    records.execute("DELETE FROM registered_cohort")
    assert plan.run(question, records, b"", weights, 1)[-1] > 0, "of the rows that were there"
    assert len(read) == 1


def test_two_trainings_at_once_keep_each_its_rows(plan: TrainingPlan, records: duckdb.DuckDBPyConnection, read: list[Fit]) -> None:
    first, second, weights = asked(training()), asked(training(), "cd"), training().encode(np.zeros(4))
    for number in range(1, 4):
        plan.run(first, records, b"", weights, number)
        plan.run(second, records, b"", weights, number)
    assert len(read) == 2


def test_a_reading_that_fails_is_made_again_by_the_next_who_asks(
    plan: TrainingPlan, records: duckdb.DuckDBPyConnection, read: list[Fit]
) -> None:
    question, weights = asked(training()), training().encode(np.zeros(4))
    with empty_table(training()) as other:
        other.execute("DROP TABLE registered_cohort")
        with pytest.raises(duckdb.Error):
            plan.prepare(question, other)
    assert plan.run(question, records, b"", weights, 1)[-1] > 0
    assert len(read) == 2
