"""Residents of an invented Guangzhou: district, sex and age follow the census, and nobody in it exists.

District totals are the published figures of the Seventh National Population Census (2020-11-01), whose sum is the city's
18,676,605. Shares of sex (52.7 % male) and of the broad ages (13.9 % under 15, 11.4 % from 60) follow the same census;
the finer bands are a plausible split of them. Districts are drawn independently of sex and age.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Days = npt.NDArray[np.datetime64]
Marks = npt.NDArray[np.bool_]


class District(NamedTuple):
    """One district: national code, name, name in latin letters, residents by the 2020 census."""

    adcode: str
    name: str
    latin: str
    population: int


class AgeBand(NamedTuple):
    """Completed years `first` to `last`, both included, with their share of the residents in percent."""

    first: int
    last: int
    percent: float


DISTRICTS: Final = (
    District("440103", "荔湾区", "liwan", 1_238_305),
    District("440104", "越秀区", "yuexiu", 1_038_643),
    District("440105", "海珠区", "haizhu", 1_819_037),
    District("440106", "天河区", "tianhe", 2_241_826),
    District("440111", "白云区", "baiyun", 3_742_991),
    District("440112", "黄埔区", "huangpu", 1_264_447),
    District("440113", "番禺区", "panyu", 2_658_397),
    District("440114", "花都区", "huadu", 1_642_360),
    District("440115", "南沙区", "nansha", 846_584),
    District("440117", "从化区", "conghua", 717_684),
    District("440118", "增城区", "zengcheng", 1_466_331),
)

AGE_BANDS: Final = (
    AgeBand(0, 4, 5.1),
    AgeBand(5, 14, 8.8),
    AgeBand(15, 24, 15.6),
    AgeBand(25, 39, 31.8),
    AgeBand(40, 59, 27.3),
    AgeBand(60, 74, 8.5),
    AgeBand(75, 94, 2.9),
)

SEXES: Final = ("F", "M", "U")
_SEX_SHARES: Final = (0.470, 0.527, 0.003)
_DISTRICT_STATED: Final = 0.99


@dataclass(frozen=True, slots=True)
class Residents:
    """One row a resident; `district`, `age_band` and `sex` index DISTRICTS, AGE_BANDS and SEXES.

    One in a hundred lives in a district that no hospital has on file (`is_district_stated`).
    """

    district: Ints
    sex: Ints
    age_band: Ints
    birth: Days
    is_district_stated: Marks

    def __len__(self) -> int:
        return len(self.district)


def census_shares() -> npt.NDArray[np.float64]:
    """Each district's share of the city's residents, in the order of DISTRICTS."""
    population = np.array([district.population for district in DISTRICTS], dtype=np.float64)
    return np.asarray(population / population.sum(), dtype=np.float64)


def district_index(adcode: str) -> int:
    """The place of `adcode` in DISTRICTS; raises ValueError for a code outside Guangzhou."""
    for index, district in enumerate(DISTRICTS):
        if district.adcode == adcode:
            return index
    raise ValueError(f"district {adcode!r} is none of Guangzhou's {len(DISTRICTS)}")


def draw_residents(count: int, new_year: np.datetime64, rng: np.random.Generator) -> Residents:
    """`count` residents, everyone born before `new_year`, so that nobody is ill before birth."""
    percents = np.array([band.percent for band in AGE_BANDS])
    age_band = rng.choice(len(AGE_BANDS), size=count, p=percents / percents.sum())
    return Residents(
        district=rng.choice(len(DISTRICTS), size=count, p=census_shares()),
        sex=rng.choice(len(SEXES), size=count, p=_SEX_SHARES),
        age_band=age_band,
        birth=_births(age_band, new_year, rng),
        is_district_stated=rng.random(count) < _DISTRICT_STATED,
    )


def _births(age_band: Ints, new_year: np.datetime64, rng: np.random.Generator) -> Days:
    first = np.array([band.first for band in AGE_BANDS])[age_band]
    last = np.array([band.last for band in AGE_BANDS])[age_band]
    years_lived = rng.uniform(first, last + 1)
    return new_year - np.maximum(1, (years_lived * 365.2425).astype(np.int64)).astype("timedelta64[D]")
