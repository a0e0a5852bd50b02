"""Ctrl-C in any program: no traceback, and an exit code that says neither "refused" nor "evidence"."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

STOPPED = 130
ROOT = Path(__file__).parents[2]
LEGAL = ("--legal-name", "First Hospital", "--licence", "1")


@pytest.mark.wire
@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("hospital_node.main", ("init", "--invite", "{}/pipe", "--home", "{}/home", *LEGAL)),
        ("coordinator.client.main", ("init", "--invite", "{}/pipe", "--home", "{}/home", *LEGAL)),
        ("coordinator.main", ("init", "--home", "{}/home", "--origin", "gz.example/2026", "--auditor-card", "{}/pipe")),
        ("audit_ledger.main", ("verify", "{}", "--trust", "{}/pipe")),
    ],
)
def test_a_program_that_is_stopped_says_so_and_no_more(tmp_path: Path, module: str, arguments: tuple[str, ...]) -> None:
    os.mkfifo(tmp_path / "pipe")
    command = [sys.executable, "-m", module, *(each.format(tmp_path) for each in arguments)]
    running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with running, (tmp_path / "pipe").open("wb"):  # opens once the program reads, which then waits for the first byte
        running.send_signal(signal.SIGINT)
        printed, told = running.communicate(timeout=60)
    assert running.returncode == STOPPED, told
    assert "Traceback" not in told
    assert printed == ""
    assert not (tmp_path / "home" / "keys").exists(), "nothing is left half made"
