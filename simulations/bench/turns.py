"""Two ways to do the same thing, measured turn by turn in one process, so that a busy machine disturbs both sides alike."""

import resource
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import zip_longest

_OVER = object()


@dataclass(frozen=True, slots=True)
class Turns:
    """Processor seconds of each side, turn by turn."""

    ours: tuple[float, ...]
    reference: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.ours)

    @property
    def median_reference(self) -> float:
        return statistics.median(self.reference)

    @property
    def ratio(self) -> float:
        """The median of the turns' ratios."""
        return statistics.median(mine / theirs for mine, theirs in zip(self.ours, self.reference, strict=True))


def stepwise(ours: Callable[[], Iterator[object]], reference: Callable[[], Iterator[object]], turns: int) -> Turns:
    """Like `interleaved`, but within a turn each side goes one step (up to its next yield) after the other.

    Where a turn takes a good part of a second, other programs come and go within it; steps of milliseconds meet the same ones.
    """
    pairs = [_alternated(ours(), reference()) for _ in range(turns + 1)][1:]
    return Turns(tuple(mine for mine, _ in pairs), tuple(theirs for _, theirs in pairs))


def _alternated(ours: Iterator[object], reference: Iterator[object]) -> tuple[float, float]:
    steps = list(zip_longest(_timed(ours), _timed(reference), fillvalue=0.0))
    return sum(mine for mine, _ in steps), sum(theirs for _, theirs in steps)


def _timed(steps: Iterator[object]) -> Iterator[float]:
    """Processor seconds of each step; the last one goes to the end."""
    is_over = False
    while not is_over:
        started = _processor_seconds()
        is_over = next(steps, _OVER) is _OVER
        yield _processor_seconds() - started


def interleaved(ours: Callable[[], object], reference: Callable[[], object], turns: int) -> Turns:
    """One turn more than asked is run first and thrown away: it fills caches."""
    pairs = [(seconds(ours), seconds(reference)) for _ in range(turns + 1)][1:]
    return Turns(tuple(mine for mine, _ in pairs), tuple(theirs for _, theirs in pairs))


def seconds(work: Callable[[], object]) -> float:
    """Processor time of the whole process: a second core cannot help, and other programs count little."""
    started = _processor_seconds()
    work()
    return _processor_seconds() - started


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
