"""The words of the typed query: tables, conditions, cohorts, measures and keys, each with the numbers that bound it.

Rules
- Every bound of a measure is public and stands in the query: a clamp drawn from data would leak (privacy pitfall 6).
- Clamps satisfy lo <= 0 <= hi, so that a patient who is absent (total 0) is inside them (privacy choice 2). A spread is
  measured from the middle of its clamps and a quantile in bins between them, so theirs only satisfy lo < hi.
- A table one and a survival curve take one entry a patient and cell, so that they are bounded over the whole query unless told
  otherwise.
- Sums are integers: `value * scale`, rounded half up, at most six decimals (`scale` divides 1,000,000).
- Lists that mean sets are sorted and without repeats; decimals are strings in their one shortest spelling.
"""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from protocols.query.domains import DISTRICTS, MAX_AGE, SEXES, VISIT_CLASSES, AgeBands

MAX_CLAMP = 1_000_000_000
MAX_COUNT_CLAMP = 1_000
MAX_LIST = 1_000
MAX_STEPS = 64
MAX_BINS = 400
MAX_EDGES = 200
MAX_QUANTILE_POINTS = 9
MAX_CONDITIONS = 16
MAX_DAYS = 3_660
MIN_BUCKETS = 1_024
MAX_BUCKETS = 65_536
"""Of residents, in all cells together: each costs the auditor and the coordinator two thirds of a millisecond."""
UNITS = 1_000_000
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,11})(\.[0-9]{0,5}[1-9])?")


class Term(BaseModel):
    """A frozen piece of a query; unknown fields are refused, and an error never repeats what was given."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True, populate_by_name=True)


class Table(StrEnum):
    VISITS = "visits"
    DIAGNOSES = "diagnoses"
    MEASUREMENTS = "measurements"
    PATIENTS = "patients"

    @property
    def is_dated(self) -> bool:
        """Whether each row belongs to the block of a month; patients are one static block."""
        return self is not Table.PATIENTS

    @property
    def columns(self) -> frozenset[str]:
        """What a condition may name."""
        return frozenset({"district", "sex", "age"}) | _OWN_COLUMNS[self]

    @property
    def keys(self) -> frozenset[str]:
        dated = {"iso_week", "month"} if self.is_dated else set()
        own = {Table.VISITS: {"visit_class"}, Table.DIAGNOSES: {"icd10_prefix"}}
        return frozenset({"district", "sex", "age_band", "bin"} | dated | own.get(self, set()))

    @property
    def sums(self) -> frozenset[str]:
        return frozenset({"value"} if self is Table.MEASUREMENTS else {"age"})


_OWN_COLUMNS: dict[Table, frozenset[str]] = {
    Table.VISITS: frozenset({"visit_class"}),
    Table.DIAGNOSES: frozenset({"icd10"}),
    Table.MEASUREMENTS: frozenset({"loinc", "value"}),
    Table.PATIENTS: frozenset(),
}


def _canonical_decimal(text: str) -> str:
    if not _DECIMAL.fullmatch(text) or text == "-0":
        raise ValueError("a decimal is written shortest, without exponent, with at most 12 digits before and 6 after the point")
    return text


def _sorted_set(values: tuple[str, ...]) -> tuple[str, ...]:
    if list(values) != sorted(set(values)):
        raise ValueError("the list must be sorted and without repeats")
    return values


def decimal_text(number: Decimal) -> str:
    """The one spelling of a decimal."""
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


DecimalText = Annotated[str, AfterValidator(_canonical_decimal)]
Prefix = Annotated[str, Field(pattern=r"^[A-Z][0-9A-Z]{0,7}$")]
Prefixes = Annotated[tuple[Prefix, ...], Field(min_length=1, max_length=MAX_LIST), AfterValidator(_sorted_set)]
Names = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=64)], ...],
    Field(min_length=1, max_length=MAX_LIST),
    AfterValidator(_sorted_set),
]


class HasPrefix(Term):
    column: Literal["icd10"] = "icd10"
    prefixes: Prefixes


class IsOneOf(Term):
    column: Literal["loinc", "district", "sex", "visit_class"]
    values: Names


class AgeBetween(Term):
    """Both ends inside."""

    column: Literal["age"] = "age"
    low: int = Field(ge=0, le=MAX_AGE)
    high: int = Field(ge=0, le=MAX_AGE)


class Comparison(StrEnum):
    LESS = "<"
    AT_MOST = "<="
    GREATER = ">"
    AT_LEAST = ">="

    @property
    def is_lower_bound(self) -> bool:
        return self in {Comparison.GREATER, Comparison.AT_LEAST}


class ValueBound(Term):
    column: Literal["value"] = "value"
    op: Comparison
    number: DecimalText


Condition = Annotated[HasPrefix | IsOneOf | AgeBetween | ValueBound, Field(discriminator="column")]
CLOSED_LISTS: dict[str, tuple[str, ...]] = {"district": tuple(DISTRICTS), "sex": tuple(SEXES), "visit_class": tuple(VISIT_CLASSES)}


class Period(Term):
    """Days from `start` on, before `end`; in JSON `from` and `to`."""

    start: date = Field(alias="from")
    end: date = Field(alias="to")


class Is(Term):
    """Holds on a row that meets all of `where`. A row without a value meets no condition on it, so that its NOT holds."""

    kind: Literal["is"] = "is"
    where: Annotated[tuple[Condition, ...], Field(min_length=1, max_length=MAX_CONDITIONS)]


class Has(Term):
    """Holds on a row whose patient has a row of `table` that meets `where` within the window, both ends inside.

    `days` are counted from the row's own date; `period` is fixed. One of the two is stated.
    """

    kind: Literal["has"] = "has"
    table: Table
    where: Annotated[tuple[Condition, ...], Field(max_length=MAX_CONDITIONS)] = ()
    days: tuple[Annotated[int, Field(ge=-MAX_DAYS, le=MAX_DAYS)], Annotated[int, Field(ge=-MAX_DAYS, le=MAX_DAYS)]] | None = None
    period: Period | None = None

    @property
    def is_of_one_day(self) -> bool:
        """Whether only rows of the row's own day, and so of its own block, are looked at."""
        return self.days == (0, 0)


class AllOf(Term):
    kind: Literal["all"] = "all"
    of: Annotated[tuple[Cohort, ...], Field(min_length=2, max_length=MAX_CONDITIONS)]


class AnyOf(Term):
    kind: Literal["any"] = "any"
    of: Annotated[tuple[Cohort, ...], Field(min_length=2, max_length=MAX_CONDITIONS)]


class Not(Term):
    kind: Literal["not"] = "not"
    of: Cohort


Cohort = Annotated[Is | Has | AllOf | AnyOf | Not, Field(discriminator="kind")]
"""Which rows count, by the row itself and by what else its patient has."""


class _Filtered(Term):
    """A measure of those rows only that `filter` holds on."""

    filter: Cohort | None = None


class Count(_Filtered):
    """Rows; each (patient, block, cell) adds at most `hi`."""

    kind: Literal["count"] = "count"
    hi: int = Field(default=3, ge=1, le=MAX_COUNT_CLAMP)


class Persons(_Filtered):
    """Distinct patients of a hospital: each cell counts a patient once, however many blocks it spans."""

    kind: Literal["count_distinct_person"] = "count_distinct_person"


class Residents(_Filtered):
    """Distinct residents of the city: a patient of several hospitals counts once in a cell, by a blind OR over hospitals.

    Each resident falls into one of `buckets` of a cell, a power of two; what is released says how many are filled, and more of
    them tell it more exactly, at the price of time.
    """

    kind: Literal["count_distinct_resident"] = "count_distinct_resident"
    buckets: int = Field(default=4096, ge=MIN_BUCKETS, le=MAX_BUCKETS)


class _Clamped(_Filtered):
    column: Literal["value", "age"]
    lo: DecimalText
    hi: DecimalText
    scale: int = Field(default=1, ge=1, le=UNITS)

    @property
    def scaled(self) -> tuple[Decimal, Decimal]:
        return Decimal(self.lo) * self.scale, Decimal(self.hi) * self.scale


class Sum(_Clamped):
    """Total of a column; each (patient, block, cell) total is clamped to [lo, hi]."""

    kind: Literal["sum"] = "sum"


class Average(_Clamped):
    """Mean of a column, as a sum over a count: each (patient, block, cell) enters once, with its rows' mean clamped to [lo, hi]."""

    kind: Literal["avg"] = "avg"


class Spread(_Filtered):
    """Variance or standard deviation of the means that `Average` adds up, each taken in whole steps from the middle of [lo, hi].

    `steps` lie between the middle and an end: more of them tell narrower spreads, under noise that is as large in the
    column's own unit.
    """

    kind: Literal["variance", "stddev"]
    column: Literal["value", "age"]
    lo: DecimalText
    hi: DecimalText
    steps: int = Field(default=16, ge=2, le=MAX_STEPS)


class Quantiles(_Filtered):
    """Quantiles of the means that `Average` adds up, read from a released histogram of `bins` equal bins over [lo, hi]."""

    kind: Literal["quantiles"] = "quantiles"
    column: Literal["value", "age"]
    lo: DecimalText
    hi: DecimalText
    points: Annotated[tuple[DecimalText, ...], Field(min_length=1, max_length=MAX_QUANTILE_POINTS)] = ("0.5",)
    bins: int = Field(default=32, ge=2, le=MAX_BINS)


class Summary(_Filtered):
    """The lines of a table one for a number: mean, standard deviation, median and quartiles of the means that `Average` adds up,
    and how many patients have no number. `steps` as in `Spread`, `bins` as in `Quantiles`."""

    kind: Literal["summary"] = "summary"
    column: Literal["value", "age"]
    lo: DecimalText
    hi: DecimalText
    steps: int = Field(default=16, ge=2, le=MAX_STEPS)
    bins: int = Field(default=32, ge=2, le=MAX_BINS)


class Categories(_Filtered):
    """The lines of a table one for a closed list: how many patients in each category, and how many in none.

    A patient of several categories is in the one that most of its rows of the cell have, the first of the list where even.
    """

    kind: Literal["categories"] = "categories"
    column: Literal["sex", "district", "visit_class"]

    @property
    def labels(self) -> tuple[str, ...]:
        return CLOSED_LISTS[self.column]


class Survival(_Filtered):
    """Kaplan-Meier on a grid of days: from a patient's first counted row of a cell to its first later row that `event` holds on.

    Edge by edge, (0, e1], (e1, e2] ... `until` ends the follow-up of everybody: a patient without an event is censored at the last
    day before it, or at the last edge.
    """

    kind: Literal["survival"] = "survival"
    event: Has
    edges: Annotated[tuple[Annotated[int, Field(ge=1, le=MAX_DAYS)], ...], Field(min_length=1, max_length=MAX_EDGES)]
    until: date


Measure = Annotated[
    Count | Persons | Residents | Sum | Average | Spread | Quantiles | Summary | Categories | Survival, Field(discriminator="kind")
]
OfColumn = Sum | Average | Spread | Quantiles | Summary
"""The measures of a number that stands on each row."""
Ranged = Spread | Quantiles | Summary
"""Those that measure it between two ends, neither of which has to be on a side of 0."""
OncePerPatient = Summary | Categories | Survival
"""One entry a patient and cell."""
InOneRange = Ranged | Categories | Survival
"""Measures that exact mode does not have: they cut what they count to a public range, or choose one of a patient's rows."""


class PlainKey(Term):
    key: Literal["iso_week", "month", "district", "sex", "visit_class"]


class AgeBandKey(Term):
    key: Literal["age_band"] = "age_band"
    bands: AgeBands = AgeBands.SURVEILLANCE


class PrefixKey(Term):
    """Groups diagnoses by a public list of ICD-10 prefixes, none of which begins another."""

    key: Literal["icd10_prefix"] = "icd10_prefix"
    prefixes: Prefixes


class BinKey(Term):
    """Groups rows by a number between public edges, each bin with its lower edge and without its upper one: a histogram."""

    key: Literal["bin"] = "bin"
    column: Literal["value", "age"]
    edges: Annotated[tuple[DecimalText, ...], Field(min_length=2, max_length=MAX_EDGES + 1)]

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(f"[{low}, {high})" for low, high in pairwise(self.edges))


Key = Annotated[PlainKey | AgeBandKey | PrefixKey | BinKey, Field(discriminator="key")]


def covered_prefixes(prefixes: tuple[str, ...]) -> list[str]:
    """Those that begin with another of the list. Sorted, a prefix stands right before all that begin with it."""
    covered: list[str] = []
    kept = ""
    for prefix in sorted(prefixes):
        if kept and prefix.startswith(kept):
            covered.append(prefix)
        else:
            kept = prefix
    return covered
