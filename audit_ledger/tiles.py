"""A log as static files: tiles of hashes and bundles of entries. C2SP tlog-tiles 0.1.0.

Rules
- `tile/<L>/<N>[.p/<W>]`: 256 hashes of level L, hash i being the root over entries [(256N+i)·256^L, (256N+i+1)·256^L).
- `tile/entries/<N>[.p/<W>]`: entries, each behind a big-endian uint16 length, so at most 65,535 bytes.
- N in groups of three digits, all but the last behind an `x`. W is 1..255 and is there only for the ragged right edge:
  floor(size / 256^L) mod 256. Width 0 means no file; width 256 is the full tile and has no suffix.
- A reader that misses a partial takes the full tile, which begins with the same bytes.

What a reader returns is not verified by itself: hashes by the proof they end in, entries by the root they hash to.
`check_log` does the whole of it, from the bytes on disk.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from audit_ledger.errors import EntryTooLarge, MalformedTile, TreeMismatch, Unavailable
from audit_ledger.policy import Cosigned, Policy
from audit_ledger.tree import HASH_SIZE, CompactRange, FullTree, leaf_hash, subtree_root

WIDTH = 256
HEIGHT = 8
MAX_ENTRY = 65_535
CHECKPOINT_PATH = "checkpoint"

_PATH = re.compile(r"tile/(entries|[0-9]|[1-5][0-9]|6[0-3])/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")

Fetch = Callable[[str], bytes]
"""Gives a file of the log by its path. Raises Unavailable."""


@dataclass(frozen=True, slots=True)
class Tile:
    """Names one file: hashes of `level`, or the entries beside level 0 when `level` is None."""

    level: int | None
    index: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """Relative to the log's prefix."""
        digits = f"{self.index:03d}"
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
        name = "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])
        suffix = "" if self.width == WIDTH else f".p/{self.width}"
        return f"tile/{'entries' if self.level is None else self.level}/{name}{suffix}"

    @classmethod
    def parse(cls, path: str) -> "Tile":
        """The inverse of `path`, in its one spelling. Raises MalformedTile."""
        found = _PATH.fullmatch(path)
        if found is None:
            raise MalformedTile("not the path of a tile")
        level, groups, width = found.groups()
        index = int(groups.replace("x", "").replace("/", ""))
        tile = cls(None if level == "entries" else int(level), index, int(width or WIDTH))
        if tile.path != path or not 0 < tile.width <= WIDTH:
            raise MalformedTile("not the one spelling of a tile's path")
        return tile

    @property
    def full(self) -> "Tile":
        """The same place at its final width."""
        return Tile(self.level, self.index)


def tiles_between(old: int, new: int) -> Iterator[Tile]:
    """Every file that the log of size `new` needs and the log of size `old` did not have."""
    for level in (None, *range(64 // HEIGHT)):
        before, after = (size >> HEIGHT * (level or 0) for size in (old, new))
        if before == after:
            continue
        yield from (Tile(level, index) for index in range(before // WIDTH, after // WIDTH))
        if after % WIDTH:
            yield Tile(level, after // WIDTH, after % WIDTH)


def edge_tiles(size: int) -> Iterator[Tile]:
    """The last file of each level at `size`: what an append continues from."""
    for level in (None, *range(64 // HEIGHT)):
        count = size >> HEIGHT * (level or 0)
        if count:
            yield Tile(level, (count - 1) // WIDTH, (count - 1) % WIDTH + 1)


def hash_tile(tile: Tile, tree: FullTree) -> bytes:
    """The content of a tile of hashes."""
    return tree.span(HEIGHT * (tile.level or 0), tile.index * WIDTH, tile.width)


def encode_bundle(entries: Iterable[bytes]) -> bytes:
    """The content of an entry bundle. Raises EntryTooLarge."""
    return b"".join(len(demand_fits(entry)).to_bytes(2, "big") + entry for entry in entries)


def demand_fits(entry: bytes) -> bytes:
    """`entry`, if a bundle can hold it. Raises EntryTooLarge."""
    if len(entry) > MAX_ENTRY:
        raise EntryTooLarge(f"entry has {len(entry)} bytes, at most {MAX_ENTRY} fit")
    return entry


def decode_bundle(raw: bytes, width: int) -> list[bytes]:
    """The first `width` entries of a bundle, which must hold `width` or be full. Raises MalformedTile."""
    entries: list[bytes] = []
    at = 0
    while at < len(raw):
        start = at + 2
        at = start + int.from_bytes(raw[at:start], "big")
        entries.append(raw[start:at])
    if at != len(raw) or len(entries) not in (width, WIDTH):
        raise MalformedTile(f"entry bundle holds {len(entries)} entries and is cut or padded, expected {width}")
    return entries[:width]


def folder_fetch(folder: Path) -> Fetch:
    """Reads a log that lies in a folder."""

    def fetch(path: str) -> bytes:
        try:
            return (folder / path).read_bytes()
        except OSError as cause:
            raise Unavailable(f"log file {path} cannot be read: {cause.strerror}") from cause

    return fetch


class TileReader:
    """Reads hashes and entries of the log as it was at `size`, each tile once."""

    def __init__(self, fetch: Fetch, size: int) -> None:
        self._fetch = fetch
        self._size = size
        self._tiles: dict[Tile, bytes] = {}

    def read_hash(self, level: int, index: int) -> bytes:
        """The hash of the complete subtree (level, index); a `ReadHash` for proofs. Unverified."""
        tile_level, above = divmod(level, HEIGHT)
        first = index << above
        tile = self._tile(tile_level, first // WIDTH)
        if tile not in self._tiles:
            self._tiles[tile] = self.hashes(tile)
        at = first % WIDTH * HASH_SIZE
        within = FullTree()
        hashes = self._tiles[tile][at : at + (HASH_SIZE << above)]
        within.extend(hashes[i : i + HASH_SIZE] for i in range(0, len(hashes), HASH_SIZE))
        return within.read(above, 0)

    def read_entries(self, start: int, end: int) -> Iterator[bytes]:
        """Entries [start, end). Unverified until they hash to a root."""
        if not 0 <= start <= end <= self._size:
            raise ValueError(f"no entries {start}..{end} in a log of size {self._size}")
        for index in range(start // WIDTH, (end + WIDTH - 1) // WIDTH):
            bundle = self.bundle(self._tile(None, index))
            yield from bundle[max(0, start - index * WIDTH) : end - index * WIDTH]

    def bundle(self, tile: Tile) -> list[bytes]:
        """The entries of one bundle."""
        return decode_bundle(self._get(tile), tile.width)

    def _tile(self, level: int | None, index: int) -> Tile:
        width = min(WIDTH, (self._size >> HEIGHT * (level or 0)) - index * WIDTH)
        if width <= 0:
            raise ValueError(f"no tile {index} of level {level} in a log of size {self._size}")
        return Tile(level, index, width)

    def hashes(self, tile: Tile) -> bytes:
        """The content of one tile of hashes. Unverified."""
        raw = self._get(tile)
        if len(raw) not in (tile.width * HASH_SIZE, WIDTH * HASH_SIZE):
            raise MalformedTile(f"tile {tile.path} has {len(raw)} bytes, expected {tile.width * HASH_SIZE}")
        return raw[: tile.width * HASH_SIZE]

    def _get(self, tile: Tile) -> bytes:
        try:
            return self._fetch(tile.path)
        except Unavailable:
            if tile.width == WIDTH:
                raise
        return self._fetch(tile.full.path)  # partials go once the full tile is there


def check_log(folder: Path, policy: Policy) -> Cosigned:
    """Verify the whole published log from the bytes on disk: signatures, every entry, every tile, the root.

    Returns the published checkpoint. Quorum and age are the caller's (`policy.accept`). Raises TreeMismatch,
    MalformedTile, Unavailable and what `Policy.open` raises.
    """
    fetch = folder_fetch(folder)
    cosigned = policy.open(fetch(CHECKPOINT_PATH))
    checkpoint = cosigned.checkpoint
    tree = FullTree()
    tree.extend(leaf_hash(entry) for entry in TileReader(fetch, checkpoint.size).read_entries(0, checkpoint.size))
    if tree.root() != checkpoint.root:
        raise TreeMismatch(f"log of {checkpoint.origin!r}: {checkpoint.size} entries do not hash to the signed root")
    for tile in tiles_between(0, checkpoint.size):
        if tile.level is not None:
            _demand_tile(fetch, tile, tree)
    check_partials(folder)
    return cosigned


def check_partials(folder: Path) -> None:
    """Every partial tile that still lies in the folder begins the wider one beside it. Raises TreeMismatch."""
    for path in sorted((folder / "tile").glob("**/*.p/*")):
        _demand_prefix(folder, path)


def write_tile(folder: Path, tile: Tile, content: bytes) -> None:
    """Writes a file of a copy of the log, in one step. What counts of a copy is for its owner to remember."""
    path = folder / tile.path
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    partial.write_bytes(content)
    partial.replace(path)


class TileStack:
    """The right edge of a growing log, one partial tile a level: checks each tile above the leaves, and knows the root.

    `check` is given every tile of level 1 and above once, when it is full, and those of the edge at `finish`.
    """

    def __init__(self, levels: Iterable[bytes] = ()) -> None:
        self.levels = [bytes(each) for each in levels] or [b""]

    @property
    def size(self) -> int:
        return sum(len(hashes) // HASH_SIZE << HEIGHT * level for level, hashes in enumerate(self.levels))

    def add(self, leaves: bytes, root: bytes, check: Callable[[Tile, bytes], None]) -> None:
        """Takes the next bundle's leaf hashes, from the bundle's beginning. Raises TreeMismatch where it rewrites the edge."""
        if not leaves.startswith(self.levels[0]) or len(leaves) == len(self.levels[0]):
            raise TreeMismatch(f"entries from {self.size // WIDTH * WIDTH} on are not those that were verified before")
        self.levels[0] = leaves
        if root:
            self.levels[0] = b""
            self._carry(1, root, check)

    def _carry(self, level: int, root: bytes, check: Callable[[Tile, bytes], None]) -> None:
        if level == len(self.levels):
            self.levels.append(b"")
        self.levels[level] += root
        if len(self.levels[level]) == WIDTH * HASH_SIZE:
            full, self.levels[level] = self.levels[level], b""
            self._carry(level + 1, subtree_root(full), check)
            check(Tile(level, (self.size >> HEIGHT * (level + 1)) - 1), full)

    def finish(self, check: Callable[[Tile, bytes], None]) -> None:
        for level, hashes in enumerate(self.levels):
            if level and hashes:
                check(Tile(level, self.size >> HEIGHT * (level + 1), len(hashes) // HASH_SIZE), hashes)

    def root(self) -> bytes:
        peaks: list[bytes] = []
        for hashes in reversed(self.levels):
            tree = FullTree()
            tree.extend(hashes[at : at + HASH_SIZE] for at in range(0, len(hashes), HASH_SIZE))
            peaks += tree.peaks()
        return CompactRange(self.size, peaks).root()


def _demand_tile(fetch: Fetch, tile: Tile, tree: FullTree) -> None:
    expected = hash_tile(tile, tree)
    try:
        found = fetch(tile.path)
    except Unavailable:
        found = fetch(tile.full.path)[: len(expected)]
    if found != expected:
        raise TreeMismatch(f"tile {tile.path} does not hold the hashes of its entries")


def _demand_prefix(folder: Path, path: Path) -> None:
    """An older partial must begin whatever replaced it; nothing else may be served under its name."""
    widths = [partial.name for partial in path.parent.iterdir()]
    if any(not width.isdecimal() or not 0 < int(width) < WIDTH for width in widths):
        raise TreeMismatch(f"folder {path.parent.relative_to(folder)} holds a width outside 1..255")
    full = path.parent.with_suffix("")
    wider = full if full.exists() else path.parent / max(widths, key=int)
    if not wider.read_bytes().startswith(path.read_bytes()):
        raise TreeMismatch(f"tile {path.relative_to(folder)} does not begin the wider one beside it")
