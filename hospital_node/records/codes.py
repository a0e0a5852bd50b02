"""From a source's code to ICD-10 without dot, at the level every hospital shares, or to nothing.

Rules
- ICD-10 of any edition is brought to at most four characters: the national clinical edition (`A09.900`), the insurance
  edition (`A09.900x001`), ICD-10-CM and WHO codes of one disease meet in one cell; the full code stays as `source_code`.
  `x` in fourth place is the national edition's "no fourth character" (`I10.x00` is I10).
- Full-width characters are folded, dagger, asterisk and `+` pairs give the code before the sign (the disease itself).
- Any other system goes through a code map: `snomed_icd10.csv` here, plus files of the same form by the hospital, which win.
  A row with an empty `icd10` says that the code has no ICD-10 meaning; it is reported as unmapped all the same.
- A code is shown to people only if it has the form of its system.
"""

import csv
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from hospital_node.records.errors import InvalidMapping
from hospital_node.records.report import UnmappedCode

SNOMED = "http://snomed.info/sct"
ICD10 = "http://hl7.org/fhir/sid/icd-10"
LOINC = "http://loinc.org"
_ICD10_OIDS = frozenset({"urn:oid:2.16.840.1.113883.6.3", "urn:oid:2.16.840.1.113883.6.90", "urn:oid:2.16.156.10011.2.3.3.11"})
_ICD10_FORM = re.compile(r"([A-Z]\d[0-9AB])(?:\.?([0-9A-Z]{1,5}))?(?:X\d{3})?")
_HEADER = ["system", "code", "icd10", "name"]


def normalise_icd10(text: str) -> str | None:
    """`J10.1`, `j10.100`, `Ｊ１０．１`, `J10.100x002` are all `J101`; None if it is no ICD-10 diagnosis."""
    folded = unicodedata.normalize("NFKC", text).strip().upper()
    first = re.split(r"[†*+＊\s]", folded, maxsplit=1)[0]
    form = _ICD10_FORM.fullmatch(first)
    if not form:
        return None
    category, detail = form.groups()
    return category + detail[0] if detail and detail[0] != "X" else str(category)


def is_icd10(system: str | None) -> bool:
    return system is not None and (system.startswith(ICD10) or system in _ICD10_OIDS)


def is_snomed_concept(code: str) -> bool:
    """A concept identifier of SNOMED CT: partition 00 or 10, check digit by Verhoeff (SNOMED CT release file specification 4.2)."""
    if not (code.isascii() and code.isdigit() and 6 <= len(code) <= 18):
        return False
    short, extended = code[-3:-1] == "00" and len(code) <= 10, code[-3:-1] == "10" and len(code) >= 13
    return (short or extended) and _verhoeff(code) == 0


def printable(system: str | None, code: str) -> bool:
    """Whether a code has the form of its system, so that it cannot be a name or an identity number in the wrong column."""
    if system == SNOMED:
        return is_snomed_concept(code)
    return is_icd10(system) and _ICD10_FORM.fullmatch(code.upper()) is not None


@dataclass(frozen=True, slots=True)
class CodeMap:
    """What a (system, code) means in ICD-10."""

    entries: Mapping[tuple[str, str], str | None]

    @classmethod
    def read(cls, extra: Iterable[Path] = ()) -> "CodeMap":
        """The map that comes with the node, then each file over it.

        Raises:
            InvalidMapping: a file cannot be read or a line is not of the form `system,code,icd10,name`.
        """
        with files(__package__).joinpath("snomed_icd10.csv").open(encoding="utf-8") as built_in:
            entries = _entries("snomed_icd10.csv", built_in.read())
        for path in extra:
            try:
                entries |= _entries(str(path), path.read_text(encoding="utf-8-sig"))
            except (OSError, UnicodeDecodeError) as cause:
                raise InvalidMapping(f"{path}: cannot be read as UTF-8 text") from cause
        return cls(entries)

    def icd10(self, system: str | None, code: str) -> str | None:
        mapped = self.entries.get((system or "", code))
        if mapped is None and is_icd10(system):
            return normalise_icd10(code)
        return mapped

    @staticmethod
    def unmapped(found: Iterable[tuple[str | None, str, int]]) -> list[UnmappedCode]:
        """Codes for the report; those without the form of their system are counted together, unnamed."""
        counts: dict[tuple[str, str | None], int] = {}
        for system, code, count in found:
            known = printable(system, code)
            key = (system or "" if known else "", code if known else None)
            counts[key] = counts.get(key, 0) + count
        return [UnmappedCode(system, code, count) for (system, code), count in counts.items()]


def _entries(name: str, text: str) -> dict[tuple[str, str], str | None]:
    rows = csv.reader(text.splitlines())
    if next(rows, None) != _HEADER:
        raise InvalidMapping(f"{name}:1: expected the header {','.join(_HEADER)}")
    entries: dict[tuple[str, str], str | None] = {}
    for number, row in enumerate(rows, 2):
        if len(row) != len(_HEADER):
            raise InvalidMapping(f"{name}:{number}: expected {len(_HEADER)} columns, got {len(row)}")
        system, code, icd10, _ = (cell.strip() for cell in row)
        if icd10 and normalise_icd10(icd10) is None:
            raise InvalidMapping(f"{name}:{number}: the third column is no ICD-10 code")
        entries[system, code] = normalise_icd10(icd10) if icd10 else None
    return entries


# The dihedral group of the pentagon: its multiplication table and the powers of Verhoeff's permutation.
_TIMES = (
    "0123456789",
    "1234067895",
    "2340178956",
    "3401289567",
    "4012395678",
    "5987604321",
    "6598710432",
    "7659821043",
    "8765932104",
    "9876543210",
)
_TURN = ("0123456789", "1576283094", "5803796142", "8916043527", "9453126870", "4286573901", "2793806415", "7046913258")


def _verhoeff(digits: str) -> int:
    check = 0
    for place, digit in enumerate(reversed(digits)):
        check = int(_TIMES[check][int(_TURN[place % 8][int(digit)])])
    return check
