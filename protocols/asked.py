"""A query statement, read once: what both sides of the wire derive from it before anybody counts.

Everything here is a function of the signed query alone: the plan's shape, the blocks that pay, how far one patient can move the
vector, and how large an honest entry can be. Node and coordinator compute it for themselves; nothing of it is trusted from a frame.
"""

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any, Self

from protocols.canonical import decode_json, encode_json
from protocols.errors import MalformedBytes
from protocols.exact import LARGEST_ENTRY, NO_NOISE, is_exact, without_mode
from protocols.fit import FitSpec, is_fit
from protocols.fits import Fit, Training, read
from protocols.fits.shape import MAX_PATIENTS
from protocols.query import Layout, QuerySpec, Segment, footprint, tables_named
from protocols.query.terms import InOneRange, Residents
from protocols.statements import Query
from protocols.union.buckets import Shape
from protocols.union.question import MAX_VARIANCE, asks_for_residents

VARIANCE_STEPS = 16
_VARIANCE = re.compile(r"(0|[1-9][0-9]{0,17})\.[0-9]{4}")


@dataclass(frozen=True, slots=True)
class Piece:
    """One stretch of the vector: its length, one patient's reach in it, its noise, and its largest honest entry at one hospital.

    `rate` is the chance with which a (patient, block) takes part in a round of a training that samples. `whole` is (L1, L2
    squared) of a patient of all blocks, where it is less than the sum over them; `resident` of one at all hospitals, if they know
    residents again. `repeats`: a round releases it so many times (local steps, each with noise). `once` is (L1, L2 squared) of a
    patient who is held out: in one round, and in no other.
    """

    length: int
    l1: int
    l2_squared: int
    variance: Fraction
    cell_max: int
    rate: Fraction = Fraction(1)
    whole: tuple[int, int] | None = None
    resident: tuple[int, int] | None = None
    repeats: int = 1
    once: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """The parsed question. `table` is its own; `tables` are all that a policy permits or not."""

    query: Query
    spec: QuerySpec | FitSpec | Fit
    table: str
    blocks: tuple[str, ...]
    pieces: tuple[Piece, ...]

    @property
    def weights(self) -> tuple[int, ...]:
        """Of each block, in their order; none of a question that weighs all alike. `pieces` are as the largest moves them."""
        return (self.spec.weights or ()) if isinstance(self.spec, QuerySpec) else ()

    @property
    def tables(self) -> frozenset[str]:
        """With those that it looks for a patient's other rows in."""
        return tables_named(self.query.spec)

    @property
    def dimension(self) -> int:
        return sum(piece.length for piece in self.pieces)

    @property
    def variances(self) -> tuple[int, ...]:
        """In sixteenths, as the binding holds them."""
        return tuple(int(piece.variance * VARIANCE_STEPS) for piece in self.pieces)

    @classmethod
    def of(cls, query: Query) -> Self:
        """Raises MalformedBytes or QueryError if the spec or the variances are not what a query of its mode may hold."""
        return cls._fit(query) if is_fit(query.spec) else cls._table(query)

    @property
    def is_exact(self) -> bool:
        """Whether it is answered without noise: as the signed statement says, and nothing else."""
        return is_exact(self.query.spec)

    @property
    def is_of_residents(self) -> bool:
        """Whether it counts residents once over all hospitals, and so opens by a zero test: as the signed statement says."""
        return asks_for_residents(self.query.spec)

    @property
    def buckets(self) -> int:
        """Of a cell of residents; 1 where an entry of the vector is a number of the answer."""
        measure = self.spec.measures[0] if isinstance(self.spec, QuerySpec) else None
        return measure.buckets if isinstance(measure, Residents) else 1

    @property
    def exact_length(self) -> int:
        """Entries of what a hospital counts, before noise: of residents one a bucket, which says whether somebody is in it."""
        return self.dimension * self.buckets

    def shape(self, members: int, tail: int) -> Shape:
        """Of residents: how a vector is laid out for so many members, each with a largest noise of `tail`."""
        return Shape(self.dimension, self.buckets, members, tail)

    def masked_length(self, members: int, tail: int) -> int:
        """Entries of what a hospital sends: what it counted, and for residents the slots of every member's noise."""
        return self.shape(members, tail).dimension if self.is_of_residents else self.dimension

    @property
    def is_training(self) -> bool:
        """Whether rounds follow one another, each at an input made of the one before. One round is answered as a table is."""
        return self.query.rounds > 1

    @property
    def released_length(self) -> int:
        """Integers in the release: the vector, and for a training the last input's numbers before its last round's vector."""
        return self.dimension + (self.spec.inputs if not isinstance(self.spec, QuerySpec) else 0)

    @property
    def scale(self) -> int:
        """What the vector's integers are multiples of one over."""
        return 1 if isinstance(self.spec, QuerySpec) else self.spec.scale

    @property
    def first_round(self) -> int:
        """0 for a question of one round; a training counts its rounds from 1."""
        return 1 if self.is_training else 0

    @property
    def last_round(self) -> int:
        return self.query.rounds if self.is_training else 0

    @classmethod
    def _fit(cls, query: Query) -> Self:
        spec, is_free = _read_fit(query.spec), is_exact(query.spec)
        if not spec.allows(query.rounds):
            raise MalformedBytes(f"a {spec.fit} fit has {spec.rounds_in_words}, got {query.rounds}")
        if len(query.variances) != 1:
            raise MalformedBytes(f"a fit has one noise variance, got {len(query.variances)}")
        variance = no_noise(query.variances[0]) if is_free else variance_of(query.variances[0])
        piece = Piece(spec.width, spec.l1, spec.l2_squared, variance, spec.cell_max)
        if isinstance(spec, Training):
            piece = replace(piece, rate=spec.rate, repeats=spec.steps_a_round, once=spec.once)
        if piece.cell_max > LARGEST_ENTRY:
            raise MalformedBytes(f"an entry of one hospital may reach {piece.cell_max}, a sum has room for {LARGEST_ENTRY}")
        return cls(query, spec, spec.table, spec.blocks, (piece,))

    @classmethod
    def _table(cls, query: Query) -> Self:
        spec, layout, blocks = _shape(encode_json(without_mode(query.spec)))
        if query.rounds != 1:
            raise MalformedBytes(f"a table query has 1 round, got {query.rounds}")
        if len(query.variances) != len(layout.segments):
            raise MalformedBytes(f"expected {len(layout.segments)} variances, one a segment, got {len(query.variances)}")
        is_free = is_exact(query.spec)
        if asks_for_residents(query.spec):
            return cls(query, spec, str(spec.table), blocks, (_of_residents(query, layout.segments[0], len(blocks)),))
        if is_free and any(isinstance(each, InOneRange) for each in spec.measures):
            raise MalformedBytes("exact mode has no measure that cuts values to a range: ask for sums, averages and counts in bins")
        if is_free and (spec.cohorts or spec.bound != "block" or spec.weights):
            raise MalformedBytes("exact mode reads the rows of one table: it has no cohort, filter, weights or bound of its own")
        pieces = tuple(
            _exact_piece(segment, no_noise(text)) if is_free else _piece(segment, variance_of(text), len(blocks))
            for segment, text in zip(layout.segments, query.variances, strict=True)
        )
        if not is_free and spec.weights and max(each.cell_max for each in pieces) > LARGEST_ENTRY:
            raise MalformedBytes(f"a weighted entry of one hospital may pass {LARGEST_ENTRY}: ask for smaller weights or clamps")
        return cls(query, spec, str(spec.table), blocks, pieces)


def _read_fit(raw: dict[str, Any]) -> FitSpec | Fit:
    asked = without_mode(raw)
    if asked.get("version") != 1:
        fit = read(asked)
        if is_exact(raw) and isinstance(fit, Training):
            raise MalformedBytes("a study's training is private or it is not asked: it has no exact mode")
        if fit.is_exact_only and not is_exact(raw):
            raise MalformedBytes(f"{fit.fit} has no private form: it is asked in exact mode")
        return fit.exactly() if is_exact(raw) else fit
    if is_exact(raw):
        raise MalformedBytes("a fit over visits clips patients and has no exact mode: register a table")
    return FitSpec.from_json(asked)


@lru_cache(128)
def _shape(spec: bytes) -> tuple[QuerySpec, Layout, tuple[str, ...]]:
    # Read at every step of a question's life, and the same for every question of a series.
    parsed = QuerySpec.from_json(decode_json(spec))
    return parsed, Layout.of(parsed), footprint(parsed)


def _piece(segment: Segment, variance: Fraction, blocks: int) -> Piece:
    counted_once = segment.is_union or segment.is_whole
    cell_max = MAX_PATIENTS * segment.largest * (1 if counted_once else blocks)
    whole = segment.over_all(blocks) if segment.is_whole or segment.weights else None
    return Piece(segment.length, segment.l1, segment.l2_squared, variance, cell_max, whole=whole)


def _of_residents(query: Query, segment: Segment, blocks: int) -> Piece:
    """Raises MalformedBytes for noise that no zero test carries: none, or more than its slots hold."""
    if is_exact(query.spec):
        raise MalformedBytes("residents are counted with noise or not at all: they have no exact mode")
    variance = variance_of(query.variances[0])
    if variance > MAX_VARIANCE:
        raise MalformedBytes(f"a count of residents has a noise variance of at most {MAX_VARIANCE}")
    moved = (segment.l1, segment.l2_squared)
    return Piece(segment.length, *moved, variance, 1, whole=segment.over_all(blocks), resident=segment.resident)


def _exact_piece(segment: Segment, nothing: Fraction) -> Piece:
    return Piece(segment.length, segment.l1, segment.l2_squared, nothing, LARGEST_ENTRY)


def variance_of(text: str) -> Fraction:
    """A total noise variance: positive, on the grid of 1/16, four decimals. Raises MalformedBytes."""
    if _VARIANCE.fullmatch(text) is None:
        raise MalformedBytes("a noise variance is a decimal with four places")
    variance = Fraction(text)
    if variance <= 0 or (variance * VARIANCE_STEPS).denominator != 1:
        raise MalformedBytes("a noise variance is positive and a multiple of 1/16")
    return variance


def no_noise(text: str) -> Fraction:
    """The variance of exact mode: zero, in its one spelling. Raises MalformedBytes."""
    if text != NO_NOISE:
        raise MalformedBytes(f"exact mode has a noise variance of {NO_NOISE}")
    return Fraction(0)


def variance_text(variance: Fraction) -> str:
    """The one spelling of a variance on the grid."""
    scaled = variance * 10_000
    if scaled.denominator != 1:
        raise ValueError(f"variance {variance} is not on the grid of 1/16")
    whole, part = divmod(int(scaled), 10_000)
    return f"{whole}.{part:04d}"
