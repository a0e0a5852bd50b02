"""The node's stream: real grpc with mutual TLS on loopback, the coordinator's end in the test's hands."""

import asyncio
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest

from hospital_node import frames, link
from hospital_node.attempt import Attempt
from hospital_node.journal import StoredContribution
from hospital_node.policy import Policy
from protocols import statements as st
from protocols.refusal import Reason
from protocols.v1 import link_pb2
from tests.hospital_node.support.line import Line, connected
from tests.hospital_node.support.nodes import Asking, Node, Nodes

pytestmark = pytest.mark.wire


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Nodes]:
    made = Nodes(tmp_path, 4)
    yield made
    made.close()


async def _ready(line: Line, world: Nodes, node: Node) -> Asking:
    asking = world.ask()
    line.follow(node)
    line.send(offer=link_pb2.Offer(query=asking.entry, proof=asking.proof, sealing=world.sealing()))
    ready = await line.expect("ready")
    asking.log_ready(node.uri, ready.envelope)
    return asking


async def _member_set(line: Line, world: Nodes, node: Node) -> Asking:
    asking = await _ready(line, world, node)
    for uri, other in world.nodes.items():
        if other is not node:
            asking.log_ready(uri, asking.offer(other).envelope)
    line.follow(node)
    line.send(member_set=link_pb2.MemberSet(preimage=asking.binding().encode()))
    return asking


def test_a_question_goes_over_the_wire_from_hello_to_a_complete_contribution(world: Nodes, tmp_path: Path) -> None:
    async def scene() -> None:
        node = world.first()
        async with connected(node, tmp_path) as line:
            assert (await line.expect("hello")).followed == 0
            asking = await _member_set(line, world, node)
            head = await line.expect("contribution")
            assert (head.query, len(head.masked)) == (asking.id, head.total_bytes)
            receipt = st.parse(head.receipt).statement
            assert isinstance(receipt, st.Receipt)
            assert (receipt.masked, receipt.binding) == (sha256(head.masked).hexdigest(), asking.binding().value.hex())
            assert line.peers == [node.uri]

    asyncio.run(scene())


@pytest.mark.parametrize(("length", "pieces"), [(7, None), (8, None), (9, 2), (17, 3)])
def test_a_vector_longer_than_a_chunk_travels_in_pieces_and_a_short_one_in_the_head(length: int, pieces: int | None) -> None:
    masked = os.urandom(length)
    made = StoredContribution("ab" * 32, 0, 1, bytes(32), b"sealed", b"receipt", b"", masked)
    head, *rest = frames.contribution(made, chunk_bytes=8)
    assert head.contribution.total_bytes == length
    assert head.contribution.masked == (masked if pieces is None else b"")
    assert b"".join(each.chunk.data for each in rest) == (b"" if pieces is None else masked)
    assert [each.WhichOneof("frame") for each in rest] == ([] if pieces is None else ["chunk"] * pieces + ["complete"])


def test_a_contribution_leaves_in_its_slot_and_not_before(world: Nodes, tmp_path: Path) -> None:
    async def scene() -> None:
        node = world.first()
        async with connected(node, tmp_path) as line:
            await line.expect("hello")
            sent = time.time()
            await _member_set(line, world, node)
            await line.expect("contribution")
            slot_s = node.answering.config.slot_ms / 1000
            assert time.time() - sent >= slot_s

    asyncio.run(scene())


def test_a_count_that_is_there_early_is_added_to_its_masks_no_sooner_than_a_late_one(world: Nodes, tmp_path: Path) -> None:
    """Else the point of the grid at which a contribution leaves would tell how long its count took."""

    async def scene() -> None:
        node, begun, covered = world.first(), list[tuple[float, float]](), list[float]()
        contribute, cover = node.answering.contribute, node.answering.cover

        def timed(attempt: Attempt, patience_s: float) -> StoredContribution:
            assert attempt.share is not None
            begun.append((time.monotonic() - attempt.share.left_s, patience_s))
            return contribute(attempt, patience_s)

        def timed_too(attempt: Attempt) -> None:
            assert attempt.share is not None
            covered.append(time.monotonic() - attempt.share.left_s)
            attempt.count.result()  # is there long before the masks begin, which wait for their own moment and not for it
            cover(attempt)

        node.answering.contribute = timed  # type: ignore[method-assign]
        node.answering.cover = timed_too  # type: ignore[method-assign]
        async with connected(node, tmp_path) as line:
            await line.expect("hello")
            await _member_set(line, world, node)
            await line.expect("contribution")
            [(waited_s, patience_s)] = begun
            assert waited_s >= node.answering.config.slot_ms / 1000 - 0.002  # the Ready's moment is told in whole milliseconds
            assert patience_s == 0.0
            assert covered[0] >= node.answering.config.slot_ms / 2000 - 0.002

    asyncio.run(scene())


@pytest.mark.parametrize(("put_off_s", "is_done", "looks"), [(30.0, False, False), (30.0, True, True), (0.01, False, True)])
def test_a_node_looks_at_its_files_beside_no_contribution_but_does_not_wait_for_a_long_one(
    world: Nodes, monkeypatch: pytest.MonkeyPatch, put_off_s: float, is_done: bool, looks: bool
) -> None:
    monkeypatch.setattr(link, "POLL_S", 0.01)
    monkeypatch.setattr(link, "PUT_OFF_S", put_off_s)

    async def scene() -> None:
        looked, done = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as worker:
            refresh = partial(loop.call_soon_threadsafe, looked.set)
            session = link.Session(world.first().answering, worker, worker, refresh)
            session.making.add(asyncio.create_task(done.wait()))
            polling = asyncio.create_task(session._state_what_is_due())
            if is_done:
                done.set()
            with suppress(TimeoutError):
                await asyncio.wait_for(looked.wait(), 30 if looks else 0.5)
            assert looked.is_set() == looks
            done.set()
            polling.cancel()
            await asyncio.gather(polling, return_exceptions=True)

    asyncio.run(scene())


async def _caught_up(line: Line, world: Nodes, node: Node) -> link_pb2.Hello:
    hello: link_pb2.Hello = await line.expect("hello")
    line.follow(node)
    await line.until_followed(node, world.city.log.size)
    return hello


def _followed(node: Node) -> link_pb2.CoordinatorFrame:
    start, entries, checkpoint = node.city.follow(node.answering.follower.size)
    return link_pb2.CoordinatorFrame(follow=link_pb2.Follow(start=start, entries=entries, checkpoint=checkpoint))


def test_frames_of_one_message_are_handled_in_their_order(world: Nodes, tmp_path: Path) -> None:
    async def scene() -> None:
        node = world.first()
        async with connected(node, tmp_path) as line:
            assert (await _caught_up(line, world, node)).takes_before
            asking = world.ask()
            offer = link_pb2.Offer(query=asking.entry, proof=asking.proof, sealing=world.sealing())
            ahead = [_followed(node)]
            world.ask()
            start, entries, checkpoint = world.city.follow(ahead[0].follow.start + len(ahead[0].follow.entries))
            ahead.append(link_pb2.CoordinatorFrame(follow=link_pb2.Follow(start=start, entries=entries, checkpoint=checkpoint)))
            line.send(before=ahead, offer=offer)  # without what stands ahead, in its order, the question is unknown
            ready = await line.expect("ready")
            asking.log_ready(node.uri, ready.envelope)
            for uri, other in world.nodes.items():
                if other is not node:
                    asking.log_ready(uri, asking.offer(other).envelope)
            member_set = link_pb2.MemberSet(preimage=asking.binding().encode())
            line.send(before=[_followed(node)], member_set=member_set)
            assert (await line.expect("contribution")).query == asking.id

    asyncio.run(scene())


def test_a_ledger_ahead_of_a_frame_that_asks_for_nothing_is_followed_all_the_same(world: Nodes, tmp_path: Path) -> None:
    async def scene() -> None:
        node = world.first()
        async with connected(node, tmp_path) as line:
            await _caught_up(line, world, node)
            world.ask()
            line.send(before=[_followed(node)], heartbeat=link_pb2.Heartbeat())
            await line.until_followed(node, world.city.log.size)

    asyncio.run(scene())


def test_behind_a_ledger_that_does_not_continue_ours_nothing_of_the_message_is_answered(world: Nodes, tmp_path: Path) -> None:
    async def scene() -> None:
        node = world.first()
        async with connected(node, tmp_path) as line:
            await _caught_up(line, world, node)
            asking = world.ask()
            wrong = _followed(node)
            wrong.follow.entries[0] = wrong.follow.entries[0][:-1] + b" "
            line.send(before=[wrong], offer=link_pb2.Offer(query=asking.entry, proof=asking.proof, sealing=world.sealing()))
            again = await line.expect("hello")  # and no answer before it
            assert again.followed == node.answering.follower.size < world.city.log.size
            assert node.answering.journal.ready(asking.id.hex(), 0) is None

    asyncio.run(scene())


def test_an_ended_stream_is_no_completion_and_the_node_comes_back_with_what_it_followed(world: Nodes, tmp_path: Path) -> None:
    async def scene() -> None:
        node = world.first()
        async with connected(node, tmp_path) as line:
            await line.expect("hello")
            await _ready(line, world, node)
            line.outgoing.put_nowait(None)
            again = await line.expect("hello")
            assert again.followed == node.answering.follower.size > 0

    asyncio.run(scene())


def test_a_ready_that_never_reached_the_ledger_is_sent_again_after_a_reconnect(world: Nodes, tmp_path: Path) -> None:
    async def scene() -> None:
        node = world.first()
        async with connected(node, tmp_path) as line:
            await line.expect("hello")
            asking = world.ask()
            line.follow(node)
            line.send(offer=link_pb2.Offer(query=asking.entry, proof=asking.proof, sealing=world.sealing()))
            ready = await line.expect("ready")
            line.outgoing.put_nowait(None)
            await line.expect("hello")
            line.follow(node)
            while (frame := await asyncio.wait_for(line.incoming.get(), 30)).WhichOneof("frame") != "statement":
                pass
            assert frame.statement.envelope == ready.envelope

    asyncio.run(scene())


def test_entries_that_are_not_the_cosigned_ones_are_not_followed_and_the_node_begins_again(world: Nodes, tmp_path: Path) -> None:
    async def scene() -> None:
        node = world.first()
        async with connected(node, tmp_path) as line:
            await line.expect("hello")
            start, entries, checkpoint = world.city.follow(0)
            line.send(follow=link_pb2.Follow(start=start, entries=[*entries[:-1], b"{}"], checkpoint=checkpoint))
            assert (await line.expect("hello")).followed == 0
            line.follow(node)
            await line.until_followed(node, start + len(entries))

    asyncio.run(scene())


def test_a_new_policy_of_it_is_stated_once(world: Nodes, tmp_path: Path) -> None:
    async def scene() -> None:
        node = world.first()
        changed: Policy = node.policy()
        async with connected(node, tmp_path) as line:
            await line.expect("hello")
            line.follow(node)
            stated = (await line.expect("statement")).envelope
            signed = st.parse(stated)
            assert isinstance(signed.statement, st.Policy)
            assert signed.statement.policy_sha256 == changed.sha256
            world.city.log_entry(stated)
            line.follow(node)
            await line.until_followed(node, world.city.log.size)
            assert node.answering.due() == []

    asyncio.run(scene())


def test_a_refused_member_set_names_the_attempt_and_carries_codes_only(world: Nodes, tmp_path: Path) -> None:
    async def scene() -> None:
        node = world.first()
        async with connected(node, tmp_path) as line:
            await line.expect("hello")
            asking = await _ready(line, world, node)
            other = list(world.nodes.values())[1]
            asking.log_ready(other.uri, asking.offer(other).envelope)
            line.follow(node)
            line.send(member_set=link_pb2.MemberSet(preimage=asking.binding().encode()))
            refused = await line.expect("binding_refused")
            assert (refused.query, refused.attempt) == (asking.id, 1)
            assert [each.code for each in refused.refusals] == [str(Reason.TOO_FEW_MEMBERS)]

    asyncio.run(scene())
