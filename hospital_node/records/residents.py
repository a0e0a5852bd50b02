"""By which tag an import knows a resident again, at every hospital of the city: the number goes in, a keyed hash is kept.

Rules
- The number itself is never staged, stored, reported or logged; what has no number's form is counted by place, and its patient is
  loaded without a tag.
- A tag stands beside the key's fingerprint. An import under another key takes all tags of the old one out: two keys' tags of one
  person differ, and would count twice.
- Without a key nothing is read: an import that is asked for tags is then refused before it starts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import duckdb

from audit_ledger.party.home import Home, HomeError
from hospital_node.records.errors import InvalidMapping
from hospital_node.records.report import Reason, Tally
from protocols.union import MalformedResidentNumber, ResidentKey

KEY_FILE = "keys/residents.key"
KEY_BYTES = 32
TagOf = Callable[[str | None, int], str | None]


@dataclass(frozen=True, slots=True)
class Residents:
    """The hospitals' common key, as an import uses it."""

    key: ResidentKey

    @classmethod
    def of(cls, home: Path) -> "Residents | None":
        """None where this hospital has no key. Raises InvalidMapping for a file that is none."""
        place = Home(home)
        try:
            return cls(ResidentKey(place.secret(KEY_FILE, KEY_BYTES))) if place.has(KEY_FILE) else None
        except HomeError as error:
            raise InvalidMapping(str(error)) from None

    @property
    def fingerprint(self) -> str:
        """What hospitals compare on the telephone; the key has 256 bits and is not found from it."""
        return sha256(b"kapok/v1/residents\0" + self.key.secret).hexdigest()

    def tag_of(self, tally: Tally) -> TagOf:
        """The tag in hex of a number in any spelling; None for no number, which is tallied if something else was there."""

        def tag(number: str | None, place: int) -> str | None:
            if not number:
                return None
            try:
                return self.key.tag(number).hex()
            except MalformedResidentNumber:
                tally.skip(Reason.BAD_RESIDENT, place)
                return None

        return tag


def is_tagged(records: duckdb.DuckDBPyConnection, key_print: str) -> bool:
    """Whether these records were imported with resident numbers under this key; those of an older program never were."""
    if not records.execute("SELECT 1 FROM information_schema.tables WHERE table_name = 'resident_key'").fetchall():
        return False
    return records.execute("SELECT DISTINCT key_print FROM resident_key").fetchall() == [(key_print,)]


def no_tag(number: str | None, place: int) -> None:
    """For an import that keeps none."""


def require_key(residents: Residents | None, what: str) -> Residents:
    """Raises InvalidMapping."""
    if residents is None:
        raise InvalidMapping(f"{what}: this node has no residents' key; see `kapok-node residents --help`")
    return residents
