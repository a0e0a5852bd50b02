"""The Merkle tree of RFC 6962 §2.1: hashes, proofs, and their strict verification.

Rules
- leaf = SHA-256(00 ‖ entry), node = SHA-256(01 ‖ left ‖ right), empty tree = SHA-256("").
- A tree of n > 1 leaves splits at the largest power of two strictly below n; a lone right node is carried up unhashed.
- Proofs are verified with the iterative algorithms of RFC 9162 §2.1.3.2 and §2.1.4.2 and must be exactly consumed:
  a longer proof is as wrong as a shorter one. Here that is checked first, since the length follows from the sizes.
- "Complete subtree (level, index)" means the root over leaves [index·2^level, (index+1)·2^level).
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from hashlib import sha256

from audit_ledger.errors import BadProof

HASH_SIZE = 32
EMPTY_ROOT = sha256(b"").digest()
_PAIR = 2 * HASH_SIZE

ReadHash = Callable[[int, int], bytes]
"""Gives the hash of the complete subtree (level, index)."""


def leaf_hash(entry: bytes) -> bytes:
    """The hash that stands for `entry` in the tree."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of the node above two subtrees."""
    return sha256(b"\x01" + left + right).digest()


def subtree_root(hashes: bytes) -> bytes:
    """The root over a power of two of neighbouring hashes, as they stand in a tile."""
    while len(hashes) > HASH_SIZE:
        hashes = _nodes(hashes)
    return hashes


def _nodes(hashes: bytes) -> bytes:
    """The level above neighbouring hashes, of which there is an even number."""
    return b"".join([sha256(b"\x01" + hashes[at : at + _PAIR]).digest() for at in range(0, len(hashes), _PAIR)])


class CompactRange:
    """The tree head of a growing log in at most 64 hashes: enough to append and to know the root, not to prove.

    For a follower who replays all entries. `encode()` is what it stores between two runs.
    """

    __slots__ = ("_peaks", "size")

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        if len(peaks) != size.bit_count() or any(len(peak) != HASH_SIZE for peak in peaks):
            raise ValueError(f"compact range of size {size} needs {size.bit_count()} hashes of 32 bytes")
        self.size = size
        self._peaks = list(peaks)  # largest subtree first

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash (not an entry)."""
        size = self.size
        while size & 1:
            leaf = node_hash(self._peaks.pop(), leaf)
            size >>= 1
        self._peaks.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """The RFC 6962 root of all leaves so far."""
        return _fold(self._peaks) if self._peaks else EMPTY_ROOT

    def encode(self) -> bytes:
        """Size as eight big-endian bytes, then the hashes of the complete subtrees, largest first."""
        return self.size.to_bytes(8, "big") + b"".join(self._peaks)

    @classmethod
    def decode(cls, raw: bytes) -> "CompactRange":
        """The inverse of `encode`. Raises ValueError."""
        return cls(int.from_bytes(raw[:8], "big"), [raw[i : i + HASH_SIZE] for i in range(8, len(raw), HASH_SIZE)])


class FullTree:
    """All hashes of a log in memory, 64 MB for a million leaves: any root and any proof without a disk read.

    One thread appends; others may read what was there before they looked at `size`.
    """

    __slots__ = ("_levels", "size")

    def __init__(self) -> None:
        self._levels: list[bytearray] = [bytearray()]
        self.size = 0

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash and every node it completes."""
        level, index = 0, self.size
        self._levels[0] += leaf
        while index & 1:
            leaf = node_hash(self.read(level, index - 1), leaf)
            level, index = level + 1, index >> 1
            if level == len(self._levels):
                self._levels.append(bytearray())
            self._levels[level] += leaf
        self.size += 1  # last: a reader who sees the new size finds its hashes

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add many leaf hashes in order."""
        self._levels[0] += b"".join(leaves)
        for level, hashes in enumerate(self._levels):
            done = 2 * len(self._levels[level + 1]) if level + 1 < len(self._levels) else 0
            pairs = bytes(hashes[done : len(hashes) // _PAIR * _PAIR])
            if not pairs:
                break  # and so nothing new above
            if level + 1 == len(self._levels):
                self._levels.append(bytearray())  # the loop goes on with it
            self._levels[level + 1] += _nodes(pairs)
        self.size = len(self._levels[0]) // HASH_SIZE

    def read(self, level: int, index: int) -> bytes:
        """The hash of a complete subtree; a `ReadHash`."""
        return self.span(level, index, 1)

    def span(self, level: int, index: int, count: int) -> bytes:
        """`count` neighbouring hashes of one level, as they stand in a tile."""
        found = bytes(self._levels[level][index * HASH_SIZE : (index + count) * HASH_SIZE])
        if len(found) != count * HASH_SIZE:
            raise IndexError(f"subtrees {index}..{index + count} of level {level} are not complete at size {self.size}")
        return found

    def peaks(self) -> list[bytes]:
        """The complete subtrees, largest first: what a CompactRange holds."""
        found, end = [], 0
        for level in reversed(range(self.size.bit_length())):
            if self.size >> level & 1:
                found.append(self.read(level, end >> level))
                end += 1 << level
        return found

    def root(self, size: int | None = None) -> bytes:
        """The root at `size`, by default of all leaves."""
        return root_at(self.size if size is None else size, self.read)


def root_at(size: int, read: ReadHash) -> bytes:
    """The root of the first `size` leaves."""
    return _range_root(0, size, read) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, read: ReadHash) -> list[bytes]:
    """The audit path of leaf `index` in the tree of `size` leaves, the leaf's sibling first."""
    return prover(size, read)(index)


def prover(size: int, read: ReadHash) -> Callable[[int], list[bytes]]:
    """`inclusion_proof` for many leaves of one tree: what their paths share is computed once."""
    root = cache(partial(_range_root, read=read))

    def proof(index: int) -> list[bytes]:
        if not 0 <= index < size:
            raise ValueError(f"no leaf {index} in a tree of size {size}")
        path: list[bytes] = []
        start, end = 0, size
        while end - start > 1:
            middle = start + _split(end - start)
            if index < middle:
                path.append(root(middle, end))
                end = middle
            else:
                path.append(root(start, middle))
                start = middle
        return path[::-1]

    return proof


def consistency_proof(old: int, new: int, read: ReadHash) -> list[bytes]:
    """The proof that the tree of `new` leaves extends the tree of `old`; empty for old = 0 and old = new."""
    if not 0 <= old <= new:
        raise ValueError(f"a tree cannot grow from {old} to {new}")
    if old in (0, new):
        return []
    path: list[bytes] = []
    start, end = 0, new
    while end != old:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(_range_root(middle, end, read))
            end = middle
        else:
            path.append(_range_root(start, middle, read))
            start = middle
    if start:  # the old root itself is known to the verifier, a part of it is not
        path.append(_range_root(start, end, read))
    return path[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Raises BadProof unless `leaf` is number `index` in the tree (size, root). RFC 9162 §2.1.3.2."""
    if not 0 <= index < size:
        raise BadProof(f"inclusion proof: no index {index} in a tree of size {size}")
    inner = (index ^ (size - 1)).bit_length()
    _demand_length("inclusion", proof, inner + (index >> inner).bit_count(), f"leaf {index} in size {size}")
    node, last, computed = index, size - 1, leaf
    for sibling in proof:
        if node & 1 or node == last:
            computed = node_hash(sibling, computed)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            computed = node_hash(computed, sibling)
        node, last = node >> 1, last >> 1
    if last or computed != root:
        raise BadProof(f"inclusion proof of leaf {index} in size {size} does not lead to the root")


def verify_consistency(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """Raises BadProof unless tree (new, new_root) extends tree (old, old_root). RFC 9162 §2.1.4.2."""
    if not 0 <= old <= new:
        raise BadProof(f"consistency proof: a tree cannot grow from {old} to {new}")
    _demand_length("consistency", proof, _consistency_length(old, new), f"{old} -> {new}")
    if old == 0 and old_root != EMPTY_ROOT:
        raise BadProof("consistency proof: the empty tree has another root")
    if old == new and old_root != new_root:
        raise BadProof(f"two roots at one size {old}")
    if old not in (0, new) and _climb(old, new, proof, old_root) != (old_root, new_root):
        raise BadProof(f"consistency proof {old} -> {new} does not lead from the old root to the new")


def _climb(old: int, new: int, proof: Sequence[bytes], old_root: bytes) -> tuple[bytes, bytes]:
    node, last = old - 1, new - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    steps = list(proof) if node else [old_root, *proof]
    first = second = steps[0]
    for step in steps[1:]:
        if node & 1 or node == last:
            first, second = node_hash(step, first), node_hash(step, second)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            second = node_hash(second, step)
        node, last = node >> 1, last >> 1
    return first, second


def _consistency_length(old: int, new: int) -> int:
    if old in (0, new):
        return 0
    shift = (old & -old).bit_length() - 1  # levels below which the old tree has no ragged edge
    node, last = (old - 1) >> shift, (new - 1) >> shift
    inner = (node ^ last).bit_length()
    return inner + (node >> inner).bit_count() + (1 if node else 0)


def _demand_length(kind: str, proof: Sequence[bytes], expected: int, where: str) -> None:
    if len(proof) != expected:
        raise BadProof(f"{kind} proof has {len(proof)} hashes, {where} needs {expected}")
    if any(len(step) != HASH_SIZE for step in proof):
        raise BadProof(f"{kind} proof holds a hash that is not 32 bytes")


def _split(count: int) -> int:
    return 1 << ((count - 1).bit_length() - 1)


def _range_root(start: int, end: int, read: ReadHash) -> bytes:
    """Root over leaves [start, end), where `start` is a multiple of the largest power of two in the range."""
    peaks: list[bytes] = []
    while start < end:
        level = (end - start).bit_length() - 1
        peaks.append(read(level, start >> level))
        start += 1 << level
    return _fold(peaks)


def _fold(peaks: Sequence[bytes]) -> bytes:
    computed = peaks[-1]
    for peak in reversed(peaks[:-1]):
        computed = node_hash(peak, computed)
    return computed
