"""A file system of its own that is soon full, as a real one is full: ENOSPC from the kernel."""

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """Mounted at `place` while it is used. `size` as mount writes it."""
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(place)], capture_output=True, check=False)
    if mounted.returncode:
        assert os.environ.get("CI") != "true", "a tmpfs could not be mounted"
        pytest.skip("a tmpfs could not be mounted: not root here")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@contextmanager
def filled(place: Path, databases: Path) -> Iterator[None]:
    """No byte is free while this lasts; nor has any SQLite file below `databases` a write-ahead log with room in it."""
    for each in databases.glob("*.sqlite"):
        database = sqlite3.connect(each)
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.close()
    ballast = place / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    try:
        yield
    finally:
        ballast.unlink()
