"""The language's page is true: each example parses, and the same question gives the same spec in SQL and as a file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import protocols.query
from protocols.query import QuerySpec, parse_toml
from protocols.query.domains import MAX_CELLS, MAX_MONTHS
from protocols.query.sql import parse_sql
from protocols.query.sql_measures import MOST_STEPS, SCALES

PAGE = Path(protocols.query.__file__).with_name("README.md").read_text(encoding="utf-8")
SQL = [line for block in re.findall(r"```sql\n(.*?)```", PAGE, re.S) for line in block.splitlines()]
TOML = re.findall(r"```toml\n(.*?)```", PAGE, re.S)


@pytest.mark.parametrize("text", SQL)
def test_each_sql_example_parses(text: str) -> None:
    assert parse_sql(text).measures


def test_the_file_examples_are_the_same_questions_as_their_sql() -> None:
    cohort = (
        "SELECT COUNT(DISTINCT person_id), COUNT(DISTINCT person_id) FILTER (WHERE sex = 'F') FROM diagnoses "
        "WHERE date >= '2025-01-01' AND date < '2025-04-01' AND icd10 LIKE 'R50%' AND HAS(diagnoses, icd10 LIKE 'R05%', -3, 3) "
        "AND NOT HAS(visits, DATE '2024-01-01', DATE '2025-01-01')"
    )
    same = (
        "SELECT week, age_band(five_years), COUNT(DISTINCT person_id) FROM diagnoses "
        "WHERE icd10_prefix IN ('J11', 'J10') AND age <= 14 "
        "AND date >= '2025-01-01' AND date < '2026-01-01' GROUP BY week, age_band(five_years)"
    )
    lines = (
        "SELECT TABLE_ONE(CLAMP(age, 0, 100), sex), "
        "KAPLAN_MEIER(HAS(visits, visit_class = 'IMP', 1, 90), [30, 90], DATE '2025-07-01') FROM diagnoses "
        "WHERE icd10 LIKE 'E11%' AND date >= '2025-01-01' AND date < '2025-04-01'"
    )
    weighed = "SELECT district, COUNT(*) FROM visits WHERE date >= '2025-01-01' AND date < '2025-04-01' GROUP BY district"
    assert [parse_toml(text) for text in TOML] == [
        parse_sql(same),
        parse_sql(cohort),
        parse_sql(lines),
        QuerySpec.from_fields(parse_sql(weighed).to_json() | {"weights": [7, 24, 64]}),
    ]


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    assert f"{MAX_CELLS:,} cells" in PAGE
    assert f"at most {MAX_MONTHS} months" in PAGE
    fine, middle, coarse = SCALES["value"]
    assert SCALES["age"] == (1,)
    assert f"1 for `age`, for `value` the finest of {fine}, {middle} and {coarse} with at most {MOST_STEPS} steps" in PAGE
