"""Everything outside the language is named with its place and the nearest valid form, whatever the text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.query import Problem, ProblemCode, QueryError
from protocols.query.sql import parse_sql
from tests.protocols.query.reading import YEAR, problems

OUTSIDE = [
    (f"SELECT week, COUNT(*) FROM visits WHERE {YEAR} GROUP BY week HAVING COUNT(*) > 5", "HAVING", "HAVING"),
    (f"SELECT week, COUNT(*) FROM visits WHERE {YEAR} GROUP BY week ORDER BY week", "ORDER BY", "ORDER BY"),
    (f"SELECT COUNT(*) FROM visits WHERE {YEAR} LIMIT 3", "LIMIT", "LIMIT"),
    (f"SELECT COUNT(*) FROM visits WHERE {YEAR} OFFSET 3", "OFFSET", "OFFSET"),
    (f"SELECT DISTINCT COUNT(*) FROM visits WHERE {YEAR}", "SELECT DISTINCT", "DISTINCT"),
    (f"WITH a AS (SELECT 1) SELECT COUNT(*) FROM visits WHERE {YEAR}", "WITH", "WITH"),
    (f"SELECT COUNT(*) FROM visits JOIN patients USING (person_id) WHERE {YEAR}", "JOIN", "JOIN"),
    (f"SELECT COUNT(*) FROM visits WHERE {YEAR} QUALIFY 1 = 1", "QUALIFY", "QUALIFY"),
    (f"SELECT COUNT(*) FROM visits WHERE {YEAR} WINDOW w AS (PARTITION BY sex)", "WINDOW", "WINDOW"),
    (f"SELECT COUNT(*) FROM visits WHERE {YEAR} FOR UPDATE", "FOR UPDATE", "UPDATE"),
    ("SELECT COUNT(*) FROM (SELECT 1)", "subquery", "(SELECT 1)"),
    ("SELECT COUNT(*) FROM read_csv('x')", "table", "visits"),
    (f"SELECT COUNT(*), (SELECT 1) FROM visits WHERE {YEAR}", "subquery", "(SELECT 1)"),
    (f"SELECT COUNT(*) OVER () FROM visits WHERE {YEAR}", "window function", "COUNT"),
    (f"SELECT COUNT(*), CASE WHEN age > 3 THEN 1 END FROM visits WHERE {YEAR}", "CASE", "CASE"),
    (f"SELECT COUNT(*), age * 2 FROM visits WHERE {YEAR}", "arithmetic", "age * 2"),
    (f"SELECT COUNT(*), -age FROM visits WHERE {YEAR}", "arithmetic", "age FROM"),
    (f"SELECT MEDIAN(age) FROM visits WHERE {YEAR}", "MEDIAN", "MEDIAN"),
    (f"SELECT QUANTILE(CLAMP(age, 0, 90), 'x') FROM visits WHERE {YEAR}", "QUANTILE", "CLAMP"),
    (f"SELECT STDDEV(CLAMP(age, 0, 90, 1.5)) FROM visits WHERE {YEAR}", "CLAMP", "STDDEV"),
    (f"SELECT STDDEV_POP(CLAMP(age, 0, 90)) FROM visits WHERE {YEAR}", "function STDDEV_POP", "STDDEV_POP"),
    (f"SELECT BIN(age), COUNT(*) FROM visits WHERE {YEAR} GROUP BY BIN(age)", "BIN", "BIN"),
    (f"SELECT BIN(age, 0, sex), COUNT(*) FROM visits WHERE {YEAR} GROUP BY BIN(age, 0, sex)", "BIN", "BIN"),
    (f"SELECT frobnicate(age) FROM visits WHERE {YEAR}", "function FROBNICATE", "frobnicate"),
    (f"SELECT COUNT(*), * FROM visits WHERE {YEAR}", "*", "* FROM"),
    (f"SELECT COUNT(age) FROM visits WHERE {YEAR}", "COUNT", "COUNT"),
    (f"SELECT COUNT(DISTINCT district) FROM visits WHERE {YEAR}", "COUNT(DISTINCT)", "COUNT"),
    (f"SELECT COUNT(DISTINCT person_id, sex) FROM visits WHERE {YEAR}", "COUNT(DISTINCT)", "COUNT"),
    (f"SELECT SUM(DISTINCT age) FROM visits WHERE {YEAR}", "DISTINCT", "age"),
    (f"SELECT SUM(age) FROM visits WHERE {YEAR}", "SUM", "SUM"),
    (f"SELECT AVG(age + 1) FROM visits WHERE {YEAR}", "arithmetic", "age + 1"),
    (f"SELECT SUM(CLAMP(age, 0)) FROM visits WHERE {YEAR}", "CLAMP", "SUM"),
    (f"SELECT SUM(CLAMP(age, 0, 3, 0)) FROM visits WHERE {YEAR}", "CLAMP", "SUM"),
    (f"SELECT CLAMP(COUNT(*), 1, 5) FROM visits WHERE {YEAR}", "CLAMP", "CLAMP"),
    (f"SELECT CLAMP(COUNT(DISTINCT person_id), 0, 5) FROM visits WHERE {YEAR}", "CLAMP", "CLAMP"),
    (f"SELECT wek, COUNT(*) FROM visits WHERE {YEAR} GROUP BY wek", "key wek", "wek"),
    (f"SELECT v.week, COUNT(*) FROM visits WHERE {YEAR} GROUP BY week", "qualified column", "v.week"),
    (f"SELECT age_band(decades), COUNT(*) FROM visits WHERE {YEAR} GROUP BY age_band", "age_band", "age_band"),
    (f"SELECT week, COUNT(*) FROM visits WHERE {YEAR} GROUP BY 1", "literal", "1"),
    (f"SELECT week, COUNT(*) FROM visits WHERE {YEAR} GROUP BY ALL", "GROUP BY ALL", "GROUP BY"),
    (f"SELECT week, COUNT(*) FROM visits WHERE {YEAR} GROUP BY ROLLUP (1)", "literal", "1)"),
    (f"SELECT week, sex, COUNT(*) FROM visits WHERE {YEAR} GROUP BY week, ROLLUP (sex)", "ROLLUP", "sex)"),
    (f"SELECT week, COUNT(*) FROM visits WHERE {YEAR} GROUP BY ROLLUP (week), CUBE (week)", "CUBE", "week)"),
    (f"SELECT week, sex, COUNT(*) FROM visits WHERE {YEAR} GROUP BY GROUPING SETS ((week), (sex))", "GROUP BY", "GROUP"),
    (f"SELECT week, COUNT(*) FROM visits WHERE {YEAR}", "GROUP BY", ""),
    (f"SELECT icd10_prefix, COUNT(*) FROM diagnoses WHERE {YEAR} GROUP BY icd10_prefix", "icd10_prefix", "icd10_prefix"),
    (f"SELECT COUNT(*) FROM visit WHERE {YEAR}", "table visit", "visit "),
    (f"SELECT COUNT(*) FROM visits v WHERE {YEAR}", "table alias", "visits"),
    (f"SELECT COUNT(*) FROM main.visits WHERE {YEAR}", "table db", "visits"),
    (f"SELECT COUNT(*) FROM visits WHERE {YEAR} AND sex <> 'F'", "<>", "sex <>"),
    (f"SELECT COUNT(*) FROM visits WHERE {YEAR} AND sex IS NULL", "IS", "sex IS"),
    (f"SELECT COUNT(*) FROM visits WHERE {YEAR} AND sex = age", "sex", "sex ="),
    (f"SELECT COUNT(*) FROM visits WHERE {YEAR} AND sex IN (SELECT 1)", "subquery", "sex IN"),
    (f"SELECT COUNT(*) FROM visits WHERE {YEAR} AND age IN (1, 2)", "IN on age", "age IN"),
    (f"SELECT COUNT(*) FROM visits WHERE {YEAR} AND sex BETWEEN 'F' AND 'M'", "BETWEEN on sex", "sex BETWEEN"),
    (f"SELECT COUNT(*) FROM visits WHERE {YEAR} AND age BETWEEN SYMMETRIC 1 AND 3", "BETWEEN on age", "age BETWEEN"),
    (f"SELECT COUNT(*) FROM visits WHERE {YEAR} AND sex > 'F'", "> on sex", "sex >"),
    (f"SELECT COUNT(*) FROM visits WHERE {YEAR} AND sex = 'F' AND sex = 'M'", "sex", "sex = 'M'"),
    (f"SELECT COUNT(*) FROM visits WHERE {YEAR} AND date > '2025-05-05'", "date", "date > "),
    (f"SELECT COUNT(*) FROM visits WHERE {YEAR} AND age > 1.5", "age", "age > 1.5"),
    (f"SELECT COUNT(*) FROM visits WHERE {YEAR} AND age > '1'", "age", "age > '1'"),
    (f"SELECT COUNT(*) FROM visits WHERE {YEAR} AND TRUE", "BOOLEAN", ""),
    (f"SELECT COUNT(*) FROM visits WHERE {YEAR} AND disrict = '440103'", "column disrict", "disrict"),
    (f"SELECT COUNT(*) FROM visits WHERE {YEAR} AND icd10 LIKE 'J%'", "column icd10", "icd10"),
    (f"SELECT COUNT(*) FROM diagnoses WHERE {YEAR} AND icd10 LIKE '%J'", "LIKE", "icd10"),
    (f"SELECT COUNT(*) FROM diagnoses WHERE {YEAR} AND icd10 LIKE 'J%1%'", "LIKE", "icd10"),
    (f"SELECT COUNT(*) FROM diagnoses WHERE {YEAR} AND icd10 LIKE 'J_%'", "LIKE", "icd10"),
    (f"SELECT COUNT(*) FROM diagnoses WHERE {YEAR} AND icd10 ILIKE 'J%'", "ILIKE", "icd10"),
    (f"SELECT COUNT(*) FROM diagnoses WHERE {YEAR} AND icd10 = 'J10'", "= on icd10", "icd10"),
    (f"SELECT COUNT(*) FROM diagnoses WHERE {YEAR} AND icd10_prefix IN ('1J')", "icd10_prefix", "icd10_prefix"),
    (f"SELECT COUNT(*) FROM diagnoses WHERE {YEAR} AND icd10_prefix IN ('J1') AND icd10 LIKE 'J2%'", "icd10", "icd10 LIKE"),
    ("SELECT COUNT(*) FROM visits WHERE date >= DATE '2025-01-01'", "date", "date >="),
    ("SELECT COUNT(*) FROM visits WHERE date >= DATE '2025-02-30' AND date < '2026-01-01'", "date", "date >="),
    ("SELECT COUNT(*) FROM visits WHERE date >= TIMESTAMP '2025-01-01' AND date < '2026-01-01'", "date", "date >="),
    ("SELECT COUNT(*) FROM visits WHERE date >= current_date AND date < '2026-01-01'", "date", "date >="),
    ("SELECT COUNT(*) FROM visits WHERE date BETWEEN '2025-02-01' AND '2025-01-01'", "period", "date"),
    ("SELECT COUNT(*) FROM visits", "period", "visits"),
    ("SELECT COUNT(*) FROM patients WHERE age > 3", "as_of", "patients"),
    (f"SELECT SUM(CLAMP(age, 9, 2)) FROM visits WHERE {YEAR}", "sum", "SUM"),
    (f"SELECT SUM(CLAMP(value, 0, 2)) FROM visits WHERE {YEAR}", "value", "SUM"),
    (f"SELECT COUNT(*), COUNT(*) FROM visits WHERE {YEAR}", "count", "COUNT(*) FROM"),
    (f"SELECT COUNT(*) FROM visits WHERE {YEAR} AND sex = 'K'", "sex", "sex"),
    (f"SELECT week FROM visits WHERE {YEAR} GROUP BY week", "measures", ""),
    ("SELECT COUNT(*)", "FROM", ""),
    ("SELECT 1 UNION SELECT 2", "UNION", "UNION"),
    ("SELECT 1; DROP TABLE visits", ";", ";"),
    ("DROP TABLE visits", "statement", "DROP"),
    ("", "query", ""),
    ("SELECT COUNT(* FROM visits", "query", "FROM"),
    ("SELECT 'open", "query", ""),
    ("SELECT " + "(" * 30 + "1", "(", "("),
    ("SELECT " + "1," * 20_000, "query", ""),
]


@pytest.mark.parametrize(
    ("text", "construct", "at"), OUTSIDE, ids=[f"{n}-{construct}" for n, (_, construct, _) in enumerate(OUTSIDE)]
)
def test_what_lies_outside_the_language_is_named_with_its_place(text: str, construct: str, at: str) -> None:
    found = problems(text)
    named = [problem for problem in found if problem.construct == construct]
    if construct == "table":
        assert any(problem.code is ProblemCode.OUTSIDE_LANGUAGE for problem in found)
        return
    assert named, str(found)
    if at and construct not in {"(", "query"}:
        starts = [text.find(at, start) for start in range(len(text)) if text.startswith(at, start)]
        assert named[-1].column - 1 in starts, (named[-1], text[named[-1].column - 1 :][:20])
    assert all(problem.nearest for problem in named), named


def test_places_count_lines_and_columns_from_one() -> None:
    text = f"SELECT week,\n       COUNT(*)\nFROM visits\nWHERE {YEAR}\nGROUP BY week\n  HAVING 1 = 1"
    (problem,) = problems(text)
    assert (problem.line, problem.column, problem.construct) == (6, 3, "HAVING")


def test_all_problems_are_told_in_the_order_of_the_text() -> None:
    text = f"SELECT wek, MEDIAN(age), SUM(CLAMP(age, 3, 1)) FROM visits WHERE {YEAR} AND sex = 'K' GROUP BY wek LIMIT 3"
    found = problems(text)
    assert [problem.construct for problem in found] == ["key wek", "MEDIAN", "sum", "sex", "LIMIT"]
    assert [problem.column for problem in found] == sorted(problem.column for problem in found)


@pytest.mark.parametrize(
    ("given_name", "nearest"),
    [
        ("visit", "visits"),
        ("diagnosis", "diagnoses"),
        ("measurement", "measurements"),
        ("beds", "visits, diagnoses, measurements, patients"),
    ],
)
def test_an_unknown_table_is_answered_with_the_one_most_like_it(given_name: str, nearest: str) -> None:
    assert problems(f"SELECT COUNT(*) FROM {given_name} WHERE {YEAR}")[0].nearest == nearest


def test_a_column_of_another_table_is_answered_with_that_table() -> None:
    assert problems(f"SELECT COUNT(*) FROM visits WHERE {YEAR} AND icd10 LIKE 'J%'")[0].nearest == "FROM diagnoses"
    assert problems("SELECT COUNT(*) FROM visits WHERE visit_date > '2025-01-01'")[0].nearest == "date"


def test_a_literal_is_never_repeated() -> None:
    secret = "LiSi1234"
    for text, _, _ in OUTSIDE:
        for quoted in ("'F'", "'J%1%'", "'440103'", "'2025-01-01'", "'1J'"):
            if quoted in text:
                assert secret not in "\n".join(map(str, problems_or_none(text.replace(quoted, f"'{secret}'"))))


def problems_or_none(text: str) -> tuple[Problem, ...]:
    try:
        parse_sql(text)
    except QueryError as error:
        return error.problems
    return ()


FRAGMENTS = [
    "SELECT",
    "FROM",
    "WHERE",
    "week",
    "visits",
    "COUNT(*)",
    "(",
    ")",
    ",",
    "'",
    "AND",
    "OR",
    "NOT",
    "date",
    ">=",
    "=",
    "1",
    "-",
    "*",
    "IN",
    "LIKE",
    "'J%'",
    "CLAMP",
    "SUM",
    "BETWEEN",
    ";",
    "--",
    "/*",
    "$1",
    "::",
    "[",
    "{",
    "UNION",
    "JOIN",
    "CASE",
    "age_band",
    "HAVING",
    "LIMIT",
    "icd10",
    "AS",
    "x",
    ".",
    "é",
    "GROUP BY",
    "ORDER BY",
    "DATE '2025-01-01'",
    "\n",
    "\0",
]


@settings(max_examples=500, deadline=None)
@given(
    st.one_of(
        st.text(max_size=80), st.lists(st.sampled_from(FRAGMENTS), max_size=14).map(lambda words: "SELECT " + " ".join(words))
    )
)
def test_any_text_is_a_spec_or_a_query_error_with_a_place(text: str) -> None:
    for problem in problems_or_none(text):
        assert problem.line >= 1
        assert problem.column >= 1
