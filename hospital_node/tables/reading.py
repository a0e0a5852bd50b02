"""A table's CSV, row by row, as its schema says; the first wrong cell stops it, named by line and column, never by its value.

UTF-8 or GB18030, with or without a byte-order mark. Numbers are plain decimals: `NaN`, `inf`, thousands' separators and anything
else are wrong unless the schema lists them as missing. A number outside of its public bounds is kept, and clamped where it is used.
"""

import csv
import io
import math
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from hospital_node.records.errors import InvalidTable, NoSuchSource
from hospital_node.tables.schema import CategoryColumn, NumberColumn, TableSchema

Cell = float | str | date | None
_NUMBER = re.compile(r"[-+]?(\d{1,15}(\.\d{0,15})?|\.\d{1,15})([eE][-+]?\d{1,3})?")
_ENCODINGS = ("utf-8-sig", "gb18030")


def rows(path: Path, schema: TableSchema) -> Iterator[list[Cell]]:
    """Patient, date (None where the table has none), then the columns in the schema's order.

    Raises: NoSuchSource, InvalidTable.
    """
    text = _text(path)
    lines = csv.reader(io.StringIO(text, newline=""))
    header = [cell.strip() for cell in next(lines, [])]
    if missing := [each for each in schema.headers if each not in header]:
        raise InvalidTable(f"{path.name}: the header has no column {', '.join(missing)}")
    if twice := [each for each in schema.headers if header.count(each) > 1]:
        raise InvalidTable(f"{path.name}: the header has more than one column {', '.join(twice)}")
    at = {name: header.index(name) for name in schema.headers}
    for cells in _sound(path, lines, len(header)):
        yield _row(schema, [cell.strip() for cell in cells], at, f"{path.name}: line {lines.line_num}")


def _text(path: Path) -> str:
    if not path.is_file():
        raise NoSuchSource(f"{path}: no such file")
    raw = path.read_bytes()
    for encoding in _ENCODINGS:
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise InvalidTable(f"{path.name}: neither UTF-8 nor GB18030")


def _sound(path: Path, lines: Iterator[list[str]], width: int) -> Iterator[list[str]]:
    number = 1
    try:
        for number, cells in enumerate(lines, start=2):
            if not any(cells):
                continue
            if len(cells) != width:
                raise InvalidTable(f"{path.name}: row {number}: expected {width} cells, got {len(cells)}")
            yield cells
    except csv.Error:
        raise InvalidTable(f"{path.name}: after row {number}: not a CSV row") from None


def _row(schema: TableSchema, cells: list[str], at: dict[str, int], place: str) -> list[Cell]:
    row: list[Cell] = [None, None]
    if schema.patient:
        if not cells[at[schema.patient]]:
            raise InvalidTable(f"{place}, {schema.patient}: expected a patient, got nothing")
        row[0] = cells[at[schema.patient]]
    if schema.date:
        row[1] = _day(cells[at[schema.date]], f"{place}, {schema.date}")
    for column in schema.column:
        name = column.source or column.name
        row.append(_cell(column, cells[at[name]], f"{place}, {name}"))
    return row


def _cell(column: NumberColumn | CategoryColumn, cell: str, place: str) -> Cell:
    if not cell or cell in column.missing:
        return None
    if isinstance(column, CategoryColumn):
        if cell not in column.categories:
            raise InvalidTable(f"{place}: expected one of {', '.join(column.categories)}")
        return cell
    if not _NUMBER.fullmatch(cell) or not math.isfinite(float(cell)):
        raise InvalidTable(f"{place}: expected a number or a value listed as missing")
    return float(cell)


def _day(cell: str, place: str) -> date:
    try:
        return date.fromisoformat(cell)
    except ValueError:
        raise InvalidTable(f"{place}: expected a day like 2026-11-25") from None
