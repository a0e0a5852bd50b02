"""Reads a hospital's CSV by its mapping: Chinese headers, UTF-8 or GB18030, full-width digits, several date forms.

Rules
- Encoding `auto`: a byte-order mark; else UTF-8 if the whole file is; else GB18030 if the whole file is; else the first of
  the two in which the header holds the mapping's columns. A line with bytes outside the encoding is skipped as malformed.
- A row with more or fewer cells than the header is skipped; an empty row is nothing.
- An event's id is its own column, else visit and code (and day): the same line twice is one event, a diagnosis that a
  correction took away stays (give `diagnosis.id` to have it replaced).
- district of the row is that of the event; the patient's is that of the last row.
"""

import codecs
import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TextIO
from zoneinfo import ZoneInfo

from hospital_node.records.codes import LOINC
from hospital_node.records.csv_mapping import CsvMapping, folded
from hospital_node.records.districts import adcode
from hospital_node.records.errors import InvalidMapping, NoSuchSource, UnreadableSource
from hospital_node.records.intake import Intake
from hospital_node.records.report import Reason, Tally
from hospital_node.records.residents import TagOf, no_tag
from hospital_node.records.statements import Kind, Row

_ROWS_PER_BATCH = 20_000
_ENCODINGS = ("utf-8", "gb18030")
SEX_WORDS = {
    "男": "M",
    "女": "F",
    "1": "M",
    "2": "F",
    "m": "M",
    "f": "F",
    "男性": "M",
    "女性": "F",
    "male": "M",
    "female": "F",
    "9": "O",
}
_PARTIAL = re.compile(r"(\d{4})(?:[-/.年](\d{1,2}))?[年月]?")
_AGE = re.compile(r"(-?\d{1,4})\s*(?:(岁|周岁|y|years?)|(个?月|天|日|周|小时|m|d|w|h))?.*")
_NUMBER = re.compile(r"[-+]?\d{1,15}(?:\.\d{1,15})?")
_UNREADABLE = "?"  # staged as it is: shorter than any date, so that the intake names it unreadable


@dataclass(frozen=True, slots=True)
class CsvReader:
    """Feeds one CSV file to an intake."""

    mapping: CsvMapping
    intake: Intake
    tally: Tally
    zone: ZoneInfo
    by_postal_code: dict[str, str]
    progress: Callable[[int], None]
    tag_of: TagOf = no_tag

    def read(self, path: Path) -> None:
        """Raises:
        UnreadableSource: no such file, or empty.
        InvalidMapping: the header lacks a column of the mapping.
        """
        if not path.is_file():
            raise NoSuchSource(f"{path}: no such file")
        before_first = self.tally.begin_file(path.name)
        try:
            encoding = self._encoding(path)
            self.tally.encodings[path.name] = encoding
            with path.open(encoding=encoding, errors="surrogateescape", newline="") as text:
                self._read_rows(path, text, before_first)
            self.tally.bytes_read += path.stat().st_size
        except OSError as cause:
            raise UnreadableSource(f"{path}: {cause.strerror or 'cannot be read'}") from cause

    def _encoding(self, path: Path) -> str:
        with path.open("rb") as raw:
            start = raw.readline()
        if not start.strip():
            raise UnreadableSource(f"{path}: is empty")
        if self.mapping.file.encoding != "auto":
            return self.mapping.file.encoding
        if start.startswith(codecs.BOM_UTF8):
            return "utf-8-sig"
        whole = [encoding for encoding in _ENCODINGS if _decodes(path, encoding)]
        wanted = self.mapping.columns()
        named = [one for one in _ENCODINGS if all(column in folded(start.decode(one, "replace")) for column in wanted)]
        return [*whole, *named, "utf-8"][0]

    def _read_rows(self, path: Path, text: TextIO, before_first: int) -> None:
        rows = csv.reader(text, delimiter=self.mapping.file.delimiter)
        header = [folded(cell) for cell in next(rows, [])]
        missing = [column for column in self.mapping.columns() if column not in header]
        if missing:
            raise InvalidMapping(f"{path}: the header has no column {', '.join(missing)}")
        taker = _RowTaker(self.mapping, header, self.tally, self.zone, self.by_postal_code, self.tag_of)
        done = 0
        for number, row in self._sound_rows(rows, len(header), before_first):
            taker.take(row, number)
            if len(taker.rows[Kind.VISIT]) >= _ROWS_PER_BATCH:
                self._flush(taker)
                position = text.buffer.tell()
                self.progress(position - done)
                done = position
        self._flush(taker)
        self.progress(path.stat().st_size - done)

    def _sound_rows(self, rows: Iterator[list[str]], width: int, before_first: int) -> Iterator[tuple[int, list[str]]]:
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error:
                self.tally.skip(Reason.MALFORMED, before_first + rows.line_num)  # type: ignore[attr-defined]
                continue
            place = before_first + rows.line_num  # type: ignore[attr-defined]
            if not any(row):
                continue
            self.tally.read["rows"] += 1
            if len(row) != width:
                self.tally.skip(Reason.COLUMNS, place)
            elif not all(cell.isascii() or _is_text(cell) for cell in row):
                self.tally.skip(Reason.MALFORMED, place)
            else:
                yield place, row

    def _flush(self, taker: "_RowTaker") -> None:
        for kind, rows in taker.rows.items():
            self.intake.add(kind, rows)
            rows.clear()


class _RowTaker:
    """Turns one row into the staged rows of its patient, visit, diagnoses and measurements."""

    def __init__(
        self,
        mapping: CsvMapping,
        header: list[str],
        tally: Tally,
        zone: ZoneInfo,
        by_postal_code: dict[str, str],
        tag_of: TagOf,
    ) -> None:
        self.rows: dict[Kind, list[Row]] = {kind: [] for kind in Kind}
        self._mapping, self._tally, self._by_postal_code, self._tag_of = mapping, tally, by_postal_code, tag_of
        self._at = {column: header.index(column) for column in mapping.columns()}
        self._persons: dict[str, Row] = {}
        self._split = (
            re.compile(f"[{re.escape(mapping.diagnosis.separators)}]")
            if mapping.diagnosis and mapping.diagnosis.separators
            else None
        )
        self._day = lru_cache(100_000)(lambda text: _day(text, mapping.file.dates, zone))

    def take(self, row: list[str], place: int) -> None:
        patient, visit = self._mapping.patient, self._mapping.visit
        person = self._cell(row, patient.id)
        district = adcode(self._cell(row, patient.district), self._cell(row, patient.postal_code), self._by_postal_code)
        if person:
            sex = SEX_WORDS.get((self._cell(row, patient.sex) or "").casefold(), "U")
            tag = self._tag_of(self._cell(row, patient.resident_number), place)
            self._add_person(place, (person, self._day(self._cell(row, patient.birth_date)), sex, district, tag))
        day, kind = self._day(self._cell(row, visit.date)), self._kind(self._cell(row, visit.kind))
        name = self._cell(row, visit.id) if visit.id else f"{person}:{day}:{kind}"
        years = years_of(self._cell(row, patient.age))
        event = (place, name, person, name, day, years, None, district)
        self.rows[Kind.VISIT].append((*event, kind, self._day(self._cell(row, visit.end))))
        if name and person:
            self._add_diagnoses(row, event)
            self._add_measurements(row, event)

    def _add_person(self, place: int, person: Row) -> None:
        name = str(person[0])
        if self._persons.get(name) != person:
            self._persons[name] = person
            self.rows[Kind.PERSON].append((place, *person))

    def _add_diagnoses(self, row: list[str], event: Row) -> None:
        diagnosis = self._mapping.diagnosis
        if diagnosis is None:
            return
        place, visit, person, _, day, *rest = event
        own, own_day = self._cell(row, diagnosis.id), self._day(self._cell(row, diagnosis.date)) if diagnosis.date else day
        for column in diagnosis.columns:
            cell = self._cell(row, column) or ""
            for code in filter(None, map(str.strip, self._split.split(cell) if self._split else [cell])):
                name = f"{own}" if own and len(diagnosis.columns) == 1 and code == cell else f"{own or visit}:{code}"
                self.rows[Kind.CONDITION].append((place, name, person, visit, own_day, *rest, diagnosis.system, code))

    def _add_measurements(self, row: list[str], event: Row) -> None:
        place, visit, *rest = event
        for one in self._mapping.measurement:
            cell = self._cell(row, one.column)
            if not cell:
                continue
            if not _NUMBER.fullmatch(cell):
                self._tally.skip(Reason.BAD_NUMBER, int(place or 0))
                continue
            self.rows[Kind.MEASUREMENT].append(
                (place, f"{visit}:{one.loinc}:{rest[2]}", *rest, LOINC, one.loinc, float(cell), one.unit)
            )

    def _kind(self, text: str | None) -> str:
        kinds = self._mapping.visit.kinds
        return kinds.get(text or "", "OTHER")

    def _cell(self, row: list[str], column: str | None) -> str | None:
        return (folded(row[self._at[column]]) or None) if column else None


def _day(text: str | None, forms: list[str], zone: ZoneInfo) -> str | None:
    """The day as YYYY-MM-DD, a partial date as YYYY or YYYY-MM, `?` for what is neither."""
    if text is None:
        return None
    for form in forms:
        try:
            moment = datetime.strptime(text, form)  # noqa: DTZ007 (a date as written is a date of the hospital's zone)
        except ValueError:
            continue
        return (moment.astimezone(zone) if moment.tzinfo else moment).date().isoformat()
    partial = _PARTIAL.fullmatch(text)
    if partial is None:
        return _UNREADABLE
    year, month = partial.groups()
    return f"{year}-{int(month):02d}" if month else str(year)


def years_of(text: str | None) -> int | None:
    """Complete years: 35, 35岁, 3岁6月; months, weeks, days and hours are 0; a sign is kept for the intake to refuse."""
    found = _AGE.fullmatch(text.casefold()) if text else None
    if found is None:
        return None
    number, _, is_shorter = found.groups()
    return min(int(number), 0) if is_shorter else int(number)


def _decodes(path: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    with path.open("rb") as raw:
        try:
            while block := raw.read(1 << 20):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def _is_text(cell: str) -> bool:
    """False if a byte outside the encoding was carried along (PEP 383)."""
    try:
        cell.encode()
    except UnicodeEncodeError:
        return False
    return True
