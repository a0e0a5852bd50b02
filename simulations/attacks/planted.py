"""Patients whose one secret bit an attack wants: planted one to a cell, so that one question is thousands of trials.

The bits are fair coins, thrown anew in every run: who only guesses is right half of the time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hospital_node.records.generations import next_generation
from hospital_node.records.schema import DDL
from protocols.query import QuerySpec
from protocols.query.domains import week_label

Bits: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Month:
    """One block: an attack's whole budget lies in it, and no other attack spends there."""

    year: int
    number: int

    @property
    def first(self) -> date:
        return date(self.year, self.number, 1)

    @property
    def end(self) -> date:
        return date(self.year + self.number // 12, self.number % 12 + 1, 1)

    @property
    def period(self) -> dict[str, str]:
        return {"from": self.first.isoformat(), "to": self.end.isoformat()}

    def day_in(self, week: str) -> date:
        """The first day of the month that lies in this ISO week."""
        return _first_days(self)[week]


@lru_cache(16)
def _first_days(month: Month) -> dict[str, date]:
    days = [month.first + timedelta(days=n) for n in range((month.end - month.first).days)]
    return {week_label(day): day for day in reversed(days)}


@dataclass(frozen=True, slots=True)
class Visit:
    """Of one patient who comes once."""

    day: date
    district: str
    sex: str
    age: int
    visit_class: str = "AMB"


def coins(count: int) -> Bits:
    """Fair and independent, from the operating system's randomness."""
    return np.random.default_rng().integers(0, 2, count).astype(np.bool_)


def question(month: Month, keys: Sequence[str], *where: dict[str, Any]) -> QuerySpec:
    """Distinct patients by these keys. One cell a patient: the least that an asker can be charged for."""
    named = [{"key": key, "bands": "five_years"} if key == "age_band" else {"key": key} for key in keys]
    counted = {"table": "visits", "measures": [{"kind": "count_distinct_person"}], "keys": named, "where": list(where)}
    return QuerySpec.from_fields({**counted, "period": month.period, "cells_per_patient": 1})


def visit_in(month: Month, spec: QuerySpec, cell: int, **fixed: str) -> Visit:
    """A visit that falls into this cell; what the cell leaves open is `fixed`, or the first that comes to mind."""
    grid = spec.grid()
    labels = {"sex": "F", "district": "440106", "age_band": "40-44", **dict(zip(grid.keys, grid.labels_of(cell), strict=True))}
    labels |= fixed
    age = int(labels["age_band"].rstrip("+").split("-")[0])
    week = labels.get("iso_week", week_label(month.first))
    return Visit(month.day_in(week), labels["district"], labels["sex"], age, labels.get("visit_class", "AMB"))


def write_records(visits: Sequence[Visit], folders: Sequence[Path]) -> None:
    """Deals the patients to the hospitals at random and writes their records as an import leaves them."""
    at = np.random.default_rng().integers(0, len(folders), len(visits))
    for hospital, folder in enumerate(folders):
        mine = [visit for visit, where in zip(visits, at, strict=True) if where == hospital]
        with next_generation(folder) as building, duckdb.connect(building) as database:
            database.execute(DDL)
            database.register("seen", pa.Table.from_pylist(list(_rows(mine)), _SEEN))
            database.execute(
                "INSERT INTO person SELECT n, 'p' || n, make_date(year(day) - age, 1, 1), sex, district FROM seen ORDER BY n"
            )
            database.execute(
                "INSERT INTO visit_occurrence SELECT n, n, 'v' || n, visit_class, day, day, district, sex, age FROM seen ORDER BY n"
            )


_SEEN = pa.schema(
    [
        ("n", pa.int64()),
        ("day", pa.date32()),
        ("district", pa.string()),
        ("sex", pa.string()),
        ("age", pa.int16()),
        ("visit_class", pa.string()),
    ]
)


def _rows(visits: Sequence[Visit]) -> Iterator[dict[str, Any]]:
    for n, visit in enumerate(visits, start=1):
        named = {"district": visit.district, "sex": visit.sex, "age": visit.age, "visit_class": visit.visit_class}
        yield {"n": n, "day": visit.day, **named}
