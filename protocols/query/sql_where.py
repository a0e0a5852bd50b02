"""WHERE in SQL: a conjunction of the typed conditions, a date range, or the day on which patients have their age.

Rules
- AND between conditions, one a column; OR between prefixes of icd10 is one of them. Every other OR, NOT, HAS(...) and
  FIRST_EVER(...) belongs to the cohort (`sql_cohort`).
- `date` takes >=, >, <, <=, = and BETWEEN (both days inside); both ends are needed, each once.
- `age` takes the same; `value` takes comparisons; `district`, `sex`, `visit_class` and `loinc` take = and IN.
- `icd10` takes LIKE 'J10%', and `icd10_prefix` IN ('J10', 'J11') says the same of a list; a dot in a code is left out.
- A district may be named by code or by name: '440106', '天河区' and 'Tianhe' are one.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from sqlglot import exp

from protocols.query.cohort import WINDOW
from protocols.query.domains import DISTRICTS, MAX_AGE
from protocols.query.errors import Problem, ProblemCode, nearest_name
from protocols.query.sql_cohort import CohortReader, all_of, are_prefixes, first_ever, is_cohort, is_first_ever
from protocols.query.sql_literals import conjuncts, day_of, flat, number_of
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

    def __init__(self, source: Source, table: Table | None, *, is_inside: bool = False) -> None:
        self.problems: list[Problem] = []
        self.cohort = CohortReader(source, table, self.problems, self._plain)
        self.prefixes: tuple[str, ...] | None = None
        self.places: dict[str, tuple[int, int]] = {}
        self._source, self._table = source, table
        self._lists: dict[str, tuple[str, ...]] = {}
        self._ranges: dict[str, dict[str, Any]] = {}
        self._is_inside = is_inside
        self._of_rows: list[dict[str, Any]] = []
        self._looks_back: list[tuple[int, tuple[int, int]]] = []

    def read(self, where: exp.Where | None) -> None:
        for conjunct in conjuncts(where.this if where else None):
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

    def of_rows(self) -> dict[str, Any] | None:
        """The cohort, once all plain conditions are known."""
        conditions = self.conditions(has_prefix_key=False)
        first = [first_ever(self._table, conditions, days) for days, _ in self._looks_back if self._table is not None]
        places = [*self.cohort.places, *(place for _, place in self._looks_back)]
        self.places |= {f"cohort.{n}": place for n, place in enumerate(places)}
        return all_of([*self._of_rows, *first])

    def _plain(self, nodes: list[exp.Expr], table: Table | None) -> list[dict[str, Any]]:
        """Conditions inside of a cohort or a window, which have no period of their own."""
        inside = WhereReader(self._source, table, is_inside=True)
        for node in nodes:
            inside._conjunct(node.unnest())
        self.problems += inside.problems
        return inside.conditions(has_prefix_key=False)

    def _add(self, code: ProblemCode, construct: str, rule: str, nearest: str, place: tuple[int, int]) -> None:
        self.problems.append(Problem(code, construct, rule, nearest, *place))

    def _refuse(self, node: exp.Expr, nearest: str = "") -> None:
        name, instead = name_of(node)
        self._add(
            ProblemCode.OUTSIDE_LANGUAGE, name, "not a condition of the language", nearest or instead, self._source.place(node)
        )

    def _conjunct(self, node: exp.Expr) -> None:
        node = node.unnest()
        if isinstance(node, exp.Or) and are_prefixes(node):
            self._prefixes_of(node, [part for part in flat(node, exp.Or) if isinstance(part, exp.Like)])
        elif is_cohort(node) and not self._is_inside:
            self._cohort(node)
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
        if self._is_inside and name in {"date", "as_of"}:
            rule = "days stand in WHERE for all rows, and in the ends of a window"
            self._add(ProblemCode.OUTSIDE_LANGUAGE, f"{name} inside", rule, WINDOW, place)
            return None
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

    def _cohort(self, node: exp.Expr) -> None:
        known = len(self.cohort.places)
        if is_first_ever(node):
            days = self.cohort.days_before(node)
            self._looks_back += [] if days is None else [(days, self._source.place(node))]
        elif (read := self.cohort.read(node)) is not None:
            self._of_rows.append(read)
        else:
            del self.cohort.places[known:]

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
        number: Any = day_of(given) if name in {"date", "as_of"} else number_of(given)
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
