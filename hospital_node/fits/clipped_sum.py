"""A round's sum where a row's gradient is a product of two vectors: clipped and summed, never written out (ghost clipping).

Promise: adding or removing one (patient, block) moves `ClippedSum.whole` by at most `clip * scale + sqrt(width) / 2` in L2, in
integers, whatever a study gives; the promise of `hospital_node.fits.bounded`, which states it for gradients that are written out.

Why it holds, for a (patient, block) of one row
- Its inputs are rounded to whole numbers. Its signals are multiplied by a factor which makes room for nothing longer than
  `clip * scale - sqrt(width) / 2`, and cut towards zero: a cut never lengthens. The factor is reckoned from the whole inputs, and
  the length of an outer product is the product of the lengths. So the row's part has at most that length, in units of 2^-shift.
- Factors are a function of the row alone: elements and sums along a row, no matrix product.
- The sum over rows is a matrix product of whole numbers below 2^53, hence exact: the row adds its part and nothing else.
- The sum, and not the row, is rounded to the ring's units, once. Two sums that differ by d round to integers that differ by less
  than |d| + 1 an entry, and not at all where d is zero: at most |d| + sqrt(width) in L2.

Where integers are so coarse that sqrt(width) would be a good part of the reach, a row's part has all of the clip, each of its
entries is rounded, and the sum is of whole rows: element by element, without a matrix product, and nothing is rounded afterwards.
Single precision is enough for entries that are rounded to integers: inputs are exact in it, a signal and a product are off by
2^-24 of themselves each, which `SINGLE` leaves room for, and sums of so few rows of so small integers stay below 2^24.

A (patient, block) of several rows has its gradient written out, in a call of its own, and takes the way of `bounded`. Which way
somebody goes depends on the question and on that patient's rows of that block, never on others.

Source: Goodfellow 2015 (arXiv:1510.01799) for norms by layer; Li et al. 2022 (arXiv:2110.05679) for the sum in one product.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from hospital_node.errors import GradientError
from hospital_node.exact_products import ROOM, Floats, carried, exponents_of, largest_of, power
from hospital_node.factors import Factors, Layer, Part, written_out
from hospital_node.fits.bounded import AT_ONCE, SAFE, Bound, summed
from protocols.secagg.ring import Integers

INPUT_BITS = 17
PART_BITS = 36
"""Of the longest part, in fine units."""
MOST_ROWS_AT_ONCE = 1 << (ROOM - PART_BITS)
MOST_ROWS = 1 << (62 - PART_BITS)
"""What an int64 holds for certain: sixty-seven million (patient, block)s at one hospital."""
_NOTHING = -4000
_SHORTEST = 1e-200
LONGEST, COARSE_LONGEST = 2.0 ** (PART_BITS - 2), 2.0**20
"""Of a clip in the ring's units, where the sum is rounded and where rows are. Longer ones are written out."""
COARSE_ROWS_AT_ONCE, COARSE_AT_ONCE = 8, 1 << 17
SINGLE = 1 - 2.0**-20
COARSEST = 16
"""Rounding the sum may cost a sixteenth of the clip."""


def room(bound: Bound) -> float:
    """How long a row's part may be, in the ring's units: what rounding the sum may add is taken off. 0: too coarse for that."""
    clip, rounding = bound.clip * bound.scale, math.sqrt(bound.width) / 2
    return clip - rounding if COARSEST * rounding <= clip <= LONGEST else 0.0


def _is_summed_by_factors(bound: Bound) -> bool:
    return room(bound) > 0 or bound.clip * bound.scale <= COARSE_LONGEST


@dataclass(slots=True)
class ClippedSum:
    """The sum of a round, part after part. Raises GradientError for what is no gradient of the model."""

    bound: Bound
    _whole: Integers = field(init=False)
    _fine: Integers = field(init=False)
    _rows: int = 0

    def __post_init__(self) -> None:
        self._whole, self._fine = np.zeros(self.bound.width, np.int64), np.zeros(self.bound.width, np.int64)

    def add(self, part: Part) -> None:
        if not isinstance(part, Factors):
            self._whole += summed(part, self.bound)
            return
        _require_sound(part, self.bound.width)
        is_alone = (np.diff(part.ends) == 1) & _is_summed_by_factors(self.bound)
        self._add_several(part, ~is_alone)
        if is_alone.any():
            self._add_alone([each.rows(part.ends[:-1][is_alone]) for each in part.layers] if not is_alone.all() else part.layers)

    def whole(self) -> Integers:
        """In the ring's units; the nearest, upwards from the middle."""
        half = np.int64(1 << (_shift(self.bound) - 1))
        found: Integers = self._whole + ((self._fine + half) >> _shift(self.bound))
        return found

    def _add_alone(self, layers: Sequence[Layer]) -> None:
        many = len(layers[0].inputs)
        self._rows += many
        if self._rows > MOST_ROWS:
            raise GradientError(f"gradients: expected at most {MOST_ROWS} rows of a hospital in a round")
        at_once = MOST_ROWS_AT_ONCE if room(self.bound) else max(1, min(COARSE_ROWS_AT_ONCE, COARSE_AT_ONCE // self.bound.width))
        for first in range(0, many, at_once):
            some = [each.rows(slice(first, first + at_once)) for each in layers]
            if room(self.bound):
                self._fine += _exact(some, self.bound)
            else:
                self._whole += _row_by_row(some, self.bound)

    def _add_several(self, part: Factors, which: "npt.NDArray[np.bool_]") -> None:
        spans = [span for span, is_meant in zip(pairwise(part.ends.tolist()), which, strict=True) if is_meant]
        at_once = max(1, AT_ONCE // self.bound.width)
        for first in range(0, len(spans), at_once):
            written = [written_out(part.layers, *span) for span in spans[first : first + at_once]]
            self._whole += summed(np.stack(written), self.bound)


def _require_sound(part: Factors, width: int) -> None:
    many = int(part.ends[-1])
    if sum(each.width for each in part.layers) != width or any(
        len(each.inputs) != many or len(each.signals) != many for each in part.layers
    ):
        raise GradientError(f"gradients: expected factors of {width} weights over {many} rows, got other ones")


def _shift(bound: Bound) -> int:
    """Fine units in one of the ring's, as a power of two."""
    return PART_BITS - max(0, math.ceil(math.log2(bound.clip * bound.scale))) if room(bound) else 1


@dataclass(frozen=True, slots=True)
class _Rounded:
    """A layer whose inputs are whole and whose signals are below one, each with its row's power of two."""

    inputs: Floats
    signals: Floats
    exponents: npt.NDArray[np.int64]
    squared: Floats
    """The row's squared length."""


def _exact(layers: Sequence[Layer], bound: Bound) -> Integers:
    """The sum of the rows' parts, in fine units, without any rounding of it."""
    unit, longest = math.ldexp(bound.scale, _shift(bound)), math.ldexp(room(bound), _shift(bound))
    products = [_product(each, factor) for each, factor in _clipped(layers, unit, longest)]
    return np.concatenate([laid for product, layer in zip(products, layers, strict=True) for laid in _laid(product, layer)])


def _row_by_row(layers: Sequence[Layer], bound: Bound) -> Integers:
    """The sum of the rows' parts, each entry of each rounded to the ring's units."""
    clipped = _clipped(layers, float(bound.scale), bound.clip * bound.scale * SINGLE)
    sums = [_rounded_rows(each, factor) for each, factor in clipped]
    return np.concatenate([laid for found, layer in zip(sums, layers, strict=True) for laid in _laid(found, layer)])


def _clipped(layers: Sequence[Layer], unit: float, longest: float) -> "list[tuple[_Rounded, Floats]]":
    """Each layer, and what its signals are to be multiplied by: gradients in this unit, no row's longer than that."""
    rounded = [_rounded(each) for each in _finite(layers)]
    top = np.maximum.reduce([each.exponents for each in rounded])
    below = [power(np.maximum(each.exponents - top, -1000)) for each in rounded]
    length = np.sqrt(sum(each.squared * less * less for each, less in zip(rounded, below, strict=True)))
    factor = np.minimum(unit * power(np.clip(top, -900, 900)), longest * SAFE / np.maximum(length, _SHORTEST))
    # Where no input is left, no length bounds the signals.
    return [(each, np.where(each.squared > 0, factor * less, 0.0)) for each, less in zip(rounded, below, strict=True)]


def _finite(layers: Sequence[Layer]) -> Sequence[Layer]:
    """With zeros for a row that has anything else: what is not finite counts as no gradient."""
    largest = [largest_of(each) for layer in layers for each in (layer.inputs, layer.signals)]
    is_finite = np.logical_and.reduce([np.isfinite(each) for each in largest])
    if is_finite.all():
        return layers
    return [
        Layer(np.where(is_finite[:, None], each.inputs, 0.0), np.where(is_finite[:, None], each.signals, 0.0), each.has_bias)
        for each in layers
    ]


def _rounded(layer: Layer) -> _Rounded:
    whole, of_inputs = carried(layer.inputs, largest_of(layer.inputs, 1.0 if layer.has_bias else 0.0), INPUT_BITS)
    if layer.has_bias:  # an input that is always one
        whole = np.concatenate([whole, np.rint(power(INPUT_BITS - of_inputs))[:, None]], axis=1)
    of_signals = exponents_of(largest_of(layer.signals))
    signals = layer.signals * power(-of_signals)[:, None]
    squared = _squared(whole) * _squared(signals)
    # What is nothing must not be the longest layer by its exponent: beside it the others' lengths would vanish.
    exponents = np.where(squared > 0, of_inputs + of_signals - INPUT_BITS, _NOTHING)
    return _Rounded(whole, signals, exponents, squared)


def _squared(rows: Floats) -> Floats:
    """Rows lie in a row in memory: the order of a sum along one does not depend on how many there are."""
    found: Floats = np.sum(np.square(np.ascontiguousarray(rows)), axis=1)
    return found


def _product(rounded: _Rounded, factor: Floats) -> Integers:
    signals = np.trunc(rounded.signals * factor[:, None])
    found: Integers = (np.ascontiguousarray(signals.T) @ rounded.inputs).astype(np.int64)
    return found


def _rounded_rows(rounded: _Rounded, factor: Floats) -> Integers:
    signals, inputs = (rounded.signals * factor[:, None]).astype(np.float32), rounded.inputs.astype(np.float32)
    written = signals[:, :, None] * inputs[:, None, :]
    found: Integers = np.rint(written, out=written).sum(axis=0).astype(np.int64)
    return found


def _laid(product: Integers, layer: Layer) -> list[Integers]:
    """Weights, then biases, as the model holds them."""
    return [product[:, :-1].ravel(), product[:, -1]] if layer.has_bias else [product.ravel()]
