"""The rows of a registered table that a fit reads: complete ones, each variable in [-1, 1], a patient's rows of one block together.

Total: no row makes it raise. What is missing takes the row away, what is beyond the public bounds is clamped to them. In exact mode
clamping would be another answer: there such a value withholds the hospital's sum.
"""

from dataclasses import dataclass, field

import duckdb
import numpy as np
import numpy.typing as npt

from hospital_node.tables.registering import registered_in
from hospital_node.tables.schema import TableSchema
from protocols.fits import Category, Fit, Floats, Numeric, Variable


@dataclass(frozen=True, slots=True)
class Rows:
    """A column a variable of the fit, in [-1, 1] and in its own unit; `starts` are the first rows of each (patient, block).

    `persons` are theirs, where a fit has to know one from another.
    """

    scaled: Floats
    own: Floats
    starts: npt.NDArray[np.int64]
    persons: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def between(self, first: int, last: int) -> "Rows":
        """The rows of these (patient, block)s."""
        begin, end = int(self.starts[first]), int(self.starts[last]) if last < len(self.starts) else len(self.own)
        return Rows(self.scaled[begin:end], self.own[begin:end], self.starts[first:last] - begin)


def rows_of(spec: Fit, records: duckdb.DuckDBPyConnection) -> Rows:
    """Raises LookupError where the table or a column is not registered here (a question is refused for it before)."""
    schema = registered_in(records)[spec.table]
    columns = ", ".join(f"{_expression(each, schema, n)} AS v{n}" for n, each in enumerate(spec.variables))
    days = "AND day >= $start AND day < $end" if spec.period else ""
    block = "year(day) * 12 + month(day)" if spec.period else "0"
    # Table and columns are our own names for what is registered; everything the question states is bound.
    # A patient's own rows are ordered too: in which order they are added up must not depend on anybody else's.
    sql = (
        f"SELECT person_id, {block} AS block, {columns} "  # noqa: S608
        f"FROM registered_{spec.table} WHERE true {days} ORDER BY ALL"
    )
    bound: dict[str, object] = {f"k{n}": each.category for n, each in enumerate(spec.variables) if isinstance(each, Category)}
    bound |= {"start": spec.period.start, "end": spec.period.end} if spec.period else {}
    found = records.execute(sql, bound).fetchnumpy()
    read = [_numbers(found[f"v{n}"]) for n in range(len(spec.variables))]
    values = np.column_stack([_clamped(each, read[n]) for n, each in enumerate(spec.variables)])
    if spec.is_exact and (values != np.column_stack(read))[~np.isnan(values)].any():
        raise OverflowError("a value beyond its public bounds, which exact mode does not clamp")
    group = np.column_stack([np.asarray(found[name], np.int64) for name in ("person_id", "block")])
    is_complete = ~np.isnan(values).any(axis=1)
    values, group = values[is_complete], group[is_complete]
    is_first = np.ones(len(group), bool)
    is_first[1:] = (group[1:] != group[:-1]).any(axis=1)
    scaled = np.column_stack([_scaled(each, values[:, n]) for n, each in enumerate(spec.variables)])
    return Rows(scaled, values, np.flatnonzero(is_first), group[is_first, 0])


def _expression(variable: Variable, schema: TableSchema, number: int) -> str:
    place = [each.name for each in schema.column].index(variable.column)
    if isinstance(variable, Numeric):
        return f"c{place}"
    return f"CASE WHEN c{place} IS NULL THEN NULL WHEN c{place} = $k{number} THEN 1.0 ELSE 0.0 END"


def _numbers(found: object) -> Floats:
    """What is missing, as NaN."""
    return np.ma.filled(np.ma.asarray(found, np.float64), np.nan)


def _clamped(variable: Variable, values: Floats) -> Floats:
    if isinstance(variable, Category):
        return values
    clamped: Floats = np.clip(values, float(variable.low), float(variable.high))
    return clamped


def _scaled(variable: Variable, values: Floats) -> Floats:
    if isinstance(variable, Category):
        return values
    scaled: Floats = np.clip((values - variable.middle) / variable.half, -1.0, 1.0)
    return scaled
