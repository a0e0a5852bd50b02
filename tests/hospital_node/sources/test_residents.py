"""Residents of a live database: tags as an import makes them, one bucket a resident, and a no before the Ready where it cannot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hospital_node.plan.residents import _own_tag
from hospital_node.records.residents import KEY_FILE
from hospital_node.sources.mapping import Source
from hospital_node.sources.plans import DatabasePlans
from protocols import statements as st
from protocols.asked import Asked
from protocols.contract import CONTRACT
from protocols.query import QuerySpec
from protocols.refusal import Reason
from protocols.union import BucketKey
from tests.hospital_node.sources.hospital import KEY, fields, number, plans
from tests.hospital_node.support.nodes import Asking, Nodes
from tests.protocols.union.numbers import number as resident_number
from tests.support import residents
from tests.support.databases import Running

pytestmark = pytest.mark.xdist_group("databases")
BUCKETS = 1024
SPEC: dict[str, Any] = {
    "table": "visits",
    "measures": [{"kind": "count_distinct_resident", "buckets": BUCKETS}],
    "period": {"from": "2026-01-01", "to": "2026-03-01"},
}
WIDE = str.maketrans("0123456789X", "０１２３４５６７８９ｘ")
NUMBERS: list[tuple[str | None, str | None]] = [
    ("P1", resident_number(1).translate(WIDE)),  # as an old terminal wrote it
    ("p1", resident_number(1)),  # another patient number of the same resident
    ("P2", resident_number(2)),
    ("P2", "not asked"),
    ("Q0", resident_number(3)[:-1]),  # no check character: no number
    ("Q1", ""),
    ("Q2", None),
    ("Q3", resident_number(7)),
    ("Q3", resident_number(8)),
    ("P9", resident_number(9)),  # never came
    (None, resident_number(10)),
]
TAGS = {person: residents.KEY.key.tag(resident_number(n)) for person, n in (("P1", 1), ("p1", 1), ("P2", 2))}
TAGS["Q3"] = min(residents.KEY.key.tag(resident_number(n)) for n in (7, 8))
PERSONS = ("P1", "p1", "P2", *(f"Q{n}" for n in range(6)))
"""Everybody with a record that counts (`hospital.VISITS`)."""


def _rows(rows: list[tuple[str | None, str | None]]) -> str:
    told = (", ".join("NULL" if cell is None else f"'{cell}'" for cell in row) for row in rows)
    return ", ".join(f"({each})" for each in told)


@dataclass(frozen=True)
class Hospital:
    """A server with the visits of `hospital.VISITS` and these patients, both in tables of its own."""

    engine: str
    server: Running

    def mapping(self, **patients: str) -> dict[str, Any]:
        mapping = fields(self.engine, self.server.port)
        mapping["visits"]["relation"] = ["his", "seen"]
        mapping["patients"] = {"relation": ["his", "people"], "person": "patient_no", "resident": "id_card", **patients}
        return mapping


@pytest.fixture(params=["postgresql", "mysql"])
def hospital(request: pytest.FixtureRequest) -> Iterator[Hospital]:
    server: Running = request.getfixturevalue({"postgresql": "postgres_server", "mysql": "mariadb_server"}[request.param])
    made = (
        "CREATE TABLE his.people (patient_no varchar(40), id_card varchar(60)); CREATE TABLE his.seen AS SELECT * FROM his.visit;"
    )
    grant = {"postgresql": "GRANT SELECT ON his.people, his.seen TO kapok_reader;", "mysql": ""}[request.param]
    server.run(f"{made} {grant} INSERT INTO his.people VALUES {_rows(NUMBERS)}")
    yield Hospital(request.param, server)
    server.run("DROP TABLE his.people; DROP TABLE his.seen")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Nodes]:
    made = Nodes(tmp_path, CONTRACT.floor, residents.furnish)
    for node in made.nodes.values():
        residents.tag(node.home / "records", {})
    residents.permit(made.city)
    yield made
    made.close()


@pytest.fixture
def live(world: Nodes, hospital: Hospital) -> DatabasePlans:
    """The first node answers from the database."""
    node = world.first()
    node.plans = plans(node.home, hospital.mapping())
    node.restart()
    node.bring()
    return node.plans


def _asking(world: Nodes) -> Asking:
    return world.ask(SPEC, {"variances": ("16.0000",)})


def _asked(asking: Asking) -> Asked:
    statement = st.parse(asking.entry).statement
    assert isinstance(statement, st.Query)
    return Asked.of(statement)


def _count(live: DatabasePlans, asked: Asked) -> set[int]:
    """As a node does it; the filled buckets."""
    generation = live.generation()
    assert live.refusals(asked, generation) == []
    live.probe(asked)
    vector = live.count(asked, generation, KEY, b"", 1)
    assert set(np.unique(vector)) <= {0, 1}
    return set(np.flatnonzero(vector).tolist())


def _buckets(asked: Asked, persons: tuple[str, ...]) -> set[int]:
    """From the rules: a patient's tag under the city's key, or the hospital's own."""
    tags = b"".join(TAGS.get(each) or _own_tag(number(each), KEY) for each in persons)
    question = BucketKey.of(residents.KEY.key, asked.query.envelope().statement_id())
    return set(question.buckets_of(tags, BUCKETS).tolist())


def test_every_patient_falls_into_the_bucket_of_the_resident_that_the_database_names(world: Nodes, live: DatabasePlans) -> None:
    asked = _asked(_asking(world))
    assert _count(live, asked) == _buckets(asked, PERSONS)


@pytest.mark.parametrize(
    ("persons", "visits"),
    [(("P1", "p1"), ("v1", "v2", "v3", "v4", "v5")), (("P2",), ("v6", "v7")), (("Q3",), tuple(f"w3-{n}" for n in range(4)))],
)
def test_all_records_of_a_resident_move_one_bucket(
    world: Nodes, live: DatabasePlans, hospital: Hospital, persons: tuple[str, ...], visits: tuple[str, ...]
) -> None:
    """Whatever the months and the patient numbers; and nobody else's bucket moves."""
    asked = _asked(_asking(world))
    before = _count(live, asked)
    for table, column, values in (("people", "patient_no", persons), ("seen", "visit_no", visits)):
        hospital.server.run(f"DELETE FROM his.{table} WHERE {column} IN ({', '.join(map(repr, values))})")
    after = _count(live, asked)
    assert after <= before
    assert len(before - after) == 1


def test_a_patient_of_two_months_has_one_bucket_whichever_is_asked(world: Nodes, live: DatabasePlans) -> None:
    """P2 came in January and in February: its number is a matter of neither."""
    asked = _asked(_asking(world))
    for first, end, seen in (("2026-01-01", "2026-02-01", PERSONS), ("2026-02-01", "2026-03-01", ("P2",))):
        month = QuerySpec.from_fields({**SPEC, "period": {"from": first, "to": end}})
        assert _count(live, replace(asked, spec=month)) == _buckets(asked, seen)


def test_a_node_answers_from_the_database_and_keeps_its_pace(world: Nodes, live: DatabasePlans) -> None:
    asking = _asking(world)
    asking.all_ready()
    binding = asking.binding()
    made = asking.contribute(world.first(), binding)
    assert not isinstance(made, list)
    assert len(made.masked) == 4 * binding.dimension
    assert not world.first().answering.is_paused


def test_no_key_no_column_and_a_column_that_has_gone_refuse_before_anything_is_spent(
    world: Nodes, live: DatabasePlans, hospital: Hospital
) -> None:
    node, sound = world.first(), live.source
    unmapped = sound.model_dump(exclude_none=True)
    del unmapped["patients"]["resident"]
    live.source = Source.model_validate(unmapped)
    assert _asking(world).reasons(node) == [Reason.NO_RESIDENT_TAGS]
    live.source = Source.model_validate(hospital.mapping(resident="id_no"))
    live._sound_until = 0.0
    found = _asking(world).offer(node).refusals
    assert [(each.reason, each.got) for each in found] == [(Reason.NO_RECORDS, "source.columns")]
    live.source = sound
    (node.home / KEY_FILE).unlink()
    node.answering.adopt_policy(node.policy(), None)
    assert _asking(world).reasons(node) == [Reason.RESIDENTS_NOT_PERMITTED, Reason.NO_RESIDENT_KEY]
    assert not node.answering.journal.spent()


def test_a_number_beside_the_visits_is_no_mapping(tmp_path: Path) -> None:
    mapping = fields("postgresql", 1)
    mapping["visits"]["resident"] = "id_card"
    with pytest.raises(ValueError, match=r"visits\.resident: stands in \[patients\] alone"):
        Source.model_validate(mapping)
