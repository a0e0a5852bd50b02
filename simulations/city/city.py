"""The invented city: one seed, one city, the same to the last bit.

A `City` holds what a real city never sees in one place: everybody's visits at all hospitals, the outbreak as it truly was, and
the planted markers. Every patient identifier, name, record number and telephone number that `write_fhir` writes contains one of
`City.planted`; a marker found outside a hospital's own records is therefore a leak of a patient.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from simulations.city.hospitals import Hospital, home_hospitals, open_hospitals, places_of_visits
from simulations.city.outbreak import Outbreak, dengue_in_haizhu
from simulations.city.residents import Ints, Residents, draw_residents
from simulations.city.visits import (
    Diagnoses,
    Measurements,
    Visits,
    draw_diagnoses,
    draw_measurements,
    draw_visits,
    plan_year,
)

VISITS_PER_RESIDENT: Final = 2.5


class Planted(NamedTuple):
    """Markers inside every patient identifier of one kind; plain letters, so that no encoding hides them."""

    identifier: str
    name: str
    record_number: str
    telephone: str


@dataclass(frozen=True, slots=True)
class City:
    """Everything about the city; `hospital` gives the place of each row of `visits`."""

    seed: int
    year: int
    hospitals: tuple[Hospital, ...]
    residents: Residents
    visits: Visits
    hospital: Ints
    diagnoses: Diagnoses
    measurements: Measurements
    outbreak: Outbreak | None
    planted: Planted

    @property
    def new_year(self) -> np.datetime64:
        return np.datetime64(f"{self.year}-01-01", "D")

    def patients_of(self, hospital: int) -> Ints:
        """The residents seen at the hospital; a patient's number there is the place in this array."""
        return np.unique(self.visits.resident[self.hospital == hospital])

    def patients_of_two(self) -> Ints:
        """The residents seen at more than one hospital, which no hospital knows."""
        count = len(self.hospitals)
        pairs = np.unique(self.visits.resident * count + self.hospital)
        patients, places = np.unique(pairs // count, return_counts=True)
        return np.asarray(patients[places > 1], dtype=np.int64)


def build_city(
    seed: int,
    hospitals: int = 6,
    visits_per_hospital: int = 8_000,
    year: int = 2025,
    *,
    outbreak: Outbreak | None = None,
    is_quiet: bool = False,
) -> City:
    """A city with `visits_per_hospital` visits at the average hospital.

    Without `outbreak` it is dengue in Haizhu; `is_quiet` gives the same city without any.
    """
    rng = np.random.default_rng(seed)
    total = hospitals * visits_per_hospital
    truth = None if is_quiet else outbreak or dengue_in_haizhu(year, total)
    opened = open_hospitals(hospitals)
    residents = draw_residents(max(100, int(total / VISITS_PER_RESIDENT)), np.datetime64(f"{year}-01-01", "D"), rng)
    visits = draw_visits(plan_year(year, total, truth, rng), residents, truth, rng)
    home = home_hospitals(residents, opened, rng)
    return City(
        seed=seed,
        year=year,
        hospitals=opened,
        residents=residents,
        visits=visits,
        hospital=places_of_visits(visits.resident, home, hospitals, rng),
        diagnoses=draw_diagnoses(visits, residents, rng),
        measurements=draw_measurements(visits, rng),
        outbreak=truth,
        planted=_planted(seed),
    )


def _planted(seed: int) -> Planted:
    tag = hashlib.sha256(f"kapok city {seed}".encode()).hexdigest()[:8]
    return Planted(f"plantedid{tag}", f"plantedname{tag}", f"plantedmrn{tag}", f"plantedtel{tag}")
