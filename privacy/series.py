"""A standing series: steps asked one by one, longer spans asked as such, and one table of both by least squares.

Which mechanism a workload wants (spec: continual counting). For single steps independent noise is best: nothing is spent twice.
In totals to date and over a year each step's noise adds up; there a part of the same price buys the total of a span with one draw
of noise, and least squares over all that was released (Gauss-Markov) gives every step and total its best linear estimate. A step
lies in one span of each length, so that the shares of the price sum to what one question alone would pay.

Causal: an estimate at step t uses what was released by then, and never waits. Noise is independent between releases, and fresh; no
seed is kept from one to the next (decision 0017).

Hospitals come and go. A release sums up the hospitals that answered it. Hospitals of the same releases are one unknown a step; what
a step is the total of is whoever answered that step's own question, which is a row of the equations and so always has an estimate.
Where memberships differ, releases teach each other less, and the stated variance says so.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LENGTHS = ((1,), (1, 3), (1, 12), (1, 3, 12))
"""What is tried: every question's own step, and spans of so many."""
WINDOW = 3
SHARES = 20
"""A price is split in so many parts."""


@dataclass(frozen=True, slots=True, eq=False)
class Released:
    """The sum over the steps from `start` on, before `stop`, of `members`; `variance` is that of the noise in each cell."""

    start: int
    stop: int
    members: frozenset[str]
    variance: float
    values: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """The steps that have been asked, in order, by cell. `misfit` is a chi-square of `freedom` degrees: far above it, the records
    have changed between two questions about the same step."""

    steps: tuple[int, ...]
    values: Floats
    covariance: Floats
    misfit: float
    freedom: int

    def total(self, start: int, stop: int) -> tuple[Floats, float] | None:
        """The sum over some steps and the variance of its noise; None where one of them has not been asked."""
        if not set(range(start, stop)) <= set(self.steps):
            return None
        chosen = np.array([start <= step < stop for step in self.steps], dtype=np.float64)
        return chosen @ self.values, float(chosen @ self.covariance @ chosen)


def combined(releases: Sequence[Released]) -> Series:
    """The least-squares series. Steps without a question of their own are told in no line, but help those beside them."""
    columns = _unknowns(releases)
    rows: Floats = np.array([[float(_holds(release, *column)) for column in columns] for release in releases])
    weights: Floats = np.array([1 / release.variance for release in releases])
    released = np.array([release.values for release in releases], dtype=np.float64)
    normal = _inverse(rows, weights)
    found: Floats = normal @ rows.T @ (weights[:, None] * released)
    own = {release.start: n for n, release in enumerate(releases) if release.stop == release.start + 1}
    wanted = rows[[own[step] for step in sorted(own)]]
    off = released - rows @ found
    freedom = (len(releases) - int(np.linalg.matrix_rank(rows))) * released.shape[1]
    misfit = float((weights[:, None] * off**2).sum())
    return Series(tuple(sorted(own)), wanted @ found, wanted @ normal @ wanted.T, misfit, freedom)


def _unknowns(releases: Sequence[Released]) -> list[tuple[str, int]]:
    """One of each kind of hospital, by the releases that it is in, at each step."""
    seen: dict[tuple[bool, ...], str] = {}
    for hospital in sorted(frozenset().union(*(release.members for release in releases))):
        seen.setdefault(tuple(hospital in release.members for release in releases), hospital)
    last = max(release.stop for release in releases)
    pairs = product(seen.values(), range(last))
    return [pair for pair in pairs if any(_holds(release, *pair) for release in releases)]


def _holds(release: Released, hospital: str, step: int) -> bool:
    return hospital in release.members and release.start <= step < release.stop


@dataclass(frozen=True, slots=True)
class Strategy:
    """How the price of a step is split over the questions that read it, by the length of their spans. One length: independent."""

    lengths: tuple[int, ...]
    shares: tuple[float, ...]

    def spans(self, steps: int) -> Iterator[tuple[int, int, int]]:
        """(length, start, stop) of each question, in the order in which their last step ends."""
        all_ = ((length, start, start + length) for length in self.lengths for start in range(0, steps - length + 1, length))
        return iter(sorted(all_, key=lambda span: (span[2], span[0])))


@dataclass(frozen=True, slots=True)
class Errors:
    """Mean variances of what a reader asks of a series at the time at which it may be asked first."""

    single: float
    window: float
    to_date: float
    whole: float

    def over(self, other: "Errors") -> float:
        """Relative to another's, each of the four alike."""
        pairs = ((self.single, other.single), (self.window, other.window), (self.to_date, other.to_date), (self.whole, other.whole))
        return sum(mine / theirs for mine, theirs in pairs)


def errors(strategy: Strategy, steps: int, variances: Sequence[float]) -> Errors:
    """Predicted, with the same hospitals in every question, by the covariance that `combined` states. At least `WINDOW` steps.

    `variances`: of the noise of one question of each length.
    """
    of_length = dict(zip(strategy.lengths, variances, strict=True))
    spans = list(strategy.spans(steps))
    rows = np.array([[float(start <= step < stop) for step in range(steps)] for _, start, stop in spans])
    weights = np.array([1 / of_length[length] for length, _, _ in spans])
    single, window, to_date = [], [], []
    for now in range(1, steps + 1):
        known = sum(stop <= now for _, _, stop in spans)  # they come in the order of their ends
        covariance = _inverse(rows[:known, :now], weights[:known])
        single.append(float(covariance[-1, -1]))
        to_date.append(float(covariance.sum()))
        window += [float(covariance[-WINDOW:, -WINDOW:].sum())] * (now >= WINDOW)
    return Errors(_mean(single), _mean(window), _mean(to_date), to_date[-1])


@lru_cache(16)
def strategy_for(steps: int) -> Strategy:
    """The split with the least error over single steps, windows, totals to date and the whole, at the same price to each step.

    Noise variances are taken as inverse to prices, as those of a Gaussian are; a Skellam's differ by a few per cent.
    """
    alone = Strategy((1,), (1.0,))
    independent = errors(alone, steps, [1.0])
    tried = [each for lengths in LENGTHS if steps % lengths[-1] == 0 for each in _splits(lengths)]
    return min(tried, key=lambda each: errors(each, steps, [1 / share for share in each.shares]).over(independent), default=alone)


def _splits(lengths: tuple[int, ...]) -> Iterator[Strategy]:
    for parts in product(range(1, SHARES), repeat=len(lengths) - 1):
        if sum(parts) < SHARES // 2:
            yield Strategy(lengths, ((SHARES - sum(parts)) / SHARES, *(part / SHARES for part in parts)))


def _inverse(rows: Floats, weights: Floats) -> Floats:
    return np.asarray(np.linalg.pinv(rows.T @ (weights[:, None] * rows), hermitian=True), np.float64)


def _mean(numbers: list[float]) -> float:
    return math.fsum(numbers) / len(numbers)
