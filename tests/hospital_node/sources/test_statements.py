"""The SQL of every engine: one grouped SELECT, names quoted, days bound; and the mapping file it is made from."""

from __future__ import annotations

import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp

from hospital_node.sources.errors import InvalidSource
from hospital_node.sources.mapping import MappedTable, Source, example_source, read_source
from hospital_node.sources.statements import DIALECTS, Reading, statement, whole
from protocols.query import Table

DAYS = (date(2026, 1, 1), date(2026, 2, 1))
NAMES = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters='"`'), min_size=1, max_size=12)


def mapped(table: str = "visits", **changes: Any) -> MappedTable:
    fields = tomllib.loads(example_source())[table]
    return MappedTable.model_validate(fields | changes)


@pytest.mark.parametrize("engine", DIALECTS)
@pytest.mark.parametrize("table", Table)
def test_an_engines_own_parser_reads_its_statement(engine: str, table: Table) -> None:
    sql = statement(engine, mapped(str(table)), whole(table, DAYS)).sql
    tree = sqlglot.parse_one(sql.replace("%s", "?"), dialect=DIALECTS[engine], error_level=sqlglot.ErrorLevel.RAISE)
    assert isinstance(tree, exp.Select)
    assert len(list(tree.find_all(exp.Select))) == 1
    assert all(identifier.quoted for identifier in tree.find_all(exp.Identifier))
    assert not any(literal.is_string for literal in tree.find_all(exp.Literal))
    grouped = [column.sql() for column in tree.args["group"].expressions]
    assert grouped == [one.this.sql() for one in tree.expressions if one.alias != "n"]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(DIALECTS)), st.lists(NAMES, min_size=4, max_size=4))
def test_no_name_can_become_anything_but_a_name(engine: str, names: list[str]) -> None:
    person, number, day, relation = names
    one = MappedTable(relation=["his", relation], person=person, id=number, date=day)
    made = statement(engine, one, Reading(Table.VISITS, ("person_id", "visit_date"), DAYS))
    sql = made.sql % ("?", "?") if engine == "mysql" else made.sql
    tree = sqlglot.parse_one(sql, dialect=DIALECTS[engine])
    assert {column.name for column in tree.find_all(exp.Column)} == {person, number, day}
    assert tree.find(exp.Table).name == relation
    assert made.days == DAYS


def test_only_what_a_question_reads_is_asked() -> None:
    made = statement("postgresql", mapped(), Reading(Table.VISITS, ("person_id", "visit_date", "district"), DAYS))
    assert made.sql == (
        'SELECT CAST("patient_no" AS VARCHAR(128)) AS "person", CAST("visit_time" AS DATE) AS "date", '
        'CAST("birth_date" AS DATE) AS "birth_date", CAST("district" AS VARCHAR(128)) AS "district", '
        'COUNT(DISTINCT CAST("visit_no" AS VARCHAR(128))) AS "n" FROM "his"."outpatient_visit" '
        'WHERE NOT "patient_no" IS NULL AND "visit_time" >= $1 AND "visit_time" < $2 '
        'GROUP BY CAST("patient_no" AS VARCHAR(128)), CAST("visit_time" AS DATE), CAST("birth_date" AS DATE), '
        'CAST("district" AS VARCHAR(128))'
    )


def test_the_example_is_a_valid_file(tmp_path: Path) -> None:
    (tmp_path / "source.toml").write_text(example_source())
    assert set(read_source(tmp_path / "source.toml").tables) == set(Table)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"visits": {"relation": ["his", "v"], "person": "p"}}, "visits.date: missing"),
        ({"visits": {"relation": ["his", "v"], "person": "p", "date": 'a"b'}}, "visits.date: String should match"),
        ({"visits": {"relation": ["his", "v"], "person": "p", "date": "d", "gender": "g"}}, "visits.gender: Extra inputs"),
        ({"visits": {"relation": ["a", "b", "c"], "person": "p", "date": "d"}}, "visits.relation: List should have at most 2"),
        ({"visits": None}, "no table is mapped"),
        ({"database": {"engine": "mysql", "host": "h"}}, "user and password_file are needed"),
        ({"database": {"engine": "db2", "host": "h"}}, "database.engine: Input should be 'postgresql'"),
    ],
)
def test_a_wrong_mapping_says_where(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    fields = {"database": {"engine": "spark", "host": "local[1]"}, "visits": {"relation": ["v"], "person": "p", "date": "d"}}
    fields = {name: value for name, value in (fields | change).items() if value is not None}
    path = tmp_path / "source.toml"
    path.write_text(_toml(fields))
    with pytest.raises(InvalidSource) as raised:
        read_source(path)
    assert said in str(raised.value)


def _toml(fields: dict[str, Any]) -> str:
    def written(value: Any) -> str:
        return f"[{', '.join(map(written, value))}]" if isinstance(value, list) else repr(value)

    return "\n".join(
        f"[{name}]\n" + "\n".join(f"{key} = {written(value)}" for key, value in section.items()) for name, section in fields.items()
    )


def test_a_file_that_is_not_there_or_no_toml_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidSource, match="No such file"):
        read_source(tmp_path / "source.toml")
    (tmp_path / "source.toml").write_text("[")
    with pytest.raises(InvalidSource, match="not TOML"):
        read_source(tmp_path / "source.toml")


def test_a_spark_source_needs_no_login() -> None:
    assert Source.model_validate(
        {"database": {"engine": "spark", "host": "local[1]"}, "visits": {"relation": ["v"], "person": "p", "date": "d"}}
    )
