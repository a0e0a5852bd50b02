"""Residents in a city of the tests: a common key at every hospital, policies that permit the question, records with tags."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import duckdb

from audit_ledger.party.home import Home
from hospital_node.policy import default_policy
from hospital_node.records.residents import KEY_FILE, Residents
from protocols.union import ResidentKey
from protocols.union.question import permission
from tests.protocols.union.numbers import number
from tests.support.city import City

KEY = Residents(ResidentKey(bytes(range(32))))
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
