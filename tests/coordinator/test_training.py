"""Newton rounds: a pure function of released vectors, that finds the weights where the noise is small."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from coordinator.training import LONGEST_STEP, next_weights, noise_sd, trained_values
from protocols.fit import SCALE, WEIGHT_UNITS, FitSpec, Weights
from protocols.secagg.binding import Binding, Member
from protocols.secagg.ring import Integers

SPEC = FitSpec.from_json(
    {
        "version": 1,
        "fit": "logistic",
        "table": "visits",
        "outcome": "IMP",
        "features": ["age", "male"],
        "period": {"from": "2025-01-01", "to": "2025-04-01"},
    }
)
URIS = tuple(f"kapok://hospital/h{number}" for number in range(4))
BINDING = Binding(
    origin="log/1",
    query=bytes(32),
    round=1,
    attempt=1,
    input_hash=bytes(32),
    dimension=SPEC.width,
    ring=64,
    scale=SCALE,
    variances=(16,),
    n=4,
    c=1,
    not_after=1,
    members=tuple(Member(uri, bytes([at + 1]) * 32, bytes([at + 1]) * 32) for at, uri in enumerate(URIS)),
    counting=URIS,
)
TRUE = np.array([-1.0, 1.5, 0.5])


def vector_at(weights: Weights) -> Integers:
    """Gradient and Hessian of a million expected rows at these weights, without noise."""
    generator = np.random.default_rng(7)
    rows = np.column_stack([np.ones(4000), generator.uniform(-1, 1, 4000), generator.choice([-1.0, 1.0], 4000)])
    expected, said = (1 / (1 + np.exp(-rows @ each)) for each in (TRUE, weights))
    gradient = 250 * rows.T @ (expected - said)
    hessian = 250 * rows.T @ (rows * (said * (1 - said))[:, None])
    vector: Integers = np.rint(SCALE * np.concatenate([gradient, hessian[np.triu_indices(3)]])).astype(np.int64)
    return vector


def test_without_noise_to_speak_of_the_weights_are_found() -> None:
    weights = SPEC.start()
    for _ in range(12):
        weights = next_weights(SPEC, weights, vector_at(weights), BINDING)
    assert weights == pytest.approx(TRUE, abs=1e-4)


def test_the_same_vector_gives_the_same_step_bit_for_bit() -> None:
    vector = vector_at(SPEC.start())
    steps = [next_weights(SPEC, SPEC.start(), vector, BINDING).tobytes() for _ in range(3)]
    assert len(set(steps)) == 1


@given(some.lists(some.integers(-(2**40), 2**40), min_size=9, max_size=9))
@settings(deadline=None)
def test_whatever_the_sums_are_a_step_is_finite_and_not_longer_than_its_limit(values: list[int]) -> None:
    loud = replace(BINDING, variances=(2**40,))
    step = next_weights(SPEC, SPEC.start(), np.array(values, np.int64), loud)
    assert np.isfinite(step).all()
    assert np.linalg.norm(step) <= LONGEST_STEP * (1 + 1e-9)


def test_noise_grows_with_members_that_do_not_count() -> None:
    fewer = replace(BINDING, counting=URIS[:-1], n=3)
    assert noise_sd(SPEC, fewer) > noise_sd(SPEC, BINDING)


def test_the_release_holds_weights_in_units_and_the_last_vector() -> None:
    vector = vector_at(TRUE)
    values = trained_values(SPEC, TRUE, vector)
    assert values[:3].tolist() == [round(each * WEIGHT_UNITS) for each in TRUE]
    assert values[3:].tolist() == vector.tolist()
