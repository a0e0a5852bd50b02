"""The hash of a study: names and bytes of every file of its package, taken without importing it."""

import hashlib
import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path

_IGNORED = {"__pycache__"}


def package_hash(module: str) -> str | None:
    """Of all files of the module's package, or of its one file; None where there is none."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None:
        return None
    origin = Path(spec.origin)
    return files_hash(origin.parent, _files(origin.parent) if spec.submodule_search_locations else [origin])


def files_hash(root: Path, files: Iterable[Path]) -> str:
    """Names and bytes, each with its length, in the order of the names."""
    digest = hashlib.sha256(b"kapok study v1\0")
    for name, path in sorted((path.relative_to(root).as_posix(), path) for path in files):
        for part in (name.encode(), path.read_bytes()):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and not _IGNORED & set(path.relative_to(folder).parts))
