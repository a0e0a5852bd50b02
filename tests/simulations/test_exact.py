"""The exact answer agrees with the city's own arrays, and bounding only ever takes away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protocols.query import QuerySpec
from simulations.city.city import City, build_city
from simulations.city.records_out import write_duckdb
from simulations.city.residents import DISTRICTS
from simulations.city.seasons import CODES
from simulations.city.visits import KINDS
from simulations.exact import ExactAnswer, bounded_exact, exact_answer

YEAR = {"from": "2025-01-01", "to": "2026-01-01"}
COUNT: dict[str, Any] = {"kind": "count", "hi": 1000}
PERSONS: dict[str, Any] = {"kind": "count_distinct_person"}


@pytest.fixture(scope="module")
def city() -> City:
    return build_city(9, 3, 1_200)


@pytest.fixture(scope="module")
def folders(city: City, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return list(write_duckdb(city, tmp_path_factory.mktemp("exact")).values())


def _spec(table: str, measures: list[dict[str, Any]], **rest: Any) -> QuerySpec:
    return QuerySpec.from_fields({"version": 1, "table": table, "measures": measures, "cells_per_patient": 1000, **rest})


def _keys(folders: list[Path]) -> dict[Path, bytes]:
    return {folder: bytes([number]) * 32 for number, folder in enumerate(folders)}


def _by_labels(answer: ExactAnswer, segment: int = 0) -> dict[tuple[str, ...], int]:
    values = answer.values(answer.layout.segments[segment])
    return {answer.layout.grid.labels_of(cell): int(value) for cell, value in enumerate(values)}


def test_visits_of_the_year_are_all_the_citys_visits(city: City, folders: list[Path]) -> None:
    answer = exact_answer(_spec("visits", [COUNT], period=YEAR), folders)
    assert answer.vector.tolist() == [len(city.visits)]
    assert answer.hospitals == 3


def test_visits_by_district_and_week_equal_the_citys_own_arrays(city: City, folders: list[Path]) -> None:
    keys = [{"key": "district"}, {"key": "iso_week"}]
    answer = _by_labels(exact_answer(_spec("visits", [COUNT], keys=keys, period=YEAR), folders))
    stated = city.residents.is_district_stated[city.visits.resident]
    district = city.residents.district[city.visits.resident]
    for index, (adcode, *_) in enumerate(DISTRICTS):
        assert sum(count for (label, _), count in answer.items() if label == adcode) == int((stated & (district == index)).sum())
    # ISO week 2025-W28 is 7 to 13 July: days 187 to 193 counted from New Year.
    in_week = (city.visits.day >= 187) & (city.visits.day <= 193)
    assert sum(count for (_, week), count in answer.items() if week == "2025-W28") == int((stated & in_week).sum())


def test_persons_are_counted_once_a_hospital_and_twice_if_seen_at_two(city: City, folders: list[Path]) -> None:
    answer = exact_answer(_spec("visits", [PERSONS], period=YEAR), folders)
    seen = len(np.unique(city.visits.resident)) + len(city.patients_of_two())
    assert answer.vector.tolist() == [seen]
    assert exact_answer(_spec("patients", [PERSONS]), folders).vector.tolist() == [seen]


def test_diagnoses_by_prefix_equal_the_citys_own_arrays(city: City, folders: list[Path]) -> None:
    prefixes = ["A09", "A90", "A97", "J10", "J11", "J18"]
    keys = [{"key": "icd10_prefix", "prefixes": prefixes}]
    answer = _by_labels(exact_answer(_spec("diagnoses", [COUNT], keys=keys, period=YEAR), folders))
    begins = np.array([code.code[:3] for code in CODES])[city.diagnoses.code]
    assert answer == {(prefix,): int((begins == prefix).sum()) for prefix in prefixes}


def test_a_sum_is_exact_to_the_tenth(city: City, folders: list[Path]) -> None:
    total = {"kind": "sum", "column": "value", "lo": "0", "hi": "1000000", "scale": 10}
    where = [{"column": "loinc", "values": ["8310-5"]}]
    answer = exact_answer(_spec("measurements", [total], where=where, period=YEAR), folders)
    is_temperature = np.array([kind.loinc == "8310-5" for kind in KINDS])[city.measurements.kind]
    assert answer.vector.tolist() == [int(city.measurements.tenths[is_temperature].sum())]


def test_an_average_is_total_and_number_of_all_rows(city: City, folders: list[Path]) -> None:
    mean = {"kind": "avg", "column": "value", "lo": "0", "hi": "50", "scale": 10}
    where = [{"column": "loinc", "values": ["8310-5"]}]
    answer = exact_answer(_spec("measurements", [mean], where=where, period=YEAR), folders)
    is_temperature = np.array([kind.loinc == "8310-5" for kind in KINDS])[city.measurements.kind]
    assert answer.vector.tolist() == [int(city.measurements.tenths[is_temperature].sum()), int(is_temperature.sum())]


SPECS = {
    "weeks and districts": _spec("visits", [COUNT, PERSONS], keys=[{"key": "iso_week"}, {"key": "district"}], period=YEAR),
    "ages and sexes": _spec("diagnoses", [COUNT], keys=[{"key": "age_band", "bands": "five_years"}, {"key": "sex"}], period=YEAR),
    "prefixes of some ages": _spec(
        "diagnoses",
        [COUNT],
        keys=[{"key": "month"}],
        where=[{"column": "age", "low": 5, "high": 64}, {"column": "icd10", "prefixes": ["A", "J1"]}],
        period={"from": "2025-02-10", "to": "2025-11-05"},
    ),
    "values above a limit": _spec(
        "measurements",
        [COUNT, {"kind": "sum", "column": "value", "lo": "0", "hi": "1000000", "scale": 10}],
        keys=[{"key": "sex"}],
        where=[
            {"column": "loinc", "values": ["8310-5", "8480-6"]},
            {"column": "value", "op": ">=", "number": "37.5"},
            {"column": "value", "op": "<", "number": "150"},
        ],
        period=YEAR,
    ),
    "emergencies of women": _spec(
        "visits",
        [COUNT],
        keys=[{"key": "district"}],
        where=[{"column": "sex", "values": ["F"]}, {"column": "visit_class", "values": ["EMER", "IMP"]}],
        period=YEAR,
    ),
    "one Monday": _spec("visits", [COUNT], period={"from": "2025-03-03", "to": "2025-03-04"}),
    "totals over either key": _spec(
        "visits",
        [COUNT, PERSONS, {"kind": "sum", "column": "age", "lo": "0", "hi": "1000000", "scale": 1}],
        keys=[{"key": "month"}, {"key": "sex"}],
        totals=[["sex"], ["month"], []],
        period=YEAR,
    ),
    "a histogram": _spec(
        "measurements",
        [COUNT, PERSONS],
        keys=[{"key": "bin", "column": "value", "edges": ["36", "36.5", "37", "39.9"]}, {"key": "sex"}],
        totals=[["bin"]],
        where=[{"column": "loinc", "values": ["8310-5"]}],
        period=YEAR,
    ),
    "spread and quantiles": _spec(
        "measurements",
        [
            {"kind": "stddev", "column": "value", "lo": "60", "hi": "200", "steps": 20},
            {"kind": "quantiles", "column": "value", "lo": "80", "hi": "180", "points": ["0.25", "0.5"], "bins": 40},
        ],
        keys=[{"key": "district"}],
        totals=[[]],
        where=[{"column": "loinc", "values": ["8480-6"]}],
        period=YEAR,
    ),
    "a table one": _spec(
        "visits",
        [
            PERSONS,
            {"kind": "summary", "column": "age", "lo": "0", "hi": "90"},
            {"kind": "categories", "column": "visit_class"},
            {"kind": "categories", "column": "district", "filter": {"kind": "is", "where": [{"column": "sex", "values": ["F"]}]}},
        ],
        keys=[{"key": "sex"}],
        totals=[[]],
        period=YEAR,
    ),
    "a table one by month": _spec(
        "visits", [{"kind": "summary", "column": "age", "lo": "0", "hi": "90"}], keys=[{"key": "month"}], bound="block", period=YEAR
    ),
    "time to the next visit": _spec(
        "diagnoses",
        [
            {
                "kind": "survival",
                "event": {"kind": "has", "table": "visits", "where": [], "days": [1, 90]},
                "edges": [7, 30, 90],
                "until": "2025-12-01",
            }
        ],
        keys=[{"key": "sex"}],
        where=[{"column": "icd10", "prefixes": ["J"]}],
        period={"from": "2025-01-01", "to": "2025-11-01"},
    ),
    "patients by age": _spec("patients", [PERSONS], keys=[{"key": "age_band", "bands": "surveillance"}], as_of="2025-02-28"),
}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_the_hospitals_plan_and_this_sql_agree_where_no_bound_bites(spec: QuerySpec, folders: list[Path]) -> None:
    exact, bounded = exact_answer(spec, folders), bounded_exact(spec, _keys(folders))
    assert exact.vector.sum() > 0
    assert np.array_equal(exact.vector, bounded.vector)


def test_a_tight_bound_takes_away_and_never_adds(folders: list[Path]) -> None:
    tight = {"cells_per_patient": 1, "keys": [{"key": "iso_week"}], "period": YEAR}
    spec = _spec("visits", [{"kind": "count", "hi": 1}], **tight)
    exact, bounded = exact_answer(spec, folders), bounded_exact(spec, _keys(folders))
    assert (bounded.vector <= exact.vector).all()
    assert bounded.vector.sum() < exact.vector.sum()


def test_hospitals_add_up_to_the_city(folders: list[Path]) -> None:
    spec = SPECS["weeks and districts"]
    parts = [exact_answer(spec, [folder]).vector for folder in folders]
    assert np.array_equal(sum(parts), exact_answer(spec, folders).vector)


def test_json_names_the_axes_and_holds_every_cell(folders: list[Path]) -> None:
    told = exact_answer(SPECS["emergencies of women"], folders).to_json()
    assert told["axes"] == [{"key": "district", "labels": [district.adcode for district in DISTRICTS]}]
    assert told["segments"][0]["measure"] == "count"
    assert len(told["segments"][0]["values"]) == 11


FLU = [{"column": "icd10", "prefixes": ["J09", "J10", "J11"]}]
COHORTS: dict[str, dict[str, Any]] = {
    "influenza of the same day": {"kind": "has", "table": "diagnoses", "where": FLU, "days": [0, 0]},
    "no visit in the 60 days before": {"kind": "not", "of": {"kind": "has", "table": "visits", "where": [], "days": [-60, -1]}},
    "old, or with influenza in winter": {
        "kind": "any",
        "of": [
            {"kind": "is", "where": [{"column": "age", "low": 70, "high": 150}]},
            {"kind": "has", "table": "diagnoses", "where": FLU, "period": {"from": "2025-01-01", "to": "2025-03-01"}},
        ],
    },
}


@pytest.mark.parametrize("name", COHORTS)
def test_the_plan_counts_a_cohort_as_a_correlated_subquery_does(folders: list[Path], name: str) -> None:
    """A month of one cell and clamps that nobody reaches: bounding takes nothing away, so both ways must agree to the row."""
    measures = [COUNT, {**COUNT, "filter": COHORTS[name]}, PERSONS]
    period = {"from": "2025-03-01", "to": "2025-04-01"}
    whole = _spec("visits", measures, keys=[{"key": "sex"}], period=period)
    within = _spec("visits", [COUNT, PERSONS], keys=[{"key": "sex"}], period=period, cohort=COHORTS[name])
    for spec in (whole, within):
        exact, bounded = exact_answer(spec, folders), bounded_exact(spec, _keys(folders))
        assert exact.vector.tolist() == bounded.vector.tolist()
        assert exact.vector.any()
