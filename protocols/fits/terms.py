"""The words of every fit over a registered table: which days, and public functions of a row with values in [-1, 1].

A number is clamped to its public bounds and carried to [-1, 1]; a category is 1 where the row has it, else 0. A row that lacks a
value of the fit counts nowhere in it. Bounds are decimals in quotes: what is written is what is meant.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from protocols.query.domains import EARLIEST, LATEST, MAX_MONTHS, months_between
from protocols.statements.base import CatalogueId

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Catalogue = CatalogueId
Text = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,100}$")]
Unit = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{0,40}$")]
Number = Annotated[str, StringConstraints(pattern=r"^(0|-?(0\.[0-9]{0,8}[1-9]|[1-9][0-9]{0,11}(\.[0-9]{0,8}[1-9])?))$")]
"""One spelling a number: no leading or trailing zeros, no negative zero."""


class Term(BaseModel):
    """Exact fields, exact types, nothing shown of a bad value."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class Span(Term):
    """Days [start, end)."""

    start: date = Field(alias="from")
    end: date = Field(alias="to")

    @property
    def months(self) -> tuple[str, ...]:
        return months_between(self.start, self.end)

    def require_sound(self) -> None:
        """Raises ValueError for a period that is empty, too long, or out of the calendar."""
        if not EARLIEST <= self.start < self.end <= LATEST:
            raise ValueError(f"the period is not empty and lies in {EARLIEST} to {LATEST}")
        if len(self.months) > MAX_MONTHS:
            raise ValueError(f"the period has at most {MAX_MONTHS} months")


class Numeric(Term):
    """A number of the row, as (x - middle) / half within its public bounds."""

    column: Name
    low: Number
    high: Number
    unit: Unit = ""

    @model_validator(mode="after")
    def _is_a_range(self) -> Numeric:
        if not float(self.low) < float(self.high):
            raise ValueError("low is below high")
        return self

    @property
    def middle(self) -> float:
        return (float(self.low) + float(self.high)) / 2

    @property
    def half(self) -> float:
        return (float(self.high) - float(self.low)) / 2

    @property
    def label(self) -> str:
        return self.column


class Category(Term):
    """1 where the row's column is this category, else 0."""

    column: Name
    category: Text

    @property
    def label(self) -> str:
        return f"{self.column}={self.category}"


Variable = Numeric | Category
INTERCEPT = "intercept"
