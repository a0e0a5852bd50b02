"""A meta-analysis over hospitals' own differences is the classical one, and one patient moves no entry further than is proved."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from coordinator.client.fits import read_result
from hospital_node.fits.rows import Rows
from hospital_node.fits.sums import hospital_sums
from privacy.rdp import on_grid_up, share_variance
from privacy.sampler import draw
from privacy.tables import skellam_table
from protocols.fits import MetaAnalysis
from tests.coordinator.client.fits.city import rows, spec
from tests.coordinator.test_training import BINDING

PRESSURE = {"column": "pressure", "low": "60", "high": "200", "unit": ""}
SEX = {"column": "sex", "categories": ["female", "male"]}
FIT: Any = spec("meta_analysis", outcome=PRESSURE, groups=SEX, within_sd="10")
TRUE = (4.0, 6.0, 8.0, 10.0)


def _hospital(random: np.random.Generator, difference: float, size: int) -> dict[str, Any]:
    male = random.integers(0, 2, size)
    pressure = random.normal(130, 10, size) - difference * male
    return {"pressure": pressure, "sex": np.where(male == 1, "male", "female")}


def _reference(hospitals: list[dict[str, Any]]) -> tuple[float, float, float]:
    """Inverse-variance weights at the public spread: effect, its standard error, Q."""
    effects, weights = [], []
    for each in hospitals:
        women, men = (each["pressure"][each["sex"] == sex] for sex in ("female", "male"))
        effects.append(women.mean() - men.mean())
        weights.append(1 / (100 / len(women) + 100 / len(men)))
    theta, w = np.array(effects), np.array(weights)
    mean = (w * theta).sum() / w.sum()
    return mean, w.sum() ** -0.5, (w * (theta - mean) ** 2).sum()


def test_effect_q_and_i_squared_are_the_classical_ones() -> None:
    random = np.random.default_rng(1)
    hospitals = [_hospital(random, true, size) for true, size in zip(TRUE, (900, 46, 300, 2000), strict=True)]
    effect, error, q = _reference(hospitals)
    total = np.sum([hospital_sums(FIT, rows(FIT, each)) for each in hospitals], axis=0)
    found = read_result(FIT, total, Fraction(0), len(hospitals))
    assert found.estimates[0].value == pytest.approx(effect, rel=1e-3)
    assert found.estimates[0].standard_error == pytest.approx(error, rel=1e-3)
    assert found.figures["Q"] == pytest.approx(q, rel=0.02)
    assert found.figures["I squared"] == pytest.approx(1 - 3 / q, abs=0.01)


def test_a_hospital_without_one_of_the_groups_adds_nothing() -> None:
    one_class = {"pressure": np.array([100.0, 120.0]), "sex": np.array(["male", "male"])}
    assert hospital_sums(FIT, rows(FIT, one_class)).tolist() == [0, 0, 0]


@pytest.mark.statistical
def test_intervals_hold_the_effect_as_often_as_they_say() -> None:
    # 100 runs at 95 %: at most 82 hold with probability 5e-6 (exact binomial).
    held, sd = 0, 12.0
    share = share_variance(on_grid_up(Fraction(sd * FIT.scale) ** 2), BINDING.n, BINDING.c)
    for run in range(100):
        random = np.random.default_rng((run, 9))
        sums = [hospital_sums(FIT, rows(FIT, _hospital(random, 7.0, 800))) for _ in range(4)]
        noise = [draw(skellam_table(share), FIT.width, random.bytes) for _ in range(4)]
        (each,) = read_result(FIT, np.sum([*sums, *noise], axis=0), 4 * share, 4).estimates
        held += each.lower <= 7.0 <= each.upper
    assert held >= 83


_patient = some.lists(some.tuples(some.sampled_from([-1.0, 1.0, 0.3]), some.sampled_from([0, 1, 2])), min_size=1, max_size=4)


@given(some.lists(_patient, min_size=1, max_size=25), some.integers(0, 24))
@settings(max_examples=300, deadline=None)
def test_one_patient_moves_no_entry_by_more_than_is_proved(patients: list[list[tuple[float, int]]], chosen: int) -> None:
    """Rows of the extremes and between, in either group or in none, several a patient; the bound is reached within a half."""
    kept = [each for n, each in enumerate(patients) if n != chosen % len(patients)]
    moved = np.abs(_sums(patients) - _sums(kept))
    assert (moved <= FIT.scale + 1).all()


def _sums(patients: list[list[tuple[float, int]]]) -> Any:
    assert isinstance(FIT, MetaAnalysis)
    if not patients:
        return np.zeros(3, np.int64)
    held = np.array([[value, group == 0, group == 1] for each in patients for value, group in each], np.float64)
    starts = np.cumsum([0, *(len(each) for each in patients[:-1])])
    return hospital_sums(FIT, Rows(held, held, starts))
