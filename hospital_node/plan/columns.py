"""The only tables and columns a plan may read; everything a plan's SQL names comes from here.

The same list builds the empty copy that `probe` runs a plan on, so that a plan naming a column that is not here fails at
the probe and not at the first question.
"""

from __future__ import annotations

from dataclasses import dataclass

from protocols.query import Table

_COPIED_AT_THE_EVENT = {"district": "VARCHAR", "sex": "VARCHAR", "age": "SMALLINT"}


@dataclass(frozen=True, slots=True)
class Relation:
    """Where a table of the language lives in the records database; `date` is its one accounting date."""

    name: str
    date: str | None
    columns: dict[str, str]

    def __post_init__(self) -> None:
        if self.date is not None and self.date not in self.columns:
            raise AssertionError(f"relation {self.name}: its date is not one of its columns")

    def column(self, name: str) -> str:
        """The quoted name of a whitelisted column."""
        if name not in self.columns:
            raise AssertionError(f"relation {self.name}: column {name} is not on the list a plan may read")
        return f'"{name}"'

    @property
    def empty_copy(self) -> str:
        """The statement that creates this table without rows."""
        return f'CREATE TABLE "{self.name}" ({", ".join(f"{self.column(name)} {kind}" for name, kind in self.columns.items())})'


def _events(name: str, date: str, **own: str) -> Relation:
    return Relation(name, date, {"person_id": "BIGINT", date: "DATE", **own, **_COPIED_AT_THE_EVENT})


RELATIONS: dict[Table, Relation] = {
    Table.VISITS: _events("visit_occurrence", "visit_date", visit_class="VARCHAR"),
    Table.DIAGNOSES: _events("condition_occurrence", "condition_date", icd10="VARCHAR"),
    Table.MEASUREMENTS: _events("measurement", "measurement_date", loinc="VARCHAR", value="DECIMAL(18,6)"),
    Table.PATIENTS: Relation(
        "person", None, {"person_id": "BIGINT", "birth_date": "DATE", "sex": "VARCHAR", "district": "VARCHAR"}
    ),
}
