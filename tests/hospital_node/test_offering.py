"""Offers at a real node: every rule that can refuse one, the charge before the Ready, and the account after a restore."""

import shutil
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from hospital_node.counting import InstalledPlans
from hospital_node.plans import TablePlan
from privacy.filter import encode_charge
from protocols import statements as st
from protocols.asked import Asked
from protocols.clock import stamp
from protocols.query import QuerySpec
from protocols.refusal import Reason
from protocols.secagg.sealing import SealingKey
from tests.hospital_node.support.nodes import VISITS_BY_DISTRICT, Asking, Node, Nodes
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


def _charge(envelope: bytes) -> st.Charge:
    ready = st.parse(envelope).statement
    assert isinstance(ready, st.Ready)
    return ready.charge


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


# -- the charge


def test_the_charge_is_in_the_journal_when_the_ready_is_there(world: Nodes) -> None:
    node, asking = world.first(), world.ask()
    charge = _charge(asking.offer(node).envelope)
    spent = node.answering.journal.spent()
    assert charge.blocks == ("2026-10", "2026-11")
    assert {Fraction(charge.price)} == {spent[("surveillance", block)].single for block in charge.blocks}
    assert spent[("surveillance", "2026-10")].doubled == Fraction(charge.price_two) > Fraction(charge.price)


def test_an_offer_made_again_gets_the_same_bytes_and_costs_nothing(world: Nodes) -> None:
    node, asking = world.first(), world.ask()
    first = asking.offer(node)
    spent = node.answering.journal.spent()
    node.restart()
    assert asking.offer(node).envelope == first.envelope
    assert node.answering.journal.spent() == spent


def test_an_offer_after_its_window_is_refused(world: Nodes) -> None:
    node, asking = world.first(), world.ask()
    asking.log_ready(node.uri, asking.offer(node).envelope)
    world.city.now += 601
    asking.proof = world.city.prove(asking.entry)
    assert asking.reasons(node) == [Reason.WINDOW_CLOSED]


def test_every_month_past_its_limit_is_named_and_a_refusal_spends_nothing(world: Nodes) -> None:
    node = world.first()
    dear = {"variances": ("100.0000",)}
    for _ in range(30):
        asking = world.ask(entry_fields=dear)
        reply = asking.offer(node)
        if not reply.is_ready:
            break
        asking.log_ready(node.uri, reply.envelope)
    spent = node.answering.journal.spent()
    assert [each.subject for each in reply.refusals] == ["2026-10", "2026-11"]
    assert {each.reason for each in reply.refusals} == {Reason.BUDGET_EXHAUSTED}
    assert spent[("surveillance", "2026-10")].single <= node.policy().budget.limit("surveillance")
    assert world.ask(entry_fields={"variances": ("40000.0000",)}).offer(node).is_ready, "a cheaper question still passes"
    assert world.city.findings() == []


def test_a_question_dearer_than_its_programme_allows_is_refused_and_one_at_the_cap_is_answered(world: Nodes) -> None:
    node = world.first()
    price = Fraction(_charge(world.ask().offer(node).envelope).price)
    for cap, subjects in ((price - Fraction(1, 10**9), ["programme"]), (price, [])):
        world.city.programme = world.city.approved_programme(max_price=encode_charge(cap))
        found = world.ask().offer(node).refusals
        assert [each.subject for each in found] == subjects
        assert {each.reason for each in found} <= {Reason.BUDGET_EXHAUSTED}


def test_a_hospital_whose_limits_are_not_in_the_ledger_has_no_budget(world: Nodes) -> None:
    node = world.first()
    stated = node.policy().statement(ORIGIN, node.uri, world.city.now).model_copy(update={"limits": {}})
    world.city.log_entry(world.city.sign(stated, world.city.hospitals[node.uri].identity))
    assert set(world.ask().reasons(node)) == {Reason.BUDGET_EXHAUSTED}


def test_readys_on_their_way_continue_each_other_and_the_ledger_takes_all(world: Nodes) -> None:
    node, askings = world.first(), [world.ask() for _ in range(3)]
    envelopes = [asking.offer(node).envelope for asking in askings]
    for envelope in envelopes:
        world.city.log_entry(envelope)
    assert [_charge(each).totals for each in envelopes] == sorted(_charge(each).totals for each in envelopes)
    assert world.city.findings() == []


def test_a_ready_that_never_arrived_is_void_after_its_window_and_its_charge_is_not_given_back(world: Nodes) -> None:
    node = world.first()
    lost = world.ask().offer(node)
    world.city.now += 700
    asking = world.ask()
    reply = asking.offer(node)
    asking.log_ready(node.uri, reply.envelope)
    assert world.city.findings() == []
    price = Fraction(_charge(lost.envelope).price)
    assert node.answering.journal.spent()[("surveillance", "2026-10")].single == 2 * price


def test_a_ready_whose_question_ended_without_it_is_void_at_once_and_the_next_one_is_taken(world: Nodes) -> None:
    node, asking = world.first(), world.ask()
    lost = asking.offer(node)
    ended = st.Release(
        **world.city.head("kapok://coordinator/gz"),
        query=asking.id.hex(),
        round=0,
        attempt=0,
        status="cancelled",
        binding=None,
        values=None,
        answered=(),
        refused=(),
        away=tuple(sorted(world.city.hospitals)),
        left_out=(),
    )
    world.city.log_entry(world.city.sign(ended, world.city.coordinator))
    following = world.ask()
    reply = following.offer(node)
    following.log_ready(node.uri, reply.envelope)
    assert world.city.findings() == []
    node.bring()
    assert node.answering.unlogged() == []
    assert node.answering.journal.spent()[("surveillance", "2026-10")].single == 2 * Fraction(_charge(lost.envelope).price)


# -- restore


def _restored(world: Nodes, node: Node, asked: Asking) -> None:
    """The node's journal as it was before `asked`, at a later moment."""
    node.stop()
    shutil.copy(node.home / "journal.sqlite", node.home / "old.sqlite")
    node.start()
    asked.log_ready(node.uri, asked.offer(node).envelope)
    node.stop()
    for name in ("journal.sqlite", "journal.sqlite-wal", "journal.sqlite-shm"):
        (node.home / name).unlink(missing_ok=True)
    shutil.copy(node.home / "old.sqlite", node.home / "journal.sqlite")
    node.start()


def test_a_restored_journal_refuses_everything_until_it_adopts_the_ledger_s_account(world: Nodes) -> None:
    node, before = world.first(), world.ask()
    _restored(world, node, before)
    assert set(world.ask().reasons(node)) == {Reason.BEHIND_LEDGER}
    assert set(before.reasons(node)) == {Reason.BEHIND_LEDGER}
    node.answering.journal.set_note("adopt", stamp(world.city.now))
    asking = world.ask()
    reply = asking.offer(node)
    assert reply.is_ready
    assert Fraction(_charge(reply.envelope).totals[0]) == 2 * Fraction(_charge(reply.envelope).price)
    asking.log_ready(node.uri, reply.envelope)
    assert world.city.findings() == []


def test_after_adopting_a_question_that_has_a_ready_of_ours_is_still_refused(world: Nodes) -> None:
    node, before = world.first(), world.ask()
    _restored(world, node, before)
    node.answering.journal.set_note("adopt", "now")
    assert world.ask().offer(node).is_ready
    assert before.reasons(node) == [Reason.BEHIND_LEDGER]


def test_refusals_do_not_depend_on_records(world: Nodes) -> None:
    """The same Offers at two hospitals with other records lead to the same reasons."""
    one, two = list(world.nodes.values())[:2]
    for changes in ({"floor": 3}, {"variances": ("1.0000",)}, {"rounds": 2}):
        asking = world.ask(entry_fields=changes)
        assert asking.reasons(one) == asking.reasons(two)


def test_questions_of_other_tables_are_priced_by_their_own_blocks(world: Nodes) -> None:
    spec = {"table": "patients", "measures": [{"kind": "count_distinct_person"}], "keys": [{"key": "sex"}]}
    reply = world.ask(spec).offer(world.first())
    assert {each.reason for each in reply.refusals} == {Reason.NOT_APPROVED}, "the programme covers visits and diagnoses"
    assert VISITS_BY_DISTRICT["table"] == "visits"


# -- between the Ready and the member set


def _revoked(asking: Asking, uri: str) -> None:
    asking.world.city.revoke_key(uri, asking.world.city.hospitals[uri].identity.public)


def _readmitted(asking: Asking, uri: str) -> None:
    asking.world.city.log_entry(asking.world.city.admission(uri, key("a second key")))


@pytest.mark.parametrize("change", [_revoked, _readmitted])
def test_a_hospital_whose_key_ended_between_ready_and_member_set_is_refused_by_the_others_and_the_opener(
    world: Nodes, change: Callable[[Asking, str], None]
) -> None:
    asking, node, other = world.ask(), world.first(), max(world.nodes)
    asking.all_ready()
    binding = asking.binding()
    request, _ = asking.request(binding)
    change(asking, other)
    node.bring()
    world.city.bring(world.opener)
    again = asking.contribute(node, asking.binding(attempt=2))
    assert isinstance(again, list)
    assert {(each.reason, each.subject) for each in again} >= {(Reason.NOT_ADMITTED, other), (Reason.NOT_A_PEER, other)}
    refused = world.opener.open(request, world.city.now).refusals
    assert (Reason.NOT_ADMITTED, other) in {(each.reason, each.subject) for each in refused}
