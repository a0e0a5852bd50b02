"""The published folder: immutable files made once, and one `checkpoint` that is replaced in one step.

Rules
- A file gets its name only when its bytes are durable (staged, fsynced, linked); then its folder is fsynced.
- A file that is already there must hold the same bytes: recovery writes the same tiles again. Other bytes mean that
  disk and database disagree about the past, which no retry can heal (TreeMismatch).
- A crash between staging and linking leaves a stray in `.staging`, swept at the next open.
"""

from contextlib import suppress
from itertools import count
from pathlib import Path

from audit_ledger.errors import TreeMismatch
from audit_ledger.log.disk import Disk
from audit_ledger.tiles import WIDTH, tiles_between

_STAGING = ".staging"


class PublishedFolder:
    """What the world may read. For one thread at a time."""

    def __init__(self, root: Path, disk: Disk) -> None:
        self._root = root
        self._disk = disk
        self._names = count()
        self._durable: set[Path] = set()  # folders whose own names this process has seen fsynced
        self._unsynced: set[Path] = set()
        self._ensure(root / _STAGING)
        for stray in (root / _STAGING).iterdir():
            disk.remove(stray)

    def read(self, path: str) -> bytes | None:
        """A file's bytes, None if it is not there."""
        try:
            return (self._root / path).read_bytes()
        except FileNotFoundError:
            return None

    def create(self, path: str, content: bytes) -> None:
        """Make an immutable file. Durable after the next `sync`. Raises TreeMismatch."""
        target = self._root / path
        self._ensure(target.parent)
        found = self.read(path)
        if found is None:
            staged = self._stage(content)
            self._disk.link(staged, target)
            self._disk.remove(staged)
        elif found != content:
            raise TreeMismatch(f"log file {path} is there with other bytes than its entries give")
        self._unsynced.add(target.parent)

    def sync(self) -> None:
        """Make every name given since the last call durable."""
        for folder in sorted(self._unsynced):
            self._disk.sync_folder(folder)
        self._unsynced.clear()

    def replace(self, path: str, content: bytes) -> None:
        """Put a new version of a file in place; a reader sees the old one or the new one. Durable on return."""
        self._disk.rename(self._stage(content), self._root / path)
        self._disk.sync_folder(self._root)

    def drop_partials(self, old: int, new: int) -> None:
        """Remove the partials of tiles that became full between two PUBLISHED sizes; readers fall back to the full.

        What cannot be removed stays and harms nobody: the next open tries again.
        """
        for tile in tiles_between(old, new):
            partials = self._root / f"{tile.path}.p"
            if tile.width == WIDTH and partials.exists():
                with suppress(OSError):
                    self._disk.remove_tree(partials)

    def _stage(self, content: bytes) -> Path:
        staged = self._root / _STAGING / str(next(self._names))
        self._disk.write(staged, content)
        self._disk.sync(staged)
        return staged

    def _ensure(self, folder: Path) -> None:
        if folder in self._durable:
            return
        if folder != self._root:
            self._ensure(folder.parent)
        self._disk.make_folder(folder)
        self._disk.sync_folder(folder.parent)  # also for one that was there: the run that made it may have failed here
        self._durable.add(folder)
