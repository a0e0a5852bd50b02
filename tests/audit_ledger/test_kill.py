"""A real process, killed with signal 9 while it appends; then the log is opened and verified from the bytes on disk."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from audit_ledger.tiles import check_log
from tests.audit_ledger import known
from tests.audit_ledger.test_log import keyed, open_log, publish

ROOT = Path(__file__).parents[2]


def append_until_killed(home: Path, start: int, after_lines: int, spin: int) -> dict[int, int]:
    """What the child acknowledged before it was killed, some moments after its line number `after_lines`."""
    command = [sys.executable, "-m", "tests.audit_ledger.appender", str(home), str(start)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(after_lines)]
        for _ in range(spin):  # a moment that is no wall time: the kill falls between different system calls
            pass
        child.kill()
        lines += child.stdout.readlines()
    pairs = [line.split() for line in lines if line.endswith(b"\n") and line != b"open\n"]
    return {int(number): int(position) for number, position in pairs}


@pytest.mark.timeout(120)
def test_killed_at_any_moment_the_log_loses_and_doubles_nothing(tmp_path: Path) -> None:
    moments = random.Random(20261123)
    acknowledged: dict[int, int] = {}
    for _ in range(12):
        start = max(acknowledged, default=-1) + 1
        acknowledged |= append_until_killed(tmp_path, start, moments.randrange(1, 300), moments.randrange(0, 400_000))
        if (tmp_path / "public/checkpoint").exists():
            check_log(tmp_path / "public", known.UNWITNESSED)  # what the world reads is sound before anybody repairs
        with open_log(tmp_path) as log:
            logged = log.entries(0, log.size)
            assert len(set(logged)) == len(logged)
            for number, position in acknowledged.items():
                assert logged[position] == f"entry-{number}".encode()
            assert publish(log, tmp_path).size == log.size
            if acknowledged:
                last = max(acknowledged)
                assert log.append(keyed(known.numbered(1, start=last))).result() == [acknowledged[last]]
    assert len(acknowledged) > 300
