"""Residents in a city of the tests: a common key at every hospital, policies that permit the question, records with tags."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import duckdb

from audit_ledger.party.home import Home
from hospital_node.policy import default_policy
from hospital_node.records.residents import KEY_FILE, Residents
from protocols.union import ResidentKey
from protocols.union.question import permission
from tests.hospital_node.records.resources import encounter, patient, write_ndjson
from tests.protocols.union.numbers import number
from tests.support.city import City

KEY = Residents(ResidentKey(bytes(range(32))))
SYSTEM = "urn:example:resident"
OTHER = Residents(ResidentKey(bytes(32)))


def furnish(home: Path, key: Residents = KEY) -> None:
    """The key, and a policy file that permits residents over visits."""
    Home(home).write_secret(KEY_FILE, key.key.secret)
    (home / "policy.toml").write_text(default_policy().replace("resident_tables = []", 'resident_tables = ["visits"]'))


def permit(city: City, uris: Iterable[str] = (), key: Residents = KEY, table: str = "visits") -> None:
    """These hospitals (all, if none is named) state in the ledger what the file says."""
    for uri in sorted(uris) or sorted(city.hospitals):
        hospital = city.hospitals[uri]
        stated = city.policy_of(hospital)
        tables = tuple(sorted((*stated.tables, permission(table, key.fingerprint))))
        city.log_entry(city.sign(stated.model_copy(update={"tables": tables}), hospital.identity))


def tag(records: Path, residents: Mapping[int, int], key: Residents = KEY, generation: str = "g00000001") -> None:
    """Tags patients of written records (patient to resident), as an import under this key would have."""
    with duckdb.connect(records / f"{generation}.duckdb") as database:
        database.execute("INSERT INTO resident_key VALUES (?)", [key.fingerprint])
        for person, resident in residents.items():
            database.execute("INSERT INTO resident VALUES (?, ?, ?)", [person, key.key.tag(number(resident)), key.fingerprint])


def write_fhir(folder: Path, residents: range, month: str) -> Path:
    """An export with resident numbers: one patient and one visit in the month of each."""
    folder.mkdir()
    made: list[dict[str, Any]] = []
    for each in residents:
        known = {"identifier": [{"system": SYSTEM, "value": number(each)}], "address": [{"district": "天河区"}]}
        start = f"{month}-{each % 28 + 1:02d}T09:00:00+08:00"
        made += [patient(f"mrn-{each}", **known), encounter(f"e{each}", f"Patient/mrn-{each}", period={"start": start})]
    write_ndjson(folder / "export.ndjson", made)
    return folder
