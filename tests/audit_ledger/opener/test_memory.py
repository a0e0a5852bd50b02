"""What the opener remembers: one member set per (query, round) over restarts and restores, segments, sums and sealing keys."""

import hashlib
import re
import secrets
import shutil
from pathlib import Path

import numpy as np
import pytest

from audit_ledger.errors import OpenerDamaged, RolledBack
from audit_ledger.opener import OpenRequest, SealedSeed
from audit_ledger.opener_core import OpenerCore
from audit_ledger.opener_keys import NoSealingKey, SealingKeys
from audit_ledger.opener_store import OpenerStore
from audit_ledger.party.home import Home
from protocols import statements as st
from protocols.canonical import unb64
from protocols.clock import unix
from protocols.refusal import Reason
from protocols.secagg.binding import Binding
from protocols.secagg.masks import seed_stream_sum, vector_hash
from protocols.secagg.sealing import require_sealing_key, round_message, round_seed, seal, segment_context
from tests.support.city import DIMENSION, ORIGIN, City, Question

DAY = 86_400


def reasons(core: OpenerCore, city: City, request: OpenRequest) -> set[Reason]:
    city.bring(core)
    return {each.reason for each in core.open(request, city.now).refusals}


def restarted(city: City, core: OpenerCore, name: str = "opener") -> OpenerCore:
    core.store.close()
    return city.opener(name)


@pytest.fixture
def asked(tmp_path: Path) -> Question:
    city = City(tmp_path)
    question = Question(city, city.opener())
    question.all_ready()
    return question


def test_the_same_request_gets_the_same_answer_after_a_restart_and_another_none(asked: Question) -> None:
    city, request, other = asked.city, asked.request(), asked.request(asked.binding(attempt=2))
    total = asked.open(request)
    core = restarted(city, asked.opener)
    reply = core.open(request, city.now)
    assert core.release(reply.query, reply.round, city.now) == total
    assert reasons(core, city, other) == {Reason.OPENED_BEFORE}
    city.now += 700  # it was released in time, so it may be fetched again
    city.bring(core)
    assert core.release(reply.query, reply.round, city.now) == total
    assert core.open(request, city.now).refusals == ()


def test_a_set_that_was_bound_but_not_logged_still_excludes_every_other(asked: Question) -> None:
    city, request, other = asked.city, asked.request(), asked.request(asked.binding(attempt=2))
    city.bring(asked.opener)
    first = asked.opener.open(request, city.now)
    core = restarted(city, asked.opener)
    assert reasons(core, city, other) == {Reason.OPENED_BEFORE}
    assert core.open(request, city.now) == first
    assert core.release(first.query, 0, city.now) is None
    assert {each.reason for each in core.open(request, asked.not_after).refusals} == {Reason.WINDOW_CLOSED}


def test_the_sum_stays_until_its_opening_is_in_the_followed_ledger(asked: Question) -> None:
    city = asked.city
    city.bring(asked.opener)
    reply = asked.opener.open(asked.request(), city.now)
    assert reply.opening is not None
    assert asked.opener.release(reply.query, 0, city.now) is None
    city.log_entry(reply.opening)
    assert asked.opener.release(reply.query, 0, city.now) is None
    city.bring(asked.opener)
    assert isinstance(asked.opener.release(reply.query, 0, city.now), bytes)


def test_an_opening_in_the_ledger_counts_as_used_when_the_store_was_lost(asked: Question) -> None:
    city, request = asked.city, asked.request()
    asked.open(request)
    asked.opener.store.close()
    (city.path / "opener" / "opener.sqlite").unlink()
    core = city.opener()
    assert reasons(core, city, request) == {Reason.OPENED_BEFORE}
    assert reasons(core, city, asked.request(asked.binding(attempt=2))) == {Reason.OPENED_BEFORE}


def test_an_opening_of_a_restored_twin_wins_only_if_it_was_logged(asked: Question) -> None:
    """Two stores of one opener, one of them a backup: the ledger decides whose set is opened."""
    city, one, two = asked.city, asked.request(), asked.request(asked.binding(attempt=2))
    shutil.copytree(city.path / "opener" / "sealing", city.path / "twin" / "sealing")
    twin = city.opener("twin")
    city.bring(asked.opener)
    first, second = asked.opener.open(one, city.now), twin.open(two, city.now)
    assert first.opening is not None
    assert second.opening is not None
    city.log_entry(first.opening)
    city.log_entry(second.opening)
    city.bring(asked.opener)
    city.bring(twin)
    assert isinstance(asked.opener.release(first.query, 0, city.now), bytes)
    lost = twin.release(second.query, 0, city.now)
    assert isinstance(lost, list)
    assert {each.reason for each in lost} == {Reason.OPENED_BEFORE}


def test_the_opener_restarts_from_its_own_copy_of_the_ledger(asked: Question) -> None:
    city = asked.city
    city.bring(asked.opener)
    size = asked.opener.size
    asked.opener.store.close()
    home = Home(city.path / "opener")
    again = OpenerCore(city.trust, OpenerStore(home.path / "opener.sqlite"), SealingKeys(home), city.service)
    assert again.size == size == city.log.size
    assert again.gate.follower.view.range.root() == asked.opener.gate.follower.view.range.root()
    # nothing is opened on a copy alone: its freshness must be shown anew
    assert Reason.STALE in {each.reason for each in again.open(asked.request(), city.now).refusals}


def test_a_sum_that_the_disk_changed_stays_where_it_is(asked: Question) -> None:
    city, request = asked.city, asked.request()
    total = asked.open(request)
    asked.opener.store._db.execute("UPDATE opened SET sum = ?", (total[:-1] + bytes([total[-1] ^ 1]),))
    refused = asked.opener.release(asked.id, 0, city.now)
    assert isinstance(refused, list)
    assert [(each.reason, each.got) for each in refused] == [(Reason.OPENED_BEFORE, "another: the opener's database is damaged")]
    asked.opener.store._db.execute("UPDATE opened SET sum = ?", (total,))
    assert asked.opener.release(asked.id, 0, city.now) == total


def test_a_flipped_bit_in_the_openers_database_is_found_or_nothing_of_it_is_handed_out(asked: Question, tmp_path: Path) -> None:
    city, request = asked.city, asked.request()
    total, path = asked.open(request), Path(asked.opener.store._db.execute("PRAGMA database_list").fetchone()[2])
    asked.opener.store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    asked.opener.store.close()
    raw, found = path.read_bytes(), 0
    for at in range(0, 8 * len(raw), (8 * len(raw) // 60) | 1):
        changed = bytearray(raw)
        changed[at // 8] ^= 1 << at % 8
        path.write_bytes(changed)
        for each in ("-wal", "-shm"):
            path.with_name(path.name + each).unlink(missing_ok=True)
        try:
            core = city.opener()
        except (OpenerDamaged, RolledBack, AssertionError) as error:
            found += 1
            assert re.search("opener database|ledger.tree_mismatch", str(error))  # noqa: PT017 - it may also pass
            continue
        again = core.open(request, city.now)
        handed_out = core.release(again.query, again.round, city.now)
        assert again.refusals or isinstance(handed_out, list) or handed_out == total
        core.store.close()
    assert found > 10


def test_sums_are_deleted_after_35_days_and_the_set_stays_taken(asked: Question) -> None:
    city, request = asked.city, asked.request()
    asked.open(request)
    asked.opener.sweep(city.now + 35 * DAY)
    assert isinstance(asked.opener.release(asked.id, 0, city.now), bytes)
    asked.opener.sweep(city.now + 35 * DAY + 1)
    assert isinstance(asked.opener.release(asked.id, 0, city.now), list)
    assert {each.reason for each in asked.opener.open(request, city.now).refusals} == {Reason.OPENED_BEFORE}


# -- segments ----------------------------------------------------------------------------------------------------------


class Segment(Question):
    """Rounds 1..4 of a training; one Ready, one opening, one root per hospital."""

    def start(self) -> None:
        self.all_ready(first=1, last=4)
        self.roots = {uri: secrets.token_bytes(32) for uri in self.readys}

    def round(self, number: int, members: list[str] | None = None, attempt: int = 1) -> OpenRequest:
        binding = self.binding(members or sorted(self.readys), round=number, attempt=attempt)
        return OpenRequest(binding.encode(), tuple(self.part(each.uri, each.ready, binding) for each in binding.members), 1, 4)

    def part(self, uri: str, ready: bytes, binding: Binding) -> SealedSeed:
        sealed = seal(self.roots[uri], self.sealing_key(), segment_context(ORIGIN, self.id, 1, 4, ready, uri))
        masked = hashlib.sha256(uri.encode()).digest()
        signature = self.city.hospitals[uri].identity.sign(
            round_message(binding.value, uri, hashlib.sha256(sealed).digest(), masked)
        )
        return SealedSeed(uri, sealed, masked, round_signature=signature)

    def sum_of(self, request: OpenRequest) -> bytes:
        binding = Binding.decode(request.preimage)
        seeds = [round_seed(self.roots[each.uri], binding.round, binding.attempt, binding.value) for each in binding.members]
        return seed_stream_sum(seeds, DIMENSION, 32, binding.value).tobytes()


@pytest.fixture
def training(tmp_path: Path) -> Segment:
    city = City(tmp_path)
    made = Segment(city, city.opener(), rounds=4)
    made.start()
    return made


def test_a_segment_logs_one_opening_and_gives_every_round_its_own_sum(training: Segment) -> None:
    first = training.round(1)
    assert training.open(first) == training.sum_of(first)
    opening = st.parse(training.opener.open(first, training.city.now).opening or b"").statement
    assert isinstance(opening, st.Opening)
    assert (opening.first_round, opening.last_round, opening.stream_sum) == (1, 4, "0" * 64)
    members = sorted(training.readys)
    for number, gone in ((2, 0), (3, 1)):
        request = training.round(number, members[gone:])
        reply = training.opener.open(request, training.city.now)
        assert (reply.refusals, reply.opening) == ((), None)
        assert training.opener.release(reply.query, number, training.city.now) == training.sum_of(request)
    assert training.city.findings() == []


def test_a_round_of_a_segment_is_opened_once_and_only_within_the_opened_set(tmp_path: Path) -> None:
    city = City(tmp_path)
    training = Segment(city, city.opener(), rounds=4)
    training.start()
    members = sorted(training.readys)
    assert reasons(training.opener, city, training.round(2)) == {Reason.OPENED_BEFORE}  # the start has not been opened
    training.open(training.round(1, members[:4]))
    assert reasons(training.opener, city, training.round(2)) == {Reason.SET_DIFFERS}
    assert reasons(training.opener, city, training.round(2, members[:4])) == set()
    assert reasons(training.opener, city, training.round(2, members[:4], attempt=2)) == {Reason.OPENED_BEFORE}


def test_a_hold_keeps_a_later_round_here_until_its_sum_has_left(training: Segment) -> None:
    training.open(training.round(1))
    reply = training.opener.open(training.round(2), training.city.now)
    training.city.hold(True)
    training.city.bring(training.opener)
    kept = training.opener.release(reply.query, 2, training.city.now)
    assert isinstance(kept, list)
    assert {each.reason for each in kept} == {Reason.ON_HOLD}
    training.city.now += 1
    training.city.hold(False)
    training.city.bring(training.opener)
    assert training.opener.release(reply.query, 2, training.city.now) == training.sum_of(training.round(2))


def test_a_hold_keeps_a_later_round_here_over_a_restart(training: Segment) -> None:
    training.open(training.round(1))
    reply = training.opener.open(training.round(2), training.city.now)
    core = restarted(training.city, training.opener)
    training.city.hold(True)
    training.city.bring(core)
    kept = core.release(reply.query, 2, training.city.now)
    assert isinstance(kept, list)
    assert {each.reason for each in kept} == {Reason.ON_HOLD}


def test_a_restart_ends_the_running_segment(training: Segment) -> None:
    first, second = training.round(1), training.round(2)
    total = training.open(first)
    core = restarted(training.city, training.opener)
    assert reasons(core, training.city, second) == {Reason.OPENED_BEFORE}
    assert core.release(training.id, 1, training.city.now) == total


def test_a_round_signature_of_another_vector_is_refused(training: Segment) -> None:
    request = training.round(1)
    one = request.seeds[0]
    lied = OpenRequest(
        request.preimage, (SealedSeed(one.uri, one.sealed, bytes(32), b"", one.round_signature), *request.seeds[1:]), 1, 4
    )
    assert reasons(training.opener, training.city, lied) == {Reason.MEMBER_SIGNATURE}


def test_a_ready_for_other_rounds_is_refused(training: Segment) -> None:
    request = training.round(1)
    longer = OpenRequest(request.preimage, request.seeds, 1, 3)
    assert reasons(training.opener, training.city, longer) >= {Reason.MEMBER_NOT_READY}


# -- sealing keys ------------------------------------------------------------------------------------------------------


def test_a_month_s_sealing_key_is_made_once_certified_and_destroyed_after_its_last_window(tmp_path: Path) -> None:
    city = City(tmp_path)
    core = city.opener()
    certificate = core.sealing("2026-11", city.now)
    assert certificate == core.sealing("2026-11", city.now)
    assert require_sealing_key(certificate, ORIGIN, city.service.public) == unb64(certificate.key)
    path = core.keys.home.path / "sealing" / "2026-11.key"
    assert path.stat().st_mode & 0o777 == 0o600
    question = Question(city, core)
    question.not_after = unix("2026-12-01T00:20:00Z")
    question.all_ready()
    city.bring(core)
    core.sweep(question.not_after + 60)
    assert path.exists()
    core.sweep(question.not_after + 61)
    assert not path.exists()
    with pytest.raises(NoSealingKey, match="2026-11"):
        core.sealing("2026-11", question.not_after + 61)
    with pytest.raises(NoSealingKey, match="2027-01"):
        core.sealing("2027-01", city.now)


def test_a_month_without_readys_keeps_its_key_until_its_last_possible_window(tmp_path: Path) -> None:
    city = City(tmp_path)
    core = city.opener()
    core.sealing("2026-11", city.now)
    end = unix("2026-12-01T00:00:00Z") + 600 + 60
    core.sweep(end)
    assert core.keys.months() == ["2026-11"]
    core.sweep(end + 1)
    assert core.keys.months() == []


def test_the_logged_sum_is_the_hash_of_what_leaves(asked: Question) -> None:
    total = asked.open(asked.request())
    opening = asked.city.view().questions[asked.id.hex()].openings[0][2]
    assert opening.stream_sum == vector_hash(np.frombuffer(total, "<u4")).hex()
