"""Every rule of the replay: an entry that breaks it is found, has no effect, and the honest ledger has no finding."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit_ledger.exact import FREE
from audit_ledger.findings import Rule
from audit_ledger.note import KeyType, VerifierKey
from audit_ledger.tree import leaf_hash
from audit_ledger.view import LedgerView
from protocols import statements as st
from protocols.canonical import b64
from protocols.clock import stamp
from protocols.contract import CONTRACT
from protocols.identity import SigningKey
from protocols.statements import Licence, Seen
from tests.support.charged import at, less
from tests.support.city import AUDITOR, BUREAU, COORDINATOR, DIMENSION, ORIGIN, City, Question, key

H1, H2 = "kapok://hospital/h01", "kapok://hospital/h02"
NEXT_VKEY = VerifierKey("next", KeyType.ED25519, key("next log").public).encode()


@pytest.fixture
def city(tmp_path: Path) -> City:
    return City(tmp_path)


def found(city: City, entry: bytes) -> set[Rule]:
    """What the entry breaks as the next one; it must leave no trace but its place."""
    view = city.view()
    before = (len(view.questions), len(view.authority.keys), len(view.approvals), view.is_held)
    rules = {each.rule for each in view.apply(entry)}
    if rules:
        assert (len(view.questions), len(view.authority.keys), len(view.approvals), view.is_held) == before
    return rules


def test_a_whole_life_breaks_no_rule(city: City) -> None:
    opener = city.opener()
    Question(city, opener).live()
    Question(city, opener, purpose="research").live()
    assert city.findings() == []


# -- statements about who may speak ------------------------------------------------------------------------------------


def add(city: City, made: SigningKey, *signers: SigningKey, **changes: Any) -> bytes:
    licence = Licence(legal_name="legal", number="number")
    statement = city.key_add("kapok://hospital/new", "identity", made, licence)
    return city.sign(statement.model_copy(update=changes), *signers)


def second_root(city: City) -> bytes:
    later = st.parse(city.entry0).statement.model_copy(update={"at": stamp(city.now + 1)})
    return city.sign(later, city.coordinator, city.root)


NEW = key("new")
KEYS: dict[str, tuple[Callable[[City], bytes], set[Rule]]] = {
    "an honest admission": (lambda c: add(c, NEW, NEW, c.approval), set()),
    "no possession": (lambda c: add(c, NEW, c.approval), {Rule.POSSESSION}),
    "no second signature": (lambda c: add(c, NEW, NEW), {Rule.SIGNATURE}),
    "an invented auditor's signature": (lambda c: add(c, NEW, NEW, key("invented")), {Rule.SIGNATURE}),
    "the root's instead of the approval key's": (lambda c: add(c, NEW, NEW, c.root), {Rule.SIGNATURE}),
    "a key that serves another": (lambda c: add(c, c.bureau, c.bureau, c.approval, key=b64(c.bureau.public)), {Rule.KEY_REUSED}),
    "no licence": (lambda c: add(c, NEW, NEW, c.approval, licence=None), {Rule.LICENCE}),
    "another's licence": (
        lambda c: add(c, NEW, NEW, c.approval, licence=Licence(legal_name="x", number=f"licence of {H1}")),
        {Rule.LICENCE},
    ),
    "another's name": (
        lambda c: add(c, NEW, NEW, c.approval, licence=Licence(legal_name=f"legal name of {H1}", number="x")),
        {Rule.LICENCE},
    ),
    "a second coordinator": (
        lambda c: add(c, NEW, NEW, c.approval, subject="kapok://coordinator/new"),
        {Rule.ROLE, Rule.SIGNATURE},
    ),
    "a second auditor": (
        lambda c: add(c, NEW, NEW, c.root, subject="kapok://auditor/new", use="approval"),
        {Rule.ROLE, Rule.SIGNATURE},
    ),
    "an auditor's key without its root": (lambda c: add(c, NEW, NEW, c.approval, subject=AUDITOR, use="service"), {Rule.SIGNATURE}),
    "a second entry 0": (lambda c: second_root(c), {Rule.ROOT}),
}


@pytest.mark.parametrize("what", KEYS)
def test_a_key_statement_counts_only_as_the_authority_says(city: City, what: str) -> None:
    make, expected = KEYS[what]
    assert found(city, make(city)) == expected


def test_a_key_is_revoked_by_its_subject_or_the_auditor_and_by_nobody_else(city: City) -> None:
    public = b64(city.hospitals[H1].identity.public)
    statement = st.KeyRevoke(**city.head(H1), subject=H1, key=public, reason="lost")
    other = st.KeyRevoke(**city.head(H2), subject=H1, key=public, reason="lost")
    assert found(city, city.sign(other, city.hospitals[H2].identity)) == {Rule.SIGNATURE}
    assert found(city, city.sign(statement, city.hospitals[H1].identity)) == set()
    unknown = statement.model_copy(update={"key": b64(bytes(32))})
    assert found(city, city.sign(unknown, city.hospitals[H1].identity)) == {Rule.KEY_UNKNOWN}
    city.revoke_key(H1, city.hospitals[H1].identity.public)
    city.now += 1
    again = statement.model_copy(update={"at": stamp(city.now)})
    assert found(city, city.sign(again, city.approval)) == {Rule.KEY_UNKNOWN}
    assert found(city, city.sign(city.policy_of(city.hospitals[H1]), city.hospitals[H1].identity)) == {Rule.SIGNATURE}


def pinned_rules(entry0: bytes) -> set[Rule]:
    return {each.rule for each in LedgerView(leaf_hash(entry0)).apply(entry0)}


def test_a_pinned_entry_0_still_names_its_parties_and_carries_both_signatures(city: City) -> None:
    root = st.parse(city.entry0).statement
    assert pinned_rules(city.entry0) == set()
    assert pinned_rules(city.sign(root, city.root)) == {Rule.SIGNATURE}
    assert pinned_rules(city.sign(root, city.coordinator)) == {Rule.SIGNATURE}
    swapped = root.model_copy(update={"auditor": BUREAU})
    assert pinned_rules(city.sign(swapped, city.coordinator, city.root)) == {Rule.ROLE}


# -- any statement -----------------------------------------------------------------------------------------------------


def test_bytes_that_are_no_statement_are_malformed(city: City) -> None:
    for raw in (b"", b"{}", b"a byte", city.entry0 + b" "):
        assert found(city, raw) == {Rule.MALFORMED}


def test_a_statement_is_for_this_log_once_by_its_author_in_its_role(city: City) -> None:
    hold = st.Hold(**city.head(AUDITOR), is_held=True, reason="r")
    assert found(city, city.sign(hold.model_copy(update={"log": "other.log"}), city.approval)) == {Rule.WRONG_LOG}
    assert found(city, city.sign(hold, city.service)) == {Rule.SIGNATURE}
    assert found(city, city.sign(hold.model_copy(update={"by": BUREAU}), city.bureau)) == {Rule.ROLE}
    city.log_entry(city.sign(hold, city.approval))
    assert found(city, city.sign(hold, city.approval, city.approval)) == {Rule.DUPLICATE}


def test_nothing_follows_the_close(city: City) -> None:
    city.log_entry(city.sign(st.Close(**city.head(COORDINATOR), next_origin="next", next_vkey=NEXT_VKEY), city.coordinator))
    assert found(city, city.sign(st.Hold(**city.head(AUDITOR), is_held=True, reason="r"), city.approval)) == {Rule.CLOSED}


# -- a question --------------------------------------------------------------------------------------------------------


def asked(city: City, **changes: Any) -> bytes:
    question = Question(city, city.opener("asker"))
    return city.sign(question.query.model_copy(update={"nonce": "0" * 64, **changes}), city.bureau)


QUERIES: dict[str, tuple[dict[str, Any], set[Rule]]] = {
    "an honest one": ({}, set()),
    "a hospital that is not admitted": ({"audience": ("kapok://hospital/h77",)}, {Rule.AUDIENCE}),
    "an audience out of order": ({"audience": (H2, H1)}, {Rule.AUDIENCE}),
    "no programme of this purpose": ({"purpose": "research"}, {Rule.PURPOSE}),
    "an unknown programme": ({"programme": "0" * 64}, {Rule.PURPOSE}),
    "valid for too long": ({"valid_until": "2027-11-23T08:00:00Z"}, {Rule.VALIDITY}),
    "valid until before it was asked": ({"valid_until": "2026-11-22T08:00:00Z"}, {Rule.VALIDITY}),
}


@pytest.mark.parametrize("what", QUERIES)
def test_a_query_keeps_its_rules(city: City, what: str) -> None:
    changes, expected = QUERIES[what]
    assert found(city, asked(city, **changes)) == expected


def test_what_names_something_unlogged_has_no_effect(city: City) -> None:
    head = {"target": "0" * 64}
    approval = st.Approval(**city.head(AUDITOR), until=stamp(city.now), **head)
    revocation = st.Revocation(**city.head(AUDITOR), reason="r", **head)
    incident = st.Incident(**city.head(H1), query="0" * 64, code="x")
    for statement, signer in ((approval, city.approval), (revocation, city.approval), (incident, city.hospitals[H1].identity)):
        assert found(city, city.sign(statement, signer)) == {Rule.TARGET_UNKNOWN}


def ready_with(question: Question, **changes: Any) -> bytes:
    """A Ready of h01 as it would be next, changed; nothing is logged."""
    city, hospital = question.city, question.city.hospitals[H1]
    honest = {
        "query": question.id.hex(),
        "first_round": 0,
        "last_round": 0,
        "sequence": 1,
        "not_after": stamp(question.not_after),
        "agreement": hospital.agreement.certificate(ORIGIN, H1, hospital.identity),
        "sealing": question.opener.sealing("2026-11", city.now),
        "charge": question.charge(H1),
        "seen": Seen(size=1, root=city.log._tree.root(1).hex()),
    }
    return city.sign(st.Ready(**city.head(H1), **{**honest, **changes}), hospital.identity)


def charge(question: Question, **changes: Any) -> dict[str, Any]:
    """An honest charge but for these fields."""
    return {"charge": question.charge(H1).model_copy(update=changes)}


def forged_agreement(question: Question) -> dict[str, Any]:
    hospital = question.city.hospitals[H1]
    return {"agreement": hospital.agreement.certificate(ORIGIN, H2, hospital.identity)}


def forged_sealing(question: Question) -> dict[str, Any]:
    return {"sealing": question.opener.keys.current("2026-11", question.city.now).certificate(ORIGIN, key("invented"))}


READYS: dict[str, tuple[Callable[[Question], dict[str, Any]], set[Rule]]] = {
    "an honest one": (lambda q: {}, set()),
    "another query": (lambda q: {"query": "0" * 64}, {Rule.TARGET_UNKNOWN}),
    "a gap in the sequence": (lambda q: {"sequence": 2}, {Rule.SEQUENCE}),
    "a total that skips the price": (lambda q: charge(q, totals=(FREE, q.charge(H1).price)), {Rule.TOTALS}),
    "a doubled total that skips": (lambda q: charge(q, totals_two=(FREE, q.charge(H1).price_two)), {Rule.TOTALS}),
    "a block without a total": (lambda q: charge(q, totals=q.charge(H1).totals[:1]), {Rule.TOTALS}),
    "no block at all": (lambda q: charge(q, blocks=(), totals=(), totals_two=()), {Rule.TOTALS, Rule.BLOCKS}),
    "the charge of another purpose": (lambda q: charge(q, purpose="research"), {Rule.PURPOSE}),
    "an agreement key certified for another": (forged_agreement, {Rule.AGREEMENT}),
    "a sealing key of nobody": (forged_sealing, {Rule.SEALING}),
    "another history": (lambda q: {"seen": Seen(size=1, root="0" * 64)}, {Rule.FORKED}),
}


@pytest.mark.parametrize("what", READYS)
def test_a_ready_keeps_its_rules(city: City, what: str) -> None:
    make, expected = READYS[what]
    question = Question(city, city.opener())
    assert found(city, ready_with(question, **make(question))) == expected


def test_a_ready_above_the_limit_of_the_policy_has_no_effect(city: City) -> None:
    question = Question(city, city.opener(), stated={"variances": ("5.5000",)})
    price = Decimal(question.charge(H1).price)
    assert CONTRACT.limit("surveillance") < price < 1, "what the programme allows"
    assert found(city, ready_with(question)) == {Rule.OVERSPENT}


@pytest.mark.parametrize("is_enough", [True, False])
def test_a_ready_above_the_price_of_its_programme_has_no_effect(city: City, is_enough: bool) -> None:
    price = Question(city, city.opener()).charge(H1).price
    city.programme = city.approved_programme(max_price=price if is_enough else less(price))
    assert found(city, ready_with(Question(city, city.opener("another")))) == (set() if is_enough else {Rule.OVERSPENT})


def test_a_programme_that_has_ended_allows_no_ready(city: City) -> None:
    city.programme = city.approved_programme(until=stamp(city.now + 1))
    question = Question(city, city.opener())
    assert found(city, ready_with(question)) == set()
    city.now += 1
    assert found(city, ready_with(question)) == {Rule.APPROVAL_MISSING}


def test_a_ready_without_approval_and_a_second_one_are_found(city: City) -> None:
    question = Question(city, city.opener())
    question.ready(H1)
    assert found(city, ready_of(question, H1)) == {Rule.DUPLICATE}
    city.revoke_approval(city.programme)
    assert Rule.APPROVAL_MISSING in {each.rule for each in city.view().apply(ready_of(question, H2))}


def ready_of(question: Question, uri: str) -> bytes:
    """An honest Ready that is not logged."""
    city, logged = question.city, question.city.log_entry
    city.log_entry = lambda entry: 0  # type: ignore[method-assign]
    try:
        return question.ready(uri)
    finally:
        city.log_entry = logged  # type: ignore[method-assign]


def test_a_first_price_of_its_own_does_not_void_the_others(city: City) -> None:
    question = Question(city, city.opener())
    honest = question.charge(H1)
    assert isinstance(honest, st.Charge)
    city.log_entry(ready_with(question, charge=at(honest, less(honest.price))))
    question.all_ready(sorted(city.hospitals)[1:])
    view = city.view()
    assert set(view.questions[question.id.hex()].readys) == set(city.hospitals) - {H1}
    assert H1 not in view.accounts, "what is void continues no account"
    assert {each.rule for each in city.findings()} == {Rule.PRICE}


def test_a_ready_after_the_opening_or_the_end_of_its_query_has_no_effect(city: City) -> None:
    question = Question(city, city.opener())
    question.all_ready(sorted(city.hospitals)[1:])
    request = question.request()
    total = question.open(request)
    assert found(city, ready_with(question)) == {Rule.SEQUENCE}
    question.finish(request, total)
    assert found(city, ready_with(question)) == {Rule.SEQUENCE}
    unopened = Question(city, question.opener)
    unopened.ready(H2)
    unopened.release(unopened.binding(), np.zeros(DIMENSION, np.int64), status="failed", values=None, binding=None)
    assert found(city, ready_with(unopened)) == {Rule.SEQUENCE}


@pytest.mark.parametrize("what", ["hold", "revocation", "ready"])
def test_a_twin_with_a_broken_signature_does_not_shut_out_the_real_statement(city: City, what: str) -> None:
    question = Question(city, city.opener())
    honest = {
        "hold": lambda: city.sign(st.Hold(**city.head(AUDITOR), is_held=True, reason="stop"), city.approval),
        "revocation": lambda: city.sign(st.Revocation(**city.head(AUDITOR), target=city.programme, reason="no"), city.approval),
        "ready": lambda: ready_with(question),
    }[what]()
    envelope = st.parse(honest).envelope
    twin = replace(envelope, signatures=(replace(envelope.signatures[0], value=bytes(64)),)).encode()
    assert st.parse(twin).id == st.parse(honest).id
    view = city.view()
    assert {each.rule for each in view.apply(twin)} == {Rule.SIGNATURE}
    assert view.apply(honest) == []
    has_effect = {
        "hold": view.is_held,
        "revocation": city.programme not in view.approvals,
        "ready": H1 in view.questions[question.id.hex()].readys,
    }
    assert has_effect[what]
    assert view.seen_ids[st.parse(honest).id] == view.size - 1
    assert {each.rule for each in view.apply(honest)} == {Rule.DUPLICATE}
