"""The ideal distributions and their divergences, computed independently of `privacy`, as oracles for its tests; seeded bits."""

from fractions import Fraction

import mpmath
import numpy as np
from mpmath.ctx_mp import MPContext
from numpy.typing import NDArray
from scipy import special

from privacy.tables import NoiseTable

BITS = 640


def _context() -> MPContext:
    context = mpmath.mp.clone()
    context.prec = BITS
    return context


def skellam_weights(variance: Fraction, largest: int) -> tuple[MPContext, list[mpmath.mpf]]:
    """P(0), P(1), ..., P(largest) from mpmath's own Bessel function."""
    mp = _context()
    v = mp.mpf(variance.numerator) / variance.denominator
    return mp, [mp.exp(-v) * mp.besseli(k, v) for k in range(largest + 1)]


def gaussian_weights(sigma_squared: Fraction, largest: int) -> tuple[MPContext, list[mpmath.mpf]]:
    mp = _context()
    s2 = mp.mpf(sigma_squared.numerator) / sigma_squared.denominator
    raw = [mp.exp(-mp.mpf(k * k) / (2 * s2)) for k in range(4 * largest + 40)]
    total = raw[0] + 2 * mp.fsum(raw[1:])
    return mp, [weight / total for weight in raw[: largest + 1]]


def skellam_log_pmf(variance: float, largest: int) -> NDArray[np.float64]:
    """ln P(k), k = 0 ... largest, far into tails where scipy's own pmf is 0: backward recurrence of ratios, in floats."""
    start = largest + largest // 2 + 60 + int(10 * np.sqrt(variance))
    ratios, ratio = np.empty(start + 1), 0.0
    for k in range(start, 0, -1):
        ratio = 1 / (2 * k / variance + ratio)
        ratios[k] = ratio
    weights = np.concatenate([[0.0], np.cumsum(np.log(ratios[1:]))])
    total = np.logaddexp(0.0, np.log(2) + np.logaddexp.reduce(weights[1:]))
    return np.asarray(weights - total)[: largest + 1]


def skellam_divergence(order: int, shift: int, variance: float) -> float:
    """The Renyi divergence itself between Skellam noise and the same noise moved by `shift`."""
    reach = 40 + 9 * order * shift + int(42 * np.sqrt(variance))
    log_pmf = skellam_log_pmf(variance, reach + shift)
    x = np.arange(-reach, reach + 1)
    terms = order * log_pmf[abs(x - shift)] + (1 - order) * log_pmf[abs(x)]
    assert max(terms[0], terms[-1]) < terms.max() - 40, "the sum was cut too early"
    return float(np.logaddexp.reduce(terms)) / (order - 1)


def chi_square_p(draws: NDArray[np.int64], pmf: NDArray[np.float64]) -> float:
    """P-value of the draws against pmf on -T ... T, cells of expectation below 10 merged into the tails."""
    largest = (pmf.size - 1) // 2
    counts = np.bincount(draws + largest, minlength=pmf.size).astype(float)
    expected = pmf * draws.size
    inner = np.flatnonzero(expected >= 10)
    first, last = inner[0], inner[-1]
    expected = np.concatenate([[expected[: first + 1].sum()], expected[first + 1 : last], [expected[last:].sum()]])
    counts = np.concatenate([[counts[: first + 1].sum()], counts[first + 1 : last], [counts[last:].sum()]])
    return float(special.chdtrc(expected.size - 1, ((counts - expected) ** 2 / expected).sum()))


def pmf(table: NoiseTable) -> NDArray[np.float64]:
    """The table's own probabilities of -T ... T."""
    cumulative = [float(table.cumulative(k)) for k in range(-table.tail_bound, 0)]  # precise in the lower tail
    lower = np.diff([0.0, *cumulative])
    return np.concatenate([lower, [1 - 2 * lower.sum()], lower[::-1]])


class SeededBits:
    """A stream that repeats; lives in the tests only."""

    def __init__(self, seed: int) -> None:
        self._stream = np.random.Generator(np.random.PCG64(seed))

    def __call__(self, size: int, /) -> bytes:
        return self._stream.bytes(size)
