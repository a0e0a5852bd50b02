"""The one SELECT that a server is asked, built as a syntax tree from mapping and question; no text of the asker is part of it.

Rules
- The server does projection, the range of dates and GROUP BY (person, day, keys), nothing else. Weeks are cut here: translated
  week functions are silently wrong on MySQL and Oracle.
- Every name is quoted, both ends of the range are bound parameters.
- Everything but dates is asked as text, so that one cleaning serves all servers. On MySQL text is compared byte by byte:
  its collations take `a1`, `A1` and `a1 ` for one patient.
- `n` is how many distinct records (by their id) the group holds; without an id it is one.
- The days asked are those of the blocks that pay.
"""

from dataclasses import dataclass
from datetime import date

from sqlglot import exp

from hospital_node.plan.columns import RELATIONS
from hospital_node.sources.mapping import MappedTable
from protocols.query import Table

DIALECTS = {"postgresql": "postgres", "mysql": "mysql", "oracle": "oracle", "spark": "spark"}
_TEXT = "VARCHAR(128)"


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL with its two bound days (none where the table has no date), in order."""

    sql: str
    days: tuple[date, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """What one question reads: a table of the language, its columns by our names, and the days of its blocks, end excluded."""

    table: Table
    columns: tuple[str, ...]
    days: tuple[date, date] | None

    @property
    def asked(self) -> tuple[str, ...]:
        """The mapping's fields behind the columns; with every day its birth date and age, since negative ages are dropped."""
        return tuple(dict.fromkeys(field for column in ("person_id", *self.columns) for field in _FIELDS[column]))


_FIELDS: dict[str, tuple[str, ...]] = {
    "person_id": ("person",),
    "visit_date": ("date", "birth_date", "age"),
    "condition_date": ("date", "birth_date", "age"),
    "measurement_date": ("date", "birth_date", "age"),
    "birth_date": ("birth_date",),
    "age": ("birth_date", "age"),
    "district": ("district",),
    "sex": ("sex",),
    "visit_class": ("kind",),
    "icd10": ("code",),
    "loinc": ("code",),
    "value": ("value",),
    "resident": ("resident",),
}
_DATES = ("date", "birth_date")


def statement(engine: str, mapped: MappedTable, reading: Reading) -> Statement:
    """The SELECT for one engine; its columns carry the names of the mapping's fields, and `n`."""
    dialect = DIALECTS[engine]
    fields = [field for field in reading.asked if getattr(mapped, field) is not None]
    columns = {field: _column(dialect, mapped, field) for field in fields}
    asked = [exp.alias_(tree, field, quoted=True) for field, tree in columns.items()]
    relation = exp.table_(mapped.relation[-1], db=mapped.relation[0] if len(mapped.relation) == 2 else None, quoted=True)
    select = exp.select(*asked, exp.alias_(_records(dialect, mapped), "n", quoted=True)).from_(relation)
    select = select.where(exp.column(mapped.person, quoted=True).is_(exp.null()).not_())
    if reading.days is not None and mapped.date is not None:
        day = exp.column(mapped.date, quoted=True)
        first, end = (_parameter(dialect, place) for place in (1, 2))
        select = select.where(exp.GTE(this=day, expression=first), exp.LT(this=day.copy(), expression=end))
    select = select.group_by(*(tree.copy() for tree in columns.values()))
    return Statement(_escaped(dialect, select), reading.days or ())


def _column(dialect: str, mapped: MappedTable, field: str) -> exp.Expression:
    column = exp.column(getattr(mapped, field), quoted=True)
    if field not in _DATES:
        return _text(dialect, column)
    # Oracle's DATE keeps the time of the day through a cast.
    return exp.Anonymous(this="TRUNC", expressions=[column]) if dialect == "oracle" else exp.cast(column, "DATE")


def _text(dialect: str, column: exp.Expression) -> exp.Expression:
    if dialect == "mysql":
        return exp.cast(exp.cast(column, "CHAR(128)"), "BINARY")
    return exp.cast(column, "STRING" if dialect == "spark" else _TEXT)


def _records(dialect: str, mapped: MappedTable) -> exp.Expression:
    if mapped.id is None:
        return exp.Literal.number(1)
    return exp.Count(this=exp.Distinct(expressions=[_text(dialect, exp.column(mapped.id, quoted=True))]))


def _parameter(dialect: str, place: int) -> exp.Expression:
    if dialect == "postgres":
        return exp.Parameter(this=exp.Literal.number(place))
    return exp.Var(this="%s") if dialect == "mysql" else exp.Placeholder(this=f"day{place}")


def _escaped(dialect: str, select: exp.Select) -> str:
    if dialect != "mysql":
        return str(select.sql(dialect=dialect))
    # PyMySQL reads every % of the text as the start of a parameter, those inside quoted names too.
    for identifier in select.find_all(exp.Identifier):
        identifier.set("this", identifier.name.replace("%", "%%"))
    return str(select.sql(dialect=dialect))


def whole(table: Table, days: tuple[date, date]) -> Reading:
    """Every column of a table, for the checks."""
    relation = RELATIONS[table]
    return Reading(table, tuple(relation.columns), days if relation.date else None)
