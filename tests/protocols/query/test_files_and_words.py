"""A query as a file and in words."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.query import Language, Problem, QueryError, QuerySpec, in_words, parse_json, parse_toml
from tests.protocols.query.specs import specs, weighted_specs


def problems(text: str, *, is_json: bool = False) -> tuple[Problem, ...]:
    with pytest.raises(QueryError) as caught:
        (parse_json if is_json else parse_toml)(text)
    return caught.value.problems


@given(st.one_of(specs(), weighted_specs()))
def test_the_canonical_encoding_is_a_valid_file(spec: QuerySpec) -> None:
    assert parse_json(json.dumps(spec.to_json())) == spec


def test_a_file_may_leave_order_defaults_and_spelling_to_the_reader() -> None:
    loose = """
        table = "measurements"
        measures = ["count", { kind = "avg", column = "value", lo = 0, hi = 20.50, scale = 10 }]
        keys = ["month", "age_band"]
        where = [{ column = "value", op = "<", number = 5 }, { column = "value", op = ">", number = -1.0 },
                 { column = "sex", values = ["M", "F", "M"] }]
        period = { from = 2025-01-01, to = "2025-02-01" }
    """
    assert parse_toml(loose).to_json() == {
        "version": 1,
        "table": "measurements",
        "measures": [{"kind": "count", "hi": 3}, {"kind": "avg", "column": "value", "lo": "0", "hi": "20.5", "scale": 10}],
        "keys": [{"key": "month"}, {"key": "age_band", "bands": "surveillance"}],
        "where": [
            {"column": "sex", "values": ["F", "M"]},
            {"column": "value", "op": ">", "number": "-1"},
            {"column": "value", "op": "<", "number": "5"},
        ],
        "period": {"from": "2025-01-01", "to": "2025-02-01"},
        "cells_per_patient": 4,
        "bound": "block",
    }


def test_a_syntax_error_has_its_place() -> None:
    assert (problems('table = "visits"\nkeys = [')[0].line, problems('{"table": }', is_json=True)[0].column) == (2, 11)


def test_broken_fields_are_all_named_with_a_valid_form() -> None:
    found = problems('table = "visit"\nmeasure = ["count"]\nmeasures = ["cnt"]\nkeys = ["wek"]')
    assert {problem.construct: problem.nearest.split(",")[0] for problem in found} == {
        "table": "'visits'",
        "measure": "measures",
        "measures": "'count'",
        "keys": "'iso_week'",
    }


@pytest.mark.parametrize(
    "text", ['"x"', "[]", "1e999999999", '{"a": 1, "a": 2}', '{"table": NaN}', "[" * 100_000, '{"where": 1e31}']
)
def test_a_file_that_is_no_query_is_a_query_error(text: str) -> None:
    assert problems(text, is_json=True)


@pytest.mark.parametrize(
    "text", ["a = nan", "a = 1e99999999", "a = " + "[" * 5_000, "where = [1]", "keys = 3", "period = 2025-01-01T00:00:00"]
)
def test_a_toml_file_that_is_no_query_is_a_query_error(text: str) -> None:
    assert problems(text)


@settings(max_examples=300)
@given(st.text(max_size=60))
def test_any_text_is_a_query_error_and_nothing_else(text: str) -> None:
    assert problems(text)
    assert problems(text, is_json=True)


@pytest.mark.parametrize("language", list(Language))
@settings(max_examples=200)
@given(one=st.one_of(specs(), weighted_specs()), other=st.one_of(specs(), weighted_specs()))
def test_two_different_queries_never_read_the_same(language: Language, one: QuerySpec, other: QuerySpec) -> None:
    assert (in_words(one, language) == in_words(other, language)) == (one == other)


def test_words_name_districts_prefixes_and_the_blocks_that_pay() -> None:
    spec = parse_toml(
        'table = "diagnoses"\nmeasures = ["count_distinct_person"]\nkeys = ["iso_week"]\n'
        'where = [{ column = "icd10", prefixes = ["J10"] }, { column = "district", values = ["440106"] }]\n'
        "period = { from = 2025-01-15, to = 2025-03-01 }"
    )
    chinese, english = in_words(spec, Language.ZH), in_words(spec, Language.EN)
    assert "440106 天河区" in chinese
    assert "付费区块（2）：2025-01 至 2025-02" in chinese
    assert "ICD-10 code begins with J10" in english
    assert "distinct patients (within each hospital)" in english
