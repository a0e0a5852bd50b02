"""The coordinator's ledger: idempotent appends, a publisher that outlives the auditor's absence, and what it then says."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import structlog

from audit_ledger.errors import LedgerError, LogStopped, WitnessBehind, WitnessUnreachable
from coordinator import ledger as ledger_module
from coordinator.errors import AuditorAway
from coordinator.ledger import CityLedger
from protocols import statements as st
from tests.coordinator.support.asked import query
from tests.coordinator.support.witness import CityWitness
from tests.support.city import City


@pytest.fixture
def city(tmp_path: Path) -> Iterator[City]:
    made = City(tmp_path)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "RETRY_S", 0.01)


def in_life(city: City, work: Callable[[CityLedger, CityWitness], Coroutine[None, None, None]]) -> None:
    """Runs `work` over a ledger whose publisher runs."""

    async def run() -> None:
        witness = CityWitness(city)
        ledger = CityLedger(city.log, witness, city.trust, lambda: city.now)
        publisher = asyncio.create_task(ledger.publish_forever())
        try:
            await work(ledger, witness)
        finally:
            publisher.cancel()
            with suppress(asyncio.CancelledError):
                await publisher

    asyncio.run(run())


def test_a_statement_appended_twice_keeps_its_place(city: City) -> None:
    async def work(ledger: CityLedger, _: CityWitness) -> None:
        entry = query(city)
        (first,) = await ledger.append([entry])
        size = ledger.size
        assert await ledger.append([entry, query(city)]) == [first, size]
        assert ledger.size == size + 1 == city.log.size
        assert ledger.index_of(st.parse(entry).id) == first

    in_life(city, work)


@pytest.mark.parametrize("is_last", [False, True])
def test_what_is_about_to_be_cosigned_brings_its_checkpoint_in_its_own_commit(city: City, is_last: bool) -> None:
    async def work(ledger: CityLedger, _: CityWitness) -> None:
        await ledger.append_valid(st.parse(query(city)), is_last=is_last)
        assert (city.log._signed_size == city.log.size) is is_last
        await ledger.append([query(city)])
        assert city.log._signed_size == city.log.size

    in_life(city, work)


def test_entries_that_are_read_again_are_those_that_are_asked_for(city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(ledger: CityLedger, _: CityWitness) -> None:
        await ledger.append([query(city), query(city)])
        for most in (ledger_module.KEPT_ENTRIES, 1):
            monkeypatch.setattr(ledger_module, "KEPT_ENTRIES", most)
            for start, end in ((0, ledger.size), (1, ledger.size), (1, ledger.size), (1, 2), (0, 2), (0, ledger.size)):
                assert list(ledger.entries(start, end)) == city.log.entries(start, end)

    in_life(city, work)


def test_a_statement_that_breaks_a_rule_is_named_and_not_appended(city: City) -> None:
    async def work(ledger: CityLedger, _: CityWitness) -> None:
        size = ledger.size
        index, findings = await ledger.append_valid(st.parse(query(city, audience=("kapok://hospital/h99",))))
        assert index is None
        assert findings
        assert ledger.size == size

    in_life(city, work)


def test_a_cosigned_note_covers_what_was_appended_and_proves_it(city: City) -> None:
    async def work(ledger: CityLedger, _: CityWitness) -> None:
        entry = query(city)
        await ledger.append([entry])
        assert await ledger.cosigned() == ledger.note
        accepted = city.trust.policy.evaluate(ledger.note, city.now, 600)
        assert accepted.checkpoint.size == ledger.size
        assert ledger.proof(ledger.index_of(st.parse(entry).id))

    in_life(city, work)


def test_appends_that_wait_together_share_a_cosignature(city: City) -> None:
    async def work(ledger: CityLedger, witness: CityWitness) -> None:
        async def one() -> None:
            await ledger.append([query(city)])
            await ledger.cosigned()

        await asyncio.gather(*(one() for _ in range(20)))
        assert witness.asked < 20

    in_life(city, work)


@pytest.mark.parametrize("problem", [WitnessUnreachable("away"), RuntimeError("a fault of ours")])
def test_a_witness_that_cannot_be_had_is_asked_again_until_it_answers(city: City, problem: Exception) -> None:
    async def work(ledger: CityLedger, witness: CityWitness) -> None:
        witness.problem = problem
        waiting = asyncio.create_task(ledger.cosigned())
        while witness.asked < 3:
            await asyncio.sleep(0)
        assert not waiting.done()
        witness.problem = None
        assert await waiting == ledger.note
        while ledger.problem is not None:
            await asyncio.sleep(0)

    in_life(city, work)


@pytest.mark.parametrize("problem", [WitnessUnreachable("away"), WitnessBehind("its database was restored")])
def test_who_waits_in_vain_is_told_why_and_so_is_the_log(city: City, problem: LedgerError) -> None:
    async def work(ledger: CityLedger, witness: CityWitness) -> None:
        witness.problem = problem
        waiting = asyncio.create_task(ledger.cosigned())
        while witness.asked < 3:
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(AuditorAway, match=problem.code):
            await ledger.cosigned(timeout_s=0.01)
        assert ledger.note == b""

    with structlog.testing.capture_logs() as told:
        in_life(city, work)
    assert [(each["event"], each["code"]) for each in told] == [("not cosigned", problem.code)]


def test_an_old_note_is_refreshed_without_a_moment_in_which_nothing_is_proven(city: City) -> None:
    async def work(ledger: CityLedger, witness: CityWitness) -> None:
        await ledger.cosigned()
        size, old = ledger.note_size, ledger.note
        city.now += 300
        witness.problem = WitnessUnreachable("away")
        waiting = asyncio.create_task(ledger.refreshed())
        await asyncio.sleep(0.02)
        assert (ledger.note_size, ledger.note) == (size, old)
        witness.problem = None
        assert await waiting != old
        assert ledger.witness_time() == city.now

    in_life(city, work)


def test_a_young_note_is_not_asked_for_again(city: City) -> None:
    async def work(ledger: CityLedger, _: CityWitness) -> None:
        note = await ledger.cosigned()
        city.now += 30
        assert await ledger.refreshed() == note

    in_life(city, work)


def test_listeners_hear_of_each_cosigned_checkpoint_until_they_leave(city: City) -> None:
    async def work(ledger: CityLedger, _: CityWitness) -> None:
        heard: list[int] = []

        def listener() -> None:
            heard.append(ledger.note_size)

        ledger.listen(listener)
        await ledger.cosigned()
        ledger.unlisten(listener)
        before = list(heard)
        await ledger.append([query(city)])
        await ledger.cosigned()
        assert before == heard
        assert before

    in_life(city, work)


def test_the_ledger_opened_again_is_where_it_was(city: City) -> None:
    async def work(ledger: CityLedger, witness: CityWitness) -> None:
        await ledger.append([query(city)])
        again = CityLedger(city.log, witness, city.trust, lambda: city.now)
        assert (again.size, again.view.seen_ids) == (ledger.size, ledger.view.seen_ids)

    in_life(city, work)


def test_while_one_checkpoint_is_put_out_the_world_waits_for_the_newest_alone(city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    put_out, first_is_out, goes_on = [], threading.Event(), threading.Event()
    publish = city.log.publish

    def slowly(cosigned: bytes) -> bool:
        put_out.append(cosigned)
        first_is_out.set()
        goes_on.wait(30)
        return publish(cosigned)

    async def work(ledger: CityLedger, _: CityWitness) -> None:
        notes = []
        for number in range(4):
            await ledger.append([query(city)])
            notes.append(await ledger.cosigned())
            if number == 0:
                await asyncio.to_thread(first_is_out.wait, 30)
        goes_on.set()
        await ledger.settle()
        assert put_out == [notes[0], notes[-1]]
        assert city.log.published_size == ledger.note_size

    monkeypatch.setattr(city.log, "publish", slowly)
    in_life(city, work)


def test_checkpoints_of_one_moment_are_put_out_once_and_who_closes_does_not_wait(
    city: City, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_out, publish = [], city.log.publish
    monkeypatch.setattr(ledger_module, "PUT_OUT_AFTER_S", 3600.0)
    monkeypatch.setattr(city.log, "publish", lambda cosigned: (put_out.append(cosigned), publish(cosigned)))

    async def work(ledger: CityLedger, _: CityWitness) -> None:
        for _each in range(4):
            await ledger.append([query(city)])
            await ledger.cosigned()
        assert put_out == []
        async with asyncio.timeout(30):
            await ledger.settle()
        assert put_out == [ledger.note]

    in_life(city, work)


def test_a_checkpoint_is_put_out_by_itself_after_a_moment(city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "PUT_OUT_AFTER_S", 0.01)

    async def work(ledger: CityLedger, _: CityWitness) -> None:
        await ledger.append([query(city)])
        await ledger.cosigned()
        async with asyncio.timeout(30):
            while city.log.published_size != ledger.note_size:
                await asyncio.sleep(0.01)

    in_life(city, work)


def test_a_log_that_has_stopped_proves_nothing(city: City) -> None:
    async def work(ledger: CityLedger, _: CityWitness) -> None:
        await ledger.append([query(city)])
        await ledger.cosigned()
        assert ledger.proof(0)
        ledger._stop(LogStopped("the disk"))
        with pytest.raises(LogStopped, match="the disk"):
            ledger.proof(0)

    in_life(city, work)
