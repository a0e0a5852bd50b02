"""The town's residents: a dozen who are patients of all its hospitals, under one key, and a policy that lets them be counted."""

from fractions import Fraction

from simulations.processes import run
from simulations.town import Town
from tests.support.residents import SYSTEM, write_fhir

MONTH = "date >= DATE '2025-08-01' AND date < DATE '2025-09-01'"
RESIDENTS = f"SELECT COUNT(DISTINCT resident_id, 1024) FROM visits WHERE {MONTH}"
SD = Fraction(12)


def with_residents(town: Town) -> None:
    """One hospital makes the key, the others take it; all import and permit."""
    key = town.root / "residents.key"
    for number, name in enumerate(town.hospitals):
        home = town.node(name)
        run("kapok-node", "residents", *(("take", key) if number else ("make", "--out", key)), "--home", home)
        folder = write_fhir(town.root / f"residents-{name}", range(12), "2025-08")
        run("kapok-node", "import", "fhir", folder, "--resident-system", SYSTEM, "--home", home)
        policy = home / "policy.toml"
        policy.write_text(policy.read_text().replace("resident_tables = []", 'resident_tables = ["visits"]'))
    town.await_hospitals(lambda each: any(table.startswith("residents:visits:") for table in each["policy"]["tables"]))
