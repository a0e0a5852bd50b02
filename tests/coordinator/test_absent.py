"""Why hospitals are absent: what each said itself, from the ledger and from the link, of those alone whom the release names so."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from coordinator.absent import why_absent
from coordinator.admission import admitted_of
from coordinator.question import Question
from protocols import statements as st
from protocols.refusal import Reason, Refusal
from tests.support.city import City
from tests.support.city import Question as Life

H1, H2, H3 = (f"kapok://hospital/h0{n}" for n in (1, 2, 3))
NO_DISK = st.Reasoned(code="node.disk", expected="2,000 MB free", got="less", subject="")
NEWER = st.Reasoned(code="node.newer_than_this", expected="", got="", subject="")
PAUSED = Refusal(Reason.PAUSED, subject=H2)


@pytest.fixture
def life(tmp_path: Path) -> Life:
    """A question that h01 refuses by a statement, that is opened over the others, and released without h02."""
    city = City(tmp_path)
    made = Life(city, city.opener())
    refused = st.Refused(**city.head(H1), query=made.id.hex(), reasons=(NO_DISK, NEWER))
    city.log_entry(city.sign(refused, city.hospitals[H1].identity))
    made.all_ready(sorted(set(city.hospitals) - {H1}))
    request = made.request()
    made.open(request)
    return made


def asked(life: Life) -> Question:
    return Question(admitted_of(life.entry))


def told(life: Life, question: Question, left_out: tuple[str, ...], peers: frozenset[str] | None = None) -> list[Refusal]:
    """`peers`: whom the left out have accepted; everybody, where it is not given."""
    view = life.city.view()
    facts = view.questions[life.id.hex()]
    assert facts.openings
    index, opened, opening = facts.openings[0]
    there = tuple(each for each in opened.members if each.uri not in left_out)
    counting = tuple(each for each in opened.counting if each not in left_out)
    facts.openings[0] = index, replace(opened, members=there, counting=counting), opening
    for uri in left_out:
        accepted = {each.identity for each in facts.readys.values()} if peers is None else peers
        view.policies[uri] = view.policies[uri].model_copy(update={"peers": tuple(sorted(accepted))})
    answered = tuple(each for each in sorted(life.readys) if each not in left_out)
    head = life.city.head("kapok://coordinator/gz")
    release = st.Release(
        **head,
        query=life.id.hex(),
        round=0,
        attempt=1,
        status="released",
        binding="00" * 32,
        values="00" * 32,
        answered=answered,
        refused=(H1,),
        away=(),
        left_out=left_out,
    )
    facts.release = (0, release)
    return why_absent(view, question)


SIGNED = [Refusal(Reason.DISK_FULL, "2,000 MB free", "less", H1), Refusal(Reason.INTERNAL, subject=H1)]


def test_a_signed_refusal_is_read_from_the_ledger_and_a_code_of_a_newer_node_is_an_internal_one(life: Life) -> None:
    assert told(life, asked(life), ()) == SIGNED


def test_a_refused_member_set_is_told_of_who_was_left_out_and_of_nobody_who_answered_after_all(life: Life) -> None:
    question = asked(life)
    question.balked = {(0, 1): {H2: [PAUSED], H3: [Refusal(Reason.BUSY, subject=H3)]}, (0, 2): {H2: [PAUSED]}}
    assert told(life, question, (H2,)) == [*SIGNED, PAUSED]


def test_what_the_register_held_is_told_again_once(life: Life) -> None:
    """A crash between the reasons and the answer: the process that goes on has them from the register."""
    question = asked(life)
    question.refusals = [*SIGNED, PAUSED]
    assert told(life, question, (H2,)) == [*SIGNED, PAUSED]


def test_who_had_not_accepted_those_that_were_counted_is_told_by_the_ledger_where_it_said_nothing_itself(life: Life) -> None:
    counted = set(life.readys) - {H2}
    lacking = Refusal(Reason.NOT_A_PEER, "all that were counted on its own peer list", f"{len(counted)} missing", H2)
    assert told(life, asked(life), (H2,), frozenset()) == [*SIGNED, lacking]
    assert told(life, asked(life), (H2,)) == SIGNED, "it only stayed away"
    question = asked(life)
    question.balked = {(0, 1): {H2: [PAUSED]}}
    assert told(life, question, (H2,), frozenset()) == [*SIGNED, PAUSED]


def test_who_was_of_the_opened_set_is_not_told_as_one_who_had_not_accepted_the_others(life: Life) -> None:
    view = life.city.view()
    facts = view.questions[life.id.hex()]
    assert H2 in {each.uri for each in facts.openings[0][1].members}
    view.policies[H2] = view.policies[H2].model_copy(update={"peers": ()})  # its list was emptied since
    facts.release = (0, st.parse(life.release(facts.openings[0][1], np.zeros(1, np.int64), left_out=(H2,))).statement)  # type: ignore[assignment]
    assert why_absent(view, asked(life)) == []


def test_a_key_that_is_no_longer_in_force_is_not_told_as_missing_from_a_list(life: Life) -> None:
    renewed = life.city.view().questions[life.id.hex()].readys[H3].identity
    old = frozenset(each.identity for each in life.city.view().questions[life.id.hex()].readys.values())
    assert [each.got for each in told(life, asked(life), (H2,), old - {renewed})[-1:]] == ["1 missing"]
    life.city.revoke_key(H3, life.city.hospitals[H3].identity.public)
    assert told(life, asked(life), (H2,), old - {renewed}) == SIGNED
