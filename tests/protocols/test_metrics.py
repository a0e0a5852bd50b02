"""Metrics on held-out patients from released counts: what they are without noise, and how often their intervals hold the truth."""

import math

import numpy as np
import pytest

from protocols.fits import Evaluated
from protocols.fits.metrics import Measured, measured, metrics_of
from tests.hospital_node.studies.specs import training

BINS = 10


def _population(draw: np.random.Generator, many: int) -> tuple[np.ndarray, np.ndarray]:
    """Chances from public beta distributions, and outcomes."""
    outcome = draw.uniform(size=many) < 0.4
    return np.where(outcome, draw.beta(4, 2, many), draw.beta(2, 3, many)), outcome


def _histogram(chance: np.ndarray, outcome: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    place = np.minimum((chance * BINS).astype(int), BINS - 1)
    without, having = (np.bincount(place[each], minlength=BINS).astype(float) for each in (~outcome, outcome))
    return without, having


def _told(found: tuple[Measured, ...]) -> dict[str, float]:
    return {each.name: float(each.value) for each in found}


def test_without_noise_they_are_what_the_patients_say() -> None:
    chance, outcome = _population(np.random.default_rng(1), 500)
    told = _told(measured(*_histogram(chance, outcome), 0.0))
    place = np.minimum((chance * BINS).astype(int), BINS - 1)
    assert told["accuracy"] == pytest.approx(((chance >= 0.5) == outcome).mean(), abs=1e-6)
    pairs = place[outcome][:, None] - place[~outcome][None, :]
    assert told["AUC"] == pytest.approx((pairs > 0).mean() + (pairs == 0).mean() / 2, abs=1e-6)
    middle = (place + 0.5) / BINS
    assert told["log-loss"] == pytest.approx(-np.log(np.where(outcome, middle, 1 - middle)).mean(), abs=1e-6)


@pytest.mark.statistical
@pytest.mark.parametrize("sd", [0.0, 8.0])
def test_an_interval_holds_the_population_19_times_of_20(sd: float) -> None:
    """2,000 draws: at 95 % the share found lies above 93.2 % but for 2e-4 of runs; three metrics, two noises: below 2e-3 in all."""
    draw, held = np.random.default_rng(), {"accuracy": 0, "AUC": 0, "log-loss": 0}
    truth = _told(measured(*_histogram(*_population(draw, 2_000_000)), 0.0))
    for _ in range(2_000):
        without, having = _histogram(*_population(draw, 600))
        noise = [draw.normal(0, sd, BINS) for _ in range(2)]
        for each in measured(without + noise[0], having + noise[1], sd):
            held[each.name] += float(each.low) <= truth[each.name] <= float(each.high)
    assert min(held.values()) > 0.932 * 2_000, held


def test_fewer_patients_than_the_noise_shows_have_no_metrics() -> None:
    assert measured([10.0] * BINS, [3.0] * BINS, 5.0) == ()
    assert measured([10.0] * BINS, [3.0] * BINS, 0.1)
    assert measured([0.0] * BINS, [0.0] * BINS, 0.0) == ()


@pytest.mark.parametrize("counts", [([50.0] + [0.0] * 9, [0.0] * 9 + [50.0]), ([-900.0] + [999.0] * 9, [999.0] * 10)])
def test_whatever_was_released_a_metric_stays_in_its_range(counts: tuple[list[float], list[float]]) -> None:
    for each in measured(*counts, 4.0):
        most = -math.log(0.5 / BINS) if each.name == "log-loss" else 1.0
        assert 0 <= float(each.low) <= float(each.value) <= float(each.high) <= most + 1e-6


def test_they_are_read_off_the_released_integers_in_the_units_in_which_they_were_counted() -> None:
    spec = Evaluated.model_validate({**training().to_json(), "version": 3, "bins": 4, "sharpness": 9}, strict=False)
    counts = [40, 30, 20, 10, 5, 15, 25, 35]
    values = [*range(spec.inputs), *[7] * spec.stepping, *(each * spec.unit for each in counts)]
    variance = f"{(3 * spec.unit) ** 2}.0000"
    expected = measured([40.0, 30.0, 20.0, 10.0], [5.0, 15.0, 25.0, 35.0], 3.0)
    assert metrics_of(spec, values, variance) == expected
    assert [each.name for each in expected] == ["accuracy", "AUC", "log-loss"]
