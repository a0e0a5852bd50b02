"""The coordinator asks the real opener, over gRPC with mutual TLS: a training's rounds on one stream, and on another if it ends."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit_ledger.opener_core import OpenerCore
from audit_ledger.opener_keys import SealingKeys
from audit_ledger.opener_service import OpenerService, start_opener
from audit_ledger.opener_store import OpenerStore
from audit_ledger.party.home import Home
from coordinator.ledger import CityLedger
from coordinator.opening import Auditor, OpeningRefused, OpeningRequest
from coordinator.register import Contributed
from protocols import statements as st
from protocols.refusal import Reason
from protocols.secagg.masks import seed_stream_sum
from protocols.secagg.sealing import round_message, round_seed, seal, segment_context
from protocols.v1 import link_pb2
from tests.coordinator.support.witness import CityWitness
from tests.support.certificates import Authority
from tests.support.city import AUDITOR, COORDINATOR, DIMENSION, ORIGIN, City, Question

ROUNDS = 4
pytestmark = pytest.mark.wire


class Counting(OpenerService):
    """The real service; how many streams were opened on it."""

    streams = 0

    async def Open(self, request_iterator: Any, context: Any) -> AsyncIterator[link_pb2.OpenReply]:
        self.streams += 1
        async for each in super().Open(request_iterator, context):
            yield each


@dataclass
class Training:
    """A segment of rounds 1 to ROUNDS over the city's hospitals, their roots in the test's hands."""

    city: City
    auditor: Auditor
    service: Counting
    ledger: CityLedger
    question: Question
    roots: dict[str, bytes]

    def round(self, number: int, attempt: int = 1) -> OpeningRequest:
        binding, made = self.question.binding(round=number, attempt=attempt), []
        for member in binding.members:
            context = segment_context(ORIGIN, self.question.id, 1, ROUNDS, member.ready, member.uri)
            sealed = seal(self.roots[member.uri], self.question.sealing_key(), context)
            message = round_message(binding.value, member.uri, hashlib.sha256(sealed).digest(), bytes(32))
            signature = self.city.hospitals[member.uri].identity.sign(message)
            made.append(Contributed(member.uri, sealed, b"", signature, b""))
        return OpeningRequest(binding, made, {each.uri: bytes(32) for each in made}, 1, ROUNDS)

    def sum_of(self, request: OpeningRequest) -> bytes:
        value = request.binding.value
        roots = [self.roots[each.uri] for each in request.binding.members]
        seeds = [round_seed(root, request.binding.round, request.binding.attempt, value) for root in roots]
        return seed_stream_sum(seeds, DIMENSION, request.binding.ring, value).tobytes()

    async def opened(self, number: int) -> None:
        request = self.round(number)
        found = await self.auditor.open(request, self.ledger)
        assert np.array_equal(np.frombuffer(found, "<u4"), np.frombuffer(self.sum_of(request), "<u4"))


@asynccontextmanager
async def training(tmp_path: Path) -> AsyncIterator[Training]:
    city, ca = City(tmp_path / "city"), Authority()
    home, own = ca.equip(tmp_path / "opener", AUDITOR), ca.equip(tmp_path / "coordinator", COORDINATOR)
    core = OpenerCore(city.trust, OpenerStore(home.path / "opener.sqlite"), SealingKeys(home), city.service)
    question = Question(city, core, rounds=ROUNDS)
    question.all_ready(first=1, last=ROUNDS)
    service = Counting(lambda: core, lambda: city.now)
    server, port = await start_opener(service, home, "127.0.0.1:0")
    auditor = Auditor(own, f"127.0.0.1:{port}", AUDITOR)
    ledger = CityLedger(city.log, CityWitness(city), city.trust, lambda: city.now)
    publisher = asyncio.create_task(ledger.publish_forever())
    roots = {uri: secrets.token_bytes(32) for uri in question.readys}
    try:
        await ledger.refreshed()
        yield Training(city, auditor, service, ledger, question, roots)
    finally:
        publisher.cancel()
        await auditor.close()
        await server.stop(0)
        service.close()


def test_a_training_s_rounds_are_opened_on_one_stream_which_ends_with_the_last(tmp_path: Path) -> None:
    async def run() -> None:
        async with training(tmp_path) as made:
            for number in range(1, ROUNDS + 1):
                await made.opened(number)
            assert made.service.streams == 1
            assert not made.auditor._kept

    asyncio.run(run())


def test_a_stream_that_ended_between_rounds_is_followed_by_another(tmp_path: Path) -> None:
    async def run() -> None:
        async with training(tmp_path) as made:
            await made.opened(1)
            [kept] = made.auditor._kept.values()
            kept.call.cancel()
            await made.opened(2)
            assert made.service.streams == 2

    asyncio.run(run())


def test_what_is_logged_between_two_rounds_stands_before_the_second(tmp_path: Path) -> None:
    """A hold of the auditor's, which the opener hears of on the stream that was opened before it."""

    async def run() -> None:
        async with training(tmp_path) as made:
            await made.opened(1)
            hold = st.Hold(**made.city.head(AUDITOR), is_held=True, reason="a look first")
            await made.ledger.append([made.city.sign(hold, made.city.approval)])
            await made.ledger.cosigned()
            with pytest.raises(OpeningRefused) as no:
                await made.auditor.open(made.round(2), made.ledger)
            assert Reason.ON_HOLD in {each.reason for each in no.value.refusals}
            assert (made.service.streams, made.auditor._kept) == (1, {}), "a refused one is not gone on with"

    asyncio.run(run())


def test_a_training_that_ends_early_leaves_no_stream(tmp_path: Path) -> None:
    async def run() -> None:
        async with training(tmp_path) as made:
            await made.opened(1)
            made.auditor.hang_up(made.question.id)
            made.auditor.hang_up(made.question.id)
            assert not made.auditor._kept

    asyncio.run(run())


def test_a_sum_is_asked_for_on_the_stream_that_was_opened_while_hospitals_counted(tmp_path: Path) -> None:
    async def run() -> None:
        async with training(tmp_path) as made:
            await made.auditor.prepare(made.question.id, made.ledger)
            await made.opened(1)
            assert made.service.streams == 1

    asyncio.run(run())


def test_a_prepared_stream_that_ended_is_followed_by_another(tmp_path: Path) -> None:
    async def run() -> None:
        async with training(tmp_path) as made:
            await made.auditor.prepare(made.question.id, made.ledger)
            [kept] = made.auditor._kept.values()
            kept.call.cancel()
            await made.opened(1)
            assert made.service.streams == 2

    asyncio.run(run())


def test_a_prepared_stream_on_which_the_ledger_was_refused_does_not_end_the_question(tmp_path: Path) -> None:
    """Say the opener's clock was set right in between."""

    async def run() -> None:
        async with training(tmp_path) as made:
            now, made.service._clock = made.city.now, lambda: made.city.now + 86_400
            await made.auditor.prepare(made.question.id, made.ledger)
            made.service._clock = lambda: now
            await made.opened(1)

    asyncio.run(run())


def test_a_stream_that_is_prepared_again_takes_the_place_of_the_first(tmp_path: Path) -> None:
    async def run() -> None:
        async with training(tmp_path) as made:
            await made.auditor.prepare(made.question.id, made.ledger)
            [first] = made.auditor._kept.values()
            await made.auditor.prepare(made.question.id, made.ledger)
            assert first.call.cancelled()
            await made.opened(1)

    asyncio.run(run())


def test_preparing_that_is_broken_off_or_fails_leaves_no_stream_and_hinders_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        async with training(tmp_path) as made:
            preparing = asyncio.create_task(made.auditor.prepare(made.question.id, made.ledger))
            await asyncio.sleep(0)
            preparing.cancel()
            await asyncio.gather(preparing, return_exceptions=True)
            assert not made.auditor._kept
            away = Auditor(Home(tmp_path / "coordinator"), "127.0.0.1:9", AUDITOR)
            await away.prepare(made.question.id, made.ledger)
            assert not away._kept
            await away.close()
            await made.opened(1)

    asyncio.run(run())
