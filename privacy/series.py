"""A standing series: steps asked one by one, weighted sums of them asked as such, and one table of both by least squares.

Which mechanism a workload wants (spec: continual counting). For single steps independent noise is best: nothing is spent twice.
In totals to date and over a year each step's noise adds up; there a part of the same price buys, at every step, a weighted sum of
the steps so far with one draw of noise (`factorisation`), and least squares over all that was released (Gauss-Markov) gives every
step and total its best linear estimate. Where weights would need wider noise than there is, spans of 3 and 12 steps are asked, of
weight one. A step's shares of the price sum to no more than what one question alone would pay.

Causal: an estimate at step t uses what was released by then, and never waits. Noise is independent between releases, and fresh; no
seed is kept from one to the next (decision 0017).

Hospitals come and go. A release sums up the hospitals that answered it. Hospitals of the same releases are one unknown a step; what
a step is the total of is whoever answered that step's own question, which is a row of the equations and so always has an estimate.
Where memberships differ, releases teach each other less, and the stated variance says so. After a step that others answered than
the weighted sums before it, the weighted sums begin anew (`begins_after`), since they would hold what the newcomers had before.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from privacy.factorisation import WINDOW, Part, factorised

Floats = NDArray[np.float64]
SCALES = (64, 32, 16, 8)
"""What weights may be in units of, the finest first."""
LENGTHS = ((1,), (1, 3), (1, 12), (1, 3, 12))
"""Where weights cannot be had: every question's own step, and spans of so many."""
SHARES = 20
"""A price is split in so many parts."""


@dataclass(frozen=True, slots=True, eq=False)
class Released:
    """The sum over the steps from `start` on, before `stop`, of `members`, each times its weight (none: once).

    `variance` is that of the noise in each cell.
    """

    start: int
    stop: int
    members: frozenset[str]
    variance: float
    values: Floats
    weights: tuple[int, ...] = ()

    def weight(self, hospital: str, step: int) -> int:
        """How often it counts what this hospital has in this step."""
        if hospital not in self.members or not self.start <= step < self.stop:
            return 0
        return self.weights[step - self.start] if self.weights else 1


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
    rows: Floats = np.array([[float(release.weight(*column)) for column in columns] for release in releases])
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
    return [pair for pair in pairs if any(release.weight(*pair) for release in releases)]


def independent(steps: int) -> tuple[Part, ...]:
    """Each step alone at the whole price: for who reads single steps, and the yardstick of all others."""
    return tuple(Part(step, step + 1, Fraction(1)) for step in range(steps))


def weighted(steps: int, scale: int, begins: Sequence[int] = (0,)) -> tuple[Part, ...]:
    """A factorisation, made anew from each of the steps `begins` on for those that are left; asked until the next begins."""
    until = (*begins[1:], steps)
    made = ((begin, end, factorised(steps - begin, scale)) for begin, end in zip(begins, until, strict=True))
    return tuple(part.later(begin) for begin, end, parts in made for part in parts if part.stop + begin <= end)


def begins_after(
    parts: Sequence[Part], answered: Mapping[Part, frozenset[str]], begins: Sequence[int], steps: int
) -> tuple[int, ...]:
    """The steps from which weighted sums are asked anew, by who answered those so far: one more than `begins`, or as many.

    The step after the first sum that others answered than the step it began with.
    """
    last = begins[-1]
    first = next((answered[each] for each in parts if (each.start, each.stop) == (last, last + 1) and each in answered), None)
    sums = sorted((each for each in answered if each.weights and each.start == last), key=lambda each: each.stop)
    other = next((each.stop for each in sums if first is not None and answered[each] != first and each.stop < steps), None)
    return tuple(begins) if other is None else (*begins, other)


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


def errors(parts: Sequence[Part], steps: int, variances: Sequence[float]) -> Errors:
    """Predicted, with the same hospitals in every question, by the covariance that `combined` states. At least `WINDOW` steps.

    `variances`: of the noise of each question.
    """
    rows = np.array([[float(part.of(step)) for step in range(steps)] for part in parts])
    weights = np.array([1 / each for each in variances])
    single, window, to_date = [], [], []
    for now in range(1, steps + 1):
        known = np.array([part.stop <= now for part in parts])
        covariance = _inverse(rows[known, :now], weights[known])
        single.append(float(covariance[-1, -1]))
        to_date.append(float(covariance.sum()))
        window += [float(covariance[-WINDOW:, -WINDOW:].sum())] * (now >= WINDOW)
    return Errors(_mean(single), _mean(window), _mean(to_date), to_date[-1])


def unit_variances(parts: Sequence[Part]) -> list[float]:
    """Of each question's noise where one step alone has 1 at the whole price: inverse to prices, as those of a Gaussian are; a
    Skellam's differ by a few per cent."""
    return [max(each.weights, default=1) ** 2 / float(each.share) for each in parts]


@lru_cache(16)
def spans(steps: int) -> tuple[Part, ...]:
    """The split with the least error over single steps, windows, totals to date and the whole, at the same price to each step."""
    alone = independent(steps)
    yardstick = errors(alone, steps, unit_variances(alone))
    tried = [each for lengths in LENGTHS if steps % lengths[-1] == 0 for each in _splits(lengths, steps)]
    return min(tried, key=lambda each: errors(each, steps, unit_variances(each)).over(yardstick), default=alone)


def _splits(lengths: tuple[int, ...], steps: int) -> Iterator[tuple[Part, ...]]:
    for parts in product(range(1, SHARES), repeat=len(lengths) - 1):
        if sum(parts) < SHARES // 2:
            shares = (Fraction(SHARES - sum(parts), SHARES), *(Fraction(part, SHARES) for part in parts))
            yield _spans(lengths, shares, steps)


def _spans(lengths: Sequence[int], shares: Sequence[Fraction], steps: int) -> tuple[Part, ...]:
    asked = zip(lengths, shares, strict=True)
    all_ = [Part(start, start + length, share) for length, share in asked for start in range(0, steps - length + 1, length)]
    return tuple(sorted(all_, key=lambda part: (part.stop, -part.start)))


def _inverse(rows: Floats, weights: Floats) -> Floats:
    return np.asarray(np.linalg.pinv(rows.T @ (weights[:, None] * rows), rcond=1e-12, hermitian=True), np.float64)


def _mean(numbers: list[float]) -> float:
    return math.fsum(numbers) / len(numbers)
