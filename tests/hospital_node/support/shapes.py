"""Every shape of a question about visits, as a statement holds it."""

from collections.abc import Sequence
from typing import Any

from protocols.query import QuerySpec
from tests.hospital_node.support.nodes import PERIOD

COUNT = {"kind": "count", "hi": 2}
AGE_SUM = {"kind": "sum", "column": "age", "lo": "0", "hi": "90", "scale": 1}
AGE_MEAN = {"kind": "avg", "column": "age", "lo": "0", "hi": "80", "scale": 10}
AGE_SPREAD = {"kind": "stddev", "column": "age", "lo": "0", "hi": "80", "steps": 8}
AGE_QUARTILES = {"kind": "quantiles", "column": "age", "lo": "0", "hi": "100", "points": ["0.25", "0.5", "0.75"], "bins": 10}
AGE_BINS = {"key": "bin", "column": "age", "edges": ["0", "18", "65", "151"]}
WOMEN = {"kind": "is", "where": [{"column": "sex", "values": ["F"]}]}
ADMITTED_BEFORE = {"kind": "has", "table": "visits", "where": [{"column": "visit_class", "values": ["IMP"]}], "days": [-30, -1]}
SEEN_LATER = {"kind": "has", "table": "visits", "where": [], "days": [1, 14]}
AGE_LINES = {"kind": "summary", "column": "age", "lo": "0", "hi": "100", "steps": 6, "bins": 10}
SEX_LINES, CLASS_LINES = {"kind": "categories", "column": "sex"}, {"kind": "categories", "column": "visit_class"}
TO_ADMISSION = {
    "kind": "survival",
    "event": {"kind": "has", "table": "visits", "where": [{"column": "visit_class", "values": ["IMP"]}], "days": [1, 40]},
    "edges": [3, 14, 40],
    "until": "2026-12-12",
}
KEYS = [{"key": "district"}, {"key": "iso_week"}, {"key": "sex"}]


def _table(*measures: dict[str, Any], keys: Sequence[dict[str, Any]] = KEYS[:1], cells: int = 3, **more: object) -> dict[str, Any]:
    fields = {"table": "visits", "measures": list(measures), "keys": list(keys), "period": PERIOD, "cells_per_patient": cells}
    fields |= more
    return QuerySpec.from_fields(fields).to_json()


FIT = {
    "version": 1,
    "fit": "logistic",
    "table": "visits",
    "outcome": "IMP",
    "features": ["age", "male", "weekend"],
    "period": PERIOD,
}
SHAPES: dict[str, dict[str, Any]] = {
    "rows": _table({"kind": "count", "hi": 2}),
    "persons": _table({"kind": "count_distinct_person"}),
    "sum": _table(AGE_SUM),
    "mean": _table(AGE_MEAN),
    "three keys": _table({"kind": "count", "hi": 1}, keys=KEYS, cells=4),
    "three measures": _table({"kind": "count", "hi": 3}, {"kind": "count_distinct_person"}, AGE_SUM, keys=KEYS[:2]),
    "spread": _table(AGE_SPREAD),
    "quantiles": _table(AGE_QUARTILES),
    "histogram": _table({"kind": "count_distinct_person"}, keys=[AGE_BINS, *KEYS[:1]]),
    "totals": _table(
        {"kind": "count", "hi": 3}, {"kind": "count_distinct_person"}, AGE_QUARTILES, keys=KEYS[:2], totals=[["iso_week"], []]
    ),
    "filters": _table(
        {"kind": "count", "hi": 2}, {"kind": "count", "hi": 2, "filter": WOMEN}, {**AGE_SUM, "filter": WOMEN}, keys=KEYS[:2]
    ),
    "first ever": _table(
        {"kind": "count_distinct_person"},
        {"kind": "count", "hi": 3},
        keys=KEYS[:2],
        cohort={"kind": "not", "of": ADMITTED_BEFORE},
        totals=[["iso_week"], []],
    ),
    "window in a filter": _table(
        AGE_MEAN, {"kind": "count", "hi": 2, "filter": {"kind": "any", "of": [WOMEN, SEEN_LATER]}}, keys=KEYS[:2]
    ),
    "whole query": _table({"kind": "count", "hi": 3}, AGE_SPREAD, AGE_QUARTILES, keys=KEYS[:2], bound="query"),
    "table one": _table(AGE_LINES, SEX_LINES, {**CLASS_LINES, "filter": WOMEN}, keys=KEYS[:2], cells=2),
    "table one by block": _table(AGE_LINES, CLASS_LINES, keys=KEYS[:2], cells=2, bound="block", totals=[["iso_week"], []]),
    "table one of one group": _table({"kind": "count_distinct_person"}, AGE_LINES, SEX_LINES, keys=(), cells=1),
    "survival": _table(TO_ADMISSION, {**TO_ADMISSION, "filter": WOMEN}, keys=KEYS[:2], cells=2, totals=[[]]),
    "residents": _table({"kind": "count_distinct_resident", "buckets": 1024}),
    "residents, whole query": _table({"kind": "count_distinct_resident", "buckets": 1024}, bound="query"),
    "residents, one number": _table({"kind": "count_distinct_resident", "buckets": 1024, "filter": WOMEN}, keys=()),
    "weighted": _table(COUNT, AGE_SUM, weights=[2, 5]),
    "weighted, one number": _table(AGE_SUM, keys=(), cells=1, weights=[4, 1]),
    "one number": _table({"kind": "count", "hi": 2}, keys=(), cells=1),
    "fit": FIT,
}
KINDS = (
    "spread",
    "quantiles",
    "histogram",
    "totals",
    "filters",
    "window in a filter",
    "whole query",
    "table one",
    "table one by block",
    "survival",
)
