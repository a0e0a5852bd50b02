"""A node over a live database: what is wrong refuses before the Ready, what breaks after it sends zeros once and pauses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from typer.testing import CliRunner

from hospital_node.config import Config
from hospital_node.main import app
from hospital_node.sources.mapping import SOURCE_FILE, Source
from hospital_node.sources.plans import DatabasePlans
from protocols.contract import CONTRACT
from protocols.refusal import Reason
from tests.hospital_node.sources.hospital import fields, plans
from tests.hospital_node.support.nodes import Nodes
from tests.support.databases import PASSWORD, Running

pytestmark = pytest.mark.xdist_group("databases")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Nodes]:
    made = Nodes(tmp_path, CONTRACT.floor)
    yield made
    made.close()


@pytest.fixture
def live(world: Nodes, postgres_server: Running) -> DatabasePlans:
    """The first node answers from the database."""
    node = world.first()
    node.plans = plans(node.home, fields("postgresql", postgres_server.port))
    node.restart()
    node.bring()
    return node.plans


def test_a_missing_column_refuses_before_anything_is_spent_and_a_sound_database_is_counted(
    world: Nodes, live: DatabasePlans
) -> None:
    sound, node = live.source, world.first()
    mapping = sound.model_dump(exclude_none=True)
    mapping["visits"]["district"] = "town"
    live.source = Source.model_validate(mapping)
    reply = world.ask().offer(node)
    assert [(each.reason, each.got) for each in reply.refusals] == [(Reason.NO_RECORDS, "source.columns")]
    assert not node.answering.journal.spent()
    live.source = sound
    asking = world.ask()
    asking.all_ready()
    made = asking.contribute(node, asking.binding())
    assert not isinstance(made, list)
    assert len(made.masked) == 4 * 11
    assert not node.answering.is_paused


def test_a_database_that_breaks_after_the_ready_sends_zeros_once_and_pauses(
    world: Nodes, live: DatabasePlans, postgres_server: Running
) -> None:
    asking, node = world.ask(), world.first()
    postgres_server.run("ALTER TABLE his.visit RENAME TO gone")
    live._sound_until = live.clock() + 60  # looked at just before
    try:
        asking.all_ready()
        with structlog.testing.capture_logs() as events:
            made = asking.contribute(node, asking.binding())
    finally:
        postgres_server.run("ALTER TABLE his.gone RENAME TO visit")
    assert not isinstance(made, list)
    assert len(made.masked) == 4 * 11
    assert node.answering.is_paused
    assert (node.answering.journal.note("paused") or "").startswith("node.count_failed")
    assert "visit" not in str(events)


def test_a_node_that_restarts_after_its_ready_does_not_read_again(world: Nodes, live: DatabasePlans) -> None:
    asking, node = world.ask(), world.first()
    asking.all_ready()
    node.plans = DatabasePlans(live.home, live.source, live.zone, live.codes)  # as a new process makes it
    node.restart()
    node.bring()
    found = asking.contribute(node, asking.binding())
    assert [each.reason for each in found] == [Reason.NO_RECORDS]


def test_a_live_database_has_no_months_ready_and_so_no_short_slot(world: Nodes, live: DatabasePlans) -> None:
    node = world.first()
    node.settings = {"slot_ms": 200, "prepared_slot_ms": 50}
    node.restart()
    node.bring()
    for _ in range(2):
        node.answering.sweep()
        asking = world.ask()
        asking.all_ready()
        attempt = node.answering.accept(asking.binding().encode())
        assert not isinstance(attempt, list)
        assert node.answering.slot_ms(attempt) == 200
        world.city.now += 60
        node.bring()


# -- the program


def kapok_node(*arguments: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(each) for each in arguments], env={"LANG": "en_US.UTF-8", "COLUMNS": "200"})
    assert "Traceback" not in done.output
    assert PASSWORD not in done.output
    return done.exit_code, done.output


@pytest.fixture
def home(tmp_path: Path) -> Path:
    config = Config(
        uri="kapok://hospital/h01",
        origin="example.org/log",
        coordinator="kapok://coordinator/gz",
        link_address="127.0.0.1:1",
        legal_name="l",
        licence="1",
    )
    (tmp_path / "config.toml").write_text(config.text())
    (tmp_path / "database.password").write_text(PASSWORD)
    (tmp_path / "database.password").chmod(0o600)
    return tmp_path


def mapping_file(home: Path, port: int, district: str = "district") -> Path:
    path = home / "mapping.toml"
    visits = f"""relation = ["his", "visit"]
        person = "patient_no"
        date = "visit_time"
        district = "{district}"
        """.replace("        ", "")
    database = f"""engine = "postgresql"
        host = "127.0.0.1"
        port = {port}
        name = "postgres"
        user = "kapok_reader"
        password_file = "database.password"
        """.replace("        ", "")
    path.write_text(f"[database]\n{database}\n[visits]\n{visits}")
    return path


def test_the_command_checks_a_database_before_it_takes_it(home: Path, postgres_server: Running) -> None:
    status, said = kapok_node("source", mapping_file(home, postgres_server.port, "town"), "--home", home)
    assert (status, "has no column town" in said) == (3, True)
    assert not (home / SOURCE_FILE).exists()
    status, said = kapok_node("source", mapping_file(home, postgres_server.port), "--home", home, "--json")
    assert (status, json.loads(said)) == (0, {"source": "database", "tables": ["visits"]})
    assert (home / SOURCE_FILE).exists()
    assert kapok_node("source", "--imported", "--home", home)[0] == 0
    assert not (home / SOURCE_FILE).exists()


def test_the_doctor_finds_a_column_that_has_gone_and_times_a_year(home: Path, postgres_server: Running) -> None:
    def database() -> dict[str, object]:
        _, said = kapok_node("doctor", "--home", home, "--json")
        return next(row for row in json.loads(said) if row["name"].startswith("database"))

    assert database()["is_well"] is True  # imported records
    kapok_node("source", mapping_file(home, postgres_server.port), "--home", home)
    assert "the last year of visits is read in" in str(database()["detail"])
    (home / SOURCE_FILE).write_text(mapping_file(home, postgres_server.port, "town").read_text())
    assert database()["is_well"] is False
    assert "has no column town [source.columns]" in str(database()["detail"])


def test_a_command_without_a_file_or_with_two_wishes_is_a_usage_error(home: Path) -> None:
    assert kapok_node("source", "--home", home)[0] == 2
    assert kapok_node("source", home / "mapping.toml", "--imported", "--home", home)[0] == 2
    assert kapok_node("source", home / "nowhere.toml", "--home", home)[0] in {2, 3}
    status, said = kapok_node("source", "--example-mapping")
    assert status == 0
    assert said.startswith("# Which database")
