"""WHERE in SQL: a conjunction of the typed conditions, a date range, or the day on which patients have their age.

Rules
- AND between conditions; OR only between prefixes of icd10.
- `date` takes >=, >, <, <=, = and BETWEEN (both days inside); both ends are needed, each once.
- `age` takes the same; `value` takes comparisons; `district`, `sex`, `visit_class` and `loinc` take = and IN.
- `icd10` takes LIKE 'J10%', and `icd10_prefix` IN ('J10', 'J11') says the same of a list; a dot in a code is left out.
- A district may be named by code or by name: '440106', '天河区' and 'Tianhe' are one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from sqlglot import exp

from protocols.query.domains import DISTRICTS, MAX_AGE
from protocols.query.errors import Problem, ProblemCode, nearest_name
from protocols.query.sql_source import Source, name_of
from protocols.query.terms import Table, covered_prefixes, decimal_text

_COMPARISONS: dict[type[exp.Expr], str] = {exp.GTE: ">=", exp.GT: ">", exp.LT: "<", exp.LTE: "<=", exp.EQ: "="}
_MIRRORED = {">=": "<=", ">": "<", "<": ">", "<=": ">=", "=": "="}
_LISTS = {"district", "sex", "visit_class", "loinc"}
_FORMS = {
    "date": "date >= DATE '2025-01-01' AND date < DATE '2026-01-01'",
    "as_of": "as_of = DATE '2025-07-01'",
    "age": "age BETWEEN 5 AND 14",
    "value": "value >= 7.5",
    "icd10": "icd10 LIKE 'J10%'",
    "icd10_prefix": "icd10_prefix IN ('J10', 'J11')",
    "district": "district IN ('440103', '440106')",
    "sex": "sex = 'F'",
    "visit_class": "visit_class IN ('AMB', 'EMER')",
    "loinc": "loinc = '2345-7'",
}
_PREFIX = re.compile(r"[A-Z][0-9A-Z]{0,7}")
_DISTRICT_BY_NAME = {
    name.casefold(): code for code, (chinese, english) in DISTRICTS.items() for name in (chinese, chinese[:-1], english)
}


class WhereReader:
    """Reads the conjuncts of one WHERE; what it cannot read is a problem with a place, and reading goes on."""

    def __init__(self, source: Source, table: Table | None) -> None:
        self.problems: list[Problem] = []
        self.prefixes: tuple[str, ...] | None = None
        self.places: dict[str, tuple[int, int]] = {}
        self._source, self._table = source, table
        self._lists: dict[str, tuple[str, ...]] = {}
        self._ranges: dict[str, dict[str, Any]] = {}

    def read(self, where: exp.Where | None) -> None:
        for conjunct in _conjuncts(where.this if where else None):
            self._conjunct(conjunct)

    def period(self) -> dict[str, str] | None:
        """The date range, if any part of it was given. A missing end is a problem."""
        ends = self._ranges.get("date")
        if ends is None:
            return None
        if "low" not in ends or "high" not in ends:
            missing = "end" if "low" in ends else "start"
            self._add(ProblemCode.PERIOD, "date", f"the range has no {missing}", _FORMS["date"], self.places["date"])
            return None
        return {"from": str(ends["low"]), "to": str(ends["high"])}

    def as_of(self) -> str | None:
        day = self._ranges.get("as_of", {}).get("low")
        return None if day is None else str(day)

    def conditions(self, *, has_prefix_key: bool) -> list[dict[str, Any]]:
        """All other conditions, sorted as a spec wants them."""
        found: list[dict[str, Any]] = [{"column": name, "values": list(values)} for name, values in self._lists.items()]
        if self.prefixes and not has_prefix_key:
            covered = covered_prefixes(self.prefixes)
            found.append({"column": "icd10", "prefixes": [prefix for prefix in self.prefixes if prefix not in covered]})
        if (ages := self._ranges.get("age")) is not None:
            found.append({"column": "age", "low": ages.get("low", 0), "high": ages.get("high", MAX_AGE)})
        for op, number in self._ranges.get("value", {}).values():
            found.append({"column": "value", "op": op, "number": number})
        return sorted(found, key=lambda condition: (condition["column"], "<" in condition.get("op", "")))

    def _add(self, code: ProblemCode, construct: str, rule: str, nearest: str, place: tuple[int, int]) -> None:
        self.problems.append(Problem(code, construct, rule, nearest, *place))

    def _refuse(self, node: exp.Expr, nearest: str = "") -> None:
        name, instead = name_of(node)
        self._add(
            ProblemCode.OUTSIDE_LANGUAGE, name, "not a condition of the language", nearest or instead, self._source.place(node)
        )

    def _conjunct(self, node: exp.Expr) -> None:
        node = node.unnest()
        if isinstance(node, exp.Or):
            self._alternatives(node)
        elif isinstance(node, exp.Like):
            self._prefixes_of(node, [node])
        elif isinstance(node, exp.In):
            self._is_in(node)
        elif isinstance(node, exp.Between):
            self._between(node)
        elif type(node) in _COMPARISONS:
            self._compare(node)
        else:
            self._refuse(node)

    def _column(self, node: exp.Expr | None) -> str | None:
        """The column's name if this table has it; otherwise a problem is noted."""
        if not isinstance(node, exp.Column):
            if node is not None:
                self._refuse(node)
            return None
        name, place = node.name.lower(), self._source.place(node)
        if node.table:
            self._add(ProblemCode.OUTSIDE_LANGUAGE, "qualified column", "one table needs no prefix", name, place)
            return None
        known = self._known()
        if name not in known:
            code = ProblemCode.NOT_IN_TABLE if name in _FORMS else ProblemCode.UNKNOWN_NAME
            alike = nearest_name("date" if name.endswith("date") else name, sorted(known))
            if tables := [table.value for table in Table if name in _conditions_of(table)]:
                alike = f"FROM {tables[0]}"
            self._add(code, f"column {node.name}", f"not in {self._table or 'any table'}", alike, place)
            return None
        self.places.setdefault(name, place)
        return name

    def _known(self) -> set[str]:
        return set(_FORMS) if self._table is None else _conditions_of(self._table)

    def _alternatives(self, node: exp.Or) -> None:
        parts = list(_flat(node, exp.Or))
        if all(isinstance(part, exp.Like) for part in parts):
            self._prefixes_of(node, [part for part in parts if isinstance(part, exp.Like)])
        else:
            self._refuse(node)

    def _prefixes_of(self, node: exp.Expr, likes: list[exp.Like]) -> None:
        found: list[str] = []
        for like in likes:
            name, pattern = self._column(like.this), like.expression
            if name is None:
                return
            text = pattern.this.upper().replace(".", "") if isinstance(pattern, exp.Literal) and pattern.is_string else ""
            if name != "icd10" or not text.endswith("%") or not _PREFIX.fullmatch(text[:-1]):
                nearest = _FORMS["icd10"] if name in {"icd10", "icd10_prefix"} else _FORMS[name]
                self._add(ProblemCode.BAD_VALUE, "LIKE", "only a prefix of icd10, then %", nearest, self._source.place(like))
                return
            found.append(text[:-1])
        self._keep_prefixes(node, found)

    def _keep_prefixes(self, node: exp.Expr, found: list[str]) -> None:
        if self.prefixes is not None:
            self._twice("icd10", node)
        self.prefixes = tuple(sorted(set(found)))

    def _twice(self, name: str, node: exp.Expr) -> None:
        self._add(ProblemCode.DUPLICATE, name, "more than one condition", _FORMS[name], self._source.place(node))

    def _is_in(self, node: exp.In) -> None:
        name = self._column(node.this)
        if name is None:
            return
        if node.args.get("query") or node.args.get("unnest") or node.args.get("field"):
            self._add(
                ProblemCode.OUTSIDE_LANGUAGE, "subquery", "a list stands in the query", _FORMS[name], self._source.place(node)
            )
        elif name in _LISTS or name == "icd10_prefix":
            self._keep_list(name, node, node.expressions)
        else:
            self._add(ProblemCode.OUTSIDE_LANGUAGE, f"IN on {name}", "not for this column", _FORMS[name], self._source.place(node))

    def _keep_list(self, name: str, node: exp.Expr, items: list[exp.Expr]) -> None:
        words = [item.this for item in items if isinstance(item, exp.Literal) and item.is_string]
        if len(words) != len(items) or not words:
            self._add(ProblemCode.BAD_VALUE, name, "a list of quoted words", _FORMS[name], self._source.place(node))
            return
        if name == "icd10_prefix":
            codes = [word.upper().replace(".", "") for word in words]
            if not all(map(_PREFIX.fullmatch, codes)):
                self._add(ProblemCode.BAD_VALUE, name, "not a code prefix", _FORMS[name], self._source.place(node))
                return
            self._keep_prefixes(node, codes)
            return
        if name in self._lists:
            self._twice(name, node)
        if name == "district":
            words = [_DISTRICT_BY_NAME.get(word.casefold(), word) for word in words]
        self._lists[name] = tuple(sorted(set(words)))

    def _between(self, node: exp.Between) -> None:
        name = self._column(node.this)
        if name is None:
            return
        if name not in {"date", "age", "value"} or node.args.get("symmetric"):
            self._add(
                ProblemCode.OUTSIDE_LANGUAGE, f"BETWEEN on {name}", "not for this column", _FORMS[name], self._source.place(node)
            )
            return
        self._bound(name, ">=", node.args["low"], node)
        self._bound(name, "<=", node.args["high"], node)

    def _compare(self, node: exp.Expr) -> None:
        op, left, right = _COMPARISONS[type(node)], node.this, node.expression
        if isinstance(right, exp.Column) and not isinstance(left, exp.Column):
            op, left, right = _MIRRORED[op], right, left
        name = self._column(left)
        if name is None:
            return
        if name in _LISTS | {"icd10_prefix"} and op == "=":
            self._keep_list(name, node, [right])
        elif name in {"date", "age", "value"} and op != "=":
            self._bound(name, op, right, node)
        elif name in {"date", "age", "value"}:
            self._bound(name, ">=", right, node)
            self._bound(name, "<=", right, node)
        elif name == "as_of" and op == "=":
            self._bound(name, ">=", right, node)
        else:
            self._add(
                ProblemCode.OUTSIDE_LANGUAGE, f"{op} on {name}", "not for this column", _FORMS[name], self._source.place(node)
            )

    def _bound(self, name: str, op: str, given: exp.Expr, node: exp.Expr) -> None:
        """Notes one end of a range; `date` ends are kept half open, ages closed, values as written."""
        number: Any = _day(given) if name in {"date", "as_of"} else number_of(given)
        if number is None or (name == "age" and not (number % 1 == 0 and abs(number) < 1000)):
            kind = "a day" if name in {"date", "as_of"} else "a whole number" if name == "age" else "a number"
            self._add(ProblemCode.BAD_VALUE, name, f"{kind} was expected", _FORMS[name], self._source.place(node))
            return
        end = "low" if ">" in op else "high"
        ends = self._ranges.setdefault(name, {})
        if end in ends:
            self._twice(name, node)
        ends[end] = _kept(name, op, number)


def _conditions_of(table: Table) -> set[str]:
    own = set(table.columns) | {"date" if table.is_dated else "as_of"}
    return own | ({"icd10_prefix"} if "icd10" in own else set())


def _kept(name: str, op: str, number: Any) -> Any:
    if name == "value":
        return op, decimal_text(number)
    if name == "age":
        return max(0, int(number) + {">": 1, "<": -1}.get(op, 0))
    return number + timedelta(days=1) if op in {">", "<="} else number


def _conjuncts(node: exp.Expr | None) -> Iterator[exp.Expr]:
    return _flat(node, exp.And) if node is not None else iter(())


def _flat(node: exp.Expr, kind: type[exp.Expr]) -> Iterator[exp.Expr]:
    """The parts of a chain of AND or OR from left to right, without recursion: a chain may be thousands long."""
    left_to_do = [node]
    while left_to_do:
        part = left_to_do.pop().unnest()
        if isinstance(part, kind):
            left_to_do += [part.expression, part.this]
        else:
            yield part


def _day(node: exp.Expr) -> date | None:
    if isinstance(node, exp.Cast) and node.to.this is exp.DType.DATE:
        node = node.this
    if not isinstance(node, exp.Literal) or not node.is_string or not re.fullmatch(r"\d{4}-\d{2}-\d{2}", node.this):
        return None
    with suppress(ValueError):
        day = date.fromisoformat(node.this)
        return day if day < date.max else None
    return None


def number_of(node: exp.Expr) -> Decimal | None:
    """The number that a literal writes, with its sign."""
    sign = 1
    if isinstance(node, exp.Neg):
        sign, node = -1, node.this
    if not isinstance(node, exp.Literal) or node.is_string:
        return None
    with suppress(InvalidOperation):
        number = Decimal(node.this)
        return sign * number if abs(number) < 10**12 else None
    return None
