"""Held-out patients and local steps: what one patient moves, in which round, and that noise comes before anything depends on it."""

import os
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from hospital_node.errors import GradientError, StudyFailed
from hospital_node.fits.bounded import Floats
from hospital_node.fits.gradients import Asking, Round, step_sums, sums_of_rows
from hospital_node.fits.held_out import held_out, held_out_sums
from hospital_node.fits.local_steps import local_sums
from hospital_node.fits.rows import Rows
from hospital_node.studies.study import Logistic
from privacy.tables import MAX_VARIANCE, skellam_table
from protocols.fits import Evaluated, FedAvgTraining
from protocols.fits.evaluated import LONGEST_NOISE
from protocols.secagg.ring import Integers
from tests.hospital_node.studies.specs import FEATURES, training

KEY = bytes(range(32))
AT = np.array([0.5, -1.0, 0.25, 2.0])


def spec_of(kind: type[Evaluated] = Evaluated, **changes: Any) -> Any:
    return kind.model_validate(
        {**training().to_json(), "fit": kind.model_fields["fit"].default, "version": 3, **changes}, strict=False
    )


TESTED = spec_of(held_out="0.5", bins=4, sharpness=7)
LOCAL = spec_of(FedAvgTraining, local_steps=3, held_out="0.25", bins=4)


def rows_of(persons: list[int], seed: int) -> Rows:
    """One to three rows of each, the same for the same person whoever else is there."""
    values, starts, many = [], [], 0
    for person in persons:
        draw = np.random.default_rng((seed, person % 2**64))
        own = draw.uniform(-1, 1, (int(draw.integers(1, 4)), FEATURES + 1))
        own[:, -1] = own[:, -1] > 0
        starts.append(many)
        many += len(own)
        values.append(own)
    table = np.concatenate(values) if values else np.zeros((0, FEATURES + 1))
    return Rows(table, table, np.array(starts, np.int64), np.array(persons, np.int64))


def _blocks(rows: Rows) -> Iterator[tuple[int, int]]:
    return pairwise([*map(int, rows.starts), len(rows.scaled)])


def gradients(weights: Floats, rows: Rows) -> Iterator[Floats]:
    study = Logistic()
    study.begin(weights)
    for begin, end in _blocks(rows):
        yield np.asarray(study.gradient(rows.scaled[begin:end, :-1], rows.scaled[begin:end, -1]))[None, :]


def hostile(weights: Floats, rows: Rows) -> Iterator[Floats]:
    for each in gradients(weights, rows):
        yield each * np.array([1e300, -1e200, np.nan if each[0, 0] > 0 else 3.0, 1e9])


def chances(weights: Floats, rows: Rows) -> Iterator[Floats]:
    study = Logistic()
    study.begin(weights)
    yield from (np.asarray(study.chances(rows.scaled[begin:end, :-1])) for begin, end in _blocks(rows))


def wild(weights: Floats, rows: Rows) -> Iterator[Floats]:
    """Each patient's own, and anything at all."""
    odd = (np.nan, np.inf, -np.inf, -1e300, 7.0, 1.0, 0.5, 0.0)
    yield from (np.array([odd[int(abs(x) * 1e6) % 8] for x in rows.scaled[begin:end, 0]]) for begin, end in _blocks(rows))


persons_ = some.lists(some.integers(-(2**40), 2**40), min_size=1, max_size=25, unique=True)


@pytest.mark.parametrize("asking", [Asking(gradients, chances), Asking(hostile, wild)], ids=["honest study", "hostile study"])
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(persons=persons_, gone=some.integers(0, 24), seed=some.integers(0, 5))
def test_a_patient_is_in_the_steps_or_in_the_test_and_moves_it_by_no_more_than_is_charged(
    asking: Asking, persons: list[int], gone: int, seed: int
) -> None:
    rest = [each for place, each in enumerate(persons) if place != gone % len(persons)]
    moved = []
    for is_test in (False, True):
        with_, without = (
            sums_of_rows(TESTED, rows_of(each, seed), Round(AT, KEY, is_test=is_test), asking) for each in (persons, rest)
        )
        moved.append([int(each) for each in with_ - without])
    step, test = (sum(each**2 for each in part) for part in moved)
    assert step <= TESTED.l2_squared
    assert test <= TESTED.once[1] == TESTED.unit**2
    assert sum(map(abs, moved[1])) <= TESTED.once[0]
    assert not (any(moved[0]) and any(moved[1])), "nobody pays for both"
    assert not any(moved[0][TESTED.stepping :])
    assert not any(moved[1][: TESTED.stepping])


def test_the_share_is_held_out_the_same_patients_each_time_and_others_under_another_key_or_table() -> None:
    """False alarm below 1e-6: five standard deviations."""
    persons = np.arange(20_000, dtype=np.int64)
    spec = spec_of(held_out="0.2")
    mask = held_out(spec, persons, KEY)
    assert np.array_equal(mask, held_out(spec, persons, KEY))
    assert np.array_equal(mask[::-1], held_out(spec, persons[::-1].copy(), KEY)), "whoever else is there, and in whatever order"
    assert abs(int(mask.sum()) - 4_000) < 5 * np.sqrt(20_000 * 0.16)
    for other in (held_out(spec, persons, bytes(32)), held_out(spec.model_copy(update={"table": "other"}), persons, KEY)):
        assert abs(int((mask & other).sum()) - 800) < 5 * np.sqrt(20_000 * 0.04 * 0.96)


def test_each_held_out_patient_counts_once_in_the_bin_of_her_chance() -> None:
    rows = rows_of(list(range(40)), 3)
    found = held_out_sums(TESTED, rows, AT, chances)
    expected = np.zeros(8)
    for begin, end in _blocks(rows):
        chance = np.concatenate(list(chances(AT, Rows(rows.scaled[begin:end], rows.own[begin:end], np.array([0])))))
        for each, outcome in zip(chance, rows.scaled[begin:end, -1], strict=True):
            expected[int(outcome) * 4 + min(3, int(each * 4))] += TESTED.unit // (end - begin)
    assert np.array_equal(found, expected)
    assert abs(found.sum() / TESTED.unit - 40) < 0.01


@pytest.mark.parametrize("broken", [np.zeros((40, 1)), np.zeros(3), np.zeros(79, int), np.zeros(79, np.float16)], ids=str)
def test_chances_of_another_shape_or_type_are_an_error_that_shows_no_number(broken: Any) -> None:
    with pytest.raises(GradientError, match="expected"):
        held_out_sums(TESTED, rows_of(list(range(40)), 3), AT, lambda *_: iter([broken]))


def test_a_study_without_chances_is_an_error_in_the_test_and_nowhere_else() -> None:
    rows = rows_of(list(range(40)), 3)
    assert sums_of_rows(TESTED, rows, Round(AT, KEY), Asking(gradients)).any()
    with pytest.raises(StudyFailed, match="chances"):
        sums_of_rows(TESTED, rows, Round(AT, KEY, is_test=True), Asking(gradients))


class Recording:
    """The steps that a hospital makes, as they were before any noise."""

    def __init__(self, rows: Rows) -> None:
        self._rows, self.asked, self.exact = rows, list[Floats](), list[Integers]()

    def __call__(self, weights: Floats) -> Integers:
        self.asked.append(weights)
        self.exact.append(step_sums(LOCAL, self._rows, weights, gradients, os.urandom))
        return self.exact[-1]


def test_every_local_step_is_a_sum_with_whole_noise_and_the_next_one_sees_nothing_else() -> None:
    """Five standard errors of a variance, over 120 draws an entry."""
    variance, noises, seen = Fraction(10**6), [], set()
    for _ in range(120):
        recorded = Recording(rows_of(list(range(30)), 1))
        total = local_sums(LOCAL, AT, variance, recorded, os.urandom)
        assert len(recorded.exact) == 3
        assert np.array_equal(recorded.asked[0], AT)
        seen.add(recorded.asked[1].tobytes())
        noises.append(total - np.sum(recorded.exact, axis=0))
    spread = np.var(np.array(noises), axis=0) / (3 * float(variance))
    assert len(seen) == 120, "the same exact sum leads to other weights each time"
    assert np.abs(spread - 1).max() < 5 * np.sqrt(2 / 120)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(persons=persons_, gone=some.integers(0, 24))
def test_at_the_same_weights_one_patient_moves_a_local_step_by_no_more_than_is_charged(persons: list[int], gone: int) -> None:
    rest = [each for place, each in enumerate(persons) if place != gone % len(persons)]
    recorded = Recording(rows_of(persons, 2))
    local_sums(LOCAL, AT, Fraction(10**6), recorded, os.urandom)
    for weights, exact in zip(recorded.asked, recorded.exact, strict=True):
        moved = exact - step_sums(LOCAL, rows_of(rest, 2), weights, gradients, os.urandom)
        assert sum(int(each) ** 2 for each in moved) <= LOCAL.l2_squared


def test_a_local_step_is_no_longer_than_a_patients_gradient_may_be() -> None:
    recorded = Recording(rows_of([1], 2))
    local_sums(LOCAL, AT, Fraction(2**28), recorded, os.urandom)
    for before, after in pairwise(recorded.asked):
        assert np.linalg.norm(after - before) <= float(LOCAL.step) * LOCAL.clip * (1 + 1e-6) + 1e-5


def test_no_draw_of_noise_is_longer_than_the_ring_has_room_for() -> None:
    assert skellam_table(Fraction(2**28)).tail_bound * np.sqrt(MAX_VARIANCE / 2**28) < LONGEST_NOISE
    assert LOCAL.cell_max > 3 * LONGEST_NOISE
