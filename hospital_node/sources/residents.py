"""Who is which resident in a live database: numbers are read beside the question's rows, become tags, and are dropped with them.

Rules
- The number stands in `patients`, which has no date: a patient's tag depends on no month's rows, so that no month that is asked or
  left out moves a patient from one bucket to another.
- Of several numbers of one patient the smallest tag counts. What has no number's form is no number: that patient is counted by
  this hospital for itself.
- Only the numbers of patients in the question's rows are hashed. They are in memory until its count has ended, and nowhere else.
"""

from collections.abc import Iterator

import duckdb
import pyarrow as pa

from hospital_node.plan.columns import RELATIONS
from hospital_node.records.residents import Residents
from hospital_node.sources.cleaning import PATIENT_NUMBER, folded, secret_of
from hospital_node.sources.mapping import MappedTable
from hospital_node.sources.statements import Reading
from protocols.query import Table
from protocols.union import MalformedResidentNumber

NUMBERS = Reading(Table.PATIENTS, ("resident",), None)
_TABLE = pa.schema([("person_id", pa.int64()), ("tag", pa.binary()), ("key_print", pa.string())])


def can_tell(patients: MappedTable | None) -> bool:
    """Whether the mapping says where the numbers stand."""
    return patients is not None and patients.resident is not None


def tag(connection: duckdb.DuckDBPyConnection, found: pa.Table, counted: Table, residents: Residents, secret: bytes) -> None:
    """Makes the table `resident` of the patients whom the counted table holds. Total: no number makes it raise."""
    connection.register("found", folded(found))
    numbers = connection.execute(
        f"SELECT CAST({PATIENT_NUMBER} AS BIGINT) AS person_id, resident FROM found "  # noqa: S608
        f"WHERE person <> '' AND resident <> '' AND person_id IN (SELECT person_id FROM \"{RELATIONS[counted].name}\")",
        {"secret": secret_of(secret)},
    ).fetchall()
    connection.unregister("found")
    tags = dict(sorted(_tags(residents, numbers), reverse=True))  # the last of a patient stays: its smallest
    rows = [list(tags), list(tags.values()), [residents.fingerprint] * len(tags)]
    connection.register("tags", pa.table(rows, schema=_TABLE))
    connection.execute("CREATE TABLE resident AS SELECT * FROM tags")
    connection.unregister("tags")


def _tags(residents: Residents, numbers: list[tuple[int, str]]) -> Iterator[tuple[int, bytes]]:
    for person, number in numbers:
        try:
            yield person, residents.key.tag(number)
        except MalformedResidentNumber:
            continue
