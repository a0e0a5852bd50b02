"""Between the release's entry in the ledger and the answer's row in the register nothing takes the answer back."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator.admission import admitted_of
from coordinator.closing import NotClosable, _require_kept
from coordinator.config import Timing
from coordinator.errors import NotKeptYet
from coordinator.ledger import CityLedger
from coordinator.members import Members
from coordinator.question import Ended, Question
from coordinator.register import Register
from coordinator.rounds import Rounds
from tests.coordinator.support.witness import CityWitness
from tests.support.city import COORDINATOR, City
from tests.support.city import Question as Life


@pytest.fixture
def life(tmp_path: Path) -> Life:
    city = City(tmp_path)
    made = Life(city, city.opener())
    made.all_ready()
    return made


def release(life: Life) -> None:
    request = life.request()
    life.finish(request, life.open(request))


@pytest.fixture
def register(tmp_path: Path, life: Life) -> Iterator[Register]:
    made = Register(tmp_path / "register.sqlite")
    made.put_question(life.id, life.entry, life.city.now)
    yield made
    made.close()


def rounds_of(life: Life, register: Register, kind: type[Rounds] = Rounds) -> Rounds:
    city = life.city
    release(life)
    ledger = CityLedger(city.log, CityWitness(city), city.trust, lambda: city.now)
    return kind(ledger, Members(), None, register, city.coordinator, COORDINATOR, lambda: city.now, Timing())  # type: ignore[arg-type]


def test_an_approval_that_was_revoked_since_does_not_hold_it_up(life: Life, register: Register) -> None:
    async def work() -> str:
        rounds, question = rounds_of(life, register), Question(admitted_of(life.entry))
        rounds._ledger.view.approvals.clear()
        await asyncio.wait_for(rounds._approved(question), 5)
        return question.state

    assert asyncio.run(work()) == "approved"


class Ending(Rounds):
    """Its questions can only expire: their contributions were forgotten, say."""

    async def _phases(self, question: Question) -> None:
        raise Ended("expired", [])


def test_no_other_end_is_written_over_a_release(life: Life, register: Register) -> None:
    rounds, question = rounds_of(life, register, Ending), Question(admitted_of(life.entry))
    with pytest.raises(NotKeptYet, match="expired"):
        asyncio.run(rounds._one_life(question))
    assert [each.query for each in register.unfinished()] == [life.id]


def test_a_log_is_not_closed_before_the_register_knows_of_every_end(life: Life, register: Register, tmp_path: Path) -> None:
    path = tmp_path / "register.sqlite"
    _require_kept(life.city.view(), path)  # it has not ended: another rule says so
    release(life)
    with pytest.raises(NotClosable, match=life.id.hex()):
        _require_kept(life.city.view(), path)
    register.set_answer(life.id, b"answer", "{}", 1)
    _require_kept(life.city.view(), path)
    _require_kept(life.city.view(), tmp_path / "none.sqlite")
