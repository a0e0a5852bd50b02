"""What stands beside a released number: its interval from the noise alone, and what the release cost whom.

Intervals. The sum of the hospitals' Skellam shares is Skellam at the sum of their variances, so its quantiles are read from a
table: exact, not Gaussian. They cover the noise; they do not cover contributions bounded away, records that are wrong or
late, or chance in the city itself. A mean is a ratio of two noisy sums, so its interval is Fieller's, not sum / count +- se.

Statements. One released query is one mechanism whose numbers are fixed before any record is read, so its own (epsilon, delta)
may take the best of several orders; the running account may not (`privacy.filter`, rule 1). Each statement adds to its delta
the sampler's distance from the ideal: hospitals x draws x distance x (1 + e^epsilon).
"""

import math
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from functools import lru_cache
from statistics import NormalDist

from privacy.conversion import epsilon_at, exp_up
from privacy.errors import InvalidLevel, InvalidPrice
from privacy.rdp import share_variance
from privacy.sensitivity import Sensitivity
from privacy.subsampling import rate_of, sampled_skellam_rdp
from privacy.tables import skellam_table

LEVEL = Fraction(95, 100)
STATED_DELTAS = (Fraction(1, 10**6), Fraction(1, 10**8))
STATED_ORDERS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
"""Public and fixed; the Skellam bound is checked by computation at both ends and between."""


WIDE = 2**24
"""Total variance above which an interval's width is the normal one, rounded up."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Both ends belong to it. May be negative: a count is not clamped, since clamped counts do not add up."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class RatioInterval:
    low: float
    high: float


def half_width(total_variance: Fraction, level: Fraction = LEVEL) -> int:
    """The smallest h with P(|noise| <= h) >= level, for Skellam noise of this total variance; above WIDE at most one more.

    Raises: InvalidLevel, InvalidVariance.
    """
    if total_variance == 0:
        return 0
    if total_variance > WIDE:
        return _normal_half_width(total_variance, level)
    table = skellam_table(total_variance)
    if not 0 < level < 1 - 2 * table.distance:
        raise InvalidLevel(f"level: expected above 0 and below 1 by more than the table's rounding, got {level}")

    def covers(h: int) -> bool:
        return 1 - 2 * (table.cumulative(-h - 1) + table.distance) >= level

    return bisect_left(range(table.tail_bound), True, key=covers)


def _normal_half_width(total_variance: Fraction, level: Fraction) -> int:
    """The sum of many shares may be wider than any table; a table as wide as one takes seconds.

    At this width Skellam quantiles lie within (z^3 - 3z) / (24 sigma) < 10^-4 of the normal ones (Cornish-Fisher; excess kurtosis
    1 / variance), far less than the half that rounding up to the next whole number adds.
    """
    if not 0 < level <= 1 - Fraction(1, 1 << 40):
        raise InvalidLevel(f"level: expected above 0 and at most 1 - 2^-40, got {level}")
    return math.floor(math.sqrt(total_variance) * NormalDist().inv_cdf(float((1 + level) / 2))) + 1


def interval(value: int, variance: Fraction, level: Fraction = LEVEL) -> Interval:
    """Covers the true sum with at least this probability over the noise.

    Raises: InvalidLevel, InvalidVariance.
    """
    reach = half_width(variance, level)
    return Interval(value - reach, value + reach)


def ratio_interval(
    total: int, total_variance: Fraction, count: int, count_variance: Fraction, level: Fraction = LEVEL
) -> RatioInterval | None:
    """Fieller's interval of a mean, sum over count, both noisy and independent; None where the count may be zero.

    All m with |total - m count| <= z sd(total - m count), and half a step more of total and of count, since both are integers.
    z is the larger of the two noises' exact quantiles in units of their sd. The computed coverage is at
    least the level at every pair of variances, level and m tried (the tests); it is not proven.
    Raises: InvalidLevel, InvalidVariance.
    """
    z = _critical(level, total_variance, count_variance)
    variances = float(total_variance), float(count_variance)
    if count - 0.5 <= z * math.sqrt(count_variance):
        return None
    counts = (count - 0.5, count + 0.5)
    low = min(_fieller_end(total - 0.5, part, variances, -z) for part in counts)
    high = max(_fieller_end(total + 0.5, part, variances, z) for part in counts)
    return RatioInterval(low, high)


def _fieller_end(total: float, count: float, variances: tuple[float, float], z: float) -> float:
    """One root m of (total - m count)^2 = z^2 (variance of total + m^2 variance of count): the upper one for z above 0."""
    certain = count**2 - z**2 * variances[1]
    return (total * count + z * math.sqrt(variances[0] * certain + variances[1] * total**2)) / certain


def _critical(level: Fraction, *variances: Fraction) -> float:
    return max(half_width(variance, level) / math.sqrt(variance) for variance in variances)


class Case(Enum):
    """Who might be harmed, or who might look, beyond one patient of one hospital in one block."""

    ONE_HOSPITAL = "one_hospital"
    TWO_HOSPITALS = "two_hospitals"
    ALL_BLOCKS = "all_blocks"
    ALL_OTHERS_COLLUDE = "all_others_collude"
    ONE_RESIDENT = "one_resident"
    """All records at all hospitals in all blocks of one whom the hospitals know again; stated of a count of residents alone."""


@dataclass(frozen=True, slots=True)
class ReleasedPiece:
    """One stretch of a release, with noise of its own. Prices of pieces add, since their noise is independent."""

    sensitivity: Sensitivity
    variance: Fraction
    """What the honest hospitals' noise alone reaches."""
    draws: int
    """Noise values that each member draws for it, over all attempts."""
    distance: Fraction
    """Of one draw of a share, from its table."""
    whole_patient: Sensitivity | None = None
    """Of a patient of all footprint blocks; None is the bound that holds for any plan, `sensitivity.times(blocks)`."""
    rate: Fraction = Fraction(1)
    """The chance with which a (patient, block) takes part, by secret sampling."""
    resident: Sensitivity | None = None
    """Of one resident at all hospitals and in all blocks, where the release counts each once."""


@dataclass(frozen=True, slots=True)
class Release:
    """The public facts of one released query."""

    order: int
    pieces: tuple[ReleasedPiece, ...]
    n: int
    """Hospitals of the counting set; `colluders` of them are assumed to subtract their noise."""
    colluders: int
    members: int
    """Hospitals that draw noise, at least n."""
    blocks: int
    once: tuple[ReleasedPiece, ...] = ()
    """What moves for patients who are in these pieces and in none of `pieces`."""


@dataclass(frozen=True, slots=True)
class Statement:
    """(epsilon, delta + sampler_delta) for this case."""

    case: Case
    epsilon: Fraction
    delta: Fraction
    sampler_delta: Fraction


def statements(release: Release, deltas: Iterable[Fraction] = STATED_DELTAS) -> list[Statement]:
    """Every case at every delta, in order.

    Raises: InvalidPrice, InvalidVariance.
    """
    if release.blocks < 1 or release.members < release.n or not release.pieces:
        raise InvalidPrice(
            "release: expected a piece, a block, and no fewer members than hospitals counted, "
            f"got {len(release.pieces)}, {release.blocks}, {release.members} of {release.n}"
        )
    is_of_residents = all(piece.resident is not None for piece in release.pieces)
    cases = [case for case in Case if is_of_residents or case is not Case.ONE_RESIDENT]
    return [_statement(release, case, delta) for delta in deltas for case in cases]


@lru_cache(256)
def _statement(release: Release, case: Case, delta: Fraction) -> Statement:
    moves, once = ([_moved(release, piece, case) for piece in pieces] for pieces in (release.pieces, release.once))
    orders = {release.order, *STATED_ORDERS}
    epsilon = min(epsilon_at(max(_price(order, moves), _price(order, once)), order, delta) for order in orders)
    apart = release.members * sum((piece.draws * piece.distance for piece in release.pieces), Fraction(0))
    return Statement(case, epsilon, delta, apart * (1 + exp_up(epsilon)))


Move = tuple[Sensitivity, Fraction, Fraction]
"""How far a piece moves, the variance of the noise that still hides it, and the chance with which it moves at all."""


def _price(order: int, moves: Iterable[Move]) -> Fraction:
    priced = (sampled_skellam_rdp(order, rate, moved.l1, moved.l2_squared, variance) for moved, variance, rate in moves)
    return sum(priced, Fraction(0))


def _moved(release: Release, piece: ReleasedPiece, case: Case) -> Move:
    if case is Case.TWO_HOSPITALS:
        return piece.sensitivity.times(2), piece.variance, rate_of(2, piece.rate)
    if case is Case.ALL_BLOCKS:
        whole = piece.whole_patient or piece.sensitivity.times(release.blocks)
        return whole, piece.variance, rate_of(release.blocks, piece.rate)
    if case is Case.ONE_RESIDENT and piece.resident is not None:
        return piece.resident, piece.variance, piece.rate
    if case is Case.ALL_OTHERS_COLLUDE:
        return piece.sensitivity, share_variance(piece.variance, release.n, release.colluders), piece.rate
    return piece.sensitivity, piece.variance, piece.rate
