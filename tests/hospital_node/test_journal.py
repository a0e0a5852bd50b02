"""The journal: what a killed process leaves, what a backup does not hold, and how old keys go."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from threading import Event

import pytest

from hospital_node.errors import JournalFailed
from hospital_node.journal import Journal, StoredContribution, StoredQuestion, StoredReady
from privacy.filter import Spent
from tests.support.small_disk import filled, small_disk

KEY = ("surveillance", "2026-11")
SPENT = {KEY: Spent(Fraction(1, 10), Fraction(4, 10))}
QUERY = "ab" * 32
READY = StoredQuestion(QUERY, 1, "ready", "0.100000000", ())


def ready(sequence: int = 1, not_after: int = 1000, month: str = "2026-11") -> StoredReady:
    return StoredReady(QUERY, 0, 0, bytes(32), sequence, not_after, month, "g00000001", b"envelope")


def made(masked: bytes = b"masked") -> StoredContribution:
    return StoredContribution(QUERY, 0, 1, bytes(32), b"sealed", b"receipt", b"", masked)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "journal.sqlite")
    yield opened
    opened.close()


STEPS = {
    "before the charge": "",
    "after the charge": "journal.charge(ready(), SPENT, READY)",
    "after accepting": "journal.charge(ready(), SPENT, READY); journal.accept(QUERY, 0, 1, bytes(32))",
    "after storing": "journal.charge(ready(), SPENT, READY); journal.accept(QUERY, 0, 1, bytes(32)); journal.store(made())",
}


def _killed_after(step: str, path: Path) -> None:
    """A process that runs the step, says so, and is killed without a chance to clean up."""
    program = (
        "import sys, signal\nfrom pathlib import Path\nfrom tests.hospital_node.test_journal import *\n"
        f"journal = Journal(Path(sys.argv[1]))\n{step}\nprint('done', flush=True)\nsignal.pause()\n"
    )
    root = Path(__file__).parents[2]
    child = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, cwd=root)
    assert child.stdout is not None
    assert child.stdout.readline() == b"done\n"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()


@pytest.mark.parametrize("name", STEPS)
def test_what_was_done_before_a_kill_is_there_and_nothing_else(name: str, tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    _killed_after(STEPS[name], path)
    journal = Journal(path)
    is_charged, is_accepted, is_stored = (name in each for each in (list(STEPS)[1:], list(STEPS)[2:], list(STEPS)[3:]))
    assert journal.spent() == (SPENT if is_charged else {})
    assert (journal.ready(QUERY, 0) is not None) == is_charged
    assert journal.accepted(QUERY, 0) == ({1: bytes(32)} if is_accepted else {})
    assert (journal.contribution(QUERY, 0, 1) == made()) == is_stored
    journal.close()


def test_the_disk_is_flushed_once_for_an_accepted_binding_and_its_vector(journal: Journal) -> None:
    """And before the charge, always. What SQLite flushes is told by the setting that each transaction begins under."""
    told: list[str] = []
    journal._run(lambda: journal._database.set_trace_callback(told.append))
    journal.charge(ready(), SPENT, READY)
    journal.accept(QUERY, 0, 1, bytes(32))
    assert journal.accepted(QUERY, 0) == {1: bytes(32)}
    journal.store(made())
    settings = [each.removeprefix("PRAGMA synchronous=") for each in told if each.startswith("PRAGMA synchronous")]
    assert settings == ["FULL", "NORMAL", "FULL"]


@pytest.mark.parametrize("is_older", [False, True], ids=["new", "made before there were indexes"])
def test_readys_are_looked_up_by_order_and_window_without_reading_them_all(tmp_path: Path, is_older: bool) -> None:
    path = tmp_path / "journal.sqlite"
    Journal(path).close()
    if is_older:
        with closing(sqlite3.connect(path)) as before:
            before.executescript("DROP INDEX ready_sequence; DROP INDEX ready_window;")
    asked = list[str]()
    with closing(Journal(path)) as journal, closing(sqlite3.connect(path)) as database:
        journal._reader.set_trace_callback(asked.append)
        journal.ready(QUERY, 0)
        journal.last_sequence()
        journal.readys_until(1000, 5)
        journal.open_queries(1000)
        journal.destroy_agreements(1000, "2026-11")
        journal.forget_closed(1000)
        journal._reader.set_trace_callback(None)
        plans = [str(database.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall()) for sql in asked if "ready" in sql]
    assert len(plans) == 6
    assert not [each for each in plans if "SCAN ready" in each], plans


def test_an_older_journal_on_a_full_disk_opens_without_its_indexes(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "1m") as place:
        path = place / "journal.sqlite"
        with closing(Journal(path)) as journal:
            journal.charge(ready(), SPENT, READY)
        with closing(sqlite3.connect(path)) as before:
            before.executescript("DROP INDEX ready_sequence; DROP INDEX ready_window;")
        with closing(sqlite3.connect(path)) as reader:  # keeps the shared memory of the log, which a full disk could not give
            reader.execute("SELECT count(*) FROM ready").fetchone()
            with filled(place, place), closing(Journal(path)) as journal:
                assert journal.last_sequence() == 1
            names = {row[0] for row in reader.execute("SELECT name FROM sqlite_master WHERE name LIKE 'ready_%'")}
        assert not names


def test_a_charge_its_ready_and_its_record_are_one_transaction(journal: Journal) -> None:
    journal.charge(ready(), SPENT, READY)
    assert journal.questions() == [READY]
    with pytest.raises(JournalFailed, match="UNIQUE"):
        journal.charge(ready(sequence=2), {KEY: Spent(Fraction(9, 10), Fraction(9, 10))}, READY)
    assert journal.spent() == SPENT


def test_an_attempt_is_accepted_once(journal: Journal) -> None:
    journal.accept(QUERY, 0, 1, bytes(32))
    with pytest.raises(JournalFailed, match="UNIQUE"):
        journal.accept(QUERY, 0, 1, b"1" * 32)


def test_entries_come_back_in_order_without_a_gap_and_each_once(journal: Journal) -> None:
    journal.add_entries(0, [b"a", b"b"])
    journal.add_entries(2, [b"c"])
    for place in (2, 4):
        with pytest.raises(JournalFailed, match="expected entries from 3"):
            journal.add_entries(place, [b"d"])
    assert journal.entries() == [b"a", b"b", b"c"]
    assert journal.entries(1) == [b"b", b"c"]


def _on_the_disk(journal: Journal) -> list[bytes]:
    with closing(sqlite3.connect(journal.path)) as database:
        return [row[0] for row in database.execute("SELECT body FROM entry ORDER BY place")]


def test_followed_entries_are_on_the_disk_with_the_step_that_was_decided_over_them(journal: Journal) -> None:
    journal.add_entries(0, [b"a", b"b"])
    assert _on_the_disk(journal) == []
    journal.charge(ready(), SPENT, READY)
    assert _on_the_disk(journal) == [b"a", b"b"]
    journal.add_entries(2, [b"c"])
    journal.flush()
    assert _on_the_disk(journal) == [b"a", b"b", b"c"]


def test_a_step_that_fails_leaves_the_followed_entries_for_the_next_one(journal: Journal) -> None:
    journal.charge(ready(), SPENT, READY)
    journal.add_entries(0, [b"a"])
    with pytest.raises(JournalFailed, match="UNIQUE"):
        journal.charge(ready(), SPENT, READY)
    assert _on_the_disk(journal) == []
    journal.accept(QUERY, 0, 1, bytes(32))
    assert _on_the_disk(journal) == [b"a"]


def test_a_commit_that_was_done_and_reported_failed_is_no_obstacle_to_the_next_step(journal: Journal) -> None:
    journal.add_entries(0, [b"a"])
    with closing(sqlite3.connect(journal.path)) as other:  # the state such a commit leaves
        other.execute("INSERT INTO entry VALUES (0, ?)", (b"a",))
        other.commit()
    journal.add_entries(1, [b"b"])
    journal.charge(ready(), SPENT, READY)
    assert journal.entries() == [b"a", b"b"]


def test_nothing_is_decided_over_another_history_than_the_one_on_the_disk(journal: Journal) -> None:
    with closing(sqlite3.connect(journal.path)) as other:
        other.execute("INSERT INTO entry VALUES (0, ?)", (b"a",))
        other.commit()
    journal.add_entries(0, [b"b"])
    with pytest.raises(JournalFailed, match="NOT NULL"):
        journal.charge(ready(), SPENT, READY)
    assert journal.ready(QUERY, 0) is None
    assert _on_the_disk(journal) == [b"a"]
    journal._followed.clear()  # else the fixture's close would try once more


def test_an_agreement_key_goes_with_its_last_window_and_leaves_no_byte_behind(journal: Journal) -> None:
    seed = os.urandom(32)
    assert journal.agreement_seed("2026-11", seed) == seed
    assert journal.agreement_seed("2026-11", os.urandom(32)) == seed, "there is one key a month"
    journal.charge(ready(not_after=1000), SPENT, READY)
    assert journal.destroy_agreements(1000, "2026-12") == []
    assert journal.destroy_agreements(1001, "2026-11") == [], "the month is not over"
    assert journal.destroy_agreements(1001, "2026-12") == ["2026-11"]
    assert journal.agreement_seed("2026-11") is None
    for path in journal.path.parent.glob("journal.sqlite*"):
        assert seed not in path.read_bytes()


def _holds(journal: Journal, seed: bytes) -> bool:
    return any(seed in path.read_bytes() for path in journal.path.parent.glob("journal.sqlite*"))


def test_a_seed_that_a_strange_reader_kept_in_the_log_is_gone_once_it_has_left(journal: Journal) -> None:
    journal.agreement_seed("2026-11", seed := os.urandom(32))
    with closing(sqlite3.connect(journal.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM agreement").fetchall()
        assert journal.destroy_agreements(1001, "2026-12") == ["2026-11"]
        assert _holds(journal, seed)
        assert journal.destroy_agreements(1001, "2026-12") == []
        assert _holds(journal, seed)
    assert journal.destroy_agreements(1001, "2026-12") == []
    assert not _holds(journal, seed)


def _descriptors(path: Path) -> int:
    return sum(
        os.readlink(f"/proc/self/fd/{each}").startswith(str(path)) for each in os.listdir("/proc/self/fd") if _is_there(each)
    )


def _is_there(descriptor: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{descriptor}")


def test_a_journal_that_cannot_be_opened_twice_is_named_and_leaves_nothing_open(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    Journal(path).close()
    with closing(sqlite3.connect(path)) as other:
        other.execute("DROP TABLE entry")
        other.commit()
    with pytest.raises(JournalFailed, match="no such table"):
        Journal(path)
    assert _descriptors(path) == 0
    path.write_bytes(b"no database")
    with pytest.raises(JournalFailed, match="not a database"):
        Journal(path)
    assert _descriptors(path) == 0


def test_a_journal_whose_last_entries_cannot_be_written_says_so_and_lets_the_file_go(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    with closing(sqlite3.connect(journal.path)) as other:
        other.execute("INSERT INTO entry VALUES (0, ?)", (b"a",))
        other.commit()
    journal.add_entries(0, [b"another history"])
    with pytest.raises(JournalFailed, match="NOT NULL"):
        journal.close()
    assert _descriptors(journal.path) == 0
    Journal(journal.path).close()


def test_a_backup_holds_no_agreement_key_no_vector_and_only_closed_readys(journal: Journal, tmp_path: Path) -> None:
    seed = os.urandom(32)
    journal.agreement_seed("2026-11", seed)
    journal.charge(ready(), SPENT, READY)
    journal.store(made(masked=b"masked vector bytes"))
    journal.backup(tmp_path / "backup.sqlite")
    raw = (tmp_path / "backup.sqlite").read_bytes()
    assert seed not in raw
    assert b"masked vector bytes" not in raw
    copy = Journal(tmp_path / "backup.sqlite")
    kept = copy.ready(QUERY, 0)
    assert kept is not None
    assert kept.is_closed
    assert copy.spent() == SPENT
    copy.close()
    with pytest.raises(FileExistsError):
        journal.backup(tmp_path / "backup.sqlite")


def test_the_file_is_for_its_owner_only(journal: Journal) -> None:
    assert journal.path.stat().st_mode & 0o077 == 0


def test_a_ready_is_not_written_over_by_a_later_refusal(journal: Journal) -> None:
    for outcome in ("refused", "ready", "refused"):
        journal.record_question(StoredQuestion(QUERY, 1, outcome, "", ()))
    assert [each.outcome for each in journal.questions()] == ["ready"]


def test_a_pause_and_its_incident_are_one_transaction(journal: Journal) -> None:
    journal.queue(b"i" * 32, b"incident", pause="node.count_failed")
    assert journal.outbox() == {b"i" * 32: b"incident"}
    assert journal.note("paused") == "node.count_failed"
    journal.sent([b"i" * 32])
    assert journal.outbox() == {}


def test_a_journal_of_another_version_is_not_opened(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "journal.sqlite") as database:
        database.execute("PRAGMA user_version=7")
    with pytest.raises(JournalFailed, match="version 7"):
        Journal(tmp_path / "journal.sqlite")


def test_the_larger_of_several_sequences_counts_also_after_adopting(journal: Journal) -> None:
    journal.charge(ready(sequence=3), SPENT, READY)
    journal.set_note("adopt", "now")
    journal.adopt({KEY: Spent(Fraction(2, 10), Fraction(8, 10))}, 9)
    assert (journal.last_sequence(), journal.note("adopt")) == (9, None)
    assert journal.spent()[KEY].single == Fraction(2, 10)


def test_the_bounding_key_is_made_once_a_year_and_stays_through_a_restart(journal: Journal, tmp_path: Path) -> None:
    first, later = b"a" * 32, b"b" * 32
    assert journal.bounding_key("2026", first) == first
    assert journal.bounding_key("2026", later) == first, "another would keep other cells of the same patient"
    assert journal.bounding_key("2027", later) == later
    journal.close()
    with closing(Journal(tmp_path / "journal.sqlite")) as again:
        assert again.bounding_key("2026", later) == first


def test_threads_write_one_after_the_other(journal: Journal) -> None:
    is_inside, ended = Event(), list[str]()

    def first() -> None:
        journal._write(lambda _: (is_inside.set(), time.sleep(0.1), ended.append("first")))

    with ThreadPoolExecutor(1) as threads:
        writing = threads.submit(first)
        assert is_inside.wait(10)
        journal.set_note("second", "1")
        ended.append("second")
        writing.result()
    assert ended == ["first", "second"]
    assert journal.note("second") == "1"
