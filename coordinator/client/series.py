"""A year of one monthly question, with totals of quarters and of the year asked as such: what is due, and one table of all answers.

Rules
- The question counts or sums the rows of one calendar month, bounded per (patient, block), without a key of time. Asked of several
  months it is then the sum of what it is of each, entry by entry: a patient's months are bounded each for itself.
- Every question is an ordinary one, priced, approved and answered as such; a month pays the same for all that read it as for one
  question at the whole price. What is made of the answers costs nothing.
- Answers are found on this machine by their spec, and verified again. What was asked and not answered yet is waited for, not asked
  again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from fractions import Fraction

from coordinator.client.checked import Verified
from coordinator.client.city import City
from coordinator.client.errors import BadUsage
from coordinator.client.forecast import ByPrice, Forecast, forecast
from coordinator.client.shelf import Shelf
from coordinator.client.year import moved
from privacy.series import Errors, Released, Series, Strategy, combined, errors, strategy_for
from protocols.canonical import encode_json
from protocols.query import QuerySpec
from protocols.query.terms import Count, Sum
from protocols.statements import Query, parse

MONTHS = 12
ALONE = Strategy((1,), (1.0,))


@dataclass(frozen=True, slots=True)
class Due:
    """One question of the year. Months are numbered from the first; `share` of the price is its own."""

    spec: QuerySpec
    start: int
    stop: int
    share: Fraction

    @property
    def last_day(self) -> date:
        if self.spec.period is None:
            raise AssertionError("a series without a period was accepted")
        return self.spec.period.end


Answers = list[tuple[Due, Verified]]


@dataclass(frozen=True, slots=True)
class Promise:
    """Mean noise variances as a series, and of one question a month at the same price, in the vector's integers."""

    series: Errors
    alone: Errors


def is_series(spec: QuerySpec) -> bool:
    """Whether a question can be asked as one."""
    period = spec.period
    return (
        period is not None
        and period.start.day == 1
        and period.end == moved(period.start, "month", 1)
        and spec.bound == "block"
        and spec.is_block_local
        and not spec.totals
        and not any(key.key in {"iso_week", "month"} for key in spec.keys)
        and all(isinstance(measure, Count | Sum) for measure in spec.measures)
    )


def schedule(spec: QuerySpec) -> tuple[Due, ...]:
    """In the order in which their months end. Raises BadUsage for a question that has no series."""
    if not is_series(spec):
        raise BadUsage("error.series")
    strategy = strategy_for(MONTHS)
    share_of = dict(zip(strategy.lengths, strategy.shares, strict=True))
    return tuple(
        Due(_of_months(spec, start, stop), start, stop, Fraction(str(share_of[length])))
        for length, start, stop in strategy.spans(MONTHS)
    )


def _of_months(spec: QuerySpec, start: int, stop: int) -> QuerySpec:
    if spec.period is None:
        raise AssertionError("a series without a period was accepted")
    first, end = (moved(spec.period.start, "month", month) for month in (start, stop))
    return QuerySpec.from_fields(spec.to_json() | {"period": {"from": str(first), "to": str(end)}})


def promise(spec: QuerySpec, cast: Forecast) -> Promise | None:
    """What a series would have at a forecast's price; None of a question that has none, or whose shares buy no noise."""
    if not is_series(spec) or not any(cast.variances):
        return None
    strategy = strategy_for(MONTHS)
    try:
        variances = [
            float(forecast(_of_months(spec, 0, length), ByPrice(cast.price.one * Fraction(str(share))), cast.n).total_variances[0])
            for length, share in zip(strategy.lengths, strategy.shares, strict=True)
        ]
    except BadUsage:
        return None
    return Promise(errors(strategy, MONTHS, variances), errors(ALONE, MONTHS, [float(cast.total_variances[0])]))


def questions_like(shelf: Shelf, ids: list[str], due: tuple[Due, ...]) -> dict[Due, list[str]]:
    """Which of these ids ask what is due. A file that cannot be read as a question asks nothing."""
    of_spec = {encode_json(each.spec.to_json()): each for each in due}
    found: dict[Due, list[str]] = {}
    for id_ in ids:
        raw = shelf.question(id_)
        statement = parse(raw).statement if raw else None
        if isinstance(statement, Query) and (each := of_spec.get(encode_json(statement.spec))) is not None:
            found.setdefault(each, []).append(id_)
    return found


def told(city: City, due: tuple[Due, ...]) -> Answers:
    """Every answer on this machine, verified again, in the order of what is due."""
    found = questions_like(city.shelf, city.shelf.answers(), due)
    return [(each, city.answer(id_).verified) for each in due for id_ in found.get(each, [])]


def series_of(answers: Answers, measure: int) -> Series | None:
    """Of one measure; None before a month has been answered."""
    if not any(due.stop == due.start + 1 for due, _ in answers):
        return None
    return combined([_released(due, given, measure) for due, given in answers])


def _released(due: Due, given: Verified, measure: int) -> Released:
    stretch = given.cells.measured[measure].parts[0].over(given.cells.kept)
    members = frozenset(given.bundle.coverage.answered)
    return Released(due.start, due.stop, members, float(stretch.variance), stretch.values.reshape(-1).astype(float))


def to_ask(due: tuple[Due, ...], answered: Answers, today: date) -> Iterator[Due]:
    """What has ended and was not answered."""
    done = {each for each, _ in answered}
    return (each for each in due if each.last_day <= today and each not in done)
