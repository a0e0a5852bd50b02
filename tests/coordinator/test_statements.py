"""What the desk takes: statements signed by whom they name, of kinds that no round owns; and what a rejection does."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator.ledger import CityLedger
from coordinator.rounds import rejection_of
from coordinator.service.statements import append_statement
from protocols import statements as st
from tests.coordinator.support.asked import query
from tests.coordinator.support.witness import CityWitness
from tests.coordinator.test_ledger import in_life
from tests.support.city import AUDITOR, City


@pytest.fixture
def city(tmp_path: Path) -> Iterator[City]:
    made = City(tmp_path)
    yield made
    made.close()


def _rejection(city: City, entry: bytes) -> bytes:
    reason = st.Reasoned(code="authority.not_approved", expected="the auditor's approval", got="out of scope", subject="")
    return city.sign(st.Refused(**city.head(AUDITOR), query=st.parse(entry).hex_id, reasons=(reason,)), city.approval)


def test_the_auditor_s_rejection_is_taken_by_the_desk_and_ends_the_question(city: City) -> None:
    async def work(ledger: CityLedger, _: CityWitness) -> None:
        entry = query(city)
        await ledger.append([entry])
        facts = ledger.view.questions[st.parse(entry).hex_id]
        assert rejection_of(ledger.view, facts) == []
        appended = await append_statement(ledger, _rejection(city, entry))
        assert not appended.refusals
        (refusal,) = rejection_of(ledger.view, facts)
        assert (refusal.got, refusal.subject) == ("out of scope", AUDITOR)

    in_life(city, work)


def test_statements_of_a_round_do_not_come_through_the_desk(city: City) -> None:
    async def work(ledger: CityLedger, _: CityWitness) -> None:
        appended = await append_statement(ledger, query(city))
        assert [each.got for each in appended.refusals] == ["query"]

    in_life(city, work)
