"""A table that is not what is asked, or not what the other hospitals state, is named by its column: at the gate, and by doctor."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from hospital_node.doctor import _tables
from hospital_node.tables.declared import declare
from hospital_node.tables.matching import apart
from hospital_node.tables.registering import add_table
from hospital_node.tables.schema import TableSchema, read_schema
from protocols import statements as st
from protocols.fits import Fit, read
from protocols.fits.matching import table_differences
from protocols.refusal import Reason
from tests.hospital_node.support.nodes import Nodes
from tests.hospital_node.test_neighbours_tables import approve_table
from tests.support.city import ORIGIN

SCHEMA = """
catalogue = "heart-2026"
title = "heart disease"
column = [
    {name = "age", type = "number", low = "20", high = "80", unit = "years"},
    {name = "pressure", type = "number", low = "60", high = "200", unit = "mmHg"},
    {name = "sex", type = "category", categories = ["female", "male"]},
]
"""
OTHERS = {
    "another unit": (SCHEMA.replace('"years"', '"months"'), "age", "number (years)", "number (months)"),
    "no unit": (SCHEMA.replace(', unit = "mmHg"', ""), "pressure", "number (mmHg)", "number"),
    "a missing column": (SCHEMA.replace('    {name = "pressure", type = "number", low = "60", high = "200", unit = "mmHg"},\n', ""),
                         "pressure", "a column that most hospitals have", "none"),
    "another type": (SCHEMA.replace('type = "number", low = "20", high = "80", unit = "years"',
                                    'type = "category", categories = ["young", "old"]'), "age", "number (years)", "category"),
    "a missing category": (SCHEMA.replace('["female", "male"]', '["female", "other"]'), "sex", "male", "female, other"),
}  # fmt: skip
AGE = {"column": "age", "low": "20", "high": "80", "unit": "years"}
FIT: dict[str, Any] = {
    "version": 2,
    "fit": "linear",
    "table": "heart",
    "catalogue": "heart-2026",
    "period": None,
    "rows_per_patient": 1,
    "outcome": {"column": "pressure", "low": "60", "high": "200", "unit": "mmHg"},
    "features": [AGE, {"column": "sex", "category": "male"}],
}


def schema(text: str = SCHEMA) -> TableSchema:
    return TableSchema.model_validate(tomllib.loads(text))


def stated(text: str = SCHEMA, hospital: int = 2, **changes: Any) -> st.Registration:
    found = schema(text).statement(ORIGIN, f"kapok://hospital/h{hospital:02d}", 1_800_000_000, "heart")
    return found.model_copy(update=changes)


def fit() -> Fit:
    return read(FIT)


@pytest.mark.parametrize("case", OTHERS)
def test_a_fit_is_refused_by_what_the_hospital_registered_and_by_what_it_stated_alike(case: str) -> None:
    text, column, *_ = OTHERS[case]
    by_schema, by_statement = table_differences(fit(), schema(text)), table_differences(fit(), stated(text))
    assert by_schema == by_statement
    assert [(no.reason, no.subject) for no in by_schema] == [(Reason.TABLE_DIFFERS, column)]


def test_what_is_asked_as_it_is_registered_is_not_refused() -> None:
    assert table_differences(fit(), schema()) == table_differences(fit(), stated()) == []
    assert [no.reason for no in table_differences(fit(), None)] == [Reason.TABLE_NOT_REGISTERED]
    renamed = table_differences(fit(), schema(SCHEMA.replace("heart-2026", "heart-2027")))
    assert [(no.reason, no.subject) for no in renamed] == [(Reason.TABLE_DIFFERS, "catalogue")]
    dated = table_differences(fit(), stated(is_dated=True))
    assert [(no.reason, no.subject) for no in dated] == [(Reason.TABLE_DIFFERS, "period")]


@pytest.mark.parametrize("case", OTHERS)
def test_what_most_other_hospitals_state_differently_is_named_with_both(case: str) -> None:
    text, column, there, here = OTHERS[case]
    (no,) = apart("heart", schema(text), [stated(hospital=n) for n in (2, 3, 4)])
    assert (no.reason, no.subject, no.expected, no.got) == (Reason.TABLE_DIFFERS, column, there, here)


def test_two_against_one_the_one_is_told_and_where_they_part_evenly_nobody() -> None:
    months = OTHERS["another unit"][0]
    assert apart("heart", schema(), [stated(hospital=2), stated(months, 3), stated(hospital=4)]) == []
    assert apart("heart", schema(), [stated(hospital=2), stated(months, 3)]) == []
    assert apart("heart", schema(), [stated(months, 2, table="liver"), stated(months, 3, catalogue="other-1")]) == []
    assert apart("heart", schema(), []) == []


CELLS = {"age": "50", "pressure": "120", "sex": "female"}


@pytest.mark.parametrize("case", ["another unit", "a missing column"])
def test_doctor_names_it_with_its_code_before_anybody_asks(tmp_path: Path, case: str) -> None:
    text, column, *_ = OTHERS[case]
    world = Nodes(tmp_path / "city", 4)
    mine = world.first()
    for uri, node in world.nodes.items():
        _register(world, uri, text if node is mine else SCHEMA)
    for node in world.nodes.values():
        node.bring()
        world.ask().offer(node)  # what is followed is on the disk with the next decision
        is_well, told, _ = _tables(node.home, node.answering.config)
        assert (is_well is False, f"heart.{column}: " in told, "[table.differs]" in told) == (node is mine,) * 3, told
    world.close()


def _register(world: Nodes, uri: str, text: str) -> None:
    home, names = world.nodes[uri].home, [each.name for each in schema(text).column]
    (home / "trust.policy").write_bytes(world.city.trust.encode())
    (home / "heart.toml").write_text(text)
    (home / "heart.csv").write_text(f"{','.join(names)}\n{','.join(CELLS[name] for name in names)}\n")
    add_table(home / "records", "heart", home / "heart.csv", read_schema(home / "heart.toml"))
    declare(home, "heart", text.encode())
    approve_table(world.city, uri, "heart", text)
