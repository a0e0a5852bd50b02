"""A year of one monthly question, with weighted sums of its months asked as such: what is due, and one table of all answers.

Rules
- The question counts or sums the rows of one calendar month, bounded per (patient, block), without a key of time. Asked of several
  months it is then the sum of what it is of each, entry by entry: a patient's months are bounded each for itself.
- The mechanism is chosen by what is read. Single months alone: each once, at the whole price, with independent noise. Windows and
  totals too: each month a question of its own and, from the second on, a weighted sum of all months so far
  (`privacy.factorisation`); where weights would need wider noise than there is, quarters and the year with weight one.
- Every question is an ordinary one, priced, approved and answered as such; a month pays no more for all that read it than for one
  question at the whole price. What is made of the answers costs nothing.
- The plan goes by who answered so far: after a sum that others answered than the month it began with, sums begin anew.
- Answers are found on this machine by their spec, and verified again. What was asked and not answered yet is waited for, not asked
  again.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from fractions import Fraction

from coordinator.client.checked import Verified
from coordinator.client.city import City
from coordinator.client.errors import BadUsage
from coordinator.client.forecast import DEFAULT_SHARE, ByPrice, Forecast, total_variances
from coordinator.client.shelf import Shelf
from coordinator.client.year import moved
from privacy.factorisation import Part, factorised
from privacy.rdp import LARGEST_RELEASE_VARIANCE, skellam_rdp
from privacy.series import SCALES, Errors, Released, Series, begins_after, combined, errors, independent, spans, weighted
from protocols.canonical import encode_json
from protocols.contract import CONTRACT
from protocols.query import Layout, QuerySpec, Segment
from protocols.query.terms import Count, Sum
from protocols.statements import Query, parse

MONTHS = 12
SCARCE = Fraction(1, 4)
"""Weights are as fine as noise allows at this part of what is taken when nobody says."""


@dataclass(frozen=True, slots=True)
class Due:
    """One question of the year. Months are numbered from the first."""

    spec: QuerySpec
    part: Part

    @property
    def start(self) -> int:
        return self.part.start

    @property
    def stop(self) -> int:
        return self.part.stop

    @property
    def share(self) -> Fraction:
        """What the month of the largest weight pays of the whole price."""
        return self.part.share

    @property
    def last_day(self) -> date:
        if self.spec.period is None:
            raise AssertionError("a series without a period was accepted")
        return self.spec.period.end


Answers = list[tuple[Due, Verified]]


@dataclass(frozen=True, slots=True)
class Promise:
    """Mean noise variances as a series of so many questions, and of one a month at the same price, in the vector's integers."""

    series: Errors
    alone: Errors
    questions: int


@dataclass(frozen=True, slots=True)
class TooWide:
    """A measure of which a patient moves a cell by up to `steps` (its bound times its scale); `most` would do for weighted sums."""

    measure: int
    steps: int
    most: int


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
        and spec.weights is None
        and not any(key.key in {"iso_week", "month"} for key in spec.keys)
        and all(isinstance(measure, Count | Sum) for measure in spec.measures)
    )


def schedule(spec: QuerySpec, begins: Sequence[int] = (0,), *, months_alone: bool = False) -> tuple[Due, ...]:
    """In the order in which their months end. Weighted sums begin anew at `begins`.

    `months_alone`: nobody reads windows or totals. Raises BadUsage for a question that has no series.
    """
    if not is_series(spec):
        raise BadUsage("error.series")
    return tuple(Due(_of_months(spec, part), part) for part in _parts(spec, begins, months_alone=months_alone))


def _parts(spec: QuerySpec, begins: Sequence[int], *, months_alone: bool) -> tuple[Part, ...]:
    scale = scale_for(spec)
    if months_alone:
        return independent(MONTHS)
    return spans(MONTHS) if scale is None else weighted(MONTHS, scale, begins)


def scale_for(spec: QuerySpec) -> int | None:
    """The finest weights that there is wide enough noise for, whatever price is asked at; None where none are."""
    segments = Layout.of(spec).segments
    return next((scale for scale in SCALES if all(_is_payable(each, scale, len(segments)) for each in segments)), None)


def _is_payable(segment: Segment, scale: int, together: int) -> bool:
    """Whether the widest noise does for it, one of so many, at weights in units of 1/scale."""
    least = min(part.share for part in factorised(MONTHS, SCALES[0]))
    price = CONTRACT.limit("surveillance") * DEFAULT_SHARE * SCARCE * least / together
    moved_by = scale * segment.l1, scale**2 * segment.l2_squared
    return skellam_rdp(CONTRACT.order, *moved_by, Fraction(LARGEST_RELEASE_VARIANCE)) <= price


def too_wide(spec: QuerySpec) -> tuple[TooWide, ...]:
    """Measures whose bounds leave no weights, so that a series has quarters and the year; none where it has weighted sums."""
    segments = Layout.of(spec).segments
    wide = [(n, each) for n, each in enumerate(segments) if not _is_payable(each, SCALES[-1], len(segments))]
    return tuple(TooWide(n, each.clamp, _most_steps(each, len(segments))) for n, each in wide)


def _most_steps(segment: Segment, together: int) -> int:
    """The largest bound below its own that has weights."""

    def is_too_wide(steps: int) -> bool:
        return not _is_payable(replace(segment, lo=0, hi=steps), SCALES[-1], together)

    return bisect_left(range(1, segment.clamp), True, key=is_too_wide)


def _of_months(spec: QuerySpec, part: Part) -> QuerySpec:
    if spec.period is None:
        raise AssertionError("a series without a period was accepted")
    first, end = (moved(spec.period.start, "month", month) for month in (part.start, part.stop))
    weights = {"weights": list(part.weights)} if part.weights else {}
    return QuerySpec.from_fields(spec.to_json() | {"period": {"from": str(first), "to": str(end)}} | weights)


def promise(spec: QuerySpec, cast: Forecast) -> Promise | None:
    """What a series would have at a forecast's price; None of a question that has none, or whose shares buy no noise."""
    if not is_series(spec) or not any(cast.variances):
        return None
    due, alone = schedule(spec), [float(cast.total_variances[0])] * MONTHS
    try:
        variances = [float(each[0]) for each in variances_of(due, cast.price.one, cast.n)]
    except BadUsage:
        return None
    return Promise(errors([each.part for each in due], MONTHS, variances), errors(independent(MONTHS), MONTHS, alone), len(due))


def variances_of(due: Sequence[Due], price: Fraction, n: int) -> list[tuple[Fraction, ...]]:
    """The noise of each question's segments where a month pays this price for all of them. Raises BadUsage for too wide a noise."""
    return [total_variances(each.spec, ByPrice(price * each.share), n) for each in due]


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


def standing(city: City, spec: QuerySpec, *, months_alone: bool = False) -> tuple[tuple[Due, ...], Answers]:
    """What is due by who has answered so far, and every answer on this machine, verified again, in the order of what is due."""
    begins: tuple[int, ...] = (0,)
    verified: dict[str, Verified] = {}
    while True:
        due = schedule(spec, begins, months_alone=months_alone)
        answers = _told(city, due, verified)
        later = begins_after([each.part for each in due], _who_answered(answers), begins, MONTHS)
        if later == begins:
            return due, answers
        begins = later


def _told(city: City, due: tuple[Due, ...], verified: dict[str, Verified]) -> Answers:
    found = questions_like(city.shelf, city.shelf.answers(), due)
    for id_ in (id_ for ids in found.values() for id_ in ids if id_ not in verified):
        verified[id_] = city.answer(id_).verified
    return [(each, verified[id_]) for each in due for id_ in found.get(each, [])]


def _who_answered(answers: Answers) -> dict[Part, frozenset[str]]:
    return {due.part: frozenset(given.bundle.coverage.answered) for due, given in answers}


def series_of(answers: Answers, measure: int) -> Series | None:
    """Of one measure; None before a month has been answered."""
    if not any(due.stop == due.start + 1 for due, _ in answers):
        return None
    return combined([_released(due, given, measure) for due, given in answers])


def _released(due: Due, given: Verified, measure: int) -> Released:
    stretch = given.cells.measured[measure].parts[0].over(given.cells.kept)
    members = frozenset(given.bundle.coverage.answered)
    values = stretch.values.reshape(-1).astype(float)
    return Released(due.start, due.stop, members, float(stretch.variance), values, due.part.weights)


def to_ask(due: tuple[Due, ...], answered: Answers, today: date) -> Iterator[Due]:
    """What has ended and was not answered."""
    done = {each for each, _ in answered}
    return (each for each in due if each.last_day <= today and each not in done)
