"""The built series of months beside spans, independent noise and the best causal factorisation there is; weeks beside the last.

As built: each month a question of its own and a weighted sum of the months so far (`privacy.factorisation`, decision 0022). The
best factorisation has no questions of single months and so no answer where hospitals come and go: the difference is their price.

All mechanisms cost every month the same, in the product's own price of Skellam noise for its integer weights. A patient is in one
step of a month where steps are months, and in all four of it where they are weeks. Errors are measured on noise of the product's
sampler; each number is estimated as soon as it may be asked, by least squares over what was released by then.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from privacy.factorisation import Part, causal, optimum, workload
from privacy.rdp import GRID, LARGEST_RELEASE_VARIANCE, skellam_rdp, skellam_variance_for
from privacy.sampler import draw
from privacy.series import spans, weighted
from privacy.tables import skellam_table
from protocols.contract import CONTRACT
from simulations.bench.rows import Row

Floats = NDArray[np.float64]
PRICE: Final = Fraction(1, 100)
"""Of each month."""
CELLS: Final = 4_000
SCALE: Final = 64
"""A weight of one, in integers."""
WEEKS_OF_A_MONTH: Final = 4


@dataclass(frozen=True, slots=True)
class Mechanism:
    """A released number a row: the steps with these integer weights, under Skellam noise of this variance."""

    weights: NDArray[np.int64]
    variances: tuple[Fraction, ...]

    def price(self, month: Sequence[int]) -> Fraction:
        """Of a patient who adds one to each step of a month."""
        moved = (int(each) for each in self.weights[:, list(month)].sum(axis=1))
        pairs = zip(moved, self.variances, strict=True)
        return sum((skellam_rdp(CONTRACT.order, step, step**2, variance) for step, variance in pairs if step), Fraction(0))

    def errors(self, windows: Sequence[int], cells: int) -> dict[str, float]:
        """Standard deviations, measured: of a step, of windows, of the total to date and of the whole, in counts."""
        noise = np.stack([draw(skellam_table(variance), cells) for variance in self.variances]).astype(np.float64)
        last = np.array([np.flatnonzero(row)[-1] for row in self.weights])
        squares: dict[str, list[float]] = {name: [] for name in _names(windows)}
        for step in range(self.weights.shape[1]):
            found = self._estimates(noise, last <= step, step + 1)
            spans = {f"{window} steps": found[step + 1 - window :] for window in windows if step + 1 >= window}
            for name, chosen in {"step": found[step:], **spans, "to date": found}.items():
                squares[name].append(float(np.mean(chosen.sum(axis=0) ** 2)))
        squares["whole"] = squares["to date"][-1:]
        return {name: math.sqrt(math.fsum(each) / len(each)) for name, each in squares.items()}

    def _estimates(self, noise: Floats, known: NDArray[np.bool_], steps: int) -> Floats:
        """The error of each step so far."""
        rows = self.weights[known][:, :steps].astype(np.float64)
        weighted = rows.T / np.array([float(each) for each in np.array(self.variances)[known]])
        return np.asarray(np.linalg.solve(weighted @ rows, weighted @ noise[known]), np.float64)


def _names(windows: Sequence[int]) -> tuple[str, ...]:
    return ("step", *(f"{window} steps" for window in windows), "to date", "whole")


def independent(steps: int, participation: int) -> Mechanism:
    variance = skellam_variance_for(CONTRACT.order, PRICE, participation, participation)
    return Mechanism(np.eye(steps, dtype=np.int64), (variance,) * steps)


def asked(parts: Sequence[Part], steps: int) -> Mechanism:
    """What these questions release: `kapok series` asks `weighted` ones, and spans where weights cannot be had."""
    weights = np.array([[part.of(step) for step in range(steps)] for part in parts])
    priced = ((PRICE * part.share, max(part.weights, default=1)) for part in parts)
    return Mechanism(weights, tuple(skellam_variance_for(CONTRACT.order, price, most, most**2) for price, most in priced))


def factorised(steps: int, windows: Sequence[int], months: Sequence[Sequence[int]]) -> Mechanism:
    """The optimum for single steps, windows, totals to date and the whole, each beside independent noise."""
    weights = np.rint(SCALE * causal(optimum(workload(steps, windows)))).astype(np.int64)

    def is_enough(sixteenths: int) -> bool:
        tried = Mechanism(weights, (sixteenths * GRID,) * steps)
        return all(tried.price(month) <= PRICE for month in months)

    largest = math.floor(LARGEST_RELEASE_VARIANCE / GRID)
    variance = (1 + bisect_left(range(1, largest + 1), True, key=is_enough)) * GRID
    return Mechanism(weights, (variance,) * steps)


def rows(is_quick: bool = False) -> list[Row]:
    cells = CELLS // 20 if is_quick else CELLS
    months, weeks = [[step] for step in range(12)], [list(range(at, at + WEEKS_OF_A_MONTH)) for at in range(0, 52, 4)]
    built, best = asked(weighted(12, SCALE), 12), factorised(12, (3,), months)
    of_weeks = (independent(52, WEEKS_OF_A_MONTH), factorised(52, (4,), weeks), (4,))
    return [
        *_beside("months as built, beside independent noise", built, independent(12, 1), (3,), cells),
        *_beside("months as built, beside spans", built, asked(spans(12), 12), (3,), cells),
        *_beside("months as built, beside the best factorisation", built, best, (3,), cells),
        *_beside("weeks as built (independent), beside the best factorisation", *of_weeks, cells),
    ]


def _beside(name: str, built: Mechanism, other: Mechanism, windows: Sequence[int], cells: int) -> list[Row]:
    how = f"sd at {float(PRICE):g} a month; {cells:,} cells; standard error at most {100 / math.sqrt(2 * cells):.1f} %"
    ours, theirs = built.errors(windows, cells), other.errors(windows, cells)
    return [_row(f"{name}: {kind}", ours, theirs, kind, how) for kind in ours]


def _row(name: str, ours: Mapping[str, float], theirs: Mapping[str, float], kind: str, how: str) -> Row:
    return Row.measured(name, "count", ours[kind], how, reference=theirs[kind])
