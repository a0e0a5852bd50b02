"""What a lying coordinator may try, one lie a row, and the code under which the opener refuses it. An honest request passes."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from audit_ledger.opener import OpenRequest, SealedSeed
from protocols import statements as st
from protocols.clock import month
from protocols.identity import SigningKey
from protocols.refusal import Reason
from protocols.secagg.agreement import AgreementKey
from protocols.secagg.binding import Binding, Member
from protocols.secagg.sealing import query_context, seal
from tests.support.city import BUREAU, City, Question, key

H1, H2, H5 = (f"kapok://hospital/h0{each}" for each in (1, 2, 5))
Lie = Callable[[Question], OpenRequest]


@pytest.fixture
def question(tmp_path: Path) -> Question:
    city = City(tmp_path)
    asked = Question(city, city.opener())
    asked.all_ready()
    return asked


def refused(question: Question, request: OpenRequest) -> set[Reason]:
    question.city.bring(question.opener)
    return {each.reason for each in question.opener.open(request, question.city.now).refusals}


def test_an_honest_request_is_not_refused(question: Question) -> None:
    assert refused(question, question.request()) == set()


# -- what the binding says ---------------------------------------------------------------------------------------------


def bound(**changes: object) -> Lie:
    return lambda question: question.request(question.binding(**changes))  # type: ignore[arg-type]


def without(question: Question, *uris: str) -> list[str]:
    return [each for each in question.readys if each not in uris]


def counting(question: Question, *uris: str) -> OpenRequest:
    kept = tuple(sorted(without(question, *uris)))
    return question.request(question.binding(counting=kept, n=len(kept), c=max(1, len(kept) // 4)))


def with_member(question: Question, member: Member) -> OpenRequest:
    binding = question.binding()
    members = tuple(member if each.uri == member.uri else each for each in binding.members)
    return question.request(replace(binding, members=members))


def invented_agreement(question: Question) -> OpenRequest:
    binding = question.binding()
    question.city.hospitals[H1].agreement = AgreementKey(bytes(32), month(question.city.now))
    return with_member(question, Member(H1, question.city.hospitals[H1].agreement.public, binding.members[0].ready))


def doubled_ready(question: Question) -> OpenRequest:
    second = question.binding().members[1]
    return with_member(question, Member(H1, question.city.hospitals[H1].agreement.public, second.ready))


def malformed(question: Question) -> OpenRequest:
    return replace(question.request(), preimage=b"not a binding")


SAID: dict[str, tuple[Lie, set[Reason]]] = {
    "not a binding": (malformed, {Reason.BINDING_MALFORMED}),
    "another log": (bound(origin="another.log/2026"), {Reason.WRONG_LOG, Reason.RECEIPT_INVALID}),
    "an unknown query": (bound(query=bytes(32)), {Reason.NOT_LOGGED}),
    "a fourth attempt": (bound(attempt=4), {Reason.ATTEMPTS_EXHAUSTED}),
    "attempt zero": (bound(attempt=0), {Reason.ATTEMPTS_EXHAUSTED}),
    "another round": (bound(round=1), {Reason.BINDING_DIFFERS, Reason.OPENED_BEFORE}),
    "n of another set": (bound(n=4), {Reason.BINDING_DIFFERS}),
    "no colluders": (bound(c=0), {Reason.BINDING_DIFFERS}),
    "a longer window": (lambda q: q.request(q.binding(not_after=q.not_after + 60)), {Reason.BINDING_DIFFERS}),
    "three counting": (lambda q: counting(q, H1, H2), {Reason.TOO_FEW_MEMBERS}),
    "an agreement key of its own": (invented_agreement, {Reason.MEMBER_KEY}),
    "one Ready for two": (doubled_ready, {Reason.READY_NOT_LOGGED, Reason.MEMBER_TWICE}),
}


@pytest.mark.parametrize("lie", SAID)
def test_a_lying_binding_is_refused(question: Question, lie: str) -> None:
    make, expected = SAID[lie]
    assert refused(question, make(question)) == expected


def test_a_floor_above_the_contract_s_is_kept(question: Question) -> None:
    facts = question.opener.gate.follower.view
    question.city.bring(question.opener)
    found = facts.questions[question.id.hex()]
    found.query = found.query.model_copy(update={"floor": 6})
    assert refused(question, question.request()) == {Reason.TOO_FEW_MEMBERS}


# -- what the members signed and sealed --------------------------------------------------------------------------------


def edited(edit: Callable[[Question, SealedSeed, Binding], SealedSeed]) -> Lie:
    def make(question: Question) -> OpenRequest:
        request, binding = question.request(), question.binding()
        first, *others = request.seeds
        return replace(request, seeds=(edit(question, first, binding), *others))

    return make


def signed_again(**changes: object) -> Lie:
    return edited(lambda q, seed, binding: q.contribute(H1, binding, **changes))


def by_another_key(question: Question, seed: SealedSeed, _: Binding) -> SealedSeed:
    receipt = st.parse(seed.receipt).statement
    return replace(seed, receipt=question.city.sign(receipt, key("somebody else")))


def sealed_for(context: Callable[[Binding], bytes]) -> Lie:
    def edit(question: Question, _: SealedSeed, binding: Binding) -> SealedSeed:
        made = question.contribute(H1, binding)
        sealed = seal(question.seeds[H1], question.sealing_key(), context(binding))
        receipt = st.parse(made.receipt).statement.model_copy(update={"sealed": hashlib.sha256(sealed).hexdigest()})
        return replace(made, sealed=sealed, receipt=question.city.sign(receipt, question.city.hospitals[H1].identity))

    return edited(edit)


def swapped(question: Question) -> OpenRequest:
    one, two, *others = question.request().seeds
    return replace(question.request(), seeds=(replace(one, sealed=two.sealed), replace(two, sealed=one.sealed), *others))


def told_another_set(question: Question) -> OpenRequest:
    """Members were told different sets, so one of them signed another u."""
    honest = question.request()
    other = question.contribute(H1, question.binding(counting=tuple(sorted(without(question, H5))), n=4))
    return replace(honest, seeds=(other, *honest.seeds[1:]))


SIGNED: dict[str, tuple[Lie, set[Reason]]] = {
    "no receipt": (edited(lambda q, seed, _: replace(seed, receipt=b"")), {Reason.RECEIPT_INVALID}),
    "a receipt by another key": (edited(by_another_key), {Reason.MEMBER_SIGNATURE}),
    "a receipt of another attempt": (signed_again(attempt=2), {Reason.RECEIPT_INVALID}),
    "a receipt of another round": (signed_again(first_round=1, last_round=1), {Reason.RECEIPT_INVALID}),
    "a receipt of another query": (signed_again(query="0" * 64), {Reason.RECEIPT_INVALID}),
    "a receipt of another sealed seed": (signed_again(sealed="0" * 64), {Reason.RECEIPT_INVALID}),
    "another masked vector": (edited(lambda q, seed, _: replace(seed, masked_hash=bytes(32))), {Reason.RECEIPT_INVALID}),
    "a member told another set": (told_another_set, {Reason.RECEIPT_INVALID}),
    "swapped seeds": (swapped, {Reason.RECEIPT_INVALID}),
    "a seed for another member": (sealed_for(lambda b: query_context(b.value, H2)), {Reason.SEED_INVALID}),
    "a seed for another binding": (sealed_for(lambda b: query_context(bytes(32), H1)), {Reason.SEED_INVALID}),
}


@pytest.mark.parametrize("lie", SIGNED)
def test_a_lie_about_signatures_or_seeds_is_refused(question: Question, lie: str) -> None:
    make, expected = SIGNED[lie]
    assert refused(question, make(question)) == expected


def test_a_request_holds_exactly_one_seed_of_each_member(question: Question) -> None:
    request = question.request()
    assert refused(question, replace(request, seeds=request.seeds[1:])) == {Reason.MEMBER_SIGNATURE}
    assert refused(question, replace(request, seeds=(*request.seeds, request.seeds[0]))) == {Reason.MEMBER_TWICE}
    stranger = replace(request.seeds[0], uri="kapok://hospital/h99")
    assert Reason.MEMBER_SIGNATURE in refused(question, replace(request, seeds=(*request.seeds, stranger)))


GARBAGE: dict[str, dict[str, object]] = {
    "no URI": {"uri": "h01"},
    "an empty URI": {"uri": ""},
    "a URI with a line break": {"uri": "kapok://hospital/h01\n"},
    "no masked hash": {"masked_hash": b""},
    "a masked hash of 33 bytes": {"masked_hash": bytes(33)},
    "no sealed seed": {"sealed": b""},
    "a receipt of bytes": {"receipt": b"\xff"},
    "another statement as receipt": {"receipt": "query"},
}


@pytest.mark.parametrize("what", GARBAGE)
def test_garbage_in_a_seed_s_frame_is_refused(question: Question, what: str) -> None:
    request = question.request()
    changes = {name: question.entry if value == "query" else value for name, value in GARBAGE[what].items()}
    lied = replace(request, seeds=(replace(request.seeds[0], **changes), *request.seeds[1:]))  # type: ignore[arg-type]
    assert Reason.RECEIPT_INVALID in refused(question, lied)


HUGE = 10**39


@pytest.mark.parametrize("name", ["attempt", "dimension", "scale", "n", "c", "not_after"])
def test_a_huge_number_in_a_binding_is_refused(question: Question, name: str) -> None:
    binding = replace(question.binding(), **{name: HUGE})  # type: ignore[arg-type]
    request = question.request()
    assert Reason.RECEIPT_INVALID in refused(question, replace(request, preimage=binding.encode()))


def test_rounds_beyond_the_query_are_refused(question: Question) -> None:
    request = question.request()
    for first, last in ((0, HUGE), (HUGE, HUGE), (1, 0)):
        assert refused(question, replace(request, first_round=first, last_round=last)) & {
            Reason.BINDING_DIFFERS,
            Reason.MEMBER_NOT_READY,
        }


def test_seeds_under_a_sealing_key_that_is_gone_are_refused(question: Question) -> None:
    request = question.request()
    (question.opener.keys.home.path / "sealing" / "2026-11.key").unlink()
    assert refused(question, request) == {Reason.SEALING_KEY}


# -- what the ledger says ----------------------------------------------------------------------------------------------


def test_a_ready_that_is_not_logged_is_refused(tmp_path: Path) -> None:
    city = City(tmp_path)
    question = Question(city, city.opener())
    question.all_ready([each for each in city.hospitals if each != H5])
    replayed = Question(city, question.opener)
    question.readys[H5] = replayed.ready(H5)
    assert refused(question, question.request()) == {Reason.READY_NOT_LOGGED}


def test_an_invented_hospital_is_refused(tmp_path: Path) -> None:
    city = City(tmp_path, n=4)
    question = Question(city, city.opener())
    question.all_ready()
    invented = SigningKey.generate()
    uri = "kapok://hospital/invented"
    city.hospitals[uri] = replace(
        city.hospitals[H1], name="invented", identity=invented, agreement=AgreementKey(bytes(32), "2026-11")
    )
    city.log_entry(city.sign(city.key_add(uri, "identity", invented), invented, key("an invented auditor")))
    question.ready(uri)
    assert refused(question, question.request()) == {Reason.NOT_IN_AUDIENCE, Reason.READY_NOT_LOGGED, Reason.MEMBER_SIGNATURE}


def test_a_hospital_revoked_after_its_ready_is_refused(question: Question) -> None:
    request = question.request()
    question.city.revoke_key(H1, question.city.hospitals[H1].identity.public)
    assert refused(question, request) == {Reason.NOT_ADMITTED, Reason.MEMBER_SIGNATURE}


def test_a_revoked_asker_is_refused(question: Question) -> None:
    question.city.revoke_key(BUREAU, question.city.bureau.public)
    assert refused(question, question.request()) == {Reason.ASKER_UNKNOWN}


def test_a_revoked_approval_is_refused(question: Question) -> None:
    question.city.revoke_approval(question.city.programme)
    assert refused(question, question.request()) == {Reason.NOT_APPROVED}


def test_a_query_without_its_approval_is_refused(tmp_path: Path) -> None:
    city = City(tmp_path)
    question = Question(city, city.opener(), purpose="research")
    approval = city.approve(question.id.hex())
    question.all_ready()
    city.now += 1
    city.revoke_approval(question.id.hex())
    assert approval > 0
    assert refused(question, question.request()) == {Reason.NOT_APPROVED}


def test_a_hold_stops_everything_also_what_was_answered_and_its_end_lets_go_on(question: Question) -> None:
    request = question.request()
    question.open(request)
    question.city.hold(True)
    assert refused(question, request) == {Reason.ON_HOLD}
    question.city.now += 1
    question.city.hold(False)
    assert refused(question, request) == set()


def test_a_hold_before_the_sum_left_keeps_it_here(question: Question) -> None:
    question.city.bring(question.opener)
    reply = question.opener.open(question.request(), question.city.now)
    assert reply.opening is not None
    question.city.log_entry(reply.opening)
    question.city.hold(True)
    question.city.bring(question.opener)
    found = question.opener.release(reply.query, reply.round, question.city.now)
    assert isinstance(found, list)
    assert {each.reason for each in found} == {Reason.ON_HOLD}


def test_a_window_is_never_extended_by_the_clocks_tolerance(question: Question) -> None:
    request = question.request()
    question.city.bring(question.opener)
    for now in (question.not_after, question.not_after + 1):
        reasons = {each.reason for each in question.opener.open(request, now).refusals}
        assert Reason.WINDOW_CLOSED in reasons
    question.city.now = question.not_after
    question.city.bring(question.opener)  # a slow clock here does not help: the witness has reached the end
    assert {each.reason for each in question.opener.open(request, question.not_after - 30).refusals} == {Reason.WINDOW_CLOSED}


def test_a_query_past_its_validity_is_refused(tmp_path: Path) -> None:
    city = City(tmp_path)
    question = Question(city, city.opener())
    question.city.now += 86_400 - 60
    question.not_after = question.city.now + 600
    question.all_ready()
    request = question.request()
    question.city.now += 60
    assert refused(question, request) == {Reason.EXPIRED}


def test_a_stale_ledger_is_refused(question: Question) -> None:
    request = question.request()
    question.city.bring(question.opener)
    reasons = {each.reason for each in question.opener.open(request, question.city.now + 601).refusals}
    assert reasons == {Reason.STALE, Reason.WINDOW_CLOSED}


def test_an_ended_query_is_refused(question: Question) -> None:
    question.finish(question.request(), question.open(question.request(question.binding())))
    other = question.request(question.binding(attempt=2))
    assert refused(question, other) == {Reason.ALREADY_ANSWERED, Reason.OPENED_BEFORE}


# -- the ledger it is fed ----------------------------------------------------------------------------------------------


def test_a_smaller_checkpoint_changes_nothing_and_a_forked_one_is_refused(tmp_path: Path) -> None:
    city, fork = City(tmp_path / "city"), City(tmp_path / "fork", n=4)
    core = city.opener()
    small = city.follow(0)
    city.now += 1
    city.approve(city.programme)
    city.bring(core)
    size, accepted = core.size, core.gate.follower.accepted
    assert core.follow(*small, city.now) == []
    assert (core.size, core.gate.follower.accepted) == (size, accepted)
    assert fork.log.size < size
    assert [each.reason for each in core.follow(*fork.follow(0), city.now)] == [Reason.ROLLED_BACK]
    for _ in range(6):
        fork.now += 1
        fork.approve(fork.programme)
    assert fork.log.size > size
    assert [each.reason for each in core.follow(*fork.follow(size), city.now)] == [Reason.INCONSISTENT]
    assert core.size == size


def test_entries_without_quorum_log_signature_or_freshness_are_not_followed(tmp_path: Path) -> None:
    city = City(tmp_path)
    core = city.opener()
    city.now += 1
    city.approve(city.programme)
    start, entries, note = city.follow(core.size)
    uncosigned = b"\n".join(note.split(b"\n")[:-2]) + b"\n"
    assert [each.reason for each in core.follow(start, entries, uncosigned, city.now)] == [Reason.NO_QUORUM]
    unsigned = note.replace(b"\xe2\x80\x94 ledger", b"\xe2\x80\x94 bedger")
    assert [each.reason for each in core.follow(start, entries, unsigned, city.now)] == [Reason.LOG_SIGNATURE]
    assert [each.reason for each in core.follow(start, entries, note, city.now + 601)] == [Reason.STALE]
    assert [each.reason for each in core.follow(start + 1, entries[1:], note, city.now)] == [Reason.INCONSISTENT]
    assert core.size == start
    assert core.follow(start, entries, note, city.now) == []
