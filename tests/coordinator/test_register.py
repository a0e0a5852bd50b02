"""The register: what was written is there after `kill -9`, and writing it twice changes nothing."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event

import pytest
from typer.testing import CliRunner

from coordinator.main import app
from coordinator.register import Contributed, Register
from protocols.identity import SigningKey
from protocols.refusal import Reason, Refusal
from protocols.statements import Query

QUERY = bytes(32)
MADE = Contributed("kapok://hospital/h01", b"sealed", b"receipt", b"", b"masked")


@pytest.fixture
def register(tmp_path: Path) -> Iterator[Register]:
    made = Register(tmp_path / "register.sqlite")
    yield made
    made.close()


def test_what_returned_is_there_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "register.sqlite"
    script = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom coordinator.register import Register, Contributed\n"
        "r = Register(Path(sys.argv[1]))\nr.put_question(bytes(32), b'entry', 7)\nr.set_offer(bytes(32), b'proof', 600)\n"
        "r.set_attempt(bytes(32), 0, 1, b'u')\n"
        "r.put_contribution(bytes(32), 0, 1, Contributed('kapok://hospital/h01', b'sealed', b'receipt', b'', b'masked'), 7)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=False, cwd=os.getcwd())
    assert done.returncode == -signal.SIGKILL
    register = Register(path)
    row = register.question(QUERY)
    assert row is not None
    assert (row.entry, row.state, row.proof, row.not_after) == (b"entry", "submitted", b"proof", 600)
    assert register.last_attempt(QUERY, 0) == (1, b"u")
    assert register.contributions(QUERY, 0, 1) == [MADE]
    register.close()


def _how_written(register: Register, *steps: Callable[[], object]) -> list[str]:
    """Whether each of these steps waited for the disk (FULL)."""
    told = list[str]()
    register._run(lambda: register._db.set_trace_callback(told.append))
    for step in steps:
        step()
    assert register.question(QUERY) is not None  # read behind them all
    register._run(lambda: register._db.set_trace_callback(None))
    return [each.split()[-1] for each in told if "synchronous" in each]


def test_an_offer_comes_to_the_disk_with_the_state_behind_it(register: Register) -> None:
    register.put_question(QUERY, b"entry", 7)
    offered, running = partial(register.set_offer, QUERY, b"proof", 600), partial(register.note_state, QUERY, "running", 8)
    assert _how_written(register, offered, running) == ["NORMAL", "FULL"]


@pytest.mark.parametrize(("is_last", "how"), [(False, "NORMAL"), (True, "FULL")])
def test_the_last_round_of_a_training_is_flushed(register: Register, is_last: bool, how: str) -> None:
    register.put_question(QUERY, b"entry", 7)
    assert _how_written(register, partial(register.note_finished, QUERY, 1, b"vector", b"weights", is_last)) == [how]


def test_an_answer_is_on_the_disk_when_it_is_set(register: Register) -> None:
    register.put_question(QUERY, b"entry", 7)
    assert _how_written(register, partial(register.set_answer, QUERY, b"answer", "{}", 8)) == ["FULL"]


def test_the_same_question_and_contribution_again_change_nothing(register: Register) -> None:
    register.put_question(QUERY, b"entry", 1)
    register.set_state(QUERY, "running", 2)
    register.put_question(QUERY, b"entry", 3)
    assert [row.state for row in register.unfinished()] == ["running"]
    for made in (MADE, Contributed(MADE.uri, b"other", b"other", b"", b"other")):
        register.put_contribution(QUERY, 0, 1, made, 1)
    assert register.contributions(QUERY, 0, 1) == [MADE]


def test_a_finished_round_is_never_written_over(register: Register) -> None:
    register.note_finished(QUERY, 1, b"vector", b"weights", False)
    register.note_finished(QUERY, 1, b"another", b"others", True)
    assert register.finished_rounds(QUERY) == [(1, b"vector", b"weights")]


def test_what_cannot_be_written_spoils_nothing_that_waits_with_it(register: Register) -> None:
    register.set_attempt(QUERY, 1, 1, b"u")
    held = Event()
    register._thread.submit(held.wait)  # the disk is busy: what comes now shares a transaction
    with ThreadPoolExecutor(3) as pool:
        again = pool.submit(register.set_attempt, QUERY, 1, 1, b"another")
        others = [pool.submit(register.set_attempt, QUERY, 1, number, b"u") for number in (2, 3)]
        while len(register._waiting) < 3:
            pass
        held.set()
        assert [each.result() for each in others] == [None, None]
        with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
            again.result()
    assert register.last_attempt(QUERY, 1) == (3, b"u")


def test_ended_questions_are_not_carried_on_with_and_keep_their_reasons(register: Register) -> None:
    told = (Refusal(Reason.TOO_FEW_MEMBERS, "4 ready", "3"), Refusal(Reason.PAUSED, subject=MADE.uri))
    register.put_question(QUERY, b"entry", 1)
    register.set_refusals(QUERY, told)
    register.set_state(QUERY, "failed", 2)
    assert register.unfinished() == []
    row = register.question(QUERY)
    assert row is not None
    assert (row.state, row.refusals) == ("failed", told)


def test_an_answer_ends_its_question(register: Register) -> None:
    register.put_question(QUERY, b"entry", 1)
    register.set_answer(QUERY, b"answer", "{}", 2)
    row = register.question(QUERY)
    assert row is not None
    assert (row.state, row.answer) == ("released", b"answer")


def test_an_invitation_admits_once_and_only_whom_it_was_made_for(register: Register) -> None:
    register.invite("hash", "kapok://hospital/h01")
    assert not register.use_invitation("hash", "kapok://hospital/h02")
    assert not register.use_invitation("another", "kapok://hospital/h01")
    assert register.use_invitation("hash", "kapok://hospital/h01")
    assert not register.use_invitation("hash", "kapok://hospital/h01")


def test_a_party_s_newest_key_request_is_the_one_that_waits(register: Register) -> None:
    register.put_key_request("kapok://hospital/h01", b"old")
    register.put_key_request("kapok://hospital/h01", b"new")
    assert register.key_requests() == [b"new"]
    register.drop_key_request("kapok://hospital/h01")
    assert register.key_requests() == []


def test_masked_vectors_are_forgotten_after_their_time(register: Register) -> None:
    register.put_contribution(QUERY, 0, 1, MADE, 100)
    register.forget(100)
    assert register.contributions(QUERY, 0, 1) == [MADE]
    register.forget(101)
    assert register.contributions(QUERY, 0, 1) == []


def test_the_vectors_that_are_kept_are_exported_for_the_auditor(tmp_path: Path) -> None:
    register = Register(tmp_path / "register.sqlite")
    register.put_contribution(QUERY, 0, 1, MADE, 100)
    register.put_contribution(b"\x01" * 32, 0, 2, MADE, 100)
    register.close()
    runner = CliRunner()
    assert runner.invoke(app, ["vectors", "--home", str(tmp_path), "--out", str(tmp_path / "all")]).exit_code == 0
    exported = sorted(str(each.relative_to(tmp_path / "all")) for each in (tmp_path / "all").rglob("*.masked"))
    assert exported == [f"{'00' * 32}/0/1/h01.masked", f"{'01' * 32}/0/2/h01.masked"]
    assert (tmp_path / "all" / exported[0]).read_bytes() == b"masked"
    arguments = ["vectors", "--home", str(tmp_path), "--out", str(tmp_path / "one"), "--query", "01" * 32]
    assert runner.invoke(app, arguments).exit_code == 0
    assert [each.parent.name for each in (tmp_path / "one").rglob("*.masked")] == ["2"]


def test_vectors_of_a_count_of_residents_are_handed_out_to_nobody(tmp_path: Path) -> None:
    """The auditor has their seeds: beside them they would show which buckets are filled, without noise."""
    query = Query(
        log="a.b/1",
        at="2026-11-23T08:00:00Z",
        by="kapok://bureau/cdc",
        nonce="00" * 32,
        purpose="research",
        programme=None,
        audience=(),
        floor=4,
        valid_until="2026-11-24T08:00:00Z",
        rounds=1,
        spec={"measures": [{"kind": "count_distinct_resident"}]},
        variances=(),
    )
    register = Register(tmp_path / "register.sqlite")
    register.put_question(QUERY, query.envelope().signed([SigningKey.generate()]).encode(), 100)
    register.put_contribution(QUERY, 0, 1, MADE, 100)
    register.close()
    out = tmp_path / "out"
    assert CliRunner().invoke(app, ["vectors", "--home", str(tmp_path), "--out", str(out)]).exit_code == 0
    assert list(out.rglob("*.masked")) == []


@pytest.mark.parametrize("state", ["released", "failed"])
def test_the_key_of_a_count_of_residents_is_the_first_one_until_the_question_has_ended(register: Register, state: str) -> None:
    """After a crash the auditor's reply is read with the key it was made for; then key and vectors go, which tell more together."""
    register.put_question(QUERY, b"entry", 0)
    assert register.counting_secret(QUERY, b"first") == b"first"
    assert register.counting_secret(QUERY, b"second") == b"first"
    register.put_contribution(QUERY, 0, 1, MADE, 0)
    register.put_contribution(bytes([1]) * 32, 0, 1, MADE, 0)
    register.set_state(QUERY, "running", 1, is_counted=False)
    assert register.contributions(QUERY, 0, 1) == [MADE]
    if state == "released":
        register.set_answer(QUERY, b"answer", "{}", 2, is_counted=True)
    else:
        register.set_state(QUERY, state, 2, is_counted=True)
    assert register.contributions(QUERY, 0, 1) == []
    assert register.contributions(bytes([1]) * 32, 0, 1) == [MADE]
    assert register.counting_secret(QUERY, b"third") == b"third"


def test_an_end_is_not_written_without_what_it_forgets(tmp_path: Path) -> None:
    """One write: after a crash the question is open, and needs its key, or neither key nor vectors are there."""
    register = Register(tmp_path / "register.sqlite")
    register.put_question(QUERY, b"entry", 0)
    register.counting_secret(QUERY, b"key")
    with sqlite3.connect(tmp_path / "register.sqlite") as another:
        another.execute("ALTER TABLE contribution RENAME TO gone")
    with pytest.raises(sqlite3.OperationalError):
        register.set_answer(QUERY, b"answer", "{}", 2, is_counted=True)
    assert [each.query for each in register.unfinished()] == [QUERY]
    assert register.counting_secret(QUERY, b"another") == b"key"
    register.close()
