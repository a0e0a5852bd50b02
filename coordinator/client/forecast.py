"""What a question will cost and how wrong its answer may be, before it is asked: from public facts alone.

Rules
- A price is what every footprint block pays at the city's Rényi order: `privacy.pricing`, as every hospital computes it.
- `ByPrice` and `ByEpsilon` split what they may spend evenly over the segments; `BySd` gives every measure the asked standard
  deviation in its own unit. The mean of an average takes its from the count behind it, so that both cost the same.
- The asked variance is what the honest hospitals' noise reaches alone; the answer's own is larger, n / (n - c) of it, on the grid.
- (epsilon, delta) come from `privacy.intervals.statements`, for the segments together.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from coordinator.client.errors import BadUsage
from privacy.conversion import budget_for
from privacy.errors import InvalidPrice
from privacy.intervals import STATED_DELTAS, STATED_ORDERS, Case, Release, ReleasedPiece, Statement, half_width, statements
from privacy.pricing import NOTHING, Price, price, prices
from privacy.rdp import LARGEST_RELEASE_VARIANCE, on_grid_up, share_variance, skellam_rdp, skellam_variance_for
from privacy.sensitivity import Sensitivity
from privacy.tables import skellam_table
from privacy.union import released_variance
from protocols.asked import Piece
from protocols.contract import CONTRACT, colluders
from protocols.query import Layout, Part, QuerySpec, Segment, footprint
from protocols.query.terms import InOneRange, Residents
from protocols.union.question import MAX_VARIANCE

DEFAULT_SHARE = Fraction(1, 50)
LADDER = tuple(Fraction(1, n) for n in (200, 100, 50, 20, 10, 5))


@dataclass(frozen=True, slots=True)
class BySd:
    """A standard deviation for every measure, in its own unit."""

    sd: Fraction

    def variances(self, segments: Sequence[Segment], order: int) -> tuple[Fraction, ...]:
        return tuple(on_grid_up((self.sd * _unit(segment)) ** 2) for segment in segments)


@dataclass(frozen=True, slots=True)
class ByPrice:
    """At most this price on each block."""

    price: Fraction

    def variances(self, segments: Sequence[Segment], order: int) -> tuple[Fraction, ...]:
        each = self.price / len(segments)
        return tuple(skellam_variance_for(order, each, segment.l1, segment.l2_squared) for segment in segments)


@dataclass(frozen=True, slots=True)
class ByEpsilon:
    """At most this epsilon for one (patient, block) of one hospital, at the first stated delta."""

    epsilon: Fraction

    def variances(self, segments: Sequence[Segment], order: int) -> tuple[Fraction, ...]:
        tried = (self._at(segments, each) for each in {order, *STATED_ORDERS})
        found = min((each for each in tried if each), default=None)
        if found is None:
            raise BadUsage("error.epsilon", epsilon=float(self.epsilon))
        return found

    def _at(self, segments: Sequence[Segment], order: int) -> tuple[Fraction, ...] | None:
        try:
            return ByPrice(budget_for(self.epsilon, STATED_DELTAS[0], order)).variances(segments, order)
        except InvalidPrice:  # an order too small for this epsilon; another one will do
            return None


Noise = BySd | ByPrice | ByEpsilon


def usual_noise(spec: QuerySpec, purpose: str) -> ByPrice:
    """What is taken when nobody says: a fiftieth of what the purpose may spend on a block, or the next part that buys noise at all.

    Raises BadUsage where the whole is too little.
    """
    segments, limit = Layout.of(spec).segments, CONTRACT.limit(purpose)
    least = _least_price(segments, CONTRACT.order)
    found = next((share for share in (*LADDER, Fraction(1)) if share >= DEFAULT_SHARE and limit * share >= least), None)
    if found is None:
        raise BadUsage("error.noise_wide", least=_told(least))
    return ByPrice(limit * found)


def _least_price(segments: Sequence[Segment], order: int) -> Fraction:
    """Of a price that is split evenly: the widest noise that there is, in the segment that needs the most."""
    widest = (MAX_VARIANCE if segment.resident else LARGEST_RELEASE_VARIANCE for segment in segments)
    moved = zip(segments, widest, strict=True)
    return len(segments) * max(skellam_rdp(order, each.l1, each.l2_squared, Fraction(wide)) for each, wide in moved)


def _told(price: Fraction) -> str:
    """Six places, rounded up."""
    return f"{math.ceil(price * 10**6) / 10**6:.6f}"


@dataclass(frozen=True, slots=True)
class Forecast:
    """A priced question. Variances and half-widths stand per segment of `layout`, in the integers of the vector."""

    layout: Layout
    blocks: tuple[str, ...]
    order: int
    n: int
    colluders: int
    variances: tuple[Fraction, ...]
    total_variances: tuple[Fraction, ...]
    half_widths: tuple[int, ...]
    price: Price
    statements: tuple[Statement, ...]
    weights: tuple[int, ...] = ()

    @property
    def due(self) -> dict[str, Fraction]:
        """What each block pays for a patient of one hospital."""
        if not self.weights:
            return dict.fromkeys(self.blocks, self.price.one)
        asked = zip(self.layout.segments, self.variances, strict=True)
        paid = prices(self.order, [_piece(*each, len(self.blocks)) for each in asked], self.weights)
        return {block: each.one for block, each in zip(self.blocks, paid, strict=True)}

    @property
    def shares(self) -> tuple[float, ...]:
        """How the price is split: each segment's part of it."""
        pieces = (_piece(*each, len(self.blocks)) for each in zip(self.layout.segments, self.variances, strict=True))
        alone = [float(price(self.order, [each]).one) for each in pieces]
        return tuple(each / sum(alone) for each in alone)

    @property
    def epsilon(self) -> Fraction:
        """For a patient of one hospital in one block, at the first stated delta."""
        return next(each.epsilon for each in self.statements if each.case is Case.ONE_HOSPITAL)


def forecast(spec: QuerySpec, noise: Noise, n: int, order: int = CONTRACT.order) -> Forecast:
    """Raises BadUsage for noise that no table is built for, or a city too small to share it."""
    layout, c, blocks = Layout.of(spec), colluders(n), footprint(spec)
    if not n > c:
        raise BadUsage("error.too_few_hospitals", n=n)
    variances = _variances(layout, noise, order)
    pieces = tuple(_piece(segment, variance, len(blocks)) for segment, variance in zip(layout.segments, variances, strict=True))
    totals = tuple(released_variance(piece, n, n, c) for piece in pieces)
    if max(variances) > (MAX_VARIANCE if pieces[0].resident else LARGEST_RELEASE_VARIANCE):
        raise BadUsage("error.noise_wide", least=_told(_least_price(layout.segments, order)))
    return Forecast(
        layout=layout,
        blocks=blocks,
        order=order,
        n=n,
        colluders=c,
        variances=variances,
        total_variances=totals,
        half_widths=tuple(map(half_width, totals)),
        price=price(order, pieces),
        statements=stated(pieces, n, c, n, len(blocks), order),
        weights=spec.weights or (),
    )


def total_variances(spec: QuerySpec, noise: Noise, n: int, order: int = CONTRACT.order) -> tuple[Fraction, ...]:
    """Those of a forecast, without its tables. Raises BadUsage for noise that no table is built for."""
    layout, blocks = Layout.of(spec), len(footprint(spec))
    asked = zip(layout.segments, _variances(layout, noise, order), strict=True)
    return tuple(released_variance(_piece(segment, variance, blocks), n, n, colluders(n)) for segment, variance in asked)


def exact_forecast(spec: QuerySpec, n: int, order: int = CONTRACT.order) -> Forecast:
    """Exact mode: no noise, no price, and no epsilon to state. Raises BadUsage for a measure that would cut values."""
    layout = Layout.of(spec)
    if any(isinstance(each, InOneRange | Residents) for each in spec.measures):
        raise BadUsage("error.exact_measure")
    nothing = (Fraction(0),) * len(layout.segments)
    halves = (0,) * len(layout.segments)
    return Forecast(layout, footprint(spec), order, n, colluders(n), nothing, nothing, halves, NOTHING, ())


def _variances(layout: Layout, noise: Noise, order: int) -> tuple[Fraction, ...]:
    try:
        return noise.variances(layout.segments, order)
    except InvalidPrice:
        # No table is wide enough for sums in such fine steps at this price.
        raise BadUsage("error.noise_wide", least=_told(_least_price(layout.segments, order))) from None


def stated(
    pieces: Sequence[Piece], n: int, colluders: int, members: int, blocks: int, order: int = CONTRACT.order
) -> tuple[Statement, ...]:
    """What a release of these pieces costs whom, when `members` draw noise that is sized for n."""
    released = tuple(_released(piece, share_variance(piece.variance, n, colluders)) for piece in pieces)
    return tuple(statements(Release(order, released, n, colluders, members, blocks)))


def _piece(segment: Segment, variance: Fraction, blocks: int) -> Piece:
    whole = segment.over_all(blocks)
    # A price does not look at the largest entry.
    return Piece(segment.length, segment.l1, segment.l2_squared, variance, cell_max=0, whole=whole, resident=segment.resident)


def _released(piece: Piece, share: Fraction) -> ReleasedPiece:
    moved, draws = Sensitivity(piece.l1, piece.l2_squared), piece.length * CONTRACT.attempts
    whole = Sensitivity(*piece.whole) if piece.whole else None
    resident = Sensitivity(*piece.resident) if piece.resident else None
    return ReleasedPiece(moved, piece.variance, draws, skellam_table(share).distance, whole, resident=resident)


def _unit(segment: Segment) -> int:
    # What stands over a count takes its noise from that count, so that both cost the same.
    return segment.clamp if segment.part in {Part.MEAN, Part.DEVIATION, Part.SQUARE} else segment.scale
