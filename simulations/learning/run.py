"""`kapok-sim learn`: one study, many virtual hospitals, trained twice in Flower's Simulation Engine: with the noise, and without.

Accuracy and log-loss are those on unseen invented patients, which only a simulation has for nothing.
"""

import logging
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from hospital_node.fits.bounded import Floats
from hospital_node.studies.installed import installed_studies
from privacy.intervals import Release, ReleasedPiece, statements
from privacy.rdp import LARGEST_RELEASE_VARIANCE, share_variance
from privacy.sensitivity import Sensitivity
from privacy.subsampling import sampled_variance_for
from privacy.tables import skellam_table
from protocols.asked import variance_text
from protocols.contract import CONTRACT, colluders
from protocols.fits import Training
from protocols.fits.training import Strategy
from simulations.learning.table import FEATURES, OUTCOME, unseen

Step = Callable[[], None]
"""Called after each round."""
OPTIONS: dict[Strategy, tuple[tuple[str, str], ...]] = {
    Strategy.FED_AVG_M: (("server_momentum", "0.5"),),
    Strategy.FED_ADAM: (("eta", "0.05"),),
    Strategy.FED_YOGI: (("eta", "0.05"),),
    Strategy.FED_ADAGRAD: (("eta", "0.2"),),
}
STEPS = {Strategy.FED_AVG: "4", Strategy.FED_PROX: "4", Strategy.FED_AVG_M: "2"}
"""Of the mean gradient; the adaptive strategies scale it themselves."""


@dataclass(frozen=True, slots=True)
class Point:
    """A model on unseen patients."""

    round: int
    accuracy: float
    log_loss: float


@dataclass(frozen=True, slots=True)
class Learned:
    """Both trainings. `epsilon` is a patient's of one hospital at delta, for all rounds; curves begin with the first weights."""

    study: str
    strategy: str
    hospitals: int
    epsilon: float
    private: tuple[Point, ...]
    without_noise: tuple[Point, ...]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "delta": float(CONTRACT.delta)}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person asks for. `price` is of all rounds together, in Renyi budget, as `kapok train --price`."""

    study: str
    strategy: Strategy
    hospitals: int
    rounds: int
    price: Fraction
    sampled: Fraction
    seed: int


def averaging(name: str) -> Strategy:
    """Raises LookupError for a strategy that is none of Flower's averaging ones."""
    known = [each for each in Strategy if each is not Strategy.SGD]
    if name not in known:
        raise LookupError(f"strategy: expected one of {', '.join(known)}")
    return Strategy(name)


def learn(wanted: Wanted, step: Step) -> Learned:
    """Needs the extra `learning`. Raises LookupError for a study that is not installed, PrivacyError for a price without noise."""
    for name in ("FLWR_TELEMETRY_ENABLED", "RAY_USAGE_STATS_ENABLED", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"):
        os.environ[name] = "0"  # a simulation tells nobody; and no warning of an option that has no use here
    from flwr.simulation import run_simulation

    from simulations.learning.virtual import Setting, hospital_app, server_app, study_of

    target = _target(wanted.study)
    study, spec = study_of(target), _training(wanted, 1)
    spec = _training(wanted, study.prepare(len(FEATURES)))
    variance = sampled_variance_for(CONTRACT.order, wanted.price / wanted.rounds, spec.rate, spec.l1, spec.l2_squared)
    curves: list[list[Point]] = [[], []]
    tested, settings = unseen(wanted.seed), []
    for curve, noise in zip(curves, (variance, Fraction(0)), strict=True):
        setting = Setting(spec.model_dump_json(), target, variance_text(noise), wanted.hospitals, wanted.seed)
        curve.append(_point(study, tested, 0, spec.start()))
        settings.append((setting, _follower(study, tested, curve, step)))
    logging.getLogger("flwr").setLevel(logging.CRITICAL)  # what fails is told once, by us
    run_simulation(server_app(settings, wanted.rounds), hospital_app(), wanted.hospitals, backend_config=_BACKEND)
    epsilon = _epsilon(spec, wanted, variance)
    return Learned(wanted.study, wanted.strategy.value, wanted.hospitals, epsilon, tuple(curves[0]), tuple(curves[1]))


_BACKEND: Any = {
    "init_args": {"log_to_driver": False, "logging_level": logging.ERROR, "include_dashboard": False},
    "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
}


def _target(name: str) -> str:
    installed = installed_studies()
    if name not in installed:
        raise LookupError(f"{name}: no installed study of this name; there are {', '.join(sorted(installed))}")
    return installed[name].target


def _training(wanted: Wanted, weights: int) -> Training:
    here = installed_studies()[wanted.study]
    fields = {
        "study": {"name": wanted.study, "version": here.version, "sha256": here.sha256},
        "table": "invented", "catalogue": "invented-1", "outcome": OUTCOME.model_dump(),
        "features": [each.model_dump() for each in FEATURES], "weights": weights, "longest": "1", "fineness": _fineness(wanted),
        "sampled": f"{float(wanted.sampled):g}", "step": STEPS.get(wanted.strategy, "1"), "strategy": wanted.strategy,
        "options": OPTIONS.get(wanted.strategy, ()), "spread": "0.25", "seed": wanted.seed % 2**31,
    }  # fmt: skip
    return Training.model_validate(fields, strict=False)


def _fineness(wanted: Wanted) -> int:
    """As fine as noise of this price leaves it within the largest variance, were nobody sampled."""
    sd_per_reach = math.sqrt(CONTRACT.order * wanted.rounds / (2 * wanted.price))
    return max(64, min(2048, int(math.sqrt(LARGEST_RELEASE_VARIANCE) / (1.5 * sd_per_reach))))


def _follower(study: Any, tested: Floats, curve: list[Point], step: Step) -> Callable[[int, Floats], None]:
    def told(number: int, weights: Floats) -> None:
        curve.append(_point(study, tested, number, weights))
        step()

    return told


def _point(study: Any, tested: Floats, number: int, weights: Floats) -> Point:
    study.begin(weights)
    chance, outcome = np.asarray(study.chances(tested[:, :-1]), np.float64), tested[:, -1] > 0
    right = np.clip(np.where(outcome, chance, 1.0 - chance), 1e-12, 1.0)
    return Point(number, float(((chance > 0.5) == outcome).mean()), float(-np.log(right).mean()))


def _epsilon(spec: Training, wanted: Wanted, variance: Fraction) -> float:
    """As an answer would state it."""
    n, moved = wanted.hospitals, Sensitivity(spec.l1, spec.l2_squared)
    distance = skellam_table(share_variance(variance, n, colluders(n))).distance
    piece = ReleasedPiece(moved, variance, spec.width * CONTRACT.attempts, distance, rate=spec.rate)
    facts = Release(CONTRACT.order, (piece,) * wanted.rounds, n, colluders(n), n, 1)
    return float(statements(facts)[0].epsilon)
