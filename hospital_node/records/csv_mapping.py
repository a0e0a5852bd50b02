"""Which column of a hospital's CSV means what: a TOML file, strict, with every key of the example and no other."""

import tomllib
import unicodedata
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from hospital_node.records.codes import ICD10
from hospital_node.records.errors import InvalidMapping

VisitClass = Literal["AMB", "EMER", "IMP", "OTHER"]
Encoding = Literal["auto", "utf-8", "utf-8-sig", "gb18030"]


def folded(text: str) -> str:
    """Full-width letters and digits as ASCII, no space around: for headers and for cells alike."""
    return unicodedata.normalize("NFKC", text).strip()


def _to_the_day(form: str) -> str:
    # Written and read back, two different days must stay different: a form without year, month or day loses one.
    for day in (datetime(2023, 11, 25), datetime(2024, 12, 26)):  # noqa: DTZ001 (a calendar date, no moment)
        try:
            read = datetime.strptime(day.strftime(form), form)  # noqa: DTZ007
        except ValueError:
            read = datetime.min  # noqa: DTZ901
        if read.date() != day.date():
            raise ValueError("a date form needs year, month and day")
    return form


Column = Annotated[str, AfterValidator(folded), Field(min_length=1)]
DateForm = Annotated[str, AfterValidator(_to_the_day)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class FileForm(_Section):
    encoding: Encoding = "auto"
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    dates: Annotated[list[DateForm], Field(min_length=1)] = ["%Y-%m-%d"]


class PatientColumns(_Section):
    id: Column
    birth_date: Column | None = None
    age: Column | None = None
    sex: Column | None = None
    district: Column | None = None
    postal_code: Column | None = None
    resident_number: Column | None = None


class VisitColumns(_Section):
    date: Column
    id: Column | None = None
    end: Column | None = None
    kind: Column | None = None
    kinds: dict[Column, VisitClass] = {}


class DiagnosisColumns(_Section):
    columns: Annotated[list[Column], Field(min_length=1)]
    separators: str = ";,、|"
    system: str = ICD10
    id: Column | None = None
    date: Column | None = None


class MeasurementColumn(_Section):
    column: Column
    loinc: Annotated[str, Field(pattern=r"^\d{1,7}-\d$")]
    unit: str | None = None


class CsvMapping(_Section):
    """What the example shows."""

    file: FileForm = FileForm()
    patient: PatientColumns
    visit: VisitColumns
    diagnosis: DiagnosisColumns | None = None
    measurement: list[MeasurementColumn] = []

    def columns(self) -> list[str]:
        """Every column of the CSV that this mapping reads."""
        sections = [self.patient, self.visit, *([self.diagnosis] if self.diagnosis else [])]
        single = [getattr(section, name) for section in sections for name in type(section).model_fields if name not in _NOT_COLUMNS]
        several = self.diagnosis.columns if self.diagnosis else []
        return list(dict.fromkeys([*filter(None, single), *several, *(one.column for one in self.measurement)]))


_NOT_COLUMNS = frozenset({"kinds", "columns", "separators", "system"})


def example_mapping() -> str:
    """The commented example, itself a valid mapping."""
    return files(__package__).joinpath("example_mapping.toml").read_text(encoding="utf-8")


def read_mapping(path: Path) -> CsvMapping:
    """Raises:
    InvalidMapping: no such file, not TOML, an unknown or missing key, a value of the wrong form; all are named.
    """
    try:
        return parse_mapping(path.read_text(encoding="utf-8-sig"), str(path))
    except OSError as cause:
        raise InvalidMapping(f"{path}: {cause.strerror}; --example-mapping prints one") from cause
    except UnicodeDecodeError as cause:
        raise InvalidMapping(f"{path}: cannot be read as UTF-8 text") from cause


def parse_mapping(text: str, name: str) -> CsvMapping:
    try:
        return CsvMapping.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as cause:
        raise InvalidMapping(f"{name}: is not TOML: {cause}") from cause
    except ValidationError as cause:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in cause.errors(include_input=False))
        raise InvalidMapping(f"{name}: {faults}") from cause
