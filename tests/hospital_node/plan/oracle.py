"""The plan once more, slowly and in plain Python: what `execute` must answer, written from the rules and not from its code."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from math import floor

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from protocols.query import Grid, Layout, QuerySpec, footprint
from protocols.query.terms import (
    AgeBandKey,
    AgeBetween,
    AllOf,
    AnyOf,
    Average,
    BinKey,
    Categories,
    Cohort,
    Count,
    Has,
    HasPrefix,
    Is,
    IsOneOf,
    Measure,
    Not,
    Persons,
    PrefixKey,
    Quantiles,
    Residents,
    Spread,
    Summary,
    Survival,
    ValueBound,
)
from tests.hospital_node.plan.records import Records, Row

CellsOf = dict[tuple[int, str], dict[int, list[Row]]]
Kept = dict[tuple[int, str], list[int]]
Choice = Callable[[QuerySpec, CellsOf, int, str, bytes], list[int]]


def by_keyed_hash(spec: QuerySpec, cells: CellsOf, person: int, block: str, key: bytes) -> list[int]:
    """The rule: the k cells of smallest AES(person, tag), where a tag is the sum of the hashes of the cell's labels."""
    grid, layout = spec.grid(), Layout.of(spec)
    cipher = Cipher(AES(hashlib.sha256(b"kapok bounding v1\0" + key).digest()), ECB())

    def rank(cell: int) -> int:
        message = (person % 2**64).to_bytes(8, "little") + _tag(grid, cell).to_bytes(8, "little")
        return int.from_bytes(cipher.encryptor().update(message)[:8], "little")

    return sorted(cells[person, block], key=rank)[: layout.cells_kept]


def _tag(grid: Grid, cell: int) -> int:
    named = zip(grid.axes, grid.labels_of(cell), strict=True)
    hashes = (hashlib.sha256(f"{axis.key}={label}".encode()).digest()[:8] for axis, label in named)
    return sum(int.from_bytes(digest, "little") for digest in hashes) % 2**64


def by_time(spec: QuerySpec, cells: CellsOf, person: int, block: str, _: bytes) -> list[int]:
    """A broken choice: the earliest cells. Bounded, yet it starves the end of each month."""
    return sorted(cells[person, block])[: Layout.of(spec).cells_kept]


def everything(_: QuerySpec, cells: CellsOf, person: int, block: str, __: bytes) -> list[int]:
    """A broken choice: no bound at all."""
    return list(cells[person, block])


def the_most_popular(spec: QuerySpec, cells: CellsOf, person: int, block: str, _: bytes) -> list[int]:
    """A broken choice: bounded, yet one patient's rows change which cells the others keep."""
    popularity: dict[int, int] = defaultdict(int)
    for kept in cells.values():
        for cell in kept:
            popularity[cell] += 1
    return sorted(cells[person, block], key=lambda cell: (-popularity[cell], cell))[: Layout.of(spec).cells_kept]


def answer(
    spec: QuerySpec,
    records: Records,
    key: bytes,
    choice: Choice = by_keyed_hash,
    *,
    is_clamped: bool = True,
    is_once: bool = True,
) -> list[int]:
    """Not `is_once` is broken: each row of a patient's cell counts as if it were a patient."""
    cells: CellsOf = defaultdict(lambda: defaultdict(list))
    for row in records.of(None):
        cell = _cell(spec, row)
        if row.person_id is not None and cell is not None and _counts(spec, row, records):
            cells[row.person_id, row.block if spec.bound == "block" else "all"][cell].append(row)
    vector: list[int] = []
    kept = {owner: choice(spec, cells, *owner, key) for owner in cells}
    for level in (tuple(key.key for key in spec.keys), *(spec.totals or ())):
        for measure in spec.measures:
            passing = _passing(spec, measure, cells, records)
            chosen = {owner: [cell for cell in cells_ if passing[owner].get(cell)] for owner, cells_ in kept.items()}
            vector += _at_level(spec, level, measure, passing, chosen, records, is_clamped=is_clamped, is_once=is_once)
    return vector


def _counts(spec: QuerySpec, row: Row, records: Records) -> bool:
    """Whether any measure counts the row."""
    filters = [measure.filter for measure in spec.measures]
    return (
        all(_holds(spec, condition, row) for condition in spec.where)
        and (spec.cohort is None or _is_in(spec, spec.cohort, row, records))
        and any(each is None or _is_in(spec, each, row, records) for each in filters)
    )


def _passing(spec: QuerySpec, measure: Measure, cells: CellsOf, records: Records) -> CellsOf:
    rows = measure.filter
    if rows is None:
        return cells
    return {
        owner: {cell: [row for row in held if _is_in(spec, rows, row, records)] for cell, held in by_cell.items()}
        for owner, by_cell in cells.items()
    }


def _is_in(spec: QuerySpec, cohort: Cohort, row: Row, records: Records) -> bool:
    if isinstance(cohort, Not):
        return not _is_in(spec, cohort.of, row, records)
    if isinstance(cohort, AllOf):
        return all(_is_in(spec, part, row, records) for part in cohort.of)
    if isinstance(cohort, AnyOf):
        return any(_is_in(spec, part, row, records) for part in cohort.of)
    if isinstance(cohort, Is):
        return all(_holds(spec, condition, row) for condition in cohort.where)
    return any(
        other.person_id == row.person_id
        and _is_within(cohort, row, other)
        and all(_holds(spec, condition, other) for condition in cohort.where)
        for other in records.of(cohort.table)
    )


def _is_within(has: Has, row: Row, other: Row) -> bool:
    assert other.day is not None
    if has.period is not None:
        return has.period.start <= other.day < has.period.end
    assert has.days is not None
    assert row.day is not None
    return has.days[0] <= (other.day - row.day).days <= has.days[1]


def _at_level(
    spec: QuerySpec,
    level: tuple[str, ...],
    measure: Measure,
    cells: CellsOf,
    kept: Kept,
    records: Records,
    *,
    is_clamped: bool,
    is_once: bool,
) -> list[int]:
    leaves = spec.grid()
    shown = Grid(tuple(axis for axis in leaves.axes if axis.key in level))

    def merged(cell: int) -> int:
        labels = dict(zip((axis.key for axis in leaves.axes), leaves.labels_of(cell), strict=True))
        return shown.cell_of(tuple(labels[axis.key] for axis in shown.axes))

    if isinstance(measure, Persons | Residents):  # of residents the patients of one hospital, before buckets
        seen = {(person, merged(cell)) for (person, block), chosen in kept.items() for cell in chosen}
        return [sum(cell == n for _, cell in seen) for n in range(shown.size)]
    rows_of = [(merged(cell), cells[owner][cell]) for owner, chosen in kept.items() for cell in chosen]
    rows_of = rows_of if is_once else [(cell, [row]) for cell, rows in rows_of for row in rows]
    amounts = [(cell, _weight(spec, rows), _amounts(spec, measure, rows, records, is_clamped=is_clamped)) for cell, rows in rows_of]
    return [
        sum(weight * added[part][n] for cell, weight, added in amounts if cell == at)
        for part, entries in enumerate(_entries(measure))
        for at in range(shown.size)
        for n in range(entries)
    ]


def _weight(spec: QuerySpec, rows: list[Row]) -> int:
    return spec.weights[footprint(spec).index(rows[0].block)] if spec.weights else 1


def _entries(measure: Measure) -> list[int]:
    """How many entries each part of a measure has in every cell."""
    if isinstance(measure, Summary):
        return [1, 1, 2, measure.bins]
    if isinstance(measure, Categories):
        return [len(measure.labels) + 1]
    if isinstance(measure, Survival):
        return [2 * len(measure.edges) + 1]
    if isinstance(measure, Quantiles):
        return [measure.bins]
    return [1] * (3 if isinstance(measure, Spread) else 2 if isinstance(measure, Average) else 1)


def _amounts(spec: QuerySpec, measure: Measure, rows: list[Row], records: Records, *, is_clamped: bool) -> list[list[int]]:
    """What the rows of one patient, block and cell add to each entry of each part."""
    if not rows:
        return [[0] * entries for entries in _entries(measure)]
    if isinstance(measure, Count):
        return [[min(len(rows), measure.hi) if is_clamped else len(rows)]]
    assert not isinstance(measure, Persons | Residents)
    if isinstance(measure, Categories):
        known = [row.columns.get(measure.column) for row in rows]
        most = max(measure.labels, key=lambda label: (known.count(label), -measure.labels.index(label)))
        return [_one_of(measure.labels.index(most) if known.count(most) else len(measure.labels), len(measure.labels) + 1)]
    if isinstance(measure, Survival):
        return [_one_of(_end(spec, measure, min(rows, key=_day), records), 2 * len(measure.edges) + 1)]
    numbers = [_age(spec, row) if measure.column == "age" else row.columns["value"] for row in rows]
    present = [max(Fraction(-(10**9)), min(Fraction(number), Fraction(10**9))) for number in numbers if number is not None]
    if isinstance(measure, Spread | Quantiles | Summary):
        return _of_mean(measure, present, is_clamped=is_clamped)
    if not present:
        return [[0]] * (2 if isinstance(measure, Average) else 1)
    total = sum(present, Fraction(0)) / (len(present) if isinstance(measure, Average) else 1)
    lo, hi = measure.scaled
    rounded = floor(total * measure.scale + Fraction(1, 2))
    clamped = max(int(lo), min(rounded, int(hi))) if is_clamped else rounded
    return [[clamped], [1]] if isinstance(measure, Average) else [[clamped]]


def _one_of(place: int, size: int) -> list[int]:
    return [int(n == place) for n in range(size)]


def _day(row: Row) -> date:
    assert row.day is not None
    return row.day


def _end(spec: QuerySpec, measure: Survival, row: Row, records: Records) -> int:
    """The interval of the first later row that is the event, or behind those the one in which the patient was last seen."""
    days = [
        (_day(other) - _day(row)).days
        for other in records.of(measure.event.table)
        if other.person_id == row.person_id
        and _day(other) < measure.until
        and all(_holds(spec, condition, other) for condition in measure.event.where)
    ]
    event = min((day for day in days if 1 <= day <= measure.edges[-1]), default=None)
    if event is not None:
        return next(n for n, edge in enumerate(measure.edges) if event <= edge)
    seen = (measure.until - _day(row)).days - 1
    lost = next((n for n, edge in enumerate(measure.edges) if seen <= edge), len(measure.edges))
    return len(measure.edges) + (lost if seen < measure.edges[-1] else len(measure.edges))


def _of_mean(measure: Spread | Quantiles | Summary, present: list[Fraction], *, is_clamped: bool) -> list[list[int]]:
    """Steps from the middle, their square and 1; or a 1 in one of the bins; or both, with a 1 for present or missing."""
    bins = measure.bins if isinstance(measure, Quantiles | Summary) else 0
    if not present:
        return {Quantiles: [[0] * bins], Summary: [[0], [0], [0, 1], [0] * bins]}.get(type(measure), [[0]] * 3)
    lo, hi = Fraction(measure.lo), Fraction(measure.hi)
    mean = Fraction(floor(sum(present, Fraction(0)) / len(present) * 10**6 + Fraction(1, 2)), 10**6)
    inside = max(lo, min(mean, hi))
    histogram = _one_of(min(floor((inside - lo) / (hi - lo) * bins), bins - 1), bins)
    if isinstance(measure, Quantiles):
        return [histogram]
    middle = (lo + hi) / 2
    away = (inside if is_clamped else mean) - middle
    steps = floor(away * 2 * measure.steps / (hi - lo) + Fraction(1, 2))
    return [[steps], [steps**2], *([[1, 0], histogram] if isinstance(measure, Summary) else [[1]])]


def _age(spec: QuerySpec, row: Row) -> int | None:
    if row.day is not None:
        age: int | None = row.columns.get("age")
        return age
    assert spec.as_of is not None
    birth: date | None = row.columns["birth_date"]
    return None if birth is None else spec.as_of.year - birth.year - ((birth.month, birth.day) > (spec.as_of.month, spec.as_of.day))


def _holds(spec: QuerySpec, condition: HasPrefix | IsOneOf | AgeBetween | ValueBound, row: Row) -> bool:
    if isinstance(condition, AgeBetween):
        age = _age(spec, row)
        return age is not None and condition.low <= age <= condition.high
    value = row.columns[condition.column]
    if value is None:
        return False
    if isinstance(condition, HasPrefix):
        return any(value.startswith(prefix) for prefix in condition.prefixes)
    if isinstance(condition, IsOneOf):
        return value in condition.values
    number = Decimal(condition.number)
    holds: bool = {"<": value < number, "<=": value <= number, ">": value > number, ">=": value >= number}[condition.op.value]
    return holds


def _cell(spec: QuerySpec, row: Row) -> int | None:
    if spec.period is not None and (row.day is None or not spec.period.start <= row.day < spec.period.end):
        return None
    labels = [_label(spec, key, row) for key in spec.keys]
    known = all(label in axis.labels for label, axis in zip(labels, spec.grid().axes, strict=True))
    return spec.grid().cell_of(tuple(label for label in labels if label is not None)) if known else None


def _label(spec: QuerySpec, key: object, row: Row) -> str | None:
    if isinstance(key, AgeBandKey):
        age = _age(spec, row)
        if age is None:
            return None
        return next(
            (label for label, (low, high) in zip(key.bands.labels, key.bands.edges, strict=True) if low <= age <= high), None
        )
    if isinstance(key, PrefixKey):
        code = row.columns["icd10"]
        return next((prefix for prefix in key.prefixes if code is not None and code.startswith(prefix)), None)
    if isinstance(key, BinKey):
        number = _age(spec, row) if key.column == "age" else row.columns["value"]
        edges = [Fraction(edge) for edge in key.edges]
        inside = (n for n, (low, high) in enumerate(pairwise(edges)) if number is not None and low <= Fraction(number) < high)
        return next((key.labels[n] for n in inside), None)
    name = key.key  # type: ignore[attr-defined]
    if name in {"iso_week", "month"}:
        assert row.day is not None
        year, week, _ = row.day.isocalendar()
        return f"{year}-W{week:02}" if name == "iso_week" else f"{row.day:%Y-%m}"
    value: str | None = row.columns[name]
    return value
