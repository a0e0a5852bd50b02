"""Residents from question to number: real nodes over tagged records, the real opener, and a coordinator that counts or lies."""

import asyncio
import os
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit_ledger.opener import OpenRequest
from coordinator.residents import _counted, _sum
from hospital_node.attempt import Attempt
from hospital_node.link import Session
from hospital_node.records.residents import KEY_FILE
from hospital_node.slots import Departure
from privacy.union import released_variance
from protocols import statements as st
from protocols.asked import Asked
from protocols.errors import BadSignature, MalformedBytes
from protocols.exact import as_exact
from protocols.query import QuerySpec
from protocols.refusal import Reason
from protocols.secagg.binding import Binding
from protocols.secagg.sealing import query_context, union_context
from protocols.union import Counter
from protocols.union.question import MAX_ENTRIES
from protocols.union.zero_test import BLINDED_BYTES, ENTRY_BYTES
from tests.hospital_node.support.nodes import DISTRICTS, PERIOD, Asking, Nodes, Visit, write_records
from tests.support import residents

SPEC: dict[str, Any] = {
    "table": "visits",
    "measures": [{"kind": "count_distinct_resident", "buckets": 1024}],
    "period": PERIOD,
}
VARIANCE = "16.0000"
SEEN = {0: range(20), 1: range(20), 2: range(10, 30), 3: range(5), 4: range(40, 50)}
"""Residents by hospital: 40 in all, 75 patients."""
EVERYBODY = 40


def _visits(seen: range) -> list[Visit]:
    return [(n, date(2026, 10 + n % 2, 1 + n % 28), DISTRICTS[n % 3]) for n, _ in enumerate(seen)]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Nodes]:
    made = Nodes(tmp_path, 5, residents.furnish)
    for number, node in enumerate(made.nodes.values()):
        write_records(node.home / "records", _visits(SEEN[number]), "g00000002")
        residents.tag(node.home / "records", dict(enumerate(SEEN[number])), generation="g00000002")
    residents.permit(made.city)
    yield made
    made.close()


def ask(world: Nodes, spec: dict[str, Any] = SPEC, **changes: Any) -> Asking:
    return world.ask(spec, {"variances": (VARIANCE,), **changes})


def asked_of(asking: Asking) -> Asked:
    statement = st.parse(asking.entry).statement
    assert isinstance(statement, st.Query)
    return Asked.of(statement)


def request(asking: Asking, counter: Counter, binding: Binding | None = None) -> tuple[OpenRequest, Binding]:
    binding = binding or asking.binding()
    plain, masked = asking.request(binding)
    encrypted = counter.encrypted(_sum(list(masked.values())))
    return replace(plain, public=counter.public, encrypted=encrypted), binding


def reasons(world: Nodes, sent: OpenRequest) -> set[Reason]:
    world.city.bring(world.opener)
    return {each.reason for each in world.opener.open(sent, world.city.now).refusals}


# -- the honest way


@pytest.mark.statistical
def test_residents_of_several_hospitals_count_once(world: Nodes) -> None:
    """Within 6.5 standard deviations of both noises and of a bucket shared by two residents (0.8 of 40): a false alarm in 10^10."""
    asking, counter = ask(world), Counter(os.urandom)
    asking.all_ready()
    sent, binding = request(asking, counter)
    [found] = _counted(counter, asking.open(sent), asked_of(asking), binding)
    sd = float(released_variance(asked_of(asking).pieces[0], 5, 5, 1) + 1) ** 0.5
    assert released_variance(asked_of(asking).pieces[0], 5, 5, 1) == Fraction(16) + 5 * Fraction(4)
    assert abs(int(found) - EVERYBODY) < 6.5 * sd + 1


def test_for_residents_nothing_is_foreseen_and_the_slot_begins_with_the_set(world: Nodes) -> None:
    asking = ask(world)
    asking.all_ready()
    attempt = world.first().answering.accept(asking.binding().encode())
    assert isinstance(attempt, Attempt)
    assert attempt.share is None


@pytest.mark.parametrize("has_failed", [False, True])
def test_a_count_of_residents_is_waited_for_where_nothing_else_waits_behind_it(world: Nodes, has_failed: bool) -> None:
    """Else the departure of another question's contribution would tell when the residents were counted."""

    def accepted(asking: Asking) -> Attempt:
        asking.all_ready()
        found = world.first().answering.accept(asking.binding().encode())
        assert isinstance(found, Attempt)
        return found

    def in_s(seconds: float) -> Departure:
        return Departure(1000 * (time.time() + seconds), 0)

    residents, other = accepted(ask(world)), accepted(world.ask())
    residents.count = Future()

    async def scene() -> None:
        with ThreadPoolExecutor(1) as worker, ThreadPoolExecutor(1) as makers:
            session = Session(world.first().answering, worker, makers, lambda: None)
            waiting = asyncio.create_task(session._made(residents, in_s(10.0)))
            await asyncio.sleep(0.05)
            await asyncio.wait_for(session._made(other, in_s(0.1)), 5.0)
            assert not waiting.done()
            if has_failed:
                residents.count.set_exception(ValueError())
            else:
                residents.count.set_result(np.zeros(residents.asked.exact_length, np.int64))
            assert await asyncio.wait_for(waiting, 5.0)
            assert world.first().answering.is_paused == has_failed

    asyncio.run(scene())


def test_a_failed_count_leaves_only_noise_and_the_same_length(world: Nodes) -> None:
    asking = ask(world)
    asking.all_ready()
    world.first().answering.counts.drop(asking.id.hex())  # what was counted behind the Ready, when the key was there
    (world.first().home / KEY_FILE).unlink()
    binding = asking.binding()
    made = asking.contribute(world.first(), binding)
    assert not isinstance(made, list)
    assert len(made.masked) == 4 * binding.dimension
    assert world.first().answering.is_paused


def test_the_logged_opening_holds_the_hash_of_the_blinded_cells(world: Nodes) -> None:
    asking, counter = ask(world), Counter(os.urandom)
    asking.all_ready()
    sent, binding = request(asking, counter)
    opened = asking.open(sent)
    [(_, _, opening)] = world.opener.gate.follower.view.questions[asking.id.hex()].openings.values()
    assert opening.stream_sum == sha256(opened).hexdigest()
    assert len(opened) % BLINDED_BYTES == 0
    assert len(opened) // BLINDED_BYTES > binding.dimension  # the auditor's own slots


# -- refusals of a node


def test_the_default_policy_refuses(world: Nodes) -> None:
    node = world.first()
    (node.home / "policy.toml").write_text((node.home / "policy.toml").read_text().replace('resident_tables = ["visits"]', ""))
    node.answering.adopt_policy(node.policy(), None)
    assert ask(world).reasons(node) == [Reason.RESIDENTS_NOT_PERMITTED]


def test_a_hospital_without_the_key_refuses_and_says_so(world: Nodes) -> None:
    node = world.first()
    (node.home / KEY_FILE).unlink()
    node.answering.adopt_policy(node.policy(), None)
    assert ask(world).reasons(node) == [Reason.RESIDENTS_NOT_PERMITTED, Reason.NO_RESIDENT_KEY]


def test_records_that_were_imported_without_resident_numbers_are_refused(world: Nodes) -> None:
    node = world.first()
    write_records(node.home / "records", _visits(SEEN[0]), "g00000003")
    assert ask(world).reasons(node) == [Reason.NO_RESIDENT_TAGS]


def test_a_policy_that_the_ledger_does_not_state_is_not_enough(tmp_path: Path) -> None:
    world = Nodes(tmp_path, 4, residents.furnish)
    residents.tag(world.first().home / "records", {})
    assert ask(world).reasons(world.first()) == [Reason.RESIDENTS_NOT_PERMITTED]
    world.close()


def test_a_vector_that_the_auditor_would_not_open_is_refused_before_it_is_paid(world: Nodes) -> None:
    wide = {
        **SPEC,
        "measures": [{"kind": "count_distinct_resident", "buckets": 1024}],
        "keys": [{"key": "iso_week"}, {"key": "sex"}],
    }
    reply = ask(world, wide, variances=("4096.0000",)).offer(world.first())
    assert [(each.reason, each.expected) for each in reply.refusals] == [(Reason.TOO_MANY_CELLS, str(MAX_ENTRIES))]


def test_a_member_under_another_key_is_named_by_every_other_and_by_the_opener(world: Nodes) -> None:
    asking, odd = ask(world), max(world.nodes)
    asking.all_ready()
    residents.permit(world.city, [odd], residents.OTHER)
    for node in world.nodes.values():
        node.bring()
    refused = asking.contribute(world.first(), asking.binding())
    assert isinstance(refused, list)
    assert [(each.reason, each.subject) for each in refused] == [(Reason.RESIDENT_KEYS_DIFFER, odd)]


def test_residents_have_no_exact_mode_and_bounded_noise(world: Nodes) -> None:
    spec = QuerySpec.from_fields(SPEC).to_json()
    query = st.parse(world.query(SPEC, variances=(VARIANCE,))).statement
    assert isinstance(query, st.Query)
    with pytest.raises(MalformedBytes, match="no exact mode"):
        Asked.of(query.model_copy(update={"spec": as_exact(spec), "variances": ("0.0000",)}))
    with pytest.raises(MalformedBytes, match="at most 4096"):
        Asked.of(query.model_copy(update={"variances": ("4096.0625",)}))


# -- a coordinator that lies to the opener


@pytest.fixture
def ready(world: Nodes) -> Asking:
    asking = ask(world)
    asking.all_ready()
    return asking


def test_the_plain_sum_is_never_opened(ready: Asking) -> None:
    """With it a hospital and the coordinator would read any bucket they know."""
    sent, _ = request(ready, Counter(os.urandom))
    assert reasons(ready.world, replace(sent, public=b"", encrypted=b"")) == {Reason.ZERO_TEST_INVALID}


def test_a_seed_is_sealed_for_a_zero_test_alone(ready: Asking) -> None:
    """An opener of before this protocol opens seeds under the other label: it gets nothing, and hands out nothing."""
    sent, binding = request(ready, Counter(os.urandom))
    key = ready.world.opener.keys.find("2026-11")
    assert key is not None
    for each in sent.seeds:
        with pytest.raises(BadSignature):
            key.open(each.sealed, query_context(binding.value, each.uri))
        assert len(key.open(each.sealed, union_context(binding.value, each.uri))) == 32


def test_no_other_question_opens_by_a_zero_test(world: Nodes) -> None:
    asking, counter = world.ask(), Counter(os.urandom)
    asking.all_ready()
    plain, _ = asking.request(asking.binding())
    assert reasons(world, replace(plain, public=counter.public)) == {Reason.ZERO_TEST_INVALID}


def test_a_second_zero_test_is_refused_and_the_first_is_given_again(ready: Asking) -> None:
    """Under the same key other ciphertexts get the bytes of the first: two tests would halve the auditor's noise."""
    world, counter = ready.world, Counter(os.urandom)
    sent, _ = request(ready, counter)
    first = ready.open(sent)
    other = Counter(os.urandom)
    again = replace(sent, public=other.public, encrypted=bytes(len(sent.encrypted)))
    assert reasons(world, again) == {Reason.OPENED_BEFORE}
    changed = replace(sent, encrypted=sent.encrypted[ENTRY_BYTES:] + sent.encrypted[:ENTRY_BYTES])
    assert reasons(world, changed) == set()
    assert world.opener.release(ready.id, 0, world.city.now) == first


def test_a_vector_of_another_shape_is_refused(ready: Asking) -> None:
    """Cells that are cut elsewhere would mix one cell's buckets with another's slots."""
    sent, binding = request(ready, Counter(os.urandom))
    longer = replace(binding, dimension=binding.dimension + 1)
    assert Reason.BINDING_DIFFERS in reasons(ready.world, replace(sent, preimage=longer.encode()))


@pytest.mark.parametrize("what", ["short", "zeros", "key"])
def test_bytes_that_are_no_ciphertexts_are_refused_and_bind_nothing(ready: Asking, what: str) -> None:
    sent, _ = request(ready, Counter(os.urandom))
    lies = {
        "short": replace(sent, encrypted=sent.encrypted[:-1]),
        "zeros": replace(sent, encrypted=bytes(len(sent.encrypted))),
        "key": replace(sent, public=bytes(64)),
    }
    assert reasons(ready.world, lies[what]) == {Reason.ZERO_TEST_INVALID}
    assert reasons(ready.world, sent) == set()


def test_a_coordinator_that_marks_one_bucket_learns_the_cell_s_count_and_the_auditor_s_noise(ready: Asking) -> None:
    """With every hospital but one, who knows the target's bucket: it fills every other bucket, and what comes back says how many
    entries are not empty, plus the auditor's draw; which of them is the target's stands nowhere in the shuffled reply."""
    world, counter = ready.world, Counter(os.urandom)
    plain, masked = ready.request(ready.binding())
    binding, total = ready.binding(), _sum(list(masked.values()))
    marked = np.frombuffer(os.urandom(4 * len(total)), "<u4").copy()
    marked[7] = total[7]
    drawn: list[int] = []

    def watched(size: int) -> bytes:
        drawn.append(size)
        return os.urandom(size)

    world.opener.random = watched
    reply = ready.open(replace(plain, public=counter.public, encrypted=counter.encrypted(marked)))
    asked = asked_of(ready)
    [found] = _counted(counter, reply, asked, binding)
    # Every bucket but the target's and every slot counts: the slots' offset is taken off, the rest is the auditor's noise alone.
    everything = binding.dimension - asked.shape(5, (binding.dimension - 1024) // 10).offset
    assert abs(int(found) - everything) <= 1 + 6.5 * 4
    assert 2 in drawn  # one draw of two bytes: the noise of the one cell is the opener's own, drawn for this request
