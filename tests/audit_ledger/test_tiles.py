"""Tiles and bundles: names, widths and bytes at every edge, and a whole-log check that sees one flipped bit."""

import shutil
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_ledger.checkpoint import Checkpoint, sign_checkpoint
from audit_ledger.errors import EntryTooLarge, MalformedTile, TreeMismatch, Unavailable
from audit_ledger.tiles import (
    MAX_ENTRY,
    WIDTH,
    Tile,
    TileReader,
    check_log,
    decode_bundle,
    edge_tiles,
    encode_bundle,
    folder_fetch,
    hash_tile,
    tiles_between,
)
from audit_ledger.tree import FullTree, consistency_proof, inclusion_proof, leaf_hash, verify_consistency, verify_inclusion
from tests.audit_ledger import known


def grown(entries: list[bytes]) -> FullTree:
    tree = FullTree()
    tree.extend(map(leaf_hash, entries))
    return tree


def write_log(folder: Path, entries: list[bytes]) -> FullTree:
    """A published log, written straight from the definition."""
    tree = grown(entries)
    folder.mkdir(exist_ok=True)
    for tile in tiles_between(0, len(entries)):
        path = folder / tile.path
        path.parent.mkdir(parents=True, exist_ok=True)
        start = tile.index * 256
        path.write_bytes(encode_bundle(entries[start : start + tile.width]) if tile.level is None else hash_tile(tile, tree))
    checkpoint = Checkpoint(known.ORIGIN, len(entries), tree.root())
    (folder / "checkpoint").write_bytes(sign_checkpoint(checkpoint, known.LOG_KEY, known.LOG_SIGNER).encode())
    return tree


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(0, 0, 8), "tile/0/000.p/8"),
        (Tile(None, 0, 8), "tile/entries/000.p/8"),
        (Tile(3, 1_234_067), "tile/3/x001/x234/067"),
        (Tile(0, 1_000, 1), "tile/0/x001/000.p/1"),
        (Tile(0, 999), "tile/0/999"),
        (Tile(None, 1_000_000), "tile/entries/x001/x000/000"),
    ],
)
def test_paths_are_in_groups_of_three_digits(tile: Tile, path: str) -> None:
    assert tile.path == path


def test_the_bundle_and_the_tile_of_the_reference_leaves_are_the_known_ones() -> None:
    bundle, tile = encode_bundle(known.LEAVES), hash_tile(Tile(0, 0, 8), grown(known.LEAVES))
    assert (len(bundle), sha256(bundle).hexdigest()) == (50, known.BUNDLE_8_SHA256)
    assert (len(tile), sha256(tile).hexdigest()) == (256, known.TILE_8_SHA256)


@pytest.mark.parametrize(
    ("size", "paths"),
    [
        (0, set()),
        (1, {"tile/0/000.p/1", "tile/entries/000.p/1"}),
        (255, {"tile/0/000.p/255", "tile/entries/000.p/255"}),
        (256, {"tile/0/000", "tile/entries/000", "tile/1/000.p/1"}),
        (257, {"tile/0/000", "tile/entries/000", "tile/1/000.p/1", "tile/0/001.p/1", "tile/entries/001.p/1"}),
    ],
)
def test_a_small_log_has_exactly_these_files(size: int, paths: set[str]) -> None:
    assert {tile.path for tile in tiles_between(0, size)} == paths


@pytest.mark.parametrize(
    ("size", "counts", "widths"),
    [
        (65_535, (256, 1, 0), (255, 255, 0)),
        (65_536, (256, 1, 1), (0, 0, 1)),
        (65_537, (257, 1, 1), (1, 0, 1)),
        (70_000, (274, 2, 1), (112, 17, 1)),
    ],
)
def test_a_large_log_has_as_many_tiles_as_its_levels_need(size: int, counts: tuple[int, ...], widths: tuple[int, ...]) -> None:
    tiles = list(tiles_between(0, size))
    assert tuple(sum(tile.level == level for tile in tiles) for level in range(3)) == counts
    ragged = {tile.level: tile.width for tile in tiles if tile.width < WIDTH}
    assert tuple(ragged.get(level, 0) for level in range(3)) == widths
    assert max(tile.level or 0 for tile in tiles) < 3


@given(st.integers(0, 70_000), st.integers(0, 70_000), st.integers(0, 70_000))
def test_growing_in_two_steps_writes_all_that_one_step_does(first: int, second: int, third: int) -> None:
    old, middle, new = sorted((first, second, third))
    in_two = {*tiles_between(old, middle), *tiles_between(middle, new)}
    assert set(tiles_between(old, new)) <= in_two
    assert all(0 < tile.width <= 256 for tile in in_two)
    assert set(edge_tiles(new)) <= {*tiles_between(0, new)}


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=256))
def test_a_bundle_reads_back_as_written(entries: list[bytes]) -> None:
    raw = encode_bundle(entries)
    assert decode_bundle(raw, len(entries)) == entries
    for wrong in (raw[:-1], raw + b"\x00", raw + b"\x00\x05"):
        with pytest.raises(MalformedTile, match="cut or padded"):
            decode_bundle(wrong, len(entries))


def test_a_full_bundle_serves_for_its_partial_and_no_other_width_does() -> None:
    entries = known.numbered(256)
    assert decode_bundle(encode_bundle(entries), 7) == entries[:7]
    with pytest.raises(MalformedTile, match="holds 8 entries"):
        decode_bundle(encode_bundle(entries[:8]), 7)


def test_the_largest_entry_fits_and_one_byte_more_does_not() -> None:
    assert decode_bundle(encode_bundle([bytes(MAX_ENTRY)]), 1) == [bytes(MAX_ENTRY)]
    with pytest.raises(EntryTooLarge, match="65536 bytes"):
        encode_bundle([bytes(MAX_ENTRY + 1)])


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 600])
def test_a_written_log_is_found_sound_and_gives_its_entries_back(tmp_path: Path, size: int) -> None:
    entries = known.numbered(size)
    tree = write_log(tmp_path, entries)
    assert check_log(tmp_path, known.UNWITNESSED).checkpoint == Checkpoint(known.ORIGIN, size, tree.root())
    reader = TileReader(folder_fetch(tmp_path), size)
    assert list(reader.read_entries(0, size)) == entries
    assert list(reader.read_entries(size // 3, size // 2)) == entries[size // 3 : size // 2]


def test_the_log_of_70000_entries_is_found_sound_and_proves_from_its_tiles(tmp_path: Path) -> None:
    tree = write_log(tmp_path, known.numbered(70_000))
    assert check_log(tmp_path, known.UNWITNESSED).checkpoint.root.hex() == known.NUMBERED_ROOTS[70_000]
    reader = TileReader(folder_fetch(tmp_path), 70_000)
    for index in (0, 255, 256, 65_535, 65_536, 69_999):
        proof = inclusion_proof(index, 70_000, reader.read_hash)
        verify_inclusion(leaf_hash(f"entry-{index}".encode()), index, 70_000, proof, tree.root())
    for old in (1, 255, 256, 257, 65_535, 65_536, 65_537):
        verify_consistency(old, 70_000, consistency_proof(old, 70_000, reader.read_hash), tree.root(old), tree.root())


def test_a_reader_takes_the_full_tile_when_the_partial_is_gone(tmp_path: Path) -> None:
    tree = write_log(tmp_path, known.numbered(256))
    reader = TileReader(folder_fetch(tmp_path), 100)  # a reader that still holds the checkpoint of size 100
    assert list(reader.read_entries(0, 100)) == known.numbered(100)
    verify_inclusion(leaf_hash(b"entry-7"), 7, 100, inclusion_proof(7, 100, reader.read_hash), tree.root(100))


def test_a_reader_asks_for_nothing_beyond_its_size(tmp_path: Path) -> None:
    write_log(tmp_path, known.numbered(10))
    reader = TileReader(folder_fetch(tmp_path), 10)
    with pytest.raises(ValueError, match="no entries"):
        list(reader.read_entries(0, 11))
    with pytest.raises(ValueError, match="no tile 1 of level 0"):
        reader.read_hash(0, 256)


def test_any_flipped_bit_and_any_missing_file_is_seen(tmp_path: Path) -> None:
    write_log(tmp_path, known.numbered(300))
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file() and path.name != "checkpoint")
    assert len(files) == 5
    for path in files:
        raw = path.read_bytes()
        for at in (0, len(raw) // 2, len(raw) - 1):
            path.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
            with pytest.raises((TreeMismatch, MalformedTile)):
                check_log(tmp_path, known.UNWITNESSED)
        path.unlink()
        with pytest.raises(Unavailable, match="cannot be read"):
            check_log(tmp_path, known.UNWITNESSED)
        path.write_bytes(raw)
    check_log(tmp_path, known.UNWITNESSED)


def test_tiles_that_agree_with_each_other_but_not_with_the_signed_root_are_seen(tmp_path: Path) -> None:
    signed = write_log(tmp_path / "signed", known.numbered(9))
    write_log(tmp_path / "served", [*known.numbered(8), b"another"])
    shutil.copy(tmp_path / "signed/checkpoint", tmp_path / "served/checkpoint")
    with pytest.raises(TreeMismatch, match="9 entries do not hash to the signed root"):
        check_log(tmp_path / "served", known.UNWITNESSED)
    assert check_log(tmp_path / "signed", known.UNWITNESSED).checkpoint.root == signed.root()


def test_an_old_partial_that_says_something_else_is_seen(tmp_path: Path) -> None:
    tree = write_log(tmp_path, known.numbered(300))
    old = tmp_path / "tile/0/000.p/9"
    old.parent.mkdir()
    old.write_bytes(tree.span(0, 0, 9))
    check_log(tmp_path, known.UNWITNESSED)
    old.write_bytes(tree.span(0, 1, 9))
    with pytest.raises(TreeMismatch, match=r"000\.p/9 does not begin"):
        check_log(tmp_path, known.UNWITNESSED)
    old.rename(old.with_name("256"))
    with pytest.raises(TreeMismatch, match=r"width outside 1\.\.255"):
        check_log(tmp_path, known.UNWITNESSED)


def test_a_truncated_tile_is_not_read_as_hashes(tmp_path: Path) -> None:
    write_log(tmp_path, known.numbered(10))
    path = tmp_path / "tile/0/000.p/10"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(MalformedTile, match="319 bytes, expected 320"):
        TileReader(folder_fetch(tmp_path), 10).read_hash(0, 0)
