"""Which cells of a patient count, when the rows of one block fall into more than the query keeps.

Rules (privacy choice 6)
- Of each (patient, block) at most k cells are kept: those with the smallest keyed hash of (patient, cell). Never by time,
  which would starve the late weeks; never by the cell alone, which would starve the same cells for everyone.
- The choice depends on one patient's rows of one block and on the key; other patients and other blocks do not matter.
- A cell is hashed by its labels and not by its number, so that a week kept in one question is kept in the next, whatever
  the period or the order of the keys.
- The hash is AES-256 of (patient, cell tag) in one call over all candidates: a pseudorandom permutation, hence without
  ties up to the first 64 bits of it that are compared. Only patients above the bound are hashed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from numpy.typing import NDArray

from hospital_node.plan.packing import Int64s, runs
from protocols.query import Axis, Grid

UInt64s = NDArray[np.uint64]
Booleans = NDArray[np.bool_]
SHORTEST_KEY = 16


@dataclass(frozen=True, slots=True)
class Groups:
    """One entry for each (patient, block, cell) with a row, sorted by patient, then block, then cell.

    `patient_block` numbers the runs of one patient's one block; `person_id` is the patient's own number.
    """

    person_id: Int64s
    patient_block: Int64s
    cell: Int64s

    def where(self, kept: Booleans) -> Groups:
        return Groups(self.person_id[kept], self.patient_block[kept], self.cell[kept])


class BoundingKey:
    """The node's key of one period; with it the same patient keeps the same cells in every question."""

    def __init__(self, key: bytes) -> None:
        if len(key) < SHORTEST_KEY:
            raise ValueError(f"bounding key has {len(key)} bytes, it needs at least {SHORTEST_KEY}")
        # Each block of input is hashed once and alone, so the mode that leaks equal blocks has nothing to leak.
        self._cipher = Cipher(AES(sha256(b"kapok bounding v1\0" + key).digest()), ECB())  # noqa: S305

    def rank(self, person_id: Int64s, tag: UInt64s) -> UInt64s:
        pairs = np.empty((len(person_id), 2), dtype="<u8")
        pairs[:, 0], pairs[:, 1] = person_id.view(np.uint64), tag
        hashed = self._cipher.encryptor().update(pairs.tobytes())
        return np.frombuffer(hashed, dtype="<u8")[::2].astype(np.uint64)


def kept_cells(groups: Groups, grid: Grid, k: int, key: BoundingKey) -> Booleans:
    """True for the groups that count; at most k of each run of `patient_block`."""
    return _are_smallest(key.rank(groups.person_id, cell_tags(grid, groups.cell)), runs(groups.patient_block), k)


def _are_smallest(rank: UInt64s, starts: Int64s, k: int) -> Booleans:
    """True for the k smallest of each run; runs are of one entry at least, no two of which are the same."""
    lengths = np.diff(starts, append=len(rank))
    run = np.repeat(np.arange(len(starts), dtype=np.uint64), lengths)
    # Run and upper bits of the rank in one number: sorted without their places, which is several times faster than with them.
    bits = np.uint64(len(starts).bit_length())
    narrow = run << (np.uint64(64) - bits) | rank >> bits
    in_order = np.sort(narrow)
    last = starts + np.minimum(lengths, k) - 1
    has_more = lengths > k
    if (in_order[last[has_more] + 1] == in_order[last[has_more]]).any():  # the bits that were left out decide
        return _are_first(np.lexsort((rank, run)), np.arange(len(rank)) - np.repeat(starts, lengths) < k)
    return narrow <= np.repeat(in_order[last], lengths)


def _are_first(order: Int64s, is_first: Booleans) -> Booleans:
    """The same, brought back from the order to where the entries stand."""
    found = np.zeros(len(order), dtype=np.bool_)
    found[order[is_first]] = True
    return found


def cell_tags(grid: Grid, cells: Int64s) -> UInt64s:
    """A number for each cell that its labels alone determine: the sum modulo 2^64 of a hash of each key with its label."""
    return _tags(grid)[cells] if grid.size <= len(cells) else _tags_of(grid, cells)


@lru_cache(maxsize=8)
def _tags(grid: Grid) -> UInt64s:
    return _tags_of(grid, np.arange(grid.size))


def _tags_of(grid: Grid, cells: Int64s) -> UInt64s:
    tags, rest = np.zeros(len(cells), dtype=np.uint64), cells
    for axis in reversed(grid.axes):
        rest, place = np.divmod(rest, len(axis.labels))
        tags += _label_tags(axis)[place]
    return tags


def _label_tags(axis: Axis) -> UInt64s:
    hashes = b"".join(sha256(f"{axis.key}={label}".encode()).digest()[:8] for label in axis.labels)
    return np.frombuffer(hashes, dtype="<u8").astype(np.uint64)
