"""Heart disease at four real hospitals, by distributed DP-SGD: how good a model one gets for a stated privacy.

The UCI table, FLamby's thirteen columns and split (per hospital, stratified, two thirds to learn from), other seeds for further
splits. Each step is a product step without the wire: clip and integers of `hospital_node.fits.bounded`, every hospital's Skellam
share by the product's sampler (sized for one colluder of four, as in a round), the step of `protocols.fits.training`.

Preprocessing is public: clinical ranges, written here before any row was read. Steps, step length and clip come from searches on
invented populations (`searched`), never from this table.
"""

import itertools
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hospital_node.fits.bounded import Bound, summed
from privacy.conversion import budget_for
from privacy.rdp import share_variance, skellam_variance_for
from privacy.sampler import draw
from privacy.tables import skellam_table
from protocols.contract import colluders
from protocols.fits import Category, Floats, Numeric, Training
from protocols.fits.training import Study

HOSPITALS = ("cleveland", "hungarian", "switzerland", "va")
TRAINED = 0.66
SEEDS = (42, 43, 44, 45, 46)
"""FLamby splits with 43; its benchmark's five repetitions start at 42."""
DELTA = Fraction(1, 1000)
PLACES = {"age": 0, "sex": 1, "cp": 2, "trestbps": 3, "chol": 4, "fbs": 5, "restecg": 6, "thalach": 7, "exang": 8, "oldpeak": 9}
NUMBERS = {
    "age": ("30", "80"), "sex": ("0", "1"), "trestbps": ("90", "170"), "chol": ("120", "360"), "fbs": ("0", "1"),
    "thalach": ("90", "190"), "exang": ("0", "1"), "oldpeak": ("-1", "3"),
}  # fmt: skip
FEATURES: tuple[Numeric | Category, ...] = (
    *(Numeric(column=name, low=low, high=high) for name, (low, high) in NUMBERS.items()),
    *(Category(column="cp", category=str(kind)) for kind in (2, 3, 4)),
    *(Category(column="restecg", category=str(kind)) for kind in (1, 2)),
)


@dataclass(frozen=True, slots=True)
class Setting:
    """A privacy, fixed beforehand, and how to spend it."""

    epsilon: Fraction
    order: int
    rounds: int
    step: str
    longest: str
    fineness: int


ONE = Setting(Fraction(1), 10, 12, "4", "1", 1024)
TENTH = Setting(Fraction(1, 10), 51, 12, "2", "0.5", 400)
Data = tuple[Floats, Floats]


def read(folder: Path) -> list[Data]:
    """Features in [-1, 1] and the outcome, of the complete rows of each hospital."""
    return [_hospital(folder / f"processed.{name}.data") for name in HOSPITALS]


def _hospital(path: Path) -> Data:
    rows = [line.split(",") for line in path.read_text().split()]
    kept = [[float(cell) for place, cell in enumerate(row) if place not in (10, 11, 12)] for row in rows if _is_complete(row)]
    table = np.array(kept)
    return np.column_stack([np.ones(len(table)), *(_feature(each, table) for each in FEATURES)]), (table[:, 10] > 0).astype(float)


def _is_complete(row: Sequence[str]) -> bool:
    return "?" not in [cell for place, cell in enumerate(row) if place not in (10, 11, 12)]


def _feature(variable: Numeric | Category, table: Floats) -> Floats:
    values = table[:, PLACES[variable.column]]
    if isinstance(variable, Category):
        return np.asarray(values == float(variable.category), np.float64)
    scaled: Floats = np.clip((values - variable.middle) / variable.half, -1.0, 1.0)
    return scaled


def split(outcome: Floats, seed: int) -> "tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]":
    """To learn from and to test on: scikit-learn's stratified `train_test_split` as FLamby calls it, number for number."""
    many, source = len(outcome), np.random.RandomState(seed)
    tested, trained = math.ceil((1 - TRAINED) * many), math.floor(TRAINED * many)
    counts = np.bincount(outcome.astype(int), minlength=2)
    if counts.min() <= 2:
        order = source.permutation(many)
        return order[tested : tested + trained], order[:tested]
    of_class = np.split(np.argsort(outcome, kind="mergesort"), np.cumsum(counts)[:-1])
    first = _share(counts, trained, source)
    second = _share(counts - first, tested, source)
    mixed = [each[source.permutation(len(each))] for each in of_class]
    learn = np.concatenate([each[:n] for each, n in zip(mixed, first, strict=True)])
    test = np.concatenate([each[n : n + m] for each, n, m in zip(mixed, first, second, strict=True)])
    return source.permutation(learn), source.permutation(test)


def _share(counts: "npt.NDArray[np.int64]", wanted: int, source: np.random.RandomState) -> "npt.NDArray[np.int64]":
    exact = counts / counts.sum() * wanted
    share, missing = np.floor(exact), int(wanted - np.floor(exact).sum())
    for value in np.sort(np.unique(exact - np.floor(exact)))[::-1]:
        places = np.flatnonzero(exact - np.floor(exact) == value)
        more = source.choice(places, size=min(len(places), missing), replace=False) if missing else places[:0]
        share[more] += 1
        missing -= len(more)
    return np.asarray(share, np.int64)


def training_of(setting: Setting, patients: int) -> Training:
    """The question that a researcher would sign; who takes part is everybody, each round."""
    return Training(
        study=Study(name="logistic", version="0.1.0", sha256="0" * 64), table="heart", catalogue="heart-1",
        outcome=Category(column="num", category="1"), features=FEATURES, weights=len(FEATURES) + 1, longest=setting.longest,
        fineness=setting.fineness, step=setting.step, batch=patients,
    )  # fmt: skip


def variance_of(setting: Setting, spec: Training) -> Fraction:
    """The noise at which all rounds together cost the whole budget of this epsilon, at the order fixed beforehand."""
    budget = budget_for(setting.epsilon, DELTA, setting.order)
    return skellam_variance_for(setting.order, budget / setting.rounds, spec.l1, spec.l2_squared)


def trained(spec: Training, rounds: int, variance: Fraction, hospitals: Sequence[Data]) -> Floats:
    """The released weights of one training."""
    bound, weights, n = Bound(spec.weights, spec.clip, spec.scale), spec.start(), len(hospitals)
    table = skellam_table(share_variance(variance, n, colluders(n)))
    for _ in range(rounds):
        shares = [summed(_gradients(weights, *each), bound) + draw(table, spec.weights) for each in hospitals]
        weights = spec.stepped(weights, np.sum(shares, axis=0).astype(np.float64))
    return weights


def _gradients(weights: Floats, features: Floats, outcome: Floats) -> Floats:
    """As `hospital_node.studies.study.Logistic`, all rows at once."""
    wrong = 1 / (1 + np.exp(-np.sum(features * weights, axis=1))) - outcome
    rows: Floats = wrong[:, None] * features
    return rows


def accuracies(setting: Setting, hospitals: Sequence[Data], draws: int, seeds: Sequence[int] = SEEDS) -> Floats:
    """On the pooled test rows: a row a split, a column a training with noise of its own."""
    return np.array([list(_of_split(setting, hospitals, seed, draws)) for seed in seeds])


def _of_split(setting: Setting, hospitals: Sequence[Data], seed: int, draws: int) -> Iterator[float]:
    parts = [split(outcome, seed) for _, outcome in hospitals]
    learn = [(x[rows], y[rows]) for (x, y), (rows, _) in zip(hospitals, parts, strict=True)]
    features, outcome = (
        np.concatenate([each[kind][rows] for each, (_, rows) in zip(hospitals, parts, strict=True)]) for kind in (0, 1)
    )
    spec = training_of(setting, sum(len(y) for _, y in learn))
    variance = variance_of(setting, spec)
    for _ in range(draws):
        weights = trained(spec, setting.rounds, variance, learn)
        yield float(((features @ weights > 0) == (outcome > 0)).mean())


def lower_bounds(found: Floats) -> tuple[float, float]:
    """Of the mean accuracy at 95 %: over all trainings, and (wider) by the splits alone, with Student's t of four degrees."""
    of_splits = found.mean(axis=1)
    all_ = float(found.mean() - 1.96 * found.std(ddof=1) / math.sqrt(found.size))
    return all_, float(found.mean() - 2.776 * of_splits.std(ddof=1) / math.sqrt(len(of_splits)))


# -- how the settings were chosen


def invented(source: np.random.Generator) -> list[Data]:
    """Four hospitals of a population that never was: columns of these kinds, weights drawn anew."""
    weights = source.normal(0, 1, len(FEATURES) + 1)
    return [_invented(source, weights, many) for many in (303, 261, 46, 130)]


def _invented(source: np.random.Generator, weights: Floats, many: int) -> Data:
    pain, ecg = source.integers(1, 5, many), source.integers(0, 3, many)
    columns = [np.ones(many)]
    for each in FEATURES:
        if isinstance(each, Category):
            columns.append(((pain if each.column == "cp" else ecg) == int(each.category)).astype(float))
        elif (each.low, each.high) == ("0", "1"):
            columns.append(np.where(source.uniform(size=many) < 0.4, 1.0, -1.0))
        else:
            columns.append(np.clip(source.normal(0, 0.5, many), -1, 1))
    features = np.column_stack(columns)
    return features, (source.uniform(size=many) < 1 / (1 + np.exp(-features @ weights))).astype(float)


def searched(epsilon: Fraction, order: int, populations: int = 12) -> list[tuple[float, Setting]]:
    """Settings by their mean accuracy on invented populations, the best first."""
    found, source = [], np.random.default_rng(1)
    cities = [invented(source) for _ in range(populations)]
    room = 15_000 if epsilon < 1 else 12_000
    for rounds, step, longest in itertools.product((3, 6, 12, 24), ("1", "2", "4", "8"), ("0.5", "1", "1.5")):
        sd_per_reach = math.sqrt(order * rounds / (2 * float(budget_for(epsilon, DELTA, order))))
        setting = Setting(epsilon, order, rounds, step, longest, max(16, int(room / sd_per_reach / float(longest))))
        found.append((float(np.mean([accuracies(setting, city, 2, (42,)) for city in cities])), setting))
    return sorted(found, key=lambda each: -each[0])


if __name__ == "__main__" and "--search" in sys.argv:
    for privacy, at in ((Fraction(1), 10), (Fraction(1, 10), 51)):
        for accuracy, best in searched(privacy, at)[:5]:
            print(f"{accuracy:.4f}", best)
