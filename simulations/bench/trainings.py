"""What a way of training is worth: DP-FedAvg beside distributed DP-SGD at the same price, on invented hospitals.

Both take the product's steps without the wire: sampled, clipped, whole, with noise by the product's sampler, in as many
steps. Chance is in all of it (cities, noise), so a row is a mean over many.
"""

from collections.abc import Iterator

import numpy as np

from hospital_node.fits.bounded import Floats
from hospital_node.fits.gradients import Asking, Round, sums_of_rows
from hospital_node.fits.rows import Rows
from privacy.conversion import budget_for
from privacy.rdp import share_variance, skellam_variance_for
from privacy.sampler import draw
from privacy.tables import skellam_table
from protocols.contract import colluders
from protocols.fits import FedAvgTraining, Training
from simulations.bench.rows import Row, load
from simulations.heart_training import DELTA, FEATURES, ONE, Data, invented, training_of

STEPS, LOCAL_STEPS = 12, 4
"""Gradient steps of either training; DP-FedAvg makes four of them between two sums."""
CITIES = 20
HOSPITALS = (4, 40)
COPIES = 10
"""Ten times the patients of the UCI table's four hospitals, in as many hospitals or in ten times as many."""


def rows(is_quick: bool = False) -> list[Row]:
    return [_accuracy(hospitals, 2 if is_quick else CITIES) for hospitals in HOSPITALS]


def _accuracy(many: int, cities: int) -> Row:
    source, found = np.random.default_rng(2), []
    for _ in range(cities):
        hospitals = _city(source, many)
        learn, test = [(x[::2], y[::2]) for x, y in hospitals], [(x[1::2], y[1::2]) for x, y in hospitals]
        specs = _specs(sum(len(y) for _, y in learn))
        found.append([_right(_trained(spec, rounds, learn), test) for spec, rounds in specs])
    local, distributed = np.mean(found, axis=0)
    error = np.diff(found, axis=1).std() / cities**0.5
    patients = sum(len(y) for _, y in hospitals)
    how = (
        f"{many} invented hospitals, {patients:,} patients, half to learn from; epsilon 1 at delta 1e-3, {STEPS} steps, "
        f"{LOCAL_STEPS} a round; mean of {cities} cities (the difference has a standard error of {error:.3f}); {load()}"
    )
    return Row.measured("accuracy of DP-FedAvg beside distributed DP-SGD", "share", float(local), how, reference=float(distributed))


def _specs(patients: int) -> list[tuple[Training, int]]:
    plain = training_of(ONE, patients).model_copy(update={"batch": None, "fineness": 256})
    fields = {**plain.to_json(), "fit": "dp_fedavg", "version": 3, "local_steps": LOCAL_STEPS}
    return [(FedAvgTraining.model_validate(fields, strict=False), STEPS // LOCAL_STEPS), (plain, STEPS)]


def _city(source: np.random.Generator, many: int) -> list[Data]:
    """Patients of one population at this many hospitals: what the settings were searched on, ten times over."""
    weights = source.normal(0, 1, len(FEATURES) + 1)
    parts = [features for _ in range(COPIES) for features, _ in invented(source)]
    columns = parts if many > 4 else [np.concatenate(parts[place::4]) for place in range(4)]
    chance = [1 / (1 + np.exp(-each @ weights)) for each in columns]
    return [(x, (source.uniform(size=len(x)) < p).astype(float)) for x, p in zip(columns, chance, strict=True)]


def _trained(spec: Training, rounds: int, hospitals: list[Data]) -> Floats:
    budget = budget_for(ONE.epsilon, DELTA, ONE.order)
    variance = skellam_variance_for(ONE.order, budget / (rounds * spec.steps_a_round), spec.l1, spec.l2_squared)
    weights, n = spec.start(), len(hospitals)
    share = skellam_table(share_variance(variance, n, colluders(n)))
    for _ in range(rounds):
        at, asking = Round(weights, variance=variance), Asking(_gradients)
        sums = [sums_of_rows(spec, _rows(*each), at, asking) + draw(share, spec.width) for each in hospitals]
        weights = spec.stepped(weights, np.sum(sums, axis=0).astype(np.float64))
    return weights


def _rows(features: Floats, outcome: Floats) -> Rows:
    table = np.column_stack([features, outcome])
    return Rows(table, table, np.arange(len(table), dtype=np.int64))


def _gradients(weights: Floats, rows: Rows) -> Iterator[Floats]:
    """As `hospital_node.studies.study.Logistic`, all rows at once; the intercept is the first column."""
    features, outcome = rows.scaled[:, :-1], rows.scaled[:, -1]
    yield (1 / (1 + np.exp(-np.sum(features * weights, axis=1))) - outcome)[:, None] * features


def _right(weights: Floats, hospitals: list[Data]) -> float:
    return float(np.concatenate([(x @ weights > 0) == (y > 0) for x, y in hospitals]).mean())
