"""What a node charges for a Ready: once, before it leaves, within every limit; and its account after a restore."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import pytest

from privacy.filter import encode_charge
from protocols import statements as st
from protocols.clock import stamp
from protocols.query import QuerySpec
from protocols.refusal import Reason
from tests.hospital_node.support.nodes import VISITS_BY_DISTRICT, Asking, Node, Nodes, some_visits, write_records
from tests.support.city import ORIGIN, key


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Nodes]:
    made = Nodes(tmp_path, 4)
    yield made
    made.close()


def _charge(envelope: bytes) -> st.Charge | st.ChargeByBlock:
    ready = st.parse(envelope).statement
    assert isinstance(ready, st.Ready)
    return ready.charge


# -- the charge


def test_the_charge_is_in_the_journal_when_the_ready_is_there(world: Nodes) -> None:
    node, asking = world.first(), world.ask()
    charge = _charge(asking.offer(node).envelope)
    spent = node.answering.journal.spent()
    assert charge.blocks == ("2026-10", "2026-11")
    assert {Fraction(charge.price)} == {spent[("surveillance", block)].single for block in charge.blocks}
    assert spent[("surveillance", "2026-10")].doubled == Fraction(charge.price_two) > Fraction(charge.price)


def test_a_ready_names_the_agreement_key_that_the_journal_holds(world: Nodes) -> None:
    node = world.first()

    def named() -> st.Agreement:
        ready = st.parse(world.ask().offer(node).envelope).statement
        assert isinstance(ready, st.Ready)
        return ready.agreement

    first = named()
    assert named() == first, "one a month"
    with closing(sqlite3.connect(node.answering.journal.path)) as journal, journal:
        journal.execute("DELETE FROM agreement")
    assert named().key != first.key
    assert node.answering.journal.agreement_seed(first.month) is not None


WEIGHTED = VISITS_BY_DISTRICT | {"measures": [{"kind": "count", "hi": 2}], "cells_per_patient": 1, "weights": [8, 64]}


def test_a_weighted_question_charges_each_month_by_its_weight_and_the_ledger_takes_it(world: Nodes) -> None:
    node, fields = world.first(), {"spec": QuerySpec.from_fields(WEIGHTED).to_json(), "variances": ("9000000.0000",)}
    askings = [world.ask(entry_fields=fields) for _ in range(2)]
    charges = [_charge(asking.offer(node).envelope) for asking in askings]
    assert all(isinstance(each, st.ChargeByBlock) for each in charges)
    first, second = (each.lines() for each in charges)
    paid = [Fraction(line.price) for line in first]
    assert paid[1] / paid[0] == pytest.approx(64, rel=1e-3)
    assert first[1].price == charges[0].price
    spent = node.answering.journal.spent()
    for line, price in zip(second, paid, strict=True):
        assert spent["surveillance", line.block].single == Fraction(line.total) == 2 * price
        assert spent["surveillance", line.block].doubled == Fraction(line.total_two) == 2 * Fraction(line.price_two)
    for asking in askings:
        asking.log_ready(node.uri, asking.offer(node).envelope)
    assert world.city.findings() == []
    node.restart()
    assert world.ask(entry_fields=fields).offer(node).is_ready, "and goes on from there"
    assert node.answering.journal.spent()["surveillance", "2026-10"].single == 3 * paid[0]


def test_a_weighted_question_is_refused_for_the_months_alone_that_have_too_little_left(world: Nodes) -> None:
    node, fields = world.first(), {"spec": QuerySpec.from_fields(WEIGHTED).to_json(), "variances": ("500000.0000",)}
    for _ in range(30):
        asking = world.ask(entry_fields=fields)
        reply = asking.offer(node)
        if not reply.is_ready:
            break
        asking.log_ready(node.uri, reply.envelope)
    assert [each.subject for each in reply.refusals] == ["2026-11"], "October weighs less"
    turned = QuerySpec.from_fields(WEIGHTED | {"weights": [64, 8]}).to_json()
    assert world.ask(entry_fields=fields | {"spec": turned, "variances": ("3000000.0000",)}).offer(node).is_ready


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


def test_a_question_asked_again_is_a_new_release_and_pays_again_also_after_a_correction(world: Nodes) -> None:
    """A week told again because a record came late is told twice, and the account says so."""
    node = world.first()
    for times in (1, 2, 3):
        asking = world.ask()
        reply = asking.offer(node)
        asking.log_ready(node.uri, reply.envelope)
        price = Fraction(_charge(reply.envelope).price)
        assert node.answering.journal.spent()[("surveillance", "2026-10")].single == times * price
        write_records(node.home / "records", some_visits(times), f"g0000000{times + 1}")
    assert world.city.findings() == []


def test_the_tables_of_a_month_draw_on_one_account(world: Nodes) -> None:
    node, paid = world.first(), Fraction(0)
    for table in ("visits", "diagnoses"):
        reply = world.ask({**VISITS_BY_DISTRICT, "table": table}).offer(node)
        paid += Fraction(_charge(reply.envelope).price)
        assert set(node.answering.journal.spent()) == {("surveillance", month) for month in ("2026-10", "2026-11")}
        assert {each.single for each in node.answering.journal.spent().values()} == {paid}


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
