"""Every example of the reference page runs on records, and answers as the reference plan does."""

from datetime import date, timedelta
from decimal import Decimal

import pytest

from hospital_node.plan import compile as compiling
from hospital_node.plan import execute
from protocols.query import QuerySpec, Table
from protocols.query.reference import EXAMPLES, Example
from protocols.query.sql import parse_sql
from tests.hospital_node.plan import oracle
from tests.hospital_node.plan.records import Hospital, Records, Row

KEY = b"the key of one period of a node!"
DISTRICTS = ("440103", "440106", "440118")


def held(spec: QuerySpec) -> Records:
    """Forty patients of each table that is read: a row each for `patients`, else ten, three days apart."""
    tables = dict.fromkeys(read.table for read in spec.reads)
    return Records(spec.table, tuple(row for table in tables for row in rows_of(table)))


def rows_of(table: Table) -> tuple[Row, ...]:
    if table is Table.PATIENTS:
        people = ({"birth_date": date(1950 + n, 3, 1), "sex": "FM"[n % 2], "district": DISTRICTS[n % 3]} for n in range(40))
        return tuple(Row(n, None, columns, table) for n, columns in enumerate(people))
    own = {
        Table.VISITS: lambda n: {"visit_class": "AMB"},
        Table.DIAGNOSES: lambda n: {"icd10": ("J101", "J18", "J110", "A00")[(n + n // 40) % 4]},
        Table.MEASUREMENTS: lambda n: {"loinc": "2345-7", "value": Decimal(n % 170) / 10},
    }[table]
    return tuple(
        Row(
            n % 40,
            date(2025, 1, 1) + timedelta(days=n % 40 * 2 + n // 40 * 3),
            {"district": DISTRICTS[n * 3 % 7 % 3], "sex": "FM"[n % 2], "age": n * 5 % 101, **own(n)},
            table,
        )
        for n in range(400)
    )


@pytest.mark.parametrize("few", [compiling.FEW, 0], ids=["words one by one", "words in a list"])
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.title)
def test_an_example_runs_and_answers_as_the_reference_does(example: Example, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "FEW", few)
    records = held(example.spec)
    vector = execute(example.spec, Hospital().hold(records), KEY)
    assert vector.any()
    assert vector.tolist() == oracle.answer(example.spec, records, KEY)


@pytest.mark.parametrize(
    "measures",
    [
        "COUNT(*) FILTER (WHERE sex = 'F')",
        "COUNT(*) FILTER (WHERE sex = 'M'), COUNT(*) FILTER (WHERE sex = 'F' AND icd10 LIKE 'J1%')",
        "COUNT(DISTINCT person_id) FILTER (WHERE NOT sex = 'M'), COUNT(*) FILTER (WHERE sex = 'F')",
        "COUNT(*) FILTER (WHERE sex = 'M'), COUNT(*)",
    ],
)
def test_rows_that_no_filter_lets_through_are_left_out_and_no_others(measures: str) -> None:
    period = "date >= DATE '2025-01-10' AND date < DATE '2025-03-20'"
    spec = parse_sql(f"SELECT district, {measures} FROM diagnoses WHERE {period} GROUP BY district")
    records = Records(Table.DIAGNOSES, rows_of(Table.DIAGNOSES))
    for k in (1, 3):
        asked = spec.model_copy(update={"cells_per_patient": k})
        vector = execute(asked, Hospital().hold(records), KEY)
        assert vector.any()
        assert vector.tolist() == oracle.answer(asked, records, KEY)
