"""A causal factorisation of a standing series: each step, a weighted sum of the steps so far, with fresh noise.

A lower-triangular C of the released sums and least squares over them have the errors of noise correlated over the steps, and nobody
keeps any. Every step's column of C has a length of one: a step pays once, whatever is asked of it. X = C^T C is the optimum for
what is read of a series (Denisov, Rush, Smith, Thakurta 2022, arXiv 2202.08312, the fixed point of theorem 3.2); any such X has its
lower-triangular C, a Cholesky factor taken from the end, so that a step waits for no later one.

Rules
- What is read: single steps, windows of three, totals to date and the whole, each beside independent noise.
- `OWN` of each step's price buys a question of that step alone; the factor is of X - OWN I, which has one since no eigenvalue of X
  is below it (0.59 for twelve steps). Without it, a step in which another hospital answers has no estimate at all: its sum stands
  beside unknown weighted sums of those steps in which that hospital did not answer. It costs about 2 % where all answer always.
- Weights are integers, the largest of a sum being `scale`. What they are rounded to is what is asked and what least squares uses;
  shares are scaled down until no step pays more than `WHOLE` of its price, the rest being room for Skellam's second-order term.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
WINDOW = 3
OWN = Fraction(2, 5)
WHOLE = Fraction(999, 1000)
ROUNDS = 2_000
_GRID = 10_000


@dataclass(frozen=True, slots=True)
class Part:
    """One question of a series: the sum over the steps from `start` on, before `stop`, each times its weight (none: once).

    `share` of a step's whole price is what the step of the largest weight pays; another pays its weight's square of that.
    """

    start: int
    stop: int
    share: Fraction
    weights: tuple[int, ...] = ()

    def of(self, step: int) -> int:
        """The weight of a step; 0 where it is not asked about."""
        if not self.start <= step < self.stop:
            return 0
        return self.weights[step - self.start] if self.weights else 1

    def paid(self, step: int) -> Fraction:
        """The share of its price that a step pays."""
        return self.share * Fraction(self.of(step), max(self.weights, default=1)) ** 2

    def later(self, steps: int) -> "Part":
        """The same of as many steps later."""
        return Part(self.start + steps, self.stop + steps, self.share, self.weights)


@lru_cache(64)
def factorised(steps: int, scale: int) -> tuple[Part, ...]:
    """The questions of a series of so many steps, in the order in which their last step ends."""
    factor = causal(optimum(workload(steps, (WINDOW,))) - float(OWN) * np.eye(steps))
    mixed = _within([_rounded(row[: step + 1], scale) for step, row in enumerate(factor)], steps)
    # The first step is asked about once: what its factor's row would buy is bought in its own question.
    parts = [Part(0, 1, OWN + mixed[0].share)]
    for step in range(1, steps):
        parts += [Part(step, step + 1, OWN), mixed[step]]
    return tuple(parts)


def _rounded(row: Floats, scale: int) -> Part:
    largest = float(row.max())
    return Part(0, len(row), Fraction(largest**2), tuple(max(1, round(scale * each / largest)) for each in row.tolist()))


def _within(mixed: Sequence[Part], steps: int) -> tuple[Part, ...]:
    """Scaled down alike, so that beside its own question no step pays more than the whole."""
    dearest = max(sum((each.paid(step) for each in mixed), Fraction(0)) for step in range(steps))
    shares = (Fraction(math.floor(each.share * (WHOLE - OWN) / dearest * _GRID), _GRID) for each in mixed)
    return tuple(Part(each.start, each.stop, share, each.weights) for each, share in zip(mixed, shares, strict=True))


def workload(steps: int, windows: Sequence[int]) -> Floats:
    """Rows whose summed squares are the sum of mean variances, each relative to that of independent noise."""
    place = np.arange(steps)
    kinds = [
        np.eye(steps),
        *(
            np.array([(place <= end) & (place > end - window) for end in range(window - 1, steps)])
            for window in windows
            if window <= steps
        ),
        np.tril(np.ones((steps, steps))),
        np.ones((1, steps)),
    ]
    return np.vstack([kind / math.sqrt(float((kind.astype(np.float64) ** 2).sum())) for kind in kinds])


def optimum(wanted: Floats) -> Floats:
    """The Gram matrix with a diagonal of ones under which the workload has the least summed variance."""
    gram, scale = wanted.T @ wanted, np.ones(wanted.shape[1])
    for _ in range(ROUNDS):
        before, scale = scale, np.diag(_root(np.sqrt(scale)[:, None] * gram * np.sqrt(scale)))
        if np.allclose(before, scale, rtol=1e-9, atol=0):
            break
    outer: Floats = np.sqrt(scale)[:, None] * np.sqrt(scale)
    return np.asarray(_root(outer * gram) / outer, np.float64)


def causal(gram: Floats) -> Floats:
    """The lower-triangular C with C^T C the given matrix."""
    return np.asarray(np.linalg.cholesky(gram[::-1, ::-1]).T[::-1, ::-1], np.float64)


def _root(matrix: Floats) -> Floats:
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T, np.float64)
