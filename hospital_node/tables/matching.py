"""This hospital's tables beside what is asked and what others state; an empty table to probe a fit. No row is read."""

from collections import Counter
from collections.abc import Iterable, Iterator

import duckdb

from hospital_node.records.schema import empty_copy
from hospital_node.tables.registering import DIRECTORY, create_table
from hospital_node.tables.schema import TableSchema
from protocols.fits import Category, Fit, Numeric
from protocols.refusal import Reason, Refusal
from protocols.statements import DeclaredColumn, Registration


def apart(name: str, mine: TableSchema, stated: Iterable[Registration]) -> list[Refusal]:
    """Where this hospital's table is not what most other hospitals state under the same name and catalogue: a fit that these answer
    would be refused here. For IT, long before it is asked."""
    others = [each for each in stated if (each.table, each.catalogue) == (name, mine.catalogue)]
    held = {each.name: each for each in mine.columns}
    wanted = sorted({column.name for each in others for column in each.columns})
    usual = ((column, _usual([c for each in others for c in each.columns if c.name == column], len(others))) for column in wanted)
    return [no for column, each in usual if each is not None for no in _own(held.get(column), each)]


def _usual(stated: list[DeclaredColumn], hospitals: int) -> DeclaredColumn | None:
    """The column as more than half of the hospitals have it, with the categories that more than half have."""
    (kind, unit), many = Counter((each.type, each.unit) for each in stated).most_common(1)[0]
    if 2 * many <= hospitals:
        return None
    common = Counter(category for each in stated for category in each.categories)
    categories = tuple(category for category, times in common.items() if 2 * times > hospitals)
    return DeclaredColumn(name=stated[0].name, type=kind, unit=unit, low="", high="", categories=categories)


def _own(held: DeclaredColumn | None, usual: DeclaredColumn) -> Iterator[Refusal]:
    if held is None:
        yield Refusal(Reason.TABLE_DIFFERS, "a column that most hospitals have", "none", usual.name)
    elif (held.type, held.unit) != (usual.type, usual.unit):
        yield Refusal(Reason.TABLE_DIFFERS, _kind(usual), _kind(held), usual.name)
    elif missing := [each for each in usual.categories if each not in held.categories]:
        yield Refusal(Reason.TABLE_DIFFERS, ", ".join(missing)[:200], ", ".join(held.categories)[:200], usual.name)


def _kind(column: DeclaredColumn) -> str:
    return f"{column.type} ({column.unit})" if column.unit else str(column.type)


def empty_table(spec: Fit) -> duckdb.DuckDBPyConnection:
    """The table as the fit describes it, without a row: to see whether the plan runs without touching one."""
    numbers = {each.column: each for each in spec.variables if isinstance(each, Numeric)}
    categories: dict[str, list[str]] = {}
    for each in spec.variables:
        if isinstance(each, Category):
            categories.setdefault(each.column, []).append(each.category)
    schema = TableSchema.model_validate(
        {
            "catalogue": spec.catalogue,
            "title": spec.table,
            "date": "day" if spec.period else None,
            "column": [
                *({"name": n, "type": "number", "low": v.low, "high": v.high, "unit": v.unit} for n, v in numbers.items()),
                *({"name": n, "type": "category", "categories": [*v, *_other(v)]} for n, v in categories.items()),
            ],
        }
    )
    records = empty_copy()
    records.execute(DIRECTORY)
    create_table(records, spec.table, schema)
    records.execute("INSERT INTO registered VALUES (?, ?)", [spec.table, schema.model_dump_json()])
    return records


def _other(categories: list[str]) -> list[str]:
    """A list of categories has two at least."""
    return [] if len(categories) > 1 else [f"other than {categories[0]}"[:100]]
