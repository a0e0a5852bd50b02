"""Between the release's entry in the ledger and the answer's row in the register nothing takes the answer back."""

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator import rounds as rounds_module
from coordinator.admission import admitted_of
from coordinator.closing import NotClosable, _require_kept
from coordinator.config import Timing
from coordinator.ledger import CityLedger
from coordinator.members import Members
from coordinator.question import Question
from coordinator.register import Register
from coordinator.rounds import Rounds
from protocols import statements as st
from tests.coordinator.support.witness import CityWitness
from tests.support.city import COORDINATOR, City
from tests.support.city import Question as Life


@pytest.fixture
def life(tmp_path: Path) -> Life:
    city = City(tmp_path)
    made = Life(city, city.opener())
    made.all_ready()
    made.open(made.request())
    return made


@pytest.fixture
def register(tmp_path: Path, life: Life) -> Iterator[Register]:
    made = Register(tmp_path / "register.sqlite")
    made.put_question(life.id, life.entry, life.city.now)
    yield made
    made.close()


def rounds_of(life: Life, register: Register) -> Rounds:
    city = life.city
    ledger = CityLedger(city.log, CityWitness(city), city.trust, lambda: city.now)
    facts = ledger.view.questions[life.id.hex()]
    facts.release = (ledger.size, released(life))
    return Rounds(ledger, Members(), None, register, city.coordinator, COORDINATOR, lambda: city.now, Timing())  # type: ignore[arg-type]


def released(life: Life) -> st.Release:
    return st.Release(
        **life.city.head(COORDINATOR),
        query=life.id.hex(),
        round=0,
        attempt=1,
        status="released",
        binding="00" * 32,
        values="00" * 32,
        answered=tuple(sorted(life.readys)),
        refused=(),
        away=(),
        left_out=(),
    )


def test_an_approval_that_was_revoked_since_does_not_hold_it_up(life: Life, register: Register) -> None:
    async def work() -> str:
        rounds, question = rounds_of(life, register), Question(admitted_of(life.entry))
        rounds._ledger.view.approvals.clear()
        await asyncio.wait_for(rounds._approved(question), 5)
        return question.state

    assert asyncio.run(work()) == "approved"


def test_a_disk_that_refuses_it_is_tried_until_it_does_not(life: Life, register: Register, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds_module, "RETRY_S", 0.01)
    broken = [sqlite3.OperationalError("database or disk is full")] * 3

    def refuse(statement: str) -> None:
        if statement.startswith("UPDATE question SET state = 'released'") and broken:
            register._db.interrupt()
            broken.pop()

    async def work() -> None:
        rounds, question = rounds_of(life, register), Question(admitted_of(life.entry), answer=b"answer")
        register._run(lambda: register._db.set_trace_callback(refuse))
        await asyncio.wait_for(rounds._keep_answer(question), 5)

    asyncio.run(work())
    row = register.question(life.id)
    assert row is not None
    assert (broken, row.state, row.answer) == ([], "released", b"answer")


def test_a_log_is_not_closed_before_the_register_knows_of_every_end(life: Life, register: Register, tmp_path: Path) -> None:
    view = life.city.view()
    _require_kept(view, tmp_path / "register.sqlite")  # it has not ended: others say so
    view.questions[life.id.hex()].release = (0, released(life))
    with pytest.raises(NotClosable, match=life.id.hex()):
        _require_kept(view, tmp_path / "register.sqlite")
    register.set_answer(life.id, b"answer", "{}", 1)
    _require_kept(view, tmp_path / "register.sqlite")
    _require_kept(view, tmp_path / "none.sqlite")
