"""Purposes and their needs: several approvers, emergencies answered at once and reviewed afterwards, and who may say yes."""

from pathlib import Path

import pytest

from audit_ledger.bundle import verify_answer
from audit_ledger.findings import Rule
from audit_ledger.follower import Follower
from audit_ledger.gate import Gate
from protocols import statements as st
from protocols.answer import Proven
from protocols.canonical import b64
from protocols.clock import stamp
from protocols.contract import CONTRACT
from protocols.identity import SigningKey
from protocols.refusal import Reason
from tests.support.city import AUDITOR, BUREAU, EMERGENCY, City, Question, key

HOUR = 3600
SECOND, THIRD = key("approver two"), key("approver three")


@pytest.fixture
def city(tmp_path: Path) -> City:
    return City(tmp_path)


def rule(city: City, *, signer: SigningKey | None = None, **changes: object) -> bytes:
    fields = {"approvers": {"research": 2}, "outbreak_a_day": 2, "review_hours": 72, **changes}
    return city.sign(st.ApprovalRule.model_validate({**city.head(AUDITOR), **fields}), signer or city.root)


def approval(city: City, target: str, *signers: SigningKey) -> bytes:
    statement = st.Approval(**city.head(AUDITOR), target=target, until=stamp(city.now + 86_400))
    return city.sign(statement, *signers)


def with_approvers(city: City) -> None:
    for each in (SECOND, THIRD):
        city.log_entry(city.sign(city.key_add(AUDITOR, "approval", each), each, city.root))


def found(city: City, entry: bytes) -> set[Rule]:
    return {each.rule for each in city.view().apply(entry)}


def refused(city: City, question: Question) -> set[Reason]:
    """What a hospital's gate says to this query now."""
    follower = Follower(city.trust)
    follower.follow(*city.follow(0), city.now)
    proof = city.prove(question.entry)
    return {each.reason for each in Gate(follower, "kapok://hospital/h01").pass_query(question.entry, proof, city.now).refusals}


def review(city: City, target: str, *, signer: SigningKey | None = None, verdict: str = "in_order") -> bytes:
    statement = st.Review.model_validate({**city.head(AUDITOR), "target": target, "verdict": verdict, "note": "seen"})
    return city.sign(statement, signer or city.approval)


# -- two of three ------------------------------------------------------------------------------------------------------


def test_under_the_root_s_rule_research_takes_two_of_three_approvers(city: City) -> None:
    with_approvers(city)
    city.log_entry(rule(city))
    question = Question(city, city.opener(), purpose="research")
    target = question.id.hex()
    assert found(city, approval(city, target, city.approval)) == {Rule.APPROVERS}
    assert found(city, approval(city, target, city.approval, city.service)) == {Rule.APPROVERS}, "no approver"
    assert found(city, approval(city, target, city.approval, city.approval)) == {Rule.APPROVERS}, "one approver twice"
    assert found(city, approval(city, target, SECOND, THIRD)) == set()
    assert found(city, approval(city, city.programme, city.approval)) == set(), "the rule is for research"
    city.log_entry(approval(city, target, city.approval))
    assert refused(city, question) == {Reason.NOT_APPROVED}, "what breaks the rule approves nothing"
    city.now += 1
    city.log_entry(approval(city, target, city.approval, THIRD))
    assert refused(city, question) == set()


def test_a_bundle_under_the_rule_shows_both_approvers(city: City) -> None:
    with_approvers(city)
    city.log_entry(rule(city))
    question = Question(city, city.opener(), purpose="research")
    half = approval(city, question.id.hex(), city.approval)
    city.log_entry(half)
    city.now += 1
    city.log_entry(approval(city, question.id.hex(), city.approval, SECOND))
    question.all_ready()
    request = question.request()
    answer = question.answer(question.finish(request, question.open(request)))
    assert verify_answer(answer.model_dump_json().encode(), city.trust, city.now).problems == []
    approvals = answer.approvals
    stricter = answer.model_copy(update={"approvals": approvals[1:]})
    assert verify_answer(stricter.model_dump_json().encode(), city.trust, city.now).problems == [], "one would do without the rule"
    alone = Proven(entry=half.decode(), proof=city.prove(half).decode())
    lessened = answer.model_copy(update={"approvals": (approvals[0], alone)})
    (problem,) = verify_answer(lessened.model_dump_json().encode(), city.trust, city.now).problems
    assert problem.what == "signed by fewer than 2 approvers"


def test_only_the_root_states_the_rule(city: City) -> None:
    assert found(city, rule(city, signer=city.approval)) == {Rule.SIGNATURE}
    assert found(city, rule(city, signer=city.coordinator)) == {Rule.SIGNATURE}
    assert found(city, rule(city)) == set()


# -- who may say yes ---------------------------------------------------------------------------------------------------


def test_an_approval_by_someone_without_the_role_at_that_index_approves_nothing(city: City) -> None:
    question = Question(city, city.opener(), purpose="research")
    target = question.id.hex()
    later = SigningKey.generate()
    for signer in (city.service, city.root, city.coordinator, city.bureau, city.hospitals["kapok://hospital/h01"].identity, later):
        assert found(city, approval(city, target, signer)) == {Rule.SIGNATURE}
    own = st.Approval(**city.head(BUREAU), target=target, until=stamp(city.now + HOUR))
    assert found(city, city.sign(own, city.bureau)) == {Rule.ROLE}
    too_early = approval(city, target, later)
    city.log_entry(too_early)
    city.log_entry(city.sign(city.key_add(AUDITOR, "approval", later), later, city.root))
    assert refused(city, question) == {Reason.NOT_APPROVED}, "signed before its key was added"
    city.now += 1
    city.log_entry(approval(city, target, later))
    assert refused(city, question) == set()


def test_a_revoked_approval_key_says_nothing_after_its_revocation_and_what_it_said_before_stands(city: City) -> None:
    before, after = (Question(city, city.opener(name), purpose="research") for name in ("a", "b"))
    with_approvers(city)
    city.log_entry(approval(city, before.id.hex(), SECOND))
    city.revoke_key(AUDITOR, SECOND.public)
    assert found(city, approval(city, after.id.hex(), SECOND)) == {Rule.SIGNATURE}
    assert refused(city, before) == set()
    assert refused(city, after) == {Reason.NOT_APPROVED}
    city.revoke_approval(before.id.hex())
    assert refused(city, before) == {Reason.NOT_APPROVED}


# -- emergencies -------------------------------------------------------------------------------------------------------


def test_an_emergency_is_answered_at_once_and_asked_by_nobody_who_asks_routinely(city: City) -> None:
    question = Question(city, city.opener(), purpose="outbreak")
    assert refused(city, question) == set()
    question.live()
    assert city.findings() == []
    query = question.query
    routine = query.model_copy(update={"by": BUREAU, "nonce": "1" * 64})
    assert found(city, city.sign(routine, city.bureau)) == {Rule.BREAK_GLASS}
    research = query.model_copy(update={"purpose": "research", "nonce": "2" * 64})
    assert found(city, city.sign(research, key("emergency"))) == {Rule.BREAK_GLASS}


def test_an_overdue_review_refuses_further_emergencies_at_gate_and_opener_until_it_is_logged(city: City) -> None:
    opener = city.opener()
    first = Question(city, opener, purpose="outbreak")
    assert found(city, review(city, first.id.hex())) == set()
    city.log_entry(review(city, first.id.hex()))  # before the opening it closes nothing
    first.live()
    city.now += CONTRACT.review_hours * HOUR - 1
    second = Question(city, opener, purpose="outbreak")
    assert refused(city, second) == set()
    second.all_ready()
    city.now += 1
    assert refused(city, second) == {Reason.REVIEW_OVERDUE}
    city.bring(opener)
    reply = opener.open(second.request(), city.now)
    assert Reason.REVIEW_OVERDUE in {each.reason for each in reply.refusals}
    assert found(city, review(city, first.id.hex(), signer=city.service)) == {Rule.SIGNATURE}
    city.log_entry(review(city, first.id.hex(), verdict="not_in_order"))
    assert refused(city, second) == set(), "reviewed, whatever the verdict"
    second.open(second.request())
    assert city.findings() == []


def test_a_review_dated_before_the_emergency_was_opened_is_found(city: City) -> None:
    question = Question(city, city.opener(), purpose="outbreak")
    question.live()
    opened = city.view().emergencies[question.id.hex()]
    seen = st.parse(review(city, question.id.hex())).statement
    for at, expected in ((opened - 120, set()), (opened - 121, {Rule.BACKDATED})):
        assert found(city, city.sign(seen.model_copy(update={"at": stamp(at)}), city.approval)) == expected


def test_the_opener_caps_emergencies_a_day_also_those_whose_opening_is_on_its_way(city: City) -> None:
    city.log_entry(rule(city, outbreak_a_day=1))
    opener = city.opener()
    first, second = (Question(city, opener, purpose="outbreak") for _ in range(2))
    first.all_ready()
    second.all_ready()
    city.bring(opener)
    bound = opener.open(first.request(), city.now)
    assert (bound.refusals, bound.opening is not None) == ((), True)
    assert {each.reason for each in opener.open(second.request(), city.now).refusals} == {Reason.OUTBREAK_CAP}
    assert refused(city, second) == set(), "the ledger does not show it yet"
    city.log_entry(bound.opening or b"")
    assert refused(city, second) == {Reason.OUTBREAK_CAP}
    assert refused(city, first) == set()
    city.log_entry(review(city, first.id.hex()))
    city.now += 86_400 - 1
    third = Question(city, opener, purpose="outbreak")
    assert refused(city, third) == {Reason.OUTBREAK_CAP}
    city.now += 1
    assert refused(city, third) == set()


def test_a_monitor_reports_an_emergency_that_was_opened_above_the_cap(city: City) -> None:
    opener = city.opener()
    first, second = (Question(city, opener, purpose="outbreak") for _ in range(2))
    first.live()
    second.all_ready()
    city.bring(opener)
    opening = opener.open(second.request(), city.now).opening
    assert opening is not None
    assert found(city, opening) == set()
    city.log_entry(rule(city, outbreak_a_day=1))
    assert found(city, opening) == {Rule.OUTBREAK}


def test_an_asker_who_lost_the_right_to_break_the_glass_is_refused(city: City) -> None:
    question = Question(city, city.opener(), purpose="outbreak")
    other = key("emergency, new key")
    licence = st.Licence(legal_name=f"legal name of {EMERGENCY}", number=f"licence of {EMERGENCY}")
    add = st.KeyAdd(
        **city.head(EMERGENCY),
        action="add",
        subject=EMERGENCY,
        use="identity",
        key=b64(other.public),
        licence=licence,
        outbreak=False,
    )
    city.log_entry(city.sign(add, other, city.approval))
    assert refused(city, question) == {Reason.BREAK_GLASS}
