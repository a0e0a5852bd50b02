"""Each write of the append path breaks twice: refused, and done although an error came back.

After every single fault the log must have stopped, open again on a healthy disk, and hold every acknowledged entry once,
at its acknowledged position; its published form must verify from the bytes on disk.
"""

import errno
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from audit_ledger.checkpoint import Checkpoint
from audit_ledger.errors import LogStopped
from audit_ledger.log import Disk
from audit_ledger.note import Note
from audit_ledger.tiles import check_log
from tests.audit_ledger import known
from tests.audit_ledger.test_log import keyed, open_log, publish
from tests.audit_ledger.test_tiles import grown

STEPS = [known.numbered(3), known.numbered(260, start=3), known.numbered(2, start=263)]  # into, over and past a tile edge


@dataclass
class BrokenDisk(Disk):
    """Breaks the call with number `at`, once; counts and names all calls."""

    at: int
    is_done: bool
    error: Exception
    calls: list[str] = field(default_factory=list)

    def _call(self, name: str, act: Callable[[], None]) -> None:
        self.calls.append(name)
        is_broken = len(self.calls) - 1 == self.at
        if not is_broken or self.is_done:
            act()
        if is_broken:
            raise self.error

    def write(self, path: Path, content: bytes) -> None:
        self._call("write", lambda: super(BrokenDisk, self).write(path, content))

    def sync(self, path: Path) -> None:
        self._call("sync", lambda: super(BrokenDisk, self).sync(path))

    def link(self, source: Path, target: Path) -> None:
        self._call("link", lambda: super(BrokenDisk, self).link(source, target))

    def rename(self, source: Path, target: Path) -> None:
        self._call("rename", lambda: super(BrokenDisk, self).rename(source, target))

    def remove(self, path: Path) -> None:
        self._call("remove", lambda: super(BrokenDisk, self).remove(path))

    def make_folder(self, path: Path) -> None:
        self._call("make_folder", lambda: super(BrokenDisk, self).make_folder(path))

    def sync_folder(self, path: Path) -> None:
        self._call("sync_folder", lambda: super(BrokenDisk, self).sync_folder(path))

    def remove_tree(self, path: Path) -> None:
        self._call("remove_tree", lambda: super(BrokenDisk, self).remove_tree(path))

    def commit(self, connection: sqlite3.Connection) -> None:
        self._call("commit", lambda: super(BrokenDisk, self).commit(connection))


def life(home: Path, disk: Disk, acknowledged: dict[bytes, int]) -> int:
    """Open, append and publish in three steps; note what was acknowledged. Returns the size last published."""
    published = 0
    with open_log(home, disk) as log:
        for number, step in enumerate(STEPS):
            positions = log.append(keyed(step), is_signed=number == 1).result()  # the others' checkpoint has a commit of its own
            acknowledged.update(zip(step, positions, strict=True))
            assert log.publish(log.checkpoint_covering(log.size))
            published = log.size
    return published


def check_everything(home: Path, acknowledged: dict[bytes, int]) -> None:
    with open_log(home) as log:
        logged = log.entries(0, log.size)
        assert len(set(logged)) == len(logged), "an entry is in the log twice"
        assert {entry: logged[position] for entry, position in acknowledged.items()} == {e: e for e in acknowledged}
        everything = [entry for step in STEPS for entry in step]
        assert sorted(log.append(keyed(everything)).result()) == list(range(len(everything)))  # asked again: none doubled
        assert publish(log, home).root == grown(log.entries(0, log.size)).root()


def count_calls(home: Path) -> list[str]:
    disk = BrokenDisk(-1, is_done=False, error=OSError())
    life(home, disk, {})
    return disk.calls


def io_error() -> Exception:
    return OSError(errno.EIO, "Input/output error")


def disk_full() -> Exception:
    return OSError(errno.ENOSPC, "No space left on device")


def test_every_kind_of_write_is_in_the_table(tmp_path: Path) -> None:
    calls = count_calls(tmp_path)
    kinds = {"write", "sync", "link", "rename", "remove", "make_folder", "sync_folder", "remove_tree", "commit"}
    assert set(calls) == kinds
    assert len(calls) < 120


def broken_calls(calls: list[str], error: Callable[[], Exception]) -> list[int]:
    """All of them for an I/O error; for a full disk those that ask for room."""
    return [at for at, name in enumerate(calls) if error is io_error or name in {"write", "commit"}]


def test_writes_are_made_durable_in_the_promised_order(tmp_path: Path) -> None:
    disk = BrokenDisk(-1, is_done=False, error=OSError())
    with open_log(tmp_path, disk) as log:
        log.append(keyed([b"a"])).result()
        log.publish(log.checkpoint_covering(1))
        disk.calls.clear()
        log.append(keyed([b"b"])).result()
        log.publish(log.checkpoint_covering(2))
    entry, file, names, signed = ["commit"], ["write", "sync", "link", "remove"], ["sync_folder"] * 2, ["commit"]
    checkpoint = ["write", "sync", "rename", "sync_folder"]
    assert disk.calls == [*entry, *signed, *file, *file, *names, *checkpoint]


def test_an_entry_and_a_checkpoint_over_it_come_to_the_disk_together_or_not_at_all(tmp_path: Path) -> None:
    disk = BrokenDisk(-1, is_done=False, error=sqlite3.OperationalError("disk I/O error"))
    with open_log(tmp_path, disk) as log:
        log.append(keyed([b"a"])).result()
        disk.calls.clear()
        log.append(keyed([b"b"]), is_signed=True).result()
        assert disk.calls == ["commit"]
        note = log.checkpoint_covering(2)
        assert disk.calls == ["commit"], "it was there already"
        assert log.append(keyed([b"b"]), is_signed=True).result() == [1]
        assert log.checkpoint_covering(2) == note, "one size is signed once"
        disk.at = len(disk.calls)
        with pytest.raises(LogStopped, match="disk I/O error"):
            log.append(keyed([b"c"]), is_signed=True).result()
        assert log.size == 2, "what is not durable is in no proof"
    with open_log(tmp_path) as log:
        assert (log.size, log.checkpoint_covering(2)) == (2, note)
        assert log.append(keyed([b"d"]), is_signed=True).result() == [2]
        assert Checkpoint.parse(Note.parse(log.checkpoint_covering(3)).text).root == grown(log.entries(0, 3)).root()


@pytest.mark.parametrize(("error", "is_done"), [(io_error, False), (io_error, True), (disk_full, False)])
def test_no_single_fault_loses_or_doubles_an_entry(tmp_path: Path, error: Callable[[], Exception], is_done: bool) -> None:
    (tmp_path / "whole").mkdir()
    calls = count_calls(tmp_path / "whole")
    for at in broken_calls(calls, error):
        home = tmp_path / str(at)
        home.mkdir()
        acknowledged: dict[bytes, int] = {}
        disk = BrokenDisk(at, is_done, error())
        if calls[at] == "remove_tree":
            life(home, disk, acknowledged)  # sweeping may fail: it harms nobody
        else:
            with pytest.raises((LogStopped, OSError)):
                life(home, disk, acknowledged)
        assert len(disk.calls) > at
        check_everything(home, acknowledged)


def test_a_stopped_log_answers_nobody_until_it_is_opened_anew(tmp_path: Path) -> None:
    calls = count_calls_of_first_commit(tmp_path)
    home = tmp_path / "home"
    home.mkdir()
    with open_log(home, BrokenDisk(calls, is_done=True, error=sqlite3.OperationalError("disk I/O error"))) as log:
        first = log.append(keyed([b"a"]))
        with pytest.raises(LogStopped, match="disk I/O error"):
            first.result()
        asks: list[Callable[[], Any]] = [
            lambda: log.append(keyed([b"b"])),
            lambda: log.request_checkpoint(0),
            lambda: log.proof(0, 1),
            lambda: log.consistency(0, 0),
            lambda: log.entries(0, 0),
            lambda: log.position_of(bytes(32)),
            lambda: log.publish(b""),
        ]
        for ask in asks:
            with pytest.raises(LogStopped, match="open it anew"):
                ask()
    with open_log(home) as log:
        assert log.append(keyed([b"a"])).result() == [0]  # it had been committed after all
        assert log.size == 1


def count_calls_of_first_commit(home: Path) -> int:
    """The number of the commit of the first append; the one before it binds the key."""
    (home / "count").mkdir()
    calls = count_calls(home / "count")
    return [at for at, name in enumerate(calls) if name == "commit"][1]


def test_a_failed_batch_fails_everyone_who_waits_for_it(tmp_path: Path) -> None:
    at = count_calls_of_first_commit(tmp_path)
    home = tmp_path / "home"
    home.mkdir()
    with open_log(home, BrokenDisk(at, is_done=False, error=io_error()), batch_age_s=0.05) as log:
        waiting = [log.append(keyed([bytes([number])])) for number in range(5)]
        for future in waiting:
            with pytest.raises(LogStopped, match="Input/output error"):
                future.result()
    with open_log(home) as log:
        assert log.size == 0


def test_a_fault_while_publishing_leaves_a_checkpoint_that_verifies(tmp_path: Path) -> None:
    calls = count_calls_of(tmp_path / "count", "rename")
    home = tmp_path / "home"
    home.mkdir()
    disk = BrokenDisk(calls[1], is_done=False, error=io_error())
    with open_log(home, disk) as log:
        log.append(keyed(STEPS[0])).result()
        log.publish(log.checkpoint_covering(3))
        log.append(keyed(STEPS[1])).result()
        note = log.checkpoint_covering(263)
        with pytest.raises(LogStopped, match="Input/output error"):
            log.publish(note)
    assert check_log(home / "public", known.UNWITNESSED).checkpoint.size == 3
    with open_log(home) as log:
        assert log.checkpoint_covering(263) == note  # what was signed is what is handed out again
        assert log.publish(note)
    assert check_log(home / "public", known.UNWITNESSED).checkpoint.size == 263


def count_calls_of(home: Path, name: str) -> list[int]:
    home.mkdir()
    return [at for at, called in enumerate(count_calls(home)) if called == name]
