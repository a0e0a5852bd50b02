"""The same questions, the same integers, whatever server holds the records; what is wrong with one is found before a Ready."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from hospital_node.sources.errors import SlowSource
from hospital_node.sources.mapping import Source
from hospital_node.sources.plans import DatabasePlans
from hospital_node.sources.statements import Statement
from protocols.asked import Asked
from protocols.query import Layout, QuerySpec, Table, footprint
from tests.hospital_node.plan import oracle
from tests.hospital_node.sources.hospital import ALL, KEY, VISIT, ZONE, asked, count, everything, fields, inserts, plans
from tests.support.databases import Running

pytestmark = pytest.mark.xdist_group("databases")
PERIOD = {"period": {"from": "2026-01-01", "to": "2026-03-01"}}
WEEKLY = {
    **PERIOD,
    "keys": [{"key": "iso_week"}, {"key": "district"}],
    "measures": [{"kind": "count"}, {"kind": "count_distinct_person"}],
}
FLU = [{"column": "icd10", "prefixes": ["J10"]}]
QUESTIONS: dict[str, dict[str, Any]] = {
    "weekly": {"table": "visits", **WEEKLY},
    "weekly, one cell a patient": {"table": "visits", **WEEKLY, "cells_per_patient": 1},
    "half a month": {"table": "visits", **WEEKLY, "period": {"from": "2026-01-10", "to": "2026-02-01"}},
    "by age and sex": {
        **PERIOD,
        "table": "visits",
        "keys": [{"key": "age_band", "bands": "five_years"}, {"key": "sex"}],
        "measures": [{"kind": "count"}],
    },
    "emergencies": {
        **PERIOD,
        "table": "visits",
        "keys": [{"key": "month"}],
        "measures": [{"kind": "count"}],
        "where": [{"column": "visit_class", "values": ["EMER", "IMP"]}],
    },
    "influenza": {"table": "diagnoses", **WEEKLY, "where": [{"column": "icd10", "prefixes": ["J10"]}]},
    "visits, each month by its weight": {
        **PERIOD,
        "table": "visits",
        "keys": [{"key": "district"}],
        "measures": [{"kind": "count"}, {"kind": "count", "hi": 1}],
        "weights": [64, 23],
    },
    "influenza, each month by its weight": {
        **PERIOD,
        "table": "diagnoses",
        "measures": [{"kind": "count", "hi": 2}],
        "where": FLU,
        "weights": [3, 1024],
    },
    "a sum of temperatures, each month by its weight": {
        **PERIOD,
        "table": "measurements",
        "measures": [{"kind": "sum", "column": "value", "lo": "0", "hi": "45", "scale": 10}],
        "where": [{"column": "loinc", "values": ["8310-5"]}],
        "weights": [5, 2],
    },
    "by code": {
        **PERIOD,
        "table": "diagnoses",
        "keys": [{"key": "icd10_prefix", "prefixes": ["A17", "J10"]}],
        "measures": [{"kind": "count"}],
    },
    "mean temperature": {
        **PERIOD,
        "table": "measurements",
        "measures": [{"kind": "avg", "column": "value", "lo": "0", "hi": "45", "scale": 100}],
        "where": [{"column": "loinc", "values": ["8310-5"]}],
    },
    "sum of everything": {
        **PERIOD,
        "table": "measurements",
        "measures": [{"kind": "sum", "column": "value", "lo": "-200", "hi": "200", "scale": 1}],
    },
    "visits with influenza, of all visits": {
        "table": "visits",
        **WEEKLY,
        "measures": [
            {"kind": "count"},
            {"kind": "count", "filter": {"kind": "has", "table": "diagnoses", "where": FLU, "days": [0, 0]}},
        ],
    },
    "influenza for the first time in 40 days": {
        "table": "diagnoses",
        **WEEKLY,
        "where": FLU,
        "cohort": {"kind": "not", "of": {"kind": "has", "table": "diagnoses", "where": FLU, "days": [-40, -1]}},
    },
    "patients with a visit in February and none in January": {
        "table": "patients",
        "keys": [{"key": "district"}],
        "measures": [{"kind": "count_distinct_person"}],
        "cohort": {
            "kind": "all",
            "of": [
                {"kind": "has", "table": "visits", "period": {"from": "2026-02-01", "to": "2026-03-01"}},
                {"kind": "not", "of": {"kind": "has", "table": "visits", "period": {"from": "2025-12-01", "to": "2026-01-15"}}},
            ],
        },
    },
    "a table one of visits": {
        **PERIOD,
        "table": "visits",
        "keys": [{"key": "sex"}],
        "measures": [
            {"kind": "count_distinct_person"},
            {"kind": "summary", "column": "age", "lo": "0", "hi": "100"},
            {"kind": "categories", "column": "district"},
            {"kind": "categories", "column": "visit_class"},
        ],
    },
    "from influenza to the next visit": {
        **PERIOD,
        "table": "diagnoses",
        "where": FLU,
        "measures": [
            {
                "kind": "survival",
                "event": {"kind": "has", "table": "visits", "days": [1, 60]},
                "edges": [7, 30, 60],
                "until": "2026-12-31",
            }
        ],
    },
    "patients": {"table": "patients", "keys": [{"key": "district"}, {"key": "sex"}], "measures": [{"kind": "count"}]},
    "adults": {
        "table": "patients",
        "as_of": "2026-01-01",
        "measures": [{"kind": "count_distinct_person"}],
        "where": [{"column": "age", "low": 18, "high": 99}],
    },
}


@pytest.fixture(params=["postgresql", "mysql"])
def live(request: pytest.FixtureRequest, tmp_path: Path) -> DatabasePlans:
    server: Running = request.getfixturevalue({"postgresql": "postgres_server", "mysql": "mariadb_server"}[request.param])
    return plans(tmp_path, fields(request.param, server.port))


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_server_answers_as_the_reference_does(live: DatabasePlans, name: str) -> None:
    spec = QuerySpec.from_fields(QUESTIONS[name])
    reference = oracle.answer(spec, everything(spec), KEY)
    assert count(live, spec) == reference
    assert any(reference)


@pytest.mark.parametrize("name", [name for name in QUESTIONS if "weights" in QUESTIONS[name]])
def test_a_weighted_answer_of_a_server_is_the_weighted_sum_of_its_months(live: DatabasePlans, name: str) -> None:
    fields = dict(QUESTIONS[name])
    weights = fields.pop("weights")
    ends = ["2026-01-01", "2026-02-01", "2026-03-01"]
    months = [QuerySpec.from_fields({**fields, "period": {"from": first, "to": end}}) for first, end in pairwise(ends)]
    alone = zip(*(count(live, month) for month in months), strict=True)
    summed = [sum(weight * value for weight, value in zip(weights, each, strict=True)) for each in alone]
    assert count(live, QuerySpec.from_fields(QUESTIONS[name])) == summed


def codes(found: DatabasePlans) -> list[str]:
    return [fault.code for fault in found.faults()]


def changed(found: DatabasePlans, change: Callable[[dict[str, Any]], object]) -> DatabasePlans:
    mapping = found.source.model_dump(exclude_none=True)
    change(mapping)
    return replace(found, source=Source.model_validate(mapping), _sound_until=0.0)


def test_a_sound_database_has_no_fault(live: DatabasePlans) -> None:
    assert live.faults() == []


def test_every_missing_column_and_relation_is_named_at_once(live: DatabasePlans) -> None:
    def change(mapping: dict[str, Any]) -> None:
        mapping["visits"] |= {"sex": "gender", "district": "town"}
        mapping["patients"]["relation"] = ["his", "people"]

    wrong = changed(live, change).faults()
    assert [fault.code for fault in wrong] == ["source.columns", "source.columns"]
    assert "his.visit has no column gender, town" in str(wrong[0])
    assert "sees no table or view his.people" in str(wrong[1])
    with pytest.raises(type(wrong[0]), match="gender, town"):
        changed(live, change).generation()


def test_a_date_kept_as_text_is_no_date(live: DatabasePlans) -> None:
    wrong = changed(live, lambda mapping: mapping["visits"].update(date="kind")).faults()
    assert ["kind is no date" in str(fault) for fault in wrong] == [True]


def test_a_wrong_password_and_a_closed_port_are_unreachable(live: DatabasePlans, tmp_path: Path) -> None:
    assert codes(changed(live, lambda mapping: mapping["database"].update(port=1))) == ["source.unreachable"]
    (tmp_path / "database.password").write_text("another")
    wrong = live.faults()
    # Where the server trusts every login of this machine the password is not looked at.
    assert [fault.code for fault in wrong] in (["source.unreachable"], [])
    assert "another" not in str(wrong)


def test_a_password_that_others_can_read_is_refused(live: DatabasePlans, tmp_path: Path) -> None:
    (tmp_path / "database.password").chmod(0o644)
    assert codes(live) == ["source.config"]


def test_a_clock_in_another_zone_is_found(live: DatabasePlans, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = replace(live, zone=ZoneInfo("Asia/Tokyo"))
    assert codes(elsewhere) == []  # the session takes the zone it is told
    open_in_shanghai = live._open
    monkeypatch.setattr(DatabasePlans, "_open", lambda _, timeout_s=None: open_in_shanghai(timeout_s))
    assert codes(elsewhere) == ["source.zone"]


LOCAL = {
    "postgresql": (
        (
            "CREATE TABLE his.visit_local AS SELECT patient_no, visit_no, visit_time AT TIME ZONE 'Asia/Shanghai' AS visit_time, "
            "kind, sex, district, birth_date FROM his.visit; GRANT SELECT ON his.visit_local TO kapok_reader; "
            "ALTER ROLE kapok_reader SET timezone = 'America/New_York'"
        ),
        "ALTER ROLE kapok_reader RESET timezone; DROP TABLE his.visit_local",
    ),
    "mysql": (
        (
            "SET time_zone = '+08:00'; CREATE TABLE his.visit_local AS SELECT patient_no, visit_no, CAST(visit_time AS datetime) "
            "AS visit_time, kind, sex, district, birth_date FROM his.visit; SET GLOBAL time_zone = '-05:00'"
        ),
        "SET GLOBAL time_zone = 'SYSTEM'; DROP TABLE his.visit_local",
    ),
}
"""The visits again, their times without a zone as clocks in the hospital show them, on a server that lives in a third zone."""


@pytest.mark.parametrize("engine", LOCAL)
def test_columns_with_and_without_a_zone_on_a_server_of_another_zone_give_the_same_days(
    engine: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    server: Running = request.getfixturevalue({"postgresql": "postgres_server", "mysql": "mariadb_server"}[engine])
    spec = QuerySpec.from_fields(QUESTIONS["weekly"])
    mapping, (make, drop) = fields(engine, server.port), LOCAL[engine]
    local = mapping | {"visits": mapping["visits"] | {"relation": ["his", "visit_local"]}}
    server.run(make)
    try:
        answers = [count(plans(tmp_path, each), spec) for each in (mapping, local)]
    finally:
        server.run(drop)
    assert answers == [oracle.answer(spec, everything(spec), KEY)] * 2


@pytest.mark.parametrize(
    ("engine", "grant", "take", "right"),
    [
        ("postgresql", "GRANT INSERT ON his.visit TO kapok_reader", "REVOKE INSERT ON his.visit FROM kapok_reader", "INSERT"),
        ("postgresql", "ALTER ROLE kapok_reader SUPERUSER", "ALTER ROLE kapok_reader NOSUPERUSER", "superuser"),
        (
            "mysql",
            "GRANT UPDATE ON his.visit TO kapok_reader@'127.0.0.1'",
            "REVOKE UPDATE ON his.visit FROM kapok_reader@'127.0.0.1'",
            "UPDATE",
        ),
        (
            "mysql",
            "GRANT ALL ON his.patient TO kapok_reader@'127.0.0.1'",
            "REVOKE ALL ON his.patient FROM kapok_reader@'127.0.0.1'",
            "ALL",
        ),
    ],
)
def test_a_login_that_can_write_is_not_used(
    engine: str, grant: str, take: str, right: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    server: Running = request.getfixturevalue({"postgresql": "postgres_server", "mysql": "mariadb_server"}[engine])
    found = plans(tmp_path, fields(engine, server.port))
    server.run(grant)
    try:
        wrong = found.faults()
    finally:
        server.run(take)
    assert [fault.code for fault in wrong] == ["source.not_read_only"]
    assert right in str(wrong[0])
    assert found.faults() == []


@pytest.mark.parametrize(
    ("engine", "asked_for"),
    [("postgresql", "current_setting('transaction_read_only')"), ("mysql", "CAST(@@session.tx_read_only AS CHAR(3))")],
)
def test_the_session_is_read_only_whatever_the_login_may(
    engine: str, asked_for: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    server: Running = request.getfixturevalue({"postgresql": "postgres_server", "mysql": "mariadb_server"}[engine])
    with closing(plans(tmp_path, fields(engine, server.port))._open()) as session:
        assert session.rows(Statement(f"SELECT {asked_for} AS held", ())).to_pylist()[0]["held"].lower() in {"on", "1"}


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_a_table_that_does_not_answer_is_slow_and_refused_before_a_ready(
    engine: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hospital_node.sources.plans.CHECK_TIMEOUT_S", 1)
    server: Running = request.getfixturevalue({"postgresql": "postgres_server", "mysql": "mariadb_server"}[engine])
    found = plans(tmp_path, fields(engine, server.port))
    locked = {
        "postgresql": "BEGIN; LOCK TABLE his.visit IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(4); COMMIT",
        "mysql": "LOCK TABLES his.visit WRITE; SELECT SLEEP(4); UNLOCK TABLES",
    }
    holding = threading.Thread(target=server.run, args=(locked[engine],))
    holding.start()
    try:
        threading.Event().wait(0.5)
        with pytest.raises(SlowSource, match="visits: the server cut a statement off at its time"):
            found.generation()
    finally:
        holding.join()
    assert found.generation()


def test_what_is_not_mapped_or_no_table_query_fails_the_probe(live: DatabasePlans) -> None:
    only_visits = changed(live, lambda mapping: [mapping.pop(name) for name in ("diagnoses", "measurements", "patients")])
    with pytest.raises(LookupError, match="not mapped"):
        only_visits.probe(asked(QuerySpec.from_fields(QUESTIONS["patients"])))
    with pytest.raises(TypeError, match="table queries alone"):
        live.probe(Asked(None, None, "patients", ("static:patients",), ()))


def test_another_process_does_not_hold_this_generation(live: DatabasePlans) -> None:
    again = DatabasePlans(live.home, live.source, ZONE, live.codes)
    assert live.holds(live.generation())
    assert not again.holds(live.generation())


def test_a_database_is_looked_at_again_after_half_a_minute(live: DatabasePlans) -> None:
    now = [0.0]
    found = replace(live, clock=lambda: now[0], _sound_until=-1.0)
    found.generation()
    found.source = changed(live, lambda mapping: mapping["visits"].update(sex="gender")).source
    now[0] = 29.0
    assert found.generation()
    now[0] = 31.0
    with pytest.raises(Exception, match="gender"):
        found.generation()


@pytest.mark.parametrize("person", ["P2", "Q3"])
@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_neighbouring_databases_move_the_answer_by_no_more_than_stated(
    engine: str, person: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    server: Running = request.getfixturevalue({"postgresql": "postgres_server", "mysql": "mariadb_server"}[engine])
    found = plans(tmp_path, fields(engine, server.port))
    whole = [QuerySpec.from_fields(QUESTIONS[name]) for name in ("weekly, one cell a patient", "visits, each month by its weight")]
    moved = []
    before = [count(found, spec) for spec in whole]
    rows = [row for row in ALL[Table.VISITS][1] if row.person == person]
    names = ", ".join(sorted({f"'{row.raw[1]}'" for row in rows}))
    server.run(f"DELETE FROM his.visit WHERE visit_no IN ({names})")
    try:
        after = [count(found, spec) for spec in whole]
    finally:
        zone = {"postgresql": "SET TIME ZONE 'UTC'", "mysql": "SET time_zone = '+00:00'"}[engine]
        again = [row for row in ALL[Table.VISITS][1] if row.raw[1] in {one.raw[1] for one in rows}]
        server.run(f"{zone}; INSERT INTO his.visit ({VISIT}) VALUES {inserts(again)}")
    for spec, one, other in zip(whole, before, after, strict=True):
        months = zip(footprint(spec), spec.weights or (1, 1), strict=True)
        weight = sum(weight for month, weight in months if month in {row.day[:7] for row in rows})
        for segment in Layout.of(spec).segments:
            l1, l2_squared = segment.of_weight(weight)
            part = slice(segment.offset, segment.offset + segment.length)
            distance = [abs(a - b) for a, b in zip(one[part], other[part], strict=True)]
            assert sum(distance) <= l1
            assert sum(step**2 for step in distance) <= l2_squared
            moved.append(sum(distance))
    assert any(moved)
    assert [count(found, spec) for spec in whole] == before
