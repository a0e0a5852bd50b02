"""A Ready at another price than all compute alike: the ledger reports it, and an honest coordinator does not log it."""

import asyncio
from pathlib import Path

from audit_ledger.findings import Rule
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
from tests.support.city import AUDITOR, COORDINATOR, City, Question

H1 = "kapok://hospital/h01"


def ready_at(city: City, question: Question, price: str) -> bytes:
    """A Ready of h01 at this price, as it would be next; nothing is logged."""
    blocks = ("2026-10", "2026-11")
    charge = st.Charge(
        purpose="surveillance", price=price, price_two=price, blocks=blocks, totals=(price,) * 2, totals_two=(price,) * 2
    )
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
    price = encode_charge(asked.admitted.price.one)
    other, honest = ready_at(city, question, "0.000000001"), ready_at(city, question, price)

    async def run() -> None:
        ledger = CityLedger(city.log, NoWitness(), city.trust, lambda: city.now)
        auditor = Auditor(Authority().equip(tmp_path / "home", COORDINATOR), "127.0.0.1:1", AUDITOR)
        gathering = Gathering(ledger, Members(), Register(tmp_path / "register.sqlite"), auditor, lambda: city.now, Timing())
        size = ledger.size
        assert ledger.view.findings_for(st.parse(other)) == []  # the first one breaks no rule of the ledger
        await gathering.answered(asked, H1, other, True)
        await gathering.answered(asked, H1, honest, False)
        assert (ledger.size, asked.readys, asked.refused) == (size, {}, {})
        await gathering.answered(asked, H1, honest, True)
        assert (ledger.size, asked.readys) == (size + 1, {H1: honest})
        await auditor.close()

    asyncio.run(run())
    assert Rule.PRICE_DIFFERS not in {each.rule for each in city.findings()}
    city.close()
