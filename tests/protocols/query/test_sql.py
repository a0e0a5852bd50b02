"""SQL in, spec out; what is nearly right is named with its place and a valid form."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from protocols.query import QueryError, QuerySpec
from protocols.query.sql import parse_sql
from tests.protocols.query.reading import YEAR, fields, problems
from tests.protocols.query.specs import specs


def test_the_reference_question_reads_as_its_spec() -> None:
    text = f"SELECT week, district, COUNT(DISTINCT person_id) AS people FROM visits WHERE {YEAR} GROUP BY district, week"
    assert fields(text) == {
        "version": 1,
        "table": "visits",
        "measures": [{"kind": "count_distinct_person"}],
        "keys": [{"key": "iso_week"}, {"key": "district"}],
        "where": [],
        "period": {"from": "2025-01-01", "to": "2026-01-01"},
        "cells_per_patient": 4,
        "bound": "block",
    }


@pytest.mark.parametrize(
    ("condition", "period"),
    [
        ("date >= '2025-01-01' AND date < '2025-02-01'", ("2025-01-01", "2025-02-01")),
        ("date > '2024-12-31' AND date <= '2025-01-31'", ("2025-01-01", "2025-02-01")),
        ("date BETWEEN '2025-01-01' AND '2025-01-31'", ("2025-01-01", "2025-02-01")),
        ("date = '2024-02-29'", ("2024-02-29", "2024-03-01")),
        ("'2025-01-01' <= date AND '2025-02-01'::date > date", ("2025-01-01", "2025-02-01")),
    ],
)
def test_every_way_to_write_a_period_is_half_open_in_the_spec(condition: str, period: tuple[str, str]) -> None:
    assert fields(f"SELECT COUNT(*) FROM visits WHERE {condition}")["period"] == {"from": period[0], "to": period[1]}


@pytest.mark.parametrize(
    ("condition", "low", "high"),
    [
        ("age BETWEEN 5 AND 14", 5, 14),
        ("age >= 5 AND age < 15", 5, 14),
        ("age = 7", 7, 7),
        ("age > 60", 61, 150),
        ("15 > age", 0, 14),
    ],
)
def test_every_way_to_write_ages_is_a_closed_range_in_the_spec(condition: str, low: int, high: int) -> None:
    assert fields(f"SELECT COUNT(*) FROM visits WHERE {YEAR} AND {condition}")["where"] == [
        {"column": "age", "low": low, "high": high}
    ]


def test_prefixes_are_one_list_however_they_are_written() -> None:
    written = (
        "icd10_prefix IN ('J11', 'J10')",
        "(icd10 LIKE 'j10%' OR icd10 LIKE 'J11%')",
        "icd10_prefix IN ('J10', 'J11', 'J11.1')",
    )
    for condition in written:
        read = fields(f"SELECT COUNT(*) FROM diagnoses WHERE {YEAR} AND {condition}")
        assert read["where"] == [{"column": "icd10", "prefixes": ["J10", "J11"]}]


def test_districts_go_by_code_or_by_name_in_either_language() -> None:
    read = fields(f"SELECT COUNT(*) FROM visits WHERE {YEAR} AND district IN ('天河', '天河区', 'tianhe', '440106')")
    assert read["where"] == [{"column": "district", "values": ["440106"]}]


def test_the_scale_is_a_fourth_argument_and_has_a_default() -> None:
    read = fields(f"SELECT SUM(CLAMP(value, -1.50, 2)), AVG(CLAMP(value, 0, 2, 1000)) FROM measurements WHERE {YEAR}")
    assert read["measures"] == [
        {"kind": "sum", "column": "value", "lo": "-1.5", "hi": "2", "scale": 100},
        {"kind": "avg", "column": "value", "lo": "0", "hi": "2", "scale": 1000},
    ]


@pytest.mark.parametrize(
    ("clamp", "scale"),
    [
        ("0, 5", 100),
        ("0, 30", 10),
        ("0, 300", 1),
        ("-50, 5", 10),
        ("0, 500", 1),
        ("0, 9000", 1),
        ("-0.25, 300", 100),  # its ends are whole in hundredths alone
        ("0, 300.5", 10),
    ],
)
def test_a_scale_that_nobody_states_is_the_finest_that_a_month_can_pay(clamp: str, scale: int) -> None:
    read = fields(f"SELECT SUM(CLAMP(value, {clamp})) FROM measurements WHERE {YEAR}")
    assert [each["scale"] for each in read["measures"]] == [scale]
    assert fields(f"SELECT SUM(CLAMP(age, 0, 120)) FROM visits WHERE {YEAR}")["measures"][0]["scale"] == 1


def as_sql(spec: QuerySpec) -> str:
    """Writes a spec as the language spells it, to read it back."""
    encoded = spec.to_json()
    where = [_condition_as_sql(condition) for condition in encoded["where"]]
    if "cohort" in encoded:
        where.append(_cohort_as_sql({"kind": "not", "of": {"kind": "not", "of": encoded["cohort"]}}))
    if "period" in encoded:
        where.append(f"date >= DATE '{encoded['period']['from']}' AND date < DATE '{encoded['period']['to']}'")
    if "as_of" in encoded:
        where.append(f"as_of = DATE '{encoded['as_of']}'")
    where += [f"icd10_prefix IN ({', '.join(map(repr, key['prefixes']))})" for key in encoded["keys"] if "prefixes" in key]
    keys = {key["key"]: _key_as_sql(key) for key in encoded["keys"]}
    measures = [_measure_as_sql(measure) for measure in encoded["measures"]]
    filtered = f" WHERE {' AND '.join(where)}" if where else ""
    levels = [list(keys), *encoded.get("totals", [])]
    sets = ", ".join(f"({', '.join(keys[name] for name in level)})" for level in levels)
    grouped = f" GROUP BY {', '.join(keys.values())}" if keys else ""
    if len(levels) > 1:
        grouped = f" GROUP BY GROUPING SETS ({sets})"
    return f"SELECT {', '.join([*keys.values(), *measures])} FROM {encoded['table']}{filtered}{grouped}"


def _key_as_sql(key: dict[str, Any]) -> str:
    if key["key"] == "bin":
        return f"BIN({key['column']}, {', '.join(key['edges'])})"
    return f"age_band({key['bands']})" if "bands" in key else str(key["key"])


def _condition_as_sql(condition: dict[str, Any]) -> str:
    column = condition["column"]
    if "prefixes" in condition:
        return "(" + " OR ".join(f"icd10 LIKE '{prefix}%'" for prefix in condition["prefixes"]) + ")"
    if "values" in condition:
        return f"{column} IN ({', '.join(repr(value) for value in condition['values'])})"
    if column == "age":
        return f"age BETWEEN {condition['low']} AND {condition['high']}"
    return f"value {condition['op']} {condition['number']}"


def _cohort_as_sql(cohort: dict[str, Any]) -> str:
    """Conditions of a row stand under two NOTs, so that no two of them are read as one list of conditions."""
    if cohort["kind"] == "not":
        return f"NOT ({_cohort_as_sql(cohort['of'])})"
    if cohort["kind"] in {"all", "any"}:
        return "(" + (" AND " if cohort["kind"] == "all" else " OR ").join(map(_cohort_as_sql, cohort["of"])) + ")"
    conditions = " AND ".join(map(_condition_as_sql, cohort["where"]))
    if cohort["kind"] == "is":
        return f"NOT (NOT ({conditions}))"
    ends = cohort.get("days") or [f"DATE '{cohort['period'][end]}'" for end in ("from", "to")]
    return f"HAS({', '.join(filter(None, [cohort['table'], conditions, *map(str, ends)]))})"


def _measure_as_sql(measure: dict[str, Any]) -> str:
    plain = {name: content for name, content in measure.items() if name != "filter"}
    return _plain_as_sql(plain) + (f" FILTER (WHERE {_cohort_as_sql(measure['filter'])})" if "filter" in measure else "")


def _plain_as_sql(measure: dict[str, Any]) -> str:
    if measure["kind"] == "count_distinct_person":
        return "COUNT(DISTINCT person_id)"
    if measure["kind"] == "count":
        return f"CLAMP(COUNT(*), 0, {measure['hi']})"
    if measure["kind"] == "survival":
        return f"KAPLAN_MEIER({_cohort_as_sql(measure['event'])}, {measure['edges']}, DATE '{measure['until']}')"
    fourth = next(measure[name] for name in ("scale", "steps", "bins") if name in measure)
    clamped = f"CLAMP({measure['column']}, {measure['lo']}, {measure['hi']}, {fourth})"
    if measure["kind"] == "quantiles":
        return f"QUANTILE({clamped}, [{', '.join(measure['points'])}])"
    return f"{measure['kind']}({clamped})"


@settings(max_examples=200, deadline=None)
@given(specs())
def test_every_spec_can_be_written_in_sql_and_read_back(spec: QuerySpec) -> None:
    spec = _without_lines(spec)
    read = parse_sql(as_sql(spec), cells_per_patient=spec.cells_per_patient, bound=spec.bound)
    assert _without_double_nots(read.to_json()) == _without_double_nots(spec.to_json())


def _without_lines(spec: QuerySpec) -> QuerySpec:
    """Of a table one SQL writes several measures at a time, which has its own test."""
    measures = [each for each in spec.to_json()["measures"] if each["kind"] not in {"summary", "categories"}]
    fields = spec.to_json() | {"measures": measures or [{"kind": "count", "hi": 1}]}
    try:  # the line that is gone may have been what asked for an age, and a day for it
        return QuerySpec.from_fields({name: part for name, part in fields.items() if name != "as_of"})
    except QueryError:
        return QuerySpec.from_fields(fields)


def test_a_table_one_is_patients_and_the_lines_of_each_column() -> None:
    text = f"SELECT sex, TABLE_ONE(CLAMP(age, 0, 100), district, CLAMP(age, 0, 50, 25)) FROM visits WHERE {YEAR} GROUP BY sex"
    lines = {"kind": "summary", "column": "age", "lo": "0", "hi": "100", "steps": 16, "bins": 32}
    read = fields(text)
    assert read["measures"] == [
        {"kind": "count_distinct_person"},
        lines,
        {"kind": "categories", "column": "district"},
        lines | {"hi": "50", "bins": 25},
    ]
    assert (read["cells_per_patient"], read["bound"]) == (1, "query"), "a patient is in one group, once"
    assert parse_sql(text, cells_per_patient=3, bound="block").to_json() | {"cells_per_patient": 1, "bound": "query"} == read
    women = fields(f"SELECT TABLE_ONE(sex) FILTER (WHERE age < 15) FROM visits WHERE {YEAR}")["measures"]
    assert [each["filter"]["where"][0]["high"] for each in women] == [14, 14]


LINES = f"SELECT {{}} FROM visits WHERE {YEAR}"
EVENT = "HAS(visits, visit_class = 'IMP', 1, 90)"


@pytest.mark.parametrize(
    ("measure", "construct", "code"),
    [
        ("TABLE_ONE()", "TABLE_ONE", "query.bad_value"),
        ("TABLE_ONE(age)", "TABLE_ONE", "query.bad_value"),
        ("TABLE_ONE(sex + 1)", "TABLE_ONE", "query.bad_value"),
        ("TABLE_ONE(visits.sex)", "TABLE_ONE", "query.bad_value"),
        ("TABLE_ONE(icd10)", "column", "query.shape"),
        ("TABLE_ONE(CLAMP(value, 0, 9))", "value", "query.not_in_table"),
        ("TABLE_ONE(CLAMP(age, 9, 0))", "summary", "query.clamps"),
        ("TABLE_ONE(CLAMP(age, 0, 9, 1.5))", "CLAMP", "query.clamps"),
        ("TABLE_ONE(CLAMP(age, 0, 9, 1000))", "bins", "query.shape"),
        ("COUNT(DISTINCT person_id), TABLE_ONE(sex)", "count_distinct_person", "query.duplicate"),
        ("KAPLAN_MEIER()", "KAPLAN_MEIER", "query.bad_value"),
        (f"KAPLAN_MEIER({EVENT}, [30, 90])", "KAPLAN_MEIER", "query.bad_value"),
        (f"KAPLAN_MEIER({EVENT}, 90, DATE '2026-03-01')", "KAPLAN_MEIER", "query.bad_value"),
        (f"KAPLAN_MEIER({EVENT}, [], DATE '2026-03-01')", "KAPLAN_MEIER", "query.bad_value"),
        (f"KAPLAN_MEIER({EVENT}, [1.5, 90], DATE '2026-03-01')", "KAPLAN_MEIER", "query.bad_value"),
        (f"KAPLAN_MEIER({EVENT}, [30, 90], 'soon')", "KAPLAN_MEIER", "query.bad_value"),
        ("KAPLAN_MEIER(sex = 'F', [30, 90], DATE '2026-03-01')", "KAPLAN_MEIER", "query.bad_value"),
        (f"KAPLAN_MEIER({EVENT}, [90, 30], DATE '2026-03-01')", "KAPLAN_MEIER", "query.bad_value"),
        (f"KAPLAN_MEIER({EVENT}, [30, 60], DATE '2026-03-01')", "KAPLAN_MEIER", "query.look_back"),
        (f"KAPLAN_MEIER({EVENT}, [30, 90], DATE '2026-01-01')", "KAPLAN_MEIER", "query.period"),
        ("KAPLAN_MEIER(HAS(patients, sex = 'F', 1, 90), [30, 90], DATE '2026-03-01')", "HAS(patients)", "query.look_back"),
    ],
)
def test_a_wrong_table_one_or_curve_is_named_with_its_place(measure: str, construct: str, code: str) -> None:
    found = problems(LINES.format(measure))
    assert [(each.construct, each.code) for each in found] == [(construct, code)]
    assert found[0].line == 1
    assert found[0].column >= LINES.index("{")


def test_a_curve_is_refused_a_bound_by_block_and_patients_have_none() -> None:
    curve = f"KAPLAN_MEIER({EVENT}, [30, 90], DATE '2026-03-01')"
    with pytest.raises(QueryError) as caught:
        parse_sql(LINES.format(curve), bound="block")
    assert [each.code for each in caught.value.problems] == ["query.bound_not_offered"]
    assert "query.look_back" in [each.code for each in problems(f"SELECT {curve} FROM patients")]


def _without_double_nots(part: Any) -> Any:
    if isinstance(part, list):
        return [_without_double_nots(each) for each in part]
    if not isinstance(part, dict):
        return part
    plain = {name: _without_double_nots(each) for name, each in part.items()}
    is_double = plain.get("kind") == "not" and plain["of"]["kind"] == "not"
    return _flattened(plain["of"]["of"] if is_double else plain)


def _flattened(part: dict[str, Any]) -> dict[str, Any]:
    """AND of ANDs, and OR of ORs, as one."""
    if part.get("kind") not in {"all", "any"}:
        return part
    lists = [each["of"] if each["kind"] == part["kind"] else [each] for each in part["of"]]
    return part | {"of": [each for inner in lists for each in inner]}


COHORTS = f"SELECT COUNT(*) FROM diagnoses WHERE {YEAR} AND icd10 LIKE 'J10%' AND age < 15 AND "


def test_first_ever_repeats_what_is_of_the_illness_in_the_days_before() -> None:
    read = fields(COHORTS + "FIRST_EVER(365)")
    earlier = {"kind": "has", "table": "diagnoses", "where": [{"column": "icd10", "prefixes": ["J10"]}], "days": [-365, -1]}
    assert read["cohort"] == {"kind": "not", "of": earlier}
    assert read["bound"] == "query"


def test_a_window_of_the_rows_own_day_stays_bounded_per_block() -> None:
    read = fields(f"SELECT COUNT(*), COUNT(*) FILTER (WHERE HAS(diagnoses, icd10 LIKE 'J1%', 0, 0)) FROM visits WHERE {YEAR}")
    assert read["bound"] == "block"
    assert read["measures"][1]["filter"]["days"] == [0, 0]


def test_a_range_inside_a_filter_is_one_condition_and_the_clamp_may_stand_outside() -> None:
    within = "CLAMP(COUNT(*) FILTER (WHERE age >= 5 AND age < 15 AND NOT sex = 'F'), 0, 5)"
    after = "CLAMP(COUNT(*), 0, 5) FILTER (WHERE NOT sex = 'F' AND age BETWEEN 5 AND 14)"
    one, other = (fields(f"SELECT {measure} FROM visits WHERE {YEAR}")["measures"] for measure in (within, after))
    assert one == other
    assert one[0]["filter"]["of"][0] == {"kind": "is", "where": [{"column": "age", "low": 5, "high": 14}]}


@pytest.mark.parametrize(
    ("condition", "construct", "at", "code"),
    [
        ("FIRST_EVER()", "FIRST_EVER", "FIRST_EVER", "query.look_back"),
        ("FIRST_EVER(0)", "FIRST_EVER", "FIRST_EVER", "query.look_back"),
        ("FIRST_EVER(2.5)", "FIRST_EVER", "FIRST_EVER", "query.look_back"),
        ("(sex = 'F' OR FIRST_EVER(30))", "FIRST_EVER", "FIRST_EVER", "query.look_back"),
        ("NOT FIRST_EVER(30)", "FIRST_EVER", "FIRST_EVER", "query.look_back"),
        ("HAS()", "HAS", "HAS", "query.look_back"),
        ("HAS(diagnoses)", "HAS", "HAS", "query.look_back"),
        ("HAS(diagnoses, icd10 LIKE 'J1%', -3)", "HAS", "HAS", "query.look_back"),
        ("HAS(diagnoses, icd10 LIKE 'J1%', 3, -3)", "HAS", "HAS", "query.look_back"),
        ("HAS(diagnoses, icd10 LIKE 'J1%', -9000, 0)", "HAS", "HAS", "query.look_back"),
        ("FIRST_EVER(9000)", "FIRST_EVER", "FIRST_EVER", "query.look_back"),
        ("HAS(diagnoses, icd10 LIKE 'J1%', DATE '2025-02-01', DATE '2025-01-01')", "HAS", "HAS", "query.look_back"),
        ("HAS(diagnoses, DATE '1950-01-01', DATE '2025-01-01')", "HAS", "HAS", "query.look_back"),
        ("HAS(diagnoses, -3, DATE '2025-01-01')", "HAS", "HAS", "query.look_back"),
        ("HAS(patients, sex = 'F', -3, 3)", "HAS(patients)", "HAS", "query.look_back"),
        ("HAS(diagnosis, -3, 3)", "table diagnosis", "diagnosis", "query.unknown_name"),
        ("HAS(visits, loinc = '718-7', -3, 3)", "column loinc", "loinc", "query.not_in_table"),
        ("HAS(visits, sex IN ('X'), -3, 3)", "sex", "HAS", "query.bad_value"),
        ("HAS(visits, date > '2025-01-01', -3, 3)", "date inside", "date > '2025", "query.outside_language"),
        ("HAS(visits, HAS(visits, 0, 0), -3, 3)", "function HAS", "HAS(visits, 0", "query.outside_language"),
        ("HAS(visits, sex = 'F' OR age < 5, -3, 3)", "OR", "sex = 'F'", "query.outside_language"),
        ("EXISTS (SELECT 1 FROM visits)", "EXISTS", "(SELECT", "query.outside_language"),
        ("NOT sex IS NULL", "IS", "sex IS", "query.outside_language"),
        ("(icd10 LIKE 'J2%' OR district = 'Mars')", "district", "district", "query.bad_value"),
    ],
)
def test_a_wrong_cohort_is_named_with_its_place(condition: str, construct: str, at: str, code: str) -> None:
    text = COHORTS + condition
    found = problems(text)
    assert (construct, code) in [(each.construct, each.code) for each in found]
    column = text.index(at, len(COHORTS)) + 1
    assert [(each.line, each.column) for each in found] == [(1, column)] * len(found)
