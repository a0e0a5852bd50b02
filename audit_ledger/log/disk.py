"""Every call of the append path that changes a disk, one method each, so that a test can break each of them.

Nothing here retries. After a failed fsync the kernel may have dropped the pages and reports the error once only: the
caller stops and opens anew.
"""

import os
import shutil
import sqlite3
from pathlib import Path


class Disk:
    """The operating system's disk."""

    def write(self, path: Path, content: bytes) -> None:
        """Write a new file. Not durable yet."""
        with path.open("xb") as file:
            file.write(content)

    def sync(self, path: Path) -> None:
        """Make a file's content durable."""
        _sync(path, os.O_RDONLY)

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name, which must be free."""
        os.link(source, target)

    def rename(self, source: Path, target: Path) -> None:
        """Replace `target` in one step."""
        source.rename(target)

    def remove(self, path: Path) -> None:
        """Take a name away."""
        path.unlink()

    def make_folder(self, path: Path) -> None:
        """Make one folder, or leave the one that is there."""
        path.mkdir(exist_ok=True)

    def sync_folder(self, path: Path) -> None:
        """Make the names in a folder durable."""
        _sync(path, os.O_RDONLY | os.O_DIRECTORY)

    def remove_tree(self, path: Path) -> None:
        """Take a folder away with all it holds."""
        shutil.rmtree(path)

    def commit(self, connection: sqlite3.Connection) -> None:
        """Make the open transaction durable."""
        connection.execute("COMMIT")


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
