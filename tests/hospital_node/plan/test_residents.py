"""Three hospitals import, each for itself, the records of a city whose residents they share; each resident is counted once.

Real imports, plans, bounding, masks and zero test; only what carries the bytes from one party to the next is left out.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hospital_node.plan import execute, resident_buckets
from hospital_node.records.residents import Residents
from protocols.query import Layout, QuerySpec
from protocols.secagg.ring import Integers
from protocols.union import BucketKey, ResidentKey, filled, place_of
from tests.hospital_node.records.resources import Node, encounter, patient, write_ndjson
from tests.protocols.union.numbers import number
from tests.protocols.union.parties import Union

SYSTEM = "urn:example:resident"
RESIDENTS = Residents(ResidentKey(os.urandom(32)))
DAY, NEXT = "2025-03-01T09:00:00+08:00", "2025-04-02T09:00:00+08:00"
PERIOD = {"from": "2025-03-01", "to": "2025-05-01"}
HERE, THERE = [{"district": "天河区"}], [{"district": "越秀区"}]
Visits = Mapping[int, Sequence[tuple[str, str]]]
"""Resident: moments and classes of visits at one hospital."""

CITY: Sequence[Visits] = (
    {1: [(DAY, "EMER")], 2: [(DAY, "AMB"), (NEXT, "AMB")], 3: [(DAY, "AMB")]},
    {1: [(NEXT, "AMB")], 2: [(NEXT, "AMB")], 4: [(DAY, "EMER")]},
    {1: [(DAY, "AMB"), (DAY, "AMB")], 5: [(NEXT, "AMB")]},
)


def _spec(*keys: str, where: Sequence[dict[str, Any]] = (), buckets: int = 4096) -> QuerySpec:
    measure = {"kind": "count_distinct_resident", "buckets": buckets}
    fields = {"table": "visits", "measures": [measure], "keys": [{"key": each} for each in keys]}
    return QuerySpec.from_fields({**fields, "where": list(where), "period": PERIOD})


def _persons() -> QuerySpec:
    return QuerySpec.from_fields({"table": "visits", "measures": [{"kind": "count_distinct_person"}], "period": PERIOD})


def _resources(visits: Visits) -> Iterator[dict[str, Any]]:
    for resident, moments in visits.items():
        known = [{"system": SYSTEM, "value": number(resident)}]
        yield patient(f"mrn-{resident}", identifier=known, address=HERE if resident % 2 else THERE)
        for n, (moment, kind) in enumerate(moments):
            yield encounter(f"e{resident}-{n}", f"Patient/mrn-{resident}", period={"start": moment}, **{"class": {"code": kind}})


def _hospital(root: Path, visits: Visits, system: str | None = SYSTEM) -> Node:
    root.mkdir()
    node = Node(root)
    file = write_ndjson(root / "export.ndjson", _resources(visits))
    replace(node.ingest, residents=RESIDENTS).fhir([file], system)
    return node


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> list[Node]:
    root = tmp_path_factory.mktemp("city")
    return [_hospital(root / f"h{n}", visits) for n, visits in enumerate(CITY)]


@dataclass
class OfRecords(Union):
    """A question to hospitals that hold records; each bounds by a key of its own."""

    nodes: Sequence[Node] = field(kw_only=True)
    spec: QuerySpec = field(kw_only=True)

    def vector(self, hospital: int) -> Integers:
        own, key = bytes([hospital]) * 32, BucketKey.of(RESIDENTS.key, self.u)
        with self.nodes[hospital].open() as records:
            exact = resident_buckets(self.spec, records, own, RESIDENTS.fingerprint, key)
        cell, bucket = np.divmod(np.flatnonzero(exact), self.shape.buckets)
        return filled(self.shape, place_of(self.shape, cell, bucket), hospital, self.noise[hospital], self.random)


def _counted(nodes: Sequence[Node], spec: QuerySpec) -> list[int]:
    """What would be released, less the noise. Buckets are many: two of five residents share one in 0.25 % of throws."""
    size, buckets = spec.grid().size, Layout.of(spec).segments[0].measure.model_dump()["buckets"]
    union = OfRecords([[] for _ in nodes], size, buckets, Fraction(1, 16), nodes=nodes, spec=spec)
    union.u = next(u for u in iter(lambda: os.urandom(32), b"") if _is_sparse(u, buckets))
    total = np.sum([union.vector(n) for n in range(len(nodes))], axis=0) % 2**32
    kept = total.reshape(size, -1)[:, :buckets]
    return [int(each) for each in np.count_nonzero(kept, axis=1)]


def _is_sparse(u: bytes, buckets: int) -> bool:
    tags = b"".join(RESIDENTS.key.tag(number(each)) for each in range(1, 6))
    return len(set(BucketKey.of(RESIDENTS.key, u).buckets_of(tags, buckets).tolist())) == 5


def test_a_resident_of_three_hospitals_counts_once_and_by_patients_thrice(city: list[Node]) -> None:
    spec = _spec()
    assert _counted(city, spec) == [5]
    patients = 0
    for node in city:
        with node.open() as records:
            patients += int(execute(_persons(), records, bytes(32))[0])
    assert patients == 8


def test_the_whole_protocol_releases_the_residents_and_noise_of_both_sides(city: list[Node]) -> None:
    union = OfRecords([[], [], []], 1, 1024, Fraction(1, 4), nodes=city, spec=_spec(buckets=1024))
    tags = b"".join(RESIDENTS.key.tag(number(each)) for each in range(1, 6))
    distinct = len(set(BucketKey.of(RESIDENTS.key, union.u).buckets_of(tags, 1024).tolist()))
    assert union.values() == (distinct + union.all_noise()).tolist()


def test_a_resident_counts_wherever_the_matching_row_is(city: list[Node]) -> None:
    """No home: resident 1 has an emergency at the first hospital only, and 4 at the second."""
    assert _counted(city, _spec(where=[{"column": "visit_class", "values": ["EMER"]}])) == [2]
    assert _counted(city, _spec(where=[{"column": "visit_class", "values": ["AMB"]}])) == [4]


def test_cells_count_their_own_residents(city: list[Node]) -> None:
    spec = _spec("month")
    assert _counted(city, spec) == [4, 3]
    by_district = dict(zip(_spec("district").grid().axes[0].labels, _counted(city, _spec("district")), strict=True))
    assert {each: count for each, count in by_district.items() if count} == {"440106": 3, "440104": 2}


def test_patients_without_a_tag_count_at_each_hospital_for_itself(tmp_path: Path) -> None:
    nodes = [_hospital(tmp_path / f"h{n}", visits, system=None) for n, visits in enumerate(CITY)]
    # Eight patients: two in one bucket of 2^16 in 0.04 % of runs.
    assert _counted(nodes, _spec(buckets=2**16))[0] >= 7


def test_two_numbers_of_one_hospital_for_one_resident_are_one(tmp_path: Path) -> None:
    root = tmp_path / "h"
    root.mkdir()
    node, known = Node(root), [{"system": SYSTEM, "value": number(1)}]
    twice = [
        patient("old", identifier=known),
        encounter("e1", "Patient/old"),
        patient("new", identifier=known),
        encounter("e2", "Patient/new"),
    ]
    replace(node.ingest, residents=RESIDENTS).fhir([write_ndjson(root / "x.ndjson", twice)], SYSTEM)
    assert _counted([node, node], _spec()) == [1]


@pytest.mark.parametrize("resident", [1, 4])
def test_one_resident_of_the_city_moves_no_cell_by_more_than_one(city: list[Node], tmp_path: Path, resident: int) -> None:
    without = [{each: visits[each] for each in visits if each != resident} for visits in CITY]
    neighbours = [_hospital(tmp_path / f"h{n}", visits) for n, visits in enumerate(without)]
    for keys in ((), ("month",), ("district",)):
        moved = np.array(_counted(city, _spec(*keys))) - np.array(_counted(neighbours, _spec(*keys)))
        assert set(moved.tolist()) <= {0, 1}
        assert moved.sum() >= 1


def test_buckets_are_filled_by_a_question_for_residents_alone(city: list[Node]) -> None:
    union = OfRecords([[]], 1, 64, Fraction(1), colluders=0, nodes=city, spec=_persons())
    with pytest.raises(TypeError, match="by a question for residents"):
        union.vector(0)
