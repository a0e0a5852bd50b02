"""One attempt: the binding that real nodes accept, and contributions that do not fit their own receipts."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from coordinator.admission import admitted_of
from coordinator.attempt import Turn, bind, contribution_refusals
from coordinator.question import Ended, Question
from coordinator.register import Contributed
from hospital_node.journal import StoredContribution
from protocols.refusal import Reason
from protocols.statements import parse
from tests.hospital_node.support.nodes import Asking, Nodes


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    """Five real nodes whose Readys are in the ledger."""
    world = Nodes(tmp_path_factory.mktemp("attempt"), 5)
    made = world.ask()
    made.all_ready()
    yield made
    world.close()


def question_of(asking: Asking) -> Question:
    question = Question(admitted_of(asking.entry))
    question.readys = dict(asking.readys)
    return question


def turn(asking: Asking, attempt: int = 1) -> Turn:
    return Turn(0, attempt, asking.not_after(), b"")


@pytest.fixture(scope="module")
def made(asking: Asking) -> Contributed:
    uri = min(asking.readys)
    found = asking.contribute(asking.world.nodes[uri], asking.binding())
    assert isinstance(found, StoredContribution), found
    return Contributed(uri, found.sealed, found.receipt, found.round_signature, found.masked)


def test_the_proposed_binding_is_the_one_that_nodes_compute_for_themselves(asking: Asking) -> None:
    bound = bind(question_of(asking), asking.world.city.view(), turn(asking), set())
    assert bound.binding == asking.binding()
    assert (bound.uris, bound.left_out) == (tuple(sorted(asking.readys)), ())


def test_who_is_gone_is_in_no_later_attempt(asking: Asking) -> None:
    gone = max(asking.readys)
    bound = bind(question_of(asking), asking.world.city.view(), turn(asking, 2), {gone})
    assert gone not in bound.uris
    assert (bound.binding.n, bound.binding.attempt) == (4, 2)


def test_below_the_floor_no_binding_is_proposed(asking: Asking) -> None:
    gone = set(sorted(asking.readys)[:2])
    with pytest.raises(Ended) as caught:
        bind(question_of(asking), asking.world.city.view(), turn(asking), gone)
    assert (caught.value.state, [each.reason for each in caught.value.refusals]) == ("failed", [Reason.TOO_FEW_MEMBERS])


def test_a_ready_that_came_after_the_gathering_is_in_no_binding(asking: Asking) -> None:
    question = question_of(asking)
    late = max(asking.readys)
    del question.readys[late]
    assert late not in bind(question, asking.world.city.view(), turn(asking), set()).uris


def refused(asking: Asking, made: Contributed) -> list[Reason]:
    question = question_of(asking)
    found = contribution_refusals(made, asking.binding(), question.admitted.asked, asking.world.city.view())
    return [each.reason for each in found]


def test_a_contribution_that_fits_its_receipt_counts(asking: Asking, made: Contributed) -> None:
    assert refused(asking, made) == []


@pytest.mark.parametrize("spoilt", ["masked", "sealed", "receipt", "uri"])
def test_a_contribution_that_does_not_fit_its_receipt_does_not_count(asking: Asking, made: Contributed, spoilt: str) -> None:
    changes: dict[str, bytes | str] = {
        "masked": os.urandom(len(made.masked)),
        "sealed": made.sealed[:-1] + bytes([made.sealed[-1] ^ 1]),
        "receipt": b"{}",
        "uri": max(asking.readys),
    }
    assert refused(asking, replace(made, **{spoilt: changes[spoilt]})) == [Reason.RECEIPT_INVALID]  # type: ignore[arg-type]


def test_a_vector_of_another_length_does_not_count_even_if_its_member_signed_it(asking: Asking, made: Contributed) -> None:
    longer, receipt = made.masked + bytes(4), parse(made.receipt).statement
    signed = receipt.model_copy(update={"masked": hashlib.sha256(longer).hexdigest()}).envelope()
    entry = signed.signed([asking.world.city.hospitals[made.uri].identity]).encode()
    assert refused(asking, replace(made, masked=longer, receipt=entry)) == [Reason.RECEIPT_INVALID]


def test_a_receipt_for_another_attempt_does_not_count(asking: Asking, made: Contributed) -> None:
    question = question_of(asking)
    found = contribution_refusals(made, asking.binding(attempt=2), question.admitted.asked, asking.world.city.view())
    assert [each.reason for each in found] == [Reason.RECEIPT_INVALID]
