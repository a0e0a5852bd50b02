"""Hospitals of uneven size, and which of them a resident goes to.

The k-th hospital has weight 1 / k^0.6, so of six the largest is about three times the smallest. A resident prefers a
hospital of the own district NEAR times as much as another of the same size. A fixed share of the patients is seen at
two hospitals; each hospital knows only its own part of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from simulations.city.residents import DISTRICTS, Ints, Marks, Residents, district_index

NEAR: Final = 3.0
TWO_HOSPITAL_SHARE: Final = 0.08
SECOND_VISIT_SHARE: Final = 0.4

# The order in which districts get a hospital: the old centre first, as in the city.
_SITES: Final = (
    "440104", "440106", "440105", "440111", "440113", "440103", "440112", "440118", "440114", "440115", "440117",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Hospital:
    """A hospital's name (as in `kapok://hospital/<name>`), district and weight in residents' choice."""

    name: str
    adcode: str
    weight: float


def open_hospitals(count: int) -> tuple[Hospital, ...]:
    """The first `count` hospitals, largest first; the same names for every seed."""
    if count < 1:
        raise ValueError(f"hospitals: expected at least 1, got {count}")
    return tuple(_hospital(index) for index in range(count))


def _hospital(index: int) -> Hospital:
    adcode = _SITES[index % len(_SITES)]
    latin = DISTRICTS[district_index(adcode)].latin
    return Hospital(f"{latin}-{index // len(_SITES) + 1}", adcode, 1 / (index + 1) ** 0.6)


def home_hospitals(residents: Residents, hospitals: tuple[Hospital, ...], rng: np.random.Generator) -> Ints:
    """For every resident the index of the hospital they usually go to."""
    weights = np.array([hospital.weight for hospital in hospitals])
    sites = np.array([district_index(hospital.adcode) for hospital in hospitals])
    home = np.empty(len(residents), dtype=np.int64)
    for district in range(len(DISTRICTS)):
        living_here = np.flatnonzero(residents.district == district)
        preference = weights * np.where(sites == district, NEAR, 1.0)
        home[living_here] = rng.choice(len(hospitals), size=len(living_here), p=preference / preference.sum())
    return home


def places_of_visits(resident: Ints, home: Ints, hospitals: int, rng: np.random.Generator) -> Ints:
    """The hospital of each visit (`resident` in order of time), TWO_HOSPITAL_SHARE of the patients at exactly two.

    Only a patient with two visits or more can be seen at two hospitals, so the share is taken of all patients but drawn
    from those; their first visit is at home, their last elsewhere, and the others by SECOND_VISIT_SHARE.
    """
    place = home[resident]
    if hospitals == 1:
        return place
    split, second = _second_hospitals(resident, home, hospitals, rng)
    elsewhere = rng.random(len(resident)) < SECOND_VISIT_SHARE
    order = np.argsort(resident, kind="stable")
    is_first, is_last = _ends(resident[order])
    elsewhere[order[is_first]] = False
    elsewhere[order[is_last]] = True
    return np.where(split[resident] & elsewhere, second[resident], place)


def _second_hospitals(resident: Ints, home: Ints, hospitals: int, rng: np.random.Generator) -> tuple[Marks, Ints]:
    visits = np.bincount(resident, minlength=len(home))
    able = np.flatnonzero(visits >= 2)
    wanted = min(len(able), round(TWO_HOSPITAL_SHARE * np.count_nonzero(visits)))
    split = np.zeros(len(home), dtype=np.bool_)
    split[rng.choice(able, size=wanted, replace=False)] = True
    return split, (home + rng.integers(1, hospitals, size=len(home))) % hospitals


def _ends(sorted_residents: Ints) -> tuple[Marks, Marks]:
    change = sorted_residents[1:] != sorted_residents[:-1]
    edge = np.ones(1, dtype=np.bool_)
    return np.concatenate([edge, change]), np.concatenate([change, edge])
