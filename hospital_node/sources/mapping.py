"""`source.toml`: which database, which login, and which table and column mean what. Strict: every key of the example, no other.

Rules
- A relation is one table or view. District, sex and age (or birth date) stand in the event's own relation, as recorded then: the
  blocks of a question pay for the event's rows and for no other table.
- A resident's number stands in `patients` alone: whose tag it becomes is a matter of no month's rows.
- The password stands in a file of its own that only its owner can read.
"""

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hospital_node.records.codes import ICD10
from hospital_node.records.csv_mapping import VisitClass
from hospital_node.sources.errors import InvalidSource
from protocols.query import Table

SOURCE_FILE = "source.toml"
Engine = Literal["postgresql", "mysql", "oracle", "spark"]
Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\"`]+$")]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class Database(_Section):
    """Where the server is and as whom it is asked. `host` of Spark is its master, such as local[2]."""

    engine: Engine
    host: str
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    name: str = ""
    user: str = ""
    password_file: str | None = None
    timeout_s: Annotated[int, Field(ge=1, le=600)] = 20


class MappedTable(_Section):
    """One relation. `kinds` and `codes` translate the hospital's own words; what they do not name is OTHER, and no code."""

    relation: Annotated[list[Name], Field(min_length=1, max_length=2)]
    person: Name
    date: Name | None = None
    id: Name | None = None
    sex: Name | None = None
    district: Name | None = None
    birth_date: Name | None = None
    age: Name | None = None
    kind: Name | None = None
    kinds: dict[str, VisitClass] = {}
    code: Name | None = None
    system: str = ICD10
    codes: dict[str, Annotated[str, Field(pattern=r"^\d{1,7}-\d$")]] = {}
    value: Name | None = None
    resident: Name | None = None

    @property
    def named(self) -> tuple[str, ...]:
        """Every column that the mapping names."""
        fields = (
            self.person,
            self.date,
            self.id,
            self.sex,
            self.district,
            self.birth_date,
            self.age,
            self.kind,
            self.code,
            self.value,
            self.resident,
        )
        return tuple(dict.fromkeys(filter(None, fields)))

    @property
    def dates(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.date, self.birth_date)))


class Source(_Section):
    """The whole file."""

    database: Database
    visits: MappedTable | None = None
    diagnoses: MappedTable | None = None
    measurements: MappedTable | None = None
    patients: MappedTable | None = None

    @property
    def tables(self) -> dict[Table, MappedTable]:
        found = {table: getattr(self, str(table)) for table in Table}
        return {table: mapped for table, mapped in found.items() if mapped is not None}

    @model_validator(mode="after")
    def _has_what_each_table_needs(self) -> "Source":
        wrong = [f"{table}.{name}: missing" for table, mapped in self.tables.items() for name in _lacks(table, mapped)]
        events = self.tables.keys() - {Table.PATIENTS}
        wrong += [f"{table}.resident: stands in [patients] alone" for table in sorted(events) if self.tables[table].resident]
        if not self.tables:
            wrong.append("no table is mapped")
        if self.database.engine != "spark" and not (self.database.user and self.database.password_file):
            wrong.append("database: user and password_file are needed")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self


_NEEDED = {Table.VISITS: ("date",), Table.DIAGNOSES: ("date", "code"), Table.MEASUREMENTS: ("date", "code", "value")}


def _lacks(table: Table, mapped: MappedTable) -> list[str]:
    return [name for name in _NEEDED.get(table, ()) if getattr(mapped, name) is None]


def example_source() -> str:
    """The commented example, itself a valid file."""
    return files(__package__).joinpath("example_source.toml").read_text(encoding="utf-8")


def read_source(path: Path) -> Source:
    """Raises InvalidSource, which names everything that is wrong."""
    try:
        return Source.model_validate(tomllib.loads(path.read_text("utf-8")))
    except OSError as error:
        raise InvalidSource(f"{path}: {error.strerror}; `kapok-node source --example-mapping` prints one") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSource(f"{path}: not TOML: {error}") from None
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        faults = "; ".join(": ".join(filter(None, (".".join(map(str, each["loc"])), each["msg"]))) for each in found)
        raise InvalidSource(f"{path}: {faults}") from None


def read_password(home: Path, database: Database) -> str:
    """The password. Raises InvalidSource for a file that is missing or that others can read."""
    if database.password_file is None:
        return ""
    path = home / database.password_file
    try:
        if path.stat().st_mode & 0o077:
            raise InvalidSource(f"{path}: others can read it; chmod 600")
        return path.read_text("utf-8").strip()
    except OSError as error:
        raise InvalidSource(f"{path}: {error.strerror}") from None
