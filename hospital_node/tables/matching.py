"""Whether a fit asks of a table what is registered here: judged from what both declare in public, before any row is read."""

from collections.abc import Iterator, Mapping

import duckdb

from hospital_node.records.schema import empty_copy
from hospital_node.tables.registering import DIRECTORY, create_table
from hospital_node.tables.schema import CategoryColumn, NumberColumn, TableSchema
from protocols.fits import Category, Fit, Numeric, Variable
from protocols.refusal import Reason, Refusal


def table_refusals(spec: Fit, registered: Mapping[str, TableSchema]) -> list[Refusal]:
    """Everything that this hospital's table is not; an empty list is consent."""
    schema = registered.get(spec.table)
    if schema is None:
        return [Refusal(Reason.TABLE_NOT_REGISTERED, "a table registered here", "none", spec.table)]
    return [*_blocks(spec, schema), *(each for variable in spec.variables for each in _column(variable, schema))]


def _blocks(spec: Fit, schema: TableSchema) -> Iterator[Refusal]:
    if schema.catalogue != spec.catalogue:
        yield Refusal(Reason.TABLE_DIFFERS, schema.catalogue, spec.catalogue, "catalogue")
    if (schema.date is None) != (spec.period is None):
        wanted = "a period, since rows have dates" if schema.date else "no period, since rows have no dates"
        yield Refusal(Reason.TABLE_DIFFERS, wanted, "the other", "period")


def _column(variable: Variable, schema: TableSchema) -> Iterator[Refusal]:
    held = schema.find(variable.column)
    if held is None:
        yield Refusal(Reason.TABLE_DIFFERS, "a column of the table", "none", variable.column)
    elif isinstance(variable, Numeric):
        yield from _number(variable, held)
    elif not isinstance(held, CategoryColumn):
        yield Refusal(Reason.TABLE_DIFFERS, "a column of numbers", "one of categories", variable.column)
    elif variable.category not in held.categories:
        yield Refusal(Reason.TABLE_DIFFERS, ", ".join(held.categories)[:200], variable.category, variable.column)


def _number(variable: Numeric, held: NumberColumn | CategoryColumn) -> Iterator[Refusal]:
    if not isinstance(held, NumberColumn):
        yield Refusal(Reason.TABLE_DIFFERS, "a column of categories", "one of numbers", variable.column)
    elif held.unit != variable.unit:
        yield Refusal(Reason.TABLE_DIFFERS, held.unit or "no unit", variable.unit or "no unit", variable.column)


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
