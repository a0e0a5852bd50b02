"""Moves published FHIR patients to Guangzhou: distributes them over hospitals and rewrites their home district, nothing else.

Built for the Synthea patients of Massachusetts, as transaction Bundles (`*.json`) or NDJSON (`*.ndjson`, `*.ndjson.gz`). Where
a resource goes depends on a hash of its patient's and encounter's id alone, so files are read once, line by line, in any order:

- a patient has one home hospital (larger ones more often) and a district by the census, both from the hash of the id;
- a share of the patients has a second hospital too: each of their encounters is at one of the two, and what belongs to the
  encounter goes with it; what belongs to none stays at the home hospital. The Patient is written at both;
- only Patient, Encounter, Condition and Observation are written; NDJSON lines other than Patient pass byte for byte;
- a line that is no resource, or one of the four kinds that names no patient, is counted as unplaced and left out.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import orjson

from simulations.city.hospitals import TWO_HOSPITAL_SHARE, Hospital, open_hospitals
from simulations.city.residents import DISTRICTS, District

KINDS: Final = ("Patient", "Encounter", "Condition", "Observation")

Resource = dict[str, Any]


class UnreadableSource(Exception):
    """The folder to relocate holds no FHIR patient, or one of its files cannot be read to its end."""

    code = "relocate.unreadable"


@dataclass(frozen=True, slots=True)
class Relocation:
    """What was moved: folders by hospital name, resources written by kind, Patients written twice, lines unplaced.

    A resource that stands in two source files is written for each, at the same hospital: dropping one is the import's work.
    """

    folders: dict[str, Path]
    written: dict[str, int]
    patients_of_two: int
    unplaced: int


@dataclass(frozen=True, slots=True)
class Atlas:
    """Where each patient and each encounter belongs; a pure function of ids."""

    hospitals: tuple[Hospital, ...]
    two_hospital_share: float = TWO_HOSPITAL_SHARE

    def district(self, patient: str) -> District:
        return DISTRICTS[_pick("district", patient, [district.population for district in DISTRICTS])]

    def home(self, patient: str) -> int:
        return _pick("home", patient, [hospital.weight for hospital in self.hospitals])

    def hospitals_of(self, patient: str) -> tuple[int, ...]:
        """One hospital, or two, the home first."""
        home = self.home(patient)
        if len(self.hospitals) == 1 or _fraction("two", patient) >= self.two_hospital_share:
            return (home,)
        step = 1 + int(_fraction("second", patient) * (len(self.hospitals) - 1))
        return (home, (home + step) % len(self.hospitals))

    def hospital_of(self, patient: str, encounter: str | None) -> int:
        places = self.hospitals_of(patient)
        return places[0] if encounter is None else places[int(_fraction("encounter", encounter) * len(places))]


def relocate(source: Path, folder: Path, hospitals: int = 6) -> Relocation:
    """Distributes the patients under `source` (searched in depth) over folders of NDJSON, one a hospital.

    Raises:
        UnreadableSource: there is no patient under `source`, or a file is damaged.
    """
    atlas = Atlas(open_hospitals(hospitals))
    folders = {hospital.name: folder / hospital.name for hospital in atlas.hospitals}
    with ExitStack() as stack:
        moved = _distribute(source, atlas, folders, _open_files(folders, stack))
    if not moved.written["Patient"]:
        raise UnreadableSource(f"{source}: no FHIR Patient in any .ndjson, .ndjson.gz or .json below it")
    return moved


def _open_files(folders: dict[str, Path], stack: ExitStack) -> list[dict[str, IO[bytes]]]:
    files: list[dict[str, IO[bytes]]] = []
    for place in folders.values():
        place.mkdir(parents=True, exist_ok=True)
        files.append({kind: stack.enter_context((place / f"{kind}.ndjson").open("wb")) for kind in KINDS})
    return files


def _distribute(source: Path, atlas: Atlas, folders: dict[str, Path], files: list[dict[str, IO[bytes]]]) -> Relocation:
    counts: Counter[str] = Counter()
    for resource, line in _resources(source):
        if resource is not None and resource["resourceType"] not in KINDS:
            continue
        placed = _placed(resource, line, atlas) if resource else None
        if resource is None or placed is None:
            counts["unplaced"] += 1
            continue
        places, text = placed
        counts["two"] += len(places) > 1
        for place in places:
            files[place][resource["resourceType"]].write(text + b"\n")
            counts[resource["resourceType"]] += 1
    return Relocation(folders, {kind: counts[kind] for kind in KINDS}, counts["two"], counts["unplaced"])


def _placed(resource: Resource, line: bytes, atlas: Atlas) -> tuple[tuple[int, ...], bytes] | None:
    """The hospitals of a resource and its line there; None if it does not say whose it is."""
    own_id, patient = resource.get("id"), _referred(resource.get("subject"))
    if resource["resourceType"] == "Patient":
        return (atlas.hospitals_of(own_id), _moved(resource, atlas.district(own_id))) if own_id else None
    is_encounter = resource["resourceType"] == "Encounter"
    encounter = own_id if is_encounter else _referred(resource.get("encounter"))
    return ((atlas.hospital_of(patient, encounter),), line) if patient else None


def _moved(patient: Resource, district: District) -> bytes:
    return orjson.dumps(patient | {"address": [_address(district)]})


def _resources(source: Path) -> Iterator[tuple[Resource | None, bytes]]:
    """Every resource with its bytes; (None, line) for a line that is no resource."""
    for path in sorted(source.rglob("*")):
        if path.name.endswith((".ndjson", ".ndjson.gz")):
            yield from _of_lines(path)
        elif path.suffix == ".json":
            yield from _of_bundle(path)


def _of_lines(path: Path) -> Iterator[tuple[Resource | None, bytes]]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for line in file:
                if line.strip():
                    yield _parsed(line), line.strip()
    except (EOFError, gzip.BadGzipFile, zlib.error) as cause:
        raise UnreadableSource(f"{path}: is not gzip, or breaks off before its end") from cause


def _of_bundle(path: Path) -> Iterator[tuple[Resource | None, bytes]]:
    try:
        bundle = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError:
        raise UnreadableSource(f"{path}: is not JSON") from None  # the cause would carry the whole document
    if isinstance(bundle, dict) and bundle.get("resourceType") == "Bundle":
        for entry in bundle.get("entry", ()):
            line = orjson.dumps(entry.get("resource"))
            yield _parsed(line), line


def _parsed(line: bytes) -> Resource | None:
    try:
        resource = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return resource if isinstance(resource, dict) and isinstance(resource.get("resourceType"), str) else None


def _referred(reference: object) -> str | None:
    """The id behind `Patient/<id>` or `urn:uuid:<id>`."""
    named = reference.get("reference") if isinstance(reference, dict) else None
    return named.replace(":", "/").rsplit("/", 1)[-1] if isinstance(named, str) else None


def _address(district: District) -> Resource:
    return {
        "use": "home", "country": "CN", "state": "广东省", "city": "广州市",
        "district": district.adcode, "text": f"广东省广州市{district.name}",
    }  # fmt: skip


def _fraction(purpose: str, identifier: str) -> float:
    digest = hashlib.sha256(f"{purpose} {identifier}".encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48


def _pick(purpose: str, identifier: str, weights: list[int] | list[float]) -> int:
    mark = _fraction(purpose, identifier) * sum(weights)
    for index, weight in enumerate(weights):
        mark -= weight
        if mark < 0:
            return index
    return len(weights) - 1
