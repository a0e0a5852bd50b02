"""The costly half of an audit, which needs no order: fetch a bundle, hash it, read its statements, verify their signatures.

A second process does it ahead of the replay. It is told the keys that the ledger has named so far and reports which of them signed
what; whether such a key counted at that index is the replay's to say, and a signature by a key it was not told is verified there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from audit_ledger.errors import TreeMismatch
from audit_ledger.fetching import fetch_of
from audit_ledger.tiles import WIDTH, Tile, TileReader, encode_bundle, write_tile
from audit_ledger.tree import leaf_hash, subtree_root
from protocols.dsse import Envelope
from protocols.errors import MalformedBytes
from protocols.identity import verifies
from protocols.statements import Signed, kind_of, parse_once

Keys = Mapping[str, bytes]
"""Fingerprint to public key."""


@dataclass(frozen=True, slots=True)
class Verified(Envelope):
    """An envelope of whose signatures some were verified before."""

    by: tuple[bytes, ...] = ()

    def is_signed_by(self, public: bytes) -> bool:
        return public in self.by or Envelope.is_signed_by(self, public)


class ReadEntry(NamedTuple):
    """A statement that was read: what it takes to make it again, quickly. `entry` is empty where the replay needs no bytes."""

    payload_type: str
    payload: bytes
    id: bytes
    by: tuple[bytes, ...]
    entry: bytes


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries of which log, as it was at `size`: bundles [first, last), their statements from index `start` on.

    `is_local`: for this very process, to which nothing need be sent.
    """

    target: str
    size: int
    first: int
    last: int
    start: int
    keys: Keys
    mirror: Path | None = None
    keeps_entries: bool = False
    is_local: bool = False
    hashes_only: bool = False


@dataclass(frozen=True, slots=True)
class ReadBundle:
    """A bundle's leaf hashes, the root over them if it is full, and what stands in it."""

    index: int
    leaves: bytes
    root: bytes
    entries: tuple["ReadEntry | Signed | str", ...]


def read_bundles(wanted: Wanted) -> list[ReadBundle]:
    """Raises a LedgerError for what cannot be had, and TreeMismatch where the tile of hashes beside a bundle is not its."""
    fetch = fetch_of(wanted.target)
    reader = TileReader(fetch, wanted.size)
    return [_read(wanted, reader, index) for index in range(wanted.first, wanted.last)]


def _read(wanted: Wanted, reader: TileReader, index: int) -> ReadBundle:
    width = min(WIDTH, wanted.size - index * WIDTH)
    bundle, hashes = Tile(None, index, width), Tile(0, index, width)
    entries = reader.bundle(bundle)
    leaves = b"".join([leaf_hash(entry) for entry in entries])
    if reader.hashes(hashes) != leaves:
        raise TreeMismatch(f"tile {hashes.path} does not hold the hashes of its entries")
    if wanted.mirror is not None:
        write_tile(wanted.mirror, bundle, encode_bundle(entries))
        write_tile(wanted.mirror, hashes, leaves)
    fresh = entries[max(0, wanted.start - index * WIDTH) :]
    root = subtree_root(leaves) if width == WIDTH else b""
    return ReadBundle(index, leaves, root, () if wanted.hashes_only else read_entries(fresh, wanted))


def read_entries(entries: Sequence[bytes], wanted: Wanted) -> tuple["ReadEntry | Signed | str", ...]:
    """Each statement, or in a sentence why it is none. All are read, then all verified: that is quicker."""
    return tuple([each if isinstance(each, str) else _verified(each, wanted) for each in [_parsed(entry) for entry in entries]])


def _parsed(entry: bytes) -> Signed | str:
    try:
        return parse_once(entry)
    except MalformedBytes as error:
        return str(error)


def _verified(signed: Signed, wanted: Wanted) -> ReadEntry | Signed:
    envelope, message = signed.envelope, signed.envelope.pae()
    by = tuple(
        public
        for each in envelope.signatures
        if (public := wanted.keys.get(each.keyid)) is not None and verifies(public, each.value, message)
    )
    # A signature by a key that was not told is the replay's to verify; of entry 0 the bytes are pinned.
    is_needed = wanted.keeps_entries or len(by) < len(envelope.signatures) or signed.statement.kind == "root"
    kept = signed.entry if is_needed else b""
    if wanted.is_local:
        verified = Verified(envelope.payload_type, envelope.payload, envelope.signatures, by)
        return Signed(kept, verified, signed.statement, signed.id)
    return ReadEntry(envelope.payload_type, envelope.payload, signed.id, by, kept)


def made_again(read: "ReadEntry | Signed | str") -> Signed | MalformedBytes:
    """What `parse` gave, in the other process or in this."""
    if isinstance(read, Signed):
        return read
    if isinstance(read, str):
        return MalformedBytes(read)
    kind = kind_of(read.payload_type)
    if kind is None:
        raise AssertionError("a statement of an unknown kind was read")
    signatures = Envelope.decode(read.entry).signatures if read.entry else ()
    return Signed(read.entry, Verified(read.payload_type, read.payload, signatures, read.by), kind.reread(read.payload), read.id)
