"""Everything that is wrong with a query, at once: what, where, and the nearest form that is right.

A query is refused with all of its problems, never with the first alone. A problem names a construct of the language, its
place in the text and a valid form; it never repeats a literal of the query, since a literal may hold what a person typed
by mistake.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class ProblemCode(StrEnum):
    """The stable name of a rule that a query can break: metric label, API field and translation key."""

    SYNTAX = "query.syntax"
    SHAPE = "query.shape"
    SPELLING = "query.spelling"
    OUTSIDE_LANGUAGE = "query.outside_language"
    UNKNOWN_NAME = "query.unknown_name"
    NOT_IN_TABLE = "query.not_in_table"
    BAD_VALUE = "query.bad_value"
    OUT_OF_ORDER = "query.out_of_order"
    DUPLICATE = "query.duplicate"
    OVERLAP = "query.overlap"
    CLAMPS = "query.clamps"
    PERIOD = "query.period"
    AS_OF = "query.as_of"
    TOO_MANY_CELLS = "query.too_many_cells"
    NO_MEASURE = "query.no_measure"
    LOOK_BACK = "query.look_back"
    KEYS_DIFFER = "query.keys_differ"
    BOUND_NOT_OFFERED = "query.bound_not_offered"


@dataclass(frozen=True, slots=True)
class Problem:
    """One broken rule. `line` and `column` count from 1, and are 0 where the query was not text; `path` is a field of the spec."""

    code: ProblemCode
    construct: str
    rule: str
    nearest: str = ""
    line: int = 0
    column: int = 0
    path: str = ""

    def __str__(self) -> str:
        place = f" at {self.line}:{self.column}" if self.line else (f" in {self.path}" if self.path else "")
        nearest = f"; nearest valid form: {self.nearest}" if self.nearest else ""
        return f"{self.construct}{place}: {self.rule}{nearest}   [{self.code}]"


class QueryError(Exception):
    """A query outside the language, with every problem found. The attributes of the first problem are its own."""

    code = "query"

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        if not self.problems:
            raise AssertionError("a query error needs at least one problem")
        first = self.problems[0]
        self.construct, self.line, self.column, self.nearest = first.construct, first.line, first.column, first.nearest
        super().__init__("\n".join(map(str, self.problems)))


def nearest_name(given: str, names: Iterable[str]) -> str:
    """The valid name most like the given one, or all of them when none is like it."""
    known = list(map(str, names))
    alike = difflib.get_close_matches(given.lower(), known, n=1, cutoff=0.5)
    return alike[0] if alike else ", ".join(known)
