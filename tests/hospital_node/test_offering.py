"""Offers at a real node: every rule that can refuse one, alone and together, before anything is spent."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hospital_node.counting import InstalledPlans
from hospital_node.errors import WrongSize
from hospital_node.plans import TablePlan
from protocols import statements as st
from protocols.asked import Asked
from protocols.query import QuerySpec
from protocols.refusal import Reason
from protocols.secagg.sealing import SealingKey
from tests.hospital_node.support.nodes import VISITS_BY_DISTRICT, Nodes
from tests.support.city import ORIGIN, key
from tests.support.small_disk import filled, small_disk


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """For tests that leave no trace beyond a refusal."""
    made = Nodes(tmp_path_factory.mktemp("shared"), 4)
    yield made
    made.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Nodes]:
    made = Nodes(tmp_path, 4)
    yield made
    made.close()


# -- refusals of the question


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"purpose": "research", "programme": None}, Reason.NOT_APPROVED),
        ({"purpose": "outbreak", "programme": None}, Reason.NOT_LOGGED),
        ({"floor": 3}, Reason.FLOOR_TOO_LOW),
        ({"variances": ("400.0000", "400.0000")}, Reason.MALFORMED),
        ({"variances": ("0.0000",)}, Reason.NOISE_MALFORMED),
        ({"spec": {"table": "nowhere"}}, Reason.MALFORMED),
        ({"rounds": 2}, Reason.MALFORMED),
        ({"variances": ("1.0000",)}, Reason.BUDGET_EXHAUSTED),
    ],
)
def test_a_question_that_breaks_a_rule_is_refused_by_its_code(shared: Nodes, changes: dict[str, Any], reason: Reason) -> None:
    assert reason in shared.ask(entry_fields=changes).reasons(shared.first())


def test_a_hospital_outside_the_audience_refuses(shared: Nodes) -> None:
    others = tuple(sorted(shared.city.hospitals))[1:]
    assert Reason.NOT_IN_AUDIENCE in shared.ask(entry_fields={"audience": others}).reasons(shared.first())


def test_a_purpose_a_table_and_a_size_that_the_policy_does_not_list_are_refused_together(shared: Nodes) -> None:
    node = shared.first()
    before = (node.home / "policy.toml").read_text()
    text = before.replace('purposes = ["surveillance", "research", "outbreak"]', 'purposes = ["research"]')
    text = (
        text.replace('tables = ["visits", ', "tables = [")
        .replace("max_cells = 1000000", "max_cells = 3")
        .replace("floor = 4", "floor = 5")
    )
    try:
        (node.home / "policy.toml").write_text(text)
        node.answering.adopt_policy(node.policy(), None)
        reasons = shared.ask().reasons(node)
    finally:
        (node.home / "policy.toml").write_text(before)
        node.answering.adopt_policy(node.policy(), None)
    wanted = {Reason.PURPOSE_NOT_PERMITTED, Reason.TABLE_NOT_PERMITTED, Reason.TOO_MANY_CELLS, Reason.FLOOR_TOO_LOW}
    assert wanted <= set(reasons)


LOOKS_INTO_MEASUREMENTS = {
    **VISITS_BY_DISTRICT,
    "cohort": {"kind": "not", "of": {"kind": "has", "table": "measurements", "where": [], "days": [-3, 0]}},
    "bound": "query",
}


def test_a_window_over_a_table_needs_the_policy_and_the_programme_to_permit_that_table(shared: Nodes) -> None:
    node = shared.first()
    before = (node.home / "policy.toml").read_text()
    assert shared.ask(LOOKS_INTO_MEASUREMENTS).reasons(node) == [Reason.NOT_APPROVED], "the programme covers visits and diagnoses"
    try:
        (node.home / "policy.toml").write_text(before.replace(', "measurements"', ""))
        node.answering.adopt_policy(node.policy(), None)
        reasons = shared.ask(LOOKS_INTO_MEASUREMENTS).reasons(node)
    finally:
        (node.home / "policy.toml").write_text(before)
        node.answering.adopt_policy(node.policy(), None)
    assert set(reasons) == {Reason.NOT_APPROVED, Reason.TABLE_NOT_PERMITTED}


def test_an_unlogged_question_is_refused_even_with_a_proof_of_another(shared: Nodes) -> None:
    asking = shared.ask()
    reasons = asking.reasons(shared.first(), entry=shared.query())
    assert Reason.PROOF_INVALID in reasons
    assert Reason.NOT_LOGGED in reasons


def test_bytes_that_are_no_statement_are_refused_with_a_signed_refusal(shared: Nodes) -> None:
    node = shared.first()
    reply = shared.ask().offer(node, entry=b"drop table person")
    refused = st.parse(reply.envelope)
    assert Reason.MALFORMED in [each.reason for each in reply.refusals]
    assert isinstance(refused.statement, st.Refused)
    assert refused.envelope.is_signed_by(shared.city.hospitals[node.uri].identity.public)


def test_a_stale_ledger_is_refused(tmp_path: Path) -> None:
    world = Nodes(tmp_path, 4)
    asking, node = world.ask(), world.first()
    node.bring()
    sealing = world.sealing()
    world.city.now += 601
    found = node.answering.offer(asking.entry, asking.proof, sealing, 0, 0).refusals
    assert Reason.STALE in [each.reason for each in found]
    world.close()


def test_a_hold_of_the_auditor_is_refused(world: Nodes) -> None:
    world.city.hold(True)
    assert world.ask().reasons(world.first()) == [Reason.ON_HOLD]


def test_a_revoked_programme_is_refused(world: Nodes) -> None:
    world.city.revoke_approval(world.city.programme)
    assert world.ask().reasons(world.first()) == [Reason.NOT_APPROVED]


def test_a_sealing_key_that_the_auditor_did_not_sign_is_refused(shared: Nodes) -> None:
    false = SealingKey.generate("2026-11").certificate(ORIGIN, key("somebody")).model_dump_json().encode()
    assert shared.ask().reasons(shared.first(), sealing=false) == [Reason.SEALING_KEY]
    assert shared.ask().reasons(shared.first(), sealing=b"{") == [Reason.SEALING_KEY]


def test_a_sealing_key_of_another_month_is_refused(shared: Nodes) -> None:
    other = SealingKey.generate("2026-10").certificate(ORIGIN, shared.city.service).model_dump_json().encode()
    assert shared.ask().reasons(shared.first(), sealing=other) == [Reason.SEALING_KEY]


def test_rounds_that_the_question_does_not_have_are_refused(shared: Nodes) -> None:
    assert shared.ask().reasons(shared.first(), first_round=1, last_round=3) == [Reason.MALFORMED]


# -- refusals of the node


def test_a_paused_node_refuses_until_it_is_resumed(shared: Nodes) -> None:
    node = shared.first()
    node.answering.journal.set_note("paused", "by IT")
    asking = shared.ask()
    assert asking.reasons(node) == [Reason.PAUSED]
    node.answering.journal.set_note("paused", None)
    assert asking.offer(node).is_ready


def test_a_full_disk_refuses_before_anything_is_spent(shared: Nodes) -> None:
    node = shared.first()
    before, node.has_room = node.answering.journal.spent(), False
    reasons = shared.ask().reasons(node)
    node.has_room = True
    assert reasons == [Reason.DISK_FULL]
    assert node.answering.journal.spent() == before


def test_a_disk_that_is_full_at_the_charge_refuses_and_nothing_is_spent(world: Nodes, tmp_path: Path) -> None:
    node, asking = world.first(), world.ask()
    with small_disk(tmp_path / "small", "16m") as place:
        node.stop()
        node.home = Path(shutil.move(node.home, place / "home"))
        node.start()
        with filled(place, node.home):
            assert asking.reasons(node) == [Reason.DISK_FULL]
            assert node.answering.journal.spent() == {}
        assert asking.offer(node).is_ready
        once = node.answering.journal.spent()
        assert once
        node.restart()
        assert asking.offer(node).is_ready
        assert node.answering.journal.spent() == once
        node.stop()
        node.home = Path(shutil.move(node.home, tmp_path / "back"))
        node.start()


def test_a_node_without_records_refuses(world: Nodes) -> None:
    node = world.first()
    shutil.rmtree(node.home / "records")
    node.restart()
    assert world.ask().reasons(node) == [Reason.NO_RECORDS]


def test_a_plan_that_fails_on_empty_tables_refuses_and_names_no_reason_of_its_own(world: Nodes) -> None:
    class Failing(TablePlan):
        def probe(self, asked: Asked) -> None:
            raise RuntimeError("patient p17 is in the way")

    node = world.first()
    node.plans = InstalledPlans(node.home / "records", {QuerySpec: Failing()})
    node.restart()
    reply = world.ask().offer(node)
    assert [each.reason for each in reply.refusals] == [Reason.PLAN_FAILED]
    assert b"p17" not in reply.envelope


def test_a_model_of_another_size_is_told_without_a_word_of_the_study(world: Nodes) -> None:
    class Larger(TablePlan):
        def probe(self, asked: Asked) -> None:
            raise WrongSize("its model has 170017 weights")

    node = world.first()
    node.plans = InstalledPlans(node.home / "records", {QuerySpec: Larger()})
    node.restart()
    reply = world.ask().offer(node)
    [told] = reply.refusals
    assert (told.reason, told.got) == (Reason.PLAN_FAILED, "another number")
    assert "weights" in told.expected
    assert "170017" not in str(st.parse(reply.envelope).statement)
