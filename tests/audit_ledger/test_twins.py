"""A twin has a statement's id and no signature that counts. It must never stand where the real statement would have stood."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from audit_ledger.findings import Rule
from coordinator.ledger import CityLedger
from protocols import statements as st
from tests.support.city import AUDITOR, City, Question

H1 = "kapok://hospital/h01"


class NoWitness:
    """Never asked: nothing here waits for a checkpoint."""

    def cosign(self, checkpoint: bytes, consistency: Callable[[int, int], Sequence[bytes]]) -> bytes:
        raise AssertionError("nobody asked for a cosignature")


@pytest.fixture
def city(tmp_path: Path) -> Iterator[City]:
    made = City(tmp_path)
    yield made
    made.close()


def twin_of(entry: bytes) -> bytes:
    envelope = st.parse(entry).envelope
    return replace(envelope, signatures=(replace(envelope.signatures[0], value=bytes(64)),)).encode()


def hold(city: City) -> bytes:
    return city.sign(st.Hold(**city.head(AUDITOR), is_held=True, reason="stop"), city.approval)


def ready(city: City) -> bytes:
    question, logged = Question(city, city.opener()), city.log_entry
    city.log_entry = lambda entry: 0  # type: ignore[method-assign]
    try:
        return question.ready(H1)
    finally:
        city.log_entry = logged  # type: ignore[method-assign]


@pytest.mark.parametrize("make", [hold, ready])
def test_a_twin_sent_first_is_not_appended_and_the_real_statement_takes_effect(city: City, make: Callable[[City], bytes]) -> None:
    """The log's own idempotency keeps the first bytes of an id: an honest coordinator judges before it appends."""
    honest = make(city)

    async def run() -> None:
        ledger = CityLedger(city.log, NoWitness(), city.trust, lambda: city.now)
        size = ledger.size
        index, found = await ledger.append_valid(st.parse(twin_of(honest)))
        assert (index, [each.rule for each in found]) == (None, [Rule.SIGNATURE])
        assert city.log.position_of(st.parse(honest).id) is None
        assert await ledger.append_valid(st.parse(honest)) == (size, [])
        again, findings = await ledger.append_valid(st.parse(honest))
        assert (again, [each.rule for each in findings]) == (size, [Rule.DUPLICATE])
        assert city.log.entries(size, size + 1) == [honest]
        assert city.log.size == ledger.size == size + 1

    asyncio.run(run())
    assert city.findings() == []


def test_a_lying_coordinator_that_logs_a_twin_has_no_proof_to_show_for_the_real_statement(city: City) -> None:
    """Its own log then refuses the real bytes; who asks for their proof gets none, and the monitor names the twin."""
    honest = hold(city)
    place = city.log_entry(twin_of(honest))
    assert city.log_entry(honest) == place
    assert not city.view().is_held
    assert [(each.index, each.rule) for each in city.findings()] == [(place, Rule.SIGNATURE)]
    city.now += 1
    city.hold(True)
    assert city.view().is_held
