"""A standing series through a town of real processes: asked month by month and as weighted sums, and what comes out is the truth.

Every patient has one visit a month, so that nothing is bounded away and the truth of each month is known to the integer.
"""

import json
import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import pytest

from protocols.query import QuerySpec
from protocols.statements import ChargeByBlock, Query, Ready, Release, Statement, parse
from simulations.processes import Services, run
from simulations.town import Town
from tests.hospital_node.support.nodes import write_records

HOSPITALS = ("h01", "h02", "h03", "h04", "h05")
JANUARY = "SELECT CLAMP(COUNT(*), 0, 1) FROM visits WHERE date >= DATE '2025-01-01' AND date < DATE '2025-02-01'"
EARLIER = JANUARY.replace("2025-", "2024-")
"""Of other months: about these nobody has been asked before."""
SD = 6
QUESTIONS = 23
Of = TypeVar("Of", bound=Statement)


def patients(hospital: int, month: int) -> int:
    return 20 + 5 * hospital + 7 * month % 30


def truth(month: int, answered: Iterable[str] = HOSPITALS) -> int:
    return sum(patients(HOSPITALS.index(each), month) for each in answered)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    root = tmp_path_factory.mktemp("series")
    sources: dict[str, Path] = {name: root / "sources" / name for name in HOSPITALS}
    for n, folder in enumerate(sources.values()):
        visits = [
            (p, date(year, month, 1 + p % 28), "440106")
            for year in (2024, 2025)
            for month in range(1, 13)
            for p in range(patients(n, month))
        ]
        write_records(folder, visits)
    with Services(root / "logs") as services:
        made = Town(root / "town", sources, services, node_settings={"slot_ms": 400, "grid_ms": 25})
        made.found()
        made.programme = made.approve_programme("ILI", ["visits"], "0.6")
        yield made
    shutil.rmtree(root, ignore_errors=True)


def _series(town: Town, *options: str, sql: str = JANUARY) -> Any:
    asked = ("--sd", str(SD), "--programme", town.programme, "--cells-per-patient", "1", "--home", town.bureau, "--json")
    return json.loads(run("kapok", "series", sql, *asked, *options).splitlines()[-1])


@pytest.mark.wire
@pytest.mark.xdist_group("series")
def test_a_year_of_months_is_asked_as_weighted_sums_paid_by_weight_and_told_as_it_was(town: Town) -> None:
    """Thirteen intervals at six standard deviations: a false alarm in 3e7 runs; a misfit below 1e-6 in a million."""
    told = _series(town, "--ask")
    assert [each["state"] for each in told["questions"]] == ["answered"] * QUESTIONS
    [measure] = told["measures"]
    for month, each in enumerate(measure["months"], 1):
        [cell] = each["cells"]
        assert abs(cell["value"] - truth(month)) < 6 * cell["noise_sd"], each
    [whole] = measure["to_date"]
    assert abs(whole["value"] - sum(map(truth, range(1, 13)))) < 6 * whole["noise_sd"]
    assert whole["noise_sd"] < 0.65 * 12**0.5 * SD * (5 / 4) ** 0.5, "twelve months added up would have this without the factor"
    assert measure["misfit_p"] > 1e-6, "answers with weights and without are of the same months"
    spent = _spent(town)
    _paid_by_weight(town, spent)
    run("kapok-audit", "verify", town.ledger, "--trust", town.trust)
    assert len(_series(town, "--ask")["questions"]) == QUESTIONS
    assert _spent(town) == spent, "nothing is asked or paid twice"


def _paid_by_weight(town: Town, spent: dict[str, Fraction]) -> None:
    """No month has paid more than one question alone, nor much less; in the journals as in the ledger."""
    alone = _alone(town)
    spent = {block: total for block, total in spent.items() if block.startswith("2025")}
    assert sorted(spent) == [f"2025-{month:02}" for month in range(1, 13)]
    assert 0.98 * alone < min(spent.values()) <= max(spent.values()) <= alone
    readys = [each for each in _statements(town, Ready) if each.charge.blocks[0].startswith("2025")]
    assert len([each for each in readys if isinstance(each.charge, ChargeByBlock)]) == 11 * len(HOSPITALS)
    ledger = {line.block: line.total for each in readys if each.by.endswith("h01") for line in each.charge.lines()}
    assert {block: Fraction(total) for block, total in ledger.items()} == spent


@pytest.mark.wire
@pytest.mark.xdist_group("series")
def test_a_hospital_that_goes_spoils_no_month_and_each_is_told_of_who_answered_it(town: Town) -> None:
    """Twelve intervals at six standard deviations: a false alarm in 4e7 runs; a misfit below 1e-6 in a million."""
    away, before, spent = town.services.running["node/h05"], len(_statements(town, Release)), _spent(town)
    with ThreadPoolExecutor(1) as beside:
        asking = beside.submit(_series, town, "--ask", sql=EARLIER)
        _await_releases(town, before + 7)
        away.stop()
        told = asking.result()
    assert {each["state"] for each in told["questions"]} == {"answered"}
    begins = {each["period"]["from"] for each in told["questions"] if each["weights"]}
    assert len(begins) >= 2, "weighted sums began anew"
    answered, [measure] = _who_answered(town), told["measures"]
    assert {len(each) for each in answered.values()} == {4, 5}
    for month, each in enumerate(measure["months"], 1):
        [cell] = each["cells"]
        assert abs(cell["value"] - truth(month, answered[month])) < 6 * cell["noise_sd"], each
        assert cell["noise_sd"] < 1.7 * SD * (4 / 3) ** 0.5, "a question of its own has this at worst"
    assert measure["misfit_p"] > 1e-6
    paid = {block: total - spent.get(block, 0) for block, total in _spent(town).items()}
    assert max(paid.values()) <= _alone(town), "beginning anew costs no month more"
    run("kapok-audit", "verify", town.ledger, "--trust", town.trust)


def _await_releases(town: Town, count: int) -> None:
    deadline = time.monotonic() + 120
    while len(_statements(town, Release)) < count:
        assert time.monotonic() < deadline, f"{count} releases"
        time.sleep(0.05)


def _who_answered(town: Town) -> dict[int, list[str]]:
    """Who answered the question of each month alone."""
    months = {}
    for each in _statements(town, Query):
        spec = QuerySpec.from_json(each.spec)
        if spec.weights is None and spec.period is not None and spec.period.start.year == 2024:
            months[each.envelope().statement_id().hex()] = spec.period.start.month
    ended = {each.query: [uri.rpartition("/")[2] for uri in each.answered] for each in _statements(town, Release)}
    return {month: ended[id_] for id_, month in months.items()}


def _alone(town: Town) -> Fraction:
    asked = ("--sd", str(SD), "--cells-per-patient", "1", "--home", town.bureau, "--json")
    return Fraction(str(json.loads(run("kapok", "preview", JANUARY, *asked))["price"]))


def _spent(town: Town) -> dict[str, Fraction]:
    rows = json.loads(run("kapok-node", "budget", "--home", town.node("h01"), "--json"))
    return {each["block"]: Fraction(each["spent"]) for each in rows if each["purpose"] == "surveillance"}


def _statements(town: Town, kind: type[Of]) -> list[Of]:
    with closing(sqlite3.connect(f"file:{town.coordinator / 'log.sqlite'}?mode=ro", uri=True)) as log:
        entries = [parse(bytes(raw)).statement for (raw,) in log.execute("SELECT bytes FROM entry ORDER BY position")]
    return [each for each in entries if isinstance(each, kind)]
