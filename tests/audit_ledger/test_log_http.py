"""The log as static files over real HTTP: names, types, what caches may keep, and nothing else is there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from audit_ledger.errors import MalformedTile
from audit_ledger.fetching import http_fetch
from audit_ledger.log_http import log_app
from audit_ledger.tiles import Tile, TileReader
from tests.audit_ledger import known
from tests.audit_ledger.test_log import keyed, open_log
from tests.support.http import ask, served

IMMUTABLE = "public, max-age=31536000, immutable"
SECRET = b"outside of the published folder"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 entries, published at 100 (whose partials are gone by now) and at 300."""
    home = tmp_path_factory.mktemp("log")
    with open_log(home) as log:
        for size in (100, 300):
            log.append(keyed(known.numbered(size - log.size, start=log.size))).result()
            assert log.publish(log.checkpoint_covering(size))
    (home / "secret").write_bytes(SECRET)
    (home / "public" / "tile" / "0" / "note.txt").write_bytes(SECRET)
    return home


@pytest.fixture(scope="module")
def url(home: Path) -> Iterator[str]:
    with served(log_app(home / "public")) as url:
        yield url


def test_the_checkpoint_is_text_that_caches_keep_for_a_moment(url: str, home: Path) -> None:
    answer, body = ask(url, "GET", "/checkpoint")
    assert (answer.status, answer.getheader("Content-Type")) == (200, "text/plain; charset=utf-8")
    assert answer.getheader("Cache-Control") == "public, max-age=1"
    assert body == (home / "public/checkpoint").read_bytes()


@pytest.mark.parametrize("path", ["tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/000", "tile/entries/001.p/44"])
def test_a_tile_is_bytes_that_caches_keep_for_good(url: str, home: Path, path: str) -> None:
    answer, body = ask(url, "GET", f"/{path}")
    assert (answer.status, answer.getheader("Content-Type")) == (200, "application/octet-stream")
    assert answer.getheader("Cache-Control") == IMMUTABLE
    assert body == (home / "public" / path).read_bytes()
    head, nothing = ask(url, "HEAD", f"/{path}")
    assert (head.status, head.getheader("Content-Length"), nothing) == (200, str(len(body)), b"")


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/000.p/100",  # its full tile is published: the reader takes that one
        "tile/0/001.p/45",  # beyond what is published
        "tile/0/002",
        "tile/2/000.p/1",
        "tile/0/000.p/256",
        "tile/0/000.p/0",
        "tile/0/000.p/044",
        "tile/0/0",
        "tile/0/x000/000",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/0/note.txt",
        "tile/0/",
        "tile/",
        "",
        "checkpoint/",
        "secret",
        "../secret",
        "tile/../../secret",
        "tile/0/..%2f..%2f..%2fsecret",
        "%2e%2e/secret",
        "tile/%2e%2e/%2e%2e/secret",
        "tile/0/000%00",
        "//secret",
        "tile/0/٠٠٠",
        ".staging",
    ],
)
def test_nothing_else_is_there_and_no_cache_keeps_that(url: str, path: str) -> None:
    answer, body = ask(url, "GET", "/" + "".join(c if c.isascii() else "".join(f"%{b:02X}" for b in c.encode()) for c in path))
    assert answer.status == 404
    assert SECRET not in body
    assert answer.getheader("Cache-Control") == "no-store"


def test_a_readers_log_takes_nothing(url: str) -> None:
    assert ask(url, "POST", "/add", b"{}")[0].status == 404
    assert ask(url, "POST", "/checkpoint", b"{}")[0].status == 405
    assert ask(url, "PUT", "/tile/0/000", b"{}")[0].status == 405


def test_a_log_before_its_first_checkpoint_has_none(tmp_path: Path) -> None:
    with open_log(tmp_path), served(log_app(tmp_path / "public")) as url:
        assert ask(url, "GET", "/checkpoint")[0].status == 404


def test_the_auditors_reader_takes_the_full_tile_for_a_partial_that_is_gone(url: str) -> None:
    reader = TileReader(http_fetch(url), 100)
    assert list(reader.read_entries(0, 100)) == known.numbered(100)
    assert len(reader.read_hash(0, 99)) == 32


@pytest.mark.parametrize("index", [0, 255, 999, 1_000, 1_234_067, 10**12])
@pytest.mark.parametrize("width", [1, 255, 256])
@pytest.mark.parametrize("level", [None, 0, 9, 63])
def test_a_tiles_path_has_one_spelling(level: int | None, index: int, width: int) -> None:
    tile = Tile(level, index, width)
    assert Tile.parse(tile.path) == tile
    for other in (f"{tile.path}/", f"/{tile.path}", tile.path.replace("tile/", "tile/x000/"), f"{tile.path}\n"):
        with pytest.raises(MalformedTile, match=r"path of a tile|one spelling"):
            Tile.parse(other)
