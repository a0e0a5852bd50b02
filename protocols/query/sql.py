"""Reads the SQL subset into a typed spec; whatever lies outside it is named with its place and the nearest valid form.

    SELECT keys, measures FROM visits|diagnoses|measurements|patients WHERE conditions GROUP BY keys

Rules
- Keys: week (or iso_week), month, district, sex, age_band, age_band(five_years), icd10_prefix, BIN(value, 0, 5, 10). The keys of
  SELECT are those of GROUP BY; their order in SELECT is the order of the answer. The prefixes of the key icd10_prefix are those
  of WHERE. ROLLUP, CUBE and GROUPING SETS in GROUP BY ask for totals as well.
- What asks for rows of other days is bounded per patient over the whole query, without being told to.
- The reader accepts by list: a part of the syntax tree that no rule here names is refused, also one the parser learns later.
- All problems are reported, those of the text and those of the spec it would have made.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

from sqlglot import exp

from protocols.query.domains import AgeBands
from protocols.query.errors import Problem, ProblemCode, QueryError, nearest_name
from protocols.query.spec import QuerySpec
from protocols.query.sql_literals import number_of
from protocols.query.sql_measures import MeasureReader
from protocols.query.sql_source import CLAUSES, EXAMPLE, Source, name_of
from protocols.query.sql_where import WhereReader
from protocols.query.terms import Table, decimal_text

_KEYS = {"week": "iso_week"} | {
    name: name for name in ("iso_week", "month", "district", "sex", "visit_class", "age_band", "icd10_prefix")
}
_READ = {"expressions", "from_", "where", "group"}
_LEVELS = (exp.Rollup, exp.Cube, exp.GroupingSets)


def parse_sql(text: str, *, cells_per_patient: int | None = None, bound: str | None = None) -> QuerySpec:
    """The typed query that a SQL text means. Raises `QueryError` with every problem found."""
    return _SelectReader(Source.read(text), cells_per_patient, bound).spec()


class _SelectReader:
    def __init__(self, source: Source, cells_per_patient: int | None, bound: str | None) -> None:
        self._source, self._cells, self._bound = source, cells_per_patient, bound
        self._problems: list[Problem] = []
        self._places: dict[str, tuple[int, int]] = {}
        self._keys: list[dict[str, Any]] = []
        self._measures: list[dict[str, Any]] = []
        self._totals: list[list[str]] = []
        self._has_refused_items = False

    def spec(self) -> QuerySpec:
        select = self._source.select
        self._clauses(select)
        table = self._table(select.args.get("from_"))
        where = WhereReader(self._source, table)
        where.read(select.args.get("where"))
        measures = MeasureReader(self._source, self._problems, WhereReader(self._source, table).cohort)
        for item in select.expressions:
            self._item(item, measures)
        self._group(select.args.get("group"))
        fields = self._fields(table, where)
        self._problems += where.problems
        return self._checked(fields, where)

    def _add(self, code: ProblemCode, construct: str, rule: str, nearest: str, place: tuple[int, int]) -> None:
        self._problems.append(Problem(code, construct, rule, nearest, *place))

    def _refuse(self, node: exp.Expr, rule: str = "not in the language", nearest: str = "") -> None:
        name, instead = name_of(node)
        self._add(ProblemCode.OUTSIDE_LANGUAGE, name, rule, nearest or instead, self._source.place(node))

    def _clauses(self, select: exp.Select) -> None:
        for clause, content in select.args.items():
            if content and clause not in _READ:
                name, instead = CLAUSES.get(clause, (clause.strip("_").upper(), EXAMPLE))
                place = self._source.place_of_keyword("DISTINCT" if clause == "distinct" else name)
                self._add(ProblemCode.OUTSIDE_LANGUAGE, name, "not in the language", instead, place)

    def _table(self, source: exp.From | None) -> Table | None:
        if source is None:
            self._add(ProblemCode.OUTSIDE_LANGUAGE, "FROM", "missing", EXAMPLE, (1, 1))
            return None
        node = source.this
        if not isinstance(node, exp.Table) or not isinstance(node.this, exp.Identifier):
            self._refuse(node, "one table of the language is asked", ", ".join(Table))
            return None
        place = self._source.place(node.this)
        for part, content in node.args.items():
            if content and part != "this":
                self._add(ProblemCode.OUTSIDE_LANGUAGE, f"table {part}", "a table stands alone", node.name, place)
        if node.name.lower() in list(Table):
            self._places["period"] = self._places["as_of"] = place
            return Table(node.name.lower())
        self._add(ProblemCode.UNKNOWN_NAME, f"table {node.name}", "unknown", nearest_name(node.name, list(Table)), place)
        return None

    def _item(self, item: exp.Expr, measures: MeasureReader) -> None:
        node = item.unalias()
        if isinstance(node, exp.Column) or _is_key_function(node):
            key = self._key(node)
            if key is not None:
                self._places[f"keys.{len(self._keys)}"] = self._source.place(node)
                self._keys.append(key)
            return
        read = measures.read(node)
        self._has_refused_items |= not read
        for measure in read:
            self._places[f"measures.{len(self._measures)}"] = self._source.place(node)
            self._measures.append(measure)

    def _key(self, node: exp.Expr) -> dict[str, Any] | None:
        if isinstance(node, exp.Anonymous):
            return self._age_band(node) if node.name.lower() == "age_band" else self._bin(node)
        name = _KEYS.get(node.name.lower())
        place = self._source.place(node)
        if isinstance(node, exp.Column) and node.table:
            self._add(ProblemCode.OUTSIDE_LANGUAGE, "qualified column", "one table needs no prefix", node.name, place)
            return None
        if name is None:
            self._add(ProblemCode.UNKNOWN_NAME, f"key {node.name}", "unknown", nearest_name(node.name, list(_KEYS)), place)
            return None
        return {"key": name, "bands": AgeBands.SURVEILLANCE.value} if name == "age_band" else {"key": name}

    def _age_band(self, node: exp.Anonymous) -> dict[str, Any] | None:
        given = [argument.name.lower() for argument in node.expressions]
        if len(given) == 1 and given[0] in list(AgeBands):
            return {"key": "age_band", "bands": given[0]}
        nearest = nearest_name(given[0] if given else "", list(AgeBands))
        self._add(
            ProblemCode.UNKNOWN_NAME, "age_band", "not a named set of bands", f"age_band({nearest})", self._source.place(node)
        )
        return None

    def _bin(self, node: exp.Anonymous) -> dict[str, Any] | None:
        column, *edges = node.expressions or [exp.Null()]
        numbers = [number_of(edge) for edge in edges]
        name = column.name.lower() if isinstance(column, exp.Column) and not column.table else ""
        known = [number for number in numbers if number is not None]
        if name in {"value", "age"} and len(known) == len(numbers) > 1:
            return {"key": "bin", "column": name, "edges": [decimal_text(number) for number in known]}
        place = self._source.place(node)
        self._add(ProblemCode.BAD_VALUE, "BIN", "a column and two edges or more", "BIN(value, 0, 5, 10, 20)", place)
        return None

    def _group(self, group: exp.Group | None) -> None:
        named: list[dict[str, Any]] = []
        levels: list[list[dict[str, Any]]] = []
        known = len(self._problems)
        nodes = group.expressions if group else []
        if len(nodes) == 1 and isinstance(nodes[0], _LEVELS):
            levels = self._levels(nodes[0])
            named = max(levels, key=len, default=[])
        else:
            named = self._keys_of_level(nodes)
        for part, content in (group.args if group else {}).items():
            if content and part != "expressions":
                self._outside_group(part)
        if len(self._problems) > known:
            return
        if not self._problems and sorted(map(str, named)) != sorted(map(str, self._keys)):
            names = ", ".join(str(key["key"]) for key in self._keys) or "no GROUP BY"
            self._add(ProblemCode.KEYS_DIFFER, "GROUP BY", "differs from the keys of SELECT", names, self._group_place())
        order = [key["key"] for key in self._keys]
        self._totals = [[name for name in order if name in [key["key"] for key in level]] for level in levels if level != named]

    def _levels(self, node: exp.Expr) -> list[list[dict[str, Any]]]:
        """Every set of keys that ROLLUP, CUBE or GROUPING SETS names."""
        if isinstance(node, exp.GroupingSets):
            sets = [part.expressions if isinstance(part, exp.Tuple) else [part.unnest()] for part in node.expressions]
            return [self._keys_of_level(part) for part in sets]
        keys = self._keys_of_level(node.expressions)
        if isinstance(node, exp.Rollup):
            return [keys[:length] for length in range(len(keys), -1, -1)]
        return [list(level) for length in range(len(keys), -1, -1) for level in combinations(keys, length)]

    def _keys_of_level(self, nodes: list[exp.Expr]) -> list[dict[str, Any]]:
        found = []
        for node in nodes:
            if isinstance(node, exp.Column) or _is_key_function(node):
                key = self._key_of_group(node)
                found += [key] if key is not None else []
            else:
                self._refuse(node, "not in GROUP BY", "" if isinstance(node, _LEVELS) else "a key by its name")
        return found

    def _outside_group(self, part: str) -> None:
        nearest = "keys by name, or one of ROLLUP(...), CUBE(...), GROUPING SETS (...)"
        construct = f"GROUP BY {part.upper().replace('_', ' ')}"
        self._add(ProblemCode.OUTSIDE_LANGUAGE, construct, "not in the language", nearest, self._group_place())

    def _key_of_group(self, node: exp.Expr) -> dict[str, Any] | None:
        known = len(self._problems)
        key = self._key(node)
        # A key unknown in SELECT and in GROUP BY is one mistake.
        constructs = {problem.construct for problem in self._problems[:known]}
        if key is None and self._problems[-1].construct in constructs:
            self._problems.pop()
        return key

    def _group_place(self) -> tuple[int, int]:
        return self._source.place_of_keyword("GROUP BY")

    def _fields(self, table: Table | None, where: WhereReader) -> dict[str, Any]:
        prefix_key = next((key for key in self._keys if key["key"] == "icd10_prefix"), None)
        if prefix_key is not None:
            prefix_key["prefixes"] = list(where.prefixes or ())
            if not where.prefixes and table is Table.DIAGNOSES:
                place = self._places[f"keys.{self._keys.index(prefix_key)}"]
                nearest = "WHERE icd10_prefix IN ('J10', 'J11')"
                self._add(ProblemCode.BAD_VALUE, "icd10_prefix", "the key needs its list in WHERE", nearest, place)
                self._keys.remove(prefix_key)
        fields: dict[str, Any] = {
            "table": table.value if table else None,
            "measures": self._measures,
            "keys": self._keys,
            "where": where.conditions(has_prefix_key=prefix_key is not None),
        }
        optional = {
            "cells_per_patient": self._cells,
            "period": where.period(),
            "as_of": where.as_of(),
            "totals": self._totals or None,
            "cohort": where.of_rows(),
            "bound": self._bound,
        }
        self._places |= {name: where.places.get(column, self._places.get(name, (1, 1))) for name, column in _ENDS}
        self._places |= {name: place for name, place in where.places.items() if name.startswith("cohort.")}
        for n, condition in enumerate(fields["where"]):
            self._places[f"where.{n}"] = where.places.get(condition["column"], where.places.get("icd10_prefix", (1, 1)))
        return fields | {name: content for name, content in optional.items() if content is not None}

    def _checked(self, fields: dict[str, Any], where: WhereReader) -> QuerySpec:
        if fields["table"] is None:
            raise QueryError(self._in_order())
        try:
            spec = QuerySpec.from_fields(fields)
        except QueryError as error:
            self._problems += [self._placed(problem) for problem in error.problems if not self._is_told(problem, where)]
            raise QueryError(self._in_order()) from None
        if self._problems:
            raise QueryError(self._in_order())
        return spec

    def _in_order(self) -> list[Problem]:
        return sorted(self._problems, key=lambda problem: (problem.line, problem.column))

    def _is_told(self, problem: Problem, where: WhereReader) -> bool:
        """Whether a part is only missing from the spec because the text of it was refused, at its own place."""
        if problem.code is ProblemCode.NO_MEASURE:
            return self._has_refused_items
        return problem.code is ProblemCode.PERIOD and problem.rule.endswith("needs one") and bool(where.problems)

    def _placed(self, problem: Problem) -> Problem:
        path = ".".join(problem.path.split(".")[:2])
        place = self._places.get(path) or self._places.get(f"{path}.0") or (1, 1)
        return Problem(problem.code, problem.construct, problem.rule, problem.nearest, *place)


_ENDS = (("period", "date"), ("as_of", "as_of"))


def _is_key_function(node: exp.Expr) -> bool:
    return isinstance(node, exp.Anonymous) and node.name.lower() in {"age_band", "bin"}
