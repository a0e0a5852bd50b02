"""A fit over several hospitals' real sums finds what the pooled records say, and no noise drives it out of bounds."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import date, timedelta
from fractions import Fraction

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from coordinator.training import LONGEST_STEP, next_weights
from hospital_node.fits import newton_sums
from hospital_node.records.schema import empty_copy
from privacy.rdp import share_variance
from privacy.sampler import draw
from privacy.tables import skellam_table
from protocols.asked import VARIANCE_STEPS
from protocols.fit import MAX_WEIGHT, SCALE, WEIGHT_UNITS, FitSpec, Weights, decode_weights, encode_weights, unpacked
from protocols.secagg.ring import Integers
from tests.coordinator.test_training import BINDING, SPEC

TINY = replace(BINDING, variances=(1,))
PER_HOSPITAL = 600


@pytest.fixture(scope="module")
def hospitals() -> Iterator[Sequence[duckdb.DuckDBPyConnection]]:
    """Four hospitals whose patients come once or twice; the older and the men are admitted more often."""
    with ExitStack() as held:
        connections = [held.enter_context(empty_copy()) for _ in BINDING.members]
        for number, connection in enumerate(connections):
            _fill(connection, np.random.default_rng(number))
        yield connections


def _fill(connection: duckdb.DuckDBPyConnection, generator: np.random.Generator) -> None:
    rows = []
    for visit in range(PER_HOSPITAL):
        age, is_male = int(generator.integers(0, 95)), bool(generator.integers(0, 2))
        chance = 1 / (1 + np.exp(-(-0.8 + 1.2 * (age - 50) / 50 + 0.4 * is_male)))
        kind = "IMP" if generator.random() < chance else "AMB"
        day = date(2025, 1, 1) + timedelta(days=int(generator.integers(0, 90)))
        rows.append([visit, visit * 4 // 5, f"v{visit}", kind, day, "M" if is_male else "F", age])
    columns = "visit_id, person_id, source_id, visit_class, visit_date, sex, age"
    connection.executemany(f"INSERT INTO visit_occurrence ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", rows)


def _summed(spec: FitSpec, hospitals: Sequence[duckdb.DuckDBPyConnection], weights: Weights) -> Integers:
    total: Integers = np.sum([newton_sums(spec, each, weights) for each in hospitals], axis=0)
    return total


def _pooled(hospitals: Sequence[duckdb.DuckDBPyConnection]) -> Weights:
    """Where the pooled clipped gradient is zero, by plain Newton steps."""
    weights = SPEC.start()
    for _ in range(40):
        gradient, hessian = unpacked(SPEC, _summed(SPEC, hospitals, weights))
        weights = weights + np.linalg.solve(hessian, gradient)
    return weights


def test_rounds_without_noise_to_speak_of_reach_the_pooled_optimum(hospitals: Sequence[duckdb.DuckDBPyConnection]) -> None:
    weights = SPEC.start()
    for _ in range(8):
        weights = next_weights(SPEC, weights, _summed(SPEC, hospitals, weights), TINY)
    pooled = _pooled(hospitals)
    gradient, _ = unpacked(SPEC, _summed(SPEC, hospitals, pooled))
    # Truncation of each contribution to 1/1024 leaves a gradient that plain Newton circles around.
    assert np.abs(gradient).max() < 1
    assert weights == pytest.approx(pooled, abs=2e-3)
    assert np.abs(pooled).max() > 0.3, "there is something to find"


@pytest.mark.statistical
def test_rounds_with_noise_end_near_the_pooled_optimum(hospitals: Sequence[duckdb.DuckDBPyConnection]) -> None:
    variance = Fraction((8 * SCALE) ** 2)
    noisy = replace(BINDING, variances=(int(variance * VARIANCE_STEPS),))
    table = skellam_table(share_variance(variance, BINDING.n, BINDING.c))
    weights = SPEC.start()
    for _ in range(6):
        noise = np.sum([draw(table, SPEC.width, os.urandom) for _ in BINDING.members], axis=0)
        weights = next_weights(SPEC, weights, _summed(SPEC, hospitals, weights) + noise, noisy)
    _, hessian = unpacked(SPEC, _summed(SPEC, hospitals, _pooled(hospitals)))
    sd = np.sqrt(np.diag(np.linalg.inv(hessian) @ np.linalg.inv(hessian))) * 8 * np.sqrt(4 / 3)
    # Seven standard deviations of the last round's noise; the noise of the Hessian adds at most a tenth here. Below 1e-9 for three.
    assert (np.abs(weights - _pooled(hospitals)) < 7 * sd).all()


@given(vectors=some.lists(some.lists(some.integers(-(2**45), 2**45), min_size=9, max_size=9), min_size=1, max_size=50))
@settings(deadline=None, max_examples=60)
def test_whatever_noise_the_rounds_bring_the_weights_stay_within_what_can_be_sent(vectors: list[list[int]]) -> None:
    loud, weights = replace(BINDING, variances=(2**50,)), SPEC.start()
    for values in vectors:
        before, weights = weights, next_weights(SPEC, weights, np.array(values, np.int64), loud)
        assert np.linalg.norm(weights - before) <= LONGEST_STEP + 1e-5
        assert decode_weights(encode_weights(weights), SPEC).tolist() == weights.tolist(), "what is sent is what was computed"
    assert np.abs(weights).max() <= MAX_WEIGHT


def test_rounds_that_always_push_one_way_stop_at_the_public_bound() -> None:
    """A gradient that never falls, as of an outcome that a feature decides alone."""
    weights, push = SPEC.start(), np.array([2**40, 0, 0, 1, 0, 0, 1, 0, 1], np.int64)
    for _ in range(50):
        weights = next_weights(SPEC, weights, push, TINY)
    assert weights.tolist() == [MAX_WEIGHT, 0, 0]
    encode_weights(weights)


def test_weights_stand_on_the_grid_they_are_sent_on(hospitals: Sequence[duckdb.DuckDBPyConnection]) -> None:
    weights = next_weights(SPEC, SPEC.start(), _summed(SPEC, hospitals, SPEC.start()), TINY)
    assert (weights * WEIGHT_UNITS == np.rint(weights * WEIGHT_UNITS)).all()
