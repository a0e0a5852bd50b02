"""What a hospital answers to a lying coordinator: each lie below breaks one rule, and that rule alone names it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.contract import colluders
from protocols.identity import fingerprint
from protocols.refusal import Reason, Refusal
from protocols.secagg.binding import Member
from protocols.secagg.member import Expected, LoggedReady, binding_refusals
from tests.protocols.examples import HOSPITALS, NOT_AFTER, NOW, ORIGIN, agreement, binding, digest, query, ready, signing

ME, *OTHERS = HOSPITALS
OUTSIDE_K = HOSPITALS[4]
BOUND = binding()
U = BOUND.value
BY_URI = {each.uri: each for each in BOUND.members}
PEERS = frozenset(fingerprint(signing(uri).public) for uri in OTHERS[:3])
READYS = {
    uri: LoggedReady(BY_URI[uri].ready, ready(uri), agreement(uri).public, fingerprint(signing(uri).public)) for uri in HOSPITALS
}
EXPECTED = Expected(
    origin=ORIGIN,
    query=BOUND.query,
    first_round=0,
    last_round=0,
    not_after=NOT_AFTER,
    dimension=4,
    ring=32,
    scale=1,
    variances=(1600,),
    input_hash=b"",
    floor=4,
    audience=frozenset(HOSPITALS),
    me=ME,
    my_ready=BY_URI[ME].ready,
    last_attempt=0,
    accepted={},
)


def found(bound=BOUND, *, expected=EXPECTED, readys=READYS, peers=PEERS, now=NOW):
    return binding_refusals(bound, expected, readys, peers, now)


def reasons(refusals):
    return [(each.reason, each.subject) for each in refusals]


def with_member(uri, **changes):
    return tuple(replace(each, **changes) if each.uri == uri else each for each in BOUND.members)


def with_ready(uri, **changes):
    return {**READYS, uri: replace(READYS[uri], **changes)}


def counting(uris):
    return {"counting": tuple(uris), "n": len(uris), "c": colluders(len(uris))}


def test_an_honest_binding_breaks_no_rule():
    assert found() == []


def test_hospitals_outside_the_counting_set_need_not_be_peers():
    assert fingerprint(signing(OUTSIDE_K).public) not in PEERS
    assert OUTSIDE_K in BY_URI
    assert found() == []


DIFFERS = {
    "origin": "ledger.kapok.test/2027",
    "query": bytes(32),
    "dimension": 5,
    "ring": 64,
    "scale": 2,
    "variances": (16,),
    "input_hash": bytes(32),
    "not_after": NOT_AFTER + 600,
}


@pytest.mark.parametrize("name", DIFFERS)
def test_another_origin_query_shape_noise_input_or_window_is_refused(name):
    assert reasons(found(replace(BOUND, **{name: DIFFERS[name]}))) == [(Reason.BINDING_DIFFERS, name)]


@pytest.mark.parametrize(("round_", "is_fine"), [(0, False), (1, True), (50, True), (51, False)])
def test_only_rounds_that_the_ready_covers_are_contributed_to(round_, is_fine):
    segment = replace(EXPECTED, first_round=1, last_round=50)
    readys = {uri: replace(each, statement=ready(uri, first_round=1, last_round=50)) for uri, each in READYS.items()}
    got = reasons(found(replace(BOUND, round=round_), expected=segment, readys=readys))
    assert got == ([] if is_fine else [(Reason.BINDING_DIFFERS, "round")])


@pytest.mark.parametrize(("attempt", "is_fine"), [(0, False), (1, True), (3, True), (4, False)])
def test_attempts_are_one_to_three(attempt, is_fine):
    got = found(replace(BOUND, attempt=attempt), expected=replace(EXPECTED, last_attempt=-1))
    assert [each.reason for each in got] == ([] if is_fine else [Reason.ATTEMPTS_EXHAUSTED])


def test_attempts_go_only_upward():
    expected = replace(EXPECTED, last_attempt=2, accepted={2: bytes(32)})
    assert reasons(found(expected=expected)) == [(Reason.ATTEMPT_REPLAYED, "")]
    assert found(replace(BOUND, attempt=3), expected=expected) == []


def test_one_u_is_accepted_per_attempt():
    expected = replace(EXPECTED, last_attempt=1, accepted={1: U})
    assert found(expected=expected) == []
    other = replace(BOUND, counting=HOSPITALS, n=5)
    got = reasons(found(other, expected=expected, peers=PEERS | {READYS[OUTSIDE_K].identity}))
    assert got == [(Reason.ATTEMPT_REPLAYED, "attempt 1")]


@pytest.mark.parametrize(("now", "is_open"), [(NOT_AFTER - 1, True), (NOT_AFTER, False), (NOT_AFTER + 60, False)])
def test_nothing_is_contributed_once_the_window_has_closed(now, is_open):
    assert [each.reason for each in found(now=now)] == ([] if is_open else [Reason.WINDOW_CLOSED])


def test_the_window_is_the_hospital_s_own_not_the_binding_s():
    got = reasons(found(replace(BOUND, not_after=NOT_AFTER + 600), now=NOT_AFTER))
    assert got == [(Reason.BINDING_DIFFERS, "not_after"), (Reason.WINDOW_CLOSED, "")]


def test_a_set_without_this_hospital_is_refused():
    lie = replace(BOUND, members=BOUND.members[1:], **counting(HOSPITALS[1:]))
    got = reasons(found(lie, peers=PEERS | {READYS[OUTSIDE_K].identity}))
    assert got == [(Reason.NOT_A_MEMBER, ME), (Reason.TOO_FEW_MEMBERS, "")]


def test_a_set_in_which_this_hospital_does_not_count_is_refused():
    lie = replace(BOUND, **counting(HOSPITALS[1:]))
    assert reasons(found(lie, peers=PEERS | {READYS[OUTSIDE_K].identity})) == [(Reason.TOO_FEW_MEMBERS, "")]


def test_a_ready_of_this_hospital_that_it_did_not_make_is_refused():
    other = bytes(32)
    got = found(replace(BOUND, members=with_member(ME, ready=other)), readys=with_ready(ME, id=other))
    assert reasons(got) == [(Reason.NOT_A_MEMBER, ME)]


def test_fewer_than_the_floor_do_not_count():
    assert [each.reason for each in found(replace(BOUND, **counting(HOSPITALS[:3])))] == [Reason.TOO_FEW_MEMBERS]
    assert [each.reason for each in found(expected=replace(EXPECTED, floor=5))] == [Reason.TOO_FEW_MEMBERS]


@pytest.mark.parametrize(("n", "c"), [(5, 1), (3, 1), (4, 0), (4, 2), (100, 25)])
def test_n_and_c_are_those_of_the_counting_set(n, c):
    """A larger n or a smaller c would make every share of the noise smaller."""
    assert found(replace(BOUND, n=n, c=c)) == [Refusal(Reason.BINDING_DIFFERS, "n, c = 4, 1", f"{n}, {c}", "n, c")]


def test_a_member_outside_the_audience_is_refused():
    got = reasons(found(expected=replace(EXPECTED, audience=frozenset(HOSPITALS[:4]))))
    assert got == [(Reason.NOT_IN_AUDIENCE, OUTSIDE_K)]


def test_one_agreement_key_for_two_hospitals_is_refused():
    key = BY_URI[OTHERS[0]].agreement
    got = found(replace(BOUND, members=with_member(OTHERS[1], agreement=key)), readys=with_ready(OTHERS[1], agreement=key))
    assert reasons(got) == [(Reason.MEMBER_TWICE, "agreement")]


def test_one_ready_for_two_hospitals_is_refused():
    one = BY_URI[OTHERS[0]].ready
    got = found(replace(BOUND, members=with_member(OTHERS[1], ready=one)), readys=with_ready(OTHERS[1], id=one))
    assert reasons(got) == [(Reason.MEMBER_TWICE, "ready")]


def test_one_identity_for_two_hospitals_is_refused():
    got = found(readys=with_ready(OUTSIDE_K, identity=READYS[OTHERS[0]].identity))
    assert reasons(got) == [(Reason.MEMBER_TWICE, "identity")]


def test_a_member_whose_ready_is_not_in_the_ledger_is_refused():
    without = {uri: each for uri, each in READYS.items() if uri != OUTSIDE_K}
    assert reasons(found(readys=without)) == [(Reason.READY_NOT_LOGGED, OUTSIDE_K)]
    assert reasons(found(readys=with_ready(OUTSIDE_K, id=bytes(32)))) == [(Reason.READY_NOT_LOGGED, OUTSIDE_K)]


def test_an_invented_hospital_is_refused():
    invented = Member("kapok://hospital/h99", bytes(31) + b"\5", bytes(31) + b"\6")
    lie = replace(BOUND, members=(*BOUND.members, invented))
    assert reasons(found(lie)) == [(Reason.NOT_IN_AUDIENCE, invented.uri), (Reason.READY_NOT_LOGGED, invented.uri)]


def test_a_hospital_that_the_auditor_did_not_admit_is_refused():
    assert reasons(found(readys=with_ready(OUTSIDE_K, identity=""))) == [(Reason.NOT_ADMITTED, OUTSIDE_K)]


def test_a_member_key_that_is_not_the_one_of_its_ready_is_refused():
    """The lie by which a coordinator would put itself between two hospitals."""
    lie = replace(BOUND, members=with_member(OTHERS[0], agreement=agreement("coordinator").public))
    assert reasons(found(lie)) == [(Reason.MEMBER_KEY, OTHERS[0])]


def test_a_member_key_that_was_not_certified_is_refused():
    assert reasons(found(readys=with_ready(OTHERS[0], agreement=b""))) == [(Reason.MEMBER_KEY, OTHERS[0])]


def test_a_ready_for_another_query_is_refused():
    readys = with_ready(OTHERS[0], statement=ready(OTHERS[0], query=digest("another")))
    assert reasons(found(readys=readys)) == [(Reason.MEMBER_NOT_READY, OTHERS[0])]


@pytest.mark.parametrize("rounds", [(0, 1), (1, 1)])
def test_a_ready_for_other_rounds_is_refused(rounds):
    readys = with_ready(OTHERS[0], statement=ready(OTHERS[0], first_round=rounds[0], last_round=rounds[1]))
    assert reasons(found(readys=readys)) == [(Reason.MEMBER_NOT_READY, OTHERS[0])]


def test_a_hospital_that_is_no_peer_does_not_count():
    assert reasons(found(peers=PEERS - {READYS[OTHERS[0]].identity})) == [(Reason.NOT_A_PEER, OTHERS[0])]


def test_without_a_peer_list_nobody_counts_but_oneself():
    assert reasons(found(peers=frozenset())) == [(Reason.NOT_A_PEER, uri) for uri in OTHERS[:3]]


def test_an_unadmitted_hospital_is_no_peer_even_if_a_list_holds_nothing_of_it():
    got = reasons(found(readys=with_ready(OTHERS[0], identity=""), peers=PEERS | {""}))
    assert (Reason.NOT_ADMITTED, OTHERS[0]) in got


def test_a_new_identity_key_is_not_yet_a_peer():
    assert reasons(found(readys=with_ready(OTHERS[0], identity=fingerprint(bytes(32))))) == [(Reason.NOT_A_PEER, OTHERS[0])]


def test_every_broken_rule_is_named_at_once():
    lie = replace(BOUND, dimension=9, attempt=7, n=9)
    got = {each.reason for each in found(lie, now=NOT_AFTER, peers=frozenset(), readys={})}
    assert got == {
        Reason.BINDING_DIFFERS,
        Reason.ATTEMPTS_EXHAUSTED,
        Reason.WINDOW_CLOSED,
        Reason.READY_NOT_LOGGED,
        Reason.NOT_A_PEER,
    }


def test_a_refusal_is_plain_text_for_the_wire():
    (refusal,) = found(replace(BOUND, query=bytes(32)))
    assert refusal.to_json() == {
        "code": "round.binding_differs",
        "expected": BOUND.query.hex()[:16],
        "got": "0" * 16,
        "subject": "query",
    }


@given(st.permutations(HOSPITALS), st.integers(0, 5))
def test_no_counting_set_below_the_floor_or_beyond_the_peers_is_consented_to(order, size):
    chosen = sorted(order[:size])
    consents = not found(replace(BOUND, **counting(chosen)))
    assert consents == (chosen == list(HOSPITALS[:4]))


def test_assumed_colluders_are_a_quarter_and_at_least_one():
    assert [colluders(n) for n in (1, 4, 7, 8, 11, 12, 100)] == [1, 1, 1, 2, 2, 3, 25]


def test_the_examples_fit_their_query():
    assert query().audience == HOSPITALS
