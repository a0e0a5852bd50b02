"""The measures of a SELECT as fields of the typed spec.

Rules
- COUNT(*), CLAMP(COUNT(*), 0, 5), COUNT(DISTINCT person_id); COUNT(*) alone is clamped at 3 rows per (patient, month, cell).
- COUNT(DISTINCT resident_id), or COUNT(DISTINCT resident_id, 16384) with a number of buckets: once over all hospitals.
- SUM, AVG, VARIANCE, STDDEV, MEDIAN and QUANTILE of CLAMP(x, lo, hi); QUANTILE(CLAMP(...), 0.9) or a list [0.25, 0.5, 0.75].
- Any of them may be followed by FILTER (WHERE ...): a cohort of its own (`sql_cohort`).
- A fourth argument of CLAMP is the scale of SUM and AVG, the steps of VARIANCE and STDDEV, the bins of MEDIAN and QUANTILE.
- TABLE_ONE(CLAMP(age, 0, 100), sex) is several measures: patients, then the lines of each column; a fourth argument of its CLAMP
  is the bins of the quartiles.
- KAPLAN_MEIER(HAS(visits, visit_class = 'IMP', 1, 90), [30, 60, 90], DATE '2025-12-31'): an event, a grid, and the follow-up's end.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from sqlglot import exp

from protocols.query.errors import Problem, ProblemCode
from protocols.query.sql_cohort import CohortReader, is_window
from protocols.query.sql_literals import day_of, number_of
from protocols.query.sql_source import Source, name_of
from protocols.query.terms import UNITS, decimal_text

SCALES = {"value": (100, 10, 1), "age": (1,)}
MOST_STEPS = 500
"""Finer sums cost more than a month has, since noise is drawn in the same integers, and tell nothing that the noise leaves over."""
_CLAMPED = {"value": "CLAMP(value, 0, 300)", "age": "CLAMP(age, 0, 120)"}
_KINDS: dict[type[exp.Expr], str] = {
    exp.Sum: "sum",
    exp.Avg: "avg",
    exp.Variance: "variance",
    exp.Stddev: "stddev",
    exp.StddevSamp: "stddev",
    exp.Median: "quantiles",
    exp.Quantile: "quantiles",
}
_FOURTH = {"variance": "steps", "stddev": "steps", "quantiles": "bins"}
_TABLE_ONE = "TABLE_ONE(CLAMP(age, 0, 100), sex, district)"
_KAPLAN_MEIER = "KAPLAN_MEIER(HAS(visits, visit_class = 'IMP', 1, 90), [30, 60, 90], DATE '2025-12-31')"
_EXAMPLES = {"scale": 100, "steps": 16, "bins": 32}


class MeasureReader:
    """Reads one item of SELECT at a time; what it cannot read is a problem with a place."""

    def __init__(self, source: Source, problems: list[Problem], cohort: CohortReader) -> None:
        self._source, self._problems, self._cohort = source, problems, cohort

    def read(self, node: exp.Expr) -> list[dict[str, Any]]:
        """The measures as fields of the spec, one but for a table one; none, with a problem noted, for what is none."""
        node = _with_filter_outside(node)
        if not isinstance(node, exp.Filter):
            return self._measures(node)
        measures, rows = self._measures(node.this), self._cohort.read(node.expression.this)
        return [] if rows is None else [measure | {"filter": rows} for measure in measures]

    def _measures(self, node: exp.Expr) -> list[dict[str, Any]]:
        if _is_function(node, "TABLE_ONE"):
            return self._table_one(node)
        measure = self._survival(node) if _is_function(node, "KAPLAN_MEIER") else self._measure(node)
        return [] if measure is None else [measure]

    def _table_one(self, node: exp.Expr) -> list[dict[str, Any]]:
        lines = [self._lines(part, node) for part in node.expressions]
        if lines and None not in lines:
            return [{"kind": "count_distinct_person"}, *(each for each in lines if each is not None)]
        if not lines:
            self._add(ProblemCode.BAD_VALUE, "TABLE_ONE", "needs its columns", _TABLE_ONE, self._source.place(node))
        return []

    def _lines(self, part: exp.Expr, node: exp.Expr) -> dict[str, Any] | None:
        if _is_clamp(part):
            read = self._clamp(part, node, "bins")
            return None if read is None else {"kind": "summary", **read}
        if isinstance(part, exp.Column) and not part.table and part.name.lower() not in _CLAMPED:
            return {"kind": "categories", "column": part.name.lower()}
        rule = "a number with its clamps, or one of sex, district, visit_class"
        self._add(ProblemCode.BAD_VALUE, "TABLE_ONE", rule, _TABLE_ONE, self._source.place(node))
        return None

    def _survival(self, node: exp.Expr) -> dict[str, Any] | None:
        parts = node.expressions
        event = self._cohort.read(parts[0]) if len(parts) == 3 and is_window(parts[0]) else None
        edges = [number_of(edge) for edge in parts[1].expressions] if event and isinstance(parts[1], exp.Array) else []
        until = day_of(parts[2]) if event else None
        whole = [int(edge) for edge in edges if edge is not None and edge % 1 == 0]
        if event and whole and len(whole) == len(edges) and until:
            return {"kind": "survival", "event": event, "edges": whole, "until": str(until)}
        rule = "an event within days, the days of the grid, and the day on which follow-up ends"
        self._add(ProblemCode.BAD_VALUE, "KAPLAN_MEIER", rule, _KAPLAN_MEIER, self._source.place(node))
        return None

    def _measure(self, node: exp.Expr) -> dict[str, Any] | None:
        if isinstance(node, exp.Count):
            return self._count(node)
        if (kind := _KINDS.get(type(node))) is not None:
            return self._of_column(kind, node)
        if _is_clamp(node) and node.expressions and isinstance(node.expressions[0], exp.Count):
            return self._clamped_count(node)
        self._refuse(node)
        return None

    def _count(self, node: exp.Count) -> dict[str, Any] | None:
        counted = node.this
        if isinstance(counted, exp.Star) and not any(counted.args.values()):
            return {"kind": "count", "hi": 3}
        if isinstance(counted, exp.Distinct):
            names = [column.name.lower() for column in counted.expressions]
            if names == ["person_id"] and isinstance(counted.expressions[0], exp.Column) and not counted.args.get("on"):
                return {"kind": "count_distinct_person"}
            if names[:1] == ["resident_id"] and not counted.args.get("on"):
                return self._residents(node, counted.expressions)
            construct, nearest = "COUNT(DISTINCT)", "COUNT(DISTINCT person_id)"
        else:
            construct, nearest = "COUNT", "COUNT(*)"
        self._add(ProblemCode.OUTSIDE_LANGUAGE, construct, "counts rows or persons", nearest, self._source.place(node))
        return None

    def _residents(self, node: exp.Count, counted: list[exp.Expr]) -> dict[str, Any] | None:
        """A constant beside the resident changes nothing of what is counted; here it is the number of buckets."""
        numbers = [number_of(each) for each in counted[1:]]
        if not isinstance(counted[0], exp.Column) or len(numbers) > 1 or any(each is None or each % 1 for each in numbers):
            rule, nearest = "a resident and a number of buckets", "COUNT(DISTINCT resident_id, 16384)"
            self._add(ProblemCode.BAD_VALUE, "COUNT(DISTINCT resident_id)", rule, nearest, self._source.place(node))
            return None
        buckets = [int(each) for each in numbers if each is not None]
        return {"kind": "count_distinct_resident"} | ({"buckets": buckets[0]} if buckets else {})

    def _clamped_count(self, node: exp.Expr) -> dict[str, Any] | None:
        count, bounds = self._count(node.expressions[0]), [number_of(argument) for argument in node.expressions[1:]]
        if count is None:
            return None
        if count["kind"] == "count" and len(bounds) == 2 and bounds[0] == 0 and bounds[1] is not None and bounds[1] % 1 == 0:
            return {"kind": "count", "hi": int(bounds[1])}
        self._add(ProblemCode.CLAMPS, "CLAMP", "clamps of a count", "CLAMP(COUNT(*), 0, 5)", self._source.place(node))
        return None

    def _of_column(self, kind: str, node: exp.Expr) -> dict[str, Any] | None:
        clamp, name = node.this, node.sql_name() if isinstance(node, exp.Func) else kind.upper()
        if isinstance(clamp, exp.Column):
            inside = _CLAMPED.get(clamp.name.lower(), _CLAMPED["value"])
            self._add(ProblemCode.CLAMPS, name, "needs public clamps", f"{name}({inside})", self._source.place(node))
            return None
        if not _is_clamp(clamp):
            name_, _ = name_of(clamp)
            self._add(
                ProblemCode.OUTSIDE_LANGUAGE, name_, f"not inside {name}", f"{name}({_CLAMPED['value']})", self._source.place(clamp)
            )
            return None
        read = self._clamp(clamp, node, _FOURTH.get(kind, "scale"))
        points = self._points(node) if kind == "quantiles" else ()
        if read is None or points is None:
            return None
        if kind in {"sum", "avg"}:
            read.setdefault("scale", _usual_scale(read))
        return {"kind": kind, **read} | ({"points": list(points)} if points else {})

    def _clamp(self, clamp: exp.Expr, node: exp.Expr, fourth: str) -> dict[str, Any] | None:
        column, numbers = clamp.expressions[0] if clamp.expressions else None, [number_of(part) for part in clamp.expressions[1:]]
        name = column.name.lower() if isinstance(column, exp.Column) and not column.table else ""
        given = [number for number in numbers if number is not None]
        if name not in _CLAMPED or len(given) != len(numbers) or len(given) not in {2, 3}:
            nearest = _CLAMPED.get(name, _CLAMPED["value"])
            self._add(ProblemCode.CLAMPS, "CLAMP", "a column and two numbers", nearest, self._source.place(node))
            return None
        if len(given) == 3 and (given[2] % 1 or not 1 <= given[2] <= UNITS):
            rule, nearest = f"the {fourth} is a whole number", f"CLAMP(value, 0, 300, {_EXAMPLES[fourth]})"
            self._add(ProblemCode.CLAMPS, "CLAMP", rule, nearest, self._source.place(node))
            return None
        ends = {"column": name, "lo": decimal_text(given[0]), "hi": decimal_text(given[1])}
        return ends | ({fourth: int(given[2])} if len(given) == 3 else {})

    def _points(self, node: exp.Expr) -> tuple[str, ...] | None:
        if isinstance(node, exp.Median):
            return ("0.5",)
        given = node.args.get("quantile")
        numbers = [number_of(each) for each in (given.expressions if isinstance(given, exp.Array) else [given]) if each is not None]
        known = [number for number in numbers if number is not None]
        if known and len(known) == len(numbers):
            return tuple(map(decimal_text, known))
        nearest = "QUANTILE(CLAMP(value, 0, 30), [0.25, 0.5, 0.75])"
        self._add(ProblemCode.BAD_VALUE, "QUANTILE", "a number or a list of numbers", nearest, self._source.place(node))
        return None

    def _add(self, code: ProblemCode, construct: str, rule: str, nearest: str, place: tuple[int, int]) -> None:
        self._problems.append(Problem(code, construct, rule, nearest, *place))

    def _refuse(self, node: exp.Expr) -> None:
        name, instead = name_of(node)
        self._add(ProblemCode.OUTSIDE_LANGUAGE, name, "not in the language", instead, self._source.place(node))


def _usual_scale(read: Mapping[str, Any]) -> int:
    """The finest that keeps a clamp within `MOST_STEPS`, else the coarsest that its ends are whole in."""
    ends = [Decimal(read[end]) for end in ("lo", "hi")]
    whole = [scale for scale in SCALES[read["column"]] if not any(end * scale % 1 for end in ends)]
    fine = (scale for scale in whole if max(map(abs, ends)) * scale <= MOST_STEPS)
    return next(fine, whole[-1] if whole else 1)


def _is_clamp(node: exp.Expr) -> bool:
    return _is_function(node, "CLAMP")


def _is_function(node: exp.Expr, name: str) -> bool:
    return isinstance(node, exp.Anonymous) and node.name.upper() == name


def _with_filter_outside(node: exp.Expr) -> exp.Expr:
    """CLAMP(COUNT(*) FILTER (...), 0, 5), as SQL itself would have it, is the same as the filter after the clamp."""
    if not _is_clamp(node) or not node.expressions or not isinstance(node.expressions[0], exp.Filter):
        return node
    inner = node.expressions[0]
    clamp = exp.Anonymous(this="CLAMP", expressions=[inner.this, *node.expressions[1:]])
    return exp.Filter(this=clamp, expression=inner.expression)
