"""What only a simulation may do: read the hospitals' bounding keys, to know the exact sums that the noise was added to."""

import sqlite3
from pathlib import Path

from simulations.town import Town


def bounding_keys(town: Town) -> dict[Path, bytes]:
    """Records folder → the key by which that hospital chose its patients' cells."""
    return {town.node(name) / "records": _key(town.node(name) / "journal.sqlite") for name in town.hospitals}


def _key(journal: Path) -> bytes:
    with sqlite3.connect(f"file:{journal}?mode=ro", uri=True) as database:
        rows = database.execute("SELECT key FROM bounding ORDER BY period DESC").fetchall()
    return bytes(rows[0][0])
