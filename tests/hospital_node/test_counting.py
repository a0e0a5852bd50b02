"""What one question prepared serves the next over the same generation of the records, and no question over another."""

from pathlib import Path

import duckdb
import pytest

from hospital_node.counting import InstalledPlans
from hospital_node.plan import prepared
from hospital_node.records.generations import next_generation
from hospital_node.records.schema import DDL
from protocols.query import QuerySpec
from tests.hospital_node.sources.hospital import asked

KEY = b"the key of one period of a node!"
ROW = "(1, {person}, 'v', 'AMB', DATE '{day}', NULL, '440103', 'F', 30)"


def import_visits(folder: Path, *rows: tuple[int, str]) -> None:
    with next_generation(folder) as building, duckdb.connect(building) as connection:
        connection.execute(DDL)
        for person, day in rows:
            connection.execute(f"INSERT INTO visit_occurrence VALUES {ROW.format(person=person, day=day)}")


def months(measure: str, end: str = "2025-04-01") -> QuerySpec:
    asked = {"table": "visits", "measures": [{"kind": measure}], "keys": [{"key": "month"}]}
    return QuerySpec.from_fields({**asked, "period": {"from": "2025-01-01", "to": end}})


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The months that were read from the records so far."""
    found: list[str] = []
    bounded = prepared.bounded_tallies

    def noted(month: QuerySpec, *rest: object) -> object:
        assert month.period is not None
        found.append(f"{month.period.start:%Y-%m}")
        return bounded(month, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(prepared, "bounded_tallies", noted)
    return found


def test_a_second_question_reads_only_the_months_that_are_new(tmp_path: Path, read: list[str]) -> None:
    import_visits(tmp_path, (1, "2025-01-05"), (1, "2025-01-07"), (2, "2025-03-01"), (3, "2025-04-30"))
    plans = InstalledPlans(tmp_path)
    generation = plans.generation()
    assert plans.count(asked(months("count_distinct_person")), generation, KEY, b"", 1).tolist() == [1, 0, 1]
    assert read == ["2025-01", "2025-02", "2025-03"]
    assert plans.count(asked(months("count", "2025-05-01")), generation, KEY, b"", 1).tolist() == [2, 0, 1, 1]
    assert read == ["2025-01", "2025-02", "2025-03", "2025-04"]


def test_an_import_leaves_nothing_that_was_prepared(tmp_path: Path, read: list[str]) -> None:
    import_visits(tmp_path, (1, "2025-01-05"))
    plans, question = InstalledPlans(tmp_path), asked(months("count_distinct_person"))
    before = plans.generation()
    assert plans.count(question, before, KEY, b"", 1).tolist() == [1, 0, 0]
    import_visits(tmp_path, (2, "2025-01-05"), (3, "2025-02-01"))
    after = plans.generation()
    assert after != before
    assert plans.count(question, after, KEY, b"", 1).tolist() == [2, 1, 0]
    read.clear()
    # A question that still stands on the older generation gets its integers, and spoils none of the newer.
    assert plans.count(question, before, KEY, b"", 1).tolist() == [1, 0, 0]
    assert plans.count(question, after, KEY, b"", 1).tolist() == [2, 1, 0]
    assert read == []
