"""What one question prepared serves the next over the same generation of the records, and no question over another."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import rmtree
from threading import Event

import duckdb
import pytest

from hospital_node.counting import Counts, InstalledPlans
from hospital_node.plan import prepared
from hospital_node.records.generations import next_generation
from hospital_node.records.schema import DDL
from hospital_node.trace import Trace
from protocols.asked import Asked
from protocols.query import QuerySpec
from protocols.secagg.ring import Integers
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
    """The stretches of months that were read from the records to be kept."""
    found: list[str] = []
    rows_with_days = prepared.rows_with_days

    def noted(asked: QuerySpec, *rest: object) -> object:
        assert asked.period is not None
        found.append(f"{asked.period.start:%Y-%m} {asked.period.end:%Y-%m}")
        return rows_with_days(asked, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(prepared, "rows_with_days", noted)
    return found


def test_a_second_question_reads_only_the_months_that_are_new(tmp_path: Path, read: list[str]) -> None:
    import_visits(tmp_path, (1, "2025-01-05"), (1, "2025-01-07"), (2, "2025-03-01"), (3, "2025-04-30"))
    plans = InstalledPlans(tmp_path)
    generation = plans.generation()
    assert plans.count(asked(months("count_distinct_person")), generation, KEY, b"", 1).tolist() == [1, 0, 1]
    assert read == ["2025-01 2025-04"]
    assert plans.count(asked(months("count_distinct_person", "2025-05-01")), generation, KEY, b"", 1).tolist() == [1, 0, 1, 1]
    assert read == ["2025-01 2025-04", "2025-04 2025-05"]


def test_months_that_were_had_ready_are_not_read_again_and_count_alike(tmp_path: Path, read: list[str]) -> None:
    import_visits(tmp_path, (1, "2025-01-05"), (1, "2025-01-07"), (2, "2025-03-01"))
    plans, spec = InstalledPlans(tmp_path), months("count_distinct_person")
    generation = plans.generation()
    assert plans.prepare_table(spec, generation, KEY)
    assert not plans.prepare_table(spec, generation, KEY)
    read.clear()
    assert plans.count(asked(spec), generation, KEY, b"", 1).tolist() == [1, 0, 1]
    assert read == []
    assert not plans.prepare_table(spec, "g00000099-0-0", KEY)


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
    # A question that still stands on the older generation gets its integers, as fast as before, and spoils none of the newer.
    assert plans.count(question, before, KEY, b"", 1).tolist() == [1, 0, 0]
    assert plans.count(question, after, KEY, b"", 1).tolist() == [2, 1, 0]
    assert read == []


def test_records_that_come_again_under_an_older_number_are_read_anew(tmp_path: Path) -> None:
    """The folder was lost, or an older copy of it put back, while the node runs: the number that follows was there before."""
    import_visits(tmp_path, (1, "2025-01-05"))
    plans, question = InstalledPlans(tmp_path), asked(months("count_distinct_person"))
    before = plans.generation()
    assert plans.count(question, before, KEY, b"", 1).tolist() == [1, 0, 0]
    rmtree(tmp_path)
    import_visits(tmp_path, (2, "2025-02-05"), (3, "2025-02-01"))
    after = plans.generation()
    assert plans.count(question, after, KEY, b"", 1).tolist() == [0, 2, 0]
    assert not plans.holds(before)
    assert plans.holds(after)


@pytest.mark.parametrize("step", ["rows_with_days", "_by_month", "_month"])
def test_a_count_that_broke_off_leaves_the_integers_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    import_visits(tmp_path, (1, "2025-01-05"), (1, "2025-02-07"), (2, "2025-03-01"))
    plans, question, whole = InstalledPlans(tmp_path), asked(months("count_distinct_person")), getattr(prepared, step)
    generation, calls = plans.generation(), []

    def broken(*given: object) -> object:
        calls.append(given)
        if len(calls) == (2 if step == "_month" else 1):  # of the months, the first is kept already
            raise MemoryError
        return whole(*given)

    with monkeypatch.context() as patched:
        patched.setattr(prepared, step, broken)
        with pytest.raises(MemoryError):
            plans.count(question, generation, KEY, b"", 1)
    assert plans.count(question, generation, KEY, b"", 1).tolist() == [1, 1, 1]


def test_an_amended_and_a_deleted_visit_are_gone_from_the_next_answer(tmp_path: Path) -> None:
    import_visits(tmp_path, (1, "2025-01-05"), (2, "2025-01-06"), (3, "2025-02-07"))
    plans, question = InstalledPlans(tmp_path), asked(months("count_distinct_person"))
    assert plans.count(question, plans.generation(), KEY, b"", 1).tolist() == [2, 1, 0]
    with next_generation(tmp_path) as building, duckdb.connect(building) as connection:
        connection.execute("DELETE FROM visit_occurrence WHERE person_id = 2")
        connection.execute("UPDATE visit_occurrence SET visit_date = DATE '2025-03-07' WHERE person_id = 3")
    assert plans.count(question, plans.generation(), KEY, b"", 1).tolist() == [1, 0, 1]


def test_two_questions_at_once_prepare_a_month_once_and_count_alike(tmp_path: Path) -> None:
    import_visits(tmp_path, *((person, f"2025-0{1 + person % 3}-05") for person in range(60)))
    plans, question = InstalledPlans(tmp_path), asked(months("count_distinct_person"))
    generation = plans.generation()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: plans.count(question, generation, KEY, b"", 1).tolist(), range(8)))
    assert found == [[20, 20, 20]] * 8
    kept = plans._prepared[generation]
    assert kept._bytes == sum(month.nbytes for month in kept._kept.values())
    assert kept.size == 3


class Held(InstalledPlans):
    """Counts of months that are not ready go on until they are let go."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.let_go = Event()

    def count(self, asked: Asked, generation: str, bounding_key: bytes, round_input: bytes, number: int) -> Integers:
        if not self.is_prepared(asked, generation, bounding_key):
            self.let_go.wait(30)
        return super().count(asked, generation, bounding_key, round_input, number)


def test_a_count_of_months_that_are_ready_does_not_wait_behind_long_ones(tmp_path: Path) -> None:
    import_visits(tmp_path, (1, "2025-01-05"), (2, "2025-03-01"))
    plans = Held(tmp_path)
    counts, generation, ready = Counts(plans, Trace.off()), plans.generation(), months("count_distinct_person")
    plans.prepare_table(ready, generation, KEY)
    long = [counts.start(name, asked(months("count")), generation, KEY) for name in "abcd"]
    assert counts.start("e", asked(ready), generation, KEY).result(20).tolist() == [1, 0, 1]
    assert not any(each.done() for each in long)
    plans.let_go.set()
    assert [each.result(20).tolist() for each in long] == [[1, 0, 1]] * 4
    counts.close()


def test_a_node_that_ends_lets_its_records_go_behind_a_count_that_runs(tmp_path: Path) -> None:
    """DuckDB raises where the file is closed under a query, or ends the query; an end must do neither."""
    import_visits(tmp_path, (1, "2025-01-05"))
    plans, running = InstalledPlans(tmp_path), Event()

    def count() -> int:
        with plans._open[generation].cursor() as cursor:
            running.set()
            [(found,)] = cursor.execute("SELECT count(*) FROM range(400000000) AS t(i) WHERE i % 7 = 0").fetchall()
            [(visits,)] = cursor.execute("SELECT count(*) FROM visit_occurrence").fetchall()
        return int(found + visits)

    generation = plans.generation()
    counts = Counts(plans, Trace.off())
    with ThreadPoolExecutor(1) as pool:
        counted = pool.submit(count)
        running.wait(20)
        counts.close()
        assert not counted.done()
        assert counted.result(60) == 400_000_000 // 7 + 2
    with duckdb.connect(next(tmp_path.glob("*.duckdb"))) as again:  # another configuration: no connection of before is left
        assert again.execute("SELECT count(*) FROM visit_occurrence").fetchall() == [(1,)]
