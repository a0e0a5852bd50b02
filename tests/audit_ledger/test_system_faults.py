"""The append path on a real kernel: killed before every one of its writes, system calls that fail, a disk that is full.

After each, the log opens, nothing that was acknowledged is lost, nothing is there twice, and the published form verifies.
"""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from audit_ledger.errors import LogStopped
from audit_ledger.tiles import check_log
from tests.audit_ledger import known
from tests.audit_ledger.test_faults import BrokenDisk, check_everything, count_calls, life
from tests.audit_ledger.test_log import keyed, open_log, publish
from tests.support.small_disk import small_disk

ROOT = Path(__file__).parents[2]


@dataclass
class DeadlyDisk(BrokenDisk):
    """Kills its process with signal 9 where a BrokenDisk would raise."""

    def __post_init__(self) -> None:
        self.note: Path | None = None

    def _call(self, name: str, act) -> None:  # type: ignore[no-untyped-def]
        self.calls.append(name)
        if len(self.calls) - 1 == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        act()


class Told(dict[bytes, int]):
    """Acknowledgements that outlive their process: written out as they are made."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = path.open("a", buffering=1)

    def update(self, pairs) -> None:  # type: ignore[no-untyped-def,override]
        for entry, position in pairs:
            self._file.write(f"{entry.decode()} {position}\n")


def told(path: Path) -> dict[bytes, int]:
    pairs = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return {entry.encode(): int(position) for entry, position in pairs}


@pytest.mark.timeout(400)
def test_killed_before_any_single_write_the_log_loses_and_doubles_nothing(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    calls = count_calls(tmp_path / "whole")
    for at in range(len(calls)):
        home = tmp_path / str(at)
        home.mkdir()
        child = os.fork()
        if child == 0:
            life(home, DeadlyDisk(at, is_done=False, error=OSError()), Told(home / "told"))
            os._exit(0)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL, f"call {at} ({calls[at]}) was not reached"
        check_everything(home, told(home / "told"))
        shutil.rmtree(home)


INJECTIONS = [
    "fdatasync:error=EIO:when=9",  # a commit
    "fsync:error=EIO:when=6",
    "fsync:error=EIO:when=20+",
    "pwrite64:error=ENOSPC:when=30",  # into the database's write-ahead log
    "link:error=EIO:when=4",
    "rename:error=EIO:when=3",
    "unlink:error=EIO:when=5",
    "mkdir:error=ENOSPC:when=3",
    "fsync:signal=KILL:when=14",
    "link:signal=KILL:when=7",
    "rename:signal=KILL:when=2",
    "fdatasync:signal=KILL:when=12",
]


def require_strace() -> None:
    if shutil.which("strace") is None:
        assert os.environ.get("CI") != "true", "strace (Debian package) is not installed"
        pytest.skip("strace (Debian package) is not installed")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("injection", INJECTIONS)
def test_a_system_call_that_fails_stops_the_log_and_harms_nothing(tmp_path: Path, injection: str) -> None:
    require_strace()
    call = injection.partition(":")[0]
    strace = ["strace", "-f", "-qq", "-o", str(tmp_path / "trace"), "-e", f"trace={call}", "-e", f"inject={injection}"]
    command = [*strace, sys.executable, "-B", "-m", "tests.audit_ledger.appender", str(tmp_path), "0"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False, timeout=100
    )
    assert done.returncode != 0
    assert "INJECTED" in (tmp_path / "trace").read_text() or "KILL" in injection
    pairs = [line.split() for line in done.stdout.splitlines(keepends=True) if line.endswith(b"\n") and line != b"open\n"]
    acknowledged = {int(number): int(position) for number, position in pairs}
    check_acknowledged(tmp_path, acknowledged)


def check_acknowledged(home: Path, acknowledged: dict[int, int]) -> None:
    with open_log(home) as log:
        logged = log.entries(0, log.size)
        assert len(set(logged)) == len(logged)
        assert all(logged[position] == f"entry-{number}".encode() for number, position in acknowledged.items())
        assert publish(log, home).size == log.size


@pytest.mark.parametrize("size", ["260k", "400k", "900k"])
def test_a_full_disk_stops_the_log_and_room_lets_it_go_on(tmp_path: Path, size: str) -> None:
    with small_disk(tmp_path / "small", size) as home:
        (home / "public").mkdir()
        number, published = 0, 0

        def fill() -> None:
            nonlocal number, published
            with open_log(home) as log:
                while True:
                    log.append(keyed([known.numbered(1, start=number)[0] + b" " * 3_000])).result()
                    number += 1
                    if number % 7 == 0:
                        log.publish(log.checkpoint_covering(log.size))
                        published = log.size

        with pytest.raises((LogStopped, OSError), match=r"No space left|is full|disk I/O"):
            fill()
        if published:
            assert check_log(home / "public", known.UNWITNESSED).checkpoint.size == published
        subprocess.run(["mount", "-o", "remount,size=16m", str(home)], check=True)
        with open_log(home) as log:
            assert log.size in (number, number + 1)  # the last one was not acknowledged
            assert log.append(keyed([b"there is room again"])).result() == [log.size - 1]
            assert publish(log, home).size == log.size
