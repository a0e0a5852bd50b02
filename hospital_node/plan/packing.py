"""Patient, block and cell of a row as one 64-bit number, so that a single sort groups and orders everything.

Rules
- The three stand side by side in bits, patient first: to take one out is a shift or a mask, ten times cheaper than a division.
- Rows are gone through piece by piece, each of whole patients and small enough for a processor's cache: dealt by the upper bits
  of the patient's number, and sorted inside their piece only. Whatever order they come in, the same numbers come out.
- A row that lies in no cell has the number after the last cell, and is gone from its piece.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]
ROWS_IN_A_PIECE = 1 << 16
_ROOM = 63
_ROWS_DEALT_AT_ONCE = 1 << 18
_MOST_HANDS_BITS = 8
"""What numpy's radix sort does in one pass."""


@dataclass(frozen=True, slots=True)
class Packing:
    """Where the parts stand. Patients are numbered from 0: by the distance to the smallest id, or by their place among `ids`."""

    block_bits: int
    cell_bits: int
    first: int
    ids: Int64s | None = None

    def person(self, packed: Int64s) -> Int64s:
        """The number of the patient in this answer."""
        return packed >> (self.block_bits + self.cell_bits)

    def person_id(self, packed: Int64s) -> Int64s:
        """The patient's own id."""
        number = self.person(packed)
        return number + self.first if self.ids is None else self.ids[number]

    def patient_block(self, packed: Int64s) -> Int64s:
        """A number that runs of one patient's one block share, in order of patient and block."""
        return packed >> self.cell_bits

    def block(self, packed: Int64s) -> Int64s:
        """The number of the block in the question."""
        return (packed >> self.cell_bits) & ((1 << self.block_bits) - 1)

    def cell(self, packed: Int64s) -> Int64s:
        return packed & ((1 << self.cell_bits) - 1)

    def patient_cell(self, packed: Int64s) -> Int64s:
        """Patient and cell without the block between them."""
        return (self.person(packed) << self.cell_bits) | self.cell(packed)


@dataclass(frozen=True, slots=True)
class Rows:
    """One number for each row and, where they are asked, its value, the filters that it passes and what else it says, by name."""

    keys: Int64s
    micro: NDArray[np.integer] | None = None
    marks: NDArray[np.uint8] | None = None
    more: Mapping[str, NDArray[np.integer]] = field(default_factory=dict)

    def at(self, chosen: slice | NDArray[np.integer] | NDArray[np.bool_]) -> Rows:
        micro = None if self.micro is None else self.micro[chosen]
        more = {name: column[chosen] for name, column in self.more.items()}
        return Rows(self.keys[chosen], micro, None if self.marks is None else self.marks[chosen], more)

    @classmethod
    def joined(cls, parts: Sequence[Rows]) -> Rows:
        """One after the other; of one table, hence with the same columns."""
        first = parts[0]
        micro = None if first.micro is None else np.concatenate([each.micro for each in parts if each.micro is not None])
        marks = None if first.marks is None else np.concatenate([each.marks for each in parts if each.marks is not None])
        more = {name: np.concatenate([each.more[name] for each in parts]) for name in first.more}
        return cls(np.concatenate([each.keys for each in parts]), micro, marks, more)

    def in_order(self) -> Rows:
        """Sorted by key; uses the rows up."""
        if self.micro is None and self.marks is None and not self.more:
            return Rows(_sorted(self.keys))
        return self.at(_order(self.keys))


@dataclass(frozen=True, slots=True)
class PackedRows:
    """The rows of an answer, each with its patient, block and cell in one number."""

    packing: Packing
    rows: Rows
    outside: int

    @classmethod
    def of(
        cls,
        person_id: Int64s,
        place: Int64s,
        micro: NDArray[np.integer] | None,
        blocks: int,
        cells: int,
        marks: NDArray[np.uint8] | None = None,
        more: Mapping[str, NDArray[np.integer]] | None = None,
    ) -> PackedRows:
        """`place` is each row's `block << cell_bits(cells) | cell`, and `cells` where a row lies in none."""
        block_bits, wide = (blocks - 1).bit_length(), cell_bits(cells)
        first, ids, keys = _numbered(person_id, _ROOM - block_bits - wide)
        keys <<= block_bits + wide
        keys |= place
        return cls(Packing(block_bits, wide, first, ids), Rows(keys, micro, marks, more or {}), cells)

    def pieces(self) -> Iterator[Rows]:
        """The rows in order, a run of whole patients at a time. Uses the rows up."""
        yield from (self._inside(dealt.in_order()) for dealt in self._dealt(self.rows))

    def _dealt(self, rows: Rows) -> Iterator[Rows]:
        """Whole patients, in hands of about as many rows as a piece has; lower numbers first."""
        size, of_patient = len(rows.keys), self.packing.block_bits + self.packing.cell_bits
        if size <= ROWS_IN_A_PIECE:
            yield rows
            return
        low, high = int(rows.keys.min()), int(rows.keys.max())
        bits = min((size // ROWS_IN_A_PIECE).bit_length(), _MOST_HANDS_BITS)
        shift = max((high - low).bit_length() - bits, of_patient)
        shift += (high >> shift) - (low >> shift) >> bits
        for dealt in _hands(rows, low >> shift, shift):
            # Numbers that stand close together beside one far away fall into one hand: dealt again, among themselves.
            is_large = shift > of_patient and len(dealt.keys) > 2 * ROWS_IN_A_PIECE
            yield from self._dealt(dealt) if is_large else (dealt,)

    def _inside(self, rows: Rows) -> Rows:
        inside = self.packing.cell(rows.keys) != self.outside
        return rows if inside.all() else rows.at(inside)


def cell_bits(cells: int) -> int:
    """Room for every cell and one number more."""
    return cells.bit_length()


def runs(in_order: Int64s) -> Int64s:
    """Where each run of equal numbers starts."""
    is_first = np.ones(len(in_order), dtype=np.bool_)
    np.not_equal(in_order[1:], in_order[:-1], out=is_first[1:])
    return np.flatnonzero(is_first)


def above(in_order: Int64s, most: int) -> Int64s:
    """The places of all entries that stand in runs of more than `most` equal numbers."""
    long = in_order[most:][in_order[most:] == in_order[:-most]]
    long = long[runs(long)]
    starts = np.searchsorted(in_order, long, "left")
    lengths = np.searchsorted(in_order, long, "right") - starts
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    places: Int64s = np.repeat(starts, lengths) + within
    return places


def distinct(numbers: Int64s) -> Int64s:
    # Sorting beats the hash table of `np.unique` tenfold here.
    in_order = _sorted(numbers)
    return in_order[runs(in_order)]


def repeated(numbers: Int64s) -> Int64s:
    """Those that stand there before already: of each number one less than there are."""
    in_order = _sorted(numbers)
    again: Int64s = in_order[1:][in_order[1:] == in_order[:-1]]
    return again


def _sorted(numbers: Int64s) -> Int64s:
    """By size; numbers that differ in 32 bits only are sorted as such, in half the time."""
    if not len(numbers):
        return numbers
    first = int(numbers.min())
    if int(numbers.max()) - first >> 32:
        return np.sort(numbers)
    narrow = (numbers - first).astype(np.uint32)
    narrow.sort()
    return narrow + np.int64(first)


def _order(numbers: Int64s) -> Int64s:
    """The places of numbers by their size: sorted as one number with its place, faster than by `argsort`."""
    if not len(numbers):
        return np.argsort(numbers)
    bits, first = len(numbers).bit_length(), int(numbers.min())
    if (int(numbers.max()) - first) >> (_ROOM - bits):
        return np.argsort(numbers)
    placed = ((numbers - first) << bits) | np.arange(len(numbers))
    placed.sort()
    places: Int64s = placed & ((1 << bits) - 1)
    return places


def _hands(rows: Rows, first: int, shift: int) -> Iterator[Rows]:
    """The rows by the upper bits of their number, `first` and at most 255 above it; the rows of a hand stand as they came.

    A stretch at a time, so that what is moved about lies in the cache: half of what one sort of all rows by their hand takes.
    """
    stretches, ends = [], []
    for start in range(0, len(rows.keys), _ROWS_DEALT_AT_ONCE):
        stretch = rows.at(slice(start, start + _ROWS_DEALT_AT_ONCE))
        # The numbers wrap around in 8 bits, and so does their distance from the lowest.
        hand = (stretch.keys >> shift).astype(np.uint8) - np.uint8(first & 255)
        stretches.append(stretch.at(np.argsort(hand, kind="stable")))
        ends.append([0, *np.cumsum(np.bincount(hand, minlength=256)).tolist()])
    for n in range(256):
        parts = [each.at(slice(end[n], end[n + 1])) for each, end in zip(stretches, ends, strict=True) if end[n] < end[n + 1]]
        if parts:
            yield Rows.joined(parts)


def _numbered(person_id: Int64s, bits: int) -> tuple[int, Int64s | None, Int64s]:
    """Patients as numbers of at most so many bits, in an array of their own, and how to get back."""
    if not len(person_id):
        return 0, None, person_id.copy()
    first = int(person_id.min())
    if int(person_id.max()) - first < 1 << bits:
        return first, None, person_id - first
    ids, number = np.unique(person_id, return_inverse=True)
    return 0, ids, number.astype(np.int64, copy=False)
