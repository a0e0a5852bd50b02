"""One hospital's rows as the files that its IT would write: a CSV and the schema beside it, and the table they become.

Hospitals of a cohort state the same columns, bounds and categories; only rows differ.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from hospital_node.records.schema import open_read_only
from hospital_node.tables.registering import add_table
from hospital_node.tables.schema import read_schema

Row = Mapping[str, str]
MISSING = "?"


@dataclass(frozen=True, slots=True)
class Cohort:
    """What every hospital states of the table: numbers with their bounds and unit, categories with their values."""

    name: str
    catalogue: str
    title: str
    numbers: Mapping[str, tuple[str, str, str]]
    categories: Mapping[str, Sequence[str]]

    @property
    def columns(self) -> list[str]:
        return [*self.numbers, *self.categories]

    def schema(self) -> str:
        """The TOML file."""
        lines = [f'catalogue = "{self.catalogue}"', f'title = "{self.title}"']
        for name, (low, high, unit) in self.numbers.items():
            bounds = f'low = "{low}"\nhigh = "{high}"\nunit = "{unit}"\nmissing = ["{MISSING}"]'
            lines.append(f'[[column]]\nname = "{name}"\ntype = "number"\n{bounds}')
        for name, values in self.categories.items():
            listed = json.dumps(list(values))
            lines.append(f'[[column]]\nname = "{name}"\ntype = "category"\ncategories = {listed}\nmissing = ["{MISSING}"]')
        return "\n".join([*lines, ""])

    def number(self, name: str) -> dict[str, Any]:
        """As a fit names it, with its public bounds."""
        low, high, unit = self.numbers[name]
        return {"column": name, "low": low, "high": high, "unit": unit}

    def dummies(self, name: str) -> list[dict[str, Any]]:
        """Every category but the first, which the others are compared with."""
        return [{"column": name, "category": each} for each in self.categories[name][1:]]

    def head(self) -> dict[str, Any]:
        """What every fit of this table states first."""
        return {"version": 2, "table": self.name, "catalogue": self.catalogue, "period": None, "rows_per_patient": 1}

    def write(self, folder: Path, rows: Sequence[Row]) -> tuple[Path, Path]:
        """The CSV and its schema."""
        folder.mkdir(parents=True, exist_ok=True)
        table, schema = folder / f"{self.name}.csv", folder / f"{self.name}.toml"
        schema.write_text(self.schema())
        with table.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(self.columns)
            writer.writerows([row[name] for name in self.columns] for row in rows)
        return table, schema

    def registered(self, folder: Path, rows: Sequence[Row]) -> duckdb.DuckDBPyConnection:
        """The records of a hospital that registered these rows."""
        table, schema = self.write(folder, rows)
        add_table(folder / "records", self.name, table, read_schema(schema))
        return open_read_only(folder / "records")
