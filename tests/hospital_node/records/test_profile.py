"""What IT may look at, and the one figure that may be published."""

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hospital_node.records.errors import NoRecords
from hospital_node.records.profile import TableProfile, profile, size_class
from tests.hospital_node.records.resources import Node, condition, encounter, patient


def test_a_profile_counts_each_table_and_its_days(node: Node) -> None:
    unknown = condition("c2", code={"coding": [{"system": "urn:his", "code": "x"}]})
    node.load(patient(), encounter(), encounter("e2", period={"start": "2025-04-01"}), condition(), unknown)
    found = profile(node.records)
    assert found.tables[:2] == (
        TableProfile("person", 1, None, None),
        TableProfile("visit_occurrence", 2, date(2025, 3, 1), date(2025, 4, 1)),
    )
    assert found.tables[3] == TableProfile("measurement", 0, None, None)
    assert found.unmapped_share == 0.5


def test_without_records_there_is_no_profile_and_without_diagnoses_no_share(node: Node) -> None:
    with pytest.raises(NoRecords):
        profile(Path(node.records))
    node.load(patient())
    assert profile(node.records).unmapped_share is None


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_size_class_says_no_more_than_the_power_of_two(one: int, other: int) -> None:
    same = max(one, 1023).bit_length() == max(other, 1023).bit_length()
    assert (size_class(one) == size_class(other)) is same


def test_a_size_class_needs_a_count() -> None:
    assert [size_class(rows) for rows in (0, 1023, 1024, 3000)] == ["<1024", "<1024", "1024-2047", "2048-4095"]
    with pytest.raises(ValueError, match="no negative number"):
        size_class(-1)
