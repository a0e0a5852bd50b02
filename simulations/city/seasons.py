"""When Guangzhou falls ill of what: the diseases of the city, their seasons, weekdays and ages.

Shapes, not measurements: influenza with a winter and a summer wave, dengue in September and October, hand, foot and mouth
disease in early summer and again in autumn, gastroenteritis in winter, chronic disease flat. Planned visits fall on
weekdays; acute ones come on Sunday too. Around Spring Festival the city is half empty. Codes are spelled as hospitals spell
them: the national clinical edition (`J10.100`), its extensions (`A09.900x001`), the plain WHO form (`J10.1`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

Rates = npt.NDArray[np.float64]


class Wave(NamedTuple):
    """A yearly wave: `height` times the base rate on day `peak` of the year, a bell `width_days` wide on each side."""

    peak: int
    width_days: int
    height: float


class Code(NamedTuple):
    """One spelling of a diagnosis with its share among the visits of the disease."""

    code: str
    text: str
    share: float


class Course(Enum):
    """How a visit comes about: the shares of (ambulatory, emergency, inpatient) visits."""

    PLANNED = (0.95, 0.01, 0.04)
    ACUTE = (0.68, 0.30, 0.02)
    GRAVE = (0.35, 0.20, 0.45)


@dataclass(frozen=True, slots=True)
class Disease:
    """A disease: `percent` of a year's visits, spread over the year by `floor` plus its waves.

    `age_weights` has one chance of a visit per AGE_BANDS entry; `fever_celsius` is the mean temperature at the visit.
    """

    name: str
    percent: float
    codes: tuple[Code, ...]
    age_weights: tuple[float, ...]
    course: Course
    fever_celsius: float | None = None
    floor: float = 1.0
    waves: tuple[Wave, ...] = ()


YOUNG: Final = (6.0, 4.0, 1.0, 1.0, 0.8, 1.2, 1.5)
OLD: Final = (0.01, 0.01, 0.1, 0.5, 2.0, 6.0, 8.0)
EVEN: Final = (0.8, 0.7, 0.8, 1.0, 1.2, 2.0, 2.5)
SMALL_CHILDREN: Final = (30.0, 4.0, 0.1, 0.1, 0.05, 0.02, 0.02)

DISEASES: Final = (
    Disease(
        "influenza", 5.0,
        (Code("J10.100", "流行性感冒伴有其他呼吸道表现,流感病毒被标明", 0.4), Code("J10.1", "流感", 0.15),
         Code("J11.100", "流行性感冒伴有其他呼吸道表现,病毒未标明", 0.3), Code("J11.100x004", "流感样疾病", 0.15)),
        YOUNG, Course.ACUTE, 38.7, 0.15, (Wave(15, 28, 1.0), Wave(365, 20, 0.7), Wave(170, 22, 0.8)),
    ),
    Disease(
        "upper respiratory infection", 16.0,
        (Code("J06.900", "急性上呼吸道感染", 0.7), Code("J06.9", "上呼吸道感染", 0.2),
         Code("J06.900x003", "病毒性上呼吸道感染", 0.1)),
        YOUNG, Course.ACUTE, 37.9, 1.0, (Wave(20, 40, 0.6), Wave(350, 35, 0.5)),
    ),
    Disease(
        "dengue", 0.6,
        (Code("A90.x00", "登革热[古典登革热]", 0.35), Code("A97.900", "登革热", 0.4), Code("A97.0", "登革热无警示征", 0.25)),
        EVEN, Course.ACUTE, 38.9, 0.02, (Wave(270, 24, 1.0),),
    ),
    Disease(
        "gastroenteritis", 5.0,
        (Code("A09.900", "胃肠炎", 0.5), Code("A09.900x001", "急性胃肠炎", 0.35), Code("A09", "腹泻", 0.15)),
        YOUNG, Course.ACUTE, 37.4, 0.8, (Wave(10, 35, 0.7), Wave(340, 30, 0.4), Wave(200, 30, 0.3)),
    ),
    Disease(
        "pneumonia", 3.0,
        (Code("J18.900", "肺炎", 0.6), Code("J18.9", "肺炎,未特指", 0.2), Code("J18.000", "支气管肺炎", 0.2)),
        (4.0, 2.0, 0.4, 0.4, 0.8, 3.0, 6.0), Course.GRAVE, 38.4, 0.7, (Wave(15, 40, 0.7), Wave(355, 35, 0.5)),
    ),
    Disease(
        "hand, foot and mouth disease", 1.2, (Code("B08.400", "手足口病", 0.8), Code("B08.401", "手足口病普通型", 0.2)),
        SMALL_CHILDREN, Course.ACUTE, 38.2, 0.1, (Wave(145, 30, 1.0), Wave(275, 25, 0.5)),
    ),
    Disease("hypertension", 16.0, (Code("I10.x00", "原发性高血压", 0.6), Code("I10.x00x002", "高血压", 0.25),
                                   Code("I10", "高血压病", 0.15)), OLD, Course.PLANNED),
    Disease("type 2 diabetes", 9.0, (Code("E11.900", "2型糖尿病", 0.7), Code("E11.9", "2型糖尿病", 0.15),
                                     Code("E11.200x001", "2型糖尿病性肾病", 0.15)), OLD, Course.PLANNED),
    Disease("chronic obstructive lung disease", 2.2, (Code("J44.900", "慢性阻塞性肺疾病", 0.7),
            Code("J44.100", "慢性阻塞性肺疾病急性加重期", 0.3)), OLD, Course.GRAVE, None, 0.9, (Wave(10, 40, 0.4),)),
    Disease("asthma", 2.0, (Code("J45.900", "支气管哮喘", 1.0),), YOUNG, Course.ACUTE),
    Disease("gastritis", 9.0, (Code("K29.500", "慢性胃炎", 0.8), Code("K29.7", "胃炎", 0.2)), EVEN, Course.PLANNED),
    Disease("urinary tract infection", 5.0, (Code("N39.000", "泌尿道感染", 1.0),), EVEN, Course.ACUTE, 37.3),
    Disease("back pain", 12.0, (Code("M54.500", "腰痛", 0.7), Code("M54.5", "下背痛", 0.3)), EVEN, Course.PLANNED),
    Disease("injury", 14.0, (Code("S93.400", "踝关节扭伤", 0.6), Code("T14.900", "损伤", 0.4)), EVEN, Course.ACUTE),
)  # fmt: skip

CODES: Final = tuple(code for disease in DISEASES for code in disease.codes)

# Monday to Sunday. Acute illness has a Monday peak; planned visits keep office days.
_ACUTE_WEEK: Final = (1.18, 1.02, 0.98, 0.96, 0.98, 0.98, 0.90)
_PLANNED_WEEK: Final = (1.40, 1.20, 1.15, 1.10, 1.05, 0.70, 0.40)

_SPRING_FESTIVAL: Final = {
    2023: date(2023, 1, 22), 2024: date(2024, 2, 10), 2025: date(2025, 1, 29),
    2026: date(2026, 2, 17), 2027: date(2027, 2, 6),
}  # fmt: skip
_FESTIVAL_ACUTE: Final = 0.55
_FESTIVAL_PLANNED: Final = 0.2


def disease_index(name: str) -> int:
    """The place of the disease in DISEASES; raises ValueError for a name that is not there."""
    for index, disease in enumerate(DISEASES):
        if disease.name == name:
            return index
    raise ValueError(f"disease {name!r} is not simulated; known: {', '.join(each.name for each in DISEASES)}")


def first_code(disease: int) -> int:
    """Where the codes of DISEASES[disease] begin in CODES."""
    return sum(len(each.codes) for each in DISEASES[:disease])


def year_days(year: int) -> npt.NDArray[np.datetime64]:
    """Every calendar day of the year, in order."""
    return np.arange(f"{year}-01-01", f"{year + 1}-01-01", dtype="datetime64[D]")


def expected_visits(year: int) -> Rates:
    """Probability of (disease, day) for one visit of the year without any outbreak; the whole sums to 1."""
    rates = np.stack([_season(disease, year) * _calendar(disease.course, year) for disease in DISEASES])
    percents = np.array([[disease.percent] for disease in DISEASES])
    rates *= percents / rates.sum(axis=1, keepdims=True)
    return np.asarray(rates / rates.sum(), dtype=np.float64)


def _season(disease: Disease, year: int) -> Rates:
    length = len(year_days(year))
    day = np.arange(1, length + 1)
    rate = np.full(length, disease.floor)
    for wave in disease.waves:
        apart = np.abs(day - wave.peak)
        apart = np.minimum(apart, length - apart)  # a wave at New Year goes on in January
        rate += wave.height * np.exp(-0.5 * (apart / wave.width_days) ** 2)
    return rate


def _calendar(course: Course, year: int) -> Rates:
    days = year_days(year)
    is_planned = course is Course.PLANNED
    week = np.array(_PLANNED_WEEK if is_planned else _ACUTE_WEEK)
    weekday = (days.astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
    rate = week[weekday]
    if year in _SPRING_FESTIVAL:
        since_eve = (days - np.datetime64(_SPRING_FESTIVAL[year], "D")).astype(np.int64) + 1
        rate[(since_eve >= 0) & (since_eve < 8)] *= _FESTIVAL_PLANNED if is_planned else _FESTIVAL_ACUTE
    return np.asarray(rate, dtype=np.float64)
