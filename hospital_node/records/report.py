"""What an import read, loaded and skipped, and why: counts, places and codes, never a value of a record.

A place is a file and a line (in a Bundle: the entry). A code is printed only when it has the form of its code system
(`codes.printable`): a column mapped wrongly must not print names or identity numbers.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum

SAMPLES = 5
_LINE_BITS = 40


class Reason(StrEnum):
    """Why a record was not loaded."""

    NOT_JSON = "record.not_json"
    NOT_FHIR = "record.not_fhir"
    MALFORMED = "record.malformed"
    COLUMNS = "record.columns"
    NO_ID = "record.no_id"
    NO_SUBJECT = "subject.missing"
    UNKNOWN_SUBJECT = "subject.unknown"
    NO_CODE = "code.missing"
    NO_DATE = "date.missing"
    PARTIAL_DATE = "date.partial"
    BAD_DATE = "date.unreadable"
    FUTURE = "date.future"
    TOO_EARLY = "date.before_1900"
    BEFORE_BIRTH = "age.negative"
    BAD_NUMBER = "value.unreadable"
    BAD_RESIDENT = "resident.unreadable"
    WITHDRAWN = "status.withdrawn"
    PLANNED = "status.planned"
    REPEATED = "record.repeated"


@dataclass(frozen=True, slots=True)
class TableReport:
    """Rows of one table: new, written over a row of the same source id, taken out, and how many stand now."""

    loaded: int
    replaced: int
    removed: int
    total: int


@dataclass(frozen=True, slots=True)
class Skipped:
    """How many records one reason kept out, and where the first few stand (`file:line`)."""

    count: int
    places: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UnmappedCode:
    """A code that no map turns into ICD-10; `code` is None when it has not the form of its system."""

    system: str
    code: str | None
    count: int


@dataclass(frozen=True, slots=True)
class ImportReport:
    """The whole outcome of one import, for IT's own eyes."""

    generation: str
    files: int
    read: Mapping[str, int]
    not_used: Mapping[str, int]
    tables: Mapping[str, TableReport]
    skipped: Mapping[Reason, Skipped]
    unmapped: Sequence[UnmappedCode]
    encodings: Mapping[str, str]
    megabytes: float
    seconds: float

    @property
    def changed(self) -> int:
        """Rows that this import added, wrote over or took out."""
        return sum(table.loaded + table.replaced + table.removed for table in self.tables.values())

    def as_json(self) -> dict[str, object]:
        """The report as plain JSON values."""
        return {**asdict(self), "skipped": {reason.value: asdict(found) for reason, found in self.skipped.items()}}


@dataclass(slots=True)
class Tally:
    """Counts while the import runs; numbers the files so that one integer names a place and orders the records."""

    files: list[str] = field(default_factory=list)
    read: Counter[str] = field(default_factory=Counter)
    not_used: Counter[str] = field(default_factory=Counter)
    encodings: dict[str, str] = field(default_factory=dict)
    bytes_read: int = 0
    _skipped: Counter[Reason] = field(default_factory=Counter)
    _places: dict[Reason, list[int]] = field(default_factory=dict)

    def begin_file(self, name: str) -> int:
        """The place before the first line of a new file: line n of it is this plus n."""
        self.files.append(name)
        return (len(self.files) - 1) << _LINE_BITS

    def skip(self, reason: Reason, place: int) -> None:
        self.skip_many(reason, 1, [place])

    def skip_many(self, reason: Reason, count: int, places: Sequence[int]) -> None:
        self._skipped[reason] += count
        kept = self._places.setdefault(reason, [])
        kept.extend(places[: SAMPLES - len(kept)])

    def skipped(self) -> dict[Reason, Skipped]:
        return {
            reason: Skipped(count, tuple(self._named(place) for place in sorted(self._places[reason])))
            for reason, count in sorted(self._skipped.items())
        }

    def _named(self, place: int) -> str:
        return f"{self.files[place >> _LINE_BITS]}:{place & ((1 << _LINE_BITS) - 1)}"
