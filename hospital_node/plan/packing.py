"""Patient, block and cell of a row as one 64-bit number, so that a single sort groups and orders everything.

Rules
- The three stand side by side in bits, patient first: to take one out is a shift or a mask, ten times cheaper than a division.
- Rows are gone through piece by piece, each of whole patients and small enough for a processor's cache. Rows that come in the
  order of patients are sorted inside their piece only, others as a whole first. The numbers that come out are the same.
- A row that lies in no cell has the number after the last cell, and is gone from its piece.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]
ROWS_IN_A_PIECE = 1 << 16
_ROOM = 63


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

    def in_order(self) -> Rows:
        """Sorted by key; uses the rows up."""
        if self.micro is None and self.marks is None and not self.more:
            self.keys.sort()
            return self
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
        rows = self.rows
        if len(rows.keys) <= ROWS_IN_A_PIECE:
            yield self._inside(rows.in_order())
            return
        has_patients_in_order = _is_rising(self.packing.person(rows.keys))
        if not has_patients_in_order:
            rows = rows.in_order()
        start, below_patient = 0, (1 << (self.packing.block_bits + self.packing.cell_bits)) - 1
        while start < len(rows.keys):
            last = int(rows.keys[min(start + ROWS_IN_A_PIECE, len(rows.keys)) - 1])
            # Patients rise along the rows, whatever the bits below them do: enough for a search by halves.
            end = int(np.searchsorted(rows.keys, last | below_patient, "right"))
            piece = rows.at(slice(start, end))
            yield self._inside(piece.in_order() if has_patients_in_order else piece)
            start = end

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
    in_order = np.sort(numbers)
    return in_order[runs(in_order)]


def _order(numbers: Int64s) -> Int64s:
    """The places of numbers that are not negative, by their size: sorted as one number with its place, faster than by `argsort`."""
    bits = len(numbers).bit_length()
    if not len(numbers) or int(numbers.max()) >> (_ROOM - bits):
        return np.argsort(numbers)
    placed = (numbers << bits) | np.arange(len(numbers))
    placed.sort()
    places: Int64s = placed & ((1 << bits) - 1)
    return places


def _is_rising(numbers: Int64s) -> bool:
    return bool((numbers[1:] >= numbers[:-1]).all())


def _numbered(person_id: Int64s, bits: int) -> tuple[int, Int64s | None, Int64s]:
    """Patients as numbers of at most so many bits, in an array of their own, and how to get back."""
    if not len(person_id):
        return 0, None, person_id.copy()
    first = int(person_id.min())
    if int(person_id.max()) - first < 1 << bits:
        return first, None, person_id - first
    ids, number = np.unique(person_id, return_inverse=True)
    return 0, ids, number.astype(np.int64, copy=False)
