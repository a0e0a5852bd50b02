"""The reference page is what the code says today, and has every word of the language."""

from pathlib import Path
from typing import get_args

import pytest

import protocols.query
from protocols.query import parse_json
from protocols.query.reference import EXAMPLES, Example, page
from protocols.query.terms import Key, Measure, Table

PAGE = Path(protocols.query.__file__).with_name("REFERENCE.md")


def test_the_page_is_what_the_code_writes() -> None:
    assert PAGE.read_text("utf-8") == page(), "stale: python -m protocols.query.reference > protocols/query/REFERENCE.md"


def _kinds(union: object, field: str) -> set[str]:
    """The tags of every member of a union of terms."""
    members = get_args(get_args(union)[0])
    return {tag for member in members for tag in get_args(member.model_fields[field].annotation)}


def test_every_measure_key_and_table_has_an_example() -> None:
    specs = [example.spec for example in EXAMPLES]
    assert {measure.kind for spec in specs for measure in spec.measures} == _kinds(Measure, "kind")
    assert {key.key for spec in specs for key in spec.keys} == _kinds(Key, "key")
    assert {spec.table for spec in specs} == set(Table)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.title)
def test_the_json_of_the_page_is_the_same_question(example: Example) -> None:
    section = PAGE.read_text("utf-8").split(f"## {example.title}\n")[1]
    assert parse_json(section.split("```json\n")[1].split("\n```")[0]) == example.spec
