"""Exact mode over real processes: UCI heart in a city of five hospitals, asked and approved with everybody's own programs.

The floor of exact mode is five, the published hospitals are four: Cleveland's patients are in two. Tests run in this order over one
city: refused by one hospital's policy, refused by the auditor, then permitted, approved and equal to the pooled fit.
"""

import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulations.processes import CommandFailed, Services, run
from simulations.research import heart
from simulations.town import Town
from tests.hospital_node.records.resources import SHARED
from tests.hospital_node.support.nodes import some_visits, write_records

FOLDER = SHARED / "uci_heart"
LAST = "h05"
RED = {
    "zh": "精确模式：不加噪声，此答案【不具有】隐私保护；请勿公开，小单元格可能就是某位患者",
    "en": "EXACT MODE: no noise; this answer is NOT PRIVATE. Do not publish it: a small cell may be one patient",
}


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    if not FOLDER.exists():
        pytest.skip("the published heart data are not beside the repository")
    root = tmp_path_factory.mktemp("exact")
    sources = {f"h{n:02d}": root / "sources" / f"h{n:02d}" for n in range(1, 6)}
    for n, folder in enumerate(sources.values()):
        write_records(folder, some_visits(n))
    with Services(root / "logs") as services:
        made = Town(root / "town", sources, services, node_settings={"slot_ms": 1000, "grid_ms": 25})
        made.found()
        for name, rows in zip(sources, heart.hospitals(FOLDER), strict=True):
            table, schema = heart.COHORT.write(made.node(name) / "heart", rows)
            run("kapok-node", "tables", "add", "heart", table, "--schema", schema, "--home", made.node(name))
            _policy(made, name, "\ntables = [", '\ntables = ["heart", ')
            if name != LAST:
                _policy(made, name, "exact_tables = []", 'exact_tables = ["heart"]')
        made.await_hospitals(lambda each: "heart" in each["policy"]["tables"])
        made.approve_tables()
        yield made
    shutil.rmtree(root, ignore_errors=True)


def _policy(town: Town, name: str, old: str, new: str) -> None:
    path = town.node(name) / "policy.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def _fit_file(town: Town) -> Path:
    """As a researcher writes it: that it is exact stands in the file."""
    path = town.root / "heart.json"
    path.write_text(json.dumps({**heart.fit(), "exact": True}))
    return path


def _kapok(town: Town, *arguments: object, expect: int = 0) -> dict[str, Any]:
    told = json.loads(run("kapok", *arguments, "--home", town.bureau, "--json", expect=(expect,)))
    return dict(told)


def _codes(told: dict[str, Any]) -> set[str]:
    """The reasons of a refusal, which stand behind their words."""
    return {code for each in told["error"]["details"] for code in re.findall(r"\[([a-z_.]+)\]$", each)}


def _size(town: Town) -> int:
    return int(town.catalog()["size"])


@pytest.mark.wire
@pytest.mark.xdist_group("exact")
def test_one_hospital_whose_policy_does_not_say_so_refuses_for_all_and_is_named(town: Town) -> None:
    told = _kapok(town, "train", _fit_file(town), "--rounds", 8, expect=1)
    assert _codes(told) == {"policy.exact"}
    assert [LAST in each for each in told["error"]["details"]] == [True]


@pytest.mark.wire
@pytest.mark.xdist_group("exact")
def test_four_hospitals_are_below_the_floor_and_nothing_is_signed(town: Town) -> None:
    told = _kapok(town, "train", _fit_file(town), "--hospitals", "h01,h02,h03,h04", expect=2)
    assert (told["error"]["code"], told["error"]["exit_code"]) == ("client.usage", 2)


@pytest.mark.wire
@pytest.mark.xdist_group("exact")
def test_what_the_auditor_rejects_is_refused_by_its_code_and_asked_again_changes_nothing(town: Town) -> None:
    _policy(town, LAST, "exact_tables = []", 'exact_tables = ["heart"]')
    town.await_hospitals(lambda each: "exact:heart" in each["policy"]["tables"])
    asked = _kapok(town, "train", _fit_file(town), "--rounds", 8, "--detach")["query"]
    with pytest.raises(CommandFailed, match=r"(?s)exit code 2.*(with|须加) --exact"):
        run("kapok-audit", "approve", asked, "--home", town.auditor, "--until", town.until)
    time.sleep(2)
    assert asked in _kapok(town, "answers")["unanswered"]  # without an approval it waits, and no hospital is asked
    run("kapok-audit", "reject", asked, "--home", town.auditor, "--reason", "the table is too small")
    first = _kapok(town, "resume", asked, expect=1)
    assert _codes(first) == {"authority.not_approved"}
    size = _size(town)
    assert [_codes(_kapok(town, "resume", asked, expect=1)) for _ in range(3)] == [_codes(first)] * 3
    time.sleep(3)
    assert _size(town) == size  # neither the coordinator nor a hospital has said anything more about it


@pytest.mark.wire
@pytest.mark.xdist_group("exact")
def test_approved_and_permitted_it_is_the_pooled_fit_and_says_in_red_that_it_is_not_private(town: Town) -> None:
    asked = _kapok(town, "train", _fit_file(town), "--rounds", 9, "--exact", "--detach")["query"]
    run("kapok-audit", "approve", asked, "--exact", "--home", town.auditor, "--until", town.until)
    told = _kapok(town, "resume", asked)
    weights, errors = heart.pooled(heart.hospitals(FOLDER))
    assert np.abs([each["value"] for each in told["coefficients"]] - weights).max() < 1e-6
    assert np.abs([each["standard_error"] for each in told["coefficients"]] - errors).max() < 1e-4
    assert (told["mode"], told["private"], len(told["coverage"]["answered"])) == ("exact", False, 5)
    assert not {"price", "spending"} & set(told)
    for lang, warning in RED.items():
        shown = run("kapok", "answers", asked, "--home", town.bureau, "--lang", lang, environment=COLOURS)
        assert shown.count(f"\x1b[1;31m{warning}") == 2
    run("kapok-audit", "verify", town.ledger, "--trust", town.trust)
    run("kapok-audit", "verify", town.bureau / "answers" / f"{asked}.json", "--trust", town.trust)
    assert json.loads(run("kapok-node", "budget", "--home", town.node("h01"), "--json")) == []


COLOURS = {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "200", "LC_ALL": "C.UTF-8"}
