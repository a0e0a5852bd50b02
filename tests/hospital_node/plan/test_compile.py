"""The statement of a plan: from the spec alone, over listed columns, bound to the footprint."""

from __future__ import annotations

import re
from datetime import date

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hospital_node.plan import compile_plan, execute, probe
from hospital_node.plan.columns import RELATIONS, Relation
from protocols.query import Layout, QuerySpec, Table, footprint
from protocols.query.domains import months_between
from tests.hospital_node.plan.records import Hospital, Records, Row
from tests.protocols.query.specs import specs


@settings(max_examples=150, deadline=None)
@given(specs())
def test_every_spec_runs_on_empty_tables_and_gives_zeros_of_its_length(spec: QuerySpec) -> None:
    vector = probe(spec)
    assert vector.dtype == "int64"
    assert len(vector) == Layout.of(spec).dimension
    assert not vector.any()


@given(specs())
def test_the_statement_holds_no_value_of_the_query(spec: QuerySpec) -> None:
    plan = compile_plan(spec)
    tables = [read.table for read in spec.reads]
    for table, statement in zip(tables, (plan, *plan.windows), strict=True):
        assert "'" not in statement.sql
        quoted = set(re.findall(r'"(\w+)"', statement.sql))
        relation = RELATIONS[table]
        assert quoted <= set(relation.columns) | {relation.name}
        assert statement.sql.count("SELECT") == statement.sql.count(" FROM ") == 1


@given(specs())
def test_each_statement_is_handed_the_rows_of_blocks_that_pay(spec: QuerySpec) -> None:
    plan = compile_plan(spec)
    for read, statement in zip(spec.reads, (plan, *plan.windows), strict=True):
        if read.days is None:
            assert not any(isinstance(value, date) for value in statement.parameters.values())
            continue
        filtered = re.search(rf'WHERE .*"{RELATIONS[read.table].date}" >= \$(p\d+) AND "\w+" < \$(p\d+)', statement.sql)
        assert filtered is not None
        assert tuple(statement.parameters[name] for name in filtered.groups()) == read.days
        months = months_between(*read.days)
        assert set(months) <= set(footprint(spec))


def test_a_column_that_is_not_listed_cannot_be_named() -> None:
    with pytest.raises(AssertionError, match="source_id is not on the list"):
        RELATIONS[Table.VISITS].column("source_id")
    with pytest.raises(AssertionError, match="its date is not one of its columns"):
        Relation("t", "day", {"person_id": "BIGINT"})


def test_two_runs_of_one_question_agree() -> None:
    spec = QuerySpec.from_fields(
        {
            "table": "visits",
            "measures": [{"kind": "count"}, {"kind": "avg", "column": "age", "lo": "0", "hi": "120"}],
            "keys": [{"key": "iso_week"}, {"key": "district"}],
            "period": {"from": "2026-01-01", "to": "2026-07-01"},
            "cells_per_patient": 1,
        }
    )
    columns = {"district": "440103", "age": 40}
    rows = tuple(Row(n % 9, date(2026, 1 + n % 6, 1 + n % 28), columns) for n in range(200))
    connection = Hospital().hold(Records(Table.VISITS, rows))
    reversed_rows = Hospital().hold(Records(Table.VISITS, rows[::-1]))
    assert (execute(spec, connection, bytes(32)) == execute(spec, reversed_rows, bytes(32))).all()


@given(st.dates(date(1990, 1, 1), date(2030, 1, 1)), st.dates(date(1990, 1, 1), date(2030, 1, 1)))
@settings(max_examples=60, deadline=None)
def test_a_patient_has_the_age_of_the_last_birthday(birth: date, as_of: date) -> None:
    years = as_of.year - birth.year - ((as_of.month, as_of.day) < (birth.month, birth.day))
    spec = QuerySpec.from_fields(
        {
            "table": "patients",
            "measures": [{"kind": "count"}],
            "as_of": str(as_of),
            "where": [{"column": "age", "low": max(years, 0), "high": max(years, 0)}],
        }
    )
    connection = Hospital().hold(Records(Table.PATIENTS, (Row(1, None, {"birth_date": birth}),)))
    assert list(execute(spec, connection, bytes(32))) == [int(years >= 0)]


@pytest.mark.parametrize("day", ["infinity", "-infinity", "0001-01-01 (BC)", "294247-01-10"])
def test_dates_that_no_calendar_has_are_not_counted_and_do_not_raise(day: str) -> None:
    dated = QuerySpec.from_fields(
        {"table": "visits", "measures": [{"kind": "count"}], "period": {"from": "2026-01-01", "to": "2026-02-01"}}
    )
    born = QuerySpec.from_fields(
        {"table": "patients", "measures": [{"kind": "sum", "column": "age", "lo": "0", "hi": "120"}], "as_of": "2026-01-01"}
    )
    with duckdb.connect(config={"threads": 1}) as connection:
        for relation in RELATIONS.values():
            connection.execute(relation.empty_copy)
        connection.execute("INSERT INTO visit_occurrence BY NAME SELECT 1 AS person_id, CAST(? AS DATE) AS visit_date", [day])
        connection.execute("INSERT INTO person BY NAME SELECT 1 AS person_id, CAST(? AS DATE) AS birth_date", [day])
        assert list(execute(dated, connection, bytes(32))) == [0]
        assert list(execute(born, connection, bytes(32))) in ([0], [120])
