"""The typed query: one encoding, and no spec that breaks a rule."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.query import ProblemCode, QueryError, QuerySpec
from tests.protocols.query.specs import specs, weighted_specs

WEEKLY: dict[str, Any] = {
    "version": 1,
    "table": "measurements",
    "measures": [{"kind": "sum", "column": "value", "lo": "-1", "hi": "2.5", "scale": 10}],
    "keys": [{"key": "iso_week"}, {"key": "district"}],
    "where": [{"column": "sex", "values": ["F"]}],
    "period": {"from": "2025-01-01", "to": "2026-01-01"},
    "cells_per_patient": 4,
    "bound": "block",
}
SUM = WEEKLY["measures"][0]


def codes(data: object) -> list[str]:
    with pytest.raises(QueryError) as caught:
        QuerySpec.from_json(data)
    return [problem.code.value for problem in caught.value.problems]


@given(st.one_of(specs(), weighted_specs()))
def test_every_spec_decodes_to_itself_and_has_one_spelling(spec: QuerySpec) -> None:
    encoded = spec.to_json()
    assert QuerySpec.from_json(encoded) == spec
    assert QuerySpec.from_json(json.loads(json.dumps(encoded))).to_json() == encoded


@given(st.one_of(specs(), weighted_specs()))
def test_an_encoding_holds_strings_integers_lists_and_objects_alone(spec: QuerySpec) -> None:
    def check(part: object) -> None:
        if isinstance(part, dict):
            assert all(isinstance(name, str) for name in part)
            part = list(part.values())
        if isinstance(part, list):
            for inner in part:
                check(inner)
        else:
            assert type(part) in {str, int}

    check(spec.to_json())


@settings(max_examples=300)
@given(st.one_of(specs(), weighted_specs()), st.data())
def test_a_changed_encoding_is_another_spec_or_an_error(spec: QuerySpec, data: st.DataObject) -> None:
    encoded = spec.to_json()
    field = data.draw(st.sampled_from(sorted(encoded)))
    encoded[field] = data.draw(
        st.sampled_from([None, True, 1, 1.0, "", "1", [], {}, [1], "block", "visits", [{"key": "sex"}], 2**70])
    )
    try:
        read = QuerySpec.from_json(encoded)
    except QueryError:
        return
    assert json.dumps(read.to_json(), sort_keys=True) == json.dumps(encoded, sort_keys=True)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"version": 2}, "query.shape"),
        ({"version": True}, "query.spelling"),
        ({"extra": 1}, "query.shape"),
        ({"table": "beds"}, "query.shape"),
        ({"measures": [{"kind": "median"}]}, "query.shape"),
        ({"measures": [SUM | {"lo": "-1.0"}]}, "query.shape"),
        ({"measures": [SUM | {"lo": "-0"}]}, "query.shape"),
        ({"measures": [SUM | {"hi": "1e3"}]}, "query.shape"),
        ({"measures": [SUM | {"hi": 3}]}, "query.shape"),
        ({"measures": [SUM | {"scale": "10"}]}, "query.shape"),
        ({"cells_per_patient": 0}, "query.shape"),
        ({"where": [{"column": "sex", "values": ["M", "F"]}]}, "query.shape"),
        ({"where": [{"column": "sex", "values": ["F", "F"]}]}, "query.shape"),
        ({"where": [{"column": "sex", "values": []}]}, "query.shape"),
        ({"period": {"from": "2025-1-1", "to": "2026-01-01"}}, "query.shape"),
        ({"period": {"from": "2025-02-29", "to": "2026-01-01"}}, "query.shape"),
        ({"period": {"start": "2025-01-01", "end": "2026-01-01"}}, "query.spelling"),
        ({"where": [{"column": "sex", "values": ["X"]}]}, "query.bad_value"),
        ({"where": [{"column": "district", "values": ["440107"]}]}, "query.bad_value"),
        ({"where": [{"column": "age", "low": 9, "high": 3}]}, "query.bad_value"),
        (
            {"where": [{"column": "value", "op": ">", "number": "3"}, {"column": "value", "op": "<", "number": "3"}]},
            "query.bad_value",
        ),
        (
            {"where": [{"column": "value", "op": "<", "number": "3"}, {"column": "value", "op": ">", "number": "1"}]},
            "query.out_of_order",
        ),
        (
            {"where": [{"column": "value", "op": ">", "number": "3"}, {"column": "value", "op": ">=", "number": "4"}]},
            "query.duplicate",
        ),
        ({"where": [{"column": "icd10", "prefixes": ["J10"]}]}, "query.not_in_table"),
        ({"keys": [{"key": "icd10_prefix", "prefixes": ["J10"]}]}, "query.not_in_table"),
        ({"measures": [SUM | {"column": "age"}]}, "query.not_in_table"),
        ({"keys": [{"key": "sex"}, {"key": "sex"}]}, "query.duplicate"),
        ({"measures": [SUM, SUM]}, "query.duplicate"),
        ({"measures": []}, "query.no_measure"),
        ({"measures": [SUM | {"lo": "3", "hi": "1"}]}, "query.clamps"),
        ({"measures": [SUM | {"lo": "1", "hi": "3"}]}, "query.clamps"),
        ({"measures": [SUM | {"lo": "-3", "hi": "-1"}]}, "query.clamps"),
        ({"measures": [SUM | {"lo": "0", "hi": "0"}]}, "query.clamps"),
        ({"measures": [SUM | {"hi": "2.55"}]}, "query.clamps"),
        ({"measures": [SUM | {"scale": 3, "hi": "3"}]}, "query.clamps"),
        ({"measures": [SUM | {"hi": "100000001"}]}, "query.clamps"),
        ({"period": {"from": "2026-01-01", "to": "2025-01-01"}}, "query.period"),
        ({"period": {"from": "2025-01-01", "to": "2025-01-01"}}, "query.period"),
        ({"period": {"from": "1899-12-31", "to": "1900-02-01"}}, "query.period"),
        ({"period": {"from": "2000-01-01", "to": "2025-01-01"}}, "query.period"),
        ({"as_of": "2025-01-01"}, "query.as_of"),
        ({"bound": "patient"}, "query.bound_not_offered"),
    ],
)
def test_a_broken_rule_is_named(change: dict[str, Any], code: str) -> None:
    assert codes(WEEKLY | change) == [code]


def test_a_field_left_out_is_refused_on_the_wire_and_filled_for_a_person() -> None:
    short = {name: content for name, content in WEEKLY.items() if name != "bound"}
    assert codes(short) == ["query.spelling"]
    assert QuerySpec.from_fields(short) == QuerySpec.from_json(WEEKLY)


def test_all_broken_rules_are_told_at_once() -> None:
    broken = WEEKLY | {
        "bound": "patient",
        "measures": [SUM | {"lo": "3", "hi": "1"}],
        "period": {"from": "2026-01-01", "to": "2025-01-01"},
    }
    assert set(codes(broken)) == {"query.bound_not_offered", "query.clamps", "query.period"}


@pytest.mark.parametrize("data", [None, [], "x", 1, float("nan"), {"table": b"x"}, {1: 2}])
def test_what_is_not_a_spec_at_all_is_a_query_error(data: object) -> None:
    assert codes(data)


def test_a_deep_object_is_a_query_error() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert codes({"table": deep}) == ["query.shape"]


def test_dated_tables_need_a_period_and_patients_have_none() -> None:
    no_period = {name: content for name, content in WEEKLY.items() if name != "period"}
    assert "query.period" in codes(no_period)
    patients = no_period | {"table": "patients", "measures": [{"kind": "count", "hi": 3}], "keys": [{"key": "sex"}], "where": []}
    assert QuerySpec.from_json(patients).period is None
    assert codes(patients | {"period": WEEKLY["period"]}) == ["query.period"]
    assert codes(patients | {"keys": [{"key": "month"}]}) == ["query.not_in_table"]


def test_the_age_of_patients_needs_a_day_and_nothing_else_may_have_one() -> None:
    patients = {name: content for name, content in WEEKLY.items() if name not in {"period", "where"}}
    patients |= {
        "table": "patients",
        "measures": [{"kind": "count", "hi": 3}],
        "keys": [{"key": "age_band", "bands": "surveillance"}],
        "where": [],
    }
    assert codes(patients) == ["query.as_of"]
    assert QuerySpec.from_json(patients | {"as_of": "2025-07-01"}).as_of is not None
    assert codes(patients | {"keys": [{"key": "sex"}], "as_of": "2025-07-01"}) == ["query.as_of"]
    assert codes(patients | {"as_of": "1850-07-01"}) == ["query.as_of"]


def test_prefixes_of_a_key_must_not_begin_each_other() -> None:
    diagnoses = WEEKLY | {"table": "diagnoses", "measures": [{"kind": "count_distinct_person"}], "where": []}
    overlapping = {"key": "icd10_prefix", "prefixes": ["J1", "J10", "J2"]}
    assert codes(diagnoses | {"keys": [overlapping]}) == ["query.overlap"]
    beside = [{"column": "icd10", "prefixes": ["J"]}]
    assert codes(diagnoses | {"keys": [overlapping | {"prefixes": ["J10", "J2"]}], "where": beside}) == ["query.duplicate"]
    assert codes(diagnoses | {"where": [{"column": "icd10", "prefixes": ["J", "J10"]}]}) == ["query.overlap"]


def test_a_grid_past_the_limit_is_refused_with_its_size() -> None:
    prefixes = [f"A{n:03}" for n in range(400)]
    big = WEEKLY | {
        "table": "diagnoses",
        "measures": [{"kind": "count_distinct_person"}],
        "keys": [
            {"key": "iso_week"},
            {"key": "district"},
            {"key": "age_band", "bands": "surveillance"},
            {"key": "icd10_prefix", "prefixes": prefixes},
        ],
        "where": [],
    }
    with pytest.raises(QueryError, match=r"1166000 cells, the most is 1000000") as caught:
        QuerySpec.from_json(big)
    assert [problem.code for problem in caught.value.problems] == [ProblemCode.TOO_MANY_CELLS]
    big["keys"][3]["prefixes"] = prefixes[:343]  # 53 weeks x 11 x 5 x 343 = 999,845
    assert QuerySpec.from_json(big).grid().size == 999_845


def test_an_error_never_repeats_what_was_given() -> None:
    secret = "SECRET-NAME"
    for field in WEEKLY:
        for wrong in (secret, [secret], {secret[:3]: 1, "kind": secret, "key": secret, "column": secret}):
            with pytest.raises(QueryError) as caught:
                QuerySpec.from_json(WEEKLY | {field: [wrong] if field in {"measures", "keys", "where"} else wrong})
            assert secret not in str(caught.value)
    for part in ({"where": [{"column": "sex", "values": [secret]}]}, {"measures": [SUM | {"lo": secret}]}):
        with pytest.raises(QueryError) as caught:
            QuerySpec.from_json(WEEKLY | part)
        assert secret not in str(caught.value)
