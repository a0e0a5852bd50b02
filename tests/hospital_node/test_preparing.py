"""Which slot a question has is known from what was asked before, from starts and from imports; months are had ready meanwhile."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as drawn

from hospital_node import asked_before
from hospital_node.asked_before import SPARE_S, AskedBefore
from hospital_node.counting import InstalledPlans
from hospital_node.errors import JournalFailed
from hospital_node.plan.prepared import Prepared
from hospital_node.records.generations import file_in_force
from hospital_node.showing import _kept_ready
from protocols.query import Layout, QuerySpec
from tests.hospital_node.support.nodes import VISITS_BY_DISTRICT, Asking, Node, Nodes, some_visits, write_records
from tests.hospital_node.test_counting import import_visits, months

LONG_MS, SHORT_MS = 200, 50
SETTLES_S = AskedBefore.settle_s_of(1, LONG_MS)
BY_SEX = VISITS_BY_DISTRICT | {"keys": [{"key": "sex"}]}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Nodes]:
    made = Nodes(tmp_path, 4)
    for node in made.nodes.values():
        node.settings = {"slot_ms": LONG_MS, "prepared_slot_ms": SHORT_MS}
        restart(node)
    yield made
    made.close()


def restart(node: Node) -> None:
    node.restart()
    node.bring()
    node.answering.sweep()


def with_room_for_one_shape(world: Nodes) -> Node:
    """A size class of 16 times the rows, and so many times the slots."""
    node = world.first()
    node.settings = {"slot_ms": LONG_MS, "prepared_slot_ms": SHORT_MS, "size_class": 24}
    restart(node)
    return node


def slot_of(world: Nodes, spec: dict[str, Any] | None = None, node: Node | None = None) -> int:
    """The slot in which a node's contribution to this question leaves, which all nodes get to see before."""
    return _slot(asked(world, spec), node or world.first())


def asked(world: Nodes, spec: dict[str, Any] | None = None) -> Asking:
    asking = world.ask(spec)
    asking.all_ready()
    return asking


def _slot(asking: Asking, node: Node) -> int:
    attempt = node.answering.accept(asking.binding().encode())
    assert not isinstance(attempt, list), attempt
    node.answering.contribute(attempt, 30.0)
    return node.answering.slot_ms(attempt)


def let_pass(world: Nodes, seconds: int = SETTLES_S) -> None:
    world.city.now += seconds
    for node in world.nodes.values():
        node.bring()
        node.answering.sweep()


def test_a_question_leaves_in_the_short_slot_when_its_months_were_asked_long_enough_before(world: Nodes) -> None:
    assert slot_of(world) == LONG_MS
    let_pass(world, SETTLES_S - 1)
    assert slot_of(world) == LONG_MS
    let_pass(world, 1)
    assert slot_of(world) == SHORT_MS
    assert slot_of(world, BY_SEX) == LONG_MS
    part = VISITS_BY_DISTRICT | {"period": {"from": "2026-10-07", "to": "2026-10-20"}}
    let_pass(world, 60)
    assert slot_of(world, part) == SHORT_MS
    later = VISITS_BY_DISTRICT | {"period": {"from": "2026-09-07", "to": "2026-10-20"}}
    assert slot_of(world, later) == LONG_MS


def test_status_says_what_is_kept_ready_by_the_ledger_alone(world: Nodes) -> None:
    node = world.first()
    slot_of(world)
    slot_of(world, BY_SEX)
    config, view = node.answering.config, node.answering.follower.view
    settles_s = AskedBefore.settle_s_of(2, LONG_MS)
    assert _kept_ready(config, view) == {"questions_kept_ready": 2, "months_kept_ready": 4, "ready_after_s": settles_s}
    without = config.model_copy(update={"prepared_slot_ms": None})
    assert _kept_ready(without, view) == {"questions_kept_ready": 0, "months_kept_ready": 0, "ready_after_s": None}


def test_a_node_whose_it_states_no_short_slot_has_one_slot_and_prepares_nothing(world: Nodes) -> None:
    node = world.first()
    node.settings = {"slot_ms": LONG_MS}
    restart(node)
    for _ in range(2):
        assert slot_of(world, node=node) == LONG_MS
        let_pass(world, 60)
    assert node.answering.preparing._wanted is None


class Live(InstalledPlans):
    """Records that change under way, as a database's: to look at them costs its server time."""

    keeps_months = False
    looked = 0

    def generation(self) -> str:
        self.looked += 1
        return super().generation()


def test_a_database_is_not_looked_at_between_questions(world: Nodes) -> None:
    node = world.first()
    node.plans = plans = Live(node.home / "records")
    restart(node)
    for _ in range(2):
        assert slot_of(world, node=node) == LONG_MS
        let_pass(world, 60)
    assert plans.looked == 2


def test_a_node_that_was_asked_nothing_prepares_nothing_and_makes_no_key(world: Nodes) -> None:
    let_pass(world, 60)
    node = world.first()
    assert not node.answering.journal._read("SELECT period FROM bounding")


def test_records_that_are_gone_or_broken_stop_no_sweep(world: Nodes) -> None:
    node = world.first()
    (node.home / "records" / "CURRENT").write_text("g00000009\n")
    node.answering.sweep()
    (node.home / "records" / "g00000009.duckdb").write_bytes(b"no database")
    node.answering.sweep()


def test_a_key_that_cannot_be_had_is_logged_and_stops_no_sweep(world: Nodes) -> None:
    def refuses(_year: str) -> bytes:
        raise JournalFailed("the disk refused")

    asked(world)
    preparing = world.first().answering.preparing
    preparing.key, preparing._wanted = refuses, None
    with structlog.testing.capture_logs() as told:
        let_pass(world)
        preparing._pool.submit(lambda: None).result(30)
    codes = [(each["code"], each["error"]) for each in told if each["event"] == "months not prepared"]
    assert codes == [("node.not_prepared", "JournalFailed")]


def test_a_short_slot_that_is_longer_than_the_long_one_is_not_taken(world: Nodes) -> None:
    node = world.first()
    node.settings = {"slot_ms": LONG_MS, "prepared_slot_ms": 9 * LONG_MS}
    restart(node)
    slot_of(world, node=node)
    let_pass(world)
    assert slot_of(world, node=node) == LONG_MS


def test_another_attempt_is_told_the_same_slot_whatever_was_asked_between(world: Nodes) -> None:
    node = with_room_for_one_shape(world)
    slot_of(world, node=node)
    let_pass(world, 60)
    asking = asked(world)
    first = node.answering.accept(asking.binding().encode())
    assert not isinstance(first, list)
    assert node.answering.slot_ms(first) == SHORT_MS << 4
    asked(world, BY_SEX)
    second = node.answering.accept(asking.binding(attempt=2).encode())
    assert not isinstance(second, list)
    assert node.answering.slot_ms(second) == SHORT_MS << 4
    assert slot_of(world, node=node) == LONG_MS << 4


def test_after_a_start_and_after_an_import_months_are_had_ready_before_the_short_slot_comes_back(world: Nodes) -> None:
    node = world.first()
    slot_of(world)
    let_pass(world)
    assert slot_of(world) == SHORT_MS
    restart(node)
    assert slot_of(world) == LONG_MS
    let_pass(world)
    assert slot_of(world) == SHORT_MS

    write_records(node.home / "records", some_visits(7), "g00000002")
    node.answering.sweep()
    assert slot_of(world) == LONG_MS
    let_pass(world)
    assert slot_of(world) == SHORT_MS


def _has_ready(node: Node, within_s: float = 20.0) -> int:
    """How many months a node holds of the records in force, as soon as it holds any."""
    plans = node.answering.given.plans
    assert isinstance(plans, InstalledPlans)
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        prepared = plans._prepared[plans.generation()]
        if prepared.size:
            return prepared.size
        time.sleep(0.01)
    return 0


def test_nobody_has_to_ask_for_months_to_be_had_ready(world: Nodes) -> None:
    node = world.first()
    slot_of(world)
    let_pass(world)
    restart(node)
    assert _has_ready(node) == 2
    write_records(node.home / "records", some_visits(7), "g00000002")
    node.answering.sweep()
    assert _has_ready(node) == 2


def test_records_that_were_put_back_are_new_records(world: Nodes) -> None:
    node = world.first()
    slot_of(world)
    let_pass(world)
    kept = file_in_force(node.home / "records").read_bytes()
    write_records(node.home / "records", some_visits(7), "g00000002")
    node.answering.sweep()
    let_pass(world)
    assert slot_of(world) == SHORT_MS
    time.sleep(0.01)
    (node.home / "records" / "g00000001.duckdb").write_bytes(kept)
    (node.home / "records" / "CURRENT").write_text("g00000001\n")
    assert slot_of(world) == LONG_MS


def test_records_that_an_older_pointer_names_again_are_had_ready_again(world: Nodes) -> None:
    """Also after an import upon them, whose generation has a number that another one had."""
    node, records = world.first(), world.first().home / "records"
    slot_of(world)
    let_pass(world)
    first = (records / "CURRENT").read_text()
    for district in (7, 5):
        write_records(records, some_visits(district), "g00000002")
        node.answering.sweep()
        let_pass(world)
        (records / "CURRENT").write_text(first)
        node.answering.sweep()
        assert slot_of(world) == LONG_MS
        assert _has_ready(node) == 2
        let_pass(world)
        assert slot_of(world) == SHORT_MS


def test_what_is_had_ready_stays_however_many_bytes_it_takes(world: Nodes) -> None:
    """A slot that says months are there must not be found out by what a patient's rows take."""
    node, plans = world.first(), world.first().answering.given.plans
    assert isinstance(plans, InstalledPlans)
    plans._prepared[plans.generation()] = Prepared(0)
    slot_of(world)
    let_pass(world)
    assert slot_of(world) == SHORT_MS
    assert _has_ready(node) == 2


def test_shapes_whose_answers_are_long_are_remembered_in_smaller_number(world: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    node = world.first()
    slot_of(world)
    numbers = sum(each.numbers for each in node.answering.preparing.before.shapes.values())
    assert numbers == 2 * Layout.of(QuerySpec.from_fields(VISITS_BY_DISTRICT)).dimension
    monkeypatch.setattr(asked_before, "MOST_NUMBERS", numbers)
    slot_of(world, BY_SEX)
    let_pass(world, 60)
    assert slot_of(world) == LONG_MS


def test_a_shape_that_others_drove_out_is_asked_for_the_first_time_again(world: Nodes) -> None:
    node = with_room_for_one_shape(world)
    for spec in (VISITS_BY_DISTRICT, BY_SEX):
        assert slot_of(world, spec, node) == LONG_MS << 4
        let_pass(world, 60)
    assert slot_of(world, BY_SEX, node) == SHORT_MS << 4
    assert slot_of(world, VISITS_BY_DISTRICT, node) == LONG_MS << 4


def test_months_of_another_year_s_key_were_not_asked(world: Nodes) -> None:
    asking, node = asked(world), world.first()
    let_pass(world, 60)
    question = node.answering.contributing._asked_of(node.answering.follower.view.questions[asking.id.hex()])
    before, now = node.answering.preparing.before, world.city.now
    assert before.has_ready(question, "2026", now, 0, LONG_MS)
    assert not before.has_ready(question, "2027", now, 0, LONG_MS)
    assert not before.has_ready(question, "2026", now, now - SPARE_S, LONG_MS)


@pytest.mark.parametrize("changes", [{"bound": "query"}, {"measures": [{"kind": "count_distinct_person"}], "bound": "query"}])
def test_a_question_whose_months_cannot_be_kept_has_the_long_slot_however_often_it_is_asked(
    world: Nodes, changes: dict[str, Any]
) -> None:
    for _ in range(2):
        assert slot_of(world, VISITS_BY_DISTRICT | changes) == LONG_MS
        let_pass(world, 60)


class Failing(InstalledPlans):
    """No month can be had ready, and whatever is there is forgotten."""

    def prepare_table(self, spec: QuerySpec, generation: str, bounding_key: bytes) -> bool:
        raise MemoryError

    def _has_months(self, name: str) -> None:
        self._prepared = {}


OPS = drawn.lists(drawn.sampled_from(["ask", "other", "wait", "restart", "import"]), min_size=2, max_size=6)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(OPS, drawn.integers(0, 9))
def test_the_slot_says_nothing_of_records_or_of_what_is_in_memory(
    tmp_path_factory: pytest.TempPathFactory, ops: list[str], seed: int
) -> None:
    """Three hospitals go through the same: one without a patient, one with many, and one that has nothing ready, ever."""
    world = Nodes(tmp_path_factory.mktemp("slots"), 4)
    nodes = list(world.nodes.values())[:3]
    rows: list[list[tuple[int, date, str]]] = [[], some_visits(40 + seed), some_visits(seed)]
    for node, visits in zip(nodes, rows, strict=True):
        node.settings = {"slot_ms": LONG_MS, "prepared_slot_ms": SHORT_MS}
        write_records(node.home / "records", visits, "g00000002")
    nodes[2].plans = Failing(nodes[2].home / "records")
    for node in nodes:
        restart(node)
    for n, op in enumerate([*ops, "ask", "wait", "ask"]):
        for node, visits in zip(nodes, rows, strict=True):
            if op == "restart":
                restart(node)
            if op == "import":
                write_records(node.home / "records", visits, f"g{n + 3:08d}")
                node.answering.sweep()
        if op == "wait":
            let_pass(world)
        if op in {"ask", "other"}:
            asking = asked(world, BY_SEX if op == "other" else None)
            assert len({_slot(asking, node) for node in nodes}) == 1
    world.close()


PREPARES = """
import sys
from pathlib import Path
from resource import RLIMIT_FSIZE, setrlimit
from hospital_node.counting import InstalledPlans
from hospital_node.plan.prepared import Prepared
from hospital_node.plan import prepared
from tests.hospital_node.test_counting import KEY, months
plans = InstalledPlans(Path(sys.argv[1]))
setrlimit(RLIMIT_FSIZE, (0, 0))  # a full disk: no file can grow
whole = prepared._month
def slow(*given):
    print("a month", flush=True)
    if sys.argv[2] == "wait":
        sys.stdin.read()
    return whole(*given)
prepared._month = slow
print(plans.prepare_table(months("count_distinct_person"), plans.generation(), KEY), flush=True)
"""


def _prints(folder: Path) -> dict[str, str]:
    return {each.name: sha256(each.read_bytes()).hexdigest() for each in folder.iterdir()}


@pytest.mark.parametrize("way", ["wait", "go on"])
def test_preparing_leaves_nothing_on_the_disk_where_it_is_full_or_the_process_is_killed(tmp_path: Path, way: str) -> None:
    records = tmp_path / "records"
    import_visits(records, (1, "2025-01-05"), (2, "2025-03-01"))
    before, command = _prints(records), [sys.executable, "-c", PREPARES, str(records), way]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "a month\n"
        if way == "wait":
            os.kill(process.pid, signal.SIGKILL)
        else:
            assert process.stdout.read().endswith("True\n")
    assert _prints(records) == before
    plans = InstalledPlans(records)
    assert plans.prepare_table(months("count_distinct_person"), plans.generation(), bytes(32))
