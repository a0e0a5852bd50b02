"""One flipped bit, in any kind of file of the append path or of a witness: found at the next open, and the file is named.

A flip that changes nothing of what is remembered (free room of a database page, a header's counter) may pass: then everything that
was there is there still. Bits are taken at even distances over each file, so that every page and every kind of cell is met.
"""

import re
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from audit_ledger.errors import LedgerError, Tampering, WitnessDamaged, WrongLogKey
from audit_ledger.tiles import check_log
from audit_ledger.witness import AddCheckpoint
from tests.audit_ledger import known
from tests.audit_ledger.test_log import keyed, open_log
from tests.audit_ledger.test_witness import open_witness

SIZE = 300
SAMPLES = 60


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of 300 entries, published, and a witness that cosigned it."""
    home = tmp_path_factory.mktemp("whole")
    with open_log(home) as log:
        log.append(keyed(known.numbered(SIZE))).result()
        note = log.checkpoint_covering(SIZE)
        witness = open_witness(home)
        assert witness.add_checkpoint(AddCheckpoint(0, (), note).encode()).status == 200
        witness.close()
        assert log.publish(note)
    return home


def flipped(whole: Path, home: Path, name: str, samples: int = 12) -> Iterator[Path]:
    """The same home again and again, each time with another bit of one file flipped."""
    raw = (whole / name).read_bytes()
    for at in range(0, 8 * len(raw), max(1, 8 * len(raw) // samples) | 1):
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(whole, home)
        changed = bytearray(raw)
        changed[at // 8] ^= 1 << at % 8
        (home / name).write_bytes(changed)
        yield home


def test_in_the_logs_database_it_is_found_or_nothing_was_lost(whole: Path, tmp_path: Path) -> None:
    found = 0
    for home in flipped(whole, tmp_path / "home", "log.sqlite", SAMPLES):
        try:
            with open_log(home) as log:
                assert log.entries(0, SIZE) == known.numbered(SIZE)
                assert log.append(keyed(known.numbered(SIZE))).result() == list(range(SIZE))  # the keys too
        except LedgerError as error:
            found += 1
            assert isinstance(error, Tampering | WrongLogKey), error  # noqa: PT017 - it may also pass
            assert re.search("log database log.sqlite|of our entries|signed checkpoint|log was made with key", str(error))  # noqa: PT017
    assert found > SAMPLES // 3


def test_in_a_witnesss_database_it_is_found_or_nothing_was_forgotten(whole: Path, tmp_path: Path) -> None:
    honest = open_witness(whole)
    remembered = honest.latest(known.ORIGIN)
    honest.close()
    found = 0
    for home in flipped(whole, tmp_path / "home", "witness.sqlite", SAMPLES):
        try:
            witness = open_witness(home)
        except WitnessDamaged as error:
            found += 1
            assert "witness database witness.sqlite is damaged" in str(error)  # noqa: PT017
            assert "pin every log" in str(error)  # noqa: PT017
        else:
            assert witness.latest(known.ORIGIN) == remembered
            witness.close()
    assert found > 2


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("public/checkpoint", "published checkpoint"),
        ("public/tile/entries/001.p/44", "tile/entries/001.p/44"),
        ("public/tile/0/001.p/44", "tile/0/001.p/44"),
        ("public/tile/1/000.p/1", "tile/1/000.p/1"),
    ],
)
def test_at_the_edge_of_the_published_log_it_is_found_at_the_next_open(whole: Path, tmp_path: Path, name: str, named: str) -> None:
    for home in flipped(whole, tmp_path / "home", name):
        with pytest.raises(Tampering, match=named):
            open_log(home)


@pytest.mark.parametrize("name", ["tile/0/000", "tile/entries/000"])
def test_behind_the_edge_it_is_found_by_the_nightly_check(whole: Path, tmp_path: Path, name: str) -> None:
    for home in flipped(whole, tmp_path / "home", f"public/{name}"):
        with pytest.raises(LedgerError, match=r"tile/0/000|hash to the signed root|entry bundle"):
            check_log(home / "public", known.UNWITNESSED)


def test_a_key_changed_by_hand_is_found_before_an_entry_is_logged_twice(whole: Path, tmp_path: Path) -> None:
    """The tree does not cover keys; the index does."""
    home = tmp_path / "home"
    shutil.copytree(whole, home)
    raw = (home / "log.sqlite").read_bytes()
    key = keyed([b"entry-137"])[0][0]
    at = raw.index(key)
    (home / "log.sqlite").write_bytes(raw[:at] + bytes([key[0] ^ 1]) + raw[at + 1 :])
    assert sqlite3.connect(home / "log.sqlite").execute("SELECT count(*) FROM entry").fetchone() == (SIZE,)
    with pytest.raises(Tampering, match=r"log database log.sqlite is damaged"):
        open_log(home)
