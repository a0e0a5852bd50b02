"""The typed query: what is signed, priced and executed; SQL and TOML are only ways to write one.

Rules
- One encoding: `to_json` writes every field, `from_json` takes back exactly that and nothing else (fields in any order).
- A constructed spec is valid: names exist in its table, clamps stand the right way round, its grid is within `MAX_CELLS`,
  its footprint is not empty. A spec that breaks rules raises `QueryError` with all of them.
- Dated tables need a period; `patients` has none, and states `as_of` exactly when an age is asked, since age needs a day.
- `totals` are proper subsets of the keys, in their order, each once: further levels of the same answer, which stack.
- The bound is per (patient, block), or on request per patient over the whole query; a question that looks at rows of other days
  has the second only (privacy choice 2), and takes it where none is stated; so does a table one, which has each
  patient once, in one cell. `weights` are rules of their own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from protocols.query.cohort import QUERY_BOUND, Read, cohort_problems, days_read, leaves
from protocols.query.conditions import condition_problems
from protocols.query.domains import (
    EARLIEST,
    LATEST,
    MAX_CELLS,
    MAX_MONTHS,
    Axis,
    Grid,
    months_between,
    most_weeks_in_a_month,
    weeks_between,
)
from protocols.query.errors import Problem, ProblemCode, QueryError, nearest_name
from protocols.query.ranges import follow_up_problems, range_problems, resident_problems
from protocols.query.terms import (
    CLOSED_LISTS,
    MAX_CONDITIONS,
    AgeBandKey,
    BinKey,
    Categories,
    Cohort,
    Condition,
    Has,
    Is,
    IsOneOf,
    Key,
    Measure,
    OfColumn,
    Period,
    PrefixKey,
    Quantiles,
    Summary,
    Survival,
    Table,
    Term,
    covered_prefixes,
)
from protocols.query.weights import weight_problems

MAX_KEPT_CELLS = 1_000


class QuerySpec(Term):
    """One question to all hospitals. The order of measures and keys is the order of the answer; conditions are sorted."""

    version: Literal[1] = 1
    table: Table
    measures: tuple[Measure, ...] = Field(max_length=8)
    keys: tuple[Key, ...] = Field(default=(), max_length=6)
    totals: tuple[tuple[str, ...], ...] | None = Field(default=None, min_length=1, max_length=16)
    where: tuple[Condition, ...] = Field(default=(), max_length=MAX_CONDITIONS)
    cohort: Cohort | None = None
    period: Period | None = None
    as_of: date | None = None
    cells_per_patient: int = Field(default=4, ge=1, le=MAX_KEPT_CELLS)
    bound: str = "block"
    weights: tuple[int, ...] | None = Field(default=None, min_length=2, max_length=MAX_MONTHS)

    @model_validator(mode="after")
    def _obeys_every_rule(self) -> QuerySpec:
        problems = [problem for rule in _RULES for problem in rule(self)]
        if problems:
            raise QueryError(problems)
        return self

    def to_json(self) -> dict[str, Any]:
        """The canonical encoding: strings, integers, lists and objects of them; a field that does not apply is absent."""
        encoded: dict[str, Any] = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        return encoded

    @classmethod
    def from_json(cls, data: object) -> QuerySpec:
        """Reads the canonical encoding back. Raises `QueryError` for anything `to_json` would not write."""
        spec = cls.from_fields(data)
        if _text(spec.to_json()) != _text(data):
            raise QueryError(
                [
                    Problem(
                        ProblemCode.SPELLING, "spec", "not in the canonical encoding", "every field written out, decimals shortest"
                    )
                ]
            )
        return spec

    @classmethod
    def from_fields(cls, data: object) -> QuerySpec:
        """Reads an encoding in which fields with a default may be absent, as a person writes it."""
        try:
            return cls.model_validate_json(_text(_with_bounds(data)))
        except ValidationError as error:
            raise QueryError(_shape_problems(error)) from None

    def grid(self) -> Grid:
        return Grid(tuple(self._axis(key) for key in self.keys))

    def condition_on(self, column: str) -> Condition | None:
        return next((condition for condition in self.where if condition.column == column), None)

    @property
    def cohorts(self) -> tuple[tuple[str, Cohort], ...]:
        """That of all rows and those of the measures, each with its place in the spec."""
        filters = ((f"measures.{n}.filter", measure.filter) for n, measure in enumerate(self.measures))
        return tuple((path, each) for path, each in (("cohort", self.cohort), *filters) if each is not None)

    @property
    def windows(self) -> tuple[Has, ...]:
        """What else a patient may have to have, and the events that are waited for, each once."""
        found = (leaf for _, cohort in self.cohorts for leaf in leaves(cohort))
        events = (measure.event for measure in self.measures if isinstance(measure, Survival))
        return tuple(dict.fromkeys([*(leaf for leaf in found if isinstance(leaf, Has)), *events]))

    @property
    def is_block_local(self) -> bool:
        """Whether each (patient, block, cell) is a function of one block's rows."""
        return all(window.is_of_one_day for window in self.windows)

    @property
    def reads(self) -> tuple[Read, ...]:
        """The rows that a plan may look at: its own first, then those of each window."""
        own = None if self.period is None else (self.period.start, self.period.end)
        return (Read(self.table, own), *(Read(window.table, self._days_of(window)) for window in self.windows))

    def _days_of(self, window: Has) -> tuple[date, date]:
        """Those of a window; of an event that is waited for, no day after the follow-up ends."""
        start, end = days_read(window, self.period)
        conditions = (leaf for _, cohort in self.cohorts for leaf in leaves(cohort))
        ends = [measure.until for measure in self.measures if isinstance(measure, Survival) and measure.event == window]
        return start, end if window in conditions else min(end, max(ends))

    @property
    def uses_age(self) -> bool:
        return (
            self.condition_on("age") is not None
            or any(condition.column == "age" for condition in self._conditions_of_filters())
            or any(isinstance(key, AgeBandKey) for key in self.keys)
            or any(isinstance(each, OfColumn | BinKey) and each.column == "age" for each in (*self.measures, *self.keys))
        )

    def _conditions_of_filters(self) -> Iterator[Condition]:
        for _, cohort in self.cohorts:
            for leaf in leaves(cohort):
                if isinstance(leaf, Is):
                    yield from leaf.where

    def _axis(self, key: Key) -> Axis:
        if isinstance(key, AgeBandKey):
            return _unrelated_to_time(key.key, key.bands.labels)
        if isinstance(key, PrefixKey):
            return _unrelated_to_time(key.key, key.prefixes)
        if isinstance(key, BinKey):
            return _unrelated_to_time(key.key, key.labels)
        if key.key in CLOSED_LISTS:
            chosen = self.condition_on(key.key)
            return _unrelated_to_time(key.key, chosen.values if isinstance(chosen, IsOneOf) else CLOSED_LISTS[key.key])
        if self.period is None:
            raise AssertionError("a key of time was accepted without a period")
        if key.key == "month":
            return Axis("month", months_between(self.period.start, self.period.end), 1)
        return Axis(
            "iso_week",
            weeks_between(self.period.start, self.period.end),
            most_weeks_in_a_month(self.period.start, self.period.end),
        )


_ONCE_PER_PATIENT = {"summary", "categories", "survival"}


def _unrelated_to_time(key: str, labels: tuple[str, ...]) -> Axis:
    return Axis(key, labels, len(labels))


def _text(data: object) -> str:
    try:
        return json.dumps(data, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise QueryError(
            [Problem(ProblemCode.SHAPE, "spec", "not plain JSON", "an object of strings, integers and lists")]
        ) from None


def _with_bounds(data: object) -> object:
    """The bounds that a question needs are taken where none is stated: a table one has each patient once, in one group."""
    if not isinstance(data, dict):
        return data
    is_once = _counts_once(data.get("measures"))
    bounds: dict[str, object] = {"bound": QUERY_BOUND} if is_once or _looks_further(data) else {}
    return (bounds | {"cells_per_patient": 1} if is_once else bounds) | data


def _counts_once(measures: object) -> bool:
    kinds = [each.get("kind") for each in measures if isinstance(each, dict)] if isinstance(measures, list) else []
    return any(kind in _ONCE_PER_PATIENT for kind in kinds if isinstance(kind, str))


def _looks_further(part: object) -> bool:
    """Whether a window of other days stands in it, before anything is known to be well formed."""
    to_do = [part]
    while to_do:
        each = to_do.pop()
        if isinstance(each, dict):
            if each.get("kind") == "has" and each.get("days") != [0, 0]:
                return True
            to_do += each.values()
        elif isinstance(each, list):
            to_do += each
    return False


def _shape_problems(error: ValidationError) -> Iterator[Problem]:
    for found in error.errors(include_url=False, include_input=False):
        path = ".".join(map(str, found["loc"]))
        name = next((str(part) for part in reversed(found["loc"]) if isinstance(part, str)), "spec")
        context = found.get("ctx") or {}
        nearest = str(context.get("expected_tags") or context.get("expected") or "")
        if found["type"] == "extra_forbidden" and len(found["loc"]) == 1:
            nearest = nearest_name(name, QuerySpec.model_fields)
        # The wording for a wrong tag or pattern would repeat what was given.
        rule = _SHAPES.get(found["type"]) or found["msg"].removeprefix("Value error, ").lower()
        yield Problem(ProblemCode.SHAPE, name, rule, nearest, path=path)


_SHAPES = {
    "union_tag_invalid": "unknown",
    "union_tag_not_found": "an object that names its kind was expected",
    "string_pattern_mismatch": "not in its one spelling",
    "extra_forbidden": "unknown field",
    "enum": "unknown",
    "literal_error": "unknown",
}


def _names_exist(spec: QuerySpec) -> Iterator[Problem]:
    named = [
        *(("keys", n, key.key, spec.table.keys) for n, key in enumerate(spec.keys)),
        *(("keys", n, key.column, spec.table.sums) for n, key in enumerate(spec.keys) if isinstance(key, BinKey)),
        *(("measures", n, m.column, spec.table.sums) for n, m in enumerate(spec.measures) if isinstance(m, OfColumn)),
        *(("measures", n, m.column, spec.table.columns) for n, m in enumerate(spec.measures) if isinstance(m, Categories)),
    ]
    for part, n, name, known in named:
        if name not in known:
            nearest = nearest_name(name, sorted(known))
            yield Problem(ProblemCode.NOT_IN_TABLE, name, f"not in {spec.table}", nearest, path=f"{part}.{n}")


def _nothing_twice(spec: QuerySpec) -> Iterator[Problem]:
    if not spec.measures:
        yield Problem(ProblemCode.NO_MEASURE, "measures", "nothing is counted", "count_distinct_person", path="measures")
    for n, measure in enumerate(spec.measures):
        if measure in spec.measures[:n]:
            yield Problem(ProblemCode.DUPLICATE, measure.kind, "asked twice", "once: it is paid each time", path=f"measures.{n}")
    for n, key in enumerate(spec.keys):
        if key.key in [earlier.key for earlier in spec.keys[:n]]:
            yield Problem(ProblemCode.DUPLICATE, key.key, "grouped by twice", path=f"keys.{n}")


def _conditions_are_sound(spec: QuerySpec) -> Iterator[Problem]:
    yield from condition_problems(spec.where, spec.table, "where")
    for path, cohort in spec.cohorts:
        yield from cohort_problems(cohort, spec.table, path)
    for n, measure in enumerate(spec.measures):
        if isinstance(measure, Survival):
            yield from cohort_problems(measure.event, spec.table, f"measures.{n}.event")


def _prefix_key_is_a_partition(spec: QuerySpec) -> Iterator[Problem]:
    for n, key in enumerate(spec.keys):
        if isinstance(key, PrefixKey):
            if covered_prefixes(key.prefixes):
                yield Problem(
                    ProblemCode.OVERLAP, "icd10_prefix", "a prefix begins another: a row would be in two cells", path=f"keys.{n}"
                )
            if spec.condition_on("icd10") is not None:
                nearest = "the list of the key alone"
                yield Problem(ProblemCode.DUPLICATE, "icd10", "a condition beside the key icd10_prefix", nearest, path="where")


def _ranges_are_bounds(spec: QuerySpec) -> Iterator[Problem]:
    yield from range_problems(spec.measures, spec.keys)
    yield from follow_up_problems(spec.measures, spec.period)


def _totals_are_levels(spec: QuerySpec) -> Iterator[Problem]:
    keys = [key.key for key in spec.keys]
    for n, level in enumerate(spec.totals or ()):
        path = f"totals.{n}"
        if list(level) != [key for key in keys if key in level] or len(level) == len(keys):
            nearest = f"some of {', '.join(keys)}, in this order" if keys else "no totals"
            yield Problem(ProblemCode.BAD_VALUE, "totals", "not a part of the keys", nearest, path=path)
        if level in (spec.totals or ())[:n]:
            yield Problem(ProblemCode.DUPLICATE, "totals", "a level asked twice", "once: it is paid each time", path=path)


def _period_is_stated(spec: QuerySpec) -> Iterator[Problem]:
    nearest = "date >= DATE '2025-01-01' AND date < DATE '2026-01-01'"
    if spec.period is None:
        if spec.table.is_dated:
            yield Problem(ProblemCode.PERIOD, "period", f"{spec.table} needs one", nearest, path="period")
        return
    if not spec.table.is_dated:
        yield Problem(ProblemCode.PERIOD, "period", f"{spec.table} has no date", "no period", path="period")
    elif spec.period.start >= spec.period.end:
        yield Problem(ProblemCode.PERIOD, "period", "no day lies in it, so the footprint is empty", nearest, path="period")
    elif spec.period.start < EARLIEST or spec.period.end > LATEST:
        yield Problem(ProblemCode.PERIOD, "period", f"outside {EARLIEST} to {LATEST}", nearest, path="period")
    elif _months(spec.period.start, spec.period.end) > MAX_MONTHS:
        yield Problem(ProblemCode.PERIOD, "period", f"more than {MAX_MONTHS} months", nearest, path="period")


def _months(start: date, end: date) -> int:
    return (end.year - start.year) * 12 + end.month - start.month + 1


def _windows_are_near(spec: QuerySpec) -> Iterator[Problem]:
    if any(True for rule in (_period_is_stated, _conditions_are_sound) for _ in rule(spec)):
        return  # a window without ends has been named already
    days = [read.days for read in spec.reads if read.days is not None]
    if spec.windows and _months(min(start for start, _ in days), max(end for _, end in days)) > MAX_MONTHS:
        rule = f"windows reach over more than {MAX_MONTHS} months"
        path = spec.cohorts[0][0] if spec.cohorts else "measures"
        yield Problem(ProblemCode.LOOK_BACK, "HAS", rule, "a shorter look-back", path=path)


def _age_has_a_day(spec: QuerySpec) -> Iterator[Problem]:
    wanted = spec.uses_age and not spec.table.is_dated
    if wanted and spec.as_of is None:
        yield Problem(ProblemCode.AS_OF, "as_of", "the age of a patient needs a day", "as_of = DATE '2025-07-01'", path="as_of")
    if spec.as_of is not None and not wanted:
        yield Problem(ProblemCode.AS_OF, "as_of", "only for the age of patients", "no as_of", path="as_of")
    if spec.as_of is not None and not EARLIEST <= spec.as_of <= LATEST:
        yield Problem(ProblemCode.AS_OF, "as_of", f"outside {EARLIEST} to {LATEST}", path="as_of")


def _bound_is_offered(spec: QuerySpec) -> Iterator[Problem]:
    if spec.bound not in {"block", QUERY_BOUND}:
        nearest = nearest_name(spec.bound, ["block", QUERY_BOUND])
        yield Problem(ProblemCode.BOUND_NOT_OFFERED, "bound", "unknown", nearest, path="bound")
    elif spec.bound == "block" and not spec.is_block_local:
        rule = "rows of other days are looked at, so a patient is bounded over the whole query"
        yield Problem(ProblemCode.BOUND_NOT_OFFERED, "bound", rule, QUERY_BOUND, path="bound")


def _grid_fits(spec: QuerySpec) -> Iterator[Problem]:
    # A wrong period or a key outside its table has been named already, and has no grid.
    if any(True for rule in (_period_is_stated, _names_exist, _nothing_twice) for _ in rule(spec)):
        return
    cells = math.prod(spec.grid().shape)
    yield from resident_problems(spec.measures, bool(spec.totals), cells)
    size = cells * max(map(_entries_in_a_cell, spec.measures))
    if size > MAX_CELLS:
        nearest = "fewer keys or bins, a shorter period or a shorter list"
        yield Problem(ProblemCode.TOO_MANY_CELLS, "keys", f"{size} cells, the most is {MAX_CELLS}", nearest, path="keys")


def _entries_in_a_cell(measure: Measure) -> int:
    if isinstance(measure, Survival):
        return 2 * len(measure.edges) + 1
    if isinstance(measure, Categories):
        return len(measure.labels) + 1
    return measure.bins if isinstance(measure, Quantiles | Summary) else 1


_RULES: tuple[Callable[[QuerySpec], Iterator[Problem]], ...] = (
    _names_exist,
    _nothing_twice,
    _conditions_are_sound,
    _prefix_key_is_a_partition,
    _ranges_are_bounds,
    _totals_are_levels,
    _period_is_stated,
    _windows_are_near,
    _age_has_a_day,
    _bound_is_offered,
    weight_problems,
    _grid_fits,
)
