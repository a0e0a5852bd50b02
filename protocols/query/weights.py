"""Rules of a question's weights, one for each month of its period: what may have them, and which they may be.

The answer is then the weighted sum of what the same question says of each month. That is so, cell by cell, where a patient's months
are bounded each for itself and nothing but counts and sums is asked. A standing series is made of such questions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from protocols.query.cohort import QUERY_BOUND
from protocols.query.domains import months_between
from protocols.query.errors import Problem, ProblemCode
from protocols.query.terms import Count, Period, Sum

if TYPE_CHECKING:
    from protocols.query.spec import QuerySpec

MAX_WEIGHT = 1024
_WHOLE = "months from a first day to a first day"


def weight_problems(spec: QuerySpec) -> Iterator[Problem]:
    """Of weights that are stated. A period that is none has been named already."""
    if spec.weights is not None:
        yield from _are_of_months(spec.weights, spec.period)
        yield from _are_of_a_sum(spec)


def _are_of_months(weights: tuple[int, ...], period: Period | None) -> Iterator[Problem]:
    if period is None:
        yield Problem(ProblemCode.BAD_VALUE, "weights", "only for a period of months", "no weights", path="weights")
        return
    if period.start >= period.end:
        return
    months = len(months_between(period.start, period.end))
    if period.start.day != 1 or period.end.day != 1:
        yield Problem(ProblemCode.PERIOD, "period", "weights are of whole months", _WHOLE, path="period")
    if len(weights) != months:
        rule = f"{len(weights)} weights for {months} months"
        yield Problem(ProblemCode.BAD_VALUE, "weights", rule, "one for each month", path="weights")
    if not all(1 <= each <= MAX_WEIGHT for each in weights):
        yield Problem(ProblemCode.BAD_VALUE, "weights", f"a weight is from 1 to {MAX_WEIGHT}", path="weights")


def _are_of_a_sum(spec: QuerySpec) -> Iterator[Problem]:
    is_bounded_by_month = spec.bound != QUERY_BOUND and spec.is_block_local and not spec.totals
    if not is_bounded_by_month or not all(isinstance(each, Count | Sum) for each in spec.measures):
        rule = "weights are for counts and sums, bounded per block, without totals"
        yield Problem(ProblemCode.BAD_VALUE, "weights", rule, "no weights", path="weights")
    if any(key.key in {"iso_week", "month"} for key in spec.keys):
        yield Problem(ProblemCode.BAD_VALUE, "weights", "weights add months up", "no key of week or month", path="weights")
