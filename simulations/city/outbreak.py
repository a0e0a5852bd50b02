"""The one injected outbreak: a disease, a district and some weeks, known exactly to the simulation and to nobody else.

Its extra visits rise and fall as a triangle over the weeks and come on top of the ordinary visits of the same disease.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np

from simulations.city.residents import Ints, district_index
from simulations.city.seasons import disease_index


@dataclass(frozen=True, slots=True)
class Outbreak:
    """The ground truth: `visits` extra visits for `disease` by residents of `adcode` in `weeks` weeks from `first_day`."""

    disease: str
    adcode: str
    first_day: date
    weeks: int
    visits: int

    def __post_init__(self) -> None:
        disease_index(self.disease)
        district_index(self.adcode)
        if self.first_day.isoweekday() != 1:
            raise ValueError(f"outbreak: first day must be a Monday, got {self.first_day:%A}")
        if self.weeks < 1 or self.visits < 0:
            raise ValueError(f"outbreak: expected weeks >= 1 and visits >= 0, got {self.weeks} and {self.visits}")

    @property
    def last_day(self) -> date:
        return self.first_day + timedelta(weeks=self.weeks, days=-1)

    def days_of_visits(self, rng: np.random.Generator) -> Ints:
        """One offset from `first_day`, in days, for each extra visit."""
        length = 7 * self.weeks
        height = np.minimum(np.arange(length) + 1, length - np.arange(length)).astype(np.float64)
        return rng.choice(length, size=self.visits, p=height / height.sum())


OUTBREAK_SHARE: Final = 0.015


def dengue_in_haizhu(year: int, city_visits: int) -> Outbreak:
    """The usual outbreak: dengue in Haizhu from ISO week 27, two months before its season, 1.5 % of the year's visits."""
    return Outbreak("dengue", "440105", date.fromisocalendar(year, 27, 1), 5, round(OUTBREAK_SHARE * city_visits))
