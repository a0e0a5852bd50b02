"""The cities the tests look at, built once: a usual one and its FHIR files read back line by line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson

from simulations.city.city import City

Resource = dict[str, Any]
KINDS = ("Patient", "Encounter", "Condition", "Observation")


def resources(folder: Path, kind: str) -> list[Resource]:
    """The readable resources of one kind in one hospital's folder."""
    readable = []
    for line in (folder / f"{kind}.ndjson").read_bytes().splitlines():
        try:
            parsed = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(parsed, dict):
            readable.append(parsed)
    return readable


def arrays(city: City) -> dict[str, np.ndarray[Any, Any]]:
    """Every array of the city by name."""
    parts = {name: getattr(city, name) for name in ("residents", "visits", "diagnoses", "measurements")}
    columns = {f"{part}.{name}": getattr(table, name) for part, table in parts.items() for name in table.__dataclass_fields__}
    return columns | {"hospital": city.hospital}
