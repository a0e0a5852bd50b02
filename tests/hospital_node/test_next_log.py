"""A node goes on with the next period's log by itself: by the rules alone, with its account, and after a crash at any step."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from audit_ledger.before import PastLog, begun, finish, make_ready
from audit_ledger.errors import NotSuccessor, StaleCheckpoint
from audit_ledger.party.home import Home
from hospital_node.account import Standing
from hospital_node.answering import Answering
from hospital_node.config import Config
from hospital_node.journal import StoredQuestion, StoredReady
from hospital_node.ledger_at_hand import followed
from hospital_node.running import journal_of
from protocols import statements as st
from protocols.contract import CONTRACT
from tests.audit_ledger.test_periods import NEXT, Year, close_of
from tests.hospital_node.support.nodes import Node, Nodes
from tests.support.city import ORIGIN
from tests.support.killing import killed_at

DAY_S = 86_400


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """Has followed the log, and has a home as `run` reads it."""
    made, *others = Nodes(tmp_path).nodes.values()
    for each in others:
        each.stop()
    home = Home(made.home)
    home.write("trust.policy", made.city.trust.encode())
    home.write("config.toml", made.answering.config.text().encode())
    made.bring()
    yield made
    made.answering.counts.close()


def close(node: Node) -> None:
    """The node hears of it only after the end has grown old."""
    node.city.log_entry(close_of(node.city))
    start, entries, note = node.city.follow(node.answering.follower.size)
    node.city.now += DAY_S
    node.answering.follow(start, entries, note)


def begin(node: Node) -> Answering:
    """As `run` does after its link told it of a next log, and at every start."""
    home = Home(node.home)
    node.stop()
    finish(home)
    return Answering(Config.read(node.home), begun(home), journal_of(node.home), replace(node.answering.given))


def end(answering: Answering) -> None:
    answering.counts.close()
    answering.journal.close()


def promise(node: Node, sequence: int) -> None:
    """A Ready that never reached the ledger."""
    ready = StoredReady("a" * 64, 0, 0, b"i" * 32, sequence, node.city.now + DAY_S * 2, "2026-11", "g", b"{}")
    node.answering.journal.charge(ready, {}, StoredQuestion("a" * 64, node.city.now, "ready", "0", ()))
    node.answering.journal.queue(b"o" * 32, b"an unsent statement of the old log")


def test_a_node_moves_by_the_rules_and_is_told_nothing_by_hand(node: Node, tmp_path: Path) -> None:
    promise(node, 1)
    close(node)
    year = Year(node.city, tmp_path / "next")
    node.answering.make_next_ready(Home(node.home), year.entry0)
    assert Home(node.home).trust() == node.city.trust  # nothing has moved under a running node
    moved = begin(node)
    assert moved.config.origin == moved.follower.trust.policy.logs[0].key.origin == NEXT
    assert moved.follower.view.authority.hospitals() == sorted(node.city.hospitals)
    assert moved.follower.follow(*year.follow(), node.city.now) == []
    assert moved.journal.entries() == []
    assert moved.journal.outbox() == {}
    assert moved.unlogged() == []  # a Ready of the old log is void
    assert moved.journal.last_sequence() == 1
    standing = Standing.of(None, moved.journal.readys_until(node.city.now), {}, moved.journal.last_sequence())
    assert standing.next_sequence == 1  # and leaves no gap in the account
    assert {st.parse(each).statement.log for each in moved.due()} == {NEXT}
    end(moved)


def test_a_moved_node_restarts_and_goes_on_from_what_it_followed(node: Node, tmp_path: Path) -> None:
    close(node)
    year = Year(node.city, tmp_path / "next")
    node.answering.make_next_ready(Home(node.home), year.entry0)
    moved = begin(node)
    moved.follow(*year.follow())
    end(moved)
    again = Answering(Config.read(node.home), begun(Home(node.home)), journal_of(node.home), replace(node.answering.given))
    assert again.follower.size == 1
    assert again.follower.view.authority.hospitals() == sorted(node.city.hospitals)
    assert followed(Home(node.home), again.journal).size == 1
    end(again)


def test_a_crash_before_the_journal_has_moved_is_finished_by_the_next_start(node: Node, tmp_path: Path) -> None:
    close(node)
    node.answering.make_next_ready(Home(node.home), Year(node.city, tmp_path / "next").entry0)
    node.stop()
    finish(Home(node.home))  # and killed here: the journal holds the old log still
    journal = journal_of(node.home)
    assert journal.entries() == []
    journal.close()
    assert begun(Home(node.home)).size == 0


def test_a_log_that_breaks_a_rule_is_not_taken_and_nothing_is_made_ready(node: Node, tmp_path: Path) -> None:
    close(node)
    lying = Year(node.city, tmp_path / "next", {"coordinator": "kapok://coordinator/other"})
    with pytest.raises(NotSuccessor, match="expected kapok://coordinator/gz"):
        node.answering.make_next_ready(Home(node.home), lying.entry0)
    assert not (node.home / "next").exists()
    assert Config.read(node.home).origin == ORIGIN
    node.stop()


def test_only_the_end_of_a_closed_log_may_be_old(node: Node) -> None:
    node.city.hold(True)
    start, entries, note = node.city.follow(node.answering.follower.size)
    node.city.now += CONTRACT.freshness_s + CONTRACT.clock_tolerance_s + 1
    with pytest.raises(StaleCheckpoint):
        node.answering.follow(start, entries, note)
    node.stop()


def test_a_node_that_is_killed_anywhere_in_its_move_has_moved_or_moves_again(node: Node, tmp_path: Path) -> None:
    promise(node, 1)
    close(node)
    year = Year(node.city, tmp_path / "next")
    following = node.answering.follower.successor(year.entry0, node.city.now)
    old = node.answering.journal.entries(), year.end
    node.stop()

    def move(home: Home) -> None:
        make_ready(home, following.trust, old)
        finish(home)
        journal_of(home.path).close()

    step, is_over = 0, False
    while not is_over:
        home = Home(tmp_path / f"killed-{step}")
        shutil.copytree(node.home, home.path)
        is_over = not killed_at(step, partial(move, home))
        is_made_ready = finish(home) or home.has("before/trust.policy")  # what the next start does first
        if not is_made_ready:
            assert (home.trust(), Config.read(home.path).origin) == (node.city.trust, ORIGIN), f"step {step}"
            move(home)  # its link tells it again
        journal, past = journal_of(home.path), PastLog.read(home)
        assert past is not None, f"step {step}"
        assert (past.note, past.view.size) == (year.end, len(old[0]))
        assert begun(home).trust == following.trust
        assert Config.read(home.path).origin == NEXT
        assert (journal.entries(), journal.outbox(), journal.last_sequence()) == ([], {}, 1), f"step {step}"
        assert not home.has("next/trust.policy"), "nothing is left to be finished"
        journal.close()
        step += 1
    assert step > 20
