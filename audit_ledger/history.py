"""What a replay remembers of a long log in little memory: the roots of its recent sizes, and which statements it holds.

A million entries cost about 45 MB here; as a dictionary of digests and one of roots they would cost several hundred.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from audit_ledger.tree import HASH_SIZE, CompactRange, FullTree, root_at

ROOTS_KEPT = 65_536


class Roots:
    """The roots of the newest `kept` sizes (a power of two), each made only when asked for.

    Keeps all hashes of the last one to two blocks of `kept` leaves, and of older blocks only their roots.
    """

    __slots__ = ("_asked", "_recent", "_spine", "_waiting", "kept", "size")

    def __init__(self, kept: int = ROOTS_KEPT) -> None:
        self.kept, self.size = kept, 0
        self._spine, self._recent = FullTree(), FullTree()
        self._waiting: list[bytes] = []
        """Leaves that no hash was asked above yet: many at a time cost a fraction of one by one."""
        self._asked: dict[int, bytes] = {}

    @property
    def _spine_level(self) -> int:
        return self.kept.bit_length() - 1

    @property
    def _start(self) -> int:
        return self._spine.size * self.kept

    def append(self, leaf: bytes) -> None:
        if self.size - self._start == 2 * self.kept:
            self._grow()
            self._spine.append(self._recent.read(self._spine_level, 0))
            recent = FullTree()
            recent.extend([self._recent.span(0, self.kept, self.kept)])
            self._recent = recent
        self._waiting.append(leaf)
        self.size += 1

    def _grow(self) -> None:
        if self._waiting:
            self._recent.extend(self._waiting)
            self._waiting.clear()

    def get(self, size: int) -> bytes | None:
        """The root at `size`; None for a size that is not reached yet, or too old to be known here."""
        if not 0 < size <= self.size or size < self._start or size <= self.size - self.kept:
            return None
        if size not in self._asked:
            if len(self._asked) >= 64:  # the Readys of one question name one checkpoint; older answers are made anew
                self._asked.clear()
            self._asked[size] = root_at(size, self._read)
        return self._asked[size]

    def range(self) -> CompactRange:
        """The tree head at the newest size."""
        size, peaks, end = self.size, [], 0
        for level in reversed(range(size.bit_length())):
            if size >> level & 1:
                peaks.append(self._read(level, end >> level))
                end += 1 << level
        return CompactRange(size, peaks)

    def _read(self, level: int, index: int) -> bytes:
        self._grow()
        above = level - self._spine_level
        if above < 0:
            return self._recent.read(level, index - (self._start >> level))
        if (index + 1) << above <= self._spine.size:
            return self._spine.read(above, index)
        blocks = FullTree()
        blocks.extend(self._block(each) for each in range(index << above, (index + 1) << above))
        return blocks.root()

    def _block(self, index: int) -> bytes:
        old = self._spine.size
        return self._spine.read(0, index) if index < old else self._recent.read(self._spine_level, index - old)

    def encode(self) -> bytes:
        """The roots of the old blocks, counted, and the leaves of the recent ones."""
        self._grow()
        spine, recent = self._spine, self._recent
        return spine.size.to_bytes(8, "big") + spine.span(0, 0, spine.size) + recent.span(0, 0, recent.size)

    @classmethod
    def decode(cls, raw: bytes, kept: int = ROOTS_KEPT) -> "Roots":
        """The inverse of `encode`. Raises ValueError."""
        cut = 8 + HASH_SIZE * int.from_bytes(raw[:8], "big")
        if len(raw) < cut or (len(raw) - 8) % HASH_SIZE or (len(raw) - cut) // HASH_SIZE > 2 * kept:
            raise ValueError("not a history of roots")
        found = cls(kept)
        found._spine.extend([raw[8:cut]])
        found._recent.extend([raw[cut:]])
        found.size = found._start + found._recent.size
        return found


class Digests:
    """A map from 32-byte digests to indexes below 2^32 that only grows, at about 45 bytes each."""

    __slots__ = ("_buckets", "_count")

    def __init__(self) -> None:
        self._buckets: dict[bytes, bytearray] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, digest: bytes) -> bool:
        return self.get(digest) is not None

    def __getitem__(self, digest: bytes) -> int:
        found = self.get(digest)
        if found is None:
            raise KeyError(digest.hex())
        return found

    def get(self, digest: bytes, absent: int | None = None) -> int | None:
        bucket = self._buckets.get(digest[:2])
        at = bucket.find(digest) if bucket else -1
        while bucket and at % _RECORD and at >= 0:  # across two records: not a place of a digest
            at = bucket.find(digest, at + 1)
        return int.from_bytes(bucket[at + HASH_SIZE : at + _RECORD], "big") if bucket and at >= 0 else absent

    def add(self, digest: bytes, index: int) -> None:
        """`digest` is not yet in the map."""
        self._buckets.setdefault(digest[:2], bytearray()).extend(digest + index.to_bytes(4, "big"))
        self._count += 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Digests) and self._buckets == other._buckets

    __hash__ = None  # type: ignore[assignment]  # it grows

    def __iter__(self) -> Iterator[bytes]:
        for bucket in self._buckets.values():
            yield from (bytes(bucket[at : at + HASH_SIZE]) for at in range(0, len(bucket), _RECORD))

    def encode(self) -> bytes:
        return b"".join(self._buckets.values())

    @classmethod
    def decode(cls, raw: bytes) -> "Digests":
        """The inverse of `encode`. Raises ValueError."""
        if len(raw) % _RECORD:
            raise ValueError("not a map of digests")
        found = cls()
        prefixes = np.frombuffer(raw, ">u2").reshape(-1, _RECORD // 2)[:, 0]
        cuts = (np.flatnonzero(prefixes[1:] != prefixes[:-1]) + 1) * _RECORD  # a bucket's records were written side by side
        for at, end in pairwise((0, *cuts.tolist(), len(raw)) if raw else ()):
            found._buckets.setdefault(raw[at : at + 2], bytearray()).extend(raw[at:end])
        found._count = len(raw) // _RECORD
        return found


_RECORD = HASH_SIZE + 4
