"""A standing series through a town of real processes: asked month by month and as weighted sums, and what comes out is the truth.

Every patient has one visit a month, so that nothing is bounded away and the truth of each month is known to the integer.
"""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from protocols.statements import ChargeByBlock, Ready, parse
from simulations.processes import Services, run
from simulations.town import Town
from tests.hospital_node.support.nodes import write_records

HOSPITALS = ("h01", "h02", "h03", "h04")
JANUARY = "SELECT CLAMP(COUNT(*), 0, 1) FROM visits WHERE date >= DATE '2025-01-01' AND date < DATE '2025-02-01'"
SD = 6
QUESTIONS = 23


def patients(hospital: int, month: int) -> int:
    return 20 + 5 * hospital + 7 * month % 30


TRUTH = [sum(patients(hospital, month) for hospital in range(len(HOSPITALS))) for month in range(1, 13)]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    root = tmp_path_factory.mktemp("series")
    sources: dict[str, Path] = {name: root / "sources" / name for name in HOSPITALS}
    for n, folder in enumerate(sources.values()):
        visits = [(p, date(2025, month, 1 + p % 28), "440106") for month in range(1, 13) for p in range(patients(n, month))]
        write_records(folder, visits)
    with Services(root / "logs") as services:
        made = Town(root / "town", sources, services, node_settings={"slot_ms": 400, "grid_ms": 25})
        made.found()
        made.programme = made.approve_programme("ILI", ["visits"], "0.6")
        yield made
    shutil.rmtree(root, ignore_errors=True)


def _series(town: Town, *options: str) -> Any:
    asked = ("--sd", str(SD), "--programme", town.programme, "--cells-per-patient", "1", "--home", town.bureau, "--json")
    return json.loads(run("kapok", "series", JANUARY, *asked, *options).splitlines()[-1])


@pytest.mark.wire
@pytest.mark.xdist_group("series")
def test_a_year_of_months_is_asked_as_weighted_sums_paid_by_weight_and_told_as_it_was(town: Town) -> None:
    """Fourteen intervals at six standard deviations: a false alarm in 3e7 runs; a misfit below 1e-6 in a million."""
    told = _series(town, "--ask")
    assert [each["state"] for each in told["questions"]] == ["answered"] * QUESTIONS
    [measure] = told["measures"]
    for month, truth in zip(measure["months"], TRUTH, strict=True):
        [cell] = month["cells"]
        assert abs(cell["value"] - truth) < 6 * cell["noise_sd"], month
    [whole] = measure["to_date"]
    assert abs(whole["value"] - sum(TRUTH)) < 6 * whole["noise_sd"]
    assert whole["noise_sd"] < 0.65 * 12**0.5 * SD * (4 / 3) ** 0.5, "twelve months added up would have this without the factor"
    assert measure["misfit_p"] > 1e-6, "answers with weights and without are of the same months"
    _paid_by_weight(town)
    run("kapok-audit", "verify", town.ledger, "--trust", town.trust)
    assert len(_series(town, "--ask")["questions"]) == QUESTIONS
    assert len(_readys(town)) == QUESTIONS * len(HOSPITALS), "nothing is asked or paid twice"


def _paid_by_weight(town: Town) -> None:
    """No month has paid more than one question alone, nor much less; in the journals as in the ledger."""
    alone = json.loads(
        run("kapok", "preview", JANUARY, "--sd", str(SD), "--cells-per-patient", "1", "--home", town.bureau, "--json")
    )["price"]
    rows = json.loads(run("kapok-node", "budget", "--home", town.node("h01"), "--json"))
    spent = {each["block"]: Fraction(each["spent"]) for each in rows if each["purpose"] == "surveillance"}
    assert sorted(spent) == [f"2025-{month:02}" for month in range(1, 13)]
    assert 0.98 * float(alone) < min(spent.values()) <= max(spent.values()) <= Fraction(str(alone))
    by_block = [each for each in _readys(town) if isinstance(each.charge, ChargeByBlock)]
    assert len(by_block) == 11 * len(HOSPITALS)
    ledger = {line.block: line.total for each in _readys(town) if each.by.endswith("h01") for line in each.charge.lines()}
    assert {block: Fraction(total) for block, total in ledger.items()} == spent


def _readys(town: Town) -> list[Ready]:
    with closing(sqlite3.connect(f"file:{town.coordinator / 'log.sqlite'}?mode=ro", uri=True)) as log:
        entries = [parse(bytes(raw)).statement for (raw,) in log.execute("SELECT bytes FROM entry ORDER BY position")]
    return [each for each in entries if isinstance(each, Ready)]
