"""A year of visits with their diagnoses and measurements, as arrays: who, where, when, of what.

Every visit has one first diagnosis; older people may have hypertension or diabetes written down beside it. A visit of the
outbreak is marked, so that the truth can be compared with what surveillance saw. The year is drawn first (`VisitPlan`), then
people are found for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from simulations.city.outbreak import Outbreak
from simulations.city.residents import Ints, Marks, Residents, district_index
from simulations.city.seasons import (
    CODES,
    DISEASES,
    Course,
    disease_index,
    expected_visits,
    first_code,
    year_days,
)

VISIT_CLASSES: Final = ("AMB", "EMER", "IMP")
DAY_MINUTES: Final = 24 * 60

# Earliest and latest start within the day, shortest and longest stay: in minutes, by VISIT_CLASSES.
_OPENS, _CLOSES = np.array([8 * 60, 0, 8 * 60]), np.array([17 * 60 + 30, DAY_MINUTES, 20 * 60])
_SHORTEST, _LONGEST = np.array([20, 40, DAY_MINUTES]), np.array([150, 600, 14 * DAY_MINUTES])


class Kind(NamedTuple):
    """What is measured: LOINC code, text, UCUM unit, and at which diseases (empty: at every one) how often."""

    loinc: str
    text: str
    unit: str
    category: str
    diseases: tuple[str, ...]
    share: float
    mean: float
    spread: float


TEMPERATURE: Final = 0
KINDS: Final = (
    Kind("8310-5", "体温", "Cel", "vital-signs", (), 0.55, 36.6, 0.4),
    Kind("8867-4", "心率", "/min", "vital-signs", (), 0.15, 84.0, 12.0),
    Kind("8480-6", "收缩压", "mm[Hg]", "vital-signs", ("hypertension",), 0.85, 146.0, 14.0),
    Kind("4548-4", "糖化血红蛋白", "%", "laboratory", ("type 2 diabetes",), 0.5, 7.6, 1.1),
    Kind("6690-2", "白细胞计数", "10*3/uL", "laboratory", ("pneumonia", "dengue", "influenza"), 0.6, 8.5, 2.2),
)

# Chronic illness beside the first diagnosis: name and share of visits by AGE_BANDS.
_BESIDE: Final = (
    ("hypertension", (0.0, 0.0, 0.0, 0.01, 0.08, 0.25, 0.35)),
    ("type 2 diabetes", (0.0, 0.0, 0.0, 0.01, 0.04, 0.12, 0.15)),
)


@dataclass(frozen=True, slots=True)
class Visits:
    """One row a visit, in order of time; `day` counts from New Year, `minute` from midnight, Guangzhou time."""

    resident: Ints
    day: Ints
    minute: Ints
    stay_minutes: Ints
    visit_class: Ints
    disease: Ints
    is_outbreak: Marks

    def __len__(self) -> int:
        return len(self.resident)


@dataclass(frozen=True, slots=True)
class Diagnoses:
    """One row a diagnosis, in order of visits: the visit's row and the index into CODES."""

    visit: Ints
    code: Ints


@dataclass(frozen=True, slots=True)
class Measurements:
    """One row a measured value, in order of visits: the visit's row, the index into KINDS, tenths of the unit."""

    visit: Ints
    kind: Ints
    tenths: Ints


class VisitPlan(NamedTuple):
    """Visits still without people: disease, day and whether the outbreak caused it."""

    disease: Ints
    day: Ints
    is_outbreak: Marks


def plan_year(year: int, visits: int, outbreak: Outbreak | None, rng: np.random.Generator) -> VisitPlan:
    """`visits` visits of the year, those of the outbreak among them."""
    extra = outbreak.visits if outbreak else 0
    if extra > visits:
        raise ValueError(f"outbreak: {extra} visits do not fit into a year of {visits}")
    rates = expected_visits(year)
    counts = rng.multinomial(visits - extra, rates.ravel())
    cells = np.repeat(np.arange(rates.size), counts)
    plan = VisitPlan(cells // rates.shape[1], cells % rates.shape[1], np.zeros(len(cells), dtype=np.bool_))
    return _with_outbreak(plan, year, outbreak, rng) if outbreak else plan


def _with_outbreak(plan: VisitPlan, year: int, outbreak: Outbreak, rng: np.random.Generator) -> VisitPlan:
    first = int((np.datetime64(outbreak.first_day, "D") - np.datetime64(f"{year}-01-01", "D")).astype(np.int64))
    days = first + outbreak.days_of_visits(rng)
    if first < 0 or first + 7 * outbreak.weeks > len(year_days(year)):
        raise ValueError(f"outbreak: {outbreak.first_day} and {outbreak.weeks} weeks do not lie within {year}")
    return VisitPlan(
        np.concatenate([plan.disease, np.full(len(days), disease_index(outbreak.disease))]),
        np.concatenate([plan.day, days]),
        np.concatenate([plan.is_outbreak, np.ones(len(days), dtype=np.bool_)]),
    )


def draw_visits(plan: VisitPlan, residents: Residents, outbreak: Outbreak | None, rng: np.random.Generator) -> Visits:
    """Finds a resident, a class of visit and a time of day for every planned visit."""
    visit_class = _classes(plan.disease, rng)
    minute = rng.integers(_OPENS[visit_class], _CLOSES[visit_class])
    order = np.argsort(plan.day * DAY_MINUTES + minute, kind="stable")
    visit_class = visit_class[order]
    return Visits(
        resident=_people(plan, residents, outbreak, rng)[order],
        day=plan.day[order],
        minute=minute[order],
        stay_minutes=rng.integers(_SHORTEST[visit_class], _LONGEST[visit_class]),
        visit_class=visit_class,
        disease=plan.disease[order],
        is_outbreak=plan.is_outbreak[order],
    )


def _classes(disease: Ints, rng: np.random.Generator) -> Ints:
    classes = np.empty(len(disease), dtype=np.int64)
    for course in Course:
        of_course = np.array([each.course is course for each in DISEASES])[disease]
        classes[of_course] = rng.choice(len(VISIT_CLASSES), size=int(of_course.sum()), p=course.value)
    return classes


def _people(plan: VisitPlan, residents: Residents, outbreak: Outbreak | None, rng: np.random.Generator) -> Ints:
    people = np.empty(len(plan.day), dtype=np.int64)
    for index, disease in enumerate(DISEASES):
        chances = np.array(disease.age_weights)[residents.age_band]
        _fill(people, (plan.disease == index) & ~plan.is_outbreak, chances, rng)
        if outbreak and outbreak.disease == disease.name:
            lives_there = residents.district == district_index(outbreak.adcode)
            _fill(people, plan.is_outbreak, chances * lives_there, rng)
    return people


def _fill(people: Ints, rows: Marks, chances: np.ndarray[tuple[int], np.dtype[np.float64]], rng: np.random.Generator) -> None:
    ladder = np.cumsum(chances)
    people[rows] = np.searchsorted(ladder, rng.random(int(rows.sum())) * ladder[-1], side="right")


def draw_diagnoses(visits: Visits, residents: Residents, rng: np.random.Generator) -> Diagnoses:
    """The first diagnosis of every visit, and the chronic ones written beside it."""
    rows, codes = [np.arange(len(visits))], [_spelled(visits.disease, rng)]
    age_band = residents.age_band[visits.resident]
    for name, shares in _BESIDE:
        disease = disease_index(name)
        beside = (rng.random(len(visits)) < np.array(shares)[age_band]) & (visits.disease != disease)
        rows.append(np.flatnonzero(beside))
        codes.append(_spelled(np.full(int(beside.sum()), disease), rng))
    visit, code = np.concatenate(rows), np.concatenate(codes)
    order = np.argsort(visit, kind="stable")
    return Diagnoses(visit[order], code[order])


def _spelled(disease: Ints, rng: np.random.Generator) -> Ints:
    codes = np.empty(len(disease), dtype=np.int64)
    for index, each in enumerate(DISEASES):
        rows = disease == index
        shares = np.array([code.share for code in each.codes])
        picked = rng.choice(len(each.codes), size=int(rows.sum()), p=shares / shares.sum())
        codes[rows] = first_code(index) + picked
    assert len(codes) == 0 or codes.max() < len(CODES)
    return codes


def draw_measurements(visits: Visits, rng: np.random.Generator) -> Measurements:
    """Temperatures that fit the disease, and what else is measured at it."""
    rows, kinds, tenths = [], [], []
    for index, kind in enumerate(KINDS):
        chance = np.where(_measured_at(kind)[visits.disease], kind.share, 0.0)
        taken = np.flatnonzero(rng.random(len(visits)) < chance)
        mean = _fevers()[visits.disease[taken]] if index == TEMPERATURE else np.full(len(taken), kind.mean)
        rows.append(taken)
        kinds.append(np.full(len(taken), index))
        tenths.append(np.maximum(1, np.rint(10 * rng.normal(mean, kind.spread))).astype(np.int64))
    visit = np.concatenate(rows)
    order = np.argsort(visit, kind="stable")
    return Measurements(visit[order], np.concatenate(kinds)[order], np.concatenate(tenths)[order])


def _measured_at(kind: Kind) -> Marks:
    return np.array([not kind.diseases or disease.name in kind.diseases for disease in DISEASES])


def _fevers() -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([disease.fever_celsius or KINDS[TEMPERATURE].mean for disease in DISEASES])
