"""Two ways to do the same thing, measured turn by turn in one process, so that a busy machine disturbs both sides alike."""

import resource
import statistics
from collections.abc import Callable
from dataclasses import dataclass


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
