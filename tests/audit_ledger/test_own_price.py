"""A Ready at another price than its question's: it has no effect in the ledger, and an honest coordinator does not log it."""

import asyncio
from pathlib import Path

from coordinator.admission import admitted_of
from coordinator.config import Timing
from coordinator.gathering import Gathering
from coordinator.ledger import CityLedger
from coordinator.members import Members
from coordinator.opening import Auditor
from coordinator.question import Question as Asked
from coordinator.register import Register
from privacy.filter import encode_charge
from protocols import statements as st
from tests.audit_ledger.test_twins import NoWitness
from tests.coordinator.support.asked import query
from tests.support.certificates import Authority
from tests.support.charged import at, honest, less
from tests.support.city import AUDITOR, COORDINATOR, City, Question

H1 = "kapok://hospital/h01"
BEFORE = ("2026-09", "2026-10")


def ready_of(city: City, question: Question, charge: st.Charge) -> bytes:
    """A Ready of h01 with this charge, as it would be next; nothing is logged."""
    logged, sequence = city.log_entry, city.hospitals[H1].sequence
    city.log_entry = lambda entry: 0  # type: ignore[method-assign]
    try:
        return question.ready(H1, charge=charge)
    finally:
        city.log_entry, city.hospitals[H1].sequence = logged, sequence  # type: ignore[method-assign]


def test_the_coordinator_takes_a_ready_at_its_own_price_alone_and_only_in_its_own_frame(tmp_path: Path) -> None:
    city = City(tmp_path / "city")
    question = Question(city, city.opener())
    question.entry = query(city)
    city.log_entry(question.entry)
    asked = Asked(admitted_of(question.entry))
    due = honest(asked.admitted.asked)
    assert isinstance(due, st.Charge)
    assert due.price == encode_charge(asked.admitted.price.one)
    lies = [at(due, less(due.price)), at(due, due.price, less(due.price_two)), due.model_copy(update={"blocks": BEFORE})]
    others, right = [ready_of(city, question, each) for each in lies], ready_of(city, question, due)

    async def run() -> None:
        ledger = CityLedger(city.log, NoWitness(), city.trust, lambda: city.now)
        auditor = Auditor(Authority().equip(tmp_path / "home", COORDINATOR), "127.0.0.1:1", AUDITOR)
        gathering = Gathering(ledger, Members(), Register(tmp_path / "register.sqlite"), auditor, lambda: city.now, Timing())
        size = ledger.size
        for other in others:
            await gathering.answered(asked, H1, other, True)
        await gathering.answered(asked, H1, right, False)
        assert (ledger.size, asked.readys, asked.refused) == (size, {}, {})
        await gathering.answered(asked, H1, right, True)
        assert (ledger.size, asked.readys) == (size + 1, {H1: right})
        await auditor.close()

    asyncio.run(run())
    assert city.findings() == []
    city.close()
