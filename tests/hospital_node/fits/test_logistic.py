"""The fit's promise: one patient's rows of one block move a round's integers by at most clip * SCALE in L2."""

from collections.abc import Iterator
from datetime import date, timedelta

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hospital_node.fits import newton_sums
from hospital_node.records.schema import empty_copy
from protocols.fit import FitSpec

SPEC = FitSpec.from_json(
    {
        "version": 1,
        "fit": "logistic",
        "table": "visits",
        "outcome": "IMP",
        "features": ["age", "male", "winter", "weekend"],
        "period": {"from": "2025-01-01", "to": "2025-04-01"},
    }
)
DAYS = [date(2025, 1, 1) + timedelta(days=n) for n in range(90)]
ROW = st.tuples(
    st.integers(1, 4),
    st.sampled_from(DAYS),
    st.sampled_from(["AMB", "IMP", "EMER"]),
    st.sampled_from(["M", "F", "U"]),
    st.one_of(st.none(), st.integers(-5, 32_000)),
)
WEIGHTS = st.lists(st.floats(-64, 64, allow_nan=False), min_size=5, max_size=5)


@pytest.fixture
def records() -> Iterator[duckdb.DuckDBPyConnection]:
    with empty_copy() as connection:
        yield connection


def _load(connection: duckdb.DuckDBPyConnection, rows: list[tuple[object, ...]]) -> None:
    connection.execute("DELETE FROM visit_occurrence")
    for n, (person, day, kind, sex, age) in enumerate(rows):
        connection.execute(
            "INSERT INTO visit_occurrence (visit_id, person_id, source_id, visit_class, visit_date, sex, age) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            [n, person, f"v{n}", kind, day, sex, age],
        )


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(ROW, max_size=12), weights=WEIGHTS, gone=st.integers(1, 4), month=st.integers(1, 3))
def test_removing_a_patients_block_moves_the_vector_within_the_stated_norms(
    rows: list[tuple[object, ...]], weights: list[float], gone: int, month: int
) -> None:
    with empty_copy() as records:
        _load(records, rows)
        before = newton_sums(SPEC, records, np.array(weights))
        _load(records, [row for row in rows if not (row[0] == gone and row[1].month == month)])  # type: ignore[attr-defined]
        moved = before - newton_sums(SPEC, records, np.array(weights))
    assert int((moved**2).sum()) <= SPEC.l2_squared
    assert int(np.abs(moved).sum()) <= SPEC.l1


def test_the_bound_is_reached_so_it_is_not_loose_by_accident(records: duckdb.DuckDBPyConnection) -> None:
    _load(records, [(1, DAYS[n], "IMP", "M", 100) for n in range(10)])
    vector = newton_sums(SPEC, records, np.zeros(5))
    assert SPEC.l2_squared * 0.99 < int((vector**2).sum()) <= SPEC.l2_squared


def test_a_round_without_noise_is_the_newton_step_of_the_pooled_likelihood(records: duckdb.DuckDBPyConnection) -> None:
    """One visit a patient keeps every contribution under the clip, so only truncation separates us from the textbook sums."""
    rows = [(n, DAYS[n % 90], ["IMP", "AMB"][n % 3 == 0], ["M", "F"][n % 2], 20 + n % 60) for n in range(400)]
    _load(records, rows)  # type: ignore[arg-type]
    small = FitSpec.from_json({**SPEC.to_json(), "features": ["male"]})
    vector = newton_sums(small, records, np.array([0.3, -0.2])) / 1024
    x = np.array([[1.0, float(row[3] == "M")] for row in rows])
    y = np.array([float(row[2] == "IMP") for row in rows])
    chance = 1 / (1 + np.exp(-x @ np.array([0.3, -0.2])))
    hessian = (x * (chance * (1 - chance))[:, None]).T @ x
    parts = np.concatenate(
        [(y - chance)[:, None] * x, (chance * (1 - chance))[:, None] * np.stack([x[:, 0], x[:, 1], x[:, 1]], 1)], 1
    )
    assert np.allclose(vector, parts.sum(0), atol=400 / 1024)  # nothing is clipped; each contribution is truncated once
    assert hessian[0, 0] == pytest.approx(vector[2], abs=400 / 1024)
