"""Whether a fit asks of a table what a hospital declares of it: catalogue, dates, columns, units, categories. No row is read.

The hospital judges by its own schema before its Ready; the coordinator, earlier, by what the hospital has stated in the ledger.
"""

from collections.abc import Iterator
from typing import Protocol

from protocols.fits.shape import Fit
from protocols.fits.terms import Numeric, Variable
from protocols.refusal import Reason, Refusal
from protocols.statements import DeclaredColumn


class Declared(Protocol):
    """A table as a hospital states it in public."""

    @property
    def catalogue(self) -> str: ...
    @property
    def is_dated(self) -> bool: ...
    @property
    def columns(self) -> tuple[DeclaredColumn, ...]: ...


def table_differences(spec: Fit, held: Declared | None) -> list[Refusal]:
    """Everything that the table is not, each named by its column; an empty list is consent. None: no table of this name."""
    if held is None:
        return [Refusal(Reason.TABLE_NOT_REGISTERED, "a table registered here", "none", spec.table)]
    columns = {each.name: each for each in held.columns}
    found = [each for variable in spec.variables for each in _column(variable, columns.get(variable.column))]
    return [*_blocks(spec, held), *dict.fromkeys(found)]


def _blocks(spec: Fit, held: Declared) -> Iterator[Refusal]:
    if held.catalogue != spec.catalogue:
        yield Refusal(Reason.TABLE_DIFFERS, held.catalogue, spec.catalogue, "catalogue")
    if held.is_dated != (spec.period is not None):
        wanted = "a period, since rows have dates" if held.is_dated else "no period, since rows have no dates"
        yield Refusal(Reason.TABLE_DIFFERS, wanted, "the other", "period")


def _column(variable: Variable, held: DeclaredColumn | None) -> Iterator[Refusal]:
    if held is None:
        yield Refusal(Reason.TABLE_DIFFERS, "a column of the table", "none", variable.column)
    elif isinstance(variable, Numeric):
        yield from _number(variable, held)
    elif held.type != "category":
        yield Refusal(Reason.TABLE_DIFFERS, "a column of numbers", "one of categories", variable.column)
    elif variable.category not in held.categories:
        yield Refusal(Reason.TABLE_DIFFERS, ", ".join(held.categories)[:200], variable.category, variable.column)


def _number(variable: Numeric, held: DeclaredColumn) -> Iterator[Refusal]:
    if held.type != "number":
        yield Refusal(Reason.TABLE_DIFFERS, "a column of categories", "one of numbers", variable.column)
    elif held.unit != variable.unit:
        yield Refusal(Reason.TABLE_DIFFERS, held.unit or "no unit", variable.unit or "no unit", variable.column)
