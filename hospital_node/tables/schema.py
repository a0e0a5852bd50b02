"""What a registered table is, as IT declares it in a TOML file: its columns with public bounds, never a count of anything.

Rules
- A table has one public date column, or none. With one, a row's block is the month of its date; without one the whole table is the
  one block `static:<catalogue>`, and renaming the table resets nothing (privacy choice 1).
- `patient` names the column that tells patients apart; without it every row is a patient of its own.
- A number has public bounds, to which it is clamped wherever it is used; a category is one of a public list.
- Values that stand for "missing" are listed; an empty cell always is.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, ValidationError, model_validator

from hospital_node.config import Settings
from hospital_node.records.errors import InvalidSchema
from protocols.clock import stamp
from protocols.fits.terms import Catalogue, Name, Number, Text, Unit
from protocols.query import Table
from protocols.statements import DeclaredColumn, Registration

Day = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
_MISSING: list[str] = []


class NumberColumn(Settings):
    """A measured or counted number."""

    name: Name
    type: Literal["number"]
    low: Number
    high: Number
    unit: Unit = ""
    source: Text | None = None
    missing: list[Text] = Field(default_factory=lambda: list(_MISSING))

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if not float(self.low) < float(self.high):
            raise ValueError("low is below high")
        return self


class CategoryColumn(Settings):
    """One of a list; `source` is the header in the file, where that differs from the name."""

    name: Name
    type: Literal["category"]
    categories: list[Text] = Field(min_length=2, max_length=200)
    source: Text | None = None
    missing: list[Text] = Field(default_factory=lambda: list(_MISSING))

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        if len(set(self.categories)) != len(self.categories) or set(self.categories) & set(self.missing):
            raise ValueError("each category once, and none of them is also missing")
        return self


Column = Annotated[NumberColumn | CategoryColumn, Field(discriminator="type")]


class TableSchema(Settings):
    """The whole file."""

    catalogue: Catalogue
    title: Text
    patient: Text | None = None
    date: Text | None = None
    size_class: int = Field(default=20, ge=10, le=34)
    first_day: Text = "-"
    last_day: Text = "-"
    column: list[Column] = Field(min_length=1, max_length=200)

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        names = [each.name for each in self.column]
        if len(set(names)) != len(names):
            raise ValueError("column: each name once")
        return self

    @property
    def static_block(self) -> str | None:
        """The one block that pays, of a table without dates."""
        return None if self.date else f"static:{self.catalogue}"

    def statement(self, origin: str, uri: str, now: int, table: str) -> Registration:
        """What the ledger is told of it."""
        return Registration(
            log=origin,
            at=stamp(now),
            by=uri,
            table=table,
            catalogue=self.catalogue,
            title=self.title,
            is_dated=self.is_dated,
            size_class=self.size_class,
            first_day=self.first_day,
            last_day=self.last_day,
            columns=self.columns,
        )

    @property
    def is_dated(self) -> bool:
        return self.date is not None

    @property
    def columns(self) -> tuple[DeclaredColumn, ...]:
        """As they are stated."""
        return tuple(_declared(each) for each in self.column)

    @property
    def headers(self) -> list[str]:
        """The file's columns that are read, in order: the patient and the date where there are, then the others."""
        first = [each for each in (self.patient, self.date) if each]
        return [*first, *(each.source or each.name for each in self.column)]


def _declared(column: NumberColumn | CategoryColumn) -> DeclaredColumn:
    if isinstance(column, CategoryColumn):
        return DeclaredColumn(name=column.name, type="category", unit="", low="", high="", categories=tuple(column.categories))
    return DeclaredColumn(name=column.name, type="number", unit=column.unit, low=column.low, high=column.high, categories=())


def read_schema(path: Path) -> TableSchema:
    """Raises InvalidSchema with the place of what is wrong."""
    try:
        return TableSchema.model_validate(tomllib.loads(path.read_text("utf-8-sig")))
    except OSError as error:
        raise InvalidSchema(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSchema(f"{path}: not TOML: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise InvalidSchema(f"{path}: {'.'.join(map(str, first['loc'])) or 'file'}: {first['msg']}") from None


def require_name(name: str) -> None:
    """Raises InvalidSchema for a name that cannot be a registered table's."""
    if (
        not (name and name[0].isascii() and name[0].islower() and name.replace("_", "a").isalnum() and name.isascii())
        or len(name) > 63
    ):
        raise InvalidSchema("a table's name is lower-case letters, digits and _, at most 63, and begins with a letter")
    if name != name.lower() or name in {str(each) for each in Table}:
        raise InvalidSchema(f"{name}: in lower case, and not one of {', '.join(Table)}")


EXAMPLE = """\
# What this hospital declares of a research table. Written by people, never computed from the rows.
# 研究数据表的公开说明，由信息科填写，不从数据计算。
catalogue = "heart-2026"        # the block that pays; a new one needs the auditor's approval
title = "heart disease, complete work-ups"
patient = "patient_id"          # leave out where every row is a patient of its own
# date = "admitted"             # a public date column: then months pay, and not the catalogue
size_class = 20                 # fewer than 2^20 rows

[[column]]
name = "age"
type = "number"
low = "20"
high = "80"
unit = "years"
missing = ["?", "-9"]

[[column]]
name = "sex"
type = "category"
categories = ["female", "male"]
"""
