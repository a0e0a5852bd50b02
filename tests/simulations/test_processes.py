"""A city is founded in whatever language its reader has, and a program that does not get ready says where to look."""

import os
import subprocess
from pathlib import Path

import pytest

from simulations import processes
from simulations.processes import READY, CommandFailed, Services, program

CHINESE = {"LANG": "zh_CN.UTF-8", "LC_ALL": "", "LC_MESSAGES": ""}


def _witness(home: Path) -> tuple[str, ...]:
    return ("kapok-audit", "witness", "--home", str(home), "--name", "w", "--listen", "127.0.0.1:0")


def test_a_program_of_a_city_gets_ready_where_the_reader_is_chinese(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CHINESE.items():
        monkeypatch.setenv(name, value)
    with Services(tmp_path) as services:
        assert services.start("witness", *_witness(tmp_path / "w")).is_running()


def test_the_line_that_says_ready_begins_so_in_chinese_too(tmp_path: Path) -> None:
    """Whoever watches over a service waits for it, in any language."""
    command = [program("kapok-audit"), *_witness(tmp_path / "w")[1:]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ | CHINESE) as running:
        assert running.stdout is not None
        line = running.stdout.readline()
        running.terminate()
    assert line.startswith(READY)
    assert "见证" in line.decode()


def test_a_program_that_does_not_get_ready_says_how_long_and_where_its_words_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "START_TIMEOUT_S", 5.0)
    with (
        Services(tmp_path / "logs") as services,
        pytest.raises(CommandFailed, match=r"within 5 s; .*none\.log") as caught,
    ):
        services.start("none", "kapok-audit", "witness", "--home", str(tmp_path / "none" / "x"), "--listen", "nowhere")
    assert "Traceback" not in str(caught.value)
