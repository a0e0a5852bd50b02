"""From the text that a server gave to a table a plan can read, in a database in memory that holds one question's rows and no more.

Rules (those of an import, see `records.intake`)
- Full-width letters and digits are folded, spaces around are cut, everywhere.
- ICD-10 comes to four characters without dot or dagger; sexes, districts, kinds and ages by the same words as in a CSV.
- A record in the future, before its patient's birth or with a negative age is dropped. A value that is no number is NULL.
- A patient's number is 64 bits of SHA-256 over a secret of the period and the patient's id: the same in every question of
  the period, so that bounding keeps the same cells, and the same whatever the server. For one patient the chance to share it with
  another of ten million is 5e-13; the two would count as one.
- Of identical records of one patient and day at most 1,000 count.
- Total: no value of a record makes it raise.
"""

from collections.abc import Callable
from datetime import date
from hashlib import sha256

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from hospital_node.plan.columns import RELATIONS
from hospital_node.records.codes import LOINC, CodeMap
from hospital_node.records.csv_import import SEX_WORDS, years_of
from hospital_node.records.districts import adcode
from hospital_node.sources.mapping import MappedTable
from hospital_node.sources.statements import Reading

_MOST = 1_000
_CLOSED: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": False,
    "autoinstall_known_extensions": False,
    "allow_community_extensions": False,
    "threads": 1,
}
_MEANT = ("sex", "district", "kind", "code", "age")


def empty(*readings: Reading) -> duckdb.DuckDBPyConnection:
    """The same tables without a row: a plan that reads anything else fails on it."""
    connection = duckdb.connect(":memory:", config=_CLOSED)
    for table, reading in {each.table: each for each in readings}.items():
        relation = RELATIONS[table]
        columns = ", ".join(f"{relation.column(name)} {relation.columns[name]}" for name in reading.columns)
        connection.execute(f'CREATE TABLE "{relation.name}" ({columns})')
    return connection


def clean(
    connection: duckdb.DuckDBPyConnection,
    found: pa.Table,
    reading: Reading,
    mapped: MappedTable,
    codes: CodeMap,
    today: date,
    secret: bytes,
) -> None:
    """Adds a reading's rows to the table that a plan reads."""
    relation = RELATIONS[reading.table]
    connection.register("found", folded(found))
    for field in _MEANT:
        if field in found.column_names:
            _translate(connection, field, _meaning(field, mapped, codes))
    selected = ", ".join(f"{_CLEAN.get(name, _of_patients(name))}" for name in reading.columns)
    typed = ", ".join(f"try_cast({relation.column(name)} AS {relation.columns[name]})" for name in reading.columns)
    names = ", ".join(relation.column(name) for name in reading.columns)
    rows = f"SELECT {selected}, unnest(range(least(n, {_MOST}))) FROM ({_joined(found.column_names)}) WHERE {_SOUND}"  # noqa: S608
    given = {"secret": secret_of(secret), "today": today}
    connection.execute(f'INSERT INTO "{relation.name}" SELECT {typed} FROM ({rows}) AS t({names}, copy)', given)  # noqa: S608
    connection.unregister("found")


def secret_of(bounding_key: bytes) -> str:
    """What `PATIENT_NUMBER` takes as `$secret`."""
    return sha256(b"kapok patient number v1\0" + bounding_key).hexdigest()


def folded(found: pa.Table) -> pa.Table:
    """Full-width letters and digits as plain ones, spaces around them cut, and dates of the calendar alone."""
    for place, field in enumerate(found.schema):
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            text = pc.utf8_trim_whitespace(pc.utf8_normalize(found.column(place).cast(pa.string()), form="NFKC"))
            found = found.set_column(place, field.name, text)
        elif pa.types.is_date32(field.type):
            found = found.set_column(place, field.name, _of_the_calendar(found.column(place)))
    return found


def _of_the_calendar(dates: pa.ChunkedArray) -> pa.ChunkedArray:
    """What lies outside of the years 1 to 9999 (a server's infinity) is no date: arithmetic on it would raise."""
    days = dates.cast(pa.int32())
    first, last = (end.toordinal() - date(1970, 1, 1).toordinal() for end in (date.min, date.max))
    return pc.if_else(pc.and_(pc.greater_equal(days, first), pc.less_equal(days, last)), dates, pa.scalar(None, pa.date32()))


Meaning = Callable[[str], str | int | None]


def _meaning(field: str, mapped: MappedTable, codes: CodeMap) -> Meaning:
    if field == "sex":
        return lambda text: SEX_WORDS.get(text.casefold(), "U")
    if field == "district":
        return adcode
    if field == "age":
        return years_of
    if field == "kind":
        kinds = {_fold(word): kind for word, kind in mapped.kinds.items()}
        return lambda text: kinds.get(text, "OTHER")
    if mapped.value is not None:
        items = {_fold(word): loinc for word, loinc in mapped.codes.items()}
        return lambda text: items.get(text, text if mapped.system == LOINC else None)
    return lambda text: codes.icd10(mapped.system, text)


def _fold(text: str) -> str:
    return str(pc.utf8_trim_whitespace(pc.utf8_normalize(pa.array([text]), form="NFKC"))[0].as_py())


def _translate(connection: duckdb.DuckDBPyConnection, field: str, meaning: Meaning) -> None:
    """Table `<field>_means`: each word that occurs, once, with what it means."""
    kind = "SMALLINT" if field == "age" else "VARCHAR"
    words = [word for (word,) in connection.execute(f'SELECT DISTINCT "{field}" FROM found WHERE "{field}" IS NOT NULL').fetchall()]  # noqa: S608
    means = pa.table(
        {"word": pa.array(words, pa.string()), "means": pa.array([_as_text(meaning(word)) for word in words], pa.string())}
    )
    connection.register("words", means)
    connection.execute(f"CREATE OR REPLACE TABLE {field}_means AS SELECT word, try_cast(means AS {kind}) AS means FROM words")  # noqa: S608
    connection.unregister("words")


def _as_text(value: str | int | None) -> str | None:
    return None if value is None else str(value)


def _joined(fields: list[str]) -> str:
    """The rows with each word beside its meaning; what the mapping has not is NULL."""
    meant = [f'{field}_means.means AS "{field}"' for field in _MEANT if field in fields]
    plain = [f'found."{field}" AS "{field}"' for field in fields if field not in _MEANT]
    absent = [f'CAST(NULL AS {kind}) AS "{field}"' for field, kind in _KINDS.items() if field not in fields]
    joins = " ".join(f'LEFT JOIN {field}_means ON {field}_means.word = found."{field}"' for field in _MEANT if field in fields)
    return f"SELECT {', '.join([*meant, *plain, *absent])} FROM found {joins}"  # noqa: S608


_KINDS = dict.fromkeys(_MEANT, "VARCHAR") | {"age": "SMALLINT", "date": "DATE", "birth_date": "DATE", "value": "VARCHAR"}
_SOUND = (
    "person <> '' AND (date IS NULL OR date <= $today) AND (age IS NULL OR age >= 0) "
    "AND (birth_date IS NULL OR date IS NULL OR birth_date <= date)"
)
PATIENT_NUMBER = "CAST(CAST(concat('0x', left(sha256(concat($secret, person)), 16)) AS UBIGINT) AS HUGEINT) - 9223372036854775808"
_CLEAN = {
    "person_id": PATIENT_NUMBER,
    "visit_date": "date",
    "condition_date": "date",
    "measurement_date": "date",
    "age": "CASE WHEN birth_date IS NULL THEN age ELSE date_sub('year', birth_date, date) END",
    "sex": "coalesce(sex, 'U')",
    "visit_class": "coalesce(kind, 'OTHER')",
    "icd10": "code",
    "loinc": "code",
}


def _of_patients(name: str) -> str:
    return f'"{name}"'
