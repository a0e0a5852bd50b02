"""What the node writes beside its answers: logs without values, traces, its files, and the statements that are due."""

import json
from pathlib import Path

import pytest

from hospital_node.config import Config
from hospital_node.dataset import DEFAULT_DATASET, read_dataset
from hospital_node.errors import InvalidConfig
from hospital_node.logs import only_known_keys
from hospital_node.trace import Trace
from protocols import statements as st
from tests.hospital_node.support.nodes import Nodes

DECLARED = """
freshness = "daily"
[[table]]
name = "visits"
size_class = 20
first_day = "2023-01-01"
last_day = "open"
code_systems = ["ICD-10-CN"]
"""


def test_a_key_that_is_not_on_the_list_is_dropped_and_its_name_is_kept() -> None:
    event = only_known_keys(None, "", {"event": "refused", "query": "ab", "patient": "Zhang San"})
    assert event == {"event": "refused", "query": "ab", "dropped": ["patient"]}


def test_a_trace_is_one_line_a_contribution_with_its_steps(tmp_path: Path) -> None:
    world = Nodes(tmp_path, 4)
    node = world.first()
    node.trace = tmp_path / "trace.jsonl"
    node.restart()
    asking = world.ask()
    asking.all_ready()
    asking.contribute(node, asking.binding())
    (line,) = [json.loads(each) for each in (tmp_path / "trace.jsonl").read_text().splitlines()]
    assert line["query"] == asking.id.hex()
    assert {"counting_s", "gate_s", "journal_s", "masking_s"} <= set(line)
    world.close()


def test_a_trace_that_is_off_writes_nothing(tmp_path: Path) -> None:
    trace = Trace.off()
    with trace.step("q", "counting"):
        pass
    trace.finish("q")
    assert list(tmp_path.iterdir()) == []


def test_the_config_file_gives_the_config_back_and_names_a_wrong_field(tmp_path: Path) -> None:
    config = Config(
        uri="kapok://hospital/h01",
        origin="a.b/c",
        coordinator="kapok://coordinator/c",
        link_address="h:1",
        legal_name='第一"医院"',
        licence="1",
    )
    for each in (config, config.model_copy(update={"training_slot_ms": 60})):
        (tmp_path / "config.toml").write_text(each.text())
        assert Config.read(tmp_path) == each
    (tmp_path / "config.toml").write_text(config.text().replace("kapok://hospital/h01", "h01"))
    with pytest.raises(InvalidConfig, match="uri"):
        Config.read(tmp_path)


def test_the_default_dataset_declares_nothing_and_a_written_one_is_stated(tmp_path: Path) -> None:
    (tmp_path / "dataset.toml").write_text(DEFAULT_DATASET)
    assert read_dataset(tmp_path) is None
    (tmp_path / "dataset.toml").write_text(DECLARED)
    found = read_dataset(tmp_path)
    assert found is not None
    stated = found.statement("a/b", "kapok://hospital/h01", 0)
    assert (stated.tables[0].name, stated.static_blocks) == ("visits", ("static:patients",))
    (tmp_path / "dataset.toml").write_text(DECLARED.replace("visits", "nowhere"))
    with pytest.raises(InvalidConfig, match="nowhere"):
        read_dataset(tmp_path)


def test_what_is_due_is_the_same_bytes_until_the_ledger_has_it(tmp_path: Path) -> None:
    world = Nodes(tmp_path, 4)
    node = world.first()
    assert node.answering.due() == [], "before the admission was followed nothing is due"
    node.bring()
    (tmp_path / "dataset.toml").write_text(DECLARED)
    node.answering.adopt_policy(node.policy(), read_dataset(tmp_path))
    due = node.answering.due()
    world.city.now += 5
    assert node.answering.due() == due
    assert [type(st.parse(each).statement) for each in due] == [st.Policy, st.Dataset]
    for each in due:
        world.city.log_entry(each)
    node.bring()
    assert node.answering.due() == []
    assert world.city.findings() == []
    world.close()
