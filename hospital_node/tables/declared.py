"""What is declared of registered tables: `<home>/tables/<name>.toml`, the very file that IT wrote for each.

The rows and the schema that counts stand in the records; this folder is what policy, catalogue and doctor read beside them.
"""

import os
from pathlib import Path

from hospital_node.tables.schema import TableSchema, read_schema

FOLDER = "tables"


def declared(home: Path) -> dict[str, TableSchema]:
    """By name. Raises InvalidSchema."""
    return {path.stem: read_schema(path) for path in sorted((home / FOLDER).glob("*.toml"))}


def names(home: Path) -> list[str]:
    """Of the tables that a policy may permit beside the records' own."""
    return sorted(path.stem for path in (home / FOLDER).glob("*.toml"))


def declare(home: Path, name: str, text: bytes) -> None:
    folder = home / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    draft = folder / f"{name}.draft"
    with draft.open("wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(folder / f"{name}.toml")


def withdraw(home: Path, name: str) -> None:
    (home / FOLDER / f"{name}.toml").unlink(missing_ok=True)
