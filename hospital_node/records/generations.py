"""One records file is in force at a time; an import builds the next beside it and swaps a pointer, or leaves no trace.

Rules
- `<folder>/CURRENT` names the generation in force; `<folder>/<generation>.duckdb` is never written again once named there.
- The next generation starts as a copy of the one in force, is built as `<generation>.building`, and reaches the disk
  (fsync of file and folder) before the pointer does. A kill at any line leaves the old generation in force.
- The last two generations stay; a reader that holds an older one keeps it until it closes (POSIX unlink).
- One import at a time, by a lock the kernel drops with the process.
"""

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hospital_node.records.errors import ImportRunning, NoRecords, StoreFailed

POINTER = "CURRENT"
KEPT = 2
_NAME = re.compile(r"g\d{8}")


def generation_in_force(folder: Path) -> str | None:
    """The name in the pointer file, or None before the first import.

    Raises:
        StoreFailed: the pointer does not hold the name of a generation.
    """
    try:
        name = (folder / POINTER).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as cause:
        raise StoreFailed(f"{folder / POINTER}: cannot be read") from cause
    if not _NAME.fullmatch(name):
        raise StoreFailed(f"{folder / POINTER}: expected a generation such as g00000001")
    return name


def file_in_force(folder: Path) -> Path:
    """The records file to read.

    Raises:
        NoRecords: nothing was imported yet, or the file the pointer names is gone.
    """
    name = generation_in_force(folder)
    if name is None:
        raise NoRecords(f"{folder}: no records yet, import some first")
    path = folder / f"{name}.duckdb"
    if not path.is_file():
        raise NoRecords(f"{folder}: {POINTER} names {name}, which is not there")
    return path


@contextmanager
def next_generation(folder: Path) -> Iterator[Path]:
    """Yields the file to build in, a copy of the one in force (absent at the first import); swaps it in on a clean exit.

    Raises:
        ImportRunning: another process imports into this folder.
        StoreFailed: the disk refused.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _only_importer(folder):
            yield from _build(folder)
    except OSError as cause:
        raise StoreFailed(f"{folder}: {cause.strerror or 'the disk refused'}") from cause


def _build(folder: Path) -> Iterator[Path]:
    _remove_unfinished(folder)
    current = generation_in_force(folder)
    name = f"g{int(current[1:]) + 1 if current else 1:08d}"
    building = folder / f"{name}.building"
    if current:
        shutil.copyfile(file_in_force(folder), building)
    try:
        yield building
        building.chmod(0o600)
        _sync(building)
        # A crash after this rename leaves a finished file that nothing names; the next import writes over it.
        building.replace(folder / f"{name}.duckdb")
        _sync(folder)
        _point_at(folder, name)
    finally:
        _remove_unfinished(folder)
    _forget_old(folder)


@contextmanager
def _only_importer(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder / "LOCK", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as cause:
            raise ImportRunning(f"{folder}: another import is at work, wait for it to end") from cause
        yield
    finally:
        os.close(descriptor)


def _point_at(folder: Path, name: str) -> None:
    draft = folder / f"{POINTER}.building"
    draft.write_text(name + "\n", encoding="ascii")
    _sync(draft)
    draft.replace(folder / POINTER)  # the swap: before this line the old generation is in force, after it the new one
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_unfinished(folder: Path) -> None:
    for path in [*folder.glob("*.building"), *folder.glob("*.building.wal")]:
        path.unlink(missing_ok=True)
    for path in folder.glob("*.building.spill"):
        shutil.rmtree(path, ignore_errors=True)


def _forget_old(folder: Path) -> None:
    for path in sorted(folder.glob("g*.duckdb"))[:-KEPT]:
        with suppress(OSError):  # a file that will not go is a matter of disk space, not of the import
            path.unlink()
