"""A town of real processes counts its residents: who is a patient of several hospitals counts once, and everything verifies.

Every hospital imports its records with resident numbers under the common key, as IT would; the bureau's program asks.
"""

import json
import shutil
from collections.abc import Iterator, Mapping

import pytest

from simulations.processes import Services, run
from simulations.town import Town
from tests.hospital_node.support.nodes import some_visits, write_records
from tests.support.residents import SYSTEM, write_fhir

AT: Mapping[str, range] = {"h01": range(500), "h02": range(500), "h03": range(200, 800), "h04": range(200, 500)}
"""Which residents each hospital has seen: 300 of them are patients of all four, 200 of two, 300 of one."""
EVERYBODY, PATIENTS = 800, 1900
MONTH = "date >= DATE '2026-10-01' AND date < DATE '2026-11-01'"
RESIDENTS = f"SELECT COUNT(DISTINCT resident_id) FROM visits WHERE {MONTH}"
PERSONS = f"SELECT COUNT(DISTINCT person_id) FROM visits WHERE {MONTH}"


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    root = tmp_path_factory.mktemp("residents")
    sources = {name: root / "sources" / name for name in AT}
    for n, folder in enumerate(sources.values()):
        write_records(folder, some_visits(n))
    with Services(root / "logs") as services:
        made = Town(root / "town", sources, services, node_settings={"slot_ms": 1500, "grid_ms": 25})
        made.found()
        made.approve_programme("residents", ["visits"], "0.6")
        yield made
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="module")
def ready(town: Town) -> Town:
    """One hospital makes the key, the others take it; all import with it and permit the question."""
    key = town.root / "residents.key"
    run("kapok-node", "residents", "make", "--out", key, "--home", town.node("h01"))
    for name, residents in AT.items():
        home = town.node(name)
        if name != "h01":
            run("kapok-node", "residents", "take", key, "--home", home)
        folder = write_fhir(town.root / f"fhir-{name}", residents, "2026-10")
        shutil.rmtree(home / "records")
        run("kapok-node", "import", "fhir", folder, "--resident-system", SYSTEM, "--home", home)
        policy = home / "policy.toml"
        policy.write_text(policy.read_text().replace("resident_tables = []", 'resident_tables = ["visits"]'))
    town.await_hospitals(lambda each: any(table.startswith("residents:visits:") for table in each["policy"]["tables"]))
    return town


@pytest.mark.wire
@pytest.mark.xdist_group("residents")
def test_a_town_that_does_not_permit_it_is_told_so_before_anybody_pays(town: Town) -> None:
    told = town.query(RESIDENTS, "--sd", "4", expect=(1, 2))
    assert "does not permit residents" in str(told["error"]["details"]), told


@pytest.mark.wire
@pytest.mark.xdist_group("residents")
def test_a_patient_of_several_hospitals_counts_once(ready: Town) -> None:
    """Standard deviation of the estimate 11.8, the throw's and both noises'; six of them: a false alarm in 5e8."""
    told = ready.query(RESIDENTS, "--sd", "4")
    residents = told["rows"][0]["measures"]["residents"]
    assert abs(residents["value"] - EVERYBODY) < 71
    assert residents["lower"] < residents["value"] < residents["upper"]
    persons = ready.query(PERSONS, "--sd", "4")["rows"][0]["measures"]["persons"]
    assert abs(persons["value"] - PATIENTS) < 40
    run("kapok-audit", "verify", ready.ledger, "--trust", ready.trust)


@pytest.mark.wire
@pytest.mark.xdist_group("residents")
def test_a_preview_tells_price_and_error_before_anything_is_spent(ready: Town) -> None:
    told = json.loads(run("kapok", "preview", RESIDENTS, "--sd", "4", "--home", ready.bureau, "--json"))
    assert float(told["price"]) < 0.3
    assert [each["residents"] for each in told["residents"]] == [256, 1024, 4096, 12288]
    assert {each["who"] for each in told["statements"]} >= {"one_hospital", "one_resident"}
