"""Queries of every shape, small enough that two rows often meet in one cell."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import combinations
from typing import Any

from hypothesis import strategies as st

from protocols.query import QuerySpec

PREFIX_LISTS = (["A", "B", "J", "U"], ["J10", "J11"], ["A", "J1", "J20", "U071"], ["J10", "J101X"])
FREE_PREFIX_LISTS = PREFIX_LISTS[:3]
FIRST_DAY = date(2025, 12, 15)
CLAMPS = (("0", "3", 1), ("-2", "1", 1), ("0", "2.5", 10), ("-0.5", "0.25", 100), ("0", "900", 1000), ("-7", "0", 1))


@st.composite
def specs(draw: st.DrawFn) -> QuerySpec:
    table = draw(st.sampled_from(["visits", "diagnoses", "measurements", "patients"]))
    keys = draw(_keys(table))
    where = draw(_conditions(table, prefix_key=any(key["key"] == "icd10_prefix" for key in keys)))
    measures = draw(_measures(table))
    for measure in measures:
        if draw(st.integers(0, 3)) == 0:
            measure["filter"] = draw(cohorts(table))
    fields: dict[str, Any] = {
        "table": table,
        "measures": measures,
        "keys": keys,
        "where": where,
        "cells_per_patient": draw(st.integers(1, 5)),
    }
    if draw(st.integers(0, 2)) == 0:
        fields["cohort"] = draw(cohorts(table))
    if draw(st.integers(0, 4)) == 0:
        fields["bound"] = "query"
    elif draw(st.booleans()) and not looks_further(fields):
        fields["bound"] = "block"  # a table one is else bounded over the whole query
    if keys and draw(st.booleans()):
        fields["totals"] = draw(_totals([key["key"] for key in keys]))
    if table != "patients":
        start = FIRST_DAY + timedelta(days=draw(st.integers(0, 40)))
        end = start + timedelta(days=draw(st.integers(1, 75)))
        fields["period"] = {"from": str(start), "to": str(end)}
        for measure in measures:
            if measure["kind"] == "survival":
                measure["until"] = str(end + timedelta(days=draw(st.sampled_from([1, 4, 60]))))
    elif _asks_age(fields):
        fields["as_of"] = str(draw(st.sampled_from([date(2025, 2, 28), date(2025, 12, 31), date(2024, 2, 29)])))
    return QuerySpec.from_fields(fields)


@st.composite
def weighted_specs(draw: st.DrawFn) -> QuerySpec:
    """Counts and sums over whole months, each with its weight."""
    table = draw(st.sampled_from(["visits", "diagnoses", "measurements"]))
    keys = [key for key in draw(_keys(table)) if key["key"] not in {"iso_week", "month"}]
    column, (lo, hi, scale) = "value" if table == "measurements" else "age", draw(st.sampled_from(CLAMPS))
    known = [
        {"kind": "count", "hi": draw(st.integers(1, 4))},
        {"kind": "sum", "column": column, "lo": lo, "hi": hi, "scale": scale},
    ]
    measures = draw(st.lists(st.sampled_from(known), min_size=1, max_size=2, unique_by=lambda each: each["kind"]))
    if draw(st.booleans()):
        measures[0]["filter"] = draw(_is(table))
    months = draw(st.integers(2, 4))
    period = {"from": "2025-12-01", "to": str(date(2026, months, 1))}
    return QuerySpec.from_fields(
        {
            "table": table,
            "measures": measures,
            "keys": keys,
            "where": draw(_conditions(table, prefix_key=any(key["key"] == "icd10_prefix" for key in keys))),
            "cells_per_patient": draw(st.integers(1, 4)),
            "period": period,
            "weights": draw(st.lists(st.integers(1, 64), min_size=months, max_size=months)),
        }
    )


def looks_further(fields: dict[str, Any]) -> bool:
    """Whether a window of other days stands in it."""
    return "has" in str(fields)


def _totals(keys: list[str]) -> st.SearchStrategy[list[list[str]]]:
    levels = [list(level) for length in range(len(keys)) for level in combinations(keys, length)]
    return st.lists(st.sampled_from(levels), min_size=1, max_size=3, unique_by=tuple)


def _asks_age(fields: dict[str, Any]) -> bool:
    named = [*(m.get("column") for m in [*fields["measures"], *fields["keys"]]), *(c["column"] for c in fields["where"])]
    filters = [fields.get("cohort"), *(measure.get("filter") for measure in fields["measures"])]
    named += [condition["column"] for each in filters for leaf in leaves_of(each) for condition in leaf["where"]]
    return "age" in named or any(key["key"] == "age_band" for key in fields["keys"])


def leaves_of(cohort: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Conditions on the row itself."""
    if cohort is None or cohort["kind"] == "has":
        return []
    if cohort["kind"] == "is":
        return [cohort]
    parts = [cohort["of"]] if cohort["kind"] == "not" else cohort["of"]
    return [leaf for part in parts for leaf in leaves_of(part)]


def cohorts(table: str) -> st.SearchStrategy[dict[str, Any]]:
    leaf = st.one_of(_is(table), _has(dated=table != "patients"), _has(dated=table != "patients"))
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.fixed_dictionaries({"kind": st.just("not"), "of": inner}),
            st.fixed_dictionaries({"kind": st.sampled_from(["all", "any"]), "of": st.lists(inner, min_size=2, max_size=3)}),
        ),
        max_leaves=3,
    )


@st.composite
def _is(draw: st.DrawFn, table: str) -> dict[str, Any]:
    where = draw(_conditions(table, prefix_key=False).filter(bool))
    return {"kind": "is", "where": where}


@st.composite
def _has(draw: st.DrawFn, *, dated: bool) -> dict[str, Any]:
    table = draw(st.sampled_from(["visits", "diagnoses", "measurements"]))
    window: dict[str, Any] = {"kind": "has", "table": table, "where": draw(_conditions(table, prefix_key=False))}
    if dated and draw(st.booleans()):
        first = draw(st.sampled_from([-40, -3, -1, 0, 0, 2]))
        return window | {"days": [first, first + draw(st.sampled_from([0, 0, 3, 39]))]}
    start = FIRST_DAY + timedelta(days=draw(st.integers(-20, 90)))
    return window | {"period": {"from": str(start), "to": str(start + timedelta(days=draw(st.integers(1, 60))))}}


def _keys(table: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    column = "value" if table == "measurements" else "age"
    known: list[dict[str, Any]] = [
        {"key": "district"},
        {"key": "sex"},
        {"key": "age_band", "bands": "surveillance"},
        {"key": "bin", "column": column, "edges": ["-1.5", "0", "0.005", "2.5", "60", "151"]},
    ]
    if table != "patients":
        known += [{"key": "iso_week"}, {"key": "month"}]
    if table == "visits":
        known += [{"key": "visit_class"}]
    if table == "diagnoses":
        known += [{"key": "icd10_prefix", "prefixes": prefixes} for prefixes in FREE_PREFIX_LISTS]
    return st.lists(st.sampled_from(known), max_size=3, unique_by=lambda key: key["key"])


@st.composite
def _conditions(draw: st.DrawFn, table: str, *, prefix_key: bool) -> list[dict[str, Any]]:
    known: list[dict[str, Any]] = [
        {"column": "age", "low": draw(st.integers(0, 20)), "high": draw(st.integers(20, 150))},
        {"column": "district", "values": ["440103", "440106"]},
        {"column": "sex", "values": draw(st.sampled_from([["F"], ["F", "M"], ["U"]]))},
    ]
    if table == "visits":
        known.append({"column": "visit_class", "values": ["AMB", "EMER"]})
    if table == "diagnoses" and not prefix_key:
        known.append({"column": "icd10", "prefixes": draw(st.sampled_from(FREE_PREFIX_LISTS))})
    if table == "measurements":
        known.append({"column": "loinc", "values": ["2345-7", "718-7"]})
        known.append({"column": "value", "op": draw(st.sampled_from([">", ">="])), "number": "-1.5"})
        known.append({"column": "value", "op": draw(st.sampled_from(["<", "<="])), "number": "2.000001"})
    chosen = draw(st.lists(st.integers(0, len(known) - 1), max_size=2, unique=True))
    # Sorted by column, a lower bound of the value before its upper bound.
    return sorted((known[n] for n in chosen), key=lambda condition: (condition["column"], "<" in condition.get("op", "")))


@st.composite
def _measures(draw: st.DrawFn, table: str) -> list[dict[str, Any]]:
    column = "value" if table == "measurements" else "age"
    lo, hi, scale = draw(st.sampled_from(CLAMPS))
    known: list[dict[str, Any]] = [
        {"kind": "count", "hi": draw(st.integers(1, 4))},
        {"kind": "count_distinct_person"},
        {"kind": "sum", "column": column, "lo": lo, "hi": hi, "scale": scale},
        {"kind": "avg", "column": column, "lo": lo, "hi": hi, "scale": scale},
        {
            "kind": draw(st.sampled_from(["variance", "stddev"])),
            "column": column,
            "lo": draw(st.sampled_from(["-1", "0", "1.5"])),
            "hi": draw(st.sampled_from(["2.5", "7"])),
            "steps": draw(st.integers(2, 20)),
        },
        {
            "kind": "quantiles",
            "column": column,
            "lo": draw(st.sampled_from(["-1", "0", "1.5"])),
            "hi": draw(st.sampled_from(["2.5", "7"])),
            "points": draw(st.sampled_from([["0.5"], ["0.25", "0.5", "0.9"]])),
            "bins": draw(st.integers(2, 9)),
        },
    ]
    known += [
        {
            "kind": "summary",
            "column": column,
            "lo": draw(st.sampled_from(["-1", "0", "1.5"])),
            "hi": draw(st.sampled_from(["2.5", "7"])),
            "steps": draw(st.integers(2, 20)),
            "bins": draw(st.integers(2, 9)),
        },
        {
            "kind": "categories",
            "column": draw(st.sampled_from(["sex", "district", *(["visit_class"] if table == "visits" else [])])),
        },
    ]
    if table != "patients":
        edges = draw(st.sampled_from([[1], [3, 40], [1, 2, 7]]))
        has = {"kind": "has", "table": draw(st.sampled_from(["visits", "diagnoses", "measurements"])), "days": [1, edges[-1]]}
        where = draw(_conditions(has["table"], prefix_key=False))
        known.append({"kind": "survival", "event": {**has, "where": where}, "edges": edges, "until": None})
    chosen = draw(st.lists(st.sampled_from(range(len(known))), min_size=1, max_size=3, unique=True))
    return [known[n] for n in chosen]
